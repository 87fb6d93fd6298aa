//! What a shard keeps in memory at once is limited by `memory_limit`, as the server at the other end sees it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, join_all, select};
use object_storage::config::MEMORY_LIMIT_DEFAULT;
use object_storage::limits::MIB;
use object_storage::{
    BufferedMultipartWriter, BufferedMultipartWriterOptions, DeleteOptions, ErrorKind, GetOptions, Key,
    ListOptions, ObjectStorage, PartNumber, Payload, PutOptions, PutOutcome, Result, UploadId,
};
use s3_backend::S3Storage;
use tests::scales::{BODIES, FOR_WORK, LIMIT, Scales};

fn run<T>(test: impl Future<Output = T>) -> T {
    compio::runtime::Runtime::new().expect("a runtime").block_on(test)
}

fn key(text: &str) -> Key {
    Key::parse(text).expect("a key")
}

fn payload(bytes: u64) -> Payload {
    Payload::from(Bytes::from(vec![b'x'; usize::try_from(bytes).expect("it fits")]))
}

/// A put that goes on by itself, until its handle is dropped.
fn spawned(store: &Rc<S3Storage>, name: &str, bytes: u64) -> compio::runtime::JoinHandle<Result<PutOutcome>> {
    let (store, key) = (Rc::clone(store), key(name));
    compio::runtime::spawn(async move { store.put(&key, payload(bytes), PutOptions::default()).await })
}

/// Time for an operation that ends on a quiet machine in a thousandth of it.
const SHORT: Duration = Duration::from_secs(4);

/// Long enough for everything that can begin to have begun.
async fn a_moment() {
    compio::time::sleep(Duration::from_millis(100)).await;
}

/// The same, if nothing begins.
async fn a_moment_without_requests(server: &Scales, requests: u64) {
    loop {
        a_moment().await;
        if server.requests() == requests {
            return;
        }
    }
}

#[test]
fn puts_beyond_the_limit_wait_and_all_of_them_are_stored() {
    run(async {
        let server = Scales::new();
        let store = server.open(|config| config).await;
        server.hold(true);
        let puts: Vec<_> = (0..64).map(|n| spawned(&store, &format!("k{n}"), MIB)).collect();
        server.until_requests(FOR_WORK / MIB).await;
        a_moment().await;
        assert_eq!(server.most(), FOR_WORK, "as many as there is room for, and no more");
        server.hold(false);
        for put in puts {
            put.await.expect("no panic").expect("stored");
        }
        assert_eq!(server.requests(), 64);
        assert_eq!(server.most(), FOR_WORK);
    });
}

#[test]
fn bodies_that_nobody_reads_hold_up_other_gets_and_no_write() {
    run(async {
        let server = Scales::new();
        let store = server
            .open(|config| {
                config.head_timeout(SHORT).connect_timeout(SHORT).send_timeout(SHORT).operation_timeout(SHORT)
            })
            .await;
        let (store, large) = (&store, key("large"));
        let mut held = Vec::new();
        for _ in 0..BODIES {
            held.push(store.get(&large, GetOptions::default()).await.expect("opened").body);
        }
        let requests = server.requests();
        let error = store.get(&large, GetOptions::default()).await.expect_err("there is no room");
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.message().contains("nothing was sent"), "{error}");
        assert!(error.message().contains("memory_limit"), "{error}");
        assert_eq!(server.requests(), requests, "it was not even sent");

        let puts = (0..20).map(|n| async move {
            store.put(&key(&format!("k{n}")), payload(MIB), PutOptions::default()).await
        });
        assert!(join_all(puts).await.iter().all(Result::is_ok), "writes go on");
        store.list_page(&ListOptions::default(), None).await.expect("pages too");

        // Read to its last byte a body counts no more, even if it is kept.
        let mut first = held.remove(0);
        while first.remaining() > 0 {
            first.next_chunk().await.expect("more is to come").expect("unbroken");
        }
        let fresh = store.get(&large, GetOptions::default()).await.expect("there is room again");
        // Nor does one that is dropped.
        drop(fresh);
        let again = store.get(&large, GetOptions::default()).await.expect("there is room again");
        assert_eq!(again.body.bytes().await.expect("all of it").len() as u64, MIB);
        drop((first, held));
    });
}

/// As many bodies as the default has room for, each on a connection of its own: there are others for writes.
#[test]
fn bodies_that_nobody_reads_leave_connections_to_writes() {
    run(async {
        let server = Scales::new();
        let large = key("large");
        let store = server.open(|config| config.memory_limit(MEMORY_LIMIT_DEFAULT)).await;
        let store = &store;
        let mut held = Vec::new();
        let waiting = loop {
            let mut getting = Box::pin(store.get(&large, GetOptions::default()));
            let requests = server.requests();
            match select(getting.as_mut(), Box::pin(a_moment_without_requests(&server, requests))).await {
                Either::Left((got, _)) => held.push(got.expect("opened").body),
                Either::Right(_) => break getting,
            }
        };
        assert_eq!(held.len(), 192);
        for n in 0..100 {
            store.put(&key(&format!("k{n}")), payload(100_000), PutOptions::default()).await.expect("stored");
        }
        drop(held);
        waiting.await.expect("there is room again");
    });
}

/// What came whole with its answer is the caller's own.
#[test]
fn small_objects_may_be_kept_in_any_number() {
    run(async {
        let server = Scales::new();
        let store = server.open(|config| config).await;
        let mut kept = Vec::new();
        for _ in 0..BODIES * 20 {
            let got = store.get(&key("small"), GetOptions::default()).await.expect("opened");
            let body = if tests::transport() == object_storage::config::Transport::Direct {
                got.body
            } else {
                // Over cyper every body comes behind its head.
                object_storage::Body::from_chunk(1000, got.body.bytes().await.expect("all of it"))
            };
            kept.push(body);
        }
        for body in kept {
            assert_eq!(body.bytes().await.expect("all of it").len(), 1000);
        }
    });
}

#[test]
fn who_gives_up_waiting_leaves_everything_to_the_others() {
    run(async {
        let server = Scales::new();
        let store = server.open(|config| config).await;
        server.hold(true);
        let bytes = MIB + 1;
        let fit = FOR_WORK / bytes;
        let mut puts: Vec<_> = (0..40).map(|n| Some(spawned(&store, &format!("k{n}"), bytes))).collect();
        server.until_requests(fit).await;
        a_moment().await;
        assert_eq!(server.requests(), fit, "the others wait");
        // Every second one of all of them is dropped, at work or waiting.
        for put in puts.iter_mut().step_by(2) {
            *put = None;
        }
        server.until_requests(fit + fit / 2).await;
        server.hold(false);
        for put in puts.into_iter().flatten() {
            put.await.expect("no panic").expect("stored");
        }
        // Everything is there again: one that needs all of it goes at once.
        server.hold(true);
        let requests = server.requests();
        let all = spawned(&store, "all", FOR_WORK);
        server.until_requests(requests + 1).await;
        server.hold(false);
        all.await.expect("no panic").expect("stored");
    });
}

#[test]
fn waiting_for_memory_is_part_of_the_operations_time_and_nothing_was_sent() {
    run(async {
        let server = Scales::new();
        let limit = Duration::from_millis(600);
        let store = server
            .open(|config| {
                let config = config.connect_timeout(limit).send_timeout(limit).head_timeout(limit);
                config.operation_timeout(limit)
            })
            .await;
        // It keeps what it has for the seconds that its bytes give it.
        server.hold(true);
        let first = spawned(&store, "first", FOR_WORK);
        server.until_requests(1).await;
        let upload = store.resume_multipart_upload(&key("k"), &UploadId::new("u")).expect("a handle");
        let number = PartNumber::new(1).expect("a number");
        for result in [
            store.put(&key("k"), payload(1), PutOptions::default()).await.map(drop),
            upload.upload_part(number, payload(1)).await.map(drop),
            store.list_page(&ListOptions::default(), None).await.map(drop),
            store.delete_many(&[key("a")]).await.expect("an answer per key").remove(0),
        ] {
            let error = result.expect_err("there is no memory");
            assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
            assert!(error.message().contains("nothing was sent"), "{error}");
        }
        assert!(server.asked().iter().all(|line| line.contains("/first")), "{:?}", server.asked());
        server.hold(false);
        drop(first);
        // What needs no memory needs not wait for it either.
        store.delete(&key("k"), DeleteOptions::default()).await.expect("deleted");
    });
}

/// Larger than the whole limit: alone, and after those who came before.
#[test]
fn what_needs_more_than_there_is_goes_alone() {
    run(async {
        let server = Scales::new();
        let store = server.open(|config| config).await;
        let store = &store;
        let large = 3 * LIMIT;
        let done = Rc::new(RefCell::new(Vec::new()));
        let puts = [MIB, large, MIB, MIB].into_iter().enumerate().map(|(n, bytes)| {
            let done = Rc::clone(&done);
            async move {
                let result = store.put(&key(&format!("k{n}")), payload(bytes), PutOptions::default()).await;
                done.borrow_mut().push(n);
                result
            }
        });
        assert!(join_all(puts).await.iter().all(Result::is_ok));
        assert_eq!(server.most(), large, "nothing was under way beside it");
        assert_eq!(done.borrow()[..2], [0, 1], "in the order in which they came");
    });
}

/// A writer holds the parts that it has cut while they wait: that makes it slower, and locks nothing up.
#[test]
fn many_writers_share_what_there_is() {
    run(async {
        let server = Scales::new();
        let store = server.open(|config| config).await;
        join_all((0..4).map(|n| {
            let store = Rc::clone(&store);
            async move {
                let options = BufferedMultipartWriterOptions::default().with_concurrency(2);
                let mut writer = BufferedMultipartWriter::new(store, key(&format!("w{n}")), options)
                    .expect("options that can work");
                for _ in 0..12 {
                    writer.write(Bytes::from(vec![b'x'; 1 << 20])).await.expect("taken");
                }
                writer.finish().await.expect("stored");
            }
        }))
        .await;
        assert!(server.most() <= FOR_WORK, "{} bytes were under way", server.most());
    });
}

/// A body that was looked at once and then left alone, with a read under way.
#[test]
fn a_get_that_is_half_way_and_not_polled_holds_up_nobody_who_has_room() {
    run(async {
        let server = Scales::new();
        let store = server.open(|config| config).await;
        let mut got = store.get(&key("large"), GetOptions::default()).await.expect("opened").body;
        poll_fn(|cx| {
            let _looked_at = pin!(got.next_chunk()).poll(cx);
            Poll::Ready(())
        })
        .await;
        for _ in 0..BODIES * 2 {
            let other = store.get(&key("large"), GetOptions::default()).await.expect("opened");
            other.body.bytes().await.expect("all of it");
        }
        assert!(got.bytes().await.is_ok());
    });
}
