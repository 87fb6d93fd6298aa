//! The file door: `[system.storage]` of a TOML document, or of any serde format.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::StorageConfig;
use super::builder::{FsConfigBuilder, ObjectConfigBuilder};
use super::fields::{FS_FIELDS, Field, OBJECT_FIELDS, names};
use super::problem::{FS, OBJECT, STORAGE, problem, shown};
use super::raw::Raw;
use crate::error::{Error, Result};

/// What to write when nothing is there; ends the complaints that something is missing.
const START_ADVICE: &str = "write for instance [system.storage] with kind = \"fs\", \
                            and [system.storage.fs] with root = \"/var/lib/my-server/objects\"";

/// Finds `[system.storage]` in a whole document; everything else in it is somebody else's.
pub(super) fn from_toml(text: &str) -> Result<StorageConfig> {
    // toml's own message shows the line, which may hold a key; its place says enough.
    let document: Raw = toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = 1 + text.bytes().take(start).filter(|b| *b == b'\n').count();
        problem(format!("line {line}"), format!("this is not TOML: {}", error.message()), "mend the file")
    })?;
    let system = entry(document, "system").ok_or_else(|| missing("system"))?;
    if !matches!(system, Raw::Table(_)) {
        return Err(problem("system", format!("it is {}, not a table", system.sort()), START_ADVICE));
    }
    from_raw(entry(system, "storage").ok_or_else(|| missing(STORAGE))?)
}

fn missing(table: &str) -> Error {
    problem(STORAGE, format!("there is no table [{table}]"), START_ADVICE)
}

/// Takes one entry out of a table.
fn entry(raw: Raw, name: &str) -> Option<Raw> {
    match raw {
        Raw::Table(table) => table.into_iter().find_map(|(key, value)| (key == name).then_some(value)),
        _ => None,
    }
}

/// The value of the table `system.storage` itself, as a server embeds it in a configuration of its own.
///
/// # Errors
///
/// Those of [`StorageConfig::from_toml`], as the format's own error. A format may add the line it came from,
/// with whatever stands there: of a `toml::de::Error` log the `message()`, not the whole.
impl<'de> Deserialize<'de> for StorageConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<StorageConfig, D::Error> {
        from_raw(Raw::deserialize(deserializer)?).map_err(|error| D::Error::custom(error.message()))
    }
}

/// Reads the value of the table `system.storage`.
///
/// The tables of kinds that were not chosen may stand there: a file often keeps them for another day. They must
/// be well-formed, so that the other day is no surprise, but need not be complete.
fn from_raw(raw: Raw) -> Result<StorageConfig> {
    let mut kind = None;
    let mut fs = None;
    let mut object = None;
    for (name, value) in unique(STORAGE, raw)? {
        match name.as_str() {
            "kind" => kind = Some(read_kind(value)?),
            "fs" => fs = Some(read(FS, FS_FIELDS, value, FsConfigBuilder::default())?),
            "object" => object = Some(read(OBJECT, OBJECT_FIELDS, value, ObjectConfigBuilder::default())?),
            name => {
                let advice = if OBJECT_FIELDS.iter().any(|field| field.name == name) {
                    format!("move it into [{OBJECT}]")
                } else if FS_FIELDS.iter().any(|field| field.name == name) {
                    format!("move it into [{FS}]")
                } else {
                    "known here are kind, fs, object".to_owned()
                };
                return Err(problem(STORAGE, format!("the key {} is unknown", shown(name)), advice));
            }
        }
    }
    let Some(kind) = kind else {
        let what = "it is missing, and there is no default for where data goes";
        return Err(problem(format!("{STORAGE}.kind"), what, KIND_ADVICE));
    };
    let no_table = |table: &str, advice: &str| {
        problem(format!("{STORAGE}.kind"), format!("{:?} needs the table [{table}]", kind.name()), advice)
    };
    match kind {
        Kind::Memory => Ok(StorageConfig::Memory),
        Kind::Fs => match fs {
            Some(builder) => builder.build(),
            None => Err(no_table(FS, "add it, with root = \"/var/lib/my-server/objects\"")),
        },
        Kind::Object => match object {
            Some(builder) => builder.build(),
            None => Err(no_table(OBJECT, "add it, with bucket = \"the name of your bucket\"")),
        },
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Fs,
    Object,
    Memory,
}

const KIND_ADVICE: &str = "write kind = \"fs\", \"object\" or \"memory\"";

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Fs => "fs",
            Kind::Object => "object",
            Kind::Memory => "memory",
        }
    }
}

fn read_kind(value: Raw) -> Result<Kind> {
    let what = match &value {
        Raw::Text(text) => match text.as_str() {
            "fs" => return Ok(Kind::Fs),
            "object" => return Ok(Kind::Object),
            "memory" => return Ok(Kind::Memory),
            other => format!("{} is unknown", shown(other)),
        },
        other => format!("it is {}, not text", other.sort()),
    };
    Err(problem(format!("{STORAGE}.kind"), what, KIND_ADVICE))
}

/// Reads a table of options into a builder.
fn read<B>(path: &str, fields: &[Field<B>], table: Raw, mut builder: B) -> Result<B> {
    for (name, value) in unique(path, table)? {
        let Some(field) = fields.iter().find(|field| field.name == name) else {
            let advice = format!("known here are {}", names(fields, |_| true));
            return Err(problem(path, format!("the key {} is unknown", shown(&name)), advice));
        };
        field.set(path, value, &mut builder)?;
    }
    Ok(builder)
}

/// The entries of a table, each name once. TOML sees to that itself; other formats do not.
fn unique(path: &str, raw: Raw) -> Result<Vec<(String, Raw)>> {
    let Raw::Table(table) = raw else {
        let what = format!("it is {}, not a table", raw.sort());
        return Err(problem(path, what, format!("write [{path}], with its settings on the lines below")));
    };
    let mut entries: Vec<(String, Raw)> = Vec::with_capacity(table.len());
    for (name, value) in table {
        if entries.iter().any(|(earlier, _)| *earlier == name) {
            return Err(problem(path, format!("the key {} stands there twice", shown(&name)), "remove one"));
        }
        if !matches!(value, Raw::Nothing) {
            entries.push((name, value));
        }
    }
    Ok(entries)
}
