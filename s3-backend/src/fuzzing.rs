//! What holds of everything that reads what a server sent, whatever the bytes: the entries of the fuzz targets in
//! `fuzz/`, and of the tests that replay their corpora. Every one of them panics if anything is wrong.

mod answers;
#[cfg(test)]
pub(crate) mod tests;
mod xml;

pub use answers::answers;
pub use xml::xml;

pub use crate::transport::direct::fuzzing::{TlsIdentity, http, tls};
