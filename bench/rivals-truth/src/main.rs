//! The same scripted faults, and what each client says of them: `object_store` beside ours.
//!
//! Each script is a list of rules for the proxy of `tests`, in front of the in-process server, which is looked at
//! without the proxy afterwards. An answer is judged by one rule: `Ok` says that the write is there, an error says that
//! it is not, and only an error that says "unknown" may say neither. Prints a table in Markdown, and writes the same
//! as JSON where `--json FILE` says so.

mod ours;
mod scripts;
mod theirs;

use std::process::ExitCode;

use serde_json::json;
use spike::server::{Server, ServerOptions};
use tests::fault_proxy::{FaultProxy, Setup};

use crate::scripts::{BUCKET, Script, scripts};

/// What a client said.
pub struct Said {
    /// In its own words, shortened.
    pub words: String,
    /// What that promises.
    pub promise: Promise,
}

/// What an answer promises about a write, or a read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// It was done; or: this is what is there.
    Done,
    /// It was not done and will not be; or: it could not be read.
    NotDone,
    /// It was not done, because an object was there before.
    Exists,
    /// Nothing.
    Unknown,
    /// Not even an answer: a panic.
    None,
}

fn judge(promise: Promise, done: bool, script: &Script) -> &'static str {
    match (promise, done) {
        (Promise::Exists, false) if !script.before.is_empty() => "true",
        (Promise::Exists, _) => "**wrong**",
        (Promise::Done, true) | (Promise::NotDone, false) => "true",
        (Promise::Unknown, _) => "says that it does not know",
        (Promise::Done | Promise::NotDone, _) => "**wrong**",
        (Promise::None, _) => "**wrong**: panic",
    }
}

fn play(script: &Script, client: fn(&Script, &str) -> Said) -> (Said, bool) {
    let options =
        ServerOptions { min_part_size: 1, buckets: vec![BUCKET.into()], ..ServerOptions::default() };
    let server = Server::start(options).expect("a server inside the process");
    for (key, bytes) in script.before {
        server.put_raw(BUCKET, key, bytes.as_bytes().to_vec());
    }
    let setup = Setup { rules: (script.rules)(), ..Setup::default() };
    let upstream = std::net::SocketAddr::from(([127, 0, 0, 1], server.port()));
    let proxy = FaultProxy::new(upstream, setup);
    let said = client(script, &format!("http://{}", proxy.address()));
    let done = (script.done)(&|key| server.object_bytes(BUCKET, key).map(|bytes| bytes.to_vec()));
    (said, done)
}

#[expect(clippy::disallowed_methods, reason = "a program that writes one file, with no task beside it")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let file = arguments.iter().position(|word| word == "--json").and_then(|at| arguments.get(at + 1));
    // A panic of a client is a result, and is printed as one.
    std::panic::set_hook(Box::new(|_| {}));
    let mut rows = Vec::new();
    println!("| what happens | in the store | object_store 0.14.2 | | ours | |\n|---|---|---|---|---|---|");
    for script in scripts() {
        let (rival, rival_done) = play(&script, theirs::run);
        let (own, own_done) = play(&script, ours::run);
        let state = |done| if done { script.if_done } else { script.if_not };
        let store = match (state(rival_done), state(own_done)) {
            (rival, own) if rival == own => own.to_owned(),
            (rival, own) => format!("{rival} (object_store), {own} (ours)"),
        };
        let (rival_is, own_is) =
            (judge(rival.promise, rival_done, &script), judge(own.promise, own_done, &script));
        println!("| {} | {store} | {} | {rival_is} | {} | {own_is} |", script.name, rival.words, own.words);
        rows.push(json!({
            "script": script.name,
            "object_store": { "said": rival.words, "store": state(rival_done), "verdict": rival_is },
            "ours": { "said": own.words, "store": state(own_done), "verdict": own_is },
        }));
    }
    if let Some(file) = file {
        let text = serde_json::to_string_pretty(&rows).expect("strings");
        if let Err(error) = std::fs::write(file, text + "\n") {
            eprintln!("{file}: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
