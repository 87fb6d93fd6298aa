//! Keys that are allowed and easily mangled: blanks, plus, percent, quotes, other scripts, the longest.

use object_storage::{CopyOptions, Key, ObjectStorageExt};

use crate::scenario::{Context, Failure, Outcome, Scenario, ensure, passed};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "awkward-keys",
    about: "keys with blanks, +, %, quotes, emoji and every printable ASCII character round-trip, in lists too",
    run: |cx| Box::pin(run(cx)),
};

const NAMES: &[&str] = &[
    "a b+c%2F/é/😀",
    " leading and trailing ",
    "%",
    "%2e%2e",
    "%2F%2f",
    "%00",
    "a+b",
    "a b",
    "a%20b",
    "?versionId=1&uploads",
    "#fragment",
    "semi;colon=and,comma",
    "\"quoted\" 'twice' <xml> & \\back\\slash",
    "back`tick^caret|pipe{brace}[bracket]~tilde",
    "...",
    ".hidden",
    "trailing.",
    "con",
    "e\u{301} is not \u{e9}",
    "日本語/한국어/עברית/العربية",
    "👩‍👩‍👧‍👦",
    "\u{feff}bom",
    "case",
    "CASE",
];

async fn run(cx: &Context) -> Outcome {
    let mangled = |c: char| c == '/' || (cx.keys_are_paths && c == '\\');
    let names = NAMES.iter().map(|name| name.replace('\\', if cx.keys_are_paths { "" } else { "\\" }));
    let mut keys = names.map(|name| cx.key(&name)).collect::<Result<Vec<Key>, Failure>>()?;
    let ascii: String = (' '..='~').filter(|c| !mangled(*c)).collect();
    keys.push(cx.key(&ascii)?);
    keys.push(longest(cx)?);
    for key in &keys {
        cx.store.put_bytes(key, content(key)).await?;
    }
    for key in &keys {
        cx.ensure_holds(key, content(key).as_bytes()).await?;
        ensure!(cx.store.head_meta(key).await?.key == *key, "head answers for another key than {key:?}");
        let found = cx.store.list_all(key.as_str()).await?;
        ensure!(
            found.iter().any(|object| object.key == *key),
            "a list with the prefix {key:?} does not show it"
        );
    }
    let listed = cx.listed("").await?;
    let mut expected: Vec<&Key> = keys.iter().collect();
    expected.sort();
    let stray = listed.iter().map(|object| &object.key).zip(&expected).find(|(listed, key)| listed != *key);
    ensure!(stray.is_none(), "the list shows another key than was put: {stray:?}");
    ensure!(listed.len() == keys.len(), "the list shows {} keys instead of {}", listed.len(), keys.len());

    let copy = cx.key("copy of 😀 +%2F")?;
    cx.store.copy(&keys[0], &copy, CopyOptions::default()).await?;
    cx.ensure_holds(&copy, content(&keys[0]).as_bytes()).await?;
    let results = cx.store.delete_many(&keys[..4]).await?;
    for (key, result) in keys.iter().zip(results) {
        result?;
        cx.ensure_absent(key).await?;
    }
    for key in &keys[4..] {
        cx.store.delete(key, Default::default()).await?;
        cx.ensure_absent(key).await?;
    }
    passed(format!("a b+c%2F/é/😀 and {} more: put, head, get, list, copy, delete", keys.len() - 1))
}

/// As long as the store takes them, in segments longer than the name of a file may be.
fn longest(cx: &Context) -> Result<Key, Failure> {
    let segment = if cx.keys_are_paths { 250 } else { 400 };
    let room = cx.key_bytes_max - cx.prefix.len();
    let mut name = String::new();
    while name.len() < room {
        let left = room - name.len();
        // A slash must not be the last byte, nor stand beside another.
        let slash = !name.is_empty() && left > 1;
        name.push_str(if slash { "/" } else { "" });
        name.push_str(&"é".repeat((left - usize::from(slash)).min(segment) / 2));
        if left - usize::from(slash) == 1 {
            name.push('x');
        }
    }
    let key = cx.key(&name)?;
    ensure!(key.as_str().len() == cx.key_bytes_max, "the longest key has {} bytes", key.as_str().len());
    Ok(key)
}

/// The key itself, so that two keys that become one are found out.
fn content(key: &Key) -> String {
    format!("content of {key}")
}
