//! As much of HTTP/1.1 as Lambda's runtime client and the SDK speak to a stand-in.

use std::io::{self, BufRead, BufReader, Read, Write};

/// A request, read whole.
pub struct Request {
    pub path: String,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// A header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(header, _)| header == name);
        header.map(|(_, value)| value.as_str())
    }
}

/// A connection that is kept for as long as the client wants.
pub struct Connection<S: Read + Write>(BufReader<S>);

impl<S: Read + Write> Connection<S> {
    pub fn new(stream: S) -> Self {
        Self(BufReader::with_capacity(1 << 16, stream))
    }

    /// The next request; none where the client is done.
    pub fn next(&mut self) -> io::Result<Option<Request>> {
        let Some(start) = self.line()? else {
            return Ok(None);
        };
        let path = start.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = Vec::new();
        while let Some((name, value)) = self.line()?.as_deref().and_then(|line| line.split_once(':')) {
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut request = Request {
            path,
            headers,
            body: Vec::new(),
        };
        if request.header("transfer-encoding").is_some() {
            return Err(io::Error::other("a stand-in reads no chunked bodies"));
        }
        let length = request
            .header("content-length")
            .and_then(|length| length.parse().ok());
        request.body = vec![0; length.unwrap_or(0)];
        self.0.read_exact(&mut request.body)?;
        Ok(Some(request))
    }

    pub fn answer(&mut self, status: &str, headers: &str, body: &[u8]) -> io::Result<()> {
        let mut answer = format!(
            "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        );
        // In one write, as a real server's packet.
        let mut bytes = std::mem::take(&mut answer).into_bytes();
        bytes.extend_from_slice(body);
        self.0.get_mut().write_all(&bytes)?;
        self.0.get_mut().flush()
    }

    fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line)?;
        let line = line.trim_end().to_owned();
        Ok((read > 0).then_some(line))
    }
}
