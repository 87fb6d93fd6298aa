//! What was asked, so that a contender's claims can be checked.

/// Since the last time somebody looked.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) puts: u64,
    pub(crate) put_bytes: u64,
    pub(crate) gets: u64,
    pub(crate) get_bytes: u64,
    pub(crate) list_pages: u64,
    pub(crate) list_keys: u64,
    pub(crate) creates: u64,
    pub(crate) parts: u64,
    pub(crate) part_bytes: u64,
    pub(crate) completes: u64,
    pub(crate) others: u64,
    pub(crate) continues: u64,
}

impl Counts {
    pub(crate) fn json(&self) -> String {
        let Counts { puts, put_bytes, gets, get_bytes, list_pages, list_keys, .. } = self;
        let Counts { creates, parts, part_bytes, completes, others, continues, .. } = self;
        format!(
            r#"{{"puts":{puts},"put_bytes":{put_bytes},"gets":{gets},"get_bytes":{get_bytes},"list_pages":{list_pages},"list_keys":{list_keys},"creates":{creates},"parts":{parts},"part_bytes":{part_bytes},"completes":{completes},"others":{others},"continues":{continues}}}"#
        )
    }
}
