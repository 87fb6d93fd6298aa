//! Tests of the store as a whole, against real directories.
#![expect(
    clippy::disallowed_methods,
    reason = "tests prepare and inspect directories behind the store's back"
)]

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join_all;
use tempfile::TempDir;

use super::*;
use crate::attributes::{Attributes, ContentHeader};
use crate::ext::ObjectStorageExt;
use crate::limits::{KIB, MIB};
use crate::object::ETag;
use crate::options::{CompleteOptions, PutMode};
use crate::storage::{Part, PartNumber};

async fn store() -> (TempDir, CompioFsStorage) {
    let directory = TempDir::new().expect("a temporary directory");
    let store = open(directory.path()).await;
    (directory, store)
}

async fn open(path: &Path) -> CompioFsStorage {
    CompioFsStorage::open(path, FsOptions::default().with_durability(Durability::None)).await.expect("opens")
}

fn key(text: &str) -> Key {
    Key::parse(text).expect("an everyday key")
}

fn kind<T>(result: Result<T>) -> ErrorKind {
    result.err().expect("an error").kind()
}

fn count(bytes: u64) -> usize {
    usize::try_from(bytes).expect("sizes of tests fit")
}

/// Data in which every stretch differs from every other.
fn pattern(bytes: u64) -> Bytes {
    (0..bytes.div_ceil(8)).flat_map(|at| (at ^ 0x5bd1_e995).to_le_bytes()).take(count(bytes)).collect()
}

fn temporary_files(root: &Path) -> Vec<PathBuf> {
    fs::read_dir(root.join("%tmp")).expect("there").map(|entry| entry.expect("readable").path()).collect()
}

#[compio::test]
async fn what_was_put_comes_back_with_its_attributes_in_any_size() {
    let directory = TempDir::new().expect("a temporary directory");
    for durability in [Durability::Full, Durability::None] {
        let options = FsOptions::default().with_durability(durability);
        let store = CompioFsStorage::open(directory.path().join("new/root"), options).await.expect("opens");
        for bytes in [0, 1, 4 * KIB, 64 * KIB - 200, 64 * KIB, 64 * KIB + 1, MIB, MIB + 1, 2 * MIB + 17] {
            let attributes = Attributes::new()
                .with_header(ContentHeader::ContentType, "text/plain")
                .and_then(|attributes| attributes.with_metadata("long", &"v".repeat(1500)))
                .expect("plain attributes");
            let key = key(&format!("a/{bytes}"));
            let options = PutOptions::default().with_attributes(attributes.clone());
            let put = store.put(&key, pattern(bytes).into(), options).await.expect("put");
            let got = store.get(&key, GetOptions::default()).await.expect("get");
            assert_eq!((got.meta.size, &got.range), (bytes, &(0..bytes)));
            assert_eq!(got.meta.etag, Some(put.etag));
            assert_eq!(got.attributes, attributes);
            assert_eq!(got.body.bytes().await.expect("whole"), pattern(bytes));
            if bytes > 70 {
                let range = store.get_range(&key, bytes - 70..bytes - 1).await.expect("a range");
                assert_eq!(range, pattern(bytes).slice(count(bytes - 70)..count(bytes - 1)));
            }
            let head = store.head(&key, HeadOptions::default()).await.expect("head");
            assert_eq!((head.meta, head.attributes), (got.meta, got.attributes));
        }
        assert!(temporary_files(&directory.path().join("new/root")).is_empty());
    }
}

#[compio::test]
async fn chunks_of_a_payload_arrive_in_order_however_they_are_cut() {
    let (_directory, store) = store().await;
    let whole = pattern(3 * MIB);
    let mut payload = Payload::new();
    let (mut at, mut cut) = (0, 1);
    while at < whole.len() {
        let end = (at + cut).min(whole.len());
        payload.push(whole.slice(at..end));
        at = end;
        cut = if cut > 500_000 { 1 } else { cut * 3 };
    }
    (0..2000).for_each(|_| payload.push(Bytes::from_static(b"tail")));
    let expected = payload.to_bytes();
    store.put_bytes(&key("a"), payload).await.expect("put");
    assert_eq!(store.get_bytes(&key("a")).await.expect("get"), expected);
}

#[compio::test]
async fn a_body_gives_the_version_it_was_opened_on() {
    let (_directory, store) = store().await;
    let key = key("a");
    store.put_bytes(&key, pattern(2 * MIB)).await.expect("put");
    let mut got = store.get(&key, GetOptions::default()).await.expect("get");
    let first = got.body.next_chunk().await.expect("not over").expect("a chunk");
    store.put_bytes(&key, "new").await.expect("overwrite");
    let rest = got.body.bytes().await.expect("the rest");
    assert_eq!([first, rest].concat(), pattern(2 * MIB));
    let got = store.get(&key, GetOptions::default()).await.expect("get");
    store.delete(&key, DeleteOptions::default()).await.expect("delete");
    assert_eq!(got.body.bytes().await.expect("still there"), "new");
}

#[compio::test]
async fn an_object_and_objects_below_its_name_live_side_by_side() {
    let (_directory, store) = store().await;
    let keys = ["a", "a/b", "a/b/c", "a%d", "a%d/b", "%tmp", "%lock/00", "%uploads/x", "lost+found", "..."];
    for name in keys {
        store.put_if_absent(&key(name), name).await.expect(name);
    }
    for name in keys {
        assert_eq!(store.get_bytes(&key(name)).await.expect(name), name);
    }
    let listed: Vec<_> = store.list_all("").await.expect("list").into_iter().map(|meta| meta.key).collect();
    let expected: BTreeSet<_> = keys.into_iter().map(key).collect();
    assert_eq!(listed, expected.into_iter().collect::<Vec<_>>());
}

/// Keys whose order is easily got wrong: around `/`, below objects, and longer than a file name.
fn tricky_keys() -> BTreeSet<String> {
    let mut keys: BTreeSet<String> = [
        "a", "a-b", "a/b", "a/b-", "a/b/c", "a/b0", "a0", "a%", "a%/x", "A", "é", "é/😀", "b/x/y/z", "b/x/y",
    ]
    .map(str::to_owned)
    .into();
    let long = "x".repeat(240);
    // Around the cut of a long name: shorter, just as long, longer, and with characters that do not fit.
    keys.extend(
        ["", "/a", "-", "a", "a/b", "0", "é", "😀", "😀/a", "%", "lost+found"]
            .map(|end| format!("{long}{end}")),
    );
    keys.extend(["", "a", "😀", "😀a", "/a"].map(|end| format!("{}{end}", "x".repeat(238))));
    keys.extend(["", "/a", "b", "-"].map(|end| format!("{}{end}", "y".repeat(1000))));
    keys.insert("z".repeat(1024));
    keys.insert("%".repeat(1024));
    keys.insert("%/".repeat(500) + "%");
    keys.insert("w/".repeat(511) + "ww");
    keys
}

#[compio::test]
async fn listings_come_in_byte_order_with_any_prefix_delimiter_start_and_page_size() {
    let (_directory, store) = store().await;
    let keys = tricky_keys();
    for name in &keys {
        store.put_bytes(&key(name), name.clone()).await.expect("put");
    }
    let x = "x".repeat(240);
    let prefixes =
        ["", "a", "a/", "a/b", "a%", "x", &x, &format!("{x}/"), "b/x/", "q", "/", "a//", "../", "w/w"];
    let starts = ["", "a", "a/", "a/b", "a/b/", "a0", &x, &format!("{x}a"), "\u{10ffff}"];
    for (round, prefix) in prefixes.into_iter().enumerate() {
        for delimiter in [None, Some("/"), Some("-"), Some("b"), Some("xx"), Some("/x")] {
            for start in starts {
                // Small pages walk much, so they take turns.
                for page_size in [1 + round % 3, 1000] {
                    let mut options = ListOptions::prefix(prefix).with_page_size(page_size);
                    options.delimiter = delimiter.map(str::to_owned);
                    options.start_after = Some(start.to_owned()).filter(|start| !start.is_empty());
                    let (objects, prefixes) = expected_listing(&keys, prefix, delimiter, start);
                    let (mut listed, mut rolled_up) = (Vec::new(), Vec::new());
                    let mut lister = store.list(options);
                    while let Some(page) = lister.next_page().await.expect("a page") {
                        assert!(page.objects.len() + page.common_prefixes.len() <= page_size);
                        assert!(
                            page.next.is_none()
                                || !page.objects.is_empty()
                                || !page.common_prefixes.is_empty()
                        );
                        listed.extend(page.objects.into_iter().map(|meta| meta.key.as_str().to_owned()));
                        rolled_up.extend(page.common_prefixes);
                    }
                    let case = format!("{prefix:?} {delimiter:?} {start:?} {page_size}");
                    assert_eq!(listed, objects, "{case}");
                    assert_eq!(rolled_up, prefixes, "{case}");
                }
            }
        }
    }
}

fn expected_listing(
    keys: &BTreeSet<String>,
    prefix: &str,
    delimiter: Option<&str>,
    start: &str,
) -> (Vec<String>, Vec<String>) {
    let (mut objects, mut prefixes) = (Vec::new(), BTreeSet::new());
    for key in keys.iter().filter(|key| key.starts_with(prefix) && key.as_str() > start) {
        let cut = delimiter.and_then(|d| key[prefix.len()..].find(d).map(|at| prefix.len() + at + d.len()));
        match cut {
            Some(cut) => drop(prefixes.insert(key[..cut].to_owned())),
            None => objects.push(key.clone()),
        }
    }
    (objects, prefixes.into_iter().collect())
}

#[compio::test]
async fn a_directory_with_more_objects_than_a_page_is_listed_in_pages() {
    let (_directory, store) = store().await;
    let names: Vec<_> = (0..2345).map(|number| format!("d/{number:05}")).collect();
    join_all(names.iter().map(|name| async { store.put_bytes(&key(name), "").await.expect("put") })).await;
    let listed = store.list_all("d/").await.expect("list");
    assert!(listed.iter().map(|meta| meta.key.as_str()).eq(names.iter().map(String::as_str)));
    let page = store.list_page(&ListOptions::default().with_delimiter("/"), None).await.expect("list");
    assert_eq!((page.objects.len(), page.common_prefixes, page.next), (0, vec!["d/".to_owned()], None));
}

#[compio::test]
async fn tokens_and_page_sizes_that_cannot_be_are_refused() {
    let (_directory, store) = store().await;
    store.put_bytes(&key("a/b"), "").await.expect("put");
    for page_size in [0, 1001] {
        let options = ListOptions::default().with_page_size(page_size);
        assert_eq!(kind(store.list_page(&options, None).await), ErrorKind::InvalidInput);
        let options = ListUploadsOptions::default().with_page_size(page_size);
        assert_eq!(kind(store.list_multipart_uploads_page(&options, None).await), ErrorKind::InvalidInput);
    }
    let options = ListOptions::prefix("a").with_delimiter("/");
    for token in ["", "x", "kb", "ka/b", "k", "pa", "pb/", "pa/b", "../x", "ka\0"] {
        let listed = store.list_page(&options, Some(&PageToken::new(token))).await;
        assert_eq!(kind(listed), ErrorKind::InvalidInput, "{token:?}");
    }
    for token in ["", "x", "../../etc/passwd", &"0".repeat(32)] {
        let (options, token) = (ListUploadsOptions::default(), PageToken::new(token));
        let listed = store.list_multipart_uploads_page(&options, Some(&token)).await;
        assert_eq!(kind(listed), ErrorKind::InvalidInput, "{token:?}");
    }
}

#[compio::test]
async fn of_many_creates_exactly_one_wins() {
    let (directory, store) = store().await;
    let other = open(directory.path()).await;
    let key = key("a/b");
    let puts = (0..16).map(|number| {
        let (store, key) = (if number % 2 == 0 { &store } else { &other }, &key);
        async move { (number, store.put_if_absent(key, format!("{number}")).await) }
    });
    let (won, lost): (Vec<_>, Vec<_>) = join_all(puts).await.into_iter().partition(|(_, put)| put.is_ok());
    assert_eq!((won.len(), lost.len()), (1, 15));
    assert!(lost.into_iter().all(|(_, put)| kind(put) == ErrorKind::AlreadyExists));
    assert_eq!(store.get_bytes(&key).await.expect("get"), won[0].0.to_string());
}

#[compio::test]
async fn compare_and_swap_counts_right_between_two_stores() {
    let (directory, store) = store().await;
    let other = open(directory.path()).await;
    let key = key("counter");
    store.put_bytes(&key, "0").await.expect("put");
    let add = async |store: &CompioFsStorage| {
        let mut added = 0;
        while added < 25 {
            let got = store.get(&key, GetOptions::default()).await.expect("get");
            let etag = got.meta.etag.expect("a tag");
            let count: u32 =
                String::from_utf8_lossy(&got.body.bytes().await.expect("body")).parse().expect("a number");
            match store.put_if_match(&key, (count + 1).to_string(), &etag).await {
                Ok(_) => added += 1,
                Err(error) => assert_eq!(error.kind(), ErrorKind::PreconditionFailed),
            }
        }
    };
    join_all([add(&store), add(&other), add(&store), add(&other)]).await;
    assert_eq!(store.get_bytes(&key).await.expect("get"), "100");
}

#[compio::test]
async fn conditions_answer_as_the_contract_says() {
    let (_directory, store) = store().await;
    let (a, b) = (key("a"), key("b/c"));
    let other = ETag::parse("other").expect("a tag");
    assert_eq!(kind(store.put_if_match(&a, "", &other).await), ErrorKind::NotFound);
    assert_eq!(kind(store.put_if_match(&b, "", &other).await), ErrorKind::NotFound);
    assert_eq!(kind(store.delete_if_match(&b, &other).await), ErrorKind::NotFound);
    store.delete(&key("no/such/directory"), DeleteOptions::default()).await.expect("nothing to delete");
    let put = store.put_bytes(&a, "one").await.expect("put");
    assert_eq!(kind(store.put_if_match(&a, "", &other).await), ErrorKind::PreconditionFailed);
    assert_eq!(kind(store.delete_if_match(&a, &other).await), ErrorKind::PreconditionFailed);
    let get = |options: GetOptions| store.get(&a, options);
    assert_eq!(
        kind(get(GetOptions::default().with_if_match(other.clone())).await),
        ErrorKind::PreconditionFailed
    );
    assert_eq!(
        kind(get(GetOptions::default().with_if_none_match(put.etag.clone())).await),
        ErrorKind::NotModified
    );
    assert_eq!(kind(get(GetOptions::default().with_range(3..4)).await), ErrorKind::RangeNotSatisfiable);
    assert_eq!(kind(get(GetOptions::default().with_range(3..3)).await), ErrorKind::InvalidInput);
    let head = HeadOptions::default().with_if_none_match(put.etag.clone());
    assert_eq!(kind(store.head(&a, head).await), ErrorKind::NotModified);
    let copy = async |options| store.copy(&a, &b, options).await;
    assert_eq!(
        kind(copy(CopyOptions::default().with_source_if_match(other.clone())).await),
        ErrorKind::PreconditionFailed
    );
    assert_eq!(
        kind(copy(CopyOptions::default().with_mode(PutMode::Match(other))).await),
        ErrorKind::NotFound
    );
    copy(CopyOptions::default().with_mode(PutMode::Create)).await.expect("copy");
    assert_eq!(kind(copy(CopyOptions::default().with_mode(PutMode::Create)).await), ErrorKind::AlreadyExists);
    assert_eq!(store.get_bytes(&b).await.expect("get"), "one");
    let keys = [a.clone(), b.clone(), key("none"), Key::verbatim("a//b").expect("S3 takes it")];
    let results = store.delete_many(&keys).await.expect("tried");
    assert!(results[..3].iter().all(Result::is_ok));
    assert_eq!(results[3].as_ref().map_err(Error::kind), Err(ErrorKind::InvalidInput));
    assert_eq!(kind(store.get_bytes(&a).await), ErrorKind::NotFound);
    assert!(store.list_all("").await.expect("list").is_empty());
}

#[compio::test]
async fn keys_that_only_s3_can_hold_are_refused_by_name_of_the_rule() {
    let (directory, store) = store().await;
    for text in ["/etc/passwd", "../b", "a/../b", ".", "..", "a//b", "a/", "/"] {
        let key = Key::verbatim(text).expect("S3 takes it");
        let error = store.put_bytes(&key, "").await.expect_err(text);
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let rule = key.broken_rule().expect("a verbatim key").to_string();
        assert!(error.to_string().contains(&rule), "{error}");
        assert_eq!(kind(store.get_bytes(&key).await), ErrorKind::InvalidInput);
        assert_eq!(kind(store.head(&key, HeadOptions::default()).await), ErrorKind::InvalidInput);
        assert_eq!(kind(store.delete(&key, DeleteOptions::default()).await), ErrorKind::InvalidInput);
        assert_eq!(kind(store.copy(&key, &key, CopyOptions::default()).await), ErrorKind::InvalidInput);
        assert_eq!(
            kind(store.create_multipart_upload(&key, MultipartOptions::default()).await),
            ErrorKind::InvalidInput
        );
    }
    assert!(store.list_all("").await.expect("list").is_empty());
    assert!(temporary_files(directory.path()).is_empty());
}

#[compio::test]
async fn planted_links_fifos_and_directories_are_never_followed_or_waited_for() {
    let (directory, mut store) = store().await;
    let outside = TempDir::new().expect("a temporary directory");
    let secret = outside.path().join("secret");
    fs::write(&secret, "secret").expect("written");
    let root = directory.path();
    for resolver in [tree::Resolver::Openat2, tree::Resolver::Stepwise] {
        Arc::get_mut(&mut store.tree).expect("one owner").resolver = resolver;
        symlink(&secret, root.join("link")).expect("planted");
        symlink(outside.path(), root.join("dir%d")).expect("planted");
        assert_eq!(kind(store.get_bytes(&key("link")).await), ErrorKind::Corrupt);
        assert_eq!(kind(store.get_bytes(&key("dir/secret")).await), ErrorKind::Corrupt);
        assert_eq!(kind(store.put_bytes(&key("dir/new"), "").await), ErrorKind::Corrupt);
        assert_eq!(
            kind(store.delete(&key("dir/secret"), DeleteOptions::default()).await),
            ErrorKind::Corrupt
        );
        let any = ETag::parse("any").expect("a tag");
        assert_eq!(kind(store.put_if_match(&key("link"), "", &any).await), ErrorKind::Corrupt);
        assert_eq!(kind(store.list_all("").await), ErrorKind::Corrupt);
        assert_eq!(kind(store.list_all("dir/").await), ErrorKind::Corrupt);
        // A put replaces the link itself.
        store.put_bytes(&key("link"), "mine").await.expect("put");
        assert_eq!(fs::read(&secret).expect("untouched"), b"secret");
        assert!(fs::symlink_metadata(root.join("link")).expect("there").is_file());
        assert_eq!(fs::read_dir(outside.path()).expect("there").count(), 1);
        fs::remove_file(root.join("dir%d")).expect("removed");

        let fifo = root.join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .expect("planted");
        assert_eq!(kind(store.get_bytes(&key("fifo")).await), ErrorKind::Corrupt);
        assert_eq!(kind(store.list_all("").await), ErrorKind::Corrupt);
        fs::remove_file(fifo).expect("removed");
        fs::create_dir(root.join("bare")).expect("planted");
        assert_eq!(kind(store.get_bytes(&key("bare")).await), ErrorKind::Corrupt);
        assert!(store.put_bytes(&key("bare"), "").await.is_err());
        let listed = store.list_all("").await.expect("directories without our marker are passed over");
        assert_eq!(listed.len(), 1);
        fs::remove_dir(root.join("bare")).expect("removed");
        store.delete(&key("link"), DeleteOptions::default()).await.expect("deleted");
        assert!(temporary_files(root).is_empty());
    }
}

#[compio::test]
async fn a_file_that_was_cut_is_corrupt_and_still_listed_and_can_be_replaced() {
    let (directory, store) = store().await;
    for bytes in [100, 4 * KIB, 100 * KIB] {
        let (key, path) = (key("a"), directory.path().join("a"));
        store.put_bytes(&key, pattern(bytes)).await.expect("put");
        let whole = fs::metadata(&path).expect("there").len();
        for cut in [1, 30, whole - bytes, whole - bytes + 1, whole] {
            store.put_bytes(&key, pattern(bytes)).await.expect("put");
            fs::File::options()
                .write(true)
                .open(&path)
                .and_then(|file| file.set_len(whole - cut))
                .expect("cut");
            assert_eq!(kind(store.get(&key, GetOptions::default()).await), ErrorKind::Corrupt, "{cut}");
            assert_eq!(kind(store.head(&key, HeadOptions::default()).await), ErrorKind::Corrupt);
            let listed = store.list_all("").await.expect("list");
            assert_eq!((listed.len(), listed[0].size, listed[0].etag.is_none()), (1, whole - cut, true));
            assert_eq!(kind(store.put_if_absent(&key, "").await), ErrorKind::AlreadyExists);
        }
        store.delete(&key, DeleteOptions::default()).await.expect("deleted");
    }
}

#[compio::test]
async fn files_and_directories_are_their_owners_only() {
    let directory = TempDir::new().expect("a temporary directory");
    let root = directory.path().join("root");
    let store = open(&root).await;
    store.put_bytes(&key("a/b"), "").await.expect("put");
    let upload = store.create_multipart_upload(&key("c"), MultipartOptions::default()).await.expect("begun");
    upload.upload_part(PartNumber::FIRST, "part".into()).await.expect("sent");
    let upload = format!("%uploads/{}", upload.upload_id());
    let mode = |path: &str| fs::metadata(root.join(path)).expect("there").permissions().mode() & 0o7777;
    for path in ["", "a%d", "%tmp", "%lock", "%uploads", &upload] {
        assert_eq!(mode(path), 0o700, "{path}");
    }
    for path in ["a%d/b", &format!("{upload}/description"), &format!("{upload}/00001")] {
        assert_eq!(mode(path), 0o600, "{path}");
    }
}

#[compio::test]
async fn a_directory_that_cannot_be_a_store_is_refused_with_advice() {
    let directory = TempDir::new().expect("a temporary directory");
    let file = directory.path().join("file");
    fs::write(&file, "").expect("written");
    for path in [file.clone(), file.join("below"), PathBuf::from("/proc/self")] {
        let error = CompioFsStorage::open(&path, FsOptions::default()).await.expect_err("refused");
        assert!(
            error.to_string().contains(&path.display().to_string()) || path.starts_with("/proc"),
            "{error}"
        );
    }
    let error = CompioFsStorage::open(&file, FsOptions::default()).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[compio::test]
async fn the_sweep_takes_what_is_old_and_nobody_writes() {
    let (directory, store) = store().await;
    let tmp = directory.path().join("%tmp");
    fs::write(tmp.join("left"), "behind").expect("written");
    fs::create_dir(tmp.join("upload")).expect("made");
    fs::write(tmp.join("upload/00001"), "part").expect("written");
    let writing = temp::Temp::create(&store.tree).expect("made");
    open(directory.path()).await;
    assert_eq!(temporary_files(directory.path()).len(), 3, "all too young");
    let options = FsOptions::default().with_sweep_after(Duration::ZERO);
    CompioFsStorage::open(directory.path(), options).await.expect("opens");
    assert_eq!(temporary_files(directory.path()), [tmp.join(&writing.name)]);
    drop(writing);
    assert!(temporary_files(directory.path()).is_empty());
}

#[compio::test]
async fn an_open_directory_that_somebody_takes_away_is_made_anew() {
    let directory = TempDir::new().expect("a temporary directory");
    let store = CompioFsStorage::open(directory.path(), FsOptions::default()).await.expect("opens");
    let (at, away) = (directory.path().join("a%d"), directory.path().join("away"));
    store.put_bytes(&key("a/b"), "first").await.expect("put");
    fs::rename(&at, &away).expect("moved");
    store.put_bytes(&key("a/b"), "second").await.expect("put");
    assert_eq!(store.get_bytes(&key("a/b")).await.expect("get"), "second");
    fs::remove_dir_all(&at).expect("removed");
    store.delete(&key("a/b"), DeleteOptions::default()).await.expect("nothing to delete");
    store.put_bytes(&key("a/c"), "third").await.expect("put");
    assert_eq!(store.get_bytes(&key("a/c")).await.expect("get"), "third");
    assert_eq!(fs::read_dir(&away).expect("there").count(), 1, "nothing went where the directory was moved");
}

#[compio::test]
async fn writes_that_share_syncs_are_all_told_how_they_ended() {
    let directory = TempDir::new().expect("a temporary directory");
    let store = CompioFsStorage::open(directory.path(), FsOptions::default()).await.expect("opens");
    let names: Vec<_> = (0..200).map(|number| format!("{}/{:02}", number % 3, number % 50)).collect();
    let writes = names.iter().enumerate().map(|(number, name)| {
        let (store, key) = (&store, key(name));
        async move {
            match number % 5 {
                0 => store.delete(&key, DeleteOptions::default()).await.expect("deleted"),
                // Gone, or there before: both are answers.
                1 => drop(store.put_if_absent(&key, name.clone()).await),
                _ => drop(store.put_bytes(&key, name.clone()).await.expect("put")),
            }
        }
    });
    join_all(writes).await;
    for meta in store.list_all("").await.expect("list") {
        assert_eq!(store.get_bytes(&meta.key).await.expect("get"), meta.key.as_str());
    }
    assert!(temporary_files(directory.path()).is_empty());
}

#[compio::test]
async fn a_put_that_is_dropped_at_any_moment_leaves_all_or_nothing() {
    let (directory, store) = store().await;
    let key = key("a/b");
    let old = store.put_bytes(&key, "old").await.expect("put").etag;
    for polls in 0..80 {
        // In one closure, or through the ring.
        let bytes = if polls % 2 == 0 { 200 * KIB } else { 3 * MIB };
        {
            let mut put = std::pin::pin!(store.put_bytes(&key, pattern(bytes)));
            for _ in 0..polls / 2 {
                if (&mut put).now_or_never().is_some() {
                    break;
                }
                compio::time::sleep(Duration::from_micros(50)).await;
            }
        }
        let got = store.get_bytes(&key).await.expect("get");
        assert!(got == "old" || got == pattern(200 * KIB) || got == pattern(3 * MIB));
    }
    // The closures that could not be stopped have ended when a new one through each place has.
    while !temporary_files(directory.path()).is_empty() {
        compio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_ne!(store.head_meta(&key).await.expect("head").etag, Some(old));
}

/// A small file system of its own.
struct TinyDisk(TempDir);

impl TinyDisk {
    fn mount() -> Option<TinyDisk> {
        let directory = TempDir::new().expect("a temporary directory");
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(directory.path());
        mount.output().is_ok_and(|output| output.status.success()).then_some(TinyDisk(directory))
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[compio::test]
async fn a_full_disk_is_told_and_leaves_nothing() {
    let Some(disk) = TinyDisk::mount() else {
        println!("skipped: mounting a small tmpfs needs root");
        return;
    };
    let directory = &disk.0;
    let store = open(directory.path()).await;
    for bytes in [60 * KIB, 2 * MIB] {
        let mut put = Ok(());
        for number in 0..40 {
            put = store.put_bytes(&key(&format!("{bytes}/{number}")), pattern(bytes)).await.map(drop);
            if put.is_err() {
                break;
            }
        }
        assert_eq!(kind(put), ErrorKind::NoSpace);
        assert!(temporary_files(directory.path()).is_empty());
        let kept = store.list_all("").await.expect("list");
        assert!(kept.iter().all(|meta| meta.etag.is_some()));
        let keys: Vec<_> = kept.into_iter().map(|meta| meta.key).collect();
        assert!(store.delete_many(&keys).await.expect("tried").iter().all(Result::is_ok));
    }
}

const PART: u64 = 5 * MIB;

async fn begin(store: &CompioFsStorage, to: &str) -> Rc<dyn MultipartUpload> {
    store.create_multipart_upload(&key(to), MultipartOptions::default()).await.expect("begun")
}

#[compio::test]
async fn parts_are_joined_in_order_of_their_numbers_and_the_upload_is_gone() {
    let (directory, store) = store().await;
    let attributes = Attributes::new().with_metadata("a", "b").expect("plain");
    let options = MultipartOptions::default().with_attributes(attributes.clone());
    let upload = store.create_multipart_upload(&key("x/y"), options).await.expect("begun");
    let number = |number| PartNumber::new(number).expect("a number");
    assert_eq!(kind(store.get_bytes(&key("x/y")).await), ErrorKind::NotFound);
    upload.upload_part(number(7), "replaced".into()).await.expect("sent");
    let (last, first, unused) = futures_util::join!(
        upload.upload_part(number(7), "the end".into()),
        upload.upload_part(number(2), pattern(PART).into()),
        upload.upload_part(number(3), "unused".into()),
    );
    let (first, last, _) = (first.expect("sent"), last.expect("sent"), unused.expect("sent"));
    let resumed = store.resume_multipart_upload(&key("x/y"), upload.upload_id()).expect("an upload of ours");
    let parts = resumed.list_parts_page(None).await.expect("list").parts;
    assert_eq!(parts.iter().map(|part| part.number.get()).collect::<Vec<_>>(), [2, 3, 7]);
    assert_eq!((&parts[0], &parts[2]), (&first, &last));
    let joined = [first.clone(), last.clone()];
    let put = resumed.complete(&joined, PutMode::Create.into()).await.expect("joined");
    let got = store.get(&key("x/y"), GetOptions::default()).await.expect("get");
    assert_eq!((got.meta.etag, got.attributes), (Some(put.etag), attributes));
    assert_eq!(got.body.bytes().await.expect("whole"), [&pattern(PART)[..], b"the end"].concat());
    assert_eq!(kind(upload.complete(&joined, CompleteOptions::default()).await), ErrorKind::NotFound);
    assert_eq!(kind(upload.upload_part(number(1), "".into()).await), ErrorKind::NotFound);
    assert_eq!(kind(upload.list_parts_page(None).await), ErrorKind::NotFound);
    upload.abort().await.expect("already gone");
    assert!(store.list_uploads("").await.expect("list").is_empty());
    assert!(temporary_files(directory.path()).is_empty());
    assert_eq!(fs::read_dir(directory.path().join("%uploads")).expect("there").count(), 0);
}

#[compio::test]
async fn a_complete_that_is_refused_leaves_the_upload_as_it_was() {
    let (_directory, store) = store().await;
    let upload = begin(&store, "a").await;
    let number = |number| PartNumber::new(number).expect("a number");
    let small = upload.upload_part(number(1), "small".into()).await.expect("sent");
    let large = upload.upload_part(number(2), pattern(PART).into()).await.expect("sent");
    let other = Part::new(number(1), large.etag.clone(), 5);
    let missing = Part::new(number(9), large.etag.clone(), 5);
    let refused: [&[Part]; 6] = [
        &[],
        &[small.clone(), large.clone()],
        &[large.clone(), small.clone()],
        &[large.clone(), large.clone()],
        std::slice::from_ref(&other),
        &[large.clone(), missing],
    ];
    for parts in refused {
        assert_eq!(kind(upload.complete(parts, CompleteOptions::default()).await), ErrorKind::InvalidInput);
    }
    let parts = [small];
    let other = ETag::parse("other").expect("a tag");
    assert_eq!(
        kind(upload.complete(&parts, PutMode::Match(other.clone()).into()).await),
        ErrorKind::NotFound
    );
    store.put_bytes(&key("a"), "there").await.expect("put");
    assert_eq!(
        kind(upload.complete(&parts, PutMode::Match(other).into()).await),
        ErrorKind::PreconditionFailed
    );
    assert_eq!(kind(upload.complete(&parts, PutMode::Create.into()).await), ErrorKind::AlreadyExists);
    upload.complete(&parts, CompleteOptions::default()).await.expect("joined");
    assert_eq!(store.get_bytes(&key("a")).await.expect("get"), "small");
}

#[compio::test]
async fn a_complete_that_is_dropped_in_line_leaves_the_upload_tied() {
    let directory = TempDir::new().expect("a temporary directory");
    let options = FsOptions::default().with_durability(Durability::None);
    let options = options.with_blocking_max(NonZeroUsize::MIN);
    let store = CompioFsStorage::open(directory.path(), options).await.expect("opens");
    let upload = begin(&store, "k").await;
    upload.abort_on_drop();
    let part = upload.upload_part(PartNumber::FIRST, "x".into()).await.expect("sent");
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let mut only = Box::pin(store.gate.run(move || wait.recv().is_ok()));
    assert!((&mut only).now_or_never().is_none());
    assert!(upload.complete(&[part], CompleteOptions::default()).now_or_never().is_none());
    go.send(()).expect("it waits for this");
    assert!(only.await);
    let report = store.shutdown(Duration::from_secs(20)).await;
    assert_eq!((report.uploads_aborted, report.is_clean()), (1, true), "{report:?}");
}

#[compio::test]
async fn an_upload_belongs_to_its_key_and_its_id_is_no_path() {
    let (_directory, store) = store().await;
    let upload = begin(&store, "a").await;
    for id in ["", "..", "../a%d", "x", &"0".repeat(33), &"A".repeat(32), "%tmp"] {
        let resumed = store.resume_multipart_upload(&key("a"), &UploadId::new(id));
        assert_eq!(kind(resumed), ErrorKind::InvalidInput, "{id}");
    }
    let unknown =
        store.resume_multipart_upload(&key("a"), &UploadId::new(&"0".repeat(32))).expect("well formed");
    assert_eq!(kind(unknown.upload_part(PartNumber::FIRST, "".into()).await), ErrorKind::NotFound);
    let stranger = store.resume_multipart_upload(&key("b"), upload.upload_id()).expect("well formed");
    assert_eq!(kind(stranger.upload_part(PartNumber::FIRST, "".into()).await), ErrorKind::NotFound);
    assert_eq!(kind(stranger.list_parts_page(None).await), ErrorKind::NotFound);
    stranger.abort().await.expect("there is no such upload");
    let token = PageToken::new(format!("{}00000", upload.upload_id()));
    assert_eq!(kind(upload.list_parts_page(Some(&token)).await), ErrorKind::InvalidInput);
    assert_eq!(store.list_uploads("").await.expect("list").len(), 1);
}

#[compio::test]
async fn uploads_are_listed_by_key_then_id_in_pages() {
    let (_directory, store) = store().await;
    let mut expected = Vec::new();
    for name in ["b", "a/x", "b", "a", "c", "b"] {
        expected.push((name.to_owned(), begin(&store, name).await.upload_id().as_str().to_owned()));
    }
    expected.sort();
    let options = ListUploadsOptions::default().with_page_size(2);
    let (mut listed, mut next) = (Vec::new(), None);
    loop {
        let page = store.list_multipart_uploads_page(&options, next.as_ref()).await.expect("a page");
        assert!(page.uploads.len() <= 2 && page.uploads.iter().all(|upload| upload.initiated.is_some()));
        listed.extend(
            page.uploads.into_iter().map(|u| (u.key.as_str().to_owned(), u.upload_id.as_str().to_owned())),
        );
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(listed, expected);
    assert_eq!(store.list_uploads("a").await.expect("list").len(), 2);
}

#[compio::test]
async fn complete_and_abort_at_once_end_in_one_of_both() {
    let (directory, store) = store().await;
    for round in 0..30 {
        let name = format!("r/{round}");
        let upload = begin(&store, &name).await;
        let parts = [upload.upload_part(PartNumber::FIRST, "part".into()).await.expect("sent")];
        let (one, two, aborted, late) = futures_util::join!(
            upload.complete(&parts, CompleteOptions::default()),
            upload.complete(&parts, CompleteOptions::default()),
            upload.abort(),
            upload.upload_part(PartNumber::new(2).expect("a number"), "late".into()),
        );
        aborted.expect("gone either way");
        let joined = [one, two].into_iter().filter(Result::is_ok).count();
        assert!(joined <= 1);
        assert!(late.is_ok() || kind(late) == ErrorKind::NotFound);
        assert_eq!(store.exists(&key(&name)).await.expect("head"), joined == 1);
    }
    assert!(store.list_uploads("").await.expect("list").is_empty());
    assert!(temporary_files(directory.path()).is_empty());
}

#[compio::test]
async fn one_blocking_thread_is_enough_for_everything_at_once() {
    let directory = TempDir::new().expect("a temporary directory");
    let options = FsOptions::default()
        .with_durability(Durability::None)
        .with_blocking_max(std::num::NonZeroUsize::new(1).expect("not zero"));
    let store = CompioFsStorage::open(directory.path(), options).await.expect("opens");
    let names: Vec<_> = (0..20).map(|number| format!("{}", number % 3)).collect();
    join_all(names.iter().map(|name| async {
        store.put_bytes(&key(name), pattern(100 * KIB)).await.expect("put");
        store.get_bytes(&key(name)).await.expect("get");
        let upload = begin(&store, name).await;
        let parts = [upload.upload_part(PartNumber::FIRST, pattern(100 * KIB).into()).await.expect("sent")];
        upload.complete(&parts, CompleteOptions::default()).await.expect("joined");
    }))
    .await;
    assert_eq!(store.list_all("").await.expect("list").len(), 3);
}
