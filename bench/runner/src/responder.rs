//! The responder's process, and what it says it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::Deserialize;

use crate::build::Place;

#[derive(Debug)]
pub(crate) struct Responder {
    child: Child,
    pub(crate) http: String,
    pub(crate) https: String,
    pub(crate) ca: PathBuf,
}

/// What it was asked since the last time.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Counts {
    pub(crate) puts: u64,
    pub(crate) put_bytes: u64,
    pub(crate) gets: u64,
    pub(crate) get_bytes: u64,
    pub(crate) list_pages: u64,
    pub(crate) list_keys: u64,
    pub(crate) creates: u64,
    pub(crate) parts: u64,
    pub(crate) part_bytes: u64,
    pub(crate) completes: u64,
    pub(crate) others: u64,
}

impl Responder {
    pub(crate) fn start(place: &Place, ca: &Path, core: usize) -> Result<Responder, String> {
        let mut child = Command::new(place.program("responder"))
            .arg("--ca")
            .arg(ca)
            .args(["--core", &core.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("the responder does not start: {error}"))?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("the responder has no output")?;
        BufReader::new(stdout).read_line(&mut line).map_err(|error| error.to_string())?;
        let (http, https) = line.trim().split_once(' ').ok_or("the responder did not say where it is")?;
        Ok(Responder { child, http: http.to_owned(), https: https.to_owned(), ca: ca.to_owned() })
    }

    /// What it was asked since the last call.
    pub(crate) fn counts(&self) -> Result<Counts, String> {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(self.http.trim_start_matches("http://"))?;
            stream.write_all(b"GET /-/counts HTTP/1.1\r\n\r\n")?;
            stream.shutdown(std::net::Shutdown::Write)?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = ask().map_err(|error| format!("the responder does not answer: {error}"))?;
        let (_, body) = answer.split_once("\r\n\r\n").ok_or("the responder's answer has no body")?;
        serde_json::from_str(body).map_err(|error| format!("the responder's counts: {error}"))
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        // It ends when nobody holds its standard input any more.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
