//! A network that damages bytes, between `S3Storage` and servers that keep checksums: what was damaged on the way up is
//! refused by the server and sent again, what was damaged on the way down is never data.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use object_storage::config::{Checksums, ObjectConfigBuilder};
use object_storage::{
    CompleteOptions, ErrorKind, GetOptions, Key, MultipartOptions, ObjectStorage, PartNumber, PutMode,
    PutOptions, StorageConfig,
};
use spike::server::{Server, ServerOptions};
use tests::seaweedfs::SeaweedFs;

/// What objects here consist of, and nothing else on the wire: a run of it is part of an object.
const FILLING: u8 = b'~';
const RUN: [u8; 8] = [FILLING; 8];

/// Carries bytes between a client and a server, and damages some.
struct Network {
    address: SocketAddr,
    up: Arc<AtomicU32>,
    down: Arc<AtomicU32>,
}

impl Network {
    #[expect(clippy::disallowed_methods, reason = "a test's own threads")]
    fn before(port: u16) -> Network {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (up, down) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let flips = (Arc::clone(&up), Arc::clone(&down));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", port))) else {
                    return;
                };
                let back = (server.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
                let (up, down) = (Arc::clone(&flips.0), Arc::clone(&flips.1));
                std::thread::spawn(move || carry(client, server, &up));
                std::thread::spawn(move || carry(back.0, back.1, &down));
            }
        });
        Network { address, up, down }
    }

    /// Damages one bit in each of the next so many pieces of objects on their way to the server.
    fn damage_up(&self, flips: u32) {
        self.up.store(flips, Ordering::SeqCst);
    }

    fn damage_down(&self, flips: u32) {
        self.down.store(flips, Ordering::SeqCst);
    }

    /// How many of them are still to be damaged.
    fn left(&self) -> (u32, u32) {
        (self.up.load(Ordering::SeqCst), self.down.load(Ordering::SeqCst))
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, flips: &AtomicU32) {
    let mut buffer = vec![0; 256 * 1024];
    // One flip for each request: objects sent in several pieces are damaged once.
    let mut in_object = false;
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let piece = &mut buffer[..length];
        let head = piece.windows(4).any(|bytes| bytes == b"\r\n\r\n");
        let at = piece.windows(RUN.len()).position(|bytes| bytes == RUN);
        if let (Some(at), false) = (at, in_object && !head)
            && flips.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
        {
            piece[at + 3] ^= 0x04;
        }
        in_object = at.is_some();
        if to.write_all(piece).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Read), to.shutdown(Shutdown::Write));
}

fn filling(bytes: usize) -> Vec<u8> {
    vec![FILLING; bytes]
}

fn key(text: &str) -> Key {
    Key::parse(text).expect("a key")
}

async fn open(builder: ObjectConfigBuilder, network: &Network) -> std::rc::Rc<dyn ObjectStorage> {
    let config = builder
        .endpoint(format!("http://{}", network.address))
        .transport(tests::transport())
        .build()
        .expect("a configuration");
    s3_backend::factory(&config).expect("a factory").open().await.expect("a store")
}

async fn get(store: &dyn ObjectStorage, name: &str) -> Result<Vec<u8>, ErrorKind> {
    let got = store.get(&key(name), GetOptions::default()).await.map_err(|error| error.kind())?;
    Ok(got.body.bytes().await.map_err(|error| error.kind())?.to_vec())
}

async fn put(store: &dyn ObjectStorage, name: &str, mode: PutMode, bytes: usize) -> Result<(), ErrorKind> {
    let put = store.put(&key(name), filling(bytes).into(), PutOptions::from(mode)).await;
    put.map(drop).map_err(|error| error.kind())
}

async fn survive(config: impl Fn() -> ObjectConfigBuilder, network: &Network) {
    let store = &*open(config(), network).await;
    for (bytes, small) in [(4096, true), (1 << 20, false)] {
        // Up: refused, sent again.
        for mode in [PutMode::Create, PutMode::Overwrite] {
            network.damage_up(2);
            assert_eq!(put(store, "mended", mode.clone(), bytes).await, Ok(()), "{mode:?}");
            assert_eq!(network.left(), (0, 0));
            assert_eq!(get(store, "mended").await, Ok(filling(bytes)));
        }
        store.delete(&key("mended"), object_storage::DeleteOptions::default()).await.expect("deleted");
        // "Not applied" is true.
        network.damage_up(3);
        assert_eq!(put(store, "never", PutMode::Create, bytes).await, Err(ErrorKind::Corrupt));
        assert_eq!(network.left(), (0, 0));
        assert_eq!(get(store, "never").await, Err(ErrorKind::NotFound));

        // Down: never data.
        assert_eq!(put(store, "whole", PutMode::Overwrite, bytes).await, Ok(()));
        network.damage_down(1);
        let once = get(store, "whole").await;
        assert_eq!(network.left(), (0, 0));
        // What has come whole was asked for again; the rest is for the reader to repeat.
        match once {
            Ok(came) => assert!(small && came == filling(bytes)),
            Err(kind) => assert_eq!(kind, ErrorKind::Corrupt),
        }
        network.damage_down(3);
        assert_eq!(get(store, "whole").await, Err(ErrorKind::Corrupt));
        network.damage_down(0);
        assert_eq!(get(store, "whole").await, Ok(filling(bytes)));
    }

    // In parts.
    let upload = store.create_multipart_upload(&key("joined"), MultipartOptions::default()).await;
    let upload = upload.expect("begun");
    let (first, second) = (5 << 20, 12_345);
    network.damage_up(2);
    let number = |number| PartNumber::new(number).expect("a part number");
    let parts = [
        upload.upload_part(number(1), filling(first).into()).await.expect("sent again"),
        upload.upload_part(number(2), filling(second).into()).await.expect("sent"),
    ];
    assert_eq!(network.left(), (0, 0));
    upload.complete(&parts, CompleteOptions::default()).await.expect("joined");
    assert_eq!(get(store, "joined").await, Ok(filling(first + second)));
    network.damage_down(1);
    assert_eq!(get(store, "joined").await, Err(ErrorKind::Corrupt));
    assert_eq!(network.left(), (0, 0));

    // Without checksums nobody notices: that is what they are for.
    let blind = &*open(config().checksums(Checksums::Off), network).await;
    network.damage_up(1);
    assert_eq!(put(blind, "damaged", PutMode::Overwrite, 4096).await, Ok(()));
    network.damage_down(0);
    assert_ne!(get(blind, "damaged").await, Ok(filling(4096)));
}

fn run(test: impl Future<Output = ()>) {
    compio::runtime::Runtime::new().expect("a runtime").block_on(test);
}

#[test]
fn before_the_server_inside_the_process() {
    let options = ServerOptions::default();
    let config = || {
        StorageConfig::object("bucket")
            .region(options.region.as_str())
            .access_key_id(options.access_key_id.as_str())
            .secret_access_key(options.secret_access_key.as_str())
    };
    let server = Server::start(ServerOptions::default()).expect("a server");
    run(survive(config, &Network::before(server.port())));
}

#[test]
fn before_seaweedfs() {
    let Some(server) = SeaweedFs::shared() else { return };
    server.create_bucket("damage");
    let config = || {
        StorageConfig::object("damage")
            .region(SeaweedFs::REGION)
            .access_key_id(SeaweedFs::ACCESS_KEY_ID)
            .secret_access_key(SeaweedFs::SECRET_ACCESS_KEY)
    };
    run(survive(config, &Network::before(server.port())));
}
