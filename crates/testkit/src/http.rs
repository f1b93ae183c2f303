//! HTTP/1.1 messages of a connection, for threads and for tasks.
//!
//! Lambda's runtime client, the SDK's clients and the emulators send one message at a time, each with a
//! `Content-Length`. The reader handles nothing else.

use std::io::{self, Read};

use tokio::io::{AsyncRead, AsyncReadExt};

/// The bytes that one read asks for.
const CHUNK: usize = 1 << 16;

/// A request or an answer.
#[derive(Clone, Debug)]
pub struct Message {
    /// The first line and the headers, with the empty line after them.
    head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Message {
    /// The target of a request; the status of an answer.
    pub fn target(&self) -> &str {
        let line = self.head.lines().next().unwrap_or_default();
        line.split(' ').nth(1).unwrap_or_default()
    }

    /// The status of an answer.
    pub fn status(&self) -> Option<u16> {
        self.target().parse().ok()
    }

    /// The first header with this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let headers = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let mut values = headers.filter(|(header, _)| header.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value.trim())
    }

    /// The message as it was sent.
    pub fn bytes(&self) -> Vec<u8> {
        [self.head.as_bytes(), &self.body].concat()
    }

    /// The message as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}

/// Reads the messages of one connection.
#[derive(Default)]
pub struct Reader(Vec<u8>);

impl Reader {
    /// Reads the next message. Returns `None` if the other side has closed the connection before a message.
    ///
    /// # Errors
    /// The connection fails or ends within a message, or the message is chunked or has a head that is not UTF-8.
    pub fn read(&mut self, stream: &mut impl Read) -> io::Result<Option<Message>> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            let read = self.0.len();
            self.0.resize(read + CHUNK, 0);
            let more = stream.read(&mut self.0[read..]);
            self.0.truncate(read + *more.as_ref().unwrap_or(&0));
            if more? == 0 {
                return self.end();
            }
        }
    }

    /// The same for a task.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn read_async(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Message>> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            self.0.reserve(CHUNK);
            if stream.read_buf(&mut self.0).await? == 0 {
                return self.end();
            }
        }
    }

    /// Takes the first message, if it is complete.
    fn take(&mut self) -> io::Result<Option<Message>> {
        let Some(end) = self.0.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = std::str::from_utf8(&self.0[..end + 4]).map_err(io::Error::other)?;
        let mut message = Message {
            head: head.to_owned(),
            body: Vec::new(),
        };
        if message.header("transfer-encoding").is_some() {
            return Err(io::Error::other("the test kit reads no chunked bodies"));
        }
        let length = message.header("content-length").map_or(Ok(0), str::parse);
        let whole = message.head.len() + length.map_err(io::Error::other)?;
        if self.0.len() < whole {
            return Ok(None);
        }
        let unread = self.0.split_off(whole);
        message.body = self.0.split_off(message.head.len());
        self.0 = unread;
        Ok(Some(message))
    }

    fn end(&self) -> io::Result<Option<Message>> {
        match self.0.is_empty() {
            true => Ok(None),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// The bytes of an answer. `status` has the reason phrase (`200 OK`), and each line of `headers` ends with CR LF.
pub fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    // One write sends all of it, as a real server does.
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection that gives one byte for each read.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.0.len().min(1);
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    #[test]
    fn messages_are_read_one_after_the_other_in_any_pieces() {
        let first = answer("200 OK", "x-a: b\r\n", b"body\r\n\r\nbody");
        let second = answer("503 Unavailable", "", b"");
        let both = [&*first, &*second].concat();
        for stream in [&mut Slow(&both) as &mut dyn Read, &mut &*both] {
            let mut stream = stream;
            let mut reader = Reader::default();
            let message = reader.read(&mut stream).expect("no error").expect("a message");
            assert_eq!(message.bytes(), first);
            assert_eq!((message.status(), message.header("X-A")), (Some(200), Some("b")));
            assert_eq!(message.body, b"body\r\n\r\nbody");
            let message = reader.read(&mut stream).expect("no error").expect("a message");
            assert_eq!(message.bytes(), second);
            assert!(reader.read(&mut stream).expect("no error").is_none());
        }
    }

    #[test]
    fn a_connection_that_ends_within_a_message_is_an_error() {
        let whole = answer("200 OK", "", b"body");
        for cut in 1..whole.len() {
            assert!(Reader::default().read(&mut &whole[..cut]).is_err(), "{cut}");
        }
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        assert!(Reader::default().read(&mut &chunked[..]).is_err());
    }
}
