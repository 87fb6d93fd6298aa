//! The process that is killed: it writes until then, says what it is about to do, and what was acknowledged.

use std::io::Write as _;
use std::rc::Rc;

use fastrand::Rng;
use futures_util::future::join_all;
use object_storage::{
    BufferedMultipartWriter, BufferedMultipartWriterOptions, ErrorKind, Key, MultipartOptions, ObjectStorage,
    OperationId, PartNumber, PutMode, PutOptions,
};

use crate::contents::{LARGE, Line, contents, sequence_of};

/// Lanes of small writes of each kind, each under names of its own.
const LANES: usize = 3;

fn key(name: &str) -> Key {
    Key::parse(name).expect("an everyday key")
}

fn tell(line: &Line) {
    // One write to the pipe, so that no line is cut.
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).expect("the parent reads");
}

/// Writes under `prefix` until it is killed.
pub(crate) async fn work_until_killed(storage: Rc<dyn ObjectStorage>, prefix: &str, round: u64, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let mut lanes: Vec<futures_util::future::LocalBoxFuture<'_, ()>> = Vec::new();
    let name = |kind: &str, lane: usize| format!("{prefix}{kind}/{round}-{lane}");
    for lane in 0..LANES {
        lanes.push(Box::pin(create(&*storage, name("create", lane), rng.fork())));
        lanes.push(Box::pin(upload(&*storage, name("upload", lane), rng.fork())));
        // What the ones before have left is gone on with.
        lanes.push(Box::pin(swap(&*storage, format!("{prefix}swap/{lane}"), rng.fork())));
    }
    // One is enough to keep a core busy.
    lanes.push(Box::pin(writer(&storage, name("writer", 0), rng.fork())));
    tell(&Line::Ready);
    join_all(lanes).await;
}

/// Mostly small, some larger than what goes into a socket at once.
fn some_bytes(rng: &mut Rng) -> usize {
    if rng.u8(..8) == 0 { rng.usize(200_000..2_000_000) } else { rng.usize(..8192) }
}

async fn create(storage: &dyn ObjectStorage, name: String, mut rng: Rng) {
    for sequence in 1.. {
        let (name, id) = (format!("{name}-{sequence}"), OperationId::random());
        let bytes = some_bytes(&mut rng);
        tell(&Line::Trying { name: name.clone(), sequence, bytes, id: Some(id) });
        let options = PutOptions::from(PutMode::Create).with_operation_id(id);
        let payload = contents(&name, sequence, bytes).into();
        storage.put(&key(&name), payload, options).await.expect("created");
        tell(&Line::Acknowledged { name, sequence });
    }
}

async fn swap(storage: &dyn ObjectStorage, name: String, mut rng: Rng) {
    let key = key(&name);
    let (mut tag, mut sequence) = match storage.get(&key, Default::default()).await {
        Ok(got) => {
            let tag = got.meta.etag.expect("a tag");
            (Some(tag), sequence_of(&got.body.bytes().await.expect("read")).expect("whole"))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => (None, 0),
        Err(error) => panic!("{error:?}"),
    };
    loop {
        sequence += 1;
        let (bytes, id) = (some_bytes(&mut rng), OperationId::random());
        tell(&Line::Trying { name: name.clone(), sequence, bytes, id: Some(id) });
        let mode = tag.take().map_or(PutMode::Create, PutMode::Match);
        let options = PutOptions::from(mode).with_operation_id(id);
        match storage.put(&key, contents(&name, sequence, bytes).into(), options).await {
            Ok(outcome) => tag = Some(outcome.etag),
            // A put of the process before us, which was killed, has landed only now: by design it takes our place.
            Err(error) if error.kind() == ErrorKind::PreconditionFailed => {
                let got = storage.get(&key, Default::default()).await.expect("there");
                tag = got.meta.etag;
                sequence = sequence_of(&got.body.bytes().await.expect("read")).expect("whole");
                continue;
            }
            Err(error) => panic!("{error:?}"),
        }
        tell(&Line::Acknowledged { name: name.clone(), sequence });
    }
}

/// An upload by hand, in one part.
async fn upload(storage: &dyn ObjectStorage, name: String, mut rng: Rng) {
    for sequence in 1.. {
        let (name, id) = (format!("{name}-{sequence}"), OperationId::random());
        let bytes = some_bytes(&mut rng);
        tell(&Line::Trying { name: name.clone(), sequence, bytes, id: Some(id) });
        let options = MultipartOptions::default().with_operation_id(id);
        let upload = storage.create_multipart_upload(&key(&name), options).await.expect("begun");
        let part = upload.upload_part(PartNumber::FIRST, contents(&name, sequence, bytes).into()).await;
        upload.complete(&[part.expect("sent")], PutMode::Create.into()).await.expect("joined");
        tell(&Line::Acknowledged { name, sequence });
    }
}

async fn writer(storage: &Rc<dyn ObjectStorage>, name: String, mut rng: Rng) {
    for sequence in 1.. {
        let name = format!("{name}-{sequence}");
        let bytes = rng.usize(LARGE..2 * LARGE + 1_000_000);
        tell(&Line::Trying { name: name.clone(), sequence, bytes, id: None });
        let options = BufferedMultipartWriterOptions::from(PutMode::Create).with_part_size(LARGE as u64);
        let writer = BufferedMultipartWriter::new(Rc::clone(storage), key(&name), options);
        let mut writer = writer.expect("a writer");
        let mut rest = bytes::Bytes::from(contents(&name, sequence, bytes));
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(rng.usize(1..500_000)));
            writer.write(piece).await.expect("taken");
        }
        writer.finish().await.expect("stored");
        tell(&Line::Acknowledged { name, sequence });
    }
}
