//! Files that only their owner may read.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// `path` with more text at the end of its name: `events.db` and `.secret` make `events.db.secret`.
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Options that create a file for its owner only.
pub fn options() -> OpenOptions {
    let mut options = File::options();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Creates a folder, and the folders above it that are missing, for its owner only.
pub fn create_folder(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// The permissions that others have, such as `0o044`. They are always 0 where the system has no such permissions.
pub fn of_others(metadata: &Metadata) -> u32 {
    #[cfg(unix)]
    return std::os::unix::fs::MetadataExt::mode(metadata) & 0o077;
    #[cfg(not(unix))]
    return 0;
}

/// Returns true if this user owns the file or the folder, and nobody else may use it.
pub fn is_private(metadata: &Metadata) -> bool {
    #[cfg(unix)]
    let is_ours = std::os::unix::fs::MetadataExt::uid(metadata) == rustix::process::geteuid().as_raw();
    #[cfg(not(unix))]
    let is_ours = true;
    is_ours && of_others(metadata) == 0
}

/// Returns true if `path` still names this open file.
pub fn is_named(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let id = |metadata: Metadata| (metadata.dev(), metadata.ino());
        let open = file.metadata().map(id).ok();
        open.is_some() && open == path.metadata().map(id).ok()
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        path.exists()
    }
}
