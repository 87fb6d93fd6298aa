//! [`StorageFactory`]: what crosses threads so that every shard can build a store of its own.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use crate::error::Result;
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
