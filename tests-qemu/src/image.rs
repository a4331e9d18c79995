//! Initramfs images: ours through the `rootward` command, and the almost empty one.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::guest::GuestPrograms;
use crate::kernel::{Kernel, Series};
use crate::program::{output, program};
use crate::{Error, debian};

/// Where the programs under test are.
#[derive(Debug, Clone)]
pub struct UnderTest {
    /// The `rootward` command.
    pub rootward: PathBuf,
    /// The `/init`.
    pub init: PathBuf,
}

/// A file that goes into an image, made by the bed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extra {
    /// Text at a path.
    Text(&'static str, &'static str),
    /// A symbolic name for the guest checker at a path.
    Checker(&'static str),
    /// A keyboard layout with this name, as loadkeys(1) reads it.
    Keymap(&'static str, &'static str),
    /// This many MiB of noise at a path: what stays of the initramfs after the hand-off becomes visible.
    Ballast(&'static str, usize),
}

/// Which initramfs a scenario boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image {
    /// Ours.
    Rootward {
        /// Selection and other arguments for `rootward build`.
        arguments: Vec<String>,
        /// Files added with `--add`.
        extras: Vec<Extra>,
    },
    /// The almost empty one: these modules, one mount, one exec.
    Bare(Vec<&'static str>),
}

impl Image {
    /// Ours with these modules, each of which `/init` loads. Stored uncompressed: to compress one takes as long as to
    /// boot it.
    #[must_use]
    pub fn modules(modules: &[&str]) -> Self {
        let modules = modules.join(",");
        let arguments = ["--compress", "none", "--modules", &modules].map(str::to_owned).into();
        Self::Rootward { arguments, extras: Vec::new() }
    }

    /// Ours with these modules, as `rootward build` makes it unasked.
    #[must_use]
    pub fn compressed(modules: &[&str]) -> Self {
        Self::Rootward { arguments: vec!["--modules".to_owned(), modules.join(",")], extras: Vec::new() }
    }

    /// Ours with every driver.
    #[must_use]
    pub fn universal() -> Self {
        Self::Rootward { arguments: vec!["--universal".to_owned()], extras: Vec::new() }
    }

    /// The same with one more file; the almost empty one takes none.
    #[must_use]
    pub fn with(mut self, extra: Extra) -> Self {
        if let Self::Rootward { extras, .. } = &mut self {
            extras.push(extra);
        }
        self
    }

    /// Builds it unless the cache has it.
    pub fn make(
        &self,
        kernel: &Kernel,
        under_test: &UnderTest,
        guest: &GuestPrograms,
        cache: &Cache,
    ) -> Result<PathBuf, Error> {
        match self {
            Self::Bare(modules) => bare(kernel, modules, guest, cache),
            Self::Rootward { arguments, extras } => {
                let mut recipe = format!("{}\n{arguments:?} {extras:?}\n", kernel.package);
                for file in [&under_test.rootward, &under_test.init, &guest.checker] {
                    recipe += &debian::sha256(file)?;
                }
                cache.entry("images", &format!("rootward-{}", kernel.series.name()), &recipe, |path| {
                    let mut command = program_at(&under_test.rootward);
                    command.args(["build", "--kver", &kernel.version, "--modules-dir"]).arg(&kernel.modules);
                    command.arg("--init").arg(&under_test.init).args(arguments);
                    let mut directory = path.as_os_str().to_owned();
                    directory.push(".extras");
                    let directory = PathBuf::from(directory);
                    crate::cache::remove(&directory)?;
                    fs::create_dir_all(&directory).map_err(Error::io(&directory))?;
                    for (number, extra) in extras.iter().enumerate() {
                        command.args(extra.option(&directory.join(number.to_string()), guest)?);
                    }
                    output(command.arg("-o").arg(path))?;
                    crate::cache::remove(&directory)
                })
            }
        }
    }
}

impl Extra {
    /// The option of `rootward build` that brings it; `place` is free for files.
    fn option(&self, place: &Path, guest: &GuestPrograms) -> Result<[String; 2], Error> {
        let add = |destination: &str| ["--add".to_owned(), format!("{}:{destination}", place.display())];
        match self {
            Self::Text(destination, text) => {
                fs::write(place, text).map_err(Error::io(place))?;
                Ok(add(destination))
            }
            Self::Checker(destination) => {
                fs::copy(&guest.checker, place).map_err(Error::io(place))?;
                Ok(add(destination))
            }
            Self::Keymap(name, text) => {
                fs::create_dir(place).map_err(Error::io(place))?;
                let file = place.join(format!("{name}.kmap"));
                fs::write(&file, text).map_err(Error::io(&file))?;
                Ok(["--keymap".to_owned(), file.display().to_string()])
            }
            Self::Ballast(destination, mebibytes) => {
                // A linear congruential generator is noise enough for a compressor, and reproducible.
                let mut state = 0x2545_f491_4f6c_dd1d_u64;
                let mut noise = Vec::with_capacity(mebibytes << 20);
                while noise.len() < mebibytes << 20 {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    noise.extend((state >> 32).to_le_bytes().into_iter().take(4));
                }
                fs::write(place, noise).map_err(Error::io(place))?;
                Ok(add(destination))
            }
        }
    }
}

fn program_at(path: &Path) -> std::process::Command {
    program(&path.to_string_lossy())
}

/// The almost empty image, stored uncompressed except for what the modules bring along.
pub fn bare(
    kernel: &Kernel,
    modules: &[&str],
    guest: &GuestPrograms,
    cache: &Cache,
) -> Result<PathBuf, Error> {
    let recipe = format!("{}\n{modules:?}\n{}", kernel.package, debian::sha256(&guest.bare_init)?);
    cache.entry("images", &format!("bare-{}", kernel.series.name()), &recipe, |path| {
        let mut archive = Newc::default();
        let init = fs::read(&guest.bare_init).map_err(Error::io(&guest.bare_init))?;
        archive.file("init", 0o755, &init);
        for directory in ["dev", "lib"] {
            archive.directory(directory);
        }
        let mut list = String::new();
        for file in kernel.select(modules)? {
            let name = file.rsplit('/').next().unwrap_or(&file);
            let source = kernel.modules.join(&file);
            archive.file(&format!("lib/{name}"), 0o644, &fs::read(&source).map_err(Error::io(&source))?);
            list += &format!("/lib/{name}\n");
        }
        archive.file("modules", 0o644, list.as_bytes());
        fs::write(path, archive.finish()).map_err(Error::io(path))
    })
}

/// Writer of the kernel's cpio dialect (Documentation/driver-api/early-userspace/buffer-format.rst). Not the
/// one of `pack`: the yardstick must not share its faults.
#[derive(Debug, Default)]
struct Newc {
    bytes: Vec<u8>,
    inode: u32,
}

impl Newc {
    fn directory(&mut self, name: &str) {
        self.record(name, 0o040_755, &[]);
    }

    fn file(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.record(name, 0o100_000 | mode, content);
    }

    fn finish(mut self) -> Vec<u8> {
        self.record("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn record(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.inode += 1;
        let size = content.len();
        let (inode, length) = (self.inode, name.len() + 1);
        // magic, ino, mode, uid, gid, nlink, mtime, filesize, dev, rdev, namesize, check
        let head = format!(
            "070701{inode:08x}{mode:08x}{0:08x}{0:08x}{1:08x}{0:08x}{size:08x}{0:08x}{0:08x}{0:08x}{0:08x}\
             {length:08x}{0:08x}{name}\0",
            0, 1
        );
        self.bytes.extend(head.as_bytes());
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// Size of an image in bytes.
#[must_use]
pub fn size(path: &Path) -> u64 {
    path.metadata().map_or(0, |data| data.size())
}

/// Makes a copy executable; for programs put into trees.
pub fn install(from: &Path, to: &Path) -> Result<(), Error> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(Error::io(parent))?;
    }
    fs::copy(from, to).map_err(Error::io(from))?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).map_err(Error::io(to))
}

/// Modules every root must offer to the checker on this kernel, built in or not.
pub const CHECKER_MODULES: &[&str] = &["virtio_pci", "virtio_console"];

/// Writes `text` to a file of a tree, making its directory.
pub fn place(root: &Path, path: &str, text: &str) -> Result<(), Error> {
    let to = root.join(path.trim_start_matches('/'));
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(Error::io(parent))?;
    }
    fs::File::create(&to).and_then(|mut file| file.write_all(text.as_bytes())).map_err(Error::io(&to))
}

/// For names of cache entries that depend on both kernels.
#[must_use]
pub fn packages(kernels: &[Kernel]) -> String {
    kernels.iter().map(|kernel| kernel.package.as_str()).collect::<Vec<_>>().join(" ")
}

/// The kernel of a series among those fetched.
pub fn of_series(kernels: &[Kernel], series: Series) -> Result<&Kernel, Error> {
    kernels
        .iter()
        .find(|kernel| kernel.series == series)
        .ok_or_else(|| Error::Bed(format!("kernel {} was not fetched", series.name())))
}
