//! What a cell is played in: a server, what is in it before, and a look at it afterwards that does not go through the
//! proxy.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use credentials::Host;
use object_storage::config::{ObjectConfigBuilder, Transport};
use object_storage::{
    ByteRange, CompleteOptions, CopyOptions, DeleteOptions, ETag, Error, ErrorKind, GetOptions, HeadOptions,
    Key, ListOptions, MultipartOptions, MultipartUpload, ObjectStorage, ObjectStorageExt as _, Part,
    PartNumber, Payload, PutMode, PutOptions, Result, StorageConfig, UploadId,
};
use s3_backend::S3Storage;
use tests::matrix::{ATTEMPTS, Cell, Op};

/// A server that everything is played before.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) bucket: String,
    pub(crate) region: String,
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
    /// Whether it honours conditions on the destination of a copy.
    pub(crate) copies_conditionally: bool,
}

/// The least that a wait may take which ends a silent play: long beside what a busy machine takes to answer.
const SILENCE: Duration = Duration::from_millis(1200);
const PATIENCE: Duration = Duration::from_secs(8);

/// What was there before, and what is to be there after.
pub(crate) const OLD_BYTES: usize = 3000;
pub(crate) const NEW_BYTES: usize = 40_000;
pub(crate) const READ_BYTES: usize = 4000;
/// More than the buffers of two sockets hold, of which one was made small.
pub(crate) const MANY_BYTES: usize = 5 << 20;

impl Target {
    pub(crate) fn config(&self, endpoint: String, transport: Transport) -> ObjectConfigBuilder {
        StorageConfig::object(self.bucket.as_str())
            .endpoint(endpoint)
            .region(&self.region)
            .access_key_id(self.access_key_id.as_str())
            .secret_access_key(self.secret_access_key.as_str())
            .conditional_copy(self.copies_conditionally)
            .conditional_delete(true)
            .attempts_max(u32::try_from(ATTEMPTS).expect("a few"))
            .transport(transport)
    }

    /// A store that looks at the server itself.
    pub(crate) async fn direct(&self) -> S3Storage {
        open(self.config(format!("http://{}", self.address), Transport::Direct).attempts_max(8)).await
    }
}

pub(crate) fn timeouts(config: ObjectConfigBuilder, is_silence: bool) -> ObjectConfigBuilder {
    let limit = if is_silence { SILENCE } else { PATIENCE };
    config
        .connect_timeout(limit)
        .send_timeout(limit)
        .head_timeout(limit)
        .body_timeout(limit)
        .complete_timeout(limit)
        .operation_timeout(Duration::from_secs(30))
}

pub(crate) fn trusting(config: ObjectConfigBuilder, ca: Option<&Path>) -> ObjectConfigBuilder {
    match ca {
        Some(ca) => config.ca_file(ca),
        None => config,
    }
}

pub(crate) async fn open(config: ObjectConfigBuilder) -> S3Storage {
    let config = config.build().expect("a good configuration");
    let config = config.as_object().expect("an object store").clone();
    S3Storage::open(&config, Host::builder().build()).await.expect("opened")
}

/// Bytes that nobody else writes.
pub(crate) fn bytes(of: &str, length: usize) -> Bytes {
    of.bytes().chain(*b"|").cycle().take(length).collect::<Vec<u8>>().into()
}

/// How an operation failed.
#[derive(Debug)]
pub(crate) enum Failed {
    /// With an error.
    Error(Error),
    /// With `Ok` and what is not so.
    Lied(&'static str),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed::Error(error)
    }
}

fn same(is: bool, otherwise: &'static str) -> Result<(), Failed> {
    if is { Ok(()) } else { Err(Failed::Lied(otherwise)) }
}

/// How the store looks to somebody who knows what was wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// As if nothing had been asked.
    Before,
    /// As if it had been done.
    After,
    /// Neither: half, wrong, too much.
    Else(String),
}

/// One cell, set up: the operation and everything that it needs.
pub(crate) struct World {
    op: Op,
    conditional: bool,
    key: Key,
    other: Key,
    new: Bytes,
    tag: Option<ETag>,
    upload: Option<Rc<dyn MultipartUpload>>,
    part: RefCell<Option<Part>>,
}

fn key(text: String) -> Key {
    Key::parse(&text).expect("a key")
}

impl World {
    /// Puts into the store what the operation is to meet there.
    pub(crate) async fn set_up(direct: &S3Storage, cell: &Cell, name: &str) -> Result<World> {
        let op = cell.op;
        let length = if cell.fault.id == "F10" { MANY_BYTES } else { NEW_BYTES };
        let mut world = World {
            op,
            conditional: cell.is_conditional(),
            key: key(format!("{name}/object")),
            other: key(format!("{name}/other")),
            new: bytes(&format!("{name} new"), length),
            tag: None,
            upload: None,
            part: RefCell::default(),
        };
        let old = bytes(&format!("{name} old"), OLD_BYTES);
        match op {
            Op::Put | Op::PutMatch | Op::Delete | Op::DeleteMatch => {
                world.tag = Some(direct.put(&world.key, old.into(), PutOptions::default()).await?.etag);
            }
            Op::Get | Op::Range | Op::Head => {
                world.new = bytes(name, READ_BYTES);
                direct.put(&world.key, world.new.clone().into(), PutOptions::default()).await?;
            }
            Op::Batch | Op::List => {
                for key in [&world.key, &world.other] {
                    direct.put(key, old.clone().into(), PutOptions::default()).await?;
                }
            }
            Op::Copy => {
                direct.put(&world.other, world.new.clone().into(), PutOptions::default()).await?;
            }
            Op::Part | Op::Complete | Op::Abort | Op::ListParts => {
                let upload = direct.create_multipart_upload(&world.key, MultipartOptions::default()).await?;
                if op != Op::Part {
                    let part = upload.upload_part(PartNumber::FIRST, world.new.clone().into()).await?;
                    world.part = RefCell::new(Some(part));
                }
                world.upload = Some(upload);
            }
            Op::PutCreate | Op::NewUpload | Op::Credentials => {}
        }
        Ok(world)
    }

    /// Everything another process must know to run the operation.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let part = self.part.borrow();
        vec![
            self.op.name().to_owned(),
            text(self.key.as_str().strip_suffix("/object")),
            text(self.tag.as_ref().map(ETag::as_str)),
            text(self.upload.as_ref().map(|upload| upload.upload_id().as_str())),
            text(part.as_ref().map(|part| part.etag.as_str())),
        ]
    }

    /// The same in that process.
    pub(crate) fn from_arguments(store: &S3Storage, arguments: &[String]) -> World {
        let [op, name, tag, upload, part] = arguments else { panic!("five arguments, not {arguments:?}") };
        let op = tests::matrix::OPS.into_iter().find(|known| known.name() == op).expect("an operation");
        let key_of_object = key(format!("{name}/object"));
        let upload = (!upload.is_empty()).then(|| {
            store.resume_multipart_upload(&key_of_object, &UploadId::new(upload)).expect("a good id")
        });
        let part = ETag::parse(part).ok().map(|etag| Part::new(PartNumber::FIRST, etag, NEW_BYTES as u64));
        World {
            op,
            conditional: false,
            key: key_of_object,
            other: key(format!("{name}/other")),
            new: bytes(&format!("{name} new"), NEW_BYTES),
            tag: ETag::parse(tag).ok(),
            upload,
            part: RefCell::new(part),
        }
    }

    fn mode(&self) -> PutMode {
        match self.op {
            Op::PutCreate => PutMode::Create,
            Op::PutMatch => PutMode::Match(self.tag.clone().expect("set up")),
            Op::Copy | Op::Complete if self.conditional => PutMode::Create,
            _ => PutMode::Overwrite,
        }
    }

    fn part(&self) -> Part {
        self.part.borrow().clone().expect("set up")
    }

    fn upload(&self, store: &S3Storage) -> Result<Rc<dyn MultipartUpload>> {
        let id = self.upload.as_ref().expect("set up").upload_id().clone();
        store.resume_multipart_upload(&self.key, &id)
    }

    /// The operation. What was read is compared with what is there.
    pub(crate) async fn run(&self, store: &S3Storage) -> Result<(), Failed> {
        let payload = || Payload::from(self.new.clone());
        match self.op {
            Op::Put | Op::PutCreate | Op::PutMatch => {
                store.put(&self.key, payload(), self.mode().into()).await.map(drop).map_err(Failed::from)
            }
            Op::Get => {
                let got = store.get(&self.key, GetOptions::default()).await?.body.bytes().await?;
                same(got == self.new, "a get gave other bytes")
            }
            Op::Range => {
                let options = GetOptions::default().with_range(ByteRange::Bounded(100..200));
                let got = store.get(&self.key, options).await?.body.bytes().await?;
                same(got == self.new.slice(100..200), "a range gave other bytes")
            }
            Op::Head => {
                let head = store.head(&self.key, HeadOptions::default()).await?;
                same(head.meta.size == READ_BYTES as u64, "a head gave another size")
            }
            Op::List => {
                let prefix = self.key.as_str().trim_end_matches("object");
                let page = store.list_page(&ListOptions::prefix(prefix), None).await?;
                let keys: Vec<&str> = page.objects.iter().map(|object| object.key.as_str()).collect();
                same(keys == [self.key.as_str(), self.other.as_str()], "a list gave other keys")
            }
            Op::Delete => Ok(store.delete(&self.key, DeleteOptions::default()).await?),
            Op::DeleteMatch => {
                let options = DeleteOptions::default().with_if_match(self.tag.clone().expect("set up"));
                Ok(store.delete(&self.key, options).await?)
            }
            Op::Batch => {
                let keys = [self.key.clone(), self.other.clone()];
                Ok(store.delete_many(&keys).await?.into_iter().collect::<Result<()>>()?)
            }
            Op::Copy => {
                let options = CopyOptions::default().with_mode(self.mode());
                store.copy(&self.other, &self.key, options).await.map(drop).map_err(Failed::from)
            }
            Op::NewUpload => store
                .create_multipart_upload(&self.key, MultipartOptions::default())
                .await
                .map(drop)
                .map_err(Failed::from),
            Op::Part => {
                let part = self.upload(store)?.upload_part(PartNumber::FIRST, payload()).await?;
                *self.part.borrow_mut() = Some(part);
                Ok(())
            }
            Op::Complete => {
                let parts = [self.part()];
                let mut options = CompleteOptions::default();
                options.mode = self.mode();
                self.upload(store)?.complete(&parts, options).await.map(drop).map_err(Failed::from)
            }
            Op::Abort => Ok(self.upload(store)?.abort().await?),
            Op::ListParts => {
                let page = self.upload(store)?.list_parts_page(None).await?;
                same(page.parts == [self.part()], "a list gave other parts")
            }
            Op::Credentials => Ok(()),
        }
    }

    /// Looks at the server itself.
    pub(crate) async fn look(&self, direct: &S3Storage) -> Result<Look> {
        Ok(match self.op {
            Op::Put | Op::PutMatch => self.object(direct, true).await?,
            Op::PutCreate | Op::Copy | Op::Complete => self.object(direct, false).await?,
            Op::Get | Op::Range | Op::Head | Op::List | Op::Credentials => Look::Before,
            Op::Delete | Op::DeleteMatch => match self.object(direct, true).await? {
                Look::Else(what) if what == "nothing" => Look::After,
                Look::After => Look::Else("new bytes".to_owned()),
                other => other,
            },
            Op::Batch => match (exists(direct, &self.key).await?, exists(direct, &self.other).await?) {
                (true, true) => Look::Before,
                (false, false) => Look::After,
                one => Look::Else(format!("{one:?} of the keys are there")),
            },
            Op::NewUpload => {
                match direct.list_uploads(self.key.as_str()).await?.len() {
                    0 => Look::Before,
                    // Each attempt that was carried out and not answered leaves one.
                    1..=6 => Look::After,
                    many => Look::Else(format!("{many} uploads")),
                }
            }
            Op::Part => match self.parts(direct).await? {
                None => Look::Else("no upload".to_owned()),
                Some(parts) if parts.is_empty() => Look::Before,
                Some(parts) if parts.len() == 1 && parts[0].size == self.new.len() as u64 => Look::After,
                Some(parts) => Look::Else(format!("{parts:?}")),
            },
            Op::Abort => match self.parts(direct).await? {
                None => Look::After,
                Some(_) => Look::Before,
            },
            Op::ListParts => match self.parts(direct).await? {
                None => Look::Else("no upload".to_owned()),
                Some(_) => Look::Before,
            },
        })
    }

    async fn object(&self, direct: &S3Storage, had_old: bool) -> Result<Look> {
        let found = match direct.get_bytes(&self.key).await {
            Ok(bytes) => Some(bytes),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error),
        };
        Ok(match found {
            Some(bytes) if bytes == self.new => Look::After,
            Some(bytes) if had_old && bytes.len() == OLD_BYTES => Look::Before,
            None if !had_old => Look::Before,
            None => Look::Else("nothing".to_owned()),
            Some(bytes) => Look::Else(format!("{} other bytes", bytes.len())),
        })
    }

    /// What an acknowledged part is good for: an object of its bytes.
    pub(crate) async fn complete_part(&self, direct: &S3Storage) -> Result<bool> {
        let parts = [self.part()];
        self.upload(direct)?.complete(&parts, CompleteOptions::default()).await?;
        Ok(direct.get_bytes(&self.key).await? == self.new)
    }

    async fn parts(&self, direct: &S3Storage) -> Result<Option<Vec<Part>>> {
        match self.upload(direct)?.list_parts_page(None).await {
            Ok(page) => Ok(Some(page.parts)),
            Err(error) if error.is_not_found() => Ok(None),
            // SeaweedFS lists a part that was sent twice twice, which is refused as out of order.
            Err(error) if self.op == Op::Part && error.kind() == ErrorKind::Protocol => {
                let etag = ETag::parse("unknown").expect("a tag");
                Ok(Some(vec![Part::new(PartNumber::FIRST, etag, self.new.len() as u64)]))
            }
            Err(error) => Err(error),
        }
    }

    /// Leaves no upload behind.
    pub(crate) async fn clean_up(&self, direct: &S3Storage) -> Result<(), Error> {
        if matches!(self.op, Op::NewUpload | Op::Part | Op::Complete | Op::Abort | Op::ListParts) {
            for upload in direct.list_uploads(self.key.as_str()).await? {
                direct.resume_multipart_upload(&upload.key, &upload.upload_id)?.abort().await?;
            }
        }
        Ok(())
    }
}

async fn exists(direct: &S3Storage, key: &Key) -> Result<bool> {
    match direct.head(key, HeadOptions::default()).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
