//! The grammar as a table, and what holds for any input.

use proptest::prelude::*;

use super::*;

fn parse(kind: FileKind, text: &str) -> Result<ProfileFile, ParseError> {
    ProfileFile::parse("f", kind, text.as_bytes())
}

/// Profiles as `name: key=value key=value`, with newlines inside values shown as `|` and nested
/// properties as `key{nested=value}`.
fn show(file: &ProfileFile) -> String {
    let mut lines = Vec::new();
    for (prefix, sections) in
        [("", &file.profiles), ("sso-session ", &file.sso_sessions), ("services ", &file.services)]
    {
        for (name, section) in sections {
            let mut line = format!("{prefix}{name}:");
            for (key, property) in section {
                if property.nested.is_empty() {
                    line += &format!(" {key}={}", property.value.replace('\n', "|"));
                } else {
                    let nested: Vec<_> =
                        property.nested.iter().map(|(k, v)| format!("{k}={}", v.as_str())).collect();
                    line += &format!(" {key}{{{}}}", nested.join(","));
                }
            }
            lines.push(line);
        }
    }
    lines.join("\n")
}

#[test]
fn the_config_file_is_read_as_the_sdks_do() {
    for (text, shown, warnings) in [
        ("", "", 0),
        ("\n \t\n# comment\n; comment\n", "", 0),
        ("[default]\na = b", "default: a=b", 0),
        ("[default]\r\na = b\r\n", "default: a=b", 0),
        ("\u{feff}[default]\na = b", "default: a=b", 0),
        ("[default]", "default:", 0),
        ("[ default ]\na=b", "default: a=b", 0),
        ("[profile x]\na=b", "x: a=b", 0),
        ("[\tprofile\t  x \t]\na=b", "x: a=b", 0),
        ("[default]# c\na=b", "default: a=b", 0),
        ("[default];c\na=b", "default: a=b", 0),
        ("[default] ; c ] \na=b", "default: a=b", 0),
        // Which sections are profiles.
        ("[profilefoo]\na=b", "", 1),
        ("[foo]\na=b", "", 1),
        ("[profile]\na=b", "", 1),
        ("[profile a b]\na=b", "", 1),
        ("[profile \"a b\"]\na=b", "", 1),
        ("[profile \u{e9}]\na=b", "", 1),
        ("[]\na=b", "", 1),
        // The comment starts behind the bracket, so this is a strange name.
        ("[default # ]\na=b", "", 1),
        ("[plugins x]\na=b", "", 1),
        ("[profile a_-/.%@:+Z9]\na=b", "a_-/.%@:+Z9: a=b", 0),
        ("[sso-session s]\na=b", "sso-session s: a=b", 0),
        // Default and its twin.
        ("[default]\na=1\n[profile default]\nb=2", "default: b=2", 1),
        ("[profile default]\nb=2\n[default]\na=1", "default: b=2", 1),
        ("[profile default]\nb=2\n[default]\na=1\n[profile default]\nc=3", "default: b=2 c=3", 1),
        ("[default]\na=1\n[default]\nb=2", "default: a=1 b=2", 0),
        // Duplicates merge, the last one wins.
        ("[profile x]\na=1\nb=1\n[profile y]\n[profile x]\na=2\n", "x: a=2 b=1\ny:", 0),
        ("[default]\na=1\nA=2\n", "default: a=2", 0),
        // Values.
        ("[default]\nA_Key = CaseKept", "default: a_key=CaseKept", 0),
        ("[default]\na = b = c", "default: a=b = c", 0),
        ("[default]\na =", "default: a=", 0),
        ("[default]\na = v ; c", "default: a=v", 0),
        ("[default]\na = v # c", "default: a=v", 0),
        ("[default]\na = v\t#c", "default: a=v", 0),
        ("[default]\na = v;c", "default: a=v;c", 0),
        ("[default]\na = v#c", "default: a=v#c", 0),
        ("[default]\na = ;c", "default: a=", 0),
        ("[default]\na =;c", "default: a=;c", 0),
        ("[default]\na = [v]", "default: a=[v]", 0),
        ("[default]\na b = c", "default:", 1),
        ("[default]\n\u{e9} = c", "default:", 1),
        ("[default]\na = \u{a0}", "default: a=\u{a0}", 0),
        // Continuations.
        ("[default]\na = 1\n 2", "default: a=1|2", 0),
        ("[default]\na = 1\n\t 2 # kept\n", "default: a=1|2 # kept", 0),
        ("[default]\na = 1\n # kept", "default: a=1|# kept", 0),
        ("[default]\na = 1\n\n# dropped\n 2", "default: a=1|2", 0),
        ("[default]\na = 1\n [x]", "default: a=1|[x]", 0),
        ("[default]\na b = 1\n 2\nc=d", "default: c=d", 1),
        // Nested.
        ("[default]\ns3 =\n  k = v\n  K2=v2 ; c\n", "default: s3{k=v,k2=v2}", 0),
        ("[default]\ns3 =\n  k = v\n\n  k = w", "default: s3{k=w}", 0),
        ("[default]\ns3 =\n  k = v\ns3 = x", "default: s3=x", 0),
        ("[services s]\ns3 =\n endpoint_url = u", "services s: s3{endpoint_url=u}", 0),
    ] {
        let file = parse(FileKind::Config, text).unwrap();
        assert_eq!(show(&file), shown, "{text:?}");
        assert_eq!(file.warnings.len(), warnings, "{text:?}: {:?}", file.warnings);
    }
}

#[test]
fn the_credentials_file_has_bare_names() {
    for (text, shown, warnings) in [
        ("[default]\na=b\n[x]\nc=d", "default: a=b\nx: c=d", 0),
        ("[profile x]\na=b", "", 1),
        ("[sso-session x]\na=b", "", 1),
        ("[profile]\na=b", "profile: a=b", 0),
    ] {
        let file = parse(FileKind::Credentials, text).unwrap();
        assert_eq!(show(&file), shown, "{text:?}");
        assert_eq!(file.warnings.len(), warnings, "{text:?}");
    }
}

#[test]
fn an_error_names_file_and_line() {
    use ParseProblem as P;
    for (text, line, problem) in [
        ("[default", 1, P::UnclosedSection),
        ("[default] x", 1, P::TextAfterSection),
        ("a = b", 1, P::BeforeFirstSection),
        ("\n  a = b", 2, P::BeforeFirstSection),
        ("[default]\nab", 2, P::NoEquals),
        ("[default]\nab # = c", 2, P::NoEquals),
        ("[default]\n= b", 2, P::EmptyKey),
        ("[default]\n\n b", 3, P::NothingToContinue),
        ("[default]\na = b\n[profile x]\n c", 4, P::NothingToContinue),
        ("[default]\na =\n b", 3, P::NestedNoEquals),
        ("[default]\na =\n # b", 3, P::NestedNoEquals),
        ("[default]\na =\n = b", 3, P::NestedEmptyKey),
        // A section that is passed over must be well formed all the same.
        ("[ignored]\nab", 2, P::NoEquals),
        ("[ignored]\n ab", 2, P::NothingToContinue),
        ("[ignored]\na =\n b", 3, P::NestedNoEquals),
    ] {
        let error = parse(FileKind::Config, text).unwrap_err();
        assert_eq!((error.file.as_str(), error.line, error.problem), ("f", line, problem), "{text:?}");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_located() {
    let error = ProfileFile::parse("f", FileKind::Config, b"[default]\na = \xff\n").unwrap_err();
    assert_eq!((error.line, error.problem), (2, ParseProblem::NotUtf8));
}

#[test]
fn a_megabyte_of_anything_is_quick() {
    // Linear work only: the whole takes milliseconds, quadratic work would take minutes.
    for unit in ["[", "]", "=", " ", "\n", "a=\n", " a\n", "[x]\n", "[x]\na=b\n", "#", " ;", "\r\n"] {
        let text = unit.repeat((1 << 20) / unit.len());
        let _ = parse(FileKind::Config, &text);
        let _ = parse(FileKind::Credentials, &format!("[x]\na = 1\n{text}"));
    }
}

/// Pieces from which the grammar is built, so that random files get deep into it.
fn soup() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("[".to_owned()),
        Just("]".to_owned()),
        Just("[default]\n".to_owned()),
        Just("[profile x]\n".to_owned()),
        Just("[services s]\n".to_owned()),
        Just("=".to_owned()),
        Just(" ".to_owned()),
        Just("\t".to_owned()),
        Just("\n".to_owned()),
        Just("\r\n".to_owned()),
        Just("#".to_owned()),
        Just(";".to_owned()),
        Just("a = b\n".to_owned()),
        Just("s3 =\n".to_owned()),
        Just(" k = v\n".to_owned()),
        "\\PC{0,3}",
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// A key and the lines of its value.
type PrintedProperty = (String, Vec<String>);

/// A file as sections of properties, and its text with blanks, comments and splits strewn in.
#[derive(Debug, Clone)]
struct Printed {
    sections: Vec<(String, Vec<PrintedProperty>)>,
    blanks: String,
    comment: String,
}

fn printed() -> impl Strategy<Value = Printed> {
    // A value's first line must not read as a comment, its further lines may.
    let first = "[!-~&&[^#;]]([ -~&&[^#;]]{0,10}[!-~&&[^#;]])?";
    let further = "[!-~]([ -~]{0,10}[!-~])?";
    let value = (first, proptest::collection::vec(further, 0..3)).prop_map(|(first, mut lines)| {
        lines.insert(0, first);
        lines
    });
    let property = ("[a-z0-9_./-]{1,8}", value);
    let section = ("[A-Za-z0-9_/.%@:+-]{1,8}", proptest::collection::vec(property, 0..5));
    (proptest::collection::vec(section, 0..5), "[ \t]{0,2}", "([#;][ -~]{0,8}\n)?")
        .prop_map(|(sections, blanks, comment)| Printed { sections, blanks, comment })
}

impl Printed {
    fn text(&self) -> String {
        let (b, c) = (&self.blanks, &self.comment);
        let mut text = c.clone();
        for (name, properties) in &self.sections {
            text += &format!("[{b}{name}{b}]{b}\n{c}");
            for (key, lines) in properties {
                text += &format!("{key}{b}={b}{}{b}\n{c}", lines[0]);
                for line in &lines[1..] {
                    text += &format!(" {b}{line}{b}\n{c}");
                }
            }
        }
        text
    }

    fn expected(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let mut expected: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for (name, properties) in &self.sections {
            let section = expected.entry(name.clone()).or_default();
            section.extend(properties.iter().map(|(key, lines)| (key.clone(), lines.join("\n"))));
        }
        expected
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = ProfileFile::parse("f", FileKind::Config, &bytes);
        let _ = ProfileFile::parse("f", FileKind::Credentials, &bytes);
    }

    #[test]
    fn no_near_miss_makes_the_parser_panic(text in soup()) {
        for kind in [FileKind::Config, FileKind::Credentials] {
            if let Err(error) = parse(kind, &text) {
                prop_assert!(error.line <= text.split('\n').count());
            }
        }
    }

    #[test]
    fn what_is_printed_is_read_back(printed in printed()) {
        let file = parse(FileKind::Credentials, &printed.text()).unwrap();
        let read: BTreeMap<_, _> = file
            .profiles
            .iter()
            .map(|(name, section)| {
                let section: BTreeMap<_, _> =
                    section.iter().map(|(k, p)| (k.clone(), p.value.to_string())).collect();
                (name.clone(), section)
            })
            .collect();
        prop_assert_eq!(read, printed.expected());
    }
}
