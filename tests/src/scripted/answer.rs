//! [`Answer`]: an HTTP answer as bytes, right unless it is asked to be wrong.

/// An HTTP answer. Its length is stated unless a header or [`Answer::raw`] says otherwise.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    stated: bool,
}

impl Answer {
    /// An answer without headers and body.
    #[must_use]
    pub fn new(status: u16) -> Answer {
        Answer { status, headers: Vec::new(), body: Vec::new(), stated: true }
    }

    /// S3's error document under this status.
    #[must_use]
    pub fn error(status: u16, code: &str) -> Answer {
        Answer::new(status).header("x-amz-request-id", "R1").header("content-type", "application/xml").body(
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>because</Message>\
                 <RequestId>R1</RequestId></Error>"
            ),
        )
    }

    /// What a proxy says.
    #[must_use]
    pub fn html(status: u16) -> Answer {
        Answer::new(status).header("content-type", "text/html").body(format!(
            "<html><head><title>{status}</title><body><h1>{status}<br>nginx</h1></body></html>"
        ))
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Answer {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Answer {
        self.body = body.into();
        self
    }

    /// States this length, whatever the body has; `None` states none.
    #[must_use]
    pub fn length(mut self, bytes: Option<u64>) -> Answer {
        self.stated = false;
        match bytes {
            Some(bytes) => self.header("content-length", &bytes.to_string()),
            None => self,
        }
    }

    /// Status line and headers, with the empty line.
    #[must_use]
    pub fn head(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Scripted\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.stated && self.status != 204 && self.status != 304 {
            head.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// All of it.
    #[must_use]
    pub fn raw(&self) -> Vec<u8> {
        let mut raw = self.head();
        raw.extend_from_slice(&self.body);
        raw
    }
}

impl From<Answer> for Vec<u8> {
    fn from(answer: Answer) -> Vec<u8> {
        answer.raw()
    }
}
