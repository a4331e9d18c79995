//! What is expensive to make is kept under a name that is a hash of everything it was made from.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::program::{feed, output, program};
use crate::{Error, debian};

/// Entries not used for this long are removed when something new is made.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What takes this long to make is said: a cold run is mostly that.
const TOLD: Duration = Duration::from_secs(5);

/// The cache directory of the test bed.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The user's cache ([`debian::cache_root`]).
    #[must_use]
    pub fn of_user() -> Self {
        Self { root: debian::cache_root() }
    }

    /// Directory with apt's state and downloads.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The entry `kind/NAME-HASH` for `recipe`, a text naming all inputs; made by `make` at the path it is
    /// given unless it is there. Made once even when several threads or processes want it.
    pub fn entry(
        &self,
        kind: &str,
        name: &str,
        recipe: &str,
        make: impl FnOnce(&Path) -> Result<(), Error>,
    ) -> Result<PathBuf, Error> {
        let directory = self.root.join(kind);
        fs::create_dir_all(&directory).map_err(Error::io(&directory))?;
        let hash = digest(recipe.as_bytes())?;
        let short = hash.get(..16).unwrap_or(&hash);
        let path = directory.join(format!("{name}-{short}"));
        let lock = directory.join(format!(".lock-{name}-{short}"));
        let guard = debian::lock(&lock)?;
        if path.exists() {
            // The time of last use, for `prune`.
            let _ = fs::File::create(&lock);
            return Ok(path);
        }
        let partial = directory.join(format!(".partial-{name}-{short}"));
        remove(&partial)?;
        let start = Instant::now();
        make(&partial)?;
        let took = start.elapsed();
        if took >= TOLD {
            crate::run::say(&format!("made    {kind}/{name} ({:.1} s)", took.as_secs_f64()));
        }
        fs::rename(&partial, &path).map_err(Error::io(&path))?;
        drop(guard);
        prune(&directory);
        Ok(path)
    }
}

/// SHA-256 in hexadecimal.
pub fn digest(bytes: &[u8]) -> Result<String, Error> {
    let output = feed(&mut program("sha256sum"), bytes)?;
    Ok(output.split_whitespace().next().unwrap_or_default().to_owned())
}

/// Removes a file or directory if it is there.
pub fn remove(path: &Path) -> Result<(), Error> {
    match path.symlink_metadata() {
        Err(_) => Ok(()),
        // A killed mmdebstrap leaves the host's own /proc, /sys and device nodes mounted in its tree.
        Ok(data) if data.is_dir() => {
            output(program("rm").args(["-r", "--force", "--one-file-system", "--"]).arg(path)).map(drop)
        }
        Ok(_) => fs::remove_file(path).map_err(Error::io(path)),
    }
}

fn prune(directory: &Path) {
    for lock in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = lock.file_name().to_string_lossy().into_owned();
        let Some(entry) = name.strip_prefix(".lock-") else { continue };
        let used = lock.metadata().and_then(|data| data.modified()).unwrap_or_else(|_| SystemTime::now());
        if SystemTime::now().duration_since(used).is_ok_and(|age| age > KEPT) {
            let _ = remove(&directory.join(entry));
            let _ = fs::remove_file(lock.path());
        }
    }
}
