//! Why the test bed itself failed, as opposed to a scenario.

use std::path::{Path, PathBuf};
use std::{fmt, io};

use crate::debian;

/// A failure of the bed: a tool, a download, a file. A check that does not hold is not one of these.
#[derive(Debug)]
pub enum Error {
    /// Packages of the distribution.
    Debian(debian::Error),
    /// A file or directory.
    Io(PathBuf, io::Error),
    /// A program failed; its last words are kept.
    Program {
        /// The command line.
        command: String,
        /// What it wrote to standard error.
        stderr: String,
    },
    /// Anything that needs a sentence.
    Bed(String),
}

impl Error {
    /// For `map_err` on a call that concerns `path`.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |error| Self::Io(path, error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Debian(error) => error.fmt(f),
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Program { command, stderr } => write!(f, "`{command}` failed: {}", stderr.trim()),
            Self::Bed(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}

impl From<debian::Error> for Error {
    fn from(error: debian::Error) -> Self {
        Self::Debian(error)
    }
}
