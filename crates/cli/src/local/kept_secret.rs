//! The secret that `serve` makes, and keeps beside its data: `events.db.secret` beside `events.db`.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use super::private;
use crate::args::random_hex;
use crate::failure::Failure;

/// The longest secret that a file may hold, in bytes.
const MAX_BYTES: u64 = 4096;

/// A file of a secret that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeptSecretError {
    /// The file cannot be read or written.
    #[error("{}: {doing} the secret failed; SONOTHEIA_WEBHOOK_SECRET can hold a secret instead", file.display())]
    Io {
        file: PathBuf,
        doing: &'static str,
        #[source]
        source: io::Error,
    },
    /// A folder or a device has the name.
    #[error("{} is not a file, and `serve` keeps its secret there; move it away", file.display())]
    NotAFile { file: PathBuf },
    /// Other users have permissions.
    #[error(
        "other users may have read the secret in {} (its permissions are {mode:03o}); delete the file and `serve` makes a new \
         secret, or keep the secret with `chmod 600`",
        file.display()
    )]
    Shared { file: PathBuf, mode: u32 },
    /// The file system has no permissions.
    #[error(
        "the file system of {} cannot keep a secret from other users; choose another folder for --data, or set \
         SONOTHEIA_WEBHOOK_SECRET",
        file.display()
    )]
    NoPermissions { file: PathBuf },
    /// The file has no line of text.
    #[error("{} has no secret in it: it {fault}; delete the file, and `serve` makes a new secret", file.display())]
    Unusable { file: PathBuf, fault: &'static str },
}

/// The file of the secret.
pub fn file(data: &Path) -> PathBuf {
    private::beside(data, ".secret")
}

/// Reads the secret beside the data, or makes a secret. Only one process at a time may call this for the same data.
///
/// # Errors
/// [`KeptSecretError`].
pub fn read_or_make(data: &Path) -> Result<String, Failure> {
    let file = file(data);
    match fs::metadata(&file) {
        Ok(metadata) if !metadata.is_file() => Err(KeptSecretError::NotAFile { file })?,
        Ok(_) => Ok(read(&file)?),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let secret = random_hex::<32>()?;
            make(&file, &secret)?;
            Ok(secret)
        }
        Err(source) => Err(KeptSecretError::Io {
            file,
            doing: "reading",
            source,
        })?,
    }
}

fn read(path: &Path) -> Result<String, KeptSecretError> {
    let file = || path.to_owned();
    let failed = |source| KeptSecretError::Io {
        file: path.to_owned(),
        doing: "reading",
        source,
    };
    let open = File::open(path).map_err(failed)?;
    let mode = open.metadata().map_err(failed)?;
    if private::of_others(&mode) != 0 {
        let mode = 0o600 | private::of_others(&mode);
        return Err(KeptSecretError::Shared { file: file(), mode });
    }
    let mut bytes = Vec::new();
    open.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    let fault = match std::str::from_utf8(&bytes).map(|text| text.trim_end_matches(['\r', '\n'])) {
        Ok(text) if text.trim().is_empty() => "is empty",
        Ok(_) if bytes.len() as u64 > MAX_BYTES => "is too long",
        Ok(text) if text.contains(char::is_control) => "has more than one line of text",
        Ok(text) => return Ok(text.to_owned()),
        Err(_) => "is not UTF-8",
    };
    Err(KeptSecretError::Unusable { file: file(), fault })
}

/// Writes the secret to a file with another name first, so that a crash leaves no half of it.
fn make(path: &Path, secret: &str) -> Result<(), KeptSecretError> {
    let new = private::beside(path, ".new");
    let made = write(&new, secret).and_then(|others| match others {
        0 => fs::rename(&new, path).map(|()| true),
        _ => Ok(false),
    });
    let file = path.to_owned();
    let error = match made {
        Ok(true) => return Ok(()),
        Ok(false) => KeptSecretError::NoPermissions { file },
        Err(source) => KeptSecretError::Io {
            file,
            doing: "writing",
            source,
        },
    };
    // A file with a secret must not stay.
    let _ = fs::remove_file(&new);
    Err(error)
}

/// Writes a new file. Returns the permissions that others have on it.
fn write(path: &Path, secret: &str) -> io::Result<u32> {
    // A crash may have left it.
    if let Err(error) = fs::remove_file(path)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = private::options().write(true).create_new(true).open(path)?;
    let others = private::of_others(&file.metadata()?);
    if others == 0 {
        writeln!(file, "{secret}")?;
        file.sync_all()?;
    }
    Ok(others)
}
