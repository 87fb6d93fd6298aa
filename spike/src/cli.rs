//! The command line: which command, which options, and good advice about those that do not exist.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::Arg;
use object_storage::StorageConfig;
use object_storage::config::{ObjectConfigBuilder, Transport, UrlStyle};
use object_storage::limits::{GIB, KIB, MIB, TIB};

use crate::run::Store;
use crate::scenario::Scenario;
use crate::scenarios;
use crate::serve::Serve;

/// Worth reading.
pub(crate) const HELP: &str = include_str!("help.txt");

/// What the command line asks for.
pub(crate) enum Command {
    Run {
        store: StoreArguments,
        scenarios: Vec<&'static Scenario>,
        json: Option<PathBuf>,
        limit: Duration,
        keys_are_paths: bool,
    },
    BigObject {
        store: StoreArguments,
        bytes: u64,
        seed: Option<u64>,
        memory_bytes_max: u64,
    },
    Sweep {
        store: StoreArguments,
        older_than: Duration,
        dry_run: bool,
    },
    Credentials {
        store: StoreArguments,
        json: bool,
    },
    Refresh {
        quick: bool,
    },
    Serve(Serve),
    List,
    Help,
    Version,
}

/// Why the command line cannot work, and what to write instead.
#[derive(Debug)]
pub(crate) struct Usage(String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn usage<T>(problem: impl Into<String>) -> Result<T, Usage> {
    Err(Usage(problem.into()))
}

/// An option, and what its value is called if it takes one.
type Known = (&'static str, Option<&'static str>);

const STORE: &[Known] = &[
    ("endpoint", Some("URL")),
    ("bucket", Some("NAME")),
    ("region", Some("NAME")),
    ("profile", Some("NAME")),
    ("prefix", Some("PREFIX")),
    ("path-style", None),
    ("virtual-host-style", None),
    ("ca-file", Some("FILE")),
    ("allow-http", None),
    ("part-size", Some("SIZE")),
    ("transport", Some("NAME")),
    ("url", Some("URL")),
    ("config", Some("FILE")),
    ("create-bucket", None),
    ("conditional-copy", None),
    ("conditional-delete", None),
    ("ordered-list", None),
    ("no-conditional-put", None),
    ("no-conditional-complete", None),
];
const RUN: &[Known] = &[
    ("only", Some("NAME")),
    ("list", None),
    ("json", Some("FILE")),
    ("timeout", Some("SECONDS")),
    ("keys-are-paths", None),
];
const BIG_OBJECT: &[Known] = &[("size", Some("SIZE")), ("seed", Some("N")), ("max-memory", Some("SIZE"))];
const SWEEP: &[Known] = &[("older-than", Some("AGE")), ("dry-run", None)];
const CREDENTIALS: &[Known] = &[("json", None)];
const REFRESH: &[Known] = &[("quick", None)];
const SERVE: &[Known] =
    &[("port", Some("N")), ("tls-ca", Some("FILE")), ("json", None), ("until-stdin-closes", None)];

/// The commands by name, with the options each takes. The first is the one without a name.
const COMMANDS: &[(&str, &[&[Known]])] = &[
    ("", &[STORE, RUN]),
    ("big-object", &[STORE, BIG_OBJECT]),
    ("sweep", &[STORE, SWEEP]),
    ("credentials", &[STORE, CREDENTIALS]),
    ("refresh", &[REFRESH]),
    ("serve", &[SERVE]),
];

/// Options that somebody might try, and must not.
const SECRETS: &[&str] =
    &["access-key", "access-key-id", "secret-key", "secret-access-key", "session-token", "token", "password"];

const TIMEOUT_SECONDS_DEFAULT: u64 = 120;
/// A day: beyond it, nobody is waiting any more.
const TIMEOUT_SECONDS_MAX: u64 = 24 * 60 * 60;
const BIG_OBJECT_BYTES_DEFAULT: u64 = 2 * GIB;
const MEMORY_BYTES_MAX_DEFAULT: u64 = 100 * MIB;

/// Understands the command line, less the name of the program.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, Usage> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut given = Given::default();
    let mut command: Option<usize> = None;
    while let Some(argument) = parser.next().map_err(|error| Usage(error.to_string()))? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
            Arg::Short('V') | Arg::Long("version") => return Ok(Command::Version),
            Arg::Short(letter) => {
                return usage(format!(
                    "there is no option -{letter}: options are words, as in --bucket NAME"
                ));
            }
            Arg::Value(name) if command.is_none() && given.0.is_empty() => {
                command = Some(command_named(&name.to_string_lossy())?);
            }
            Arg::Value(value) => {
                let value = value.to_string_lossy();
                return usage(format!(
                    "{value:?} stands alone: commands come first, and values after their option"
                ));
            }
            Arg::Long(name) => {
                let (name, value) = option_named(name, COMMANDS[command.unwrap_or(0)])?;
                let value = match value {
                    None => String::new(),
                    Some(value) => {
                        let text = parser.value().map_err(|_| Usage(format!("--{name} wants a {value}")))?;
                        text.into_string()
                            .map_err(|_| Usage(format!("the {value} of --{name} is not UTF-8")))?
                    }
                };
                given.add(name, value)?;
            }
        }
        if let Some(value) = parser.optional_value() {
            return usage(format!("{value:?} was given to an option that takes no value"));
        }
    }
    match COMMANDS[command.unwrap_or(0)].0 {
        "big-object" => big_object(given),
        "sweep" => sweep(given),
        "credentials" => Ok(Command::Credentials { json: given.flag("json"), store: StoreArguments(given) }),
        "refresh" => Ok(Command::Refresh { quick: given.flag("quick") }),
        "serve" => serve(&given),
        _ => run(given),
    }
}

fn command_named(name: &str) -> Result<usize, Usage> {
    if name == "help" {
        return usage("the help is: spike --help");
    }
    let commands = || COMMANDS.iter().map(|(name, _)| *name).skip(1);
    let found = COMMANDS.iter().position(|(command, _)| *command == name && !name.is_empty());
    found.ok_or_else(|| {
        let advice = nearest(name, commands()).unwrap_or_else(|| {
            format!("commands are {}, or none", commands().collect::<Vec<_>>().join(", "))
        });
        Usage(format!("there is no command {name:?}: {advice}"))
    })
}

fn option_named(name: &str, (command, options): (&str, &[&[Known]])) -> Result<Known, Usage> {
    let mut known = options.iter().copied().flatten();
    if let Some(known) = known.find(|(option, _)| *option == name) {
        return Ok(*known);
    }
    if SECRETS.contains(&name) {
        return usage(format!(
            "there is no --{name}: other users can read command lines; \
             set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a --profile"
        ));
    }
    let this = if command.is_empty() { "spike".to_owned() } else { format!("spike {command}") };
    let elsewhere = COMMANDS
        .iter()
        .find(|(_, options)| options.iter().copied().flatten().any(|(option, _)| *option == name));
    if let Some((elsewhere, _)) = elsewhere {
        return usage(format!(
            "`{this}` takes no --{name}; `{}` does",
            format!("spike {elsewhere}").trim_end()
        ));
    }
    let advice = nearest(name, options.iter().copied().flatten().map(|(option, _)| *option))
        .unwrap_or_else(|| "spike --help lists them all".to_owned());
    usage(format!("there is no option --{name}: {advice}"))
}

/// Advice for a word that is nearly one of these.
fn nearest<'a>(word: &str, among: impl Iterator<Item = &'a str>) -> Option<String> {
    let (distance, near) = among.map(|known| (distance(word, known), known)).min()?;
    (distance <= 1 + word.len() / 4).then(|| format!("did you mean {near}?"))
}

/// How many letters must be added, removed or changed to make one word the other (Levenshtein's distance).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in b.iter().enumerate() {
            let change = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

/// The options as they stood there.
#[derive(Debug, Default)]
struct Given(BTreeMap<&'static str, Vec<String>>);

impl Given {
    fn add(&mut self, name: &'static str, value: String) -> Result<(), Usage> {
        let values = self.0.entry(name).or_default();
        if !values.is_empty() && name != "only" {
            return usage(format!("--{name} stands there twice"));
        }
        values.push(value);
        Ok(())
    }

    fn flag(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.first().map(String::as_str)
    }

    fn number(&self, name: &str) -> Result<Option<u64>, Usage> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => usage(format!("--{name} {text}: that is not a whole number")),
        }
    }

    fn size(&self, name: &str) -> Result<Option<u64>, Usage> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match parse_size(text) {
            Some(bytes) => Ok(Some(bytes)),
            None => usage(format!("--{name} {text}: write a size as 512KiB, 100MiB, 2GiB, or in bytes")),
        }
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim_start() {
        "" | "B" => 1,
        "KiB" => KIB,
        "MiB" => MIB,
        "GiB" => GIB,
        "TiB" => TIB,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

fn run(given: Given) -> Result<Command, Usage> {
    if given.flag("list") {
        return Ok(Command::List);
    }
    let seconds = given.number("timeout")?.unwrap_or(TIMEOUT_SECONDS_DEFAULT);
    if !(1..=TIMEOUT_SECONDS_MAX).contains(&seconds) {
        return usage(format!("--timeout {seconds}: write 1 to {TIMEOUT_SECONDS_MAX} seconds"));
    }
    Ok(Command::Run {
        scenarios: chosen(given.0.get("only").map_or(&[][..], Vec::as_slice))?,
        json: given.text("json").map(PathBuf::from),
        limit: Duration::from_secs(seconds),
        keys_are_paths: given.flag("keys-are-paths"),
        store: StoreArguments(given),
    })
}

/// The scenarios of these names, in the order of the table; all, if there are no names.
fn chosen(only: &[String]) -> Result<Vec<&'static Scenario>, Usage> {
    let names: Vec<&str> = only.iter().flat_map(|names| names.split(',')).map(str::trim).collect();
    for name in &names {
        if scenarios::ALL.iter().all(|scenario| scenario.name != *name) {
            let advice = nearest(name, scenarios::ALL.iter().map(|scenario| scenario.name));
            let advice = advice.unwrap_or_else(|| "spike --list names them all".to_owned());
            return usage(format!("there is no scenario {name:?}: {advice}"));
        }
    }
    let wanted = |scenario: &&Scenario| names.is_empty() || names.contains(&scenario.name);
    Ok(scenarios::ALL.iter().filter(wanted).collect())
}

fn big_object(given: Given) -> Result<Command, Usage> {
    Ok(Command::BigObject {
        bytes: given.size("size")?.unwrap_or(BIG_OBJECT_BYTES_DEFAULT),
        seed: given.number("seed")?,
        memory_bytes_max: given.size("max-memory")?.unwrap_or(MEMORY_BYTES_MAX_DEFAULT),
        store: StoreArguments(given),
    })
}

fn sweep(given: Given) -> Result<Command, Usage> {
    let Some(text) = given.text("older-than") else {
        return usage(
            "how old? --older-than 1d leaves alone what was begun within a day, such as writers at work",
        );
    };
    let Some(older_than) = parse_age(text) else {
        return usage(format!("--older-than {text}: write an age as 90s, 30m, 12h or 7d"));
    };
    Ok(Command::Sweep { older_than, dry_run: given.flag("dry-run"), store: StoreArguments(given) })
}

fn parse_age(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(seconds).map(Duration::from_secs)
}

fn serve(given: &Given) -> Result<Command, Usage> {
    let port = given.number("port")?.unwrap_or(0);
    let Ok(port) = u16::try_from(port) else {
        return usage(format!("--port {port}: ports end at 65535"));
    };
    Ok(Command::Serve(Serve {
        port,
        ca_file: given.text("tls-ca").map(PathBuf::from),
        json: given.flag("json"),
        until_stdin_closes: given.flag("until-stdin-closes"),
    }))
}

/// What an option does to the configuration.
type SetText = fn(ObjectConfigBuilder, &str) -> ObjectConfigBuilder;
type SetFlag = fn(ObjectConfigBuilder) -> ObjectConfigBuilder;

/// What was said about the store; not looked at before it is known what else is wanted.
#[derive(Debug)]
pub(crate) struct StoreArguments(Given);

impl StoreArguments {
    /// The store that was named, if one was.
    pub(crate) async fn store(&self, run: &str) -> Result<Option<Store>, Usage> {
        if !self.is_given() {
            return Ok(None);
        }
        let create_bucket = self.0.flag("create-bucket");
        let config = match self.elsewhere()? {
            Some(elsewhere) => elsewhere.read().await?,
            None => {
                let bucket = match (self.0.text("bucket"), create_bucket) {
                    (Some(bucket), false) => bucket.to_owned(),
                    (bucket, true) => format!("{}-{run}", bucket.unwrap_or("spike")),
                    (None, false) => {
                        return usage("which bucket? --bucket NAME, or --create-bucket for one of its own");
                    }
                };
                self.described(bucket)?
            }
        };
        Ok(Some(Store { config, create_bucket }))
    }

    /// The same for a command that makes no request, and needs no bucket.
    pub(crate) async fn config(&self) -> Result<StorageConfig, Usage> {
        match self.elsewhere()? {
            Some(elsewhere) => elsewhere.read().await,
            None => self.described(self.0.text("bucket").unwrap_or("any-bucket").to_owned()),
        }
    }

    fn is_given(&self) -> bool {
        STORE.iter().any(|(name, _)| self.0.flag(name))
    }

    /// The URL or the file that describes the store, if one does.
    fn elsewhere(&self) -> Result<Option<Elsewhere<'_>>, Usage> {
        let elsewhere = match (self.0.text("url"), self.0.text("config")) {
            (None, None) => return Ok(None),
            (Some(url), None) => Elsewhere::Url(url),
            (None, Some(file)) => Elsewhere::File(file),
            (Some(_), Some(_)) => return usage("--url and --config both describe the store: leave one out"),
        };
        let others = STORE.iter().map(|(name, _)| *name).filter(|name| !["url", "config"].contains(name));
        match others.into_iter().find(|name| self.0.flag(name)) {
            None => Ok(Some(elsewhere)),
            Some("create-bucket") => usage(
                "--create-bucket gives the bucket a new name: describe the store by --endpoint and the like",
            ),
            Some(name) => {
                usage(format!("--{name} goes with --bucket: in a URL or file it is an option there"))
            }
        }
    }

    fn described(&self, bucket: String) -> Result<StorageConfig, Usage> {
        let given = &self.0;
        let mut builder = StorageConfig::object(bucket);
        let texts: [(&str, SetText); 5] = [
            ("endpoint", |builder, text| builder.endpoint(text)),
            ("region", |builder, text| builder.region(text)),
            ("profile", |builder, text| builder.profile(text)),
            ("prefix", |builder, text| builder.prefix(text)),
            ("ca-file", |builder, text| builder.ca_file(text)),
        ];
        for (name, set) in texts {
            if let Some(text) = given.text(name) {
                builder = set(builder, text);
            }
        }
        let flags: [(&str, SetFlag); 6] = [
            ("allow-http", |builder| builder.allow_http(true)),
            ("conditional-copy", |builder| builder.conditional_copy(true)),
            ("conditional-delete", |builder| builder.conditional_delete(true)),
            ("ordered-list", |builder| builder.ordered_list(true)),
            ("no-conditional-put", |builder| builder.conditional_put(false)),
            ("no-conditional-complete", |builder| builder.conditional_complete(false)),
        ];
        for (name, set) in flags {
            if given.flag(name) {
                builder = set(builder);
            }
        }
        builder = match (given.flag("path-style"), given.flag("virtual-host-style")) {
            (true, true) => return usage("--path-style and --virtual-host-style: leave one out"),
            (true, false) => builder.url_style(UrlStyle::Path),
            (false, true) => builder.url_style(UrlStyle::VirtualHost),
            (false, false) => builder,
        };
        builder = match given.text("transport") {
            None => builder,
            Some("direct") => builder.transport(Transport::Direct),
            Some("cyper") => builder.transport(Transport::Cyper),
            Some(_) => return usage("--transport: write direct or cyper"),
        };
        if let Some(bytes) = given.size("part-size")? {
            builder = builder.multipart_part_size(bytes);
        }
        builder.build().map_err(|error| Usage(error.message().to_owned()))
    }
}

/// A place that describes the whole store.
enum Elsewhere<'a> {
    Url(&'a str),
    File(&'a str),
}

impl Elsewhere<'_> {
    async fn read(&self) -> Result<StorageConfig, Usage> {
        let config = match self {
            Elsewhere::Url(url) => StorageConfig::from_url(url),
            Elsewhere::File(path) => {
                let bytes = compio::fs::read(path).await;
                let bytes = bytes.map_err(|error| Usage(format!("{path} cannot be read: {error}")))?;
                let text = String::from_utf8(bytes).map_err(|_| Usage(format!("{path} is not UTF-8")))?;
                StorageConfig::from_toml(&text)
            }
        };
        config.map_err(|error| Usage(error.message().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(line: &str) -> String {
        match parse(line.split_whitespace().map(OsString::from)) {
            Err(Usage(problem)) => problem,
            Ok(_) => panic!("{line}: accepted"),
        }
    }

    #[test]
    fn what_is_mistyped_gets_advice() {
        for (line, advice) in [
            ("--buckt b", "did you mean bucket?"),
            ("--no-such-thing", "spike --help"),
            ("--secret-access-key x", "AWS_SECRET_ACCESS_KEY"),
            ("--seed 4", "`spike big-object` does"),
            ("serve --bucket b", "`spike` does"),
            ("sevre", "did you mean serve?"),
            ("--only put-and-gte", "did you mean put-and-get?"),
            ("--bucket", "wants a NAME"),
            ("--bucket a --bucket b", "twice"),
            ("--path-style=yes", "takes no value"),
            ("-x", "options are words"),
            ("--timeout 0", "1 to 86400"),
            ("big-object --size 2GB", "2GiB"),
            ("serve --port 70000", "65535"),
            ("sweep --bucket b", "--older-than 1d"),
            ("sweep --bucket b --older-than 1", "90s, 30m, 12h or 7d"),
            ("--bucket b extra", "stands alone"),
        ] {
            let problem = problem(line);
            assert!(problem.contains(advice), "{line}: {problem}");
        }
    }

    #[test]
    fn every_option_is_in_the_help_and_every_command_too() {
        for (command, options) in COMMANDS {
            assert!(HELP.contains(&format!("spike {command}").trim_end().to_owned()), "{command}");
            for (option, value) in options.iter().copied().flatten() {
                let shown = match value {
                    Some(value) => format!("--{option} {value}"),
                    None => format!("--{option}"),
                };
                assert!(HELP.contains(&shown), "{shown}");
            }
        }
        assert!(HELP.lines().all(|line| line.len() <= 115), "a line of the help is too long");
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [("7", 7), ("5MiB", 5 * MIB), ("2 GiB", 2 * GIB), ("1KiB", 1024)] {
            assert_eq!(parse_size(text), Some(bytes));
        }
        for text in ["", "MiB", "2GB", "-1", "99999999TiB", "1.5GiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn ages_have_units() {
        for (text, seconds) in [("0s", 0), ("90s", 90), ("2m", 120), ("12h", 43_200), ("7d", 604_800)] {
            assert_eq!(parse_age(text), Some(Duration::from_secs(seconds)));
        }
        for text in ["", "7", "d", "1w", "1.5h", "-1d", "999999999999999999d"] {
            assert_eq!(parse_age(text), None, "{text}");
        }
    }

    #[test]
    fn scenarios_are_chosen_by_name_and_keep_the_order_of_the_table() {
        let names = ["ranged-get,copy".to_owned(), "put-and-get".to_owned()];
        let chosen: Vec<_> = chosen(&names).expect("known").iter().map(|scenario| scenario.name).collect();
        assert_eq!(chosen, ["put-and-get", "ranged-get", "copy"]);
    }
}
