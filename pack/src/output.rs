//! A file that is there as a whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Removes the temporary file unless the rename has taken place.
struct Temporary(Option<PathBuf>);

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            // Nothing more can be done about a file that cannot be removed.
            let _ = fs::remove_file(path);
        }
    }
}

/// Writes `content` to a new file beside `path`, makes sure that it is on disk, and renames it to `path`.
///
/// The mode is 0600: an image can hold key files. Whoever is killed in between leaves a file whose name begins with a
/// dot and ends in `.partial`, never half an image.
///
/// # Errors
/// Whatever the file system says.
pub fn write(path: &Path, content: &[u8]) -> Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name =
        path.file_name().ok_or_else(|| Error::Usage(format!("{} is not a file name", path.display())))?;
    let hidden = format!(".{}.{}.partial", name.to_string_lossy(), std::process::id());
    let partial = directory.join(hidden);
    let mut guard = Temporary(Some(partial.clone()));
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)
        .map_err(Error::io("create", &partial))?;
    file.write_all(content).map_err(Error::io("write", &partial))?;
    file.sync_all().map_err(Error::io("write", &partial))?;
    drop(file);
    fs::rename(&partial, path).map_err(Error::io("rename to", path))?;
    guard.0 = None;
    // The rename itself is on disk once the directory is.
    let directory_file = File::open(directory).map_err(Error::io("open", directory))?;
    directory_file.sync_all().map_err(Error::io("sync", directory))
}
