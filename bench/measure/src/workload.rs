//! The workloads, by name: `put-4k-32` is PUT of 4 KiB with 32 in flight, `put-4k-32-tls` the same over https.

/// Bytes of a mebibyte.
pub const MIB: u64 = 1 << 20;

/// Keys in the bucket that is listed.
pub const LIST_KEYS: u64 = 100_000;

/// Part size of multipart uploads: every contender's, whatever its default.
pub const PART_BYTES: usize = 8 << 20;

/// Parts uploaded at once.
pub const PARTS_IN_FLIGHT: usize = 4;

/// What an application writes into a multipart writer at a time.
pub const WRITE_BYTES: usize = 64 << 10;

/// The bytes that an application goes through while it writes a large object: more than a core's own cache holds,
/// and more than a writer's window, so that parts are not sent from memory that is already at hand.
pub const RING_BYTES: usize = 48 << 20;

/// What is done over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// PutObject.
    Put,
    /// GetObject, the body read to its end.
    Get,
    /// One object through the contender's writer, in writes of [`WRITE_BYTES`] that are handed over (`Bytes`).
    Multipart,
    /// The same in writes that are borrowed (`&[u8]`), so that the writer has to copy them.
    MultipartCopied,
    /// ListObjectsV2, all pages of [`LIST_KEYS`] keys.
    List,
    /// The signature of a PutObject, without sending it.
    Sign,
    /// A durable put to a directory.
    FsPut,
    /// A get from a directory.
    FsGet,
}

/// One workload.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The name that it was parsed from.
    pub name: String,
    /// What is done.
    pub action: Action,
    /// Bytes of one object.
    pub bytes: usize,
    /// How many operations are under way at once.
    pub in_flight: usize,
    /// Whether it goes over https.
    pub tls: bool,
}

impl Workload {
    /// Reads a name such as `get-64k-32-tls`; `None` if it is none.
    #[must_use]
    pub fn parse(name: &str) -> Option<Workload> {
        let (rest, tls) = match name.strip_suffix("-tls") {
            Some(rest) => (rest, true),
            None => (name, false),
        };
        let (fs, words) = match rest.strip_prefix("fs-") {
            Some(words) => (true, words),
            None => (false, rest),
        };
        let mut words = words.split('-');
        let action = match (words.next()?, fs) {
            ("put", false) => Action::Put,
            ("get", false) => Action::Get,
            ("multipart", false) => Action::Multipart,
            ("multipart_copied", false) => Action::MultipartCopied,
            ("list", false) => Action::List,
            ("sign", false) => Action::Sign,
            ("put", true) => Action::FsPut,
            ("get", true) => Action::FsGet,
            _ => return None,
        };
        let bytes = match action {
            Action::List | Action::Sign => 0,
            _ => parse_bytes(words.next()?)?,
        };
        let in_flight = match words.next() {
            Some(number) => number.parse().ok().filter(|number| *number > 0)?,
            None => 1,
        };
        if words.next().is_some() || (tls && (fs || action == Action::Sign)) {
            return None;
        }
        Some(Workload { name: name.to_owned(), action, bytes, in_flight, tls })
    }

    /// Whether it speaks to the responder.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        !matches!(self.action, Action::Sign | Action::FsPut | Action::FsGet)
    }
}

fn parse_bytes(text: &str) -> Option<usize> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'k' => (&text[..text.len() - 1], 10),
        b'm' => (&text[..text.len() - 1], 20),
        b'g' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number: usize = digits.parse().ok()?;
    number.checked_mul(1 << shift)
}
