//! [`SmallPut`]: what the library does for a put of 4 KiB between the caller and the socket, to be counted in
//! instructions: by the program `instructions`.

use std::fmt;
use std::hint::black_box;
use std::time::{Duration, SystemTime};

use credentials::{Credentials, Identity, Secret, SourceName};
use object_storage::config::UrlStyle;
use object_storage::{Key, OperationId, Payload, PutOptions, PutOutcome};

use crate::protocol::address::Address;
use crate::protocol::budget::Budget;
use crate::protocol::checksum::Crc64Nvme;
use crate::protocol::concurrency::Concurrency;
use crate::protocol::headers::Headers;
use crate::protocol::operations::{Action, Place, PutObject};
use crate::protocol::request::ResponseHead;
use crate::protocol::sign::Signing;

/// What a put is made without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Without {
    /// As it is by default.
    Nothing,
    /// The checksum, as with `checksums = "off"`.
    Checksum,
    /// The operation id.
    Id,
    /// The machine: one attempt is made, and its answer believed. No budget, no limit. (What decides about retries is made
    /// only where an attempt fails.)
    Machine,
    /// All three: signed and sent.
    All,
}

impl Without {
    /// Every one.
    pub const ALL: [Without; 5] =
        [Without::Nothing, Without::Checksum, Without::Id, Without::Machine, Without::All];

    fn has(self, part: Without) -> bool {
        self != part && self != Without::All
    }
}

impl fmt::Display for Without {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Without::Nothing => "nothing",
            Without::Checksum => "checksum",
            Without::Id => "id",
            Without::Machine => "machine",
            Without::All => "all",
        })
    }
}

/// A put of 4 KiB, again and again.
#[derive(Debug)]
pub struct SmallPut {
    without: Without,
    place: Place,
    key: Key,
    payload: Payload,
    signing: Signing,
    identity: Identity,
    budget: Budget,
    concurrency: Concurrency,
    answer: ResponseHead,
}

impl SmallPut {
    /// Without what.
    #[must_use]
    pub fn new(without: Without) -> SmallPut {
        let endpoint = "https://s3.eu-west-1.amazonaws.com".parse().expect("a URL");
        let address = Address::new(&endpoint, "bucket", UrlStyle::VirtualHost).expect("an address");
        let payload = Payload::from(vec![7; 4096]);
        let keys = Credentials::builder("AKIDEXAMPLE", Secret::new("wJalrXUtnFEMI"));
        let keys = keys.build(SourceName::Inline).expect("well-formed keys");
        let mut headers = Headers::default();
        let checksum = Crc64Nvme::of(&payload).text();
        headers.push(
            b"x-amz-id-2",
            b"s9lzHYrFp76ZVxRcpX9+5cjAnEH2ROuNkd2BHfIa6UkFVdtjf5mKR3/eTPFvsiP/XV/VLi31234=",
        );
        headers.push(b"x-amz-request-id", b"318BC8BC143432E5");
        headers.push(b"date", b"Sat, 01 Aug 2026 00:00:00 GMT");
        headers.push(b"etag", b"\"0f343b0931126a20f133d67c2b018a3b\"");
        if without.has(Without::Checksum) {
            headers.push(b"x-amz-checksum-crc64nvme", checksum.as_bytes());
            headers.push(b"x-amz-checksum-type", b"FULL_OBJECT");
        }
        headers.push(b"content-length", b"0");
        headers.push(b"server", b"AmazonS3");
        SmallPut {
            without,
            signing: Signing::new("eu-west-1".to_owned(), address.origin().authority.clone(), false),
            place: Place { address, prefix: String::new() },
            key: Key::parse("logs/2026/08/01/segment-000123").expect("a key"),
            payload,
            identity: Identity::Keys(keys),
            budget: Budget::of_operations(),
            concurrency: Concurrency::default(),
            answer: ResponseHead { status: 200, headers },
        }
    }

    /// Makes one put at this time: its checksum, its request, its signature, and what is concluded from the answer.
    pub fn put(&mut self, now: SystemTime) {
        let id = self.without.has(Without::Id).then(OperationId::random);
        let checksum = self.without.has(Without::Checksum).then(|| Crc64Nvme::of(&self.payload));
        let (key, payload) = (&self.key, self.payload.clone());
        let put = PutObject { key, payload, options: PutOptions::default(), checksum, stamp: id };
        let request = put.request(&self.place).expect("sendable");
        let attempt = || {
            let signed = self.signing.sign(&request, &self.identity, now).expect("sendable");
            black_box(&signed);
            put.read(&self.place, black_box(&self.answer), &[]).expect("stored")
        };
        let stored: PutOutcome = if self.without.has(Without::Machine) {
            let turn = self.concurrency.begin(Duration::ZERO).expect("no limit");
            let stored = attempt();
            self.concurrency.end(&turn, Some(false));
            self.budget.earn();
            stored
        } else {
            attempt()
        };
        black_box(stored);
    }
}
