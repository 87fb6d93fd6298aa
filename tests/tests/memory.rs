//! The reference keeps the contract.

use std::rc::Rc;

use object_storage::InMemoryStorage;
use object_storage::testing::conformance::Subject;
use object_storage::testing::conformance_tests;

conformance_tests!(memory, tests::on_compio, || async {
    let store = InMemoryStorage::new();
    Subject::new(Rc::new(store.clone())).with_second(Rc::new(store))
});
