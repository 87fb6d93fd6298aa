//! What parent and child agree upon: the bytes of every object, and the lines between them.

use std::fmt;

use fastrand::Rng;
use object_storage::OperationId;

/// The size of a part, in bytes: S3's smallest.
pub(crate) const LARGE: usize = 5 * 1024 * 1024;

/// A prime, so that no part or chunk lines up with the pattern.
const BLOCK_BYTES: usize = 4093;

/// Contents that tell what they are in their first line, and of which every byte follows from that.
pub(crate) fn contents(name: &str, sequence: u64, bytes: usize) -> Vec<u8> {
    let mut contents = format!("{name} {sequence} {bytes}\n").into_bytes();
    let mut block = vec![0; BLOCK_BYTES];
    let seed =
        contents.iter().fold(sequence, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    Rng::with_seed(seed).fill(&mut block);
    let end = contents.len() + bytes;
    while contents.len() < end {
        let piece = block.len().min(end - contents.len());
        contents.extend_from_slice(&block[..piece]);
    }
    contents
}

/// The sequence number in contents that are whole.
pub(crate) fn sequence_of(found: &[u8]) -> Option<u64> {
    let line = found.split(|byte| *byte == b'\n').next()?;
    let words: Vec<&str> = std::str::from_utf8(line).ok()?.split(' ').collect();
    let [name, sequence, bytes] = words.as_slice() else { return None };
    let (sequence, bytes) = (sequence.parse().ok()?, bytes.parse().ok()?);
    (contents(name, sequence, bytes) == found).then_some(sequence)
}

/// What the child says.
pub(crate) enum Line {
    /// It begins.
    Ready,
    /// It is about to write this.
    Trying { name: String, sequence: u64, bytes: usize, id: Option<OperationId> },
    /// It was told that this is stored.
    Acknowledged { name: String, sequence: u64 },
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Line::Ready => f.write_str("ready"),
            Line::Trying { name, sequence, bytes, id: Some(id) } => {
                write!(f, "trying {name} {sequence} {bytes} {id}")
            }
            Line::Trying { name, sequence, bytes, id: None } => {
                write!(f, "trying {name} {sequence} {bytes} -")
            }
            Line::Acknowledged { name, sequence } => write!(f, "stored {name} {sequence}"),
        }
    }
}

impl Line {
    pub(crate) fn read(line: &str) -> Option<Line> {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["ready"] => Some(Line::Ready),
            ["trying", name, sequence, bytes, id] => Some(Line::Trying {
                name: (*name).to_owned(),
                sequence: sequence.parse().ok()?,
                bytes: bytes.parse().ok()?,
                id: match *id {
                    "-" => None,
                    id => Some(id.parse().ok()?),
                },
            }),
            ["stored", name, sequence] => {
                Some(Line::Acknowledged { name: (*name).to_owned(), sequence: sequence.parse().ok()? })
            }
            _ => None,
        }
    }
}
