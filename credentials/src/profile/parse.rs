//! One profile file, read line by line the way the SDKs do.
//!
//! The grammar is small and odd; each oddity below is one that files in the field depend on. Values may
//! be secrets, so neither errors nor warnings quote a line: they give its number.
//!
//! Format: <https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html>

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;

use zeroize::Zeroizing;

/// Warnings kept per file. They are for people: after this many the file is simply of another format.
const WARNINGS_MAX: usize = 32;

/// Which of the two files; they name their sections differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// `~/.aws/config`: `[default]`, `[profile NAME]`, `[sso-session NAME]`, `[services NAME]`.
    Config,
    /// `~/.aws/credentials`: `[NAME]`.
    Credentials,
}

/// The sections of one file. `Debug` shows names and keys, never values.
#[derive(Default)]
pub struct ProfileFile {
    pub(super) profiles: BTreeMap<String, Section>,
    pub(super) sso_sessions: BTreeMap<String, Section>,
    pub(super) services: BTreeMap<String, Section>,
    pub(super) warnings: Vec<Warning>,
}

/// Properties by lower-case key.
pub(super) type Section = BTreeMap<String, Property>;

/// One property: a value, or a block of sub-properties under an empty value.
#[derive(Clone, Default)]
pub(super) struct Property {
    pub(super) value: Zeroizing<String>,
    pub(super) nested: BTreeMap<String, Zeroizing<String>>,
}

/// Something in a file that is passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    file: String,
    line: Option<usize>,
    text: &'static str,
}

impl Warning {
    pub(super) fn about_file(file: impl Into<String>, text: &'static str) -> Warning {
        Warning { file: file.into(), line: None, text }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.text),
            None => write!(f, "{}: {}", self.file, self.text),
        }
    }
}

/// A file that cannot be understood: where and why. Never quotes the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// The file, as it was named to the parser.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: ParseProblem,
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseProblem {
    /// `[name` without `]`.
    UnclosedSection,
    /// `[name] text`.
    TextAfterSection,
    /// A property without `=`.
    NoEquals,
    /// A property that starts with `=`.
    EmptyKey,
    /// A property or an indented line before any section.
    BeforeFirstSection,
    /// An indented line directly below a section header.
    NothingToContinue,
    /// An indented line below a property without a value is not `key = value`.
    NestedNoEquals,
    /// An indented line below a property without a value starts with `=`.
    NestedEmptyKey,
    /// The file is not UTF-8 from this line on.
    NotUtf8,
}

impl fmt::Display for ParseProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ParseProblem::UnclosedSection => "a section header needs a closing ]",
            ParseProblem::TextAfterSection => "only a comment may follow the ] of a section header",
            ParseProblem::NoEquals => "a property needs a = between its key and its value",
            ParseProblem::EmptyKey => "a property needs a key before its =",
            ParseProblem::BeforeFirstSection => "a property must stand below a [section]",
            ParseProblem::NothingToContinue => {
                "an indented line continues a property, and there is none above"
            }
            ParseProblem::NestedNoEquals => {
                "a line indented below a property without a value must be key = value"
            }
            ParseProblem::NestedEmptyKey => "a nested property needs a key before its =",
            ParseProblem::NotUtf8 => "the file is not UTF-8",
        })
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.problem)
    }
}

impl Error for ParseError {}

impl ProfileFile {
    /// Reads the content of a file; `name` stands for it in errors and warnings.
    ///
    /// Sections and keys whose names cannot be names are passed over with a warning. One pass, time and
    /// memory proportional to the input.
    ///
    /// # Errors
    ///
    /// [`ParseError`] at the first line that breaks the grammar. The file's owner corrects that line;
    /// nothing of the file may be used until then.
    pub fn parse(name: &str, kind: FileKind, bytes: &[u8]) -> Result<ProfileFile, ParseError> {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let line = 1 + bytes[..error.valid_up_to()].iter().filter(|&&b| b == b'\n').count();
                return Err(ParseError { file: name.to_owned(), line, problem: ParseProblem::NotUtf8 });
            }
        };
        let mut parser = Parser::new(name, kind);
        // Windows editors put a byte order mark in front.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (index, line) in text.split('\n').enumerate() {
            parser.line_number = index + 1;
            parser.line(line.strip_suffix('\r').unwrap_or(line)).map_err(|problem| ParseError {
                file: name.to_owned(),
                line: index + 1,
                problem,
            })?;
        }
        Ok(parser.finish())
    }

    /// What was passed over.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}

impl fmt::Debug for ProfileFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProfileFile")
            .field("profiles", &self.profiles.keys())
            .field("sso_sessions", &self.sso_sessions.keys())
            .field("services", &self.services.keys())
            .field("warnings", &self.warnings)
            .finish()
    }
}

/// Where the next property goes.
enum Target {
    /// No section yet.
    Nowhere,
    /// A section that is passed over. Its lines must still be well formed.
    Ignored,
    Profile(String),
    SsoSession(String),
    Services(String),
}

/// What an indented line continues.
enum Open {
    Nothing,
    /// A property that is passed over; says whether its value was empty.
    Ignored {
        nested: bool,
    },
    Property {
        key: String,
        nested: bool,
    },
}

struct Parser<'a> {
    file_name: &'a str,
    kind: FileKind,
    line_number: usize,
    target: Target,
    open: Open,
    file: ProfileFile,
    // `[default]` and `[profile default]` of a config file are told apart until the end.
    plain_default: Option<Section>,
    prefixed_default: bool,
    target_is_plain_default: bool,
}

impl<'a> Parser<'a> {
    fn new(file_name: &'a str, kind: FileKind) -> Parser<'a> {
        Parser {
            file_name,
            kind,
            line_number: 0,
            target: Target::Nowhere,
            open: Open::Nothing,
            file: ProfileFile::default(),
            plain_default: None,
            prefixed_default: false,
            target_is_plain_default: false,
        }
    }

    fn line(&mut self, line: &str) -> Result<(), ParseProblem> {
        // Only a comment at the very start of a line is one; behind a blank it continues a value.
        if line.starts_with(['#', ';']) || trim(line).is_empty() {
            return Ok(());
        }
        if let Some(header) = line.strip_prefix('[') {
            return self.section(header);
        }
        if line.starts_with(BLANKS) { self.continuation(trim(line)) } else { self.property(line) }
    }

    fn section(&mut self, header: &str) -> Result<(), ParseProblem> {
        let (name, after) = header.split_once(']').ok_or(ParseProblem::UnclosedSection)?;
        // Here a comment needs no blank before it.
        if !matches!(trim(after).chars().next(), None | Some('#' | ';')) {
            return Err(ParseProblem::TextAfterSection);
        }
        self.open = Open::Nothing;
        self.target_is_plain_default = false;
        self.target = self.target_of(trim(name));
        match &self.target {
            Target::Profile(_) if self.target_is_plain_default => {
                self.plain_default.get_or_insert_default();
            }
            Target::Profile(name) => {
                self.file.profiles.entry(name.clone()).or_default();
            }
            Target::SsoSession(name) => {
                self.file.sso_sessions.entry(name.clone()).or_default();
            }
            Target::Services(name) => {
                self.file.services.entry(name.clone()).or_default();
            }
            Target::Ignored | Target::Nowhere => {}
        }
        Ok(())
    }

    fn target_of(&mut self, header: &str) -> Target {
        let (prefix, name) = match header.split_once(BLANKS) {
            Some((prefix, name)) => (Some(prefix), trim(name)),
            None => (None, header),
        };
        if !is_name(name) {
            self.warn("section ignored: its name has characters that names cannot have");
            return Target::Ignored;
        }
        match (self.kind, prefix) {
            (FileKind::Credentials, None) => Target::Profile(name.to_owned()),
            (FileKind::Credentials, Some(_)) => {
                self.warn("section ignored: in the credentials file a profile is [name], without a prefix");
                Target::Ignored
            }
            (FileKind::Config, None) if name == "default" => {
                self.target_is_plain_default = true;
                Target::Profile(name.to_owned())
            }
            (FileKind::Config, None) => {
                self.warn("section ignored: in the config file a profile is [profile name]");
                Target::Ignored
            }
            (FileKind::Config, Some("profile")) => {
                self.prefixed_default |= name == "default";
                Target::Profile(name.to_owned())
            }
            (FileKind::Config, Some("sso-session")) => Target::SsoSession(name.to_owned()),
            (FileKind::Config, Some("services")) => Target::Services(name.to_owned()),
            (FileKind::Config, Some(_)) => {
                self.warn("section ignored: known are profile, sso-session and services");
                Target::Ignored
            }
        }
    }

    fn property(&mut self, line: &str) -> Result<(), ParseProblem> {
        if matches!(self.target, Target::Nowhere) {
            return Err(ParseProblem::BeforeFirstSection);
        }
        let (key, value) = strip_comment(line).split_once('=').ok_or(ParseProblem::NoEquals)?;
        let (key, value) = (trim(key), trim(value));
        if key.is_empty() {
            return Err(ParseProblem::EmptyKey);
        }
        let nested = value.is_empty();
        self.open = if !is_name(key) {
            self.warn("property ignored: its key has characters that keys cannot have");
            Open::Ignored { nested }
        } else {
            let key = key.to_ascii_lowercase();
            let property = Property { value: Zeroizing::new(value.to_owned()), nested: BTreeMap::new() };
            match self.section_mut() {
                Some(section) => {
                    section.insert(key.clone(), property);
                    Open::Property { key, nested }
                }
                None => Open::Ignored { nested },
            }
        };
        Ok(())
    }

    fn continuation(&mut self, text: &str) -> Result<(), ParseProblem> {
        let nested = match (&self.open, &self.target) {
            (Open::Nothing, Target::Nowhere) => return Err(ParseProblem::BeforeFirstSection),
            (Open::Nothing, _) => return Err(ParseProblem::NothingToContinue),
            (Open::Ignored { nested } | Open::Property { nested, .. }, _) => *nested,
        };
        let pair = if nested { Some(nested_property(text)?) } else { None };
        // Taken out and put back, because the section is borrowed from the same parser.
        let open = std::mem::replace(&mut self.open, Open::Nothing);
        if let Open::Property { key, .. } = &open
            && let Some(property) = self.section_mut().and_then(|section| section.get_mut(key))
        {
            match pair {
                Some((key, value)) => {
                    property.nested.insert(key.to_ascii_lowercase(), Zeroizing::new(value.to_owned()));
                }
                None => {
                    property.value.push('\n');
                    property.value.push_str(text);
                }
            }
        }
        self.open = open;
        Ok(())
    }

    fn section_mut(&mut self) -> Option<&mut Section> {
        match &self.target {
            Target::Profile(_) if self.target_is_plain_default => self.plain_default.as_mut(),
            Target::Profile(name) => self.file.profiles.get_mut(name),
            Target::SsoSession(name) => self.file.sso_sessions.get_mut(name),
            Target::Services(name) => self.file.services.get_mut(name),
            Target::Ignored | Target::Nowhere => None,
        }
    }

    fn finish(mut self) -> ProfileFile {
        if let Some(plain) = self.plain_default.take() {
            if self.prefixed_default {
                let text = "[default] ignored: the file also has [profile default], which replaces it";
                self.file.warnings.push(Warning::about_file(self.file_name, text));
            } else {
                self.file.profiles.insert("default".to_owned(), plain);
            }
        }
        self.file
    }

    fn warn(&mut self, text: &'static str) {
        if self.file.warnings.len() == WARNINGS_MAX {
            return;
        }
        let warning = Warning { file: self.file_name.to_owned(), line: Some(self.line_number), text };
        self.file.warnings.push(warning);
    }
}

/// Nothing else counts as white space in these files: no form feed, no Unicode blank.
const BLANKS: [char; 2] = [' ', '\t'];

fn trim(text: &str) -> &str {
    text.trim_matches(BLANKS)
}

/// Drops a trailing comment. It needs a blank before it: `v ; c` is `v`, but `v;c` is all value.
fn strip_comment(line: &str) -> &str {
    let mut after_blank = false;
    for (at, c) in line.char_indices() {
        if after_blank && matches!(c, '#' | ';') {
            return &line[..at];
        }
        after_blank = BLANKS.contains(&c);
    }
    line
}

fn nested_property(text: &str) -> Result<(&str, &str), ParseProblem> {
    let (key, value) = strip_comment(text).split_once('=').ok_or(ParseProblem::NestedNoEquals)?;
    match (trim(key), trim(value)) {
        ("", _) => Err(ParseProblem::NestedEmptyKey),
        pair => Ok(pair),
    }
}

fn is_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_-/.%@:+".contains(&b);
    !text.is_empty() && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests;
