//! What was not understood, or not as written, worded as advice to whoever wrote the command line.

use std::fmt;

/// Something about the command line that its author should know. Reading never stops because of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Diagnostic {
    /// A name in one of the initramfs's own namespaces that is not in the table.
    Unknown {
        /// The name as typed.
        name: String,
        /// Where it stands.
        source: String,
        /// The nearest known name.
        nearest: Option<&'static str>,
    },
    /// A value that cannot be used.
    BadValue {
        /// The word as typed.
        word: String,
        /// Where it stands.
        source: String,
        /// What would have been right.
        expected: String,
        /// What is used instead.
        used: String,
    },
    /// A name that needs a value stands without one.
    MissingValue {
        /// The name as typed.
        name: String,
        /// Where it stands.
        source: String,
        /// What the value should look like.
        expected: &'static str,
    },
    /// An old spelling.
    Deprecated {
        /// The name as typed.
        old: String,
        /// What to write now.
        new: String,
    },
    /// A known parameter that this version does not act on.
    NotImplemented {
        /// The name as typed.
        name: String,
        /// What it would do.
        meaning: &'static str,
    },
    /// A known parameter that has no effect in this initramfs and will not get one.
    NoEffect {
        /// The name as typed.
        name: String,
        /// What to do instead.
        advice: &'static str,
    },
    /// Two parameters that contradict each other.
    Conflict {
        /// The one that is used.
        wins: &'static str,
        /// The one that is not.
        loses: &'static str,
    },
    /// A form of `root=` or `mount.usr=` that no part of the program handles.
    UnsupportedRoot {
        /// Which of the two.
        name: &'static str,
        /// The value.
        value: String,
        /// What can be said about it.
        reason: &'static str,
    },
    /// A root hash that is none.
    BadRootHash {
        /// The parameter.
        name: &'static str,
    },
    /// A root hash that is too short to name partitions, without devices.
    ShortRootHash {
        /// The parameter.
        name: &'static str,
        /// What names the devices.
        devices: &'static str,
    },
    /// A parameter after `--`, where it reaches only the real init.
    AfterDashes {
        /// The name.
        name: String,
        /// Where it stands.
        source: String,
    },
    /// A quote that is never closed.
    OpenQuote {
        /// The name of the word in which it was opened.
        name: String,
        /// Where it stands.
        source: String,
    },
    /// Bytes that are not UTF-8 were replaced.
    NotUtf8 {
        /// The source that holds them.
        source: String,
    },
    /// A source was longer than is read.
    Truncated {
        /// The source.
        source: String,
        /// How many bytes are read.
        limit: usize,
    },
    /// A line of a crypttab that cannot be used.
    BadCrypttabLine {
        /// Line number, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The key of a crypttab line that is neither a path nor none.
    CryptKey {
        /// The mapping name.
        name: String,
        /// The key as typed.
        key: String,
    },
    /// An option of a crypttab line or of `rd.luks.options=` that is not known or has a bad value.
    CryptOption {
        /// The mapping name or container it was meant for.
        name: String,
        /// The option as typed.
        option: String,
    },
    /// An option of a crypttab line or of `rd.luks.options=` that is known but that nothing acts on yet.
    CryptOptionNotImplemented {
        /// The mapping name or container it was meant for.
        name: String,
        /// The option as typed.
        option: String,
    },
    /// A line of an mdadm.conf that cannot be used.
    BadMdadmLine {
        /// The line, shortened.
        line: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There were more of these than are kept.
    More {
        /// How many were left out.
        count: usize,
    },
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Diagnostic::Unknown { name, source, nearest: Some(nearest) } => {
                write!(f, "{source}: {name} is not a known parameter and is ignored; did you mean {nearest}?")
            }
            Diagnostic::Unknown { name, source, nearest: None } => {
                write!(f, "{source}: {name} is not a known parameter and is ignored; check its spelling")
            }
            Diagnostic::BadValue { word, source, expected, used } => {
                write!(f, "{source}: {word} cannot be used; write {expected} (now: {used})")
            }
            Diagnostic::MissingValue { name, source, expected } => {
                write!(f, "{source}: {name} needs a value and is ignored; write {name}= and {expected}")
            }
            Diagnostic::Deprecated { old, new } => write!(f, "{old} is an old spelling; write {new} instead"),
            Diagnostic::NotImplemented { name, meaning } => {
                write!(f, "{name} is known but not implemented yet and does nothing ({meaning})")
            }
            Diagnostic::NoEffect { name, advice } => write!(f, "{name} has no effect here: {advice}"),
            Diagnostic::Conflict { wins, loses } => {
                write!(f, "{wins} and {loses} contradict each other: {wins} is used; remove one of them")
            }
            Diagnostic::UnsupportedRoot { name, value, reason } => {
                write!(f, "{name}={value} cannot be used: {reason}")
            }
            Diagnostic::BadRootHash { name } => write!(
                f,
                "{name}= is no root hash: nothing can be verified by it, and nothing unverified is used in its place; \
                 write pairs of hexadecimal digits, as veritysetup format prints them"
            ),
            Diagnostic::ShortRootHash { name, devices } => write!(
                f,
                "{name}= is too short to name its partitions (32 digits): name the devices with {devices}_data= and \
                 {devices}_hash="
            ),
            Diagnostic::AfterDashes { name, source } => {
                write!(
                    f,
                    "{source}: {name} stands after `--` and reaches only the real init; move it before the `--`"
                )
            }
            Diagnostic::OpenQuote { name, source } => {
                write!(
                    f,
                    "{source}: the quote opened in {name} is never closed and takes in the rest of the line"
                )
            }
            Diagnostic::NotUtf8 { source } => {
                write!(
                    f,
                    "{source}: some bytes are not UTF-8 and were replaced; name the device in ASCII, e.g. by UUID="
                )
            }
            Diagnostic::Truncated { source, limit } => {
                write!(f, "{source}: only the first {limit} bytes are read; shorten it")
            }
            Diagnostic::BadCrypttabLine { line, reason } => {
                write!(f, "/etc/crypttab line {line}: {reason}; the line is ignored")
            }
            Diagnostic::CryptKey { name, key } => write!(
                f,
                "/etc/crypttab: {name}: the key {key} is no absolute path and is ignored; a passphrase is asked for, \
                 unless the line names a key file by its path"
            ),
            Diagnostic::CryptOption { name, option } => {
                write!(f, "{name}: the option {option} is not understood and is ignored; see crypttab(5)")
            }
            Diagnostic::CryptOptionNotImplemented { name, option } => write!(
                f,
                "{name}: the option {option} is not implemented yet; have a passphrase or key file at hand"
            ),
            Diagnostic::BadMdadmLine { line, reason } => {
                write!(f, "{line}: {reason}; the line is ignored")
            }
            Diagnostic::More { count } => {
                write!(f, "{count} further remarks on the command line were left out")
            }
        }
    }
}

/// More remarks than this help nobody, and the memory for them has to have a bound.
pub(crate) const MAX_DIAGNOSTICS: usize = 64;

/// Collects remarks up to a bound, each once.
#[derive(Debug, Default)]
pub(crate) struct Remarks {
    list: Vec<Diagnostic>,
    left_out: usize,
}

impl Remarks {
    /// Adds a remark; it is only worked out when there is room for it.
    pub(crate) fn add(&mut self, remark: impl FnOnce() -> Diagnostic) {
        if self.list.len() >= MAX_DIAGNOSTICS {
            self.left_out = self.left_out.saturating_add(1);
            return;
        }
        let remark = remark();
        if !self.list.contains(&remark) {
            self.list.push(remark);
        }
    }

    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        if self.left_out > 0 {
            self.list.push(Diagnostic::More { count: self.left_out });
        }
        self.list
    }
}

/// A word cut to a length fit for a message.
pub(crate) fn shorten(text: &str) -> String {
    const MOST: usize = 80;
    if text.chars().nth(MOST).is_none() {
        return text.to_owned();
    }
    text.chars().take(MOST).chain("...".chars()).collect()
}
