//! Volumes made by other operating systems, which no tool here can make: those of cryptsetup's own tests, from the
//! source package of Debian.

use std::fs;
use std::path::PathBuf;

use crate::cache::Cache;
use crate::debian::Apt;
use crate::program::{output, program};
use crate::{Error, debian};

/// The suite whose source package is taken; its archives are the same in all of them.
const SUITE: &str = "trixie";

/// One file of an archive in cryptsetup's `tests/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// The script's variable for it.
    pub variable: &'static str,
    /// Name of the archive.
    pub archive: &'static str,
    /// Path in it.
    pub file: &'static str,
}

impl Sample {
    /// The file, downloaded unless the cache has it.
    pub fn fetch(&self, cache: &Cache) -> Result<PathBuf, Error> {
        let directory = cache.entry("samples", self.archive, self.archive, |directory| {
            let apt = Apt::for_suite(SUITE, &debian::cache_root())?;
            let scratch = directory.with_extension("source");
            crate::cache::remove(&scratch)?;
            let tree = apt.source("cryptsetup", &scratch)?;
            fs::create_dir_all(directory).map_err(Error::io(directory))?;
            output(
                program("tar").arg("-C").arg(directory).arg("-xf").arg(tree.join("tests").join(self.archive)),
            )?;
            crate::cache::remove(&scratch)
        })?;
        let path = directory.join(self.file);
        if path.exists() {
            Ok(path)
        } else {
            Err(Error::Bed(format!("{} has no {}", self.archive, self.file)))
        }
    }
}
