//! Listings longer than a page: complete, without repetition, by plain string prefix, with delimiter and start.

use futures_util::{StreamExt, TryStreamExt};
use object_storage::{Key, ListOptions, ObjectStorageExt};

use super::AT_ONCE;
use crate::scenario::{Context, Failure, Outcome, Scenario, ensure, passed};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "list-many-keys",
    about: "more than 1,000 keys are listed once each, by prefix, delimiter and start, in pages of any size",
    run: |cx| Box::pin(run(cx)),
};

const DIRECTORIES: usize = 11;
const KEYS_EACH: usize = 100;
const KEYS: usize = DIRECTORIES * KEYS_EACH;

async fn run(cx: &Context) -> Outcome {
    let names: Vec<String> = (0..DIRECTORIES)
        .flat_map(|directory| (0..KEYS_EACH).map(move |file| format!("d{directory:02}/f{file:03}")))
        .collect();
    let keys = names.iter().map(|name| cx.key(name)).collect::<Result<Vec<Key>, Failure>>()?;
    put_all(cx, &keys).await?;

    let all = cx.listed("").await?;
    ensure!(all.len() == KEYS, "{} keys are listed instead of {KEYS}", all.len());
    let same = all.iter().zip(&keys).find(|(listed, key)| listed.key != **key);
    ensure!(same.is_none(), "a key is missing or double in the list: {same:?}");
    let sized =
        all.iter().all(|object| object.size == object.key.as_str().len() as u64 && object.etag.is_some());
    ensure!(sized, "the list shows wrong sizes, or no tags");

    // A plain string: neither a path nor a pattern.
    let partial = cx.listed("d0").await?.len();
    ensure!(partial == 10 * KEYS_EACH, "the prefix d0 shows {partial} keys instead of {}", 10 * KEYS_EACH);
    ensure!(cx.listed("d00/f05").await?.len() == 10, "the prefix d00/f05 does not show its 10 keys");
    ensure!(cx.listed("none").await?.is_empty(), "a prefix that no key has shows keys");

    let options = ListOptions::prefix(&cx.prefix).with_page_size(77);
    let paged = pages(cx, options).await?;
    ensure!(paged.objects.len() == KEYS, "pages of 77 show {} keys instead of {KEYS}", paged.objects.len());
    ensure!(paged.longest <= 77, "a page of 77 holds {} entries", paged.longest);

    let rolled = pages(cx, ListOptions::prefix(&cx.prefix).with_delimiter("/").with_page_size(4)).await?;
    let expected: Vec<String> =
        (0..DIRECTORIES).map(|number| format!("{}d{number:02}/", cx.prefix)).collect();
    ensure!(
        rolled.prefixes == expected && rolled.objects.is_empty(),
        "rolled up at `/`: {:?}",
        rolled.prefixes
    );

    let start = format!("{}d07/f049", cx.prefix);
    let after = pages(cx, ListOptions::prefix(&cx.prefix).with_start_after(&start)).await?;
    let expected: Vec<&Key> = keys.iter().filter(|key| key.as_str() > start.as_str()).collect();
    ensure!(
        after.objects.iter().eq(expected.iter().copied()),
        "after d07/f049 there are {} keys instead of {}",
        after.objects.len(),
        expected.len()
    );
    let order = if cx.capabilities().ordered_list { "in order" } else { "order not promised" };
    passed(format!("{KEYS} keys by 1,000 and 77, {order}; prefix, delimiter, start"))
}

async fn put_all(cx: &Context, keys: &[Key]) -> Result<(), Failure> {
    futures_util::stream::iter(keys.iter().enumerate())
        .map(|(index, key)| async move {
            cx.store.put_bytes(key, key.as_str().to_owned()).await?;
            cx.progress.say(format_args!("{index} of {KEYS} keys put"));
            Ok(())
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

struct Pages {
    objects: Vec<Key>,
    prefixes: Vec<String>,
    /// The entries of the fullest page.
    longest: usize,
}

/// A listing by pages; sorted, because not every store promises an order.
async fn pages(cx: &Context, options: ListOptions) -> Result<Pages, Failure> {
    let mut pages = Pages { objects: Vec::new(), prefixes: Vec::new(), longest: 0 };
    let mut lister = cx.store.list(options);
    while let Some(page) = lister.next_page().await? {
        pages.longest = pages.longest.max(page.objects.len() + page.common_prefixes.len());
        pages.objects.extend(page.objects.into_iter().map(|object| object.key));
        pages.prefixes.extend(page.common_prefixes);
    }
    pages.objects.sort();
    pages.prefixes.sort();
    Ok(pages)
}
