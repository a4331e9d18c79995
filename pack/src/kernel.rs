//! The modules of one kernel as depmod left them in `/lib/modules/VERSION`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cmdline::plan::ModulePlan;
use engine::modules::{Catalog, Files};
use ondisk::kmod::{Config, Index, name_of_path};

use crate::error::{Error, Result};
use crate::index_writer;

/// What is known of a kernel's modules.
pub struct Kernel {
    /// Its version.
    pub version: String,
    /// `/lib/modules/VERSION` or its stand-in.
    pub directory: PathBuf,
    /// Answers which module a name stands for and what it needs; knows nothing of this machine's blacklists.
    pub catalog: Catalog,
    /// Path below `directory` by module name.
    pub paths: BTreeMap<String, String>,
    /// `modules.dep.bin`, values as depmod wrote them.
    pub dep: Vec<index_writer::Entry>,
    /// `modules.alias.bin`.
    pub alias: Vec<index_writer::Entry>,
    /// `modules.builtin.bin` and `modules.builtin.alias.bin`, packed as they are.
    pub builtin: Vec<u8>,
    /// See `builtin`; empty where depmod is too old to write it.
    pub builtin_alias: Vec<u8>,
    /// `modules.softdep`, `modules.weakdep`: lines that are not comments.
    pub softdep: Vec<String>,
}

impl Kernel {
    /// Reads the lists of a kernel.
    ///
    /// # Errors
    /// No `modules.dep`, or lists that cannot be read.
    pub fn open(version: &str, directory: &Path) -> Result<Self> {
        let dep = entries(directory, "modules.dep", dep_line)?
            .ok_or_else(|| Error::NoModules(directory.to_owned()))?;
        let alias = entries(directory, "modules.alias", alias_line)?.unwrap_or_default();
        let builtin = match optional(&directory.join("modules.builtin.bin"))? {
            Some(bytes) => bytes,
            None => {
                index_writer::write(entries(directory, "modules.builtin", builtin_line)?.unwrap_or_default())
            }
        };
        let builtin_alias = optional(&directory.join("modules.builtin.alias.bin"))?.unwrap_or_default();
        let mut softdep = Vec::new();
        let mut config = Config::default();
        for name in ["modules.softdep", "modules.weakdep"] {
            let text = optional(&directory.join(name))?.unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            config.add_declared(&text);
            softdep.extend(text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned));
        }
        let files = Files {
            dep: index_writer::write(dep.clone()),
            alias: index_writer::write(alias.clone()),
            builtin: builtin.clone(),
            builtin_alias: builtin_alias.clone(),
        };
        let catalog = Catalog::new(files, config, &ModulePlan::default())
            .map_err(|error| Error::Index { path: directory.join(error.file), cause: error.cause })?;
        let path = |(name, values): &index_writer::Entry| {
            let (_, line) = values.first()?;
            Some((name.clone(), line.split_once(':')?.0.to_owned()))
        };
        let paths = dep.iter().filter_map(path).collect();
        let (version, directory) = (version.to_owned(), directory.to_owned());
        Ok(Kernel { version, directory, catalog, paths, dep, alias, builtin, builtin_alias, softdep })
    }

    /// The file of a module.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<PathBuf> {
        // A path in modules.dep may be absolute; join keeps it then.
        self.paths.get(name).map(|path| self.directory.join(path))
    }
}

/// The content of a file, `None` if there is none.
pub(crate) fn optional(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// One list, from its index, else from its text, where `line` makes key and value of each line.
fn entries(
    directory: &Path,
    name: &str,
    line: fn(&str) -> Option<(String, String)>,
) -> Result<Option<Vec<index_writer::Entry>>> {
    let path = directory.join(format!("{name}.bin"));
    if let Some(bytes) = optional(&path)? {
        let index = Index::parse(bytes).and_then(|index| {
            let own = |(key, values): (String, Vec<ondisk::kmod::Match<'_>>)| {
                (key, values.iter().map(|found| (found.priority, found.value.to_owned())).collect())
            };
            Ok(index.dump()?.into_iter().map(own).collect())
        });
        return index.map(Some).map_err(|cause| Error::Index { path, cause });
    }
    let Some(text) = optional(&directory.join(name))? else { return Ok(None) };
    let text = String::from_utf8_lossy(&text);
    let mut entries: BTreeMap<String, Vec<(u32, String)>> = BTreeMap::new();
    // depmod writes its lists in load order.
    for ((key, value), priority) in text.lines().filter_map(line).zip(0..) {
        entries.entry(key).or_default().push((priority, value));
    }
    Ok(Some(entries.into_iter().collect()))
}

fn dep_line(line: &str) -> Option<(String, String)> {
    let (path, _) = line.split_once(':')?;
    Some((name_of_path(path), line.trim_end().to_owned()))
}

fn alias_line(line: &str) -> Option<(String, String)> {
    let mut words = line.strip_prefix("alias ")?.split_whitespace();
    Some((ondisk::kmod::alias_name(words.next()?)?, words.next()?.to_owned()))
}

fn builtin_line(line: &str) -> Option<(String, String)> {
    (!line.is_empty()).then(|| (name_of_path(line), String::new()))
}
