//! The file of `--data`: only a new file, or a file that `serve` made, and only one `serve` at a time.
//!
//! SQLite would read some names as something else (`:memory:`, `file:…`), and would add the tables of the embedded DynamoDB
//! to the database of any other application. So this module looks at the name and the file before anything is written.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rusqlite::{Connection, OpenFlags};

use super::private;
use crate::show::clean;

/// The reason why a file cannot hold the records. The text is to be read after `cannot use FILE for --data: `.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The folder does not exist.
    #[error("the folder {} does not exist; create it, or choose another folder", .0.display())]
    NoFolder(PathBuf),
    /// The name is the name of a folder.
    #[error("it is a folder; name a file in it")]
    Folder,
    /// The name is the name of a device, a pipe or a socket.
    #[error("it is not a regular file; name a new file")]
    NotAFile,
    /// The name is a symbolic link to nothing.
    #[error("it is a link to a file that does not exist; name the file itself")]
    Dangling,
    /// The embedded DynamoDB takes UTF-8 names only.
    #[error("its path is not UTF-8; choose a file and a folder with UTF-8 names")]
    NotUtf8,
    /// The operating system refuses to read or write.
    #[error("it cannot be read and written; choose a file in a folder that you can write to")]
    Io(#[from] io::Error),
    /// The file has other contents.
    #[error("it is not an SQLite database; name a new file")]
    NotADatabase,
    /// The database has other tables.
    #[error("it is the database of another application; name a new file")]
    Foreign,
    /// The embedded DynamoDB has other tables only.
    #[error(
        "it has no table {wanted}, but {}; EVENTS_TABLE names the table, or name a new file",
        clean(&found.join(", "))
    )]
    OtherTables { wanted: String, found: Vec<String> },
    /// Another `serve` has the file.
    #[error("another `serve` uses it; end that `serve`, or name another file")]
    InUse,
    /// SQLite cannot read the file.
    #[error("SQLite cannot read it: it is damaged, or another program uses it; name a new file")]
    Sqlite(#[from] rusqlite::Error),
}

/// A name that cannot be the name of a file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// SQLite's name for a temporary file.
    #[error("the name is empty; leave out --data to keep the records in memory")]
    Empty,
    /// SQLite's name for a database in memory.
    #[error("this is SQLite's name for memory; leave out --data to keep the records in memory")]
    Memory,
    /// SQLite's form of an address.
    #[error("--data takes the path of a file, not a URI; leave out `file:`, or begin the path with ./")]
    Uri,
    /// The bytes are not UTF-8.
    #[error("the name is not UTF-8; choose another name")]
    NotUtf8,
}

/// Reads the name of a file.
///
/// # Errors
/// [`NameError`].
pub fn name(text: &OsStr) -> Result<PathBuf, NameError> {
    let text = text.to_str().ok_or(NameError::NotUtf8)?;
    let begins = |with: &str| {
        text.get(..with.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(with))
    };
    if text.is_empty() {
        Err(NameError::Empty)
    } else if begins(":memory:") {
        Err(NameError::Memory)
    } else if begins("file:") {
        Err(NameError::Uri)
    } else {
        Ok(text.into())
    }
}

/// A file that this process alone uses until this value is dropped.
#[derive(Debug)]
pub struct DataFile {
    path: PathBuf,
    _lock: Lock,
}

impl DataFile {
    /// Looks at the file, and takes it. The embedded DynamoDB in the file must have this table or no table.
    ///
    /// # Errors
    /// [`DataError`]. Then nothing was written.
    pub fn take(path: &Path, table: &str) -> Result<Self, DataError> {
        let path = absolute(path)?;
        if path.to_str().is_none() {
            return Err(DataError::NotUtf8);
        }
        check(&path, table)?;
        let lock = Lock::take(private::beside(&path, ".lock"))?;
        Ok(Self { path, _lock: lock })
    }

    /// Creates the file if it does not exist, for its owner only: records hold personal data.
    ///
    /// # Errors
    /// The operating system's error.
    pub fn create(&self) -> Result<(), DataError> {
        private::options().append(true).create(true).open(&self.path)?;
        Ok(())
    }

    /// The absolute path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The absolute path without symbolic links, so that two names of one file are one path.
fn absolute(path: &Path) -> Result<PathBuf, DataError> {
    match path.canonicalize() {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        known => return Ok(known?),
    }
    let path = std::path::absolute(path)?;
    if path.is_symlink() {
        return Err(DataError::Dangling);
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(DataError::Folder);
    };
    match folder.canonicalize() {
        Ok(folder) => Ok(folder.join(name)),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(DataError::NoFolder(folder.to_owned())),
        Err(error) => Err(error.into()),
    }
}

/// Looks at the file without writing.
fn check(path: &Path, table: &str) -> Result<(), DataError> {
    /// The first bytes of every database ("Database File Format", section 1.3 of SQLite's documentation).
    const MAGIC: &[u8] = b"SQLite format 3\0";
    let metadata = match path.metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if metadata.is_dir() {
        return Err(DataError::Folder);
    }
    if !metadata.is_file() {
        return Err(DataError::NotAFile);
    }
    let mut begin = Vec::new();
    let file = File::options().read(true).write(true).open(path)?;
    file.take(MAGIC.len() as u64).read_to_end(&mut begin)?;
    if begin.is_empty() {
        return Ok(());
    }
    if begin != MAGIC {
        return Err(DataError::NotADatabase);
    }
    check_tables(&open(path)?, table)
}

/// Opens a database for reading. SQLite then writes nothing, except that a database with a write-ahead log gets the
/// index of its log.
fn open(path: &Path) -> Result<Connection, rusqlite::Error> {
    const OF_PATHS: AsciiSet = NON_ALPHANUMERIC
        .remove(b'/')
        .remove(b'-')
        .remove(b'.')
        .remove(b'_');
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let has_log = private::beside(path, "-wal")
        .metadata()
        .is_ok_and(|log| log.len() > 0);
    if has_log {
        return Connection::open_with_flags(path, flags);
    }
    let path = utf8_percent_encode(path.to_str().unwrap_or_default(), &OF_PATHS);
    Connection::open_with_flags(
        format!("file:{path}?immutable=1"),
        flags | OpenFlags::SQLITE_OPEN_URI,
    )
}

/// Tells the embedded DynamoDB's database from the databases of other applications, by the names of its tables. The
/// embedded DynamoDB sets no application id.
fn check_tables(database: &Connection, table: &str) -> Result<(), DataError> {
    let number = |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0));
    let names = |sql: &str| -> Result<Vec<String>, rusqlite::Error> {
        database.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
    };
    if number("PRAGMA application_id")? != 0 {
        return Err(DataError::Foreign);
    }
    let all = names("SELECT name FROM sqlite_master")?;
    if all.is_empty() {
        return Ok(());
    }
    let is_there = |name: &&str| all.iter().any(|found| found == name);
    if !["_config", "_tables", "_stream_records"].iter().all(is_there) {
        return Err(DataError::Foreign);
    }
    let found = names("SELECT table_name FROM _tables WHERE key_schema IS NOT NULL");
    let found = found.map_err(|_| DataError::Foreign)?;
    if found.is_empty() || found.iter().any(|name| name == table) {
        return Ok(());
    }
    Err(DataError::OtherTables {
        wanted: table.to_owned(),
        found,
    })
}

/// The lock of a file that exists as long as a process holds the lock. SQLite's own locks allow several processes.
#[derive(Debug)]
struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    fn take(path: PathBuf) -> Result<Self, DataError> {
        loop {
            let file = private::options()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)?;
            match file.try_lock() {
                // Its owner may have removed the name after this process opened it.
                Ok(()) if private::is_named(&file, &path) => return Ok(Self { file, path }),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(DataError::InUse),
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A file with contents is not ours, whatever its name. A file that stays does no harm.
        if self.file.metadata().is_ok_and(|metadata| metadata.len() == 0) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_name_of_a_file_or_an_error() {
        let read = |text: &str| name(OsStr::new(text));
        for text in [
            "events.db",
            "./file:events.db",
            "a:memory:",
            "/tmp/a b?c#d%20",
            "filé",
        ] {
            assert_eq!(read(text), Ok(text.into()));
        }
        for text in [":memory:", ":MEMORY:", ":memory:?cache=shared"] {
            assert_eq!(read(text), Err(NameError::Memory), "{text}");
        }
        for text in [
            "file:events.db",
            "FILE:events.db",
            "file::memory:",
            "file:///a?mode=memory",
        ] {
            assert_eq!(read(text), Err(NameError::Uri), "{text}");
        }
    }
}
