//! `spike serve`: the in-process S3 server as a process of its own, for other programs to speak to.

use std::io::{Read, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use spike::server::{Server, ServerOptions};

use crate::complain;
use crate::exit::Exit;
use crate::target::BUCKET;

/// Names under `localhost` are this machine without any set-up (RFC 6761); two labels, because no certificate may
/// be for every name under one.
const DOMAIN: &str = "s3.localhost";

/// How to serve.
#[derive(Debug, Default)]
pub(crate) struct Serve {
    /// 0 takes a free one.
    pub(crate) port: u16,
    /// Where to write the certificate to trust; https if there is such a place.
    pub(crate) ca_file: Option<PathBuf>,
    /// Whether to print one line of JSON in place of lines for people.
    pub(crate) json: bool,
    /// Whether to end with standard input: a parent that dies takes the server with it.
    pub(crate) until_stdin_closes: bool,
}

/// What a client must know, in the one line of `spike serve --json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Served {
    pub(crate) endpoint: String,
    /// For virtual-host style, which an address of numbers cannot have.
    pub(crate) endpoint_by_name: String,
    pub(crate) bucket: String,
    pub(crate) region: String,
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
    pub(crate) ca_file: Option<PathBuf>,
}

/// Serves until the process is told to end, or its standard input does.
pub(crate) fn serve(serve: &Serve) -> Exit {
    let options = ServerOptions {
        buckets: vec![BUCKET.into()],
        port: serve.port,
        tls: serve.ca_file.is_some(),
        domain: Some(DOMAIN.into()),
        ..ServerOptions::default()
    };
    let server = match Server::start(options.clone()) {
        Ok(server) => server,
        Err(error) => return complain(&format!("no server on port {} of 127.0.0.1: {error}", serve.port)),
    };
    if let (Some(path), Some(pem)) = (&serve.ca_file, server.ca_pem()) {
        #[expect(clippy::disallowed_methods, reason = "no runtime waits on this thread")]
        if let Err(error) = std::fs::write(path, pem) {
            return complain(&format!("{} cannot be written: {error}", path.display()));
        }
    }
    let served = Served {
        endpoint: server.endpoint(),
        endpoint_by_name: server.endpoint().replace("127.0.0.1", DOMAIN),
        bucket: BUCKET.into(),
        region: options.region,
        access_key_id: options.access_key_id,
        secret_access_key: options.secret_access_key,
        ca_file: serve.ca_file.clone(),
    };
    let text = if serve.json { json(&served) } else { text(&served) };
    let mut stdout = std::io::stdout();
    if stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_err() {
        return Exit::Failed;
    }
    if serve.until_stdin_closes {
        let mut ignored = [0; 64];
        while std::io::stdin().read(&mut ignored).is_ok_and(|read| read > 0) {}
        return Exit::Passed;
    }
    // Signals end the process as they end any other: there is nothing to tidy up.
    loop {
        std::thread::park();
    }
}

fn json(served: &Served) -> String {
    let line = serde_json::to_string(served).expect("text and nothing else is always JSON");
    format!("{line}\n")
}

fn text(served: &Served) -> String {
    let Served { endpoint, endpoint_by_name, bucket, region, access_key_id, secret_access_key, ca_file } =
        served;
    let ca_file = ca_file.as_ref().map(|path| format!(" --ca-file {}", path.display())).unwrap_or_default();
    format!(
        "S3 on {endpoint} (and {endpoint_by_name}), bucket {bucket}, region {region}; Ctrl-C ends it.\n\
         It listens on 127.0.0.1 only, and keeps everything in memory. To try it:\n\n\
         export AWS_ACCESS_KEY_ID={access_key_id}\n\
         export AWS_SECRET_ACCESS_KEY={secret_access_key}\n\
         spike --endpoint {endpoint}{ca_file} --bucket {bucket} --region {region} \
         --conditional-copy --conditional-delete --ordered-list\n"
    )
}
