//! Conditions on completing a multipart upload: judged when the parts are joined.

use std::rc::Rc;

use object_storage::limits::PART_BYTES_MIN;
use object_storage::{ErrorKind, Key, MultipartUpload, ObjectStorageExt, Part, PartNumber, PutMode};

use crate::scenario::{
    Context, Failure, Outcome, Scenario, expect_kind, expect_one_of, noise, passed, unsupported,
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "conditional-complete",
    about: "a multipart upload is completed under Create and Match, and refused where they do not hold",
    run: |cx| Box::pin(run(cx)),
};

async fn run(cx: &Context) -> Outcome {
    let key = cx.key("object")?;
    let promised = cx.capabilities().complete_create && cx.capabilities().complete_match;
    let (upload, parts) = upload(cx, &key).await?;
    if !promised {
        for mode in [PutMode::Create, PutMode::Match(parts[0].etag.clone())] {
            let refused = upload.complete(&parts, mode.into()).await;
            expect_kind(refused, ErrorKind::Unsupported, "a conditional complete")?;
        }
        upload.abort().await?;
        cx.ensure_absent(&key).await?;
        return unsupported("conditions on complete are not promised (conditional_complete)");
    }
    let created = upload.complete(&parts, PutMode::Create.into()).await?.etag;
    let bytes = [whole_part(), tail()].concat();
    cx.ensure_holds(&key, &bytes).await?;

    let (upload, parts) = self::upload(cx, &key).await?;
    let refused = upload.complete(&parts, PutMode::Create.into()).await;
    expect_kind(refused, ErrorKind::AlreadyExists, "a complete with Create where an object is")?;
    let newer = cx.store.put_bytes(&key, "newer").await?.etag;
    let stale = upload.complete(&parts, PutMode::Match(created).into()).await;
    expect_kind(stale, ErrorKind::PreconditionFailed, "a complete with the tag of an older version")?;
    cx.ensure_holds(&key, b"newer").await?;
    // A refused complete leaves the upload as it was: it can still be completed otherwise.
    upload.complete(&parts, PutMode::Match(newer).into()).await?;
    cx.ensure_holds(&key, &bytes).await?;

    let absent = cx.key("absent")?;
    let (upload, parts) = self::upload(cx, &absent).await?;
    let nothing = upload.complete(&parts, PutMode::Match(parts[0].etag.clone()).into()).await;
    let kinds = [ErrorKind::NotFound, ErrorKind::PreconditionFailed];
    expect_one_of(nothing, &kinds, "a complete with Match where nothing is")?;
    cx.ensure_absent(&absent).await?;
    upload.abort().await?;
    cx.ensure_no_uploads().await?;
    passed("Create and Match hold at the join; a refused one changes nothing")
}

/// An upload of a whole part and a short one.
async fn upload(cx: &Context, key: &Key) -> Result<(Rc<dyn MultipartUpload>, Vec<Part>), Failure> {
    let upload = cx.store.create_multipart_upload(key, Default::default()).await?;
    let second = PartNumber::FIRST.next().expect("there are 10,000");
    let parts = vec![
        upload.upload_part(PartNumber::FIRST, whole_part().into()).await?,
        upload.upload_part(second, tail().into()).await?,
    ];
    Ok((upload, parts))
}

fn whole_part() -> bytes::Bytes {
    noise(7, usize::try_from(PART_BYTES_MIN).expect("5 MiB"))
}

fn tail() -> bytes::Bytes {
    noise(8, 1000)
}
