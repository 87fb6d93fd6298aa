//! Connections that are used again, or must not be.

use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::pin_mut;
use object_storage::{ErrorKind, GetOptions, ObjectStorage, PutMode};
use tests::scripted::{Act, Answer, Server, answer};

use crate::operations::{Op, WRITES, key, payload, put_options};
use crate::store::{ATTEMPTS, kind_of, outcome, run, store};

/// Long enough for what is under way to happen, short beside any timeout.
async fn a_moment() {
    compio::time::sleep(Duration::from_millis(60)).await;
}

#[test]
fn one_connection_serves_one_request_after_another() {
    run(async {
        for op in WRITES {
            let server = Server::always(op.good_step());
            let store = store(&server).await;
            for _ in 0..3 {
                let result = op.run(&store).await;
                assert_eq!(outcome(&result, &server), None, "{op:?}: {result:?}");
            }
            assert_eq!(server.connections(), 1, "{op:?}");
        }
    });
}

/// The server closed an idle connection: nothing was sent, so everything goes again on a new one, also the
/// conditional, and without an attempt being spent.
#[test]
fn a_connection_that_was_closed_while_idle_costs_nothing() {
    run(async {
        for op in WRITES {
            for rude in [Act::Close, Act::Reset] {
                let mut first = op.good_step();
                first.push(rude);
                let server = Server::new(vec![first, op.good_step()]);
                let store = crate::store::open(crate::store::config(server.address()).attempts_max(1)).await;
                assert_eq!(outcome(&op.run(&store).await, &server), None, "{op:?}");
                a_moment().await;
                let result = op.run(&store).await;
                assert_eq!(outcome(&result, &server), None, "{op:?}: {result:?}");
                assert_eq!((server.connections(), server.seen().len()), (2, 2), "{op:?}: applied once each");
            }
        }
    });
}

/// The same without giving the runtime a chance to notice before the next request: either it is noticed before a
/// byte leaves, or the outcome is open. It is never sent twice.
#[test]
fn a_connection_that_closes_under_the_next_request_is_never_trusted() {
    run(async {
        for op in [Op::Create, Op::CreateEmpty, Op::DeleteMatch, Op::Complete] {
            for rude in [Act::Close, Act::Reset] {
                let mut first = op.good_step();
                first.push(rude);
                let server = Server::new(vec![first, op.good_step()]);
                let store = store(&server).await;
                assert_eq!(outcome(&op.run(&store).await, &server), None, "{op:?}");
                block(Duration::from_millis(30));
                let result = op.run(&store).await;
                let kind = outcome(&result, &server);
                assert!(matches!(kind, None | Some(ErrorKind::Indeterminate)), "{op:?}: {result:?}");
                assert!(server.seen().len() <= 2, "{op:?}");
            }
        }
    });
}

#[expect(clippy::disallowed_methods, reason = "blocking the runtime is the point")]
fn block(pause: Duration) {
    std::thread::sleep(pause);
}

/// A second answer to the first request must not become the answer to the second one.
#[test]
fn a_duplicate_answer_is_nobodys() {
    run(async {
        let twice = [Op::Create.good().raw(), Op::Create.good().raw()].concat();
        let refused = answer(Answer::error(412, "PreconditionFailed"));
        let server = Server::new(vec![answer(twice), refused, Op::another_is_there()]);
        let store = store(&server).await;
        assert_eq!(outcome(&Op::Create.run(&store).await, &server), None);
        let result = Op::Create.run(&store).await;
        assert_eq!(outcome(&result, &server), Some(ErrorKind::AlreadyExists), "{result:?}");
        assert_eq!(server.connections(), 2);
    });
}

/// "Stored" before the bytes were sent is a lie, or the late answer to somebody else's request.
#[test]
fn a_success_that_comes_before_the_bytes_have_left_is_not_believed() {
    run(async {
        for (op, expected) in [(Op::Create, None), (Op::Put, None)] {
            // cyper does not read while it cannot write, so the server reads on in the end.
            let pause = Act::Pause(Duration::from_millis(50));
            let early = vec![Act::ReadHead, Act::Send(op.good().raw()), pause, Act::ReadAll];
            let server = Server::new(vec![early, op.good_step()]);
            let store = store(&server).await;
            let large = object_storage::Payload::from(vec![b'x'; 16 << 20]);
            let mode = if op == Op::Create { PutMode::Create } else { PutMode::Overwrite };
            let result = store.put(&key("k"), large, put_options(mode)).await.map(drop);
            assert_eq!(outcome(&result, &server), expected, "{op:?}: {result:?}");
        }
    });
}

/// S3 refuses before it has read everything. As long as it goes on reading, or closes gently, the refusal arrives.
#[test]
fn an_early_refusal_of_a_large_put_is_read() {
    run(async {
        for mode in [PutMode::Create, PutMode::Overwrite] {
            let refusal = Answer::error(403, "AccessDenied").header("connection", "close").raw();
            let gentle = vec![Act::ReadHead, Act::Send(refusal), Act::Close];
            let server = Server::new(vec![gentle]);
            let large = object_storage::Payload::from(vec![b'x'; 8 << 20]);
            let result = store(&server).await.put(&key("k"), large, put_options(mode)).await.map(drop);
            assert_eq!(outcome(&result, &server), Some(ErrorKind::PermissionDenied), "{result:?}");
        }
        // Rudely, the reset may overtake it: then nobody knows, and that is what is said.
        let refusal = Answer::error(403, "AccessDenied").raw();
        let server = Server::new(vec![vec![Act::ReadHead, Act::Send(refusal), Act::Reset]]);
        let large = object_storage::Payload::from(vec![b'x'; 8 << 20]);
        let result = store(&server).await.put(&key("k"), large, put_options(PutMode::Create)).await.map(drop);
        let kind = outcome(&result, &server);
        assert!(
            matches!(kind, Some(ErrorKind::PermissionDenied | ErrorKind::Indeterminate)),
            "{kind:?} {result:?}"
        );
        // And what nobody knows is sent again, and looked for.
        let requests = if kind == Some(ErrorKind::Indeterminate) { 2 * ATTEMPTS as usize } else { 1 };
        assert_eq!(server.seen().len(), requests);
    });
}

#[test]
fn a_body_that_is_dropped_halfway_spoils_nothing() {
    run(async {
        let large = Answer::new(200).header("etag", "\"e\"").body(vec![b'x'; 4 << 20]);
        let server = Server::new(vec![answer(large), Op::Get.good_step(), Op::Create.good_step()]);
        let store = store(&server).await;
        let mut got = store.get(&key("k"), GetOptions::default()).await.expect("opened");
        let _first = got.body.next_chunk().await.expect("a chunk").expect("read");
        drop(got);
        for op in [Op::Get, Op::Create] {
            let result = op.run(&store).await;
            assert_eq!(outcome(&result, &server), None, "{op:?}: {result:?}");
        }
        // The half-read connection was closed; the other one serves on.
        assert_eq!(server.connections(), 2);
        assert!(server.ended(1) >= 1);
    });
}

#[test]
fn a_put_that_is_dropped_halfway_is_cut_off_and_spoils_nothing() {
    run(async {
        for read in [Act::ReadHead, Act::ReadBody(1000), Act::ReadAll] {
            let server = Server::new(vec![vec![read.clone(), Act::Stall], Op::Create.good_step()]);
            let store = store(&server).await;
            {
                let key = key("k");
                let put = store.put(&key, payload(), put_options(PutMode::Create));
                let wait = compio::time::sleep(Duration::from_millis(100));
                pin_mut!(wait);
                match select(put, wait).await {
                    Either::Left((result, _)) => panic!("nobody answered: {result:?}"),
                    Either::Right(((), put)) => drop(put),
                }
            }
            let result = Op::Create.run(&store).await;
            assert_eq!(outcome(&result, &server), None, "{read:?}: {result:?}");
            assert_eq!(server.connections(), 2, "{read:?}: its connection is not used again");
            if matches!(read, Act::ReadAll) {
                assert!(server.ended(1) >= 1, "{read:?}: its connection is closed");
            }
        }
    });
}

#[test]
fn many_at_once_do_not_get_each_others_answers() {
    run(async {
        let server = Server::always(answer(Answer::error(404, "NoSuchKey")));
        let store = store(&server).await;
        let puts = (0..16).map(|n| {
            let store = &store;
            async move {
                let key = key(&format!("k{n}"));
                let error = store.get(&key, GetOptions::default()).await.expect_err("not there");
                assert_eq!(error.key(), Some(key.as_str()));
                kind_of(&error, None)
            }
        });
        let kinds = futures_util::future::join_all(puts).await;
        assert!(kinds.iter().all(|kind| *kind == ErrorKind::NotFound));
    });
}

/// A store may be kept longer than its runtime, and be used on another: its connections and its clock are made anew.
#[test]
fn a_store_outlives_its_runtime() {
    let large = vec![b'x'; 400_000];
    let answer = || tests::scripted::Answer::new(200).header("etag", "\"e\"").body(large.clone());
    let cut = answer().raw()[..200_000].to_vec();
    let server = Server::new(vec![
        Op::Create.good_step(),
        tests::scripted::answer(answer()),
        Op::Create.good_step(),
        vec![Act::ReadAll, Act::Send(cut), Act::Stall],
    ]);
    let (store, body) = run(async {
        let store = crate::store::open(
            crate::store::config(server.address())
                .connect_timeout(crate::store::SHORT)
                .body_timeout(crate::store::SHORT)
                .attempts_max(1),
        )
        .await;
        assert_eq!(outcome(&Op::Create.run(&store).await, &server), None);
        let got = store.get(&key("k"), object_storage::GetOptions::default()).await.expect("opened");
        (store, got.body)
    });
    drop(body);
    a_while();
    run(async {
        assert_eq!(outcome(&Op::Create.run(&store).await, &server), None);
        let got = store.get(&key("k"), object_storage::GetOptions::default()).await.expect("opened");
        let error = got.body.bytes().await.expect_err("stalled");
        assert_eq!(crate::store::kind_of(&error, Some(&server)), object_storage::ErrorKind::Timeout);
    });
    drop(store);
}

/// A connection that lies idle when its runtime ends is not used in another: nobody would hear an answer there.
#[test]
fn a_store_goes_on_at_once_in_another_runtime() {
    let server = Server::always(answer(Answer::new(200).header("etag", "\"e\"")));
    let store = run(async {
        let store = store(&server).await;
        assert_eq!(outcome(&Op::Create.run(&store).await, &server), None);
        store
    });
    run(async { assert_eq!(outcome(&Op::Create.run(&store).await, &server), None) });
    assert_eq!(server.seen().len(), 2, "nothing was sent in vain");
}

fn a_while() {
    block(crate::store::SHORT);
}
