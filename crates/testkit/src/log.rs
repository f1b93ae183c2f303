//! The log of a receiver.

use std::io::Write;
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// A writer that keeps the log for a test.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("the log").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// The whole log.
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("the log").clone()).expect("UTF-8")
    }

    /// The last line, as JSON.
    pub fn last(&self) -> Value {
        let text = self.text();
        serde_json::from_str(text.lines().last().expect("a line")).expect("JSON")
    }
}
