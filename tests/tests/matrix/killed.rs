//! A process of its own for one operation, to be killed in the middle of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, ExitCode, Stdio};

use object_storage::config::Transport;

use crate::world::{Target, World, open, timeouts};

/// The first argument of such a process.
const CHILD: &str = "--run-one-operation";

/// The process; it does not outlive this.
pub(crate) struct Victim(Child);

impl Victim {
    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself, which the judge will see.
        let _gone = self.0.kill();
        let _ended = self.0.wait();
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn spawn(target: &Target, transport: Transport, address: &str, world: &World) -> Victim {
    let program = std::env::current_exe().expect("this program");
    let transport = if transport == Transport::Cyper { "cyper" } else { "direct" };
    let mut command = Command::new(program);
    command.args([CHILD, address, transport, &target.bucket, &target.region]);
    command.args([&target.access_key_id, &target.secret_access_key]);
    command.args(world.arguments()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Victim(command.spawn().expect("a process"))
}

/// What the process does, if this is one.
pub(crate) fn run() -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, child, address, transport, bucket, region, id, secret, world @ ..] = &arguments[..] else {
        return None;
    };
    if child != CHILD {
        return None;
    }
    let target = Target {
        name: "",
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        bucket: bucket.clone(),
        region: region.clone(),
        access_key_id: id.clone(),
        secret_access_key: secret.clone(),
        copies_conditionally: false,
    };
    let transport = if transport == "cyper" { Transport::Cyper } else { Transport::Direct };
    compio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let store = open(timeouts(target.config(format!("http://{address}"), transport), false)).await;
        // Nobody hears the outcome.
        let _outcome = World::from_arguments(&store, world).run(&store).await;
    });
    Some(ExitCode::SUCCESS)
}
