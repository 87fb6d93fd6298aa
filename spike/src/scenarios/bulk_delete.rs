//! Deleting more keys than one request carries, with an answer for each.

use futures_util::{StreamExt, TryStreamExt};
use object_storage::{Key, ObjectStorageExt};

use super::AT_ONCE;
use crate::scenario::{Context, Failure, Outcome, Scenario, ensure, passed};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "bulk-delete",
    about: "more than 1,000 keys are deleted in as few requests as S3 needs, with a result for each",
    run: |cx| Box::pin(run(cx)),
};

const KEYS: usize = 1_050;

async fn run(cx: &Context) -> Outcome {
    let mut keys = (0..KEYS).map(|n| cx.key(&format!("k{n:04}"))).collect::<Result<Vec<Key>, Failure>>()?;
    // Names that a document of XML must not take literally.
    keys.extend([cx.key("a&b<c>\"d\"'e'")?, cx.key("é/😀 +%2F")?]);
    let kept = cx.key("kept")?;
    futures_util::stream::iter(keys.iter().chain([&kept]).enumerate())
        .map(|(index, key)| async move {
            cx.store.put_bytes(key, "x").await?;
            cx.progress.say(format_args!("{index} of {KEYS} keys put"));
            Ok::<_, Failure>(())
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;

    let absent = cx.key("never-was")?;
    let twice = keys[0].clone();
    let asked: Vec<Key> = keys.iter().cloned().chain([absent, twice]).collect();
    cx.clear_requests();
    let results = cx.store.delete_many(&asked).await?;
    ensure!(results.len() == asked.len(), "{} results for {} keys", results.len(), asked.len());
    if let Some((key, error)) =
        asked.iter().zip(&results).find_map(|(key, result)| Some((key, result.as_ref().err()?)))
    {
        return Err(Failure(format!("{key:?} was not deleted: {error:?}")));
    }
    if let Some(requests) = cx.requests("DeleteObjects") {
        ensure!(requests == 2, "{} keys took {requests} DeleteObjects requests instead of 2", asked.len());
    }
    let left = cx.listed("").await?;
    ensure!(left.len() == 1 && left[0].key == kept, "{} keys are left instead of one", left.len());
    ensure!(cx.store.delete_many(&[]).await?.is_empty(), "no keys gave results");
    passed(format!("{} keys, absent and repeated ones too, a result for each", asked.len()))
}
