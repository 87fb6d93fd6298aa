//! [`StorageFactory`]: what crosses threads so that every shard can build a store of its own.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use crate::config::{FsConfig, StorageConfig};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::storage::ObjectStorage;

type Open = dyn Fn() -> LocalBoxFuture<'static, Result<Rc<dyn ObjectStorage>>> + Send + Sync;

/// Opens stores: one per shard, all of the same objects.
///
/// Stores are not `Send`; the factory is, and cheap to clone. The program makes one, gives a clone to each shard's
/// thread, and each shard opens its store there, inside its runtime.
///
/// ```
/// # #[cfg(feature = "fs")]
/// # fn main() -> Result<(), object_storage::Error> {
/// use object_storage::config::StorageConfig;
///
/// # let directory = tempfile::tempdir().expect("a directory");
/// # let root = directory.path().join("objects");
/// let factory = StorageConfig::fs(root).build()?.factory()?;
/// let shards: Vec<_> = (0..2)
///     .map(|_| {
///         let factory = factory.clone();
///         std::thread::spawn(move || {
///             let runtime = compio::runtime::Runtime::new().expect("a runtime");
///             runtime.block_on(async {
///                 let store = factory.open().await?;
///                 println!("{store:?}");
///                 Ok::<(), object_storage::Error>(())
///             })
///         })
///     })
///     .collect();
/// for shard in shards {
///     shard.join().expect("no panic")?;
/// }
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "fs"))]
/// # fn main() {}
/// ```
#[derive(Clone)]
pub struct StorageFactory {
    open: Arc<Open>,
}

impl StorageFactory {
    /// A factory that opens stores with `open`, which is called on the thread of the shard that wants one.
    ///
    /// For backends outside this crate, and for wrapping the stores of another factory.
    pub fn new(
        open: impl Fn() -> LocalBoxFuture<'static, Result<Rc<dyn ObjectStorage>>> + Send + Sync + 'static,
    ) -> StorageFactory {
        StorageFactory { open: Arc::new(open) }
    }

    /// Opens a store for the shard that calls this. It must not leave the shard's thread.
    ///
    /// Dropping the future leaves nothing behind but, for a directory, what was created of it.
    ///
    /// # Errors
    ///
    /// Those of the store: for a directory `Config` (it is none, or its file system cannot keep the promises),
    /// `PermissionDenied`, `NoSpace`, `Io`.
    pub async fn open(&self) -> Result<Rc<dyn ObjectStorage>> {
        (self.open)().await
    }
}

impl fmt::Debug for StorageFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageFactory").finish_non_exhaustive()
    }
}

impl StorageConfig {
    /// A factory of the stores that this configuration describes.
    ///
    /// All stores of one memory factory share their objects; another factory has others. Nothing is opened yet.
    ///
    /// # Errors
    ///
    /// `Config`: this build has no such store. The message says which feature to switch on; for an object store,
    /// which crate makes the factory. Nothing falls back to another store.
    pub fn factory(&self) -> Result<StorageFactory> {
        match self {
            StorageConfig::Fs(config) => fs_factory(config),
            StorageConfig::Memory => memory_factory(),
            StorageConfig::Object(_) => Err(absent(
                "this crate speaks no network protocol: make the factory of an object store with \
                 `s3_backend::factory(&config)`",
            )),
        }
    }
}

fn absent(message: &str) -> Error {
    Error::new(ErrorKind::Config, Operation::Open, message)
}

#[cfg(feature = "fs")]
fn fs_factory(config: &FsConfig) -> Result<StorageFactory> {
    let options = crate::FsOptions::default().with_durability(config.durability());
    let root = config.root().to_owned();
    Ok(StorageFactory::new(move || {
        let root = root.clone();
        Box::pin(async move {
            let store: Rc<dyn ObjectStorage> = Rc::new(crate::CompioFsStorage::open(root, options).await?);
            Ok(store)
        })
    }))
}

#[cfg(not(feature = "fs"))]
fn fs_factory(_: &FsConfig) -> Result<StorageFactory> {
    Err(absent("this build has no fs store: switch on the feature `fs` of object-storage"))
}

/// All stores of one factory are clones of one store, which share their objects.
#[cfg(feature = "memory")]
fn memory_factory() -> Result<StorageFactory> {
    let shared = crate::InMemoryStorage::new();
    Ok(StorageFactory::new(move || {
        let store: Rc<dyn ObjectStorage> = Rc::new(shared.clone());
        Box::pin(std::future::ready(Ok(store)))
    }))
}

#[cfg(not(feature = "memory"))]
fn memory_factory() -> Result<StorageFactory> {
    Err(absent("this build has no memory store: switch on the feature `memory` of object-storage"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_store_is_made_by_the_crate_that_speaks_its_protocol() {
        let config = StorageConfig::object("bucket").build().expect("valid");
        let error = config.factory().expect_err("no network here");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("s3_backend::factory(&config)"), "{error}");
    }

    #[cfg(not(feature = "memory"))]
    #[test]
    fn a_store_that_was_not_built_in_is_an_error_that_names_its_feature() {
        let error = StorageConfig::memory().factory().expect_err("not built in");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("feature `memory`"), "{error}");
    }

    #[cfg(feature = "memory")]
    #[test]
    fn shards_of_one_memory_factory_see_the_same_objects_and_another_factory_sees_none() {
        use crate::{Key, ObjectStorageExt};

        let on_a_shard = |factory: &StorageFactory, write: bool| {
            let factory = factory.clone();
            #[expect(clippy::disallowed_methods, reason = "a test is a program")]
            let shard = std::thread::spawn(move || {
                futures_util::FutureExt::now_or_never(async move {
                    let store = factory.open().await.expect("opened");
                    let key = Key::parse("k").expect("valid");
                    if write {
                        store.put_bytes(&key, "v").await.expect("put");
                    }
                    store.get_bytes(&key).await.is_ok()
                })
                .expect("memory never waits")
            });
            shard.join().expect("no panic")
        };
        let factory = StorageConfig::memory().factory().expect("built in");
        assert!(on_a_shard(&factory, true));
        assert!(on_a_shard(&factory, false));
        let other = StorageConfig::memory().factory().expect("built in");
        assert!(!on_a_shard(&other, false));
    }

    #[cfg(not(feature = "fs"))]
    #[test]
    fn a_directory_is_not_silently_something_else_where_fs_was_not_built_in() {
        let config = StorageConfig::fs("objects").build().expect("valid");
        let error = config.factory().expect_err("not built in");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("feature `fs`"), "{error}");
    }

    #[cfg(feature = "fs")]
    #[test]
    fn stores_of_one_fs_factory_see_the_same_directory() {
        use crate::{Key, ObjectStorageExt};

        let directory = tempfile::tempdir().expect("a directory");
        let config = StorageConfig::fs(directory.path().join("objects")).build().expect("valid");
        let factory = config.factory().expect("built in");
        compio::runtime::Runtime::new().expect("a runtime").block_on(async {
            let one = factory.open().await.expect("opened");
            let two = factory.open().await.expect("opened");
            let key = Key::parse("a/k").expect("valid");
            one.put_bytes(&key, "v").await.expect("put");
            assert_eq!(two.get_bytes(&key).await.expect("got"), "v");
        });
    }

    #[test]
    fn a_factory_crosses_threads() {
        fn check<T: Clone + Send + Sync + 'static>() {}
        check::<StorageFactory>();
    }
}
