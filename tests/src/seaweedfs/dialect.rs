//! [`DIALECT`]: how SeaweedFS differs from the contract, and why each of it is put up with.

use object_storage::testing::conformance::{Dialect, Quirk};

/// SeaweedFS 4.48. Its list order (by directory, not by byte) is not here: the store must say so with
/// [`Capabilities::ordered_list`](object_storage::Capabilities).
pub const DIALECT: Dialect = Dialect {
    name: "SeaweedFS",
    quirks: &[
        (Quirk::MatchOnAbsentIsPreconditionFailed, "answers 412 to If-Match on a key without object"),
        (Quirk::GoneIsIndeterminate, "every endpoint that is not AWS's own may lie behind a proxy"),
        (Quirk::CompleteRaceHasSeveralWinners, "checks the condition before it joins: 2 to 6 winners seen"),
        (Quirk::ContentionIsSlow, "a 16-way create takes 2.5 s"),
        (Quirk::TakesAnyPageToken, "decodes the token as the key to go on after"),
        (Quirk::CompleteAgainSucceeds, "answers a repeated completion as the first"),
        (Quirk::KeepsReplacedParts, "keeps every part it was ever sent until completion"),
        (Quirk::UploadPagesLoseEntries, "sorts uploads by a hash and goes on after a key"),
        (Quirk::BackslashIsSlash, "its filer speaks in paths"),
        (Quirk::EmptySegmentsAreLost, "its filer speaks in paths"),
        (Quirk::LongSegmentsAreRefused, "its filer speaks in paths, and answers KeyTooLongError"),
    ],
};
