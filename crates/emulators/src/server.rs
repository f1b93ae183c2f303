//! A server in this process.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A server in this process. It stops at [`stop`](Self::stop), or when it is dropped.
#[derive(Debug)]
pub struct Server {
    pub endpoint: String,
    pub stop: Option<oneshot::Sender<()>>,
    pub task: JoinHandle<()>,
}

impl Server {
    /// Stops the server, and waits until it has stopped.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        // A connection that a client keeps open would delay a graceful stop.
        if tokio::time::timeout(Duration::from_secs(2), &mut self.task)
            .await
            .is_err()
        {
            self.task.abort();
        }
    }
}
