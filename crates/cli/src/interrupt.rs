//! The end of a long command: Ctrl-C, SIGTERM, or a reader of its output that goes away.

use std::future::Future;
use std::io::ErrorKind;
use std::pin::Pin;

use futures_util::FutureExt;
use futures_util::future::Shared;

use crate::failure::Failure;
use crate::remote::RemoteError;

/// A future that resolves at Ctrl-C or SIGTERM.
pub type Stop = Shared<Pin<Box<dyn Future<Output = ()> + Send>>>;

/// Catches Ctrl-C and SIGTERM from now on. A command that calls this sums up what it did before it ends.
pub fn stop() -> Result<Stop, Failure> {
    let signal: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(stop_signal()?);
    Ok(signal.shared())
}

/// A future that resolves at Ctrl-C or SIGTERM. It misses no signal between this call
/// and the first poll.
///
/// # Errors
/// [`Failure::Serve`] if the operating system refuses.
pub fn stop_signal() -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::Serve)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(Failure::Serve)?;
        Ok(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    Ok(async { drop(tokio::signal::ctrl_c().await) })
}

/// Runs a command on one thread. The end of the command does not wait for a request that still waits for its answer.
pub fn run(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Serve)?;
    let done = runtime.block_on(command);
    runtime.shutdown_background();
    done
}

/// Runs the part of a command that changes nothing. An interrupt ends it.
pub async fn unless<T>(stop: &Stop, part: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::select! {
        done = part => done,
        () = stop.clone() => {
            let done = "nothing was written".to_owned();
            Err(RemoteError::Interrupted { done }.into())
        }
    }
}

/// Runs a command that only shows records. It ends without an error when the reader of its output is gone.
pub async fn while_read(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let done = tokio::select! {
        done = command => done,
        () = output_closed() => Ok(()),
    };
    match done {
        Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

/// Runs a call that blocks its thread, such as a request of HTTP, beside the command's own thread.
pub async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(call).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Resolves when the reader of standard output is gone, as behind `| head`. Never resolves for a file or a terminal.
#[cfg(unix)]
async fn output_closed() {
    use rustix::event::{PollFd, PollFlags, poll};

    // The system reports an error of a pipe without being asked for any event.
    let wait = || {
        let output = std::io::stdout();
        let mut waiting = [PollFd::new(&output, PollFlags::empty())];
        while poll(&mut waiting, None) == Err(rustix::io::Errno::INTR) {}
        let seen = waiting[0].revents();
        seen.intersects(PollFlags::ERR | PollFlags::HUP)
    };
    if !blocking(wait).await {
        std::future::pending().await
    }
}

/// Never resolves: on this system a process cannot find out that the reader of its output is gone.
#[cfg(not(unix))]
async fn output_closed() {
    std::future::pending().await
}
