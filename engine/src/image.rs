//! What the image and the machine bring along besides the command line.

use cmdline::crypttab::CrypttabEntry;

/// Facts that are read once at start.
#[derive(Debug, Clone, Default)]
pub struct ImageFacts {
    /// The image's `/etc/crypttab`.
    pub crypttab: Vec<CrypttabEntry>,
}
