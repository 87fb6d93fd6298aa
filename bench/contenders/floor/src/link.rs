//! One connection: a request that is there already, and the end of its answer.

use compio::buf::BufResult;
use compio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use compio::net::TcpStream;
use measure::fail;
use memchr::memmem;

/// One read: larger ones cost the cache more than they save wake-ups.
const READ_BYTES: usize = 256 << 10;

/// Large answers wake us up for this much at a time (`SO_RCVLOWAT`), never for more than is still to come.
const LOW_WATER_BYTES: usize = 200 << 10;

pub(crate) struct Link {
    stream: TcpStream,
    request: Vec<u8>,
    buffer: Vec<u8>,
    /// What the socket waits for now.
    low_water: usize,
    large: bool,
}

impl Link {
    pub(crate) async fn open(authority: &str, request: Vec<u8>, answer_bytes: usize) -> Link {
        let stream = TcpStream::connect(authority).await;
        let stream = stream.unwrap_or_else(|error| fail(format_args!("no connection: {error}")));
        if let Err(error) = stream.set_nodelay(true) {
            fail(error);
        }
        let large = answer_bytes > 2 * LOW_WATER_BYTES && std::env::var_os("BENCH_FLOOR_NO_LOWAT").is_none();
        Link { stream, request, buffer: Vec::with_capacity(READ_BYTES), low_water: 1, large }
    }

    /// What to send from now on.
    pub(crate) fn request(&mut self, request: Vec<u8>) {
        self.request = request;
    }

    /// Sends the request and reads its answer to the end.
    pub(crate) async fn exchange(&mut self) {
        let BufResult(sent, request) = self.stream.write_all(std::mem::take(&mut self.request)).await;
        self.request = request;
        self.check(sent);
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let mut left = loop {
            let BufResult(read, filled) = self.stream.append(buffer).await;
            buffer = filled;
            self.some(read);
            if let Some(left) = left_of_answer(&buffer) {
                break left;
            }
        };
        while left > 0 {
            self.wait_for(left);
            let BufResult(read, filled) = self.stream.read(buffer).await;
            buffer = filled;
            left -= self.some(read).min(left);
        }
        self.wait_for(1);
        self.buffer = buffer;
    }

    /// Lets the socket wake us up only when there is something to do.
    fn wait_for(&mut self, left: usize) {
        let wanted = left.min(LOW_WATER_BYTES);
        // Changed at the beginning and at the end of an answer, not in between.
        if self.large && wanted != self.low_water {
            self.low_water = wanted;
            let wanted = i32::try_from(wanted).expect("it is small");
            // SAFETY: an option of four bytes, whose value lives through the call.
            let answer = unsafe {
                libc::setsockopt(
                    std::os::fd::AsRawFd::as_raw_fd(&self.stream),
                    libc::SOL_SOCKET,
                    libc::SO_RCVLOWAT,
                    (&raw const wanted).cast(),
                    4,
                )
            };
            assert_eq!(answer, 0, "a TCP socket has this option");
        }
    }

    fn check<T>(&self, result: std::io::Result<T>) -> T {
        result.unwrap_or_else(|error| fail(format_args!("the connection broke: {error}")))
    }

    fn some(&self, read: std::io::Result<usize>) -> usize {
        match self.check(read) {
            0 => fail("the connection was closed"),
            len => len,
        }
    }
}

/// How much of the answer is still to come; `None` while not even its head is here.
fn left_of_answer(bytes: &[u8]) -> Option<usize> {
    let head = memmem::find(bytes, b"\r\n\r\n")? + 4;
    if !bytes.starts_with(b"HTTP/1.1 200 ") {
        fail("not the answer that was expected");
    }
    const NAME: &[u8] = b"Content-Length: ";
    let value = memmem::find(&bytes[..head], NAME).unwrap_or_else(|| fail("an answer without its length"))
        + NAME.len();
    let digits = bytes[value..head].iter().take_while(|byte| byte.is_ascii_digit());
    let len = digits.fold(0, |len, digit| len * 10 + usize::from(digit - b'0'));
    Some((head + len) - bytes.len())
}
