//! What can go wrong in the hands, told as advice to an operator.

use std::fmt;
use std::io;
use std::path::Path;

use engine::Failure;

/// Result of everything that touches the kernel.
pub type Result<T, E = InitError> = std::result::Result<T, E>;

/// Why something could not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InitError {
    /// The operating system refused.
    Os {
        /// What was attempted, on what, in the infinitive: `mount /dev/vda1 on /sysroot as ext4`.
        what: String,
        /// Linux errno.
        errno: i32,
        /// What to try next, if there is something better to say than errno's text.
        advice: Option<String>,
    },
    /// The device vanished while it was worked on.
    Gone(String),
    /// A module is neither in the image nor built into the kernel.
    NoModule(String),
    /// Something was found, but is not as it must be.
    Unfit {
        /// What was looked at: a path, a device, a setting.
        what: String,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// The engine's own words for it.
    Failed(Failure),
}

impl InitError {
    /// The operating system refused `what` (infinitive phrase) with this error number.
    pub fn os(what: impl Into<String>, errno: impl Errno) -> InitError {
        InitError::Os { what: what.into(), errno: errno.number(), advice: None }
    }

    /// `what` is not as it must be.
    pub fn unfit(what: impl Into<String>, why: impl Into<String>) -> InitError {
        InitError::Unfit { what: what.into(), why: why.into() }
    }

    /// Adds what to try next.
    #[must_use]
    pub fn advise(self, text: impl Into<String>) -> InitError {
        match self {
            InitError::Os { what, errno, .. } => InitError::Os { what, errno, advice: Some(text.into()) },
            other => other,
        }
    }

    /// Linux errno, if the operating system was the one who refused.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            InitError::Os { errno, .. } | InitError::Failed(Failure::Os { errno, .. }) => Some(*errno),
            _ => None,
        }
    }
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InitError::Os { what, errno, advice } => {
                write!(f, "cannot {what}: {}", io::Error::from_raw_os_error(*errno))?;
                advice.iter().try_for_each(|advice| write!(f, "; {advice}"))
            }
            InitError::Gone(device) => write!(f, "{device} vanished while it was worked on"),
            InitError::NoModule(name) => {
                write!(
                    f,
                    "module {name} is neither in the image nor built into this kernel; rebuild the image with it"
                )
            }
            InitError::Unfit { what, why } => write!(f, "{what}: {why}"),
            InitError::Failed(failure) => failure.fmt(f),
        }
    }
}

impl std::error::Error for InitError {}

impl From<Failure> for InitError {
    fn from(failure: Failure) -> InitError {
        InitError::Failed(failure)
    }
}

impl From<InitError> for Failure {
    fn from(error: InitError) -> Failure {
        match error {
            InitError::Os { what, errno, advice: None } => Failure::Os { what, errno },
            InitError::Gone(_) => Failure::Gone,
            InitError::NoModule(name) => Failure::NoModule(name),
            InitError::Failed(failure) => failure,
            other => Failure::Other(other.to_string()),
        }
    }
}

/// An error type that carries a Linux errno.
pub trait Errno {
    /// The errno; `EIO` when the error has none.
    fn number(&self) -> i32;
}

impl Errno for i32 {
    fn number(&self) -> i32 {
        *self
    }
}

impl Errno for rustix::io::Errno {
    fn number(&self) -> i32 {
        self.raw_os_error()
    }
}

impl Errno for nix::errno::Errno {
    fn number(&self) -> i32 {
        *self as i32
    }
}

impl Errno for io::Error {
    fn number(&self) -> i32 {
        self.raw_os_error().unwrap_or(rustix::io::Errno::IO.raw_os_error())
    }
}

/// Says what was attempted when a call fails.
pub trait Context<T> {
    /// `what` is an infinitive phrase that names the object, e.g. `load module ext4`; formatted on failure only.
    ///
    /// # Errors
    /// The original error as [`InitError::Os`].
    fn context(self, what: impl FnOnce() -> String) -> Result<T>;

    /// The common case: a verb and a path, e.g. `("open", "/dev/vda")`.
    ///
    /// # Errors
    /// The original error as [`InitError::Os`].
    fn on(self, verb: &str, path: impl AsRef<Path>) -> Result<T>
    where
        Self: Sized,
    {
        self.context(|| format!("{verb} {}", path.as_ref().display()))
    }
}

impl<T, E: Errno> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| InitError::os(what(), error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_object_the_reason_and_the_advice() {
        let refused: std::result::Result<(), _> = Err(rustix::io::Errno::NOENT);
        let error = refused.on("open", "/dev/vda").unwrap_err();
        assert_eq!(error.to_string(), "cannot open /dev/vda: No such file or directory (os error 2)");
        assert_eq!(error.errno(), Some(2));
        let text = error.advise("is the disk attached?").to_string();
        assert!(text.ends_with("(os error 2); is the disk attached?"), "{text}");
    }

    #[test]
    fn the_engine_gets_the_errno_or_the_words() {
        let plain = InitError::os("mount x", rustix::io::Errno::BUSY);
        assert_eq!(Failure::from(plain.clone()), Failure::Os { what: "mount x".into(), errno: 16 });
        assert!(matches!(Failure::from(plain.advise("wait")), Failure::Other(text) if text.contains("wait")));
    }
}
