//! Every wait ends, at its own limit, and says truthfully whether anything had left.

use std::time::Duration;

use futures_util::future::{join, join_all};
use object_storage::config::{BODY_WINDOW_BYTES, ObjectConfigBuilder};
use object_storage::{ErrorKind, GetOptions, ObjectStorage, Payload, PutMode, PutOptions};
use tests::scripted::{Act, Answer, Server, Setup, answer};

use crate::operations::{Effect, Op, READS, WRITES, key, put_options};
use crate::store::{SHORT, SOON, config, kind_of, now, open, outcome, run};

/// Generous in everything but what a test is about.
fn patient(server: &Server) -> ObjectConfigBuilder {
    let long = Duration::from_secs(30);
    config(server.address())
        .attempts_max(1)
        .connect_timeout(long)
        .send_timeout(long)
        .head_timeout(long)
        .body_timeout(long)
        .complete_timeout(long)
}

fn timed_out(op: Op) -> ErrorKind {
    if op.effect() == Effect::Read { ErrorKind::Timeout } else { ErrorKind::Indeterminate }
}

#[test]
fn silence_before_the_answer_ends_at_its_limit() {
    run(join_all(WRITES.into_iter().chain(READS).map(|op| async move {
        let server = Server::always(vec![Act::ReadAll, Act::Stall]);
        let builder = patient(&server).head_timeout(SHORT).complete_timeout(SHORT);
        let started = now();
        let result = op.run(&open(builder).await).await;
        assert_eq!(outcome(&result, &server), Some(timed_out(op)), "{op:?}: {result:?}");
        assert!((SHORT..SOON).contains(&started.elapsed()), "{op:?} took {:?}", started.elapsed());
        assert_eq!(server.seen().len(), 1 + usize::from(op.leaves_proof()), "{op:?}");
    })));
}

#[test]
fn an_answer_that_stops_halfway_ends_at_its_limit() {
    let ops = WRITES
        .into_iter()
        .chain(READS)
        .filter(|op| !op.head_decides() && op.good().raw() != op.good().head());
    run(join_all(ops.map(|op| async move {
        let mut cut = op.good().raw();
        cut.pop();
        let server = Server::always(vec![Act::ReadAll, Act::Send(cut), Act::Stall]);
        let builder = patient(&server).body_timeout(SHORT).complete_timeout(SHORT);
        let started = now();
        let result = op.run(&open(builder).await).await;
        assert_eq!(outcome(&result, &server), Some(timed_out(op)), "{op:?}: {result:?}");
        assert!((SHORT..SOON).contains(&started.elapsed()), "{op:?} took {:?}", started.elapsed());
    })));
}

/// A byte now and then satisfies every limit on silence: the limit on the operation ends it.
#[test]
fn a_document_that_drips_ends_with_the_operation() {
    let ops = WRITES.into_iter().chain(READS).filter(|op| {
        !op.head_decides() && !matches!(op, Op::Get | Op::Range) && op.good().raw() != op.good().head()
    });
    run(join_all(ops.map(|op| async move {
        let head = Answer::new(200).length(Some(100_000)).head();
        let drip = Act::Drip(vec![b' '; 100_000], Duration::from_millis(20));
        let server = Server::always(vec![Act::ReadAll, Act::Send(head), drip]);
        let builder = config(server.address())
            .attempts_max(1)
            .connect_timeout(SHORT)
            .send_timeout(SHORT)
            .head_timeout(SHORT)
            .body_timeout(SHORT)
            .complete_timeout(SHORT)
            .operation_timeout(SHORT * 2);
        let started = now();
        let result = op.run(&open(builder).await).await;
        assert_eq!(outcome(&result, &server), Some(timed_out(op)), "{op:?}: {result:?}");
        assert!(started.elapsed() < SOON, "{op:?} took {:?}", started.elapsed());
    })));
}

#[test]
fn a_head_that_drips_ends_at_its_limit() {
    run(join_all([Op::Get, Op::Create, Op::List].map(|op| async move {
        let head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n", "x".repeat(1000));
        let drip = Act::Drip(head.into_bytes(), Duration::from_millis(20));
        let server = Server::always(vec![Act::ReadAll, drip]);
        let started = now();
        let result = op.run(&open(patient(&server).head_timeout(SHORT)).await).await;
        assert_eq!(outcome(&result, &server), Some(timed_out(op)), "{op:?}: {result:?}");
        assert!((SHORT..SOON).contains(&started.elapsed()), "{op:?} took {:?}", started.elapsed());
    })));
}

/// The same patience every time would never have an answer.
#[test]
fn a_store_that_is_slow_but_alive_is_waited_for_longer_each_time() {
    run(join_all([Op::Get, Op::Put, Op::Create, Op::Delete, Op::List].map(|op| async move {
        let slow = [vec![Act::ReadAll, Act::Pause(SHORT * 2)], op.good_step()[1..].to_vec()].concat();
        let server = Server::always(slow);
        let result = op.run(&open(patient(&server).attempts_max(3).head_timeout(SHORT)).await).await;
        assert_eq!(outcome(&result, &server), None, "{op:?}: {result:?}");
        // 1, 2 and 4 times the limit: what takes twice it is answered at the third attempt at the latest.
        assert!((2..=3).contains(&server.seen().len()), "{op:?}: {} attempts", server.seen().len());
    })));
}

/// A server that takes the connection and never reads: the send limit ends it, and since bytes may have left, the
/// outcome is open.
#[test]
fn a_server_that_does_not_read_ends_the_sending_at_its_limit() {
    run(join_all([PutMode::Create, PutMode::Overwrite].map(|mode| async move {
        let row = format!("{mode:?}");
        let setup = Setup { rest: Some(vec![Act::Stall]), receive_buffer: Some(4096), ..Setup::default() };
        let server = Server::with(setup);
        // More than the buffers between us hold. The limit on sending grows by a second for each MiB.
        let many: Payload = (0..16).map(|_| bytes::Bytes::from(vec![b'x'; 256 << 10])).collect();
        let limit = SHORT + Duration::from_secs(4);
        let store = open(patient(&server).send_timeout(SHORT)).await;
        let started = now();
        let result = store.put(&key("k"), many, put_options(mode)).await.map(drop);
        assert_eq!(outcome(&result, &server), Some(ErrorKind::Indeterminate), "{row}: {result:?}");
        // The object is looked at for at most ten seconds.
        let longest = limit + SOON + Duration::from_secs(10);
        assert!((limit..longest).contains(&started.elapsed()), "{row} took {:?}", started.elapsed());
        assert!(format!("{result:?}").contains("sending took longer"), "{row}: {result:?}");
    })));
}

/// A connection that is made but never speaks TLS: nothing of the request has left.
#[test]
fn a_silent_handshake_is_a_connection_that_was_not_made() {
    run(join_all([Op::Create, Op::DeleteMatch, Op::CreateEmpty, Op::Get].map(|op| async move {
        let server = Server::always(vec![Act::Stall]);
        let builder =
            patient(&server).endpoint(format!("https://{}", server.address())).connect_timeout(SHORT);
        let builder = builder.tls_roots(object_storage::config::TlsRoots::Webpki);
        let started = now();
        let result = op.run(&open(builder).await).await;
        assert_eq!(outcome(&result, &server), Some(ErrorKind::Timeout), "{op:?}: {result:?}");
        assert!((SHORT..SOON).contains(&started.elapsed()), "{op:?} took {:?}", started.elapsed());
    })));
}

/// The time of an operation ends it between attempts and within one; nothing is begun after it.
#[test]
fn all_attempts_together_have_one_limit() {
    run(join_all([Op::Put, Op::Get, Op::List, Op::Delete].map(|op| async move {
        let server = Server::always(vec![Act::ReadAll, Act::Stall]);
        let builder = config(server.address())
            .attempts_max(100)
            .connect_timeout(SHORT)
            .send_timeout(SHORT)
            .head_timeout(SHORT / 2)
            .body_timeout(SHORT)
            .operation_timeout(SHORT * 2);
        let started = now();
        let result = op.run(&open(builder).await).await;
        assert_eq!(outcome(&result, &server), Some(timed_out(op)), "{op:?}: {result:?}");
        assert!(started.elapsed() < SOON, "{op:?} took {:?}", started.elapsed());
        assert!((2..=8).contains(&server.seen().len()), "{op:?}: {} attempts", server.seen().len());
    })));
}

/// A throttled store that asks for an hour is not waited for.
#[test]
fn a_pause_beyond_the_operation_is_not_made() {
    run(join_all([Op::Put, Op::Get].map(|op| async move {
        let slow = Answer::error(503, "SlowDown").header("retry-after", "3600");
        let server = Server::always(tests::scripted::answer(slow));
        let started = now();
        let result =
            op.run(&open(config(server.address()).operation_timeout(Duration::from_secs(10))).await).await;
        let expected = if op == Op::Get { ErrorKind::Throttled } else { ErrorKind::Indeterminate };
        assert_eq!(outcome(&result, &server), Some(expected), "{op:?}: {result:?}");
        assert!(started.elapsed() < SOON, "{op:?} took {:?}", started.elapsed());
    })));
}

#[test]
fn a_body_that_stalls_is_a_timeout_and_the_store_goes_on() {
    run(async {
        let head = Answer::new(200).header("etag", "\"e\"").body("01234").length(Some(10)).raw();
        let server = Server::new(vec![vec![Act::ReadAll, Act::Send(head), Act::Stall], Op::Get.good_step()]);
        let store = open(patient(&server).body_timeout(SHORT)).await;
        let got = store.get(&key("k"), GetOptions::default()).await.expect("opened");
        let error = got.body.bytes().await.expect_err("stalled");
        assert_eq!(kind_of(&error, Some(&server)), ErrorKind::Timeout);
        assert_eq!(outcome(&Op::Get.run(&store).await, &server), None);
        assert!(server.ended(1) >= 1, "the stalled connection is closed");
    });
}

/// Whoever sends little at a time is slow, not silent.
#[test]
fn a_large_body_that_trickles_arrives() {
    run(async {
        let body = vec![b'x'; 600_000];
        let answer = Answer::new(200).header("etag", "\"e\"").body(body.clone()).raw();
        let mut step = vec![Act::ReadAll];
        for piece in answer.chunks(20_000) {
            step.extend([Act::Send(piece.to_vec()), Act::Pause(SHORT / 8)]);
        }
        let server = Server::new(vec![step, Op::Get.good_step()]);
        let store = open(patient(&server).body_timeout(SHORT)).await;
        let got = store.get(&key("k"), GetOptions::default()).await.expect("opened");
        assert!(got.body.bytes().await.expect("all of it") == body);
        assert_eq!(outcome(&Op::Get.run(&store).await, &server), None);
    });
}

/// The store gives all its memory to one, and takes long; the other would be let in with a quarter of its time left.
#[test]
fn who_waits_for_memory_for_half_of_its_time_sends_nothing() {
    run(async {
        let good = answer(Op::Put.good())[1..].to_vec();
        let slow = |pause| [vec![Act::ReadAll, Act::Pause(pause)], good.clone()].concat();
        let server = Server::new(vec![slow(SHORT * 6), slow(SHORT * 6)]);
        let part = 5 * 1024 * 1024;
        let store = open(
            config(server.address())
                .attempts_max(1)
                .multipart_part_size(part)
                .memory_limit(part + BODY_WINDOW_BYTES)
                .connect_timeout(SHORT)
                .send_timeout(SHORT)
                .head_timeout(SHORT * 8)
                .body_timeout(SHORT)
                .operation_timeout(SHORT * 8),
        )
        .await;
        let started = now();
        let (large, small) = (key("large"), key("small"));
        let large = store.put(&large, vec![b'x'; 5 * 1024 * 1024].into(), PutOptions::default());
        let small = async {
            let ended = store.put(&small, "x".into(), PutOptions::default()).await;
            (ended, started.elapsed())
        };
        let (large, (small, took)) = join(large, small).await;
        large.expect("stored");
        let error = small.expect_err("it did not get its memory in time");
        assert_eq!(kind_of(&error, Some(&server)), ErrorKind::Timeout, "{error:?}");
        assert!(error.message().contains("nothing was sent"), "{error}");
        assert!((SHORT * 4..SHORT * 6).contains(&took), "{took:?}");
        assert_eq!(server.seen().len(), 1);
    });
}
