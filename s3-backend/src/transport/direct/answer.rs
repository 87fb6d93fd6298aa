//! [`Answer`]: the head of the answer to a request, found in what a connection hears.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use super::head::{HEAD_BYTES_MAX, INTERIM_MAX, NotHttp, Parsed, is_whole, parse};

/// The head of an answer, looked for in what was heard.
pub(super) struct Answer {
    to_head: bool,
    /// How many answers were passed over that only announce it.
    interim: u32,
    /// Bytes that were looked through in vain.
    seen: usize,
    parsed: Option<Result<Parsed, NotHttp>>,
}

impl Answer {
    /// `to_head`: whether it answers HEAD.
    pub(super) fn new(to_head: bool) -> Answer {
        Answer { to_head, interim: 0, seen: 0, parsed: None }
    }

    /// What [`look`](Self::look) found.
    pub(super) fn take(&mut self) -> Option<Result<Parsed, NotHttp>> {
        self.parsed.take()
    }

    /// Looks for the real answer's head, which is then taken from what was heard; whether it was found, or something
    /// that is no answer.
    pub(super) fn look(&mut self, heard: &mut VecDeque<Bytes>) -> bool {
        while self.parsed.is_none() {
            if heard.len() > 1 {
                let joined: Vec<u8> = heard.iter().flatten().copied().collect();
                heard.clear();
                heard.push_back(joined.into());
            }
            let Some(bytes) = heard.front_mut() else { break };
            // Nearly always the first piece holds all of it. What comes in drops is not read from its start each time.
            let worth_reading = self.seen == 0 || is_whole(bytes, self.seen);
            let parsed = if worth_reading { parse(bytes, self.to_head) } else { Ok(None) };
            let parsed = match parsed {
                Ok(Some(parsed)) if parsed.bytes <= HEAD_BYTES_MAX => parsed,
                Ok(Some(_)) => return self.is_none(NotHttp("its head is too long")),
                Ok(None) => {
                    self.seen = bytes.len();
                    if self.seen > HEAD_BYTES_MAX {
                        self.parsed = Some(Err(NotHttp("its head does not end")));
                    }
                    break;
                }
                Err(not_http) => return self.is_none(not_http),
            };
            bytes.advance(parsed.bytes);
            if bytes.is_empty() {
                heard.pop_front();
            }
            self.seen = 0;
            match parsed.head.status {
                // Nobody asked to speak something else.
                101 => return self.is_none(NotHttp("it switches protocols")),
                100..=199 if self.interim == INTERIM_MAX => {
                    return self.is_none(NotHttp("it only announces"));
                }
                100..=199 => self.interim += 1,
                _ => self.parsed = Some(Ok(parsed)),
            }
        }
        self.parsed.is_some()
    }

    fn is_none(&mut self, not_http: NotHttp) -> bool {
        self.parsed = Some(Err(not_http));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(pieces: &[&str]) -> (Option<Result<u16, &'static str>>, String) {
        let mut answer = Answer::new(false);
        let mut heard = VecDeque::new();
        for piece in pieces {
            heard.push_back(Bytes::copy_from_slice(piece.as_bytes()));
            if answer.look(&mut heard) {
                break;
            }
        }
        let found = answer.take().map(|found| found.map(|parsed| parsed.head.status).map_err(|not| not.0));
        (found, heard.iter().map(|piece| String::from_utf8_lossy(piece)).collect())
    }

    #[test]
    fn an_answer_is_found_behind_those_that_announce_it_and_across_pieces() {
        let whole = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\na: b\r\n\r\nbody";
        assert_eq!(look(&[whole]), (Some(Ok(200)), "body".to_owned()));
        for cut in 1..whole.len() - 4 {
            let (a, b) = whole.split_at(cut);
            assert_eq!(look(&[a, b]), (Some(Ok(200)), "body".to_owned()), "{cut}");
        }
    }

    #[test]
    fn what_never_becomes_an_answer_is_given_up() {
        assert_eq!(look(&["HTTP/1.1 101 Switching Protocols\r\n\r\n"]).0, Some(Err("it switches protocols")));
        let announced = "HTTP/1.1 100 Continue\r\n\r\n".repeat(40);
        assert_eq!(look(&[&announced]).0, Some(Err("it only announces")));
        let endless = format!("HTTP/1.1 200 OK\r\na: {}", "x".repeat(70_000));
        assert_eq!(look(&[&endless]).0, Some(Err("its head does not end")));
        assert_eq!(look(&["HTTP/1.1 200 OK\r\nContent-Le"]).0, None);
    }
}
