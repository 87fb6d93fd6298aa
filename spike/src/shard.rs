//! A shard's runtime, built as a server builds it.

use std::collections::HashSet;
use std::io;

use compio::driver::ProactorBuilder;
use compio::runtime::{Runtime, RuntimeBuilder};

/// A runtime, on this core if one is named.
///
/// The kernel finishes an operation when the shard next enters it, and does not interrupt it (`IORING_SETUP_COOP_TASKRUN`
/// and `IORING_SETUP_TASKRUN_FLAG`, since Linux 5.19): a quarter of a small operation's CPU time. Where these are unknown it
/// goes without them.
///
/// # Errors
///
/// There is neither io_uring nor epoll, or too little memory that may be locked.
pub fn runtime(core: Option<usize>) -> io::Result<Runtime> {
    let build = |proactor: ProactorBuilder| {
        let mut builder = RuntimeBuilder::new();
        builder.with_proactor(proactor);
        if let Some(core) = core {
            builder.thread_affinity(HashSet::from([core]));
        }
        builder.build()
    };
    let mut proactor = ProactorBuilder::new();
    proactor.coop_taskrun(true).taskrun_flag(true);
    build(proactor).or_else(|_| build(ProactorBuilder::new()))
}
