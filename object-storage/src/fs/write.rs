//! How the bytes of a put or a part get into a file, small ones in one closure and large ones through io_uring.

use std::sync::Arc;

use crate::attributes::Attributes;
use crate::error::Result;
use crate::object::ETag;
use crate::operation_id::OperationId;
use crate::payload::Payload;

use super::blocking::Gate;
use super::directory::SharedSync;
use super::failure::Task;
use super::footer::Footer;
use super::publish::give_up_unless_first;
use super::ring::RingFile;
use super::temp::{Temp, Unfinished};
use super::tree::Tree;

/// Payloads up to this size, in bytes, are written by the closure that makes and publishes the file: one trip
/// to the blocking pool instead of two and a trip through the ring. A thread copies so much into the page cache
/// in a quarter of a millisecond, far less than it then waits for the disk.
const ONE_CLOSURE_BYTES_MAX: u64 = 1024 * 1024;

/// Writes a whole file, data and footer, makes it durable, and hands it to `publish`, in the blocking pool. If
/// `publish` leaves the sync of the directory to somebody else, waits for that without keeping a thread.
///
/// Dropping the future before `publish` began leaves nothing; later, `publish` runs to its end all the same.
pub(super) async fn write_file<T: Send + 'static>(
    tree: &Arc<Tree>,
    gate: &Gate,
    task: &Task,
    payload: Payload,
    attributes: Attributes,
    operation_id: Option<OperationId>,
    publish: impl FnOnce(Temp, ETag) -> Result<(T, Option<SharedSync>)> + Send + 'static,
) -> Result<T> {
    // Moves into the one closure that gets as far as publishing.
    let mut publish = Some(publish);
    let mut first = true;
    loop {
        let (temp, rest) = begin(tree, gate, task, &payload).await?;
        let (tree, closure_task, attributes) = (tree.clone(), task.clone(), attributes.clone());
        let data_bytes = payload.len();
        let given = publish.take().expect("comes back from every closure that did not publish");
        let ended = gate
            .run(move || {
                let task = closure_task;
                let finish = || -> Result<(Temp, ETag), Unfinished> {
                    let temp = match temp {
                        Some(temp) => temp,
                        None => Temp::create(&tree).map_err(std::io::Error::from)?,
                    };
                    let mut footer = new_footer(&temp, attributes, operation_id);
                    temp.finish(rest.chunks(), data_bytes, &mut footer)?;
                    Ok((temp, footer.etag))
                };
                match finish() {
                    Ok((temp, etag)) => Ended::Published(given(temp, etag)),
                    Err(unfinished) => {
                        Ended::Unfinished(give_up_unless_first(&task, unfinished, first), given)
                    }
                }
            })
            .await;
        match ended {
            Ended::Published(result) => {
                let (published, shared) = result?;
                if let Some(shared) = shared {
                    shared.await.map_err(|errno| task.name_in_doubt(errno))?;
                }
                return Ok(published);
            }
            Ended::Unfinished(again, given) => {
                again?;
                publish = Some(given);
                first = false;
            }
        }
    }
}

enum Ended<T, P> {
    Published(Result<T>),
    Unfinished(Result<()>, P),
}

/// Writes a large payload into a new file, or leaves a small one to the closure that comes next. Returns the
/// file, if it was made, and what is not in it.
async fn begin(
    tree: &Arc<Tree>,
    gate: &Gate,
    task: &Task,
    payload: &Payload,
) -> Result<(Option<Temp>, Payload)> {
    if payload.len() <= ONE_CLOSURE_BYTES_MAX {
        return Ok((None, payload.clone()));
    }
    let tree = tree.clone();
    let temp = gate
        .run(move || Temp::create(&tree))
        .await
        .map_err(|errno| task.failed("cannot make a temporary file", errno))?;
    let written = async { RingFile::new(temp.file.clone())?.write_all(payload.chunks()).await };
    written.await.map_err(|error| task.failed("cannot write the file", error))?;
    Ok((Some(temp), Payload::new()))
}

/// The footer of a new file. Its time is filled in when the file is finished.
pub(super) fn new_footer(temp: &Temp, attributes: Attributes, operation_id: Option<OperationId>) -> Footer {
    Footer { etag: temp.etag(), modified: std::time::UNIX_EPOCH, attributes, operation_id, key: None }
}
