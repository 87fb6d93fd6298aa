//! [`Target`]: a store to try, what is known of it, and how to leave it as it was found.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use credentials::Host;
use object_storage::config::{ObjectConfigBuilder, Transport};
use object_storage::limits::KEY_BYTES_MAX;
use object_storage::{
    Error, ErrorKind, Key, ObjectStorage, ObjectStorageExt, Operation, StorageConfig, StorageFactory,
};
use s3_backend::S3Storage;
use spike::server::{Server, ServerOptions};
use tempfile::TempDir;

use crate::report::Progress;
use crate::scenario::{Context, InProcess};

/// The bucket of a server of our own.
pub(crate) const BUCKET: &str = "spike";

/// How often emptying looks again: what is listed late, or was still being written, shows up then.
const ROUNDS_MAX: usize = 10;

/// A store that scenarios run against.
pub(crate) struct Target {
    /// As in the table.
    pub(crate) name: &'static str,
    /// What it is, for a line above the table.
    pub(crate) description: String,
    pub(crate) store: Rc<dyn ObjectStorage>,
    factory: StorageFactory,
    server: Option<InProcess>,
    /// What every key of this run begins with. Ends with `/`.
    prefix: String,
    key_bytes_max: usize,
    /// Whether the bucket that was to be made was there already.
    bucket_of_others: Cell<bool>,
    ours: Ours,
}

/// What is ours in the store, and therefore goes when we go.
enum Ours {
    /// All of it; it disappears with this process.
    Everything { _directory: Option<TempDir> },
    /// The keys under the run's prefix.
    Prefix,
    /// The bucket, under a name that only this run has.
    Bucket(S3Storage),
}

impl Target {
    /// S3 as this process serves it, over one of the transports.
    pub(crate) async fn s3_in_process(run: &str, transport: Transport) -> Result<Target, Error> {
        let options = ServerOptions { buckets: vec![BUCKET.into()], ..ServerOptions::default() };
        let started = Server::start(options.clone());
        let server = started
            .map_err(|error| set_up("the S3 server in this process does not start").with_source(error))?;
        let endpoint = server.endpoint();
        let config = config_of_our_server(&endpoint, &options).transport(transport).build()?;
        let name = if transport == Transport::Cyper { "s3/cyper" } else { "s3" };
        let mut target = Target::existing(name, &config, run).await?;
        target.server = Some(InProcess { server: Rc::new(server), bucket: BUCKET.into() });
        target.ours = Ours::Everything { _directory: None };
        target.description = format!("s3://{BUCKET} at {endpoint}, served by this process");
        Ok(target)
    }

    /// A directory that is removed at the end.
    pub(crate) async fn scratch_directory(run: &str) -> Result<Target, Error> {
        let directory = tempfile::Builder::new().prefix("spike-").tempdir();
        let directory = directory.map_err(|error| {
            set_up("no temporary directory can be made (TMPDIR names another place)").with_source(error)
        })?;
        let config = StorageConfig::fs(directory.path().join("objects")).build()?;
        let mut target = Target::existing("fs", &config, run).await?;
        target.ours = Ours::Everything { _directory: Some(directory) };
        Ok(target)
    }

    /// The memory of this process.
    pub(crate) async fn memory(run: &str) -> Result<Target, Error> {
        let mut target = Target::existing("memory", &StorageConfig::memory(), run).await?;
        target.ours = Ours::Everything { _directory: None };
        Ok(target)
    }

    /// A store that is there, in which only keys under a prefix of this run are touched.
    pub(crate) async fn existing(
        name: &'static str,
        config: &StorageConfig,
        run: &str,
    ) -> Result<Target, Error> {
        let factory = s3_backend::factory(config)?;
        let own_prefix = config.as_object().and_then(|object| object.prefix());
        let added = own_prefix.map_or(0, |prefix| prefix.as_str().len() + "/".len());
        Ok(Target {
            name,
            description: config.to_string(),
            store: factory.open().await?,
            factory,
            server: None,
            prefix: format!("spike-{run}/"),
            key_bytes_max: KEY_BYTES_MAX - added,
            bucket_of_others: Cell::new(false),
            ours: Ours::Prefix,
        })
    }

    /// A bucket that does not exist yet: [`create_bucket`](Self::create_bucket) makes it.
    pub(crate) async fn with_own_bucket(config: &StorageConfig, run: &str) -> Result<Target, Error> {
        let object = config.as_object().ok_or_else(|| set_up("only an object store has buckets"))?;
        let bucket = S3Storage::open(object, Host::system()).await?;
        let mut target = Target::existing("s3", config, run).await?;
        target.ours = Ours::Bucket(bucket);
        Ok(target)
    }

    /// Makes the bucket, if it is to be made, and lets the store itself remove everything in it after a day: if
    /// this process dies and its clean-up with it, that remains. Returns a warning where the store does not do so.
    pub(crate) async fn create_bucket(&self) -> Result<Option<String>, Error> {
        let Ours::Bucket(bucket) = &self.ours else { return Ok(None) };
        if let Err(error) = bucket.create_bucket().await {
            // As good as impossible, with such a name; but what may be somebody else's is never emptied.
            self.bucket_of_others.set(error.kind() == ErrorKind::AlreadyExists);
            return Err(error);
        }
        Ok(bucket.expire_bucket_after(1).await.err().map(|error| {
            format!("the store takes no lifecycle rule, so nothing removes the bucket if this process is killed: {error}")
        }))
    }

    /// Where a scenario runs.
    pub(crate) fn context(&self, scenario: &str, progress: &Progress) -> Context {
        Context {
            store: Rc::clone(&self.store),
            factory: self.factory.clone(),
            prefix: format!("{}{scenario}/", self.prefix),
            key_bytes_max: self.key_bytes_max,
            whole_bucket: !matches!(self.ours, Ours::Prefix),
            keys_are_paths: false,
            server: self.server.clone(),
            progress: progress.clone(),
        }
    }

    /// Removes what this run made: objects, uploads, and the bucket if it is ours.
    ///
    /// # Errors
    ///
    /// What was left behind, and where.
    pub(crate) async fn clean_up(&self, progress: &Progress) -> Result<(), String> {
        let (prefix, bucket) = match &self.ours {
            Ours::Everything { .. } => return Ok(()),
            Ours::Bucket(_) if self.bucket_of_others.get() => return Ok(()),
            Ours::Prefix => (self.prefix.as_str(), None),
            Ours::Bucket(bucket) => ("", Some(bucket)),
        };
        progress.begin(format_args!("removing what was made in {}", self.name));
        let gone = async {
            match empty(&*self.store, prefix, progress).await {
                // The bucket was not made, or is gone already.
                Err(error) if bucket.is_some() && error.is_not_found() => return Ok(()),
                other => other?,
            }
            match bucket {
                Some(bucket) => bucket.delete_bucket().await,
                None => Ok(()),
            }
        };
        gone.await.map_err(|error: Error| {
            let what = match bucket {
                Some(bucket) => format!("the bucket {}", bucket.location()),
                None => format!("keys and uploads that begin with {prefix:?} in {}", self.description),
            };
            format!("left behind: {what}: {error}")
        })
    }
}

/// How a store on our own server is configured: everything that it honours is said.
pub(crate) fn config_of_our_server(endpoint: &str, server: &ServerOptions) -> ObjectConfigBuilder {
    StorageConfig::object(BUCKET)
        .endpoint(endpoint)
        .region(server.region.clone())
        .access_key_id(server.access_key_id.clone())
        .secret_access_key(server.secret_access_key.clone())
        .conditional_copy(true)
        .conditional_delete(true)
        .ordered_list(true)
}

/// Removes every object and upload under `prefix`.
async fn empty(store: &dyn ObjectStorage, prefix: &str, progress: &Progress) -> Result<(), Error> {
    for _ in 0..ROUNDS_MAX {
        let uploads = store.list_uploads(prefix).await?;
        for upload in &uploads {
            store.resume_multipart_upload(&upload.key, &upload.upload_id)?.abort().await?;
        }
        let keys: Vec<Key> = store.list_all(prefix).await?.into_iter().map(|object| object.key).collect();
        if uploads.is_empty() && keys.is_empty() {
            return Ok(());
        }
        progress.say(format_args!("{} objects, {} uploads", keys.len(), uploads.len()));
        for result in store.delete_many(&keys).await? {
            result?;
        }
    }
    let message = format!("objects or uploads under {prefix:?} came back {ROUNDS_MAX} times");
    Err(Error::new(ErrorKind::Conflict, Operation::DeleteObjects, message))
}

fn set_up(message: &str) -> Error {
    Error::new(ErrorKind::Config, Operation::Open, message)
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("name", &self.name)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
