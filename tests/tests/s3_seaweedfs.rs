//! `S3Storage` keeps the contract before SeaweedFS, a server that none of us wrote: over http with the bucket in the
//! path, and over https under its own authority with the bucket in the host.

use std::io::Write;
use std::rc::Rc;
use std::sync::LazyLock;

use object_storage::config::{ObjectConfigBuilder, UrlStyle};
use object_storage::testing::conformance::Subject;
use object_storage::testing::conformance_tests;
use object_storage::{ObjectStorage, StorageConfig};
use tempfile::NamedTempFile;
use tests::seaweedfs::{self, Options, SeaweedFs};

async fn subject(config: ObjectConfigBuilder) -> Subject {
    let config = config
        .region(SeaweedFs::REGION)
        .access_key_id(SeaweedFs::ACCESS_KEY_ID)
        .secret_access_key(SeaweedFs::SECRET_ACCESS_KEY)
        .conditional_delete(true)
        .build()
        .expect("a configuration that works");
    let factory = s3_backend::factory(&config).expect("a factory");
    let [storage, second] = [factory.open().await, factory.open().await];
    let storage: Rc<dyn ObjectStorage> = storage.expect("a store");
    Subject::new(storage).with_second(second.expect("another")).with_dialect(seaweedfs::DIALECT)
}

static PLAIN: LazyLock<Option<&'static SeaweedFs>> = LazyLock::new(|| {
    let server = SeaweedFs::shared()?;
    server.create_bucket("conformance");
    Some(server)
});

conformance_tests!(http_path_style, tests::on_compio, || async {
    let server = (*PLAIN)?;
    Some(
        subject(
            StorageConfig::object("conformance").transport(tests::transport()).endpoint(server.endpoint()),
        )
        .await,
    )
});

struct Tls {
    server: SeaweedFs,
    ca_file: NamedTempFile,
}

static TLS: LazyLock<Option<Tls>> = LazyLock::new(|| {
    let server = SeaweedFs::start(&Options::default().with_tls().with_domain("s3.localhost"))?;
    server.create_bucket("conformance");
    let mut ca_file = NamedTempFile::new().expect("a file for the authority");
    ca_file
        .write_all(server.ca_pem().expect("it serves https").as_bytes())
        .expect("the authority is written");
    Some(Tls { server, ca_file })
});

conformance_tests!(https_virtual_host_style, tests::on_compio, || async {
    let tls = TLS.as_ref()?;
    let config = StorageConfig::object("conformance")
        .transport(tests::transport())
        .endpoint(tls.server.endpoint())
        .url_style(UrlStyle::VirtualHost)
        .ca_file(tls.ca_file.path());
    Some(subject(config).await)
});
