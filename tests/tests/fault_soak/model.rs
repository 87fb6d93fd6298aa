//! What a slot (one key) may hold, as far as anybody can know.

use std::collections::BTreeSet;

use bytes::Bytes;
use object_storage::ETag;

/// Some content, named by a number from which its bytes follow.
pub(crate) type Content = u64;

/// The most bytes of an object.
const BYTES_MAX: u64 = 48 * 1024;

/// The bytes of a content: they begin with its number and repeat it.
pub(crate) fn bytes_of(content: Content) -> Bytes {
    let length = 16 + (content.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % BYTES_MAX;
    let pattern = format!("{content:016x}");
    let length = usize::try_from(length).expect("some kilobytes");
    pattern.bytes().cycle().take(length).collect::<Vec<u8>>().into()
}

/// The content that these bytes are, if they are one, whole.
pub(crate) fn content_of(bytes: &[u8]) -> Option<Content> {
    let text = std::str::from_utf8(bytes.get(..16)?).ok()?;
    let content = u64::from_str_radix(text, 16).ok()?;
    (bytes_of(content) == bytes).then_some(content)
}

/// One key.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Everything that it may hold; `None` is no object.
    may_hold: BTreeSet<Option<Content>>,
    /// The tag of what it holds, where that is known.
    pub(crate) tag: Option<ETag>,
}

impl Slot {
    pub(crate) fn empty() -> Slot {
        Slot { may_hold: BTreeSet::from([None]), tag: None }
    }

    /// It holds this for certain.
    pub(crate) fn is(&mut self, content: Option<Content>, tag: Option<ETag>) {
        self.may_hold = BTreeSet::from([content]);
        self.tag = tag;
    }

    /// It may hold this too.
    pub(crate) fn may_be(&mut self, content: Option<Content>) {
        self.may_hold.insert(content);
        self.tag = None;
    }

    pub(crate) fn can_be(&self, content: Option<Content>) -> bool {
        self.may_hold.contains(&content)
    }

    pub(crate) fn can_be_something(&self) -> bool {
        self.may_hold.iter().any(Option::is_some)
    }

    /// What it holds, where that is certain.
    pub(crate) fn certain(&self) -> Option<Option<Content>> {
        if self.may_hold.len() == 1 { self.may_hold.first().copied() } else { None }
    }
}
