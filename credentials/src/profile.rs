//! The shared files `~/.aws/config` and `~/.aws/credentials`: where they are, what they say, and which
//! profile is meant.
//!
//! ```text
//! locate   which files                     variables -> paths
//! parse    one file, line by line          text      -> ProfileFile
//! merge    what both together say          two files -> ProfileSet
//! select   whose profile                   settings  -> name, and whether it must exist
//! recipe   how that profile gets its keys  profile   -> Recipe
//! ```
//!
//! All of it is arithmetic on text except `load`, which reads the two files.

mod load;
mod locate;
mod merge;
mod parse;
mod recipe;
mod select;

pub use merge::{Profile, ProfileSet};
pub use parse::{FileKind, ParseError, ParseProblem, ProfileFile, Warning};

pub(crate) use load::{Loaded, load};
pub(crate) use recipe::{Base, CredentialSource, NeededFeature, Recipe, base_recipe, recipe, self_recipe};
pub(crate) use select::{ProfileName, ProfileOrigin, select};
