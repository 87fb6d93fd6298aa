//! A `spike serve` of our own, in another process, so that its memory is not counted as ours.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use object_storage::{Error, StorageConfig};
use spike::server::ServerOptions;

use crate::serve::Served;
use crate::target::config_of_our_server;

/// The server's process. Dropping it ends it; so does the end of this process, however it comes.
#[derive(Debug)]
pub(super) struct ServerProcess {
    child: Child,
    served: Served,
}

impl ServerProcess {
    /// Starts this very program anew, and waits for the line that says where it serves.
    pub(super) fn start() -> std::io::Result<ServerProcess> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", "--json", "--until-stdin-closes"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().expect("it was asked for");
        let mut line = String::new();
        let said = BufReader::new(stdout).read_line(&mut line);
        let served = said.and_then(|_| serde_json::from_str(&line).map_err(std::io::Error::other));
        match served {
            Ok(served) => Ok(ServerProcess { child, served }),
            Err(error) => {
                end(&mut child);
                Err(error)
            }
        }
    }

    /// How to speak to it.
    pub(super) fn config(&self) -> Result<StorageConfig, Error> {
        let options = ServerOptions {
            region: self.served.region.clone(),
            access_key_id: self.served.access_key_id.clone(),
            secret_access_key: self.served.secret_access_key.clone(),
            ..ServerOptions::default()
        };
        config_of_our_server(&self.served.endpoint, &options).build()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    // Both fail only for a process that has ended already.
    let _ = child.kill();
    let _ = child.wait();
}
