//! Keys that another program chose and that [`Key::parse`] would refuse: they are listed, read and deleted as they are.

use object_storage::{ErrorKind, Key, ObjectStorageExt};

use crate::scenario::{Context, Failure, Outcome, Scenario, Verdict, ensure, expect_one_of, passed};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "foreign-keys",
    about: "a//b, /x and keys that end with / are listed, read and deleted just as somebody else put them",
    run: |cx| Box::pin(run(cx)),
};

async fn run(cx: &Context) -> Outcome {
    let mut keys = ["a//b", "a///b", "ends/", "ends//", "/under"]
        .iter()
        .map(|name| Ok(Key::verbatim(&format!("{}{name}", cx.prefix))?))
        .collect::<Result<Vec<Key>, Failure>>()?;
    if !cx.capabilities().verbatim_keys {
        for key in &keys {
            let kinds = [ErrorKind::InvalidInput, ErrorKind::Unsupported];
            expect_one_of(cx.store.put_bytes(key, "x").await, &kinds, &format!("a put of {key:?}"))?;
            expect_one_of(cx.store.get_bytes(key).await, &kinds, &format!("a get of {key:?}"))?;
        }
        // What this store promises of such keys is just that.
        return passed("a//b, trailing /: refused with a typed error; this store has paths");
    }
    if cx.keys_are_paths {
        return Ok(Verdict::Unsupported("the store is said to keep keys as paths: not tried".to_owned()));
    }
    if cx.whole_bucket {
        keys.extend(
            ["/x", "//evil/x", "/"].iter().map(|name| Key::verbatim(name)).collect::<Result<Vec<_>, _>>()?,
        );
    }
    if cx.server.is_some() {
        // Nothing of ours writes a control character, but the server inside can be given one.
        keys.push(Key::verbatim(&format!("{}two\nlines", cx.prefix))?);
    }
    for key in &keys {
        match &cx.server {
            Some(inside) => inside.server.put_raw(&inside.bucket, key.as_str(), content(key)),
            None => drop(cx.store.put_bytes(key, content(key)).await?),
        }
    }
    let mut listed: Vec<Key> =
        cx.store.list_all(&cx.prefix).await?.into_iter().map(|object| object.key).collect();
    if cx.whole_bucket {
        listed.extend(cx.store.list_all("/").await?.into_iter().map(|object| object.key));
    }
    for key in &keys {
        ensure!(listed.contains(key), "{key:?} is not listed");
        cx.ensure_holds(key, content(key).as_bytes()).await?;
        let size = cx.store.head_meta(key).await?.size;
        ensure!(size == content(key).len() as u64, "head says {size} bytes of {key:?}");
    }
    ensure!(listed.len() == keys.len(), "{} keys are listed instead of {}", listed.len(), keys.len());
    let (by_one, by_many) = keys.split_at(keys.len() / 2);
    for key in by_one {
        cx.store.delete(key, Default::default()).await?;
    }
    for result in cx.store.delete_many(by_many).await? {
        result?;
    }
    for key in &keys {
        cx.ensure_absent(key).await?;
    }
    let root = if cx.whole_bucket { "/x at the root" } else { "//x below the prefix" };
    passed(format!("a//b, trailing /, {root}: listed, read, deleted"))
}

fn content(key: &Key) -> String {
    format!("content of {key}")
}
