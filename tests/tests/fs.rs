//! The file system store keeps the contract, durably as by default.

use std::rc::Rc;

use object_storage::testing::conformance::Subject;
use object_storage::testing::conformance_tests;
use object_storage::{CompioFsStorage, FsOptions};

conformance_tests!(fs, tests::on_compio, || async {
    let root = tempfile::tempdir().expect("a directory of its own");
    let store = CompioFsStorage::open(root.path(), FsOptions::default()).await.expect("a store");
    let second = CompioFsStorage::open(root.path(), FsOptions::default()).await.expect("a store");
    Subject::new(Rc::new(store)).with_second(Rc::new(second)).keeping(root)
});
