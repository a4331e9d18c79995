//! Files that the user adds, with the libraries that they need.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use crate::elf::{self, Object};
use crate::error::{Error, Result};
use crate::tree::{Node, Tree};

/// Where libraries lie when nothing else says so (ld.so(8)); Debian's per-architecture ones are in ld.so.conf.d.
const DEFAULT_DIRECTORIES: [&str; 4] = ["/lib64", "/usr/lib64", "/lib", "/usr/lib"];
/// Symbolic links in a row (Linux' own limit).
const MAX_LINKS: usize = 40;

/// One `--add`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Add {
    /// On this machine; a directory is added with all that is in it.
    pub source: PathBuf,
    /// In the image; the same place when `None`.
    pub destination: Option<String>,
}

/// Adds a file, link or directory and everything that its programs need. Modes and symbolic links are kept; where a
/// destination is given, a link is followed and the file itself put there.
///
/// # Errors
/// Files that cannot be read, names that are not UTF-8, libraries that do not exist.
pub fn add(tree: &mut Tree, add: &Add) -> Result<()> {
    let mut packing = Packing { tree, search: None, done: BTreeSet::new() };
    match &add.destination {
        Some(destination) if !destination.starts_with('/') => Err(Error::Destination(destination.clone())),
        Some(destination) => {
            let source = fs::canonicalize(&add.source).map_err(Error::io("read", &add.source))?;
            packing.place(&source, &normal(Path::new(destination))?, 0)
        }
        None => {
            let source = std::path::absolute(&add.source).map_err(Error::io("read", &add.source))?;
            let place = normal(&source)?;
            packing.place(&source, &place, 0)
        }
    }
}

struct Packing<'a> {
    tree: &'a mut Tree,
    /// Directories of ld.so.conf and the default ones, once somebody needs them.
    search: Option<Vec<PathBuf>>,
    done: BTreeSet<String>,
}

impl Packing<'_> {
    fn place(&mut self, source: &Path, place: &str, depth: usize) -> Result<()> {
        if depth > MAX_LINKS || !self.done.insert(place.to_owned()) {
            return Ok(());
        }
        let facts = fs::symlink_metadata(source).map_err(Error::io("read", source))?;
        let mode = facts.permissions().mode() & 0o7777;
        if facts.is_symlink() {
            let target = fs::read_link(source).map_err(Error::io("read", source))?;
            let text = target.to_str().ok_or_else(|| Error::Name(target.clone()))?;
            self.tree.insert(place, Node::Symlink(text.to_owned()));
            let directory = source.parent().unwrap_or(Path::new("/"));
            let inside = Path::new(place).parent().unwrap_or(Path::new("/"));
            return self.place(&directory.join(&target), &normal(&inside.join(&target))?, depth + 1);
        }
        if facts.is_dir() {
            self.tree.insert(place, Node::Directory(mode));
            let entries = fs::read_dir(source).map_err(Error::io("read", source))?;
            for entry in entries {
                let name = entry.map_err(Error::io("read", source))?.file_name();
                let name = name.to_str().ok_or_else(|| Error::Name(source.join(&name)))?;
                self.place(&source.join(name), &format!("{place}/{name}"), depth)?;
            }
            return Ok(());
        }
        if !facts.is_file() {
            // Devices and sockets of this machine mean nothing there; character devices come from devtmpfs.
            let _ = facts.rdev();
            return Ok(());
        }
        let content = fs::read(source).map_err(Error::io("read", source))?;
        let object = elf::read(&content);
        self.tree.insert(place, Node::File(mode, content));
        match object {
            Some(object) => self.needs(source, &object),
            None => Ok(()),
        }
    }

    fn needs(&mut self, source: &Path, object: &Object) -> Result<()> {
        if let Some(interpreter) = &object.interpreter {
            self.place(Path::new(interpreter), &normal(Path::new(interpreter))?, 0)?;
        }
        for name in &object.needed {
            let library = self
                .library(source, object, name)
                .ok_or_else(|| Error::Library { name: name.clone(), needed_by: source.to_owned() })?;
            self.place(&library, &normal(&library)?, 0)?;
        }
        Ok(())
    }

    /// The file that ld.so would take, without its cache: that can be older than the files.
    fn library(&mut self, source: &Path, object: &Object, name: &str) -> Option<PathBuf> {
        let fits = |path: &Path| {
            let found = fs::read(path).ok().and_then(|bytes| elf::read(&bytes));
            found.is_some_and(|found| found.kind == object.kind)
        };
        if name.contains('/') {
            return Some(PathBuf::from(name)).filter(|path| fits(path));
        }
        let origin = fs::canonicalize(source).ok()?.parent()?.to_str()?.to_owned();
        let own = if object.runpath.is_empty() { &object.rpath } else { &object.runpath };
        let own = own
            .iter()
            .map(|dir| PathBuf::from(dir.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin)));
        let search = self.search.get_or_insert_with(|| {
            let mut directories = Vec::new();
            ld_so_conf(Path::new("/etc/ld.so.conf"), 0, &mut directories);
            directories.extend(DEFAULT_DIRECTORIES.map(PathBuf::from));
            directories
        });
        own.chain(search.iter().cloned()).map(|dir| dir.join(name)).find(|path| fits(path))
    }
}

/// Directories named in ld.so.conf and the files that it includes.
fn ld_so_conf(path: &Path, depth: usize, directories: &mut Vec<PathBuf>) {
    let Ok(text) = fs::read_to_string(path) else { return };
    for line in text.lines().map(|line| line.split('#').next().unwrap_or("").trim()) {
        if let Some(pattern) = line.strip_prefix("include").filter(|_| depth < 8) {
            let pattern = path.parent().unwrap_or(Path::new("/")).join(pattern.trim());
            let (Some(directory), Some(name)) =
                (pattern.parent(), pattern.file_name().and_then(|n| n.to_str()))
            else {
                continue;
            };
            let Ok(entries) = fs::read_dir(directory) else { continue };
            let mut files: Vec<PathBuf> = entries
                .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
                .filter(|file| ondisk::kmod::glob::matches(name, file))
                .map(|file| directory.join(file))
                .collect();
            files.sort();
            files.iter().for_each(|file| ld_so_conf(file, depth + 1, directories));
        } else if line.starts_with('/') {
            directories.push(PathBuf::from(line));
        }
    }
}

/// An absolute path without `.` and `..`, as text.
fn normal(path: &Path) -> Result<String> {
    let mut parts: Vec<&str> = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str().ok_or_else(|| Error::Name(path.to_owned()))?),
            Component::ParentDir => {
                parts.pop();
            }
            _ => {}
        }
    }
    Ok(format!("/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    #[test]
    fn links_modes_and_directories_are_kept() {
        let scratch = Scratch::new("extra");
        let file = scratch.file("dir/real", b"text");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o4750)).unwrap();
        scratch.link("dir/link", "real");
        let source = scratch.path().join("dir");
        let mut tree = Tree::default();
        add(&mut tree, &Add { source: source.clone(), destination: Some("/opt/x".into()) }).unwrap();
        let found: Vec<_> = tree.iter().filter(|(_, node)| !matches!(node, Node::Directory(_))).collect();
        assert_eq!(
            found,
            [
                ("opt/x/link", &Node::Symlink("real".into())),
                ("opt/x/real", &Node::File(0o4750, b"text".to_vec()))
            ]
        );
        // A destination for a link means the file behind it.
        let mut tree = Tree::default();
        add(&mut tree, &Add { source: source.join("link"), destination: Some("/key".into()) }).unwrap();
        assert!(matches!(tree.iter().next(), Some(("key", Node::File(0o4750, _)))));
        let relative = Add { source, destination: Some("x".into()) };
        assert!(matches!(add(&mut tree, &relative), Err(Error::Destination(_))));
    }

    #[test]
    fn a_program_brings_what_it_needs() {
        let mut tree = Tree::default();
        add(&mut tree, &Add { source: "/bin/ls".into(), destination: None }).unwrap();
        let interpreter = elf::read(&fs::read("/bin/ls").unwrap()).unwrap().interpreter.unwrap();
        assert!(tree.contains(&interpreter));
        assert!(tree.iter().any(|(path, _)| path.ends_with("/libc.so.6") || path.contains("/ld-musl")));
        // Every link leads to something in the image.
        for (path, node) in tree.iter() {
            if let Node::Symlink(target) = node {
                let directory = Path::new("/").join(path).parent().unwrap().to_owned();
                assert!(tree.contains(&normal(&directory.join(target)).unwrap()), "{path} -> {target}");
            }
        }
    }
}
