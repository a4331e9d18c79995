//! What the image and the machine bring along besides the command line.

/// One row of crypttab(5).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// Name below `/dev/mapper`.
    pub name: String,
    /// `UUID=...` and its like, or a path.
    pub device: String,
    /// Key file, unless `none` or `-`.
    pub key_file: Option<String>,
    /// Options, split at commas.
    pub options: Vec<String>,
}

/// Facts that are read once at start.
#[derive(Debug, Clone, Default)]
pub struct ImageFacts {
    /// The image's `/etc/crypttab`.
    pub crypttab: Vec<Entry>,
}
