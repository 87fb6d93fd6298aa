//! What ours says.

use object_storage::{
    CompleteOptions, CopyOptions, Error, ErrorKind, GetOptions, HeadOptions, Key, MultipartOptions,
    ObjectStorage, PartNumber, PutMode, StorageConfig,
};
use spike::server::ServerOptions;

use crate::scripts::{Ask, BUCKET, KEY, NEW, OTHER, Script};
use crate::{Promise, Said};

pub fn run(script: &Script, endpoint: &str) -> Said {
    let keys = ServerOptions::default();
    let config = StorageConfig::object(BUCKET)
        .endpoint(endpoint)
        .region(keys.region)
        .access_key_id(keys.access_key_id)
        .secret_access_key(keys.secret_access_key)
        .attempts_max(4)
        .build()
        .expect("a good configuration");
    let result = compio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let store = s3_backend::factory(&config)?.open().await?;
        ask(script.ask, &*store).await
    });
    match result {
        Ok(()) => Said { words: "`Ok`".to_owned(), promise: Promise::Done },
        Err(error) => {
            let promise = match error.kind() {
                ErrorKind::Indeterminate => Promise::Unknown,
                ErrorKind::AlreadyExists => Promise::Exists,
                // That something could not be read promises nothing.
                _ if script.ask == Ask::Get => Promise::Unknown,
                _ => Promise::NotDone,
            };
            Said { words: format!("`{:?}`", error.kind()), promise }
        }
    }
}

async fn ask(ask: Ask, store: &dyn ObjectStorage) -> Result<(), Error> {
    let (key, other) = (Key::parse(KEY)?, Key::parse(OTHER)?);
    match ask {
        Ask::Create => store.put(&key, NEW.into(), PutMode::Create.into()).await.map(drop),
        Ask::Match => {
            let tag = store.head(&key, HeadOptions::default()).await?.meta.etag.expect("a tag");
            store.put(&key, NEW.into(), PutMode::Match(tag).into()).await.map(drop)
        }
        Ask::Multipart => {
            let upload = store.create_multipart_upload(&key, MultipartOptions::default()).await?;
            let part = upload.upload_part(PartNumber::FIRST, NEW.into()).await?;
            upload.complete(&[part], CompleteOptions::default()).await.map(drop)
        }
        Ask::Copy => store.copy(&other, &key, CopyOptions::default()).await.map(drop),
        Ask::Get => store.get(&key, GetOptions::default()).await?.body.bytes().await.map(drop),
        Ask::DeleteBoth => store.delete_many(&[key, other]).await?.into_iter().collect(),
    }
}
