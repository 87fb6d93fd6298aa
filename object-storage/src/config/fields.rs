//! The options by name, as files and URLs know them: one table, from which the lists in complaints are made too.

use std::path::PathBuf;
use std::time::Duration;

use super::Durability;
use super::builder::{FsConfigBuilder, ObjectConfigBuilder};
use super::object::{Checksums, PayloadSigning, Service, TlsRoots, Transport, UrlStyle};
use super::problem::{problem, shown};
use super::raw::Raw;
use super::secret::Secret;
use super::units::{BYTES_ADVICE, DURATION_ADVICE, parse_bytes, parse_duration};
use crate::error::{Error, Result};

/// An option of a table whose settings gather in a builder `B`.
pub(super) struct Field<B: 'static> {
    pub(super) name: &'static str,
    pub(super) in_url: InUrl,
    set: Set<B>,
}

/// Whether an option may stand in the query of a URL.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum InUrl {
    Yes,
    /// It stands in the URL before the query.
    InPath,
    /// URLs get printed.
    Secret,
}

/// What an option holds, and where it goes.
enum Set<B> {
    Text(fn(&mut B, String)),
    /// Text that no complaint may show.
    Hidden(fn(&mut B, Secret)),
    /// One of a few words, which are named for the complaint. False if it is none of them.
    Word(&'static str, fn(&mut B, &str) -> bool),
    Flag(fn(&mut B, bool)),
    Bytes(fn(&mut B, u64)),
    Time(fn(&mut B, Duration)),
    Count(fn(&mut B, u32)),
}

const fn field<B>(name: &'static str, set: Set<B>) -> Field<B> {
    Field { name, in_url: InUrl::Yes, set }
}

const fn secret<B>(name: &'static str, set: fn(&mut B, Secret)) -> Field<B> {
    Field { name, in_url: InUrl::Secret, set: Set::Hidden(set) }
}

const fn in_path<B>(name: &'static str, set: fn(&mut B, String)) -> Field<B> {
    Field { name, in_url: InUrl::InPath, set: Set::Text(set) }
}

/// The options of `[system.storage.object]` and of `s3://`.
pub(super) const OBJECT_FIELDS: &[Field<ObjectConfigBuilder>] = &[
    field(
        "service",
        Set::Word("\"s3\"", |b, word| keep(&mut b.service, (word == "s3").then_some(Service::S3))),
    ),
    in_path("bucket", |b, v| b.bucket = Some(v)),
    in_path("prefix", |b, v| b.prefix = Some(v)),
    field("region", Set::Text(|b, v| b.region = Some(v))),
    field("endpoint", Set::Hidden(|b, v| b.endpoint = Some(v))),
    field(
        "url_style",
        Set::Word("\"auto\", \"path\" or \"virtual-host\"", |b, word| match word {
            "auto" => true,
            "path" => keep(&mut b.url_style, Some(UrlStyle::Path)),
            "virtual-host" => keep(&mut b.url_style, Some(UrlStyle::VirtualHost)),
            _ => false,
        }),
    ),
    field("allow_http", Set::Flag(|b, v| b.allow_http = Some(v))),
    secret("access_key_id", |b, v| b.access_key_id = Some(v)),
    secret("secret_access_key", |b, v| b.secret_access_key = Some(v)),
    secret("session_token", |b, v| b.session_token = Some(v)),
    field("profile", Set::Text(|b, v| b.profile = Some(v))),
    field("anonymous", Set::Flag(|b, v| b.anonymous = Some(v))),
    field("multipart_part_size", Set::Bytes(|b, v| b.multipart_part_size = Some(v))),
    field("memory_limit", Set::Bytes(|b, v| b.memory_limit = Some(v))),
    field(
        "tls_roots",
        Set::Word("\"system\", \"webpki\" or \"ca-file\"", |b, word| {
            keep(
                &mut b.tls_roots,
                match word {
                    "system" => Some(TlsRoots::System),
                    "webpki" => Some(TlsRoots::Webpki),
                    "ca-file" => Some(TlsRoots::CaFile),
                    _ => None,
                },
            )
        }),
    ),
    field("ca_file", Set::Text(|b, v| b.ca_file = Some(PathBuf::from(v)))),
    field("user_agent", Set::Text(|b, v| b.user_agent = Some(v))),
    field("proxy", Set::Hidden(|b, v| b.proxy = Some(v))),
    field("connect_timeout", Set::Time(|b, v| b.connect_timeout = Some(v))),
    field("send_timeout", Set::Time(|b, v| b.send_timeout = Some(v))),
    field("head_timeout", Set::Time(|b, v| b.head_timeout = Some(v))),
    field("body_timeout", Set::Time(|b, v| b.body_timeout = Some(v))),
    field("complete_timeout", Set::Time(|b, v| b.complete_timeout = Some(v))),
    field("operation_timeout", Set::Time(|b, v| b.operation_timeout = Some(v))),
    field("attempts_max", Set::Count(|b, v| b.attempts_max = Some(v))),
    field("conditional_put", Set::Flag(|b, v| b.conditional_put = Some(v))),
    field("conditional_complete", Set::Flag(|b, v| b.conditional_complete = Some(v))),
    field("conditional_copy", Set::Flag(|b, v| b.conditional_copy = Some(v))),
    field("conditional_delete", Set::Flag(|b, v| b.conditional_delete = Some(v))),
    field("ordered_list", Set::Flag(|b, v| b.ordered_list = Some(v))),
    field(
        "transport",
        Set::Word("\"direct\" or \"cyper\"", |b, word| {
            keep(
                &mut b.transport,
                match word {
                    "direct" => Some(Transport::Direct),
                    "cyper" => Some(Transport::Cyper),
                    _ => None,
                },
            )
        }),
    ),
    field(
        "payload_signing",
        Set::Word("\"auto\", \"always\" or \"never\"", |b, word| {
            keep(
                &mut b.payload_signing,
                match word {
                    "auto" => Some(PayloadSigning::Auto),
                    "always" => Some(PayloadSigning::Always),
                    "never" => Some(PayloadSigning::Never),
                    _ => None,
                },
            )
        }),
    ),
    field(
        "checksums",
        Set::Word("\"when-supported\", \"when-required\" or \"off\"", |b, word| {
            keep(
                &mut b.checksums,
                match word {
                    "when-supported" => Some(Checksums::WhenSupported),
                    "when-required" => Some(Checksums::WhenRequired),
                    "off" => Some(Checksums::Off),
                    _ => None,
                },
            )
        }),
    ),
];

/// The options of `[system.storage.fs]` and of `file://`.
pub(super) const FS_FIELDS: &[Field<FsConfigBuilder>] = &[
    in_path("root", |b, v| b.root = Some(PathBuf::from(v))),
    field(
        "durability",
        Set::Word("\"full\" or \"none\"", |b, word| {
            keep(
                &mut b.durability,
                match word {
                    "full" => Some(Durability::Full),
                    "none" => Some(Durability::None),
                    _ => None,
                },
            )
        }),
    ),
];

/// Stores the word that was understood; false if none was.
fn keep<T>(slot: &mut Option<T>, word: Option<T>) -> bool {
    let understood = word.is_some();
    if understood {
        *slot = word;
    }
    understood
}

/// The names of the fields that `admit` lets pass, for a complaint.
pub(super) fn names<B>(fields: &[Field<B>], admit: impl Fn(&Field<B>) -> bool) -> String {
    let names: Vec<&str> = fields.iter().filter(|field| admit(field)).map(|field| field.name).collect();
    names.join(", ")
}

impl<B> Field<B> {
    /// Reads the value that stands under this name in `table`, and stores it in the builder.
    pub(super) fn set(&self, table: &str, value: Raw, builder: &mut B) -> Result<()> {
        let wrong =
            |what: String, advice: &str| -> Error { problem(format!("{table}.{}", self.name), what, advice) };
        let unlike =
            |value: &Raw, wanted: &str| wrong(format!("it is {}, not {wanted}", value.sort()), self.advice());
        match &self.set {
            Set::Text(set) => match value {
                Raw::Text(mut text) => set(builder, std::mem::take(&mut *text)),
                other => return Err(unlike(&other, "text")),
            },
            Set::Hidden(set) => match value {
                Raw::Text(mut text) => set(builder, Secret::new(std::mem::take(&mut *text))),
                other => return Err(unlike(&other, "text")),
            },
            Set::Word(words, set) => match value {
                Raw::Text(text) if set(builder, &text) => {}
                Raw::Text(text) => {
                    return Err(wrong(format!("{} is unknown", shown(&text)), &format!("write {words}")));
                }
                other => return Err(unlike(&other, "text")),
            },
            Set::Flag(set) => match value {
                Raw::Flag(flag) => set(builder, flag),
                Raw::Text(text) if *text == "true" => set(builder, true),
                Raw::Text(text) if *text == "false" => set(builder, false),
                Raw::Text(text) => {
                    return Err(wrong(format!("{} is neither true nor false", shown(&text)), self.advice()));
                }
                other => return Err(unlike(&other, "true or false")),
            },
            Set::Bytes(set) => match value {
                Raw::Integer(number) => match u64::try_from(number) {
                    Ok(bytes) => set(builder, bytes),
                    Err(_) => return Err(wrong(format!("{number} bytes cannot be"), self.advice())),
                },
                Raw::Text(text) => match parse_bytes(&text) {
                    Ok(bytes) => set(builder, bytes),
                    Err(why) => {
                        return Err(wrong(format!("{} is not a size: {why}", shown(&text)), self.advice()));
                    }
                },
                other => return Err(unlike(&other, "a size")),
            },
            Set::Time(set) => match value {
                Raw::Text(text) => match parse_duration(&text) {
                    Ok(time) => set(builder, time),
                    Err(why) => {
                        return Err(wrong(
                            format!("{} is not a duration: {why}", shown(&text)),
                            self.advice(),
                        ));
                    }
                },
                other => return Err(unlike(&other, "a duration with its unit")),
            },
            Set::Count(set) => {
                let number = match &value {
                    Raw::Integer(number) => u32::try_from(*number).ok(),
                    Raw::Text(text) if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
                    Raw::Text(_) => None,
                    other => return Err(unlike(other, "a whole number")),
                };
                match number {
                    Some(number) => set(builder, number),
                    None => return Err(wrong("it is not a whole number in range".to_owned(), self.advice())),
                }
            }
        }
        Ok(())
    }

    /// How to write a value of this sort.
    fn advice(&self) -> &'static str {
        match self.set {
            Set::Text(_) | Set::Hidden(_) | Set::Word(..) => "write it in quotes",
            Set::Flag(_) => "write true or false",
            Set::Bytes(_) => BYTES_ADVICE,
            Set::Time(_) => DURATION_ADVICE,
            Set::Count(_) => "write a whole number such as 8",
        }
    }
}
