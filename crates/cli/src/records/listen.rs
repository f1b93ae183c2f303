//! `listen`: passes each accepted event on to an application, as Sonotheia would deliver it.
//!
//! The application gets the original bytes with a valid signature, at least once, in order of receipt. The cursor is a file,
//! so that a listener that was killed goes on from there and misses nothing.

mod application;
mod cursor;
mod error;
mod listener;
mod out;
mod source;
mod window;

use std::path::{Path, PathBuf};

use axum::http::Uri;
use clap::Args;
use sonotheia_webhook::signature::Secret;
use sonotheia_webhook::store::Store;
use sonotheia_webhook::timestamp::Timestamp;

use self::application::Application;
use self::cursor::{Cursor, Identity};
pub use self::error::ListenError;
pub use self::listener::Listener;
use self::source::Source;
use super::reads::Place;
use super::seen::Seen;
use super::times;
use crate::address;
use crate::args::note;
use crate::failure::Failure;
use crate::interrupt;
use crate::local::running;
use crate::{client, hosts, secret};

/// Pass each accepted event on to an application, signed, until the application answers 2xx
#[derive(Args)]
pub struct Listen {
    /// The address of the application
    #[arg(long, value_name = "URL", value_parser = address::application)]
    forward_to: Uri,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    secret: secret::Source,
    /// Where to begin if there is no cursor yet: 2026-01-21T12:00:00Z, 2026-01-21 (UTC), or 15m, 2h, 7d before now; without
    /// it, begin with the events that come from now on
    #[arg(long, value_name = "TIME", value_parser = times::from)]
    since: Option<Timestamp>,
    /// Only this type; may be given more than once
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// The file that records which events are delivered; without it, a file in the user's state folder
    #[arg(long, value_name = "FILE")]
    cursor: Option<PathBuf>,
    /// Seconds between two reads
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=3600))]
    interval: u16,
}

impl Listen {
    /// Delivers until Ctrl-C or SIGTERM, or until the reader of the output is gone.
    pub fn run(self) -> Result<(), Failure> {
        interrupt::run(interrupt::while_read(self.work()))
    }

    async fn work(self) -> Result<(), Failure> {
        let stop = interrupt::stop()?;
        let mut listener = tokio::select! {
            listener = self.prepare() => listener?,
            () = stop.clone() => return Ok(()),
        };
        tokio::select! {
            failure = listener.run() => return Err(failure),
            () = stop => {}
        }
        listener.finish()
    }

    async fn prepare(self) -> Result<Listener, Failure> {
        client::check(&self.forward_to)?;
        if self.place.table.is_none() {
            check_target(&self.forward_to, self.place.url())?;
        }
        let secret = self.secret().await?;
        let source = self.source().await?;
        let identity = Identity::new(self.place.name().await?, &self.forward_to, self.types);
        let file = match self.cursor {
            Some(file) => file,
            None => cursor::default_file(&identity)?,
        };
        let (cursor, kept) = Cursor::open(file, identity)?;
        if kept.is_some() && self.since.is_some() {
            note(&format!(
                "--since does not count: {} says where to go on.",
                cursor.name()
            ));
        }
        let application = Application::new(self.forward_to, secret)?;
        start(source, application, cursor, kept, self.since, self.interval).await
    }

    async fn source(&self) -> Result<Source, Failure> {
        Ok(match &self.place.table {
            Some(table) => Source::Table {
                store: self.place.account.store(table).await?,
                table: table.clone(),
            },
            None => Source::Receiver(self.place.open().await?),
        })
    }

    /// The secret that was given, or else the secret of the `serve` that the events come from.
    async fn secret(&self) -> Result<Secret, Failure> {
        if let Some(text) = self.secret.text(self.place.account.region.as_deref()).await? {
            return Ok(Secret::new(text)?);
        }
        let of_serve = match &self.place.table {
            None => running::secret_at(self.place.url()),
            Some(_) => None,
        };
        Ok(of_serve.ok_or(ListenError::NoSecret)?)
    }
}

/// The forwarding of `serve --forward-to`: from its own store, signed with its own secret.
pub struct Forwarding<'a> {
    /// The application.
    pub target: Uri,
    /// The records.
    pub store: Store,
    pub table: String,
    pub secret: Secret,
    /// The file of the records. The cursor is beside it; records in memory have their cursor in memory.
    pub data: Option<&'a Path>,
}

impl Forwarding<'_> {
    /// A listener that begins where an earlier `serve` with these records ended, or else with the events that come.
    ///
    /// # Errors
    /// The cursor cannot be used, or another `serve` uses it.
    pub async fn listener(self) -> Result<Listener, Failure> {
        let place = match self.data {
            Some(file) => format!("the file {}", file.display()),
            None => "this `serve`".to_owned(),
        };
        let identity = Identity::new(place, &self.target, Vec::new());
        let (cursor, kept) = match self.data {
            Some(file) => Cursor::open(cursor::beside_data(file, &identity), identity)?,
            None => (Cursor::in_memory(identity), None),
        };
        let source = Source::Table {
            store: self.store,
            table: self.table,
        };
        let application = Application::new(self.target, self.secret)?;
        start(source, application, cursor, kept, None, 1).await
    }
}

/// Makes a listener that begins at `kept`, else at `since`, else now, and tells the user.
async fn start(
    source: Source,
    application: Application,
    mut cursor: Cursor,
    kept: Option<Seen>,
    since: Option<Timestamp>,
    interval: u16,
) -> Result<Listener, Failure> {
    let begin = match (&kept, since) {
        (Some(kept), _) => format!("from {} on", kept.newest()),
        (None, Some(since)) => format!("from {since} on"),
        (None, None) => "from now on".to_owned(),
    };
    let seen = match kept {
        Some(kept) => kept,
        None => source.begin(since).await?,
    };
    cursor.save(&seen)?;
    note(&format!(
        "Forwarding events of {} to {}, {begin}. The cursor is {}.",
        cursor.source(),
        application.target(),
        cursor.name(),
    ));
    Ok(Listener::new(source, application, cursor, seen, interval))
}

/// Refuses the receiver itself as the application: each event would come back as a duplicate, and never reach the
/// application.
///
/// # Errors
/// [`ListenError::Loop`].
pub fn check_target(target: &Uri, receiver: &Uri) -> Result<(), ListenError> {
    if is_same_server(target, receiver) {
        let url = target.to_string();
        return Err(ListenError::Loop { url });
    }
    Ok(())
}

/// Returns true if two addresses have the same host and port. The names of this machine count as one host.
fn is_same_server(one: &Uri, other: &Uri) -> bool {
    let port = |uri: &Uri| {
        let is_https = uri
            .scheme_str()
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        uri.port_u16().unwrap_or(if is_https { 443 } else { 80 })
    };
    let (host, other_host) = (one.host().unwrap_or_default(), other.host().unwrap_or_default());
    let is_here =
        |host| hosts::is_loopback(host) || hosts::address(host).is_some_and(|ip| ip.is_unspecified());
    let is_same_host = host.eq_ignore_ascii_case(other_host) || (is_here(host) && is_here(other_host));
    is_same_host && port(one) == port(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_this_machine_are_one_host() {
        let same = |one: &str, other: &str| {
            let uri = |text: &str| address::application(text).expect("an address");
            is_same_server(&uri(one), &uri(other))
        };
        assert!(same("localhost:8080/hook", "http://127.0.0.1:8080"));
        assert!(same("[::1]:8080", "http://127.0.0.1:8080"));
        assert!(same("0.0.0.0:8080", "localhost:8080"));
        assert!(same("https://A.example/hook", "https://a.example:443/"));
        assert!(!same("localhost:3000", "localhost:8080"));
        assert!(!same("http://a.example", "https://a.example"));
        assert!(!same("b.example:8080", "localhost:8080"));
    }
}
