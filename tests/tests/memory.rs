//! The reference keeps the contract.

use std::rc::Rc;

use object_storage::InMemoryStorage;
use tests::conformance::Subject;

tests::conformance_tests!(memory, tests::on_compio, || async {
    Subject::new(Rc::new(InMemoryStorage::new()))
});
