//! `spike credentials`: which source gives the keys, what the others said, and where the region comes from.

use credentials::Host;
use object_storage::StorageConfig;

use crate::complain;
use crate::exit::Exit;
use crate::report::Table;

/// Prints what the credential chain of this configuration would do. No request to the store is made.
pub(crate) async fn explain(config: &StorageConfig, json: bool, host: &Host, table: &Table) -> Exit {
    let Some(object) = config.as_object() else {
        return complain(&"only an object store has keys; leave out --url, or give an s3:// URL");
    };
    let explained = s3_backend::credentials_chain(object).explain(host).await;
    if json {
        match serde_json::to_string_pretty(&explained) {
            Ok(text) => table.line(&text),
            Err(error) => return complain(&error),
        }
    } else {
        table.line(explained.to_string().trim_end());
    }
    if explained.used().is_some() { Exit::Passed } else { Exit::Failed }
}
