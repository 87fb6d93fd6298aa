//! The matrix of faults and operations: every cell says how it is played, what the caller may get, what must then be
//! in the store, and how many requests may be sent. The tests are generated from it (`tests/matrix.rs`), and so is
//! the document that a person reads (`MATRIX.md`).
//!
//! Rows, columns and symbols are those of the catalogue of failures that the design began with. What must be in the
//! store follows from what the caller gets and is the same everywhere, because it is the promise of the library:
//! after `Ok` the write is there, byte for byte; after an error other than `Indeterminate` it is not there, and does
//! not appear later; after `Indeterminate` it is there whole or not at all.

mod expect;
pub mod markdown;
mod plays;
mod table;

use std::ops::RangeInclusive;

use object_storage::ErrorKind;

pub use self::plays::{Play, Strike, plays};
pub use self::table::{FAULTS, Fault, OPS};
use crate::fault_proxy::S3Operation;

/// Attempts that an operation of the matrix is configured to make at most.
pub const ATTEMPTS: usize = 3;

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each variant is the column of that name")]
pub enum Op {
    Put,
    PutCreate,
    PutMatch,
    Get,
    Range,
    Head,
    List,
    Delete,
    DeleteMatch,
    Batch,
    Copy,
    NewUpload,
    Part,
    Complete,
    Abort,
    ListParts,
    Credentials,
}

/// What a second attempt could change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Read,
    /// Nothing that matters.
    Repeatable,
    /// Its own success would make it fail.
    Conditional,
}

impl Op {
    /// The heading of the column.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Op::Put => "PUT",
            Op::PutCreate => "PUTabs",
            Op::PutMatch => "PUTmatch",
            Op::Get => "GET",
            Op::Range => "RANGE",
            Op::Head => "HEAD",
            Op::List => "LIST",
            Op::Delete => "DEL",
            Op::DeleteMatch => "DELmatch",
            Op::Batch => "BATCH",
            Op::Copy => "COPY",
            Op::NewUpload => "MPU+",
            Op::Part => "PART",
            Op::Complete => "COMPL",
            Op::Abort => "ABORT",
            Op::ListParts => "LSMPU",
            Op::Credentials => "CRED",
        }
    }

    /// How the request shows.
    #[must_use]
    pub fn on_the_wire(self) -> S3Operation {
        match self {
            Op::Put => S3Operation::PutObject,
            Op::PutCreate => S3Operation::PutObjectIfNoneMatch,
            Op::PutMatch => S3Operation::PutObjectIfMatch,
            Op::Get => S3Operation::GetObject,
            Op::Range => S3Operation::GetObjectRange,
            Op::Head => S3Operation::HeadObject,
            Op::List => S3Operation::ListObjectsV2,
            Op::Delete => S3Operation::DeleteObject,
            Op::DeleteMatch => S3Operation::DeleteObjectIfMatch,
            Op::Batch => S3Operation::DeleteObjects,
            Op::Copy => S3Operation::CopyObject,
            Op::NewUpload => S3Operation::CreateMultipartUpload,
            Op::Part => S3Operation::UploadPart,
            Op::Complete => S3Operation::CompleteMultipartUpload,
            Op::Abort => S3Operation::AbortMultipartUpload,
            Op::ListParts => S3Operation::ListParts,
            Op::Credentials => S3Operation::Other,
        }
    }

    /// What a second attempt could change; `conditional` for a copy or completion that carries a condition.
    #[must_use]
    pub fn effect(self, conditional: bool) -> Effect {
        match self {
            Op::Get | Op::Range | Op::Head | Op::List | Op::ListParts | Op::Credentials => Effect::Read,
            Op::PutCreate | Op::PutMatch | Op::DeleteMatch | Op::Complete => Effect::Conditional,
            Op::Copy if conditional => Effect::Conditional,
            _ => Effect::Repeatable,
        }
    }

    /// Whether the request has a body.
    #[must_use]
    pub fn sends_bytes(self) -> bool {
        matches!(self, Op::Put | Op::PutCreate | Op::PutMatch | Op::Part)
    }

    /// Whether a good answer is an XML document.
    #[must_use]
    pub fn answers_xml(self) -> bool {
        matches!(self, Op::List | Op::Batch | Op::Copy | Op::NewUpload | Op::Complete | Op::ListParts)
    }

    /// Whether a good answer has a body.
    #[must_use]
    pub fn answers_bytes(self) -> bool {
        self.answers_xml() || matches!(self, Op::Get | Op::Range)
    }
}

/// What a caller gets: `None` for `Ok`.
pub type Said = Option<ErrorKind>;

/// How an operation may end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ends {
    /// What the caller is meant to get.
    pub meant: Vec<Said>,
    /// What it may get besides, until ambiguous writes are resolved by their operation ids, ranges resumed, and so on.
    pub today: Vec<Said>,
    /// How many requests of the operation may be sent. Looking up what became of them is not counted here.
    pub requests: RangeInclusive<usize>,
}

/// How often the fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// The first attempt.
    Once,
    /// Every attempt.
    Always,
}

/// A cell.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// The row.
    pub fault: &'static Fault,
    /// The column.
    pub op: Op,
    /// The entry; `-` where the fault cannot meet the operation.
    pub symbol: &'static str,
}

impl Cell {
    /// Whether the fault can meet the operation.
    #[must_use]
    pub fn is_applicable(&self) -> bool {
        self.symbol != "-"
    }

    /// Whether copy and completion are played with a condition here.
    #[must_use]
    pub fn is_conditional(&self) -> bool {
        matches!(self.fault.id, "F16" | "F17" | "F38")
    }

    /// Why the cell is not played here; `None` where it is.
    #[must_use]
    pub fn elsewhere(&self) -> Option<&'static str> {
        match (self.fault.id, self.op) {
            (_, Op::Credentials) => Some(
                "asks other services: played by credentials_host, credentials_hostile and credentials_moto",
            ),
            ("F10", op) if !op.sends_bytes() => {
                Some("the request fits into the buffers of any socket, so sending it cannot take long")
            }
            _ => None,
        }
    }
}

/// Every cell, row by row.
///
/// # Panics
///
/// When a row has not one entry for each column: the table is wrong.
#[must_use]
pub fn cells() -> Vec<Cell> {
    let row = |fault: &'static Fault| {
        let symbols: Vec<&'static str> = fault.symbols.split_whitespace().collect();
        assert_eq!(symbols.len(), OPS.len(), "{}", fault.id);
        OPS.into_iter().zip(symbols).map(move |(op, symbol)| Cell { fault, op, symbol })
    };
    FAULTS.iter().flat_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_the_cells_of_the_catalogue() {
        let cells = cells();
        assert_eq!(cells.len(), 646);
        for cell in cells.iter().filter(|cell| cell.is_applicable() && cell.elsewhere().is_none()) {
            assert!(!plays(cell).is_empty(), "{} {} is played", cell.fault.id, cell.op.name());
        }
        for cell in cells.iter().filter(|cell| !cell.is_applicable()) {
            assert_eq!(cell.symbol, "-");
        }
    }
}
