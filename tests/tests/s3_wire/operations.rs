//! Every operation of the trait as a value, so that a table can be run over all of them.

use bytes::Bytes;
use object_storage::{
    CompleteOptions, CopyOptions, DeleteOptions, ETag, Error, GetOptions, HeadOptions, Key, ListOptions,
    ListUploadsOptions, MultipartOptions, ObjectStorage, Part, PartNumber, Payload, PutMode, PutOptions,
    UploadId,
};
use s3_backend::S3Storage;
use tests::scripted::{Answer, Step, answer};

/// What a second attempt could change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Read,
    Repeatable,
    Conditional,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Put,
    PutEmpty,
    Create,
    CreateEmpty,
    Match,
    Delete,
    DeleteMatch,
    Batch,
    Copy,
    CopyCreate,
    NewUpload,
    Part,
    Complete,
    CompleteCreate,
    Abort,
    Get,
    Range,
    Head,
    List,
    ListUploads,
    ListParts,
}

pub(crate) const WRITES: [Op; 15] = [
    Op::Put,
    Op::PutEmpty,
    Op::Create,
    Op::CreateEmpty,
    Op::Match,
    Op::Delete,
    Op::DeleteMatch,
    Op::Batch,
    Op::Copy,
    Op::CopyCreate,
    Op::NewUpload,
    Op::Part,
    Op::Complete,
    Op::CompleteCreate,
    Op::Abort,
];

pub(crate) const READS: [Op; 6] = [Op::Get, Op::Range, Op::Head, Op::List, Op::ListUploads, Op::ListParts];

/// What an object under test holds.
pub(crate) const BYTES: &[u8] = b"0123456789";

pub(crate) fn key(text: &str) -> Key {
    Key::verbatim(text).expect("a key")
}

/// Several chunks, together larger than what is written at once.
pub(crate) fn payload() -> Payload {
    [100_000, 1, 150_000, 70_000].into_iter().map(|bytes| Bytes::from(vec![b'x'; bytes])).collect()
}

pub(crate) fn put_options(mode: PutMode) -> PutOptions {
    let mut options = PutOptions::default();
    options.mode = mode;
    options
}

pub(crate) fn tag() -> ETag {
    ETag::parse("old").expect("a tag")
}

impl Op {
    pub(crate) fn effect(self) -> Effect {
        match self {
            Op::Create
            | Op::CreateEmpty
            | Op::Match
            | Op::DeleteMatch
            | Op::CopyCreate
            | Op::Complete
            | Op::CompleteCreate => Effect::Conditional,
            Op::Get | Op::Range | Op::Head | Op::List | Op::ListUploads | Op::ListParts => Effect::Read,
            _ => Effect::Repeatable,
        }
    }

    /// Whether the object shows afterwards that it was done: it is looked at before the outcome is called open. (The
    /// uploads under test are resumed, and their part has no tag from which that of the object could be told; the copy
    /// bears the id of its source.)
    pub(crate) fn leaves_proof(self) -> bool {
        matches!(self, Op::Create | Op::CreateEmpty | Op::Match)
    }

    /// What a look shows when another write's object is there.
    pub(crate) fn another_is_there() -> Step {
        let id = "00000000000000000000000000000001";
        answer(Op::Head.good().header("x-amz-meta-operation-id", id).head())
    }

    /// Whether the answer's head says everything.
    pub(crate) fn head_decides(self) -> bool {
        matches!(
            self,
            Op::Put | Op::PutEmpty | Op::Create | Op::CreateEmpty | Op::Match | Op::Part | Op::Head
        )
    }

    /// Whether the request has a body worth cutting.
    pub(crate) fn is_large(self) -> bool {
        matches!(self, Op::Put | Op::Create | Op::Match | Op::Part)
    }

    pub(crate) async fn run(self, store: &S3Storage) -> Result<(), Error> {
        let k = key("a key");
        let upload = || store.resume_multipart_upload(&k, &UploadId::new("U1")).expect("a good id");
        let parts = [Part::new(PartNumber::FIRST, tag(), 1)];
        let complete = |mode| {
            let mut options = CompleteOptions::default();
            options.mode = mode;
            options
        };
        match self {
            Op::Put => store.put(&k, payload(), PutOptions::default()).await.map(drop),
            Op::PutEmpty => store.put(&k, Payload::new(), PutOptions::default()).await.map(drop),
            Op::Create => store.put(&k, payload(), put_options(PutMode::Create)).await.map(drop),
            Op::CreateEmpty => store.put(&k, Payload::new(), put_options(PutMode::Create)).await.map(drop),
            Op::Match => store.put(&k, payload(), put_options(PutMode::Match(tag()))).await.map(drop),
            Op::Delete => store.delete(&k, DeleteOptions::default()).await,
            Op::DeleteMatch => {
                let mut options = DeleteOptions::default();
                options.if_match = Some(tag());
                store.delete(&k, options).await
            }
            Op::Batch => {
                let keys = [k.clone(), key("b")];
                store.delete_many(&keys).await?.into_iter().collect()
            }
            Op::Copy => store.copy(&k, &key("b"), CopyOptions::default()).await.map(drop),
            Op::CopyCreate => {
                let mut options = CopyOptions::default();
                options.mode = PutMode::Create;
                store.copy(&k, &key("b"), options).await.map(drop)
            }
            Op::NewUpload => store.create_multipart_upload(&k, MultipartOptions::default()).await.map(drop),
            Op::Part => upload().upload_part(PartNumber::FIRST, payload()).await.map(drop),
            Op::Complete => upload().complete(&parts, complete(PutMode::Overwrite)).await.map(drop),
            Op::CompleteCreate => upload().complete(&parts, complete(PutMode::Create)).await.map(drop),
            Op::Abort => upload().abort().await,
            Op::Get => {
                let got = store.get(&k, GetOptions::default()).await?;
                let bytes = got.body.bytes().await?;
                assert_eq!(&bytes[..], BYTES, "what came is what is stored");
                Ok(())
            }
            Op::Range => {
                let mut options = GetOptions::default();
                options.range = Some(object_storage::ByteRange::Bounded(2..5));
                let bytes = store.get(&k, options).await?.body.bytes().await?;
                assert_eq!(&bytes[..], &BYTES[2..5], "what came is what was asked for");
                Ok(())
            }
            Op::Head => store.head(&k, HeadOptions::default()).await.map(drop),
            Op::List => store.list_page(&ListOptions::default(), None).await.map(drop),
            Op::ListUploads => {
                store.list_multipart_uploads_page(&ListUploadsOptions::default(), None).await.map(drop)
            }
            Op::ListParts => upload().list_parts_page(None).await.map(drop),
        }
    }

    /// The answer of a store that did as it was asked.
    pub(crate) fn good(self) -> Answer {
        let ok = || Answer::new(200).header("x-amz-request-id", "R0");
        let xml = |root: &str, inside: &str| {
            ok().body(format!("<{root} xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{inside}</{root}>"))
        };
        let etag = |answer: Answer| answer.header("etag", "\"new\"");
        match self {
            Op::Put | Op::PutEmpty | Op::Create | Op::CreateEmpty | Op::Match | Op::Part => etag(ok()),
            Op::Delete | Op::DeleteMatch | Op::Abort => Answer::new(204),
            Op::Batch => {
                xml("DeleteResult", "<Deleted><Key>a key</Key></Deleted><Deleted><Key>b</Key></Deleted>")
            }
            Op::Copy | Op::CopyCreate => xml("CopyObjectResult", "<ETag>&quot;new&quot;</ETag>"),
            Op::NewUpload => xml("InitiateMultipartUploadResult", "<UploadId>U1</UploadId>"),
            Op::Complete | Op::CompleteCreate => {
                xml("CompleteMultipartUploadResult", "<ETag>&quot;new-1&quot;</ETag>")
            }
            Op::Get => etag(ok()).body(BYTES),
            Op::Range => etag(Answer::new(206)).header("content-range", "bytes 2-4/10").body(&BYTES[2..5]),
            Op::Head => etag(ok()).length(Some(10)),
            Op::List => xml("ListBucketResult", "<IsTruncated>false</IsTruncated>"),
            Op::ListUploads => xml("ListMultipartUploadsResult", "<IsTruncated>false</IsTruncated>"),
            Op::ListParts => xml("ListPartsResult", "<IsTruncated>false</IsTruncated>"),
        }
    }

    pub(crate) fn good_step(self) -> Step {
        answer(self.good())
    }
}
