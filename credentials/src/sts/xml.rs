//! Bounded reading of STS's XML: elements and text. No DTD, no entities but the five and character
//! references, bounded depth and count. Text is wiped when dropped: some of it is keys.

use xmlparser::{ElementEnd, Token, Tokenizer};
use zeroize::Zeroizing;

/// Answers are five levels deep.
const DEPTH_MAX: usize = 16;
/// Answers have some twenty elements.
const ELEMENTS_MAX: usize = 256;

/// An element: its local name, the text directly inside it, and its children in order.
#[derive(Default)]
pub(super) struct Element {
    pub(super) name: String,
    text: Zeroizing<String>,
    children: Vec<Element>,
}

impl Element {
    /// The first child of this name.
    pub(super) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The trimmed text of the first child of this name, unless it is empty.
    pub(super) fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.trim()).filter(|text| !text.is_empty())
    }
}

/// Reads one document; `None` if it is not well-formed, holds a DTD, or is beyond the limits.
pub(super) fn parse(bytes: &[u8]) -> Option<Element> {
    let text = std::str::from_utf8(bytes).ok()?.trim_start_matches('\u{FEFF}').trim();
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    let mut elements = 0;
    for token in Tokenizer::from(text) {
        let closes = match token.ok()? {
            Token::ElementStart { local, .. } => {
                elements += 1;
                let second_root = open.is_empty() && root.is_some();
                if open.len() >= DEPTH_MAX || elements > ELEMENTS_MAX || second_root {
                    return None;
                }
                open.push(Element { name: local.as_str().to_owned(), ..Element::default() });
                false
            }
            Token::ElementEnd { end: ElementEnd::Empty, .. } => true,
            Token::ElementEnd { end: ElementEnd::Close(_, local), .. } => {
                if open.last()?.name != local.as_str() {
                    return None;
                }
                true
            }
            Token::Text { text } => {
                match open.last_mut() {
                    Some(element) => unescape(text.as_str(), &mut element.text)?,
                    None if text.as_str().trim().is_empty() => {}
                    None => return None,
                }
                false
            }
            Token::Cdata { text, .. } => {
                open.last_mut()?.text.push_str(text.as_str());
                false
            }
            Token::DtdStart { .. }
            | Token::EmptyDtd { .. }
            | Token::EntityDeclaration { .. }
            | Token::DtdEnd { .. } => return None,
            Token::ElementEnd { end: ElementEnd::Open, .. }
            | Token::Attribute { .. }
            | Token::Comment { .. }
            | Token::Declaration { .. }
            | Token::ProcessingInstruction { .. } => false,
        };
        if closes {
            let element = open.pop()?;
            match open.last_mut() {
                Some(parent) => parent.children.push(element),
                None => root = Some(element),
            }
        }
    }
    root.filter(|_| open.is_empty())
}

/// Appends `text` with its references replaced.
fn unescape(mut text: &str, out: &mut String) -> Option<()> {
    out.reserve(text.len());
    while let Some((before, after)) = text.split_once('&') {
        out.push_str(before);
        let (name, rest) = after.split_once(';')?;
        out.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => character(name)?,
        });
        text = rest;
    }
    out.push_str(text);
    Some(())
}

/// The character that `#65` or `#x41` names.
fn character(name: &str) -> Option<char> {
    let digits = name.strip_prefix('#')?;
    let (digits, radix) = digits.strip_prefix('x').map_or((digits, 10), |hex| (hex, 16));
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    char::from_u32(u32::from_str_radix(digits, radix).ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_found_with_and_without_a_namespace() {
        for document in [
            r#"<?xml version="1.0"?><E xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Code>A&amp;B</Code></E>"#,
            "  \n<E>\n  <Code> A&#38;B\n</Code>\n</E>\n",
            r#"<s:E xmlns:s="x"><s:Code><![CDATA[A&B]]></s:Code></s:E>"#,
        ] {
            assert_eq!(parse(document.as_bytes()).unwrap().text_of("Code"), Some("A&B"), "{document}");
        }
    }

    #[test]
    fn what_is_broken_or_a_bomb_is_refused() {
        let deep = "<a>".repeat(100_000);
        let wide = format!("<a>{}</a>", "<b/>".repeat(10_000));
        for bad in [
            "",
            " ",
            "x",
            "<a>",
            "<a></b>",
            "<a/><b/>",
            "<a>&x;</a>",
            "<a>&#xZZ;</a>",
            "<a>&amp</a>",
            "</a>",
            "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>",
            "<html><br></html>",
            &deep,
            &wide,
        ] {
            assert!(parse(bad.as_bytes()).is_none(), "{}", &bad[..bad.len().min(50)]);
        }
        assert!(parse(b"<a>\xff</a>").is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            parse(&bytes);
        }

        #[test]
        fn no_text_like_xml_makes_the_parser_panic(text in "[<>/&;#x!\\[\\]CDATA\"'= a-c0-9?-]{0,80}") {
            parse(text.as_bytes());
        }
    }
}
