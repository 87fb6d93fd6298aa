//! A thousand puts at once, and what that does to the memory of the process: a test that is alone in its own.

use std::cell::Cell;

use bytes::Bytes;
use futures_util::future::join_all;
use object_storage::limits::MIB;
use object_storage::{Key, ObjectStorage, Payload, PutOptions};
use tests::scales::{FOR_WORK, Scales};

fn run<T>(test: impl Future<Output = T>) -> T {
    compio::runtime::Runtime::new().expect("a runtime").block_on(test)
}

/// 1,000 MiB wanted at once. Over cyper every payload is copied on its way, so that all of them at once would show.
#[test]
fn a_thousand_puts_at_once_need_no_more_memory_than_a_few() {
    run(async {
        let server = Scales::new();
        let store = server.open(|config| config).await;
        let payload = Payload::from(Bytes::from(vec![b'x'; 1 << 20]));
        let before = resident();
        let most = Cell::new(before);
        let puts = (0..1_000).map(|n| {
            let (store, payload, most) = (&store, payload.clone(), &most);
            async move {
                let result = store
                    .put(&Key::parse(&format!("k{n}")).expect("a key"), payload, PutOptions::default())
                    .await;
                most.set(most.get().max(resident()));
                result
            }
        });
        for result in join_all(puts).await {
            result.expect("stored");
        }
        assert!(server.most() <= FOR_WORK, "{} bytes were under way", server.most());
        let grown = most.get() - before;
        println!("1,000 puts of 1 MiB: {} KiB more than before", grown / 1024);
        assert!(grown < 48 * MIB, "{grown} bytes more than before");
    });
}

/// What this process has resident, in bytes.
#[expect(clippy::disallowed_methods, reason = "a look at the process itself")]
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("there is one");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}
