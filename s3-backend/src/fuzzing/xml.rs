//! XML as a server may send it.

use crate::protocol::limits::{XML_DEPTH_MAX, XML_ELEMENTS_MAX};
use crate::protocol::xml::{BadXml, Element, escape, parse};

/// Any bytes, read as an XML answer.
pub fn xml(bytes: &[u8]) {
    let read = parse(bytes);
    let Ok(root) = &read else {
        let blank = std::str::from_utf8(bytes)
            .is_ok_and(|text| text.trim_start_matches('\u{feff}').trim().is_empty());
        assert_eq!(read == Err(BadXml::Empty), blank, "{read:?}");
        return;
    };
    let mut elements = 0;
    let held = measure(root, 1, &mut elements);
    assert!(held <= bytes.len(), "{held} bytes of text out of {}", bytes.len());
    assert!(elements <= XML_ELEMENTS_MAX);
    // A store that keeps its answer alive with white space says the same.
    let padded = [b" \r\n\t".as_slice(), bytes, b"\n"].concat();
    if !bytes.starts_with("\u{feff}".as_bytes()) {
        assert_eq!(parse(&padded), read);
    }
    let mut printed = String::new();
    print(root, &mut printed);
    assert_eq!(parse(printed.as_bytes()), read, "{printed}");
}

/// How many bytes of names and text are held.
fn measure(element: &Element, depth: usize, elements: &mut usize) -> usize {
    assert!(depth <= XML_DEPTH_MAX);
    assert!(element.children.is_empty() || element.text.is_empty(), "text beside children is layout");
    *elements += 1;
    let inside: usize = element.children.iter().map(|child| measure(child, depth + 1, elements)).sum();
    element.name.len() + element.text.len() + inside
}

fn print(element: &Element, out: &mut String) {
    let Element { name, text, children } = element;
    out.push_str(&format!("<{name}>"));
    for c in text.chars() {
        match c {
            // As themselves they may not stand in XML.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                out.push_str(&format!("&#{};", u32::from(c)));
            }
            c => out.push_str(&escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    children.iter().for_each(|child| print(child, out));
    out.push_str(&format!("</{name}>"));
}
