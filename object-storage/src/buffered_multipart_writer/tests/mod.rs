//! The writer against a store that does as it is told. How bytes are cut is tested in `cutter.rs`.

mod async_write;
mod dropping;
mod failing;
mod scripted;
mod storing;

use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;

use crate::{BufferedMultipartWriter, BufferedMultipartWriterOptions, Key};

use self::scripted::{Handle, Scripted};

/// Bytes in one MiB, as lengths of buffers are counted.
pub(super) const MIB: usize = 1024 * 1024;

/// The smallest part, in bytes.
const PART: usize = 5 * MIB;

/// Bytes that differ from place to place, so that a lost or doubled one shows.
pub(super) fn pattern(len: usize) -> Bytes {
    let mut bytes = vec![0; len];
    fastrand::Rng::with_seed(7).fill(&mut bytes);
    bytes.into()
}

fn key() -> Key {
    Key::parse("a/key").expect("valid")
}

/// Small parts, two at once.
fn options() -> BufferedMultipartWriterOptions {
    BufferedMultipartWriterOptions::default().with_part_size(PART as u64).with_concurrency(2)
}

fn store() -> Rc<Scripted> {
    Rc::new(Scripted::default())
}

fn writer(store: &Rc<Scripted>, options: BufferedMultipartWriterOptions) -> BufferedMultipartWriter {
    BufferedMultipartWriter::new(Rc::new(Handle(Rc::clone(store))), key(), options).expect("on a runtime")
}

/// Waits until nobody else holds the store: the uploader has ended.
async fn until_idle(store: &Rc<Scripted>) {
    for _ in 0..5000 {
        if Rc::strong_count(store) == 1 {
            return;
        }
        compio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("the uploader is still there: {:?}", store.log);
}

/// Polls a future so many times and drops it; `None` when it was not ready by then.
async fn poll_times<F: Future>(future: F, times: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut polled = 0;
    std::future::poll_fn(|cx| {
        if polled == times {
            return Poll::Ready(None);
        }
        polled += 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if polled == times => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
