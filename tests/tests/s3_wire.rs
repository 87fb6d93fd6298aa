//! The truth on the wire: what `S3Storage` makes of refused connections, resets at every byte, silence, lies,
//! proxies, redirects and garbage, against a server that does what the test wrote down.
//!
//! The moral of all of it: `Err` of a write other than `Indeterminate` is a promise that it was not applied; what may
//! have been applied is sent again under its condition and then looked at; and nothing secret is ever printed.

#[path = "s3_wire/operations.rs"]
mod operations;
#[path = "s3_wire/store.rs"]
mod store;

#[path = "s3_wire/answers.rs"]
mod answers;
#[path = "s3_wire/bodies.rs"]
mod bodies;
#[path = "s3_wire/connections.rs"]
mod connections;
#[path = "s3_wire/integrity.rs"]
mod integrity;
#[path = "s3_wire/mending.rs"]
mod mending;
#[path = "s3_wire/reaper.rs"]
mod reaper;
#[path = "s3_wire/requests.rs"]
mod requests;
#[path = "s3_wire/secrets.rs"]
mod secrets;
#[path = "s3_wire/timeouts.rs"]
mod timeouts;
#[path = "s3_wire/tls.rs"]
mod tls;
#[path = "s3_wire/writes.rs"]
mod writes;
