//! Bodies that break off: the rest is asked for, of the same version, and never another.

use std::time::Duration;

use futures_util::future::join_all;
use object_storage::{ErrorKind, GetOptions, ObjectStorage};
use tests::scripted::{Act, Answer, Server, Step, answer};

use crate::operations::{BYTES, key};
use crate::store::{SHORT, config, kind_of, open, run};

/// A get whose body ends after so many bytes, in this way.
fn cut(bytes: usize, end: Act) -> Step {
    let head = Answer::new(200).header("etag", "\"e\"").length(Some(BYTES.len() as u64)).head();
    vec![Act::ReadAll, Act::Send([&head, &BYTES[..bytes]].concat()), end]
}

/// The rest from there, of the version of this tag.
fn rest(from: usize, tag: &str) -> Answer {
    let range = format!("bytes {from}-{}/{}", BYTES.len() - 1, BYTES.len());
    Answer::new(206).header("etag", tag).header("content-range", &range).body(&BYTES[from..])
}

async fn get(server: &Server, attempts_max: u32) -> Result<Vec<u8>, ErrorKind> {
    let store = open(config(server.address()).attempts_max(attempts_max).body_timeout(SHORT)).await;
    let got = store.get(&key("k"), GetOptions::default()).await.expect("opened");
    let bytes = got.body.bytes().await.map_err(|error| kind_of(&error, Some(server)))?;
    Ok(bytes.to_vec())
}

#[test]
fn the_rest_of_a_body_is_asked_for_of_the_same_version() {
    run(join_all([Act::Close, Act::Reset, Act::Stall].map(|end| async move {
        let server = Server::new(vec![cut(4, end.clone()), answer(rest(4, "\"e\""))]);
        assert_eq!(get(&server, 3).await.as_deref(), Ok(BYTES), "{end:?}");
        let seen = server.seen();
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[1].header("range").as_deref(), Some("bytes=4-9"));
        assert_eq!(seen[1].header("if-match").as_deref(), Some("\"e\""));
    })));
}

#[test]
fn two_versions_are_never_joined() {
    run(async {
        let refused = Answer::error(412, "PreconditionFailed");
        // The store keeps the condition, or ignores it.
        for (second, kind) in [
            (refused, ErrorKind::PreconditionFailed),
            (rest(4, "\"other\""), ErrorKind::PreconditionFailed),
            (Answer::error(404, "NoSuchKey"), ErrorKind::NotFound),
            (rest(5, "\"e\""), ErrorKind::Protocol),
        ] {
            let server = Server::new(vec![cut(4, Act::Close), answer(second)]);
            assert_eq!(get(&server, 3).await, Err(kind));
            assert_eq!(server.seen().len(), 2);
        }
    });
}

#[test]
fn a_body_that_breaks_off_again_and_again_ends() {
    run(async {
        // One byte further each time.
        let broken = |from: usize| {
            let range = format!("bytes {from}-9/10");
            let head = Answer::new(206).header("etag", "\"e\"").header("content-range", &range);
            let head = head.length(Some((BYTES.len() - from) as u64)).head();
            vec![Act::ReadAll, Act::Send([&head, &BYTES[from..=from]].concat()), Act::Close]
        };
        let server = Server::new([vec![cut(1, Act::Close)], (1..9).map(broken).collect()].concat());
        assert_eq!(get(&server, 4).await, Err(ErrorKind::Unavailable));
        assert_eq!(server.seen().len(), 4);
        // One attempt is one attempt.
        let server = Server::new(vec![cut(4, Act::Close), answer(rest(4, "\"e\""))]);
        assert_eq!(get(&server, 1).await, Err(ErrorKind::Unavailable));
        assert_eq!(server.seen().len(), 1);
    });
}

#[test]
fn a_range_is_resumed_within_itself_and_without_a_tag_nothing_is() {
    run(async {
        let head = Answer::new(206).header("etag", "\"e\"").header("content-range", "bytes 2-7/10");
        let first = [head.length(Some(6)).head(), b"23".to_vec()].concat();
        let second = Answer::new(206).header("etag", "\"e\"").header("content-range", "bytes 4-7/10");
        let server =
            Server::new(vec![vec![Act::ReadAll, Act::Send(first), Act::Close], answer(second.body("4567"))]);
        let store = open(config(server.address())).await;
        let options = GetOptions::default().with_range(2..8);
        let got = store.get(&key("k"), options).await.expect("opened");
        assert_eq!(&got.body.bytes().await.expect("all of it")[..], b"234567");
        assert_eq!(server.seen()[1].header("range").as_deref(), Some("bytes=4-7"));

        let untagged = Answer::new(200).length(Some(10)).head();
        let step = vec![Act::ReadAll, Act::Send([&untagged[..], b"0123"].concat()), Act::Close];
        let server = Server::new(vec![step, answer(rest(4, "\"e\""))]);
        assert_eq!(get(&server, 3).await, Err(ErrorKind::Unavailable));
        assert_eq!(server.seen().len(), 1);
    });
}

/// A store that stalls in every body costs its limit each time, and no more.
#[test]
fn stalls_add_up_to_a_bound() {
    run(async {
        let started = crate::store::now();
        let server = Server::new(vec![cut(4, Act::Stall), cut(4, Act::Stall)]);
        assert!(get(&server, 2).await.is_err());
        assert!(started.elapsed() < SHORT * 2 + Duration::from_secs(8));
    });
}
