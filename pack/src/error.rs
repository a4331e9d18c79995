//! Why an image could not be built or read.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, as a sentence for whoever builds the image.
#[derive(Debug)]
pub enum Error {
    /// The operating system refused something.
    Io {
        /// What was tried, as in "cannot read".
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// `--kver` is missing and cannot be guessed.
    NoVersion,
    /// No `modules.dep` in the directory.
    NoModules(PathBuf),
    /// A module index is damaged.
    Index {
        /// Which file.
        path: PathBuf,
        /// How.
        cause: ondisk::kmod::KmodError,
    },
    /// A module that was asked for by name does not exist in this kernel.
    UnknownModule {
        /// As asked for.
        name: String,
        /// Kernel version.
        version: String,
    },
    /// A module file that cannot be used.
    Module {
        /// Which file.
        path: PathBuf,
        /// How.
        cause: ondisk::kmod::KmodError,
    },
    /// No `/init` to pack.
    NoInit(Vec<PathBuf>),
    /// A shared library that an added program needs was not found.
    Library {
        /// Its name as the program states it.
        name: String,
        /// The program.
        needed_by: PathBuf,
    },
    /// A file that is added has to have an absolute place in the image.
    Destination(String),
    /// A file name that is not UTF-8.
    Name(PathBuf),
    /// The file is not a cpio image, or is cut short.
    Image {
        /// Which byte.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// The image is compressed by something that this program does not read.
    Compression(&'static str),
    /// A file larger than the format can hold (4 GiB).
    TooLarge(String),
    /// A keyboard layout that cannot be compiled.
    Keymap {
        /// As asked for.
        name: String,
        /// Why not.
        cause: String,
    },
    /// The command line of the program.
    Usage(String),
}

impl Error {
    /// A closure for `map_err`.
    pub(crate) fn io<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
        move |source| Error::Io { what, path: path.to_owned(), source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { what, path, source } => write!(f, "cannot {what} {}: {source}", path.display()),
            Error::NoVersion => f.write_str("which kernel? name it with --kver VERSION"),
            Error::NoModules(dir) => write!(
                f,
                "{} has no modules.dep: is this kernel installed? An unpacked package needs depmod -b first",
                dir.display()
            ),
            Error::Index { path, cause } | Error::Module { path, cause } => {
                write!(f, "{}: {cause}", path.display())
            }
            Error::UnknownModule { name, version } => {
                write!(f, "kernel {version} has no module {name}: check the spelling, or leave it out")
            }
            Error::NoInit(tried) => {
                f.write_str("no init program found; name it with --init FILE (looked at")?;
                for path in tried {
                    write!(f, " {}", path.display())?;
                }
                f.write_str(")")
            }
            Error::Library { name, needed_by } => write!(
                f,
                "{} needs the library {name}, which is not installed; add it with --add, or leave the program out",
                needed_by.display()
            ),
            Error::Destination(spec) => {
                write!(f, "--add {spec}: the place in the image has to be an absolute path")
            }
            Error::Name(path) => write!(f, "{}: the name is not UTF-8 and cannot be packed", path.display()),
            Error::Image { offset, what } => write!(f, "not an initramfs image at byte {offset}: {what}"),
            Error::Compression(kind) => {
                write!(f, "the image is compressed with {kind}, which is not read here; decompress it first")
            }
            Error::TooLarge(name) => {
                write!(f, "{name} is larger than 4 GiB, which the cpio format cannot hold")
            }
            Error::Keymap { name, cause } => {
                write!(f, "the keyboard layout {name} cannot be compiled: {cause}")
            }
            Error::Usage(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            Error::Index { cause, .. } | Error::Module { cause, .. } => Some(cause),
            _ => None,
        }
    }
}
