//! A writer dropped at any moment leaves an object or nothing, in every store, once that is shut down.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use object_storage::{
    BufferedMultipartWriter, BufferedMultipartWriterOptions, CompioFsStorage, ErrorKind, FsOptions,
    InMemoryStorage, Key, ObjectStorage, ObjectStorageExt as _, Result, StorageConfig,
};
use spike::server::{Server, ServerOptions};
use tests::seaweedfs::SeaweedFs;

const PART: usize = 5 * 1024 * 1024;
const PREFIX: &str = "dropped/";
const DEADLINE: Duration = Duration::from_secs(60);

/// How many polls a writer is given: more than the calls of its whole life wait.
const POLLS_MAX: usize = 8;

/// After how many milliseconds it is dropped: its task goes on between polls.
const MILLISECONDS: [u64; 10] = [1, 2, 3, 5, 8, 13, 21, 34, 55, 89];

type Store = Rc<dyn ObjectStorage>;

fn contents() -> Bytes {
    (0..=250u8).cycle().take(2 * PART + 1000).collect::<Vec<u8>>().into()
}

fn writer(store: &Store, key: &Key) -> BufferedMultipartWriter {
    let options = BufferedMultipartWriterOptions::default().with_part_size(PART as u64).with_concurrency(2);
    BufferedMultipartWriter::new(Rc::clone(store), key.clone(), options).expect("a writer")
}

async fn life(store: &Store, key: &Key, contents: Bytes) -> Result<()> {
    let mut writer = writer(store, key);
    writer.write(contents).await?;
    writer.finish().await.map(drop)
}

async fn drop_after<T>(polls: usize, future: impl Future<Output = T>) {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 || future.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        left -= 1;
        if left == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// `second`: another store of the same objects.
async fn hold(store: Store, second: Store) {
    let contents = contents();
    for polls in 0..POLLS_MAX {
        let key = Key::parse(&format!("{PREFIX}polls-{polls}")).expect("a key");
        drop_after(polls, life(&store, &key, contents.clone())).await;
    }
    for after in MILLISECONDS {
        let key = Key::parse(&format!("{PREFIX}ms-{after}")).expect("a key");
        let ended =
            compio::time::timeout(Duration::from_millis(after), life(&store, &key, contents.clone())).await;
        if let Ok(ended) = ended {
            ended.expect("stored");
        }
    }
    // One that is at work, and one that has sent a part and waits for its caller.
    let (at_work, idle) =
        ["at-work", "idle"].map(|name| Key::parse(&format!("{PREFIX}{name}")).expect("a key")).into();
    let mut waits = writer(&store, &idle);
    waits.write(contents.slice(..PART + 1)).await.expect("taken");
    let mut works = pin!(life(&store, &at_work, contents.clone()));
    drop_after(1, works.as_mut()).await;

    let (report, worked) = futures_util::future::join(store.shutdown(DEADLINE), works).await;
    assert!(report.is_clean(), "{report:?}");
    let left = second.list_uploads(PREFIX).await.expect("listed");
    assert!(left.is_empty(), "{left:?}, and {report:?}");
    for object in second.list_all(PREFIX).await.expect("listed") {
        let found = second.get_bytes(&object.key).await.expect("there");
        assert!(found == contents, "{} has {} bytes", object.key, found.len());
    }
    // Either all its operations were under way already, or it was told why not.
    if let Err(error) = worked {
        assert_eq!(error.kind(), ErrorKind::ShutDown, "{error:?}");
        assert!(!second.exists(&at_work).await.expect("answered"));
    }
    waits.finish().await.expect_err("its upload is gone");
    assert!(!second.exists(&idle).await.expect("answered"));
}

fn on_s3(endpoint: &str, bucket: &str, access_key_id: &str, secret_access_key: &str) {
    let config = StorageConfig::object(bucket)
        .endpoint(endpoint)
        .region("us-east-1")
        .access_key_id(access_key_id)
        .secret_access_key(secret_access_key)
        .transport(tests::transport())
        .build()
        .expect("a good configuration");
    tests::on_compio(Box::pin(async move {
        let factory = s3_backend::factory(&config).expect("a factory");
        hold(factory.open().await.expect("a store"), factory.open().await.expect("a store")).await;
    }));
}

#[test]
fn in_memory() {
    tests::on_compio(Box::pin(async {
        let store = InMemoryStorage::new();
        hold(Rc::new(store.clone()), Rc::new(store)).await;
    }));
}

#[test]
fn in_a_directory() {
    tests::on_compio(Box::pin(async {
        let root = tempfile::tempdir().expect("a directory");
        let open = || CompioFsStorage::open(root.path(), FsOptions::default());
        hold(Rc::new(open().await.expect("a store")), Rc::new(open().await.expect("a store"))).await;
    }));
}

#[test]
fn on_the_server_in_this_process() {
    let options = ServerOptions::default();
    let (id, secret) = (options.access_key_id.clone(), options.secret_access_key.clone());
    let server = Server::start(options).expect("a server");
    on_s3(&server.endpoint(), "bucket", &id, &secret);
    assert_eq!(server.open_uploads("bucket"), 0);
}

#[test]
fn on_seaweedfs() {
    let Some(server) = SeaweedFs::shared() else { return };
    server.create_bucket("writers");
    on_s3(&server.endpoint(), "writers", SeaweedFs::ACCESS_KEY_ID, SeaweedFs::SECRET_ACCESS_KEY);
}
