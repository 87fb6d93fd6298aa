//! [`StorageFactory`]: what crosses threads so that every shard can build a store of its own.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use crate::config::StorageConfig;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::storage::ObjectStorage;

type Open = dyn Fn() -> LocalBoxFuture<'static, Result<Rc<dyn ObjectStorage>>> + Send + Sync;

/// Opens stores: one per shard, all of the same objects.
///
/// Stores are not `Send`; the factory is, and cheap to clone. The program makes one, gives a clone to each shard's
/// thread, and each shard opens its store there, inside its runtime.
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
    /// Those of the store: for a directory `Io`, `NoSpace`, `PermissionDenied` and `Unsupported` (a file system
    /// that cannot keep the promises).
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
            StorageConfig::Fs(_) => {
                Err(absent("this build has no fs store: switch on the feature `fs` of object-storage"))
            }
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

    #[test]
    fn a_factory_crosses_threads() {
        fn check<T: Clone + Send + Sync + 'static>() {}
        check::<StorageFactory>();
    }
}
