//! The errors of `listen`.

use std::io;
use std::path::PathBuf;

/// Why `listen` ends with status 1.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Nothing names the secret.
    #[error(
        "there is no secret to sign with; --secret TEXT or SONOTHEIA_WEBHOOK_SECRET holds the secret that the application \
         verifies with, --secret-id names a secret in Secrets Manager (the stack's output SecretArn)"
    )]
    NoSecret,
    /// The application is the receiver.
    #[error("{url} is the receiver itself; --forward-to takes the address of your application")]
    Loop { url: String },
    /// The operating system names no folder.
    #[error("no folder is known for the cursor, since HOME is not set; --cursor FILE names a file")]
    NoFolder,
    /// The cursor cannot be read or written.
    #[error("cannot {doing} the cursor {}; --cursor FILE names another file", file.display())]
    Io {
        file: PathBuf,
        doing: &'static str,
        #[source]
        source: io::Error,
    },
    /// Another listener has the cursor.
    #[error("another listener uses the cursor {}; end that listener, or name another file with --cursor", file.display())]
    InUse { file: PathBuf },
    /// The file has other contents.
    #[error(
        "{} is not a cursor of this command: {fault}; name another file with --cursor, or delete the file and begin with \
         --since TIME",
        file.display()
    )]
    NotACursor { file: PathBuf, fault: String },
    /// The cursor is about another place, another application or other types.
    #[error(
        "the cursor {} belongs to {kept}, and this command forwards {asked}; name another file with --cursor",
        file.display()
    )]
    Foreign {
        file: PathBuf,
        kept: String,
        asked: String,
    },
}
