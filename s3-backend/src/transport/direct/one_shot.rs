//! [`OneShot`]: one request on a connection of its own, for services that are asked a few times a day.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use object_storage::Payload;
use rustls::ClientConfig;
use url::Url;

use super::answer::Answer;
use super::buffers::{Buffers, SMALL_BYTES};
use super::connect::{NotConnected, Proxy, establish};
use super::connection::{Broken, Connection, Heard, Sent};
use super::framing::Decoder;
use super::head::NotHttp;
use crate::protocol::address::Origin;
use crate::protocol::request::ResponseHead;
use crate::transport::Cause;

/// A connection for one request. It is closed when this is dropped.
pub(crate) struct OneShot {
    connection: Connection,
    /// The proxy that hands the request on.
    proxy: Option<Proxy>,
    decoder: Option<Decoder>,
    ended: bool,
}

/// Why there is no answer, or not all of it.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) cause: Cause,
    /// The other side was reached, and TLS with it failed.
    pub(crate) in_tls: bool,
    /// One line for humans.
    pub(crate) message: String,
}

impl OneShot {
    /// Connects to one of these addresses, of the proxy where there is one.
    pub(crate) async fn connect(
        origin: &Origin,
        addresses: &[IpAddr],
        proxy: Option<&Url>,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<OneShot, Trouble> {
        let proxy = match proxy {
            None => None,
            Some(url) => Some(Proxy::of(url).ok_or_else(|| Trouble::cut("only http proxies are spoken to"))?),
        };
        let established = establish(origin, proxy.as_ref(), addresses, tls, Buffers::default()).await;
        let (connection, _) = established?;
        Ok(OneShot { connection, proxy: proxy.filter(|_| !origin.https), decoder: None, ended: false })
    }

    /// Whether the request goes to a proxy, which must be told the whole URL.
    pub(crate) fn hands_on(&self) -> bool {
        self.proxy.is_some()
    }

    /// The value of `proxy-authorization` that it wants.
    pub(crate) fn proxy_authorization(&self) -> Option<&str> {
        self.proxy.as_ref().and_then(Proxy::authorization)
    }

    /// Sends the request, and waits for the head of its answer.
    pub(crate) async fn send(
        &mut self,
        to_head: bool,
        head: Vec<u8>,
        payload: &Payload,
    ) -> Result<ResponseHead, Trouble> {
        let connection = &mut self.connection;
        let mut answer = Answer::new(to_head);
        let sent = connection.send(head, payload, |heard| answer.look(heard)).await?;
        self.ended = sent == Sent::Partly(Heard::End);
        loop {
            answer.look(connection.heard());
            match answer.take() {
                Some(parsed) => {
                    let parsed = parsed?;
                    self.decoder = Some(Decoder::new(parsed.framing));
                    return Ok(parsed.head);
                }
                None if self.ended => return Err(Trouble::cut("the connection ended before an answer")),
                None => self.ended = connection.hear(SMALL_BYTES).await? == Heard::End,
            }
        }
    }

    /// The next bytes of the answer's body; `None` at its end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Trouble> {
        let Some(decoder) = &mut self.decoder else { return Ok(None) };
        loop {
            while let Some(front) = self.connection.heard().front_mut() {
                let piece = decoder.next(front)?;
                if front.is_empty() {
                    self.connection.heard().pop_front();
                }
                if piece.is_some() {
                    return Ok(piece);
                }
                if decoder.is_done() {
                    break;
                }
            }
            if decoder.is_done() || (self.ended && decoder.ends_with_connection()) {
                return Ok(None);
            }
            if self.ended {
                return Err(Trouble::cut("the connection ended in the middle of the answer"));
            }
            self.ended = self.connection.hear(SMALL_BYTES).await? == Heard::End;
        }
    }
}

impl Trouble {
    fn cut(message: &str) -> Trouble {
        Trouble { cause: Cause::Connection, in_tls: false, message: message.to_owned() }
    }
}

impl From<NotConnected> for Trouble {
    fn from(not: NotConnected) -> Trouble {
        Trouble { cause: not.cause, in_tls: not.in_tls, message: not.message }
    }
}

impl From<Broken> for Trouble {
    fn from(broken: Broken) -> Trouble {
        Trouble { cause: broken.cause(), in_tls: false, message: broken.to_string() }
    }
}

impl From<NotHttp> for Trouble {
    fn from(not_http: NotHttp) -> Trouble {
        let message = format!("the answer makes no sense: {}", not_http.0);
        Trouble { cause: Cause::Malformed, in_tls: false, message }
    }
}
