//! Answers and requests, changed as a [`Rewrite`] or a [`Tamper`] says.

use super::http::{Whole, header, with_header, without_conditions, without_header};
use super::rule::{Rewrite, Tamper};

/// What is left of an answer, and whether the connection must end after it.
pub(super) fn answer(mut answer: Whole, how: &Rewrite) -> (Whole, bool) {
    let mut ends = false;
    match how {
        Rewrite::FlipBit => {
            let middle = answer.body.len() / 2;
            if let Some(byte) = answer.body.get_mut(middle) {
                *byte ^= 1;
            }
        }
        Rewrite::Replace(from, to) => {
            let text = String::from_utf8_lossy(&answer.body).replace(from, to);
            answer = with_body(answer, text.into_bytes());
        }
        Rewrite::Body(body) => answer = with_body(answer, body.clone()),
        Rewrite::HalfBody => {
            let half = answer.body.len() / 2;
            answer.body.truncate(half);
            let body = std::mem::take(&mut answer.body);
            answer = with_body(answer, body);
        }
        Rewrite::Lengthen(bytes) => answer.body.extend(std::iter::repeat_n(b'!', *bytes)),
        Rewrite::NoLength => {
            answer.head = without_header(&answer.head, "content-length");
            answer.head = with_header(&without_header(&answer.head, "connection"), "connection", "close");
            ends = true;
        }
        Rewrite::NoHeader(name) => answer.head = without_header(&answer.head, name),
        Rewrite::Header(name, value) => {
            answer.head = with_header(&without_header(&answer.head, name), name, value);
        }
        Rewrite::BareETag => answer = with_etag(answer, |tag| tag.trim_matches('"').to_owned()),
        Rewrite::WeakETag => answer = with_etag(answer, |tag| format!("W/{tag}")),
        Rewrite::Status(line) => {
            let rest = answer.head.iter().position(|byte| *byte == b'\r').unwrap_or(0);
            let mut head = format!("HTTP/1.1 {line}").into_bytes();
            head.extend_from_slice(&answer.head[rest..]);
            answer.head = head;
        }
    }
    (answer, ends)
}

pub(super) fn request(head: &[u8], body: &mut [u8], how: Tamper) -> Vec<u8> {
    match how {
        Tamper::NoConditions => without_conditions(head),
        Tamper::FlipBit => {
            let middle = body.len() / 2;
            if let Some(byte) = body.get_mut(middle) {
                *byte ^= 1;
            }
            head.to_vec()
        }
        Tamper::SkewDate => {
            with_header(&without_header(head, "x-amz-date"), "x-amz-date", "20010101T000000Z")
        }
    }
}

fn with_body(answer: Whole, body: Vec<u8>) -> Whole {
    let head = without_header(&answer.head, "content-length");
    Whole { head: with_header(&head, "content-length", &body.len().to_string()), body }
}

/// The tag in the head, and the one in a document.
fn with_etag(answer: Whole, change: impl Fn(&str) -> String) -> Whole {
    let mut answer = answer;
    if let Some(tag) = header(&answer.head, "etag") {
        answer.head = with_header(&without_header(&answer.head, "etag"), "etag", &change(&tag));
    }
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    if let Some((before, rest)) = text.split_once("<ETag>")
        && let Some((tag, after)) = rest.split_once("</ETag>")
    {
        let tag = change(&tag.replace("&quot;", "\"").replace("&#34;", "\"")).replace('"', "&quot;");
        answer = with_body(answer, format!("{before}<ETag>{tag}</ETag>{after}").into_bytes());
    }
    answer
}
