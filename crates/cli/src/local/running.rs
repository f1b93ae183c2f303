//! How `send` finds the secret of a `serve` that runs on this machine under the same user.
//!
//! `serve` writes its address and its secret to a file that only its user may read, and holds a lock on the file as long as
//! it runs. The lock ends with the process, however that ends, so a file without a lock is of the past.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use axum::http::Uri;
use clap::Args;
use serde::{Deserialize, Serialize};
use sonotheia_webhook::signature::Secret;

use super::private;
use crate::args::{self, SecretOrigin, usage};
use crate::failure::Failure;
use crate::hosts;

/// The contents of the file.
#[derive(Deserialize, Serialize)]
struct State {
    address: SocketAddr,
    secret: String,
}

/// A `serve` that `send` can find. The file goes away when this value is dropped.
#[derive(Debug)]
pub struct Running {
    file: File,
    path: PathBuf,
}

impl Running {
    /// Writes the file for the `serve` that listens on `address`.
    ///
    /// # Errors
    /// No folder can be used, or the file cannot be written.
    pub fn announce(address: SocketAddr, secret: &str) -> io::Result<Self> {
        let mut error = io::Error::other("there is no home folder");
        for folder in folders() {
            match Self::write(&folder, address, secret) {
                Ok(running) => return Ok(running),
                Err(of_folder) => error = of_folder,
            }
        }
        Err(error)
    }

    fn write(folder: &Path, address: SocketAddr, secret: &str) -> io::Result<Self> {
        private::create_folder(folder)?;
        let metadata = folder.symlink_metadata()?;
        if !metadata.is_dir() || !private::is_private(&metadata) {
            return Err(io::Error::other(format!(
                "{} is open to other users",
                folder.display()
            )));
        }
        // The lock is there before the name is.
        let new = folder.join(format!(".{}.new", std::process::id()));
        let _ = fs::remove_file(&new);
        let mut file = private::options().write(true).create_new(true).open(&new)?;
        file.try_lock().map_err(io::Error::from)?;
        let state = args::json(&State {
            address,
            secret: secret.to_owned(),
        });
        file.write_all(state.as_bytes())?;
        let path = path(folder, address);
        fs::rename(&new, &path)?;
        Ok(Self { file, path })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // In another network namespace, another `serve` may have the same address, and have replaced the file.
        if private::is_named(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn path(folder: &Path, address: SocketAddr) -> PathBuf {
    folder.join(format!("serve-{address}.json"))
}

/// The folders for the file, the best folder first. `serve` and `send` may run in shells with different environments.
fn folders() -> Vec<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let runtime = runtime.filter(|path| path.is_absolute());
    let home = std::env::home_dir().filter(|path| path.is_absolute());
    let home = home.map(|home| home.join(".cache"));
    let both = runtime.into_iter().chain(home);
    both.map(|folder| folder.join("sonotheia")).collect()
}

/// The secret of the `serve` that answers at `url`, if it runs on this machine under this user.
pub fn secret_at(url: &Uri) -> Option<Secret> {
    let port = url.port_u16().unwrap_or(80);
    let folders = folders();
    let addresses = addresses(url.host()?);
    let paths = addresses.iter().flat_map(|ip| {
        folders
            .iter()
            .map(move |folder| path(folder, SocketAddr::new(*ip, port)))
    });
    let mut secrets = paths.filter_map(|path| secret_in(&path));
    secrets.next()
}

/// The addresses on which a `serve` gets the requests for a host. Empty for a host that is not this machine.
fn addresses(host: &str) -> Vec<IpAddr> {
    let any = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    let names: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    match hosts::address(host) {
        _ if !hosts::is_loopback(host) => Vec::new(),
        Some(ip) if !ip.is_unspecified() => [&[ip], &any[..]].concat(),
        _ => [names, any].concat(),
    }
}

/// Reads the file of a `serve` that still runs.
fn secret_in(path: &Path) -> Option<Secret> {
    // A pipe with the name would make `open` wait.
    let is_file = path.symlink_metadata().ok()?.is_file();
    let mut file = is_file.then(|| File::open(path).ok())??;
    if !private::is_private(&file.metadata().ok()?) {
        return None;
    }
    if !matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) {
        return None;
    }
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    let state: State = serde_json::from_str(&text).ok()?;
    Secret::new(state.secret).ok()
}

/// The signing secret, which is not needed for a `serve` of the same user on the same machine.
#[derive(Args)]
pub struct SecretOption {
    /// The secret that sender and receiver share; not needed for a `serve` that you run on this machine [env:
    /// SONOTHEIA_WEBHOOK_SECRET]
    #[arg(long, value_parser = |text: &str| Secret::new(text))]
    secret: Option<Secret>,
}

impl SecretOption {
    /// The secret that was typed, or else is in the environment, or else is the secret of the `serve` at `url`. Ends with
    /// status 2 for another machine's address without a secret.
    ///
    /// # Errors
    /// [`Failure::NoSecret`], [`Failure::EmptySecret`].
    pub fn for_receiver(self, url: &Uri) -> Result<(Secret, SecretOrigin), Failure> {
        let variable = || std::env::var_os("SONOTHEIA_WEBHOOK_SECRET").filter(|text| !text.is_empty());
        if let Some(secret) = self.secret {
            return Ok((secret, SecretOrigin::Option));
        }
        if let Some(text) = variable() {
            return Ok((Secret::new(text.as_encoded_bytes())?, SecretOrigin::Variable));
        }
        if !hosts::is_loopback(url.host().unwrap_or_default()) {
            usage(
                "--secret or SONOTHEIA_WEBHOOK_SECRET has to name the secret of a receiver on another machine",
            );
        }
        let secret = secret_at(url).ok_or_else(|| Failure::NoSecret { url: url.to_string() })?;
        Ok((secret, SecretOrigin::Serve))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_are_looked_up() {
        let of = |host: &str| {
            let addresses = addresses(host);
            addresses
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(of("localhost"), "127.0.0.1 ::1 0.0.0.0 ::");
        assert_eq!(of("127.0.0.1"), "127.0.0.1 0.0.0.0 ::");
        assert_eq!(of("[::1]"), "::1 0.0.0.0 ::");
        assert_eq!(of("0.0.0.0"), "127.0.0.1 ::1 0.0.0.0 ::");
        assert_eq!(of("receiver.example"), "");
        assert_eq!(of("192.168.0.2"), "");
    }

    #[test]
    fn a_file_counts_only_while_its_serve_runs_and_only_if_it_is_private() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("state");
        let address: SocketAddr = "127.0.0.1:8080".parse().expect("an address");
        let known = || secret_in(&path(&folder, address)).is_some();
        assert!(!known());
        let running = Running::write(&folder, address, "s").expect("a file");
        assert!(known());

        // A `serve` with the same address in another namespace takes the name; the first `serve` leaves it alone.
        let second = Running::write(&folder, address, "t").expect("a file");
        drop(running);
        assert!(known());
        drop(second);
        assert!(!known() && !path(&folder, address).exists());

        // A process that was killed leaves its file.
        let text = r#"{"address":"127.0.0.1:8080","secret":"s"}"#;
        let mut left = private::options()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path(&folder, address))
            .expect("a file");
        left.write_all(text.as_bytes()).expect("a file");
        assert!(!known());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let running = Running::write(&folder, address, "s").expect("a file");
            let shared = fs::Permissions::from_mode(0o644);
            fs::set_permissions(path(&folder, address), shared).expect("our file");
            assert!(!known());
            drop(running);
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("our folder");
            assert!(Running::write(&folder, address, "s").is_err());
        }
    }
}
