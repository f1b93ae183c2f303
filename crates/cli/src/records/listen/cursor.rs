//! The cursor's file: which events are settled, for the next run.
//!
//! A save writes another file, waits until the disk has it, and renames it. So the file always has whole contents, however
//! the process or the machine ends. A lock keeps a second listener away.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use axum::http::Uri;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sonotheia_webhook::timestamp::{Parsed, Timestamp};

use super::error::ListenError;
use crate::args::json;
use crate::local::private;
use crate::records::seen::Seen;
use crate::show::clean;

/// The form of the contents.
const VERSION: u32 = 1;

/// The longest time for which a delivered event may be missing from the file. After a kill, the application gets these
/// events again.
const SAVE_EVERY: Duration = Duration::from_millis(200);

/// The subject of a cursor. A cursor of another subject would make the listener miss events.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Identity {
    source: String,
    target: String,
    types: Vec<String>,
}

impl Identity {
    /// `source` names the table or the receiver.
    pub fn new(source: String, target: &Uri, mut types: Vec<String>) -> Self {
        types.sort();
        types.dedup();
        let target = target.to_string();
        Self {
            source,
            target,
            types,
        }
    }

    /// A short name for a file.
    fn digest(&self) -> String {
        let mut digest = hex::encode(Sha256::digest(json(self)));
        digest.truncate(16);
        digest
    }

    fn describe(&self) -> String {
        let types = match self.types.as_slice() {
            [] => String::new(),
            types => format!(" of type {}", types.join(", ")),
        };
        clean(&format!(
            "the events{types} of {} to {}",
            self.source, self.target
        ))
    }
}

/// The file's contents.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: u32,
    #[serde(rename = "for")]
    identity: Identity,
    /// See [`Seen`].
    from: String,
    newest: String,
    settled: Vec<(String, String)>,
}

/// An open cursor.
#[derive(Debug)]
pub struct Cursor {
    /// `None` keeps the cursor in memory.
    file: Option<PathBuf>,
    /// The lock ends with the process, however that ends.
    _lock: Option<File>,
    identity: Identity,
    saved: Instant,
    is_saved: bool,
}

/// The file for a command without `--cursor`.
///
/// # Errors
/// [`ListenError::NoFolder`].
pub fn default_file(identity: &Identity) -> Result<PathBuf, ListenError> {
    let variable = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let state = variable("XDG_STATE_HOME")
        .or_else(|| variable("LOCALAPPDATA"))
        .or_else(|| Some(std::env::home_dir()?.join(".local").join("state")))
        .filter(|path| path.is_absolute());
    let folder = state.ok_or(ListenError::NoFolder)?.join("sonotheia");
    Ok(folder.join(format!("listen-{}.json", identity.digest())))
}

/// The file beside the records of a `serve`.
pub fn beside_data(data: &Path, identity: &Identity) -> PathBuf {
    private::beside(data, &format!(".forward-{}.json", identity.digest()))
}

impl Cursor {
    /// Opens the file, which may not exist yet, and reads the events that are settled.
    ///
    /// # Errors
    /// [`ListenError`]. No cursor is ever replaced by an empty cursor.
    pub fn open(file: PathBuf, identity: Identity) -> Result<(Self, Option<Seen>), ListenError> {
        let failed = |doing| {
            let file = file.clone();
            move |source| ListenError::Io { file, doing, source }
        };
        if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            private::create_folder(folder).map_err(failed("make the folder of"))?;
        }
        // The lock is on a file of its own, since each save replaces the cursor's file.
        // An address may hold a token, and ids are not for everyone: the files are for their owner only.
        let lock = private::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(private::beside(&file, ".lock"));
        let lock = lock.map_err(failed("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ListenError::InUse { file }),
            Err(TryLockError::Error(source)) => return Err(failed("lock")(source)),
        }
        let seen = match fs::read(&file) {
            Ok(bytes) => Some(read(&file, &bytes, &identity)?),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(source) => return Err(failed("read")(source)),
        };
        let cursor = Self {
            file: Some(file),
            _lock: Some(lock),
            identity,
            saved: Instant::now(),
            is_saved: false,
        };
        Ok((cursor, seen))
    }

    /// A cursor that ends with the process, for records that do, too.
    pub fn in_memory(identity: Identity) -> Self {
        Self {
            file: None,
            _lock: None,
            identity,
            saved: Instant::now(),
            is_saved: false,
        }
    }

    /// The file's name, for a person.
    pub fn name(&self) -> String {
        let name = |file: &PathBuf| clean(&file.display().to_string());
        self.file.as_ref().map_or_else(|| "in memory".to_owned(), name)
    }

    /// The place of the events, for a person.
    pub fn source(&self) -> String {
        clean(&self.identity.source)
    }

    /// Returns true if the listener forwards events of this type.
    pub fn wants(&self, event_type: &str) -> bool {
        let types = &self.identity.types;
        types.is_empty() || types.iter().any(|wanted| wanted == event_type)
    }

    /// Notes that an event is settled, and saves if the last save was a while ago.
    ///
    /// # Errors
    /// As [`save`](Self::save).
    pub fn settled(&mut self, seen: &mut Seen) -> Result<(), ListenError> {
        self.is_saved = false;
        if self.saved.elapsed() < SAVE_EVERY {
            return Ok(());
        }
        seen.forget();
        self.save(seen)
    }

    /// Saves if anything is not saved.
    ///
    /// # Errors
    /// As [`save`](Self::save).
    pub fn flush(&mut self, seen: &mut Seen) -> Result<(), ListenError> {
        if self.is_saved {
            return Ok(());
        }
        seen.forget();
        self.save(seen)
    }

    /// Replaces the file's contents.
    ///
    /// # Errors
    /// [`ListenError::Io`]. The file then has its earlier contents.
    pub fn save(&mut self, seen: &Seen) -> Result<(), ListenError> {
        if let Some(file) = &self.file {
            let contents = Contents {
                version: VERSION,
                identity: self.identity.clone(),
                from: seen.from().to_string(),
                newest: seen.newest().to_string(),
                settled: seen
                    .settled()
                    .map(|(id, at)| (at.to_string(), id.clone()))
                    .collect(),
            };
            replace(file, &(json(&contents) + "\n")).map_err(|source| ListenError::Io {
                file: file.clone(),
                doing: "write",
                source,
            })?;
        }
        (self.saved, self.is_saved) = (Instant::now(), true);
        Ok(())
    }
}

fn read(file: &Path, bytes: &[u8], identity: &Identity) -> Result<Seen, ListenError> {
    let not_a_cursor = |fault: String| ListenError::NotACursor {
        file: file.to_owned(),
        fault,
    };
    let contents: Contents =
        serde_json::from_slice(bytes).map_err(|error| not_a_cursor(error.to_string()))?;
    if contents.version != VERSION {
        return Err(not_a_cursor(format!("it has version {}", contents.version)));
    }
    if contents.identity != *identity {
        return Err(ListenError::Foreign {
            file: file.to_owned(),
            kept: contents.identity.describe(),
            asked: identity.describe(),
        });
    }
    let time = |text: &str| match Timestamp::parse(text) {
        Some(Parsed::Moment(time)) => Ok(time),
        _ => Err(not_a_cursor("a time in it is no time".to_owned())),
    };
    let settled = contents.settled.into_iter();
    let settled = settled
        .map(|(at, id)| Ok((id, time(&at)?)))
        .collect::<Result<_, _>>()?;
    Ok(Seen::restore(
        time(&contents.from)?,
        time(&contents.newest)?,
        settled,
    ))
}

/// Puts the text in the place of the file.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let new = private::beside(file, ".new");
    let mut open = private::options()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&new)?;
    open.write_all(text.as_bytes())?;
    open.sync_all()?;
    fs::rename(&new, file)?;
    sync_folder(file)
}

/// Waits until the disk has the new name.
#[cfg(unix)]
fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// This system opens no folders.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}
