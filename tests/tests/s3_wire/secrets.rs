//! Nothing secret is printed, neither in an error (every test here looks: see `store::kind_of`) nor beside it.

use std::process::Command;

use futures_util::future::join_all;
use tests::scripted::{Act, Answer, Server};

use crate::operations::{READS, WRITES};
use crate::store::{SECRET, TOKEN, kind_of, open, run};

/// S3 repeats what was signed when the signature is wrong, and a hostile store may repeat anything anywhere.
#[test]
fn what_a_store_repeats_of_a_request_is_not_printed() {
    run(async {
        for op in WRITES.into_iter().chain(READS) {
            // What the request will hold is known only after it came, so the first answer breaks off.
            let server = Server::always(vec![Act::ReadAll, Act::Close]);
            let store = open(crate::store::config(server.address()).attempts_max(1)).await;
            assert!(op.run(&store).await.is_err(), "{op:?}");
            let seen = server.seen().remove(0);
            let signature = seen.signature().expect("signed");
            let line = seen.header("authorization").expect("signed");
            let echoes = [
                ("SignatureDoesNotMatch", format!("you sent {line}")),
                ("SignatureDoesNotMatch", format!("the signature {signature} is wrong")),
                ("InvalidToken", format!("the token {TOKEN} is malformed")),
                ("InvalidToken", format!("the token ({TOKEN}) is malformed")),
                (TOKEN, String::new()),
                (&signature, String::new()),
            ];
            join_all(echoes.iter().map(|(code, message)| {
                let (signature, line) = (&signature, &line);
                async move {
                    let body = format!(
                        "<Error><Code>{code}</Code><Message>{}</Message><StringToSign>AWS4-HMAC-SHA256 {line}\
                         </StringToSign><SignatureProvided>{signature}</SignatureProvided><Token-0>{TOKEN}</Token-0>\
                         </Error>",
                        message.replace('&', "&amp;")
                    );
                    for (status, request_id) in [(403, "R1"), (400, signature), (500, TOKEN)] {
                        let said = Answer::new(status).header("x-amz-request-id", request_id).body(body.clone());
                        let server = Server::always(tests::scripted::answer(said));
                        let store = open(crate::store::config(server.address()).attempts_max(1)).await;
                        let error = op.run(&store).await.expect_err("refused");
                        kind_of(&error, Some(&server));
                        let printed = format!("{error:?} {error:#?} {store:?}");
                        for secret in [signature.as_str(), TOKEN, SECRET] {
                            assert!(!printed.contains(secret), "{op:?}: {secret} in {printed}");
                        }
                    }
                }
            }))
            .await;
        }
    });
}

#[test]
fn nothing_secret_is_written_to_the_terminal() {
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.args(["--exact", "secrets::cells_in_a_child_process", "--nocapture"]);
    child.env(CHILD, "1").env("RUST_LOG", "trace").env("RUST_BACKTRACE", "1");
    let output = child.output().expect("it runs");
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
    for secret in [SECRET, TOKEN, "X-Amz-Signature", "AWS4-HMAC"] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}

const CHILD: &str = "S3_WIRE_TEST_CHILD";

/// The other half of the test above; by itself it has nothing to do.
#[test]
#[expect(clippy::disallowed_methods, reason = "how the parent process says that it is the parent")]
fn cells_in_a_child_process() {
    if std::env::var(CHILD).is_ok() {
        crate::writes::every_cell();
    }
}
