//! Bounded reading of S3's XML answers: elements and text, with or without a namespace.
//!
//! No DTD, no entities but the five and character references, bounded depth and count, unknown elements
//! skipped. Attributes and comments carry no meaning in S3's answers and are passed over.

use xmlparser::{ElementEnd, Token, Tokenizer};

use super::limits::{XML_DEPTH_MAX, XML_ELEMENTS_MAX};

/// An element: its local name, the text directly inside it, and its children in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) children: Vec<Element>,
}

/// Why an answer is not the XML that S3 speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadXml {
    /// Nothing but white space.
    Empty,
    /// Not UTF-8, not well-formed, cut short, or with a DTD.
    Malformed,
    /// Deeper or longer than any answer of S3.
    TooLarge,
}

impl std::fmt::Display for BadXml {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            BadXml::Empty => "the answer is empty",
            BadXml::Malformed => "the answer is not well-formed XML",
            BadXml::TooLarge => "the answer is deeper or longer than any of S3",
        })
    }
}

impl std::error::Error for BadXml {}

impl Element {
    /// The first child of this name.
    pub(crate) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first child of this name.
    pub(crate) fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str())
    }

    /// Every child of this name, in order.
    pub(crate) fn children_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }
}

/// Reads one document.
pub(crate) fn parse(bytes: &[u8]) -> Result<Element, BadXml> {
    let text = std::str::from_utf8(bytes).map_err(|_| BadXml::Malformed)?;
    // S3 keeps a slow answer alive with white space before the declaration; XML would not allow that.
    let text = text.trim_start_matches('\u{FEFF}').trim();
    if text.is_empty() {
        return Err(BadXml::Empty);
    }
    let mut reader = Reader::default();
    for token in Tokenizer::from(text) {
        reader.take(token.map_err(|_| BadXml::Malformed)?)?;
    }
    match reader.root {
        Some(root) if reader.open.is_empty() => Ok(root),
        _ => Err(BadXml::Malformed),
    }
}

#[derive(Default)]
struct Reader {
    /// From the root down to the element being read.
    open: Vec<Element>,
    root: Option<Element>,
    elements: usize,
}

impl Reader {
    fn take(&mut self, token: Token<'_>) -> Result<(), BadXml> {
        match token {
            Token::ElementStart { local, .. } => {
                self.elements += 1;
                if self.open.len() >= XML_DEPTH_MAX || self.elements > XML_ELEMENTS_MAX {
                    return Err(BadXml::TooLarge);
                }
                if self.open.is_empty() && self.root.is_some() {
                    return Err(BadXml::Malformed);
                }
                self.open.push(Element { name: local.as_str().to_owned(), ..Element::default() });
            }
            Token::ElementEnd { end: ElementEnd::Empty, .. } => self.close()?,
            Token::ElementEnd { end: ElementEnd::Close(_, local), .. } => {
                if self.open.last().is_none_or(|element| element.name != local.as_str()) {
                    return Err(BadXml::Malformed);
                }
                self.close()?;
            }
            Token::Text { text } => match self.open.last_mut() {
                Some(element) => unescape(text.as_str(), &mut element.text)?,
                None if text.as_str().trim().is_empty() => {}
                None => return Err(BadXml::Malformed),
            },
            Token::Cdata { text, .. } => match self.open.last_mut() {
                Some(element) => element.text.push_str(text.as_str()),
                None => return Err(BadXml::Malformed),
            },
            Token::DtdStart { .. }
            | Token::EmptyDtd { .. }
            | Token::EntityDeclaration { .. }
            | Token::DtdEnd { .. } => {
                return Err(BadXml::Malformed);
            }
            Token::ElementEnd { end: ElementEnd::Open, .. }
            | Token::Attribute { .. }
            | Token::Comment { .. }
            | Token::Declaration { .. }
            | Token::ProcessingInstruction { .. } => {}
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), BadXml> {
        let mut element = self.open.pop().ok_or(BadXml::Malformed)?;
        if !element.children.is_empty() {
            // White space between children is layout.
            element.text.clear();
        }
        match self.open.last_mut() {
            Some(parent) => parent.children.push(element),
            None => self.root = Some(element),
        }
        Ok(())
    }
}

/// Appends `text` with its references replaced.
fn unescape(mut text: &str, out: &mut String) -> Result<(), BadXml> {
    while let Some((before, after)) = text.split_once('&') {
        out.push_str(before);
        let (name, rest) = after.split_once(';').ok_or(BadXml::Malformed)?;
        out.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => character(name).ok_or(BadXml::Malformed)?,
        });
        text = rest;
    }
    out.push_str(text);
    Ok(())
}

/// The character that `#65` or `#x41` names. Control characters are let through: S3 sends them for keys that
/// hold them, although XML 1.0 forbids it; [`Key`](object_storage::Key) then decides.
fn character(name: &str) -> Option<char> {
    let digits = name.strip_prefix('#')?;
    let (digits, radix) = match digits.strip_prefix('x') {
        Some(hex) => (hex, 16),
        None => (digits, 10),
    };
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    char::from_u32(u32::from_str_radix(digits, radix).ok()?)
}

/// `text` as it may stand between two tags.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_document_reads_the_same_with_and_without_a_namespace() {
        let with = br#"<?xml version="1.0"?><E xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Code>A&amp;B</Code></E>"#;
        let without = b"  \n<E>\n  <Code>A&#38;B</Code>\n</E>\n";
        let prefixed = br#"<s3:E xmlns:s3="x"><s3:Code><![CDATA[A&B]]></s3:Code></s3:E>"#;
        for document in [&with[..], without, prefixed] {
            let root = parse(document).expect("well-formed");
            assert_eq!(root.name, "E");
            assert_eq!(root.text, "");
            assert_eq!(root.text_of("Code"), Some("A&B"));
        }
    }

    #[test]
    fn what_is_not_a_whole_document_is_refused() {
        assert_eq!(parse(b""), Err(BadXml::Empty));
        assert_eq!(parse(b" \r\n "), Err(BadXml::Empty));
        for bad in [
            "<a>",
            "<a></b>",
            "<a/><b/>",
            "text",
            "<a>&unknown;</a>",
            "<a>&#xZZ;</a>",
            "<a>&#+65;</a>",
            "<a>&amp</a>",
            "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>",
            "<html><br></html>",
            "</a>",
        ] {
            assert_eq!(parse(bad.as_bytes()), Err(BadXml::Malformed), "{bad}");
        }
        assert_eq!(parse(b"<a>\xff</a>"), Err(BadXml::Malformed));
    }

    #[test]
    fn a_bomb_is_refused_before_it_goes_off() {
        let deep = "<a>".repeat(100_000);
        assert_eq!(parse(deep.as_bytes()), Err(BadXml::TooLarge));
        let wide = format!("<a>{}</a>", "<b/>".repeat(100_000));
        assert_eq!(parse(wide.as_bytes()), Err(BadXml::TooLarge));
    }

    #[test]
    fn the_bounds_are_where_they_are_said_to_be() {
        let deep = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
        assert!(parse(deep(XML_DEPTH_MAX).as_bytes()).is_ok());
        assert_eq!(parse(deep(XML_DEPTH_MAX + 1).as_bytes()), Err(BadXml::TooLarge));
        let wide = |elements: usize| format!("<a>{}</a>", "<b/>".repeat(elements - 1));
        assert!(parse(wide(XML_ELEMENTS_MAX).as_bytes()).is_ok());
        assert_eq!(parse(wide(XML_ELEMENTS_MAX + 1).as_bytes()), Err(BadXml::TooLarge));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _: Result<Element, BadXml> = parse(&bytes);
        }

        #[test]
        fn no_text_like_xml_makes_the_parser_panic(text in "[<>/&;#x!\\[\\]CDATA\"'= a-c0-9?-]{0,80}") {
            let _: Result<Element, BadXml> = parse(text.as_bytes());
        }

        #[test]
        fn escaped_text_reads_back(text in "[ -~é😀]{0,40}") {
            let document = format!("<a>{}</a>", escape(&text));
            prop_assert_eq!(parse(document.as_bytes()).expect("well-formed").text, text);
        }
    }
}
