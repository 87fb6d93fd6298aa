//! Uploads that were given up: aborted in the background whatever the server says, and told of at the shutdown.

use std::rc::Rc;
use std::time::Duration;

use object_storage::{
    CompleteOptions, ETag, ErrorKind, GetOptions, Key, MultipartOptions, MultipartUpload, ObjectStorage,
    OperationId, Part, PartNumber, PutOptions, Result,
};
use s3_backend::{S3Storage, leaked_uploads};
use tests::scripted::{Act, Answer, Server, Setup, Step, answer};

use crate::operations;
use crate::store::{SHORT, SOON, config, now, open, run, store};

fn key() -> Key {
    operations::key("k")
}

fn created(id: &str) -> Answer {
    Answer::new(200).body(format!(
        "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
    ))
}

fn gone() -> Step {
    answer(Answer::error(404, "NoSuchUpload"))
}

fn aborted() -> Step {
    answer(Answer::new(204))
}

/// A listing with one part.
fn a_part() -> Step {
    answer(Answer::new(200).body(
        "<ListPartsResult><IsTruncated>false</IsTruncated><Part><PartNumber>1</PartNumber><ETag>\"t\"</ETag>\
         <Size>1</Size></Part></ListPartsResult>",
    ))
}

/// A listing without parts.
fn no_parts() -> Step {
    answer(Answer::new(200).body("<ListPartsResult><IsTruncated>false</IsTruncated></ListPartsResult>"))
}

fn server(steps: impl IntoIterator<Item = Step>) -> Server {
    Server::new([answer(created("u1"))].into_iter().chain(steps).collect())
}

async fn begin(store: &S3Storage) -> Result<Rc<dyn MultipartUpload>> {
    let upload = store.create_multipart_upload(&key(), MultipartOptions::default()).await?;
    assert!(upload.abort_on_drop());
    Ok(upload)
}

/// The methods of all requests after the first.
fn methods(server: &Server) -> String {
    let seen = server.seen();
    let methods = seen.iter().skip(1).map(|seen| seen.request_line());
    methods.map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect::<Vec<_>>().join(" ")
}

/// Begins an upload, gives it up, and waits until there is nothing left to do about it.
async fn give_up(store: &S3Storage) -> object_storage::ShutdownReport {
    drop(begin(store).await.expect("begun"));
    store.shutdown(Duration::from_secs(20)).await
}

#[test]
fn an_abort_that_fails_is_sent_again_until_the_upload_is_seen_to_be_gone() {
    let failed = || answer(Answer::error(500, "InternalError"));
    let no_bucket = || answer(Answer::error(404, "NoSuchBucket"));
    let scripts: Vec<(&str, Vec<Step>, &str)> = vec![
        ("at once", vec![aborted(), gone()], "DELETE GET"),
        ("it was gone", vec![gone(), gone()], "DELETE GET"),
        (
            "500, thrice",
            vec![failed(), failed(), failed(), aborted(), gone()],
            "DELETE DELETE DELETE DELETE GET",
        ),
        ("never answered", vec![vec![Act::ReadAll, Act::Stall], aborted(), gone()], "DELETE DELETE GET"),
        ("reset", vec![vec![Act::ReadAll, Act::Reset], aborted(), gone()], "DELETE DELETE GET"),
        ("404 of a proxy", vec![answer(Answer::html(404)), aborted(), gone()], "DELETE DELETE GET"),
        ("a part landed after it", vec![aborted(), a_part(), aborted(), gone()], "DELETE GET DELETE GET"),
        ("lists no parts of what is gone", vec![aborted(), no_parts(), no_parts()], "DELETE GET GET"),
        (
            "empty, and then a part lands",
            vec![aborted(), no_parts(), a_part(), aborted(), gone()],
            "DELETE GET GET DELETE GET",
        ),
        ("its bucket is gone", vec![no_bucket(), no_bucket()], "DELETE GET"),
        ("may not be listed", vec![aborted(), answer(Answer::error(403, "AccessDenied"))], "DELETE GET"),
    ];
    for (name, script, methods_expected) in scripts {
        run(async {
            let server = server(script);
            let store = open(config(server.address()).head_timeout(SHORT)).await;
            let report = give_up(&store).await;
            assert!(report.is_clean() && report.uploads_aborted == 1, "{name}: {report:?}");
            assert_eq!(methods(&server), methods_expected, "{name}");
            assert!(server.seen().iter().skip(1).all(|seen| seen.query("uploadId").as_deref() == Some("u1")));
        });
    }
}

#[test]
fn a_part_in_flight_when_its_handle_is_dropped_is_looked_for_twice() {
    run(async {
        let part = vec![Act::ReadAll, Act::Stall];
        let server = server([part, aborted(), gone(), a_part(), aborted(), gone(), gone()]);
        let store = store(&server).await;
        let upload = begin(&store).await.expect("begun");
        let sent = compio::time::timeout(SHORT, upload.upload_part(PartNumber::FIRST, "x".into())).await;
        sent.expect_err("it is not answered");
        drop(upload);
        let report = store.shutdown(Duration::from_secs(20)).await;
        assert!(report.is_clean() && report.uploads_aborted == 1, "{report:?}");
        assert_eq!(methods(&server), "PUT DELETE GET GET DELETE GET GET");
    });
}

#[test]
fn a_part_that_was_sent_twice_is_looked_for_twice() {
    run(async {
        let lost = vec![Act::ReadAll, Act::Reset];
        let server =
            server([lost, answer(Answer::new(200).header("etag", "\"t\"")), aborted(), gone(), gone()]);
        let store = store(&server).await;
        let upload = begin(&store).await.expect("begun");
        upload.upload_part(PartNumber::FIRST, "x".into()).await.expect("the second time");
        drop(upload);
        let report = store.shutdown(Duration::from_secs(20)).await;
        assert!(report.is_clean() && report.uploads_aborted == 1, "{report:?}");
        assert_eq!(methods(&server), "PUT PUT DELETE GET GET");
    });
}

#[test]
fn a_shutdown_waits_for_a_part_in_flight_before_it_looks() {
    run(async {
        let answered = Answer::new(200).header("etag", "\"t\"");
        let part = vec![Act::ReadAll, Act::Pause(SHORT), Act::Send(answered.raw())];
        let server = server([part, aborted(), gone()]);
        let store = store(&server).await;
        let upload = begin(&store).await.expect("begun");
        let part = upload.upload_part(PartNumber::FIRST, "x".into());
        let shut_down = async {
            compio::time::sleep(SHORT / 4).await;
            store.shutdown(Duration::from_secs(20)).await
        };
        let (part, report) = futures_util::future::join(part, shut_down).await;
        part.expect("it was under way, and is finished");
        assert!(report.is_clean() && report.uploads_aborted == 1, "{report:?}");
        let lines: Vec<String> = server.seen().iter().map(|seen| seen.request_line()).collect();
        assert_eq!(methods(&server), "PUT DELETE GET", "{lines:?}");
    });
}

#[test]
fn an_abort_that_is_forbidden_is_not_tried_again_and_told_of() {
    run(async {
        let forbidden = || answer(Answer::error(403, "AccessDenied"));
        let server = server([forbidden(), forbidden()]);
        let store = store(&server).await;
        for _ in 0..2 {
            let report = if server.seen().is_empty() {
                give_up(&store).await
            } else {
                store.shutdown(Duration::from_secs(20)).await
            };
            let left: Vec<_> = report.uploads_left.iter().map(|left| left.upload_id.as_str()).collect();
            assert_eq!((report.uploads_aborted, left), (0, vec!["u1"]));
            assert!(!report.is_clean());
        }
        assert_eq!(methods(&server), "DELETE DELETE", "once for each shutdown");
    });
}

#[test]
fn a_shutdown_is_over_at_its_deadline_and_tells_what_it_waited_for() {
    run(async {
        let stall = vec![Act::ReadAll, Act::Stall];
        let server =
            Server::with(Setup { steps: vec![answer(created("u1"))], rest: Some(stall), ..Setup::default() });
        let store = store(&server).await;
        let upload = begin(&store).await.expect("begun");
        let key = key();
        let mut put = Box::pin(store.put(&key, "x".into(), PutOptions::default()));
        assert!(compio::time::timeout(SHORT / 4, put.as_mut()).await.is_err());
        let started = now();
        let report = store.shutdown(SHORT).await;
        let took = started.elapsed();
        assert!(took >= SHORT && took < SHORT * 3, "{took:?}");
        assert_eq!((report.operations_unfinished, report.uploads_aborted), (1, 0), "{report:?}");
        assert_eq!(report.uploads_left.len(), 1, "{report:?}");
        // And again, with what was a live handle dropped meanwhile.
        drop(upload);
        drop(put);
        let report = store.shutdown(SHORT).await;
        assert_eq!((report.operations_unfinished, report.uploads_left.len()), (0, 1), "{report:?}");
    });
}

#[test]
fn a_creation_dropped_after_it_was_sent_is_heard_to_its_end_and_aborted() {
    run(async {
        let slow = vec![Act::ReadAll, Act::Pause(SHORT), Act::Send(created("u7").raw())];
        let server = Server::new(vec![slow, aborted(), gone()]);
        let store = store(&server).await;
        let key = key();
        let create = store.create_multipart_upload(&key, MultipartOptions::default());
        assert!(compio::time::timeout(SHORT / 4, create).await.is_err());
        let report = store.shutdown(Duration::from_secs(20)).await;
        assert!(report.is_clean() && report.uploads_aborted == 1, "{report:?}");
        assert_eq!(methods(&server), "DELETE GET");
        assert_eq!(server.seen()[1].query("uploadId").as_deref(), Some("u7"));
    });
}

#[test]
fn a_creation_that_one_shutdown_did_not_outwait_is_carried_on_by_the_next_and_counted_once() {
    run(async {
        let slow = vec![Act::ReadAll, Act::Pause(SHORT), Act::Send(created("u7").raw())];
        let server = Server::new(vec![slow, aborted(), gone()]);
        let store = store(&server).await;
        let key = key();
        let create = store.create_multipart_upload(&key, MultipartOptions::default());
        assert!(compio::time::timeout(SHORT / 4, create).await.is_err());
        let report = store.shutdown(SHORT / 4).await;
        assert_eq!((report.uploads_aborted, report.uploads_in_doubt), (0, 1), "{report:?}");
        let report = store.shutdown(Duration::from_secs(20)).await;
        assert!(report.is_clean() && report.uploads_aborted == 1, "{report:?}");
    });
}

#[test]
fn a_creation_whose_runtime_ends_is_in_doubt_and_nobody_waits_for_it() {
    for is_a_tasks in [false, true] {
        let slow = vec![Act::ReadAll, Act::Pause(SHORT * 2), Act::Send(created("u7").raw())];
        let server = Server::new(vec![slow]);
        let store = run(async {
            let store = Rc::new(store(&server).await);
            let create = {
                let store = Rc::clone(&store);
                async move {
                    let key = key();
                    store.create_multipart_upload(&key, MultipartOptions::default()).await.map(drop)
                }
            };
            if is_a_tasks {
                compio::runtime::spawn(create).detach();
                compio::time::sleep(SHORT / 4).await;
            } else {
                assert!(compio::time::timeout(SHORT / 4, create).await.is_err());
            }
            store
        });
        run(async {
            let started = now();
            let report = store.shutdown(SOON).await;
            assert!(started.elapsed() < SHORT, "{report:?} after {:?}", started.elapsed());
            assert_eq!(report.uploads_in_doubt, 1, "{report:?}");
        });
    }
}

#[test]
fn a_creation_whose_answer_was_lost_is_told_of() {
    run(async {
        let lost = vec![Act::ReadAll, Act::Reset];
        let server = Server::new(vec![lost, answer(created("u2")), aborted(), gone()]);
        let store = store(&server).await;
        let report = give_up(&store).await;
        assert_eq!((report.uploads_aborted, report.uploads_in_doubt), (1, 1), "{report:?}");
        assert!(!report.is_clean(), "the first attempt may have begun one too");
    });
}

#[test]
fn nothing_is_aborted_once_its_completion_was_sent_unless_that_was_refused() {
    let parts = || [Part::new(PartNumber::FIRST, ETag::parse("t").expect("a tag"), 1)];
    run(async {
        let lost = || vec![Act::ReadAll, Act::Reset];
        let nothing = || answer(Answer::new(404));
        let server = server([lost(), lost(), lost(), nothing()]);
        let store = store(&server).await;
        let upload = begin(&store).await.expect("begun");
        let error = upload.complete(&parts(), CompleteOptions::default()).await.expect_err("no answer");
        assert!(error.is_indeterminate(), "{error:?}");
        drop(upload);
        let report = store.shutdown(Duration::from_secs(20)).await;
        assert_eq!((report.uploads_aborted, report.uploads_in_doubt), (0, 1), "{report:?}");
        assert!(
            report.uploads_left.is_empty() && !methods(&server).contains("DELETE"),
            "{}",
            methods(&server)
        );
    });
    run(async {
        let server = server([answer(Answer::error(400, "InvalidPart")), aborted(), gone()]);
        let store = store(&server).await;
        let upload = begin(&store).await.expect("begun");
        upload.complete(&parts(), CompleteOptions::default()).await.expect_err("refused");
        drop(upload);
        let report = store.shutdown(Duration::from_secs(20)).await;
        assert!(report.is_clean() && report.uploads_aborted == 1, "{report:?}");
        assert_eq!(methods(&server), "POST DELETE GET");
    });
}

#[test]
fn a_completion_that_is_dropped_once_it_was_sent_is_in_doubt() {
    run(async {
        let server = server([vec![Act::ReadAll, Act::Stall]]);
        let store = store(&server).await;
        let upload = begin(&store).await.expect("begun");
        let parts = [Part::new(PartNumber::FIRST, ETag::parse("t").expect("a tag"), 1)];
        let completed = upload.complete(&parts, CompleteOptions::default());
        assert!(compio::time::timeout(SHORT, completed).await.is_err());
        drop(upload);
        let report = store.shutdown(Duration::from_secs(20)).await;
        assert_eq!((report.uploads_aborted, report.uploads_in_doubt), (0, 1), "{report:?}");
        assert_eq!(methods(&server), "POST");
    });
}

#[test]
fn who_cleans_up_after_a_shutdown_is_told_that_it_was_done() {
    run(async {
        let server = server([aborted(), gone()]);
        let store = store(&server).await;
        let upload = begin(&store).await.expect("begun");
        let report = store.shutdown(Duration::from_secs(20)).await;
        assert!(report.is_clean() && report.uploads_aborted == 1, "{report:?}");
        upload.abort().await.expect("it was aborted");
        let error = upload.list_parts_page(None).await.expect_err("there are none");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let error = upload.upload_part(PartNumber::FIRST, "x".into()).await.expect_err("shut down");
        assert_eq!(error.kind(), ErrorKind::ShutDown);
        assert_eq!(methods(&server), "DELETE GET");
    });
}

#[test]
fn an_upload_given_up_before_its_store_is_aborted_as_long_as_the_runtime_lives() {
    run(async {
        let server = server([aborted(), gone()]);
        let store = store(&server).await;
        let upload = begin(&store).await.expect("begun");
        drop(store);
        drop(upload);
        let started = now();
        while server.seen().len() < 3 && started.elapsed() < SOON {
            compio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(methods(&server), "DELETE GET");
    });
}

#[test]
fn what_a_runtime_that_ends_leaves_behind_is_counted() {
    let before = leaked_uploads();
    let server = server([]);
    run(async {
        let store = store(&server).await;
        drop(begin(&store).await.expect("begun"));
        // And that is the end, before anybody could abort it.
    });
    assert!(leaked_uploads() > before);
    assert_eq!(methods(&server), "");
}

#[test]
fn a_store_that_outlives_its_runtime_is_shut_down_on_another() {
    let server = server([aborted(), gone()]);
    let (store, upload) = run(async {
        let store = store(&server).await;
        let upload = begin(&store).await.expect("begun");
        (store, upload)
    });
    drop(upload);
    run(async {
        let report = store.shutdown(Duration::from_secs(20)).await;
        assert!(report.is_clean() && report.uploads_aborted == 1, "{report:?}");
    });
}

#[test]
fn a_body_goes_on_over_its_connection_after_a_shutdown_and_over_no_other() {
    const LEN: usize = 300_000;
    for breaks in [false, true] {
        run(async {
            let whole = Answer::new(200).header("etag", "\"t\"").body(vec![7; LEN]);
            let (head, body) = (whole.head(), vec![7; LEN]);
            let mut step =
                vec![Act::ReadAll, Act::Send([&head[..], &body[..LEN / 2]].concat()), Act::Pause(SHORT)];
            step.push(if breaks { Act::Reset } else { Act::Send(body[LEN / 2..].to_vec()) });
            let server = Server::new(vec![step]);
            let store = store(&server).await;
            let mut got = store.get(&key(), GetOptions::default()).await.expect("begun").body;
            assert!(store.shutdown(Duration::from_secs(20)).await.is_clean(), "it is not waited for");
            let (mut bytes, mut error) = (0, None);
            while let Some(chunk) = got.next_chunk().await {
                match chunk {
                    Ok(chunk) => bytes += chunk.len(),
                    Err(broken) => {
                        error = Some(broken.kind());
                        break;
                    }
                }
            }
            if breaks {
                assert_eq!(error, Some(ErrorKind::ShutDown), "after {bytes} bytes");
            } else {
                assert_eq!((bytes, error), (LEN, None));
            }
            assert_eq!(server.seen().len(), 1);
        });
    }
}

#[test]
fn a_shutdown_closes_idle_connections() {
    if tests::transport() != object_storage::config::Transport::Direct {
        // The pool of cyper's client cannot be told to.
        return;
    }
    run(async {
        let server = Server::new(vec![answer(Answer::new(200).header("etag", "\"t\""))]);
        let store = store(&server).await;
        store.put(&key(), "x".into(), PutOptions::default()).await.expect("stored");
        let report = store.shutdown(Duration::from_secs(20)).await;
        assert!(report.is_clean(), "{report:?}");
        let error = store.resolve(&key(), OperationId::random()).await.expect_err("shut down");
        assert_eq!(error.kind(), ErrorKind::ShutDown);
        // The socket is closed by the runtime.
        compio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!((server.connections(), server.ended(1)), (1, 1));
    });
}

#[test]
fn of_two_shutdowns_at_once_each_ends_with_the_work_or_at_its_own_deadline() {
    for is_first_short in [false, true] {
        run(async {
            let stored = Answer::new(200).header("etag", "\"t\"");
            let slow = vec![Act::ReadAll, Act::Pause(SHORT), Act::Send(stored.raw())];
            let server = server([slow, aborted(), gone()]);
            let store = Rc::new(store(&server).await);
            let upload = begin(&store).await.expect("begun");
            let started = now();
            let of_task = Rc::clone(&store);
            let put = compio::runtime::spawn(async move {
                of_task.put(&key(), "x".into(), PutOptions::default()).await.map(drop)
            });
            compio::time::sleep(SHORT / 4).await;
            let shut_down = |deadline| {
                let store = Rc::clone(&store);
                compio::runtime::spawn(async move { store.shutdown(deadline).await })
            };
            let first = shut_down(if is_first_short { SHORT / 4 } else { SOON });
            let second = shut_down(SOON);
            put.await.expect("a task").expect("it was under way");
            let (first, second) = (first.await.expect("a task"), second.await.expect("a task"));
            let took = started.elapsed();
            assert!(took < SOON, "{took:?}");
            assert_eq!(first.is_clean(), !is_first_short, "{first:?}");
            assert!(second.is_clean() && second.uploads_aborted == 1, "{second:?}");
            drop(upload);
        });
    }
}
