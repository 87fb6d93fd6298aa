//! `S3Storage` keeps the contract, on the wire, before the server that `spike` brings along: in both styles of
//! address, and under a prefix.

use std::rc::Rc;
use std::sync::LazyLock;

use object_storage::config::{ObjectConfigBuilder, UrlStyle};
use object_storage::testing::conformance::{Dialect, Quirk, Subject};
use object_storage::testing::conformance_tests;
use object_storage::{ObjectStorage, StorageConfig};
use spike::server::{Server, ServerOptions};

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let options = ServerOptions { domain: Some("localhost".to_owned()), ..ServerOptions::default() };
    Server::start(options).expect("a server inside the process")
});

/// The server's own ways, which are AWS's.
const AWS: Dialect = Dialect {
    name: "in-process S3",
    quirks: &[
        (Quirk::CompleteAgainSucceeds, "AWS answers a repeated completion as it answered the first"),
        (Quirk::GoneIsIndeterminate, "every endpoint that is not AWS's own may lie behind a proxy"),
    ],
};

async fn subject(with: impl FnOnce(ObjectConfigBuilder) -> ObjectConfigBuilder) -> Subject {
    let keys = ServerOptions::default();
    let config = StorageConfig::object("bucket")
        .transport(tests::transport())
        .region(&keys.region)
        .access_key_id(keys.access_key_id.as_str())
        .secret_access_key(keys.secret_access_key.as_str())
        .conditional_copy(true)
        .conditional_delete(true)
        .ordered_list(true);
    let config = with(config).build().expect("a configuration that works");
    let factory = s3_backend::factory(&config).expect("a factory");
    let [storage, second] = [factory.open().await, factory.open().await];
    let storage: Rc<dyn ObjectStorage> = storage.expect("a store");
    Subject::new(storage).with_second(second.expect("another")).with_dialect(AWS)
}

conformance_tests!(path_style, tests::on_compio, || subject(|config| config.endpoint(SERVER.endpoint())));

conformance_tests!(virtual_host_style_under_a_prefix, tests::on_compio, || async {
    const PREFIX: &str = "a prefix/with%2Fé";
    let subject = subject(|config| {
        let endpoint = format!("http://localhost:{}", SERVER.port());
        config.endpoint(endpoint).url_style(UrlStyle::VirtualHost).prefix(PREFIX)
    });
    subject.await.under_prefix_of(PREFIX.len() + "/".len())
});
