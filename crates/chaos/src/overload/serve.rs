//! The local server as a process, and connections to it.

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use emulators::BoxError;
use testkit::http::Reader;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::environment::Answer;

/// A `sonotheia serve`. Dropping this value kills it.
pub struct Server {
    child: Child,
    address: String,
    folder: PathBuf,
}

impl Server {
    /// Starts a server on a free port, with its records in a temporary folder.
    pub fn start(binary: &Path, secret: &str) -> Result<Self, BoxError> {
        let folder = std::env::temp_dir().join(format!("sonotheia-overload-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let mut child = Command::new(binary)
            .args(["serve", "--port", "0", "--data"])
            .arg(folder.join("records"))
            .env("SONOTHEIA_WEBHOOK_SECRET", secret)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let output = child.stdout.take();
        let mut server = Self {
            child,
            address: String::new(),
            folder,
        };
        let mut lines = BufReader::new(output.ok_or("the local server has no output")?).lines();
        let listening = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let address = line.strip_prefix("Listening on http://")?;
            Some(address.trim().to_owned())
        });
        std::thread::spawn(move || lines.for_each(drop));
        server.address = listening.ok_or("the local server did not start")?;
        Ok(server)
    }

    /// The id of the process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// A connection, which is made with the first delivery.
    pub fn connection(&self) -> Connection {
        Connection {
            address: self.address.clone(),
            stream: None,
        }
    }

    /// Ends the process, and deletes the records.
    pub fn end(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        std::fs::remove_dir_all(&self.folder)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection to the local server.
pub struct Connection {
    address: String,
    stream: Option<TcpStream>,
}

impl Connection {
    /// Posts a delivery.
    pub async fn send(&mut self, body: &str, signatures: &[String]) -> io::Result<Answer> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => none.insert(TcpStream::connect(&*self.address).await?),
        };
        let signatures: String = signatures
            .iter()
            .map(|signature| format!("x-sonotheia-signature: {signature}\r\n"))
            .collect();
        let request = format!(
            "POST /webhook HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n{signatures}content-length: {}\r\n\r\n{body}",
            self.address,
            body.len(),
        );
        stream.write_all(request.as_bytes()).await?;
        let answer = Reader::default().read_async(stream).await?;
        let answer = answer.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Answer {
            status: answer.status().ok_or(io::ErrorKind::InvalidData)?,
            body: String::from_utf8_lossy(&answer.body).into_owned(),
        })
    }
}
