//! Module files, firmware and the kernel's lists, cut down to what is packed.

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use ondisk::kmod::{ModInfo, module_name};

use crate::compress::Compression;
use crate::error::{Error, Result};
use crate::firmware;
use crate::index_writer::{self, Entry};
use crate::kernel::Kernel;
use crate::tree::Tree;

/// What was put into the tree.
#[derive(Debug, Default)]
pub struct Packed {
    /// Paths of files that are compressed already.
    pub stored: BTreeSet<String>,
    /// Firmware, below `/lib/firmware`.
    pub firmware: Vec<String>,
    /// Firmware that was not found.
    pub missing_firmware: Vec<String>,
}

struct Module {
    /// Below `lib/modules/VERSION` in the image.
    path: String,
    content: Vec<u8>,
    firmware: Vec<String>,
}

/// Puts modules, their firmware and the lists into the tree; modules are compressed one by one with `inner`.
///
/// # Errors
/// Files that cannot be read or are not modules.
pub fn add(
    tree: &mut Tree,
    kernel: &Kernel,
    modules: &BTreeSet<String>,
    inner: Compression,
    root: &Path,
) -> Result<Packed> {
    let mut packed = Packed::default();
    let base = format!("lib/modules/{}", kernel.version);
    let mut wanted_firmware = BTreeSet::new();
    for module in load_all(kernel, modules, inner)? {
        let path = format!("{base}/{}", module.path);
        wanted_firmware.extend(module.firmware);
        tree.file(&path, module.content);
        if inner != Compression::None {
            packed.stored.insert(path);
        }
    }
    for name in wanted_firmware {
        let found = firmware::find(root, &kernel.version, &name);
        if found.is_empty() {
            packed.missing_firmware.push(name);
        }
        for (file, name) in found {
            let path = format!("lib/firmware/{name}");
            tree.file(&path, fs::read(&file).map_err(Error::io("read", &file))?);
            if Compression::of_file(&name) != Compression::None {
                packed.stored.insert(path);
            }
            packed.firmware.push(name);
        }
    }
    tree.file(&format!("{base}/modules.dep.bin"), index_writer::write(dep(kernel, modules, inner)));
    tree.file(&format!("{base}/modules.alias.bin"), index_writer::write(alias(kernel, modules)));
    tree.file(&format!("{base}/modules.builtin.bin"), kernel.builtin.clone());
    if !kernel.builtin_alias.is_empty() {
        tree.file(&format!("{base}/modules.builtin.alias.bin"), kernel.builtin_alias.clone());
    }
    let packed_one = |line: &&String| {
        line.split_whitespace().nth(1).is_some_and(|name| modules.contains(&module_name(name)))
    };
    let softdep: String = kernel.softdep.iter().filter(packed_one).map(|line| format!("{line}\n")).collect();
    if !softdep.is_empty() {
        tree.file(&format!("{base}/modules.softdep"), softdep);
    }
    Ok(packed)
}

/// The path that a module has in the image: its own, with the end that its compression asks for.
fn image_path(path: &str, inner: Compression) -> String {
    let stem = path.find(".ko").map_or(path, |at| &path[..at]).trim_start_matches('/');
    let end = match inner {
        Compression::None => "",
        Compression::Zstd => ".zst",
        Compression::Gzip => ".gz",
        Compression::Xz => ".xz",
    };
    format!("{stem}.ko{end}")
}

fn load(kernel: &Kernel, name: &str, inner: Compression) -> Result<Option<Module>> {
    let (Some(path), Some(file)) = (kernel.paths.get(name), kernel.file(name)) else { return Ok(None) };
    let bytes = fs::read(&file).map_err(Error::io("read", &file))?;
    let (content, _) = Compression::of_file(path).unpack(&bytes).map_err(Error::io("unpack", &file))?;
    let info = ModInfo::from_elf(&content).map_err(|cause| Error::Module { path: file.clone(), cause })?;
    let firmware = info.firmware().map(str::to_owned).collect();
    let content = inner.pack(&content).map_err(Error::io("compress", &file))?;
    Ok(Some(Module { path: image_path(path, inner), content, firmware }))
}

/// Reads and packs all modules, on every processor; the order of the result is that of the names.
fn load_all(kernel: &Kernel, modules: &BTreeSet<String>, inner: Compression) -> Result<Vec<Module>> {
    let names: Vec<&String> = modules.iter().collect();
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((n, name)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|n| Some((n, names.get(n)?)))
                {
                    let module = load(kernel, name, inner);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((n, module));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(n, _)| *n);
    results.into_iter().filter_map(|(_, module)| module.transpose()).collect()
}

/// `modules.dep` for the packed modules, with the names that their files have in the image.
fn dep(kernel: &Kernel, modules: &BTreeSet<String>, inner: Compression) -> Vec<Entry> {
    let rewrite = |line: &str| {
        let (path, deps) = line.split_once(':').unwrap_or((line, ""));
        let deps: String =
            deps.split_whitespace().map(|dep| format!(" {}", image_path(dep, inner))).collect();
        format!("{}:{deps}", image_path(path, inner))
    };
    let entries = kernel.dep.iter().filter(|(name, _)| modules.contains(name));
    let line = |values: &[(u32, String)]| values.iter().map(|(n, line)| (*n, rewrite(line))).collect();
    entries.map(|(name, values)| (name.clone(), line(values))).collect()
}

/// `modules.alias` for the packed modules.
fn alias(kernel: &Kernel, modules: &BTreeSet<String>) -> Vec<Entry> {
    let entries = kernel.alias.iter().filter_map(|(alias, values)| {
        let values: Vec<_> = values.iter().filter(|(_, name)| modules.contains(name)).cloned().collect();
        (!values.is_empty()).then(|| (alias.clone(), values))
    });
    entries.collect()
}
