//! What an image is made of, and the making.

use std::fs;
use std::path::{Path, PathBuf};

use crate::compress::Compression;
use crate::configuration::Machine;
use crate::error::{Error, Result};
use crate::extra::{self, Add};
use crate::host::Host;
use crate::image::{Layout, assemble};
use crate::kernel::Kernel;
use crate::select::{Modules, Selection, select};
use crate::tree::{Node, Tree};
use crate::{configuration, keymap, modprobe_d, output, payload, release};

/// Wishes for one image. [`Options::new`] has the defaults of `rootward build`.
#[derive(Debug, Clone)]
pub struct Options {
    /// Kernel version; `None` is the last part of `modules_dir`, else the running kernel's.
    pub kver: Option<String>,
    /// Directory with `modules.dep`; `None` is `/lib/modules/VERSION`. With a directory elsewhere, firmware and
    /// modprobe.d are looked up beside it too, and this machine's own are left out.
    pub modules_dir: Option<PathBuf>,
    /// The static `/init`; `None` looks beside the running program and in `/usr/lib/rootward`.
    pub init: Option<PathBuf>,
    /// Which drivers.
    pub modules: Modules,
    /// Further files.
    pub add: Vec<Add>,
    /// Keyboard layouts, the one to begin with first; empty is this machine's for a host-only image.
    pub keymaps: Vec<String>,
    /// Words for the kernel command line that the image brings along.
    pub cmdline: Option<String>,
    /// `None` is zstd.
    pub compression: Option<Compression>,
    /// `None` is [`Layout::PerModule`] for a universal image and [`Layout::Whole`] for the others.
    pub layout: Option<Layout>,
    /// Modification time of every file; `None` is `SOURCE_DATE_EPOCH`, else 0.
    pub mtime: Option<u32>,
    /// Where the image goes.
    pub output: PathBuf,
    /// `/sys` or its stand-in.
    pub sys: PathBuf,
    /// `/proc` or its stand-in.
    pub proc: PathBuf,
}

impl Options {
    /// A host-only image for the running kernel.
    #[must_use]
    pub fn new(output: impl Into<PathBuf>) -> Self {
        Options {
            kver: None,
            modules_dir: None,
            init: None,
            modules: Modules::HostOnly,
            add: Vec::new(),
            keymaps: Vec::new(),
            cmdline: None,
            compression: None,
            layout: None,
            mtime: None,
            output: output.into(),
            sys: "/sys".into(),
            proc: "/proc".into(),
        }
    }
}

/// What was built.
#[derive(Debug, Clone)]
pub struct Report {
    /// Size of the image in bytes.
    pub size: u64,
    /// How many files, directories included.
    pub files: usize,
    /// Kernel version.
    pub version: String,
    /// Modules, ascending by name.
    pub modules: Vec<String>,
    /// Modules that init loads at once, in order.
    pub preload: Vec<String>,
    /// Firmware files, below `/lib/firmware`.
    pub firmware: Vec<String>,
    /// Firmware that modules name and that is not installed.
    pub missing_firmware: Vec<String>,
    /// Layout that was taken.
    pub layout: Layout,
    /// Compression that was taken.
    pub compression: Compression,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// Builds an image and puts it in its place.
///
/// # Errors
/// See [`Error`]; the old image, if any, is untouched then.
pub fn build(options: &Options) -> Result<Report> {
    let version = version(options)?;
    let directory = match &options.modules_dir {
        Some(directory) => directory.clone(),
        None => Path::new("/lib/modules").join(&version),
    };
    let layout = options.layout.unwrap_or(match options.modules {
        Modules::Universal => Layout::PerModule,
        Modules::HostOnly | Modules::List(_) => Layout::Whole,
    });
    let compression = options.compression.unwrap_or(Compression::Zstd);
    let root = system_root(options, &version);

    let mut tree = skeleton();
    let init = init_file(options)?;
    tree.insert("init", Node::File(0o755, fs::read(&init).map_err(Error::io("read", &init))?));
    if let Some(words) = &options.cmdline {
        tree.file("etc/cmdline.d/00-rootward.conf", format!("{words}\n"));
    }

    for name in &options.keymaps {
        keymap::add(&mut tree, name)?;
    }

    let mut selection = Selection::default();
    let mut packed = payload::Packed::default();
    let mut refused = Vec::new();
    // A kernel with all that is needed built in has no modules, and an empty list says so.
    let none =
        matches!(&options.modules, Modules::List(names) if names.iter().all(|name| name.trim().is_empty()));
    if !none {
        let kernel = Kernel::open(&version, &directory)?;
        let mut host = Host::default();
        if options.modules == Modules::HostOnly {
            host = Host::scan(&options.sys, &options.proc);
            let machine = Machine { root: &root, host: &host, output: &options.output };
            let needs = configuration::add(&mut tree, &machine)?;
            (host.configured, refused) = (needs.modules, needs.refused);
        }
        selection = select(&kernel, &options.modules, &host)?;
        let inner = if layout == Layout::PerModule { compression } else { Compression::None };
        packed = payload::add(&mut tree, &kernel, &selection.modules, inner, &root)?;
        let own = options.modules_dir.is_none() && options.modules != Modules::Universal;
        for (name, content) in modprobe_d::files(&root, own)? {
            tree.file(&format!("etc/modprobe.d/{name}"), content);
        }
        if !selection.preload.is_empty() {
            tree.file("etc/rootward/preload", format!("{}\n", selection.preload.join("\n")));
        }
    }
    if options.modules == Modules::HostOnly && options.keymaps.is_empty() {
        selection.warnings.extend(keymap::add_own(&mut tree, &root)?);
    }
    for add in &options.add {
        extra::add(&mut tree, add)?;
    }
    let missing = refused.into_iter().filter(|(path, _)| !tree.contains(path));
    selection.warnings.extend(missing.map(|(_, text)| text));

    let files = tree.iter().count();
    let mtime = options.mtime.unwrap_or_else(source_date_epoch);
    let image = assemble(tree, layout, compression, mtime, |path| packed.stored.contains(path))?;
    output::write(&options.output, &image)?;
    Ok(Report {
        size: image.len() as u64,
        files,
        version,
        modules: selection.modules.into_iter().collect(),
        preload: selection.preload,
        firmware: packed.firmware,
        missing_firmware: packed.missing_firmware,
        layout,
        compression,
        warnings: selection.warnings,
    })
}

fn version(options: &Options) -> Result<String> {
    if let Some(version) = &options.kver {
        return Ok(version.clone());
    }
    if let Some(directory) = &options.modules_dir {
        let path = fs::canonicalize(directory).map_err(Error::io("read", directory))?;
        return path.file_name().and_then(|name| name.to_str()).map(str::to_owned).ok_or(Error::NoVersion);
    }
    let release =
        fs::read_to_string(options.proc.join("sys/kernel/osrelease")).map_err(|_| Error::NoVersion)?;
    Ok(release.trim().to_owned())
}

/// The root that the modules belong to: what stands before `lib/modules/VERSION` or `usr/lib/modules/VERSION`.
fn system_root(options: &Options, version: &str) -> PathBuf {
    let Some(directory) = &options.modules_dir else { return PathBuf::from("/") };
    let directory = fs::canonicalize(directory).unwrap_or_else(|_| directory.clone());
    for end in [format!("usr/lib/modules/{version}"), format!("lib/modules/{version}")] {
        if directory.ends_with(&end) {
            let depth = Path::new(&end).components().count();
            return directory.ancestors().nth(depth).unwrap_or(Path::new("/")).to_owned();
        }
    }
    directory
}

fn init_file(options: &Options) -> Result<PathBuf> {
    if let Some(path) = &options.init {
        return Ok(path.clone());
    }
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join("init")));
    let tried: Vec<PathBuf> = beside.into_iter().chain(["/usr/lib/rootward/init".into()]).collect();
    tried.iter().find(|path| path.is_file()).cloned().ok_or(Error::NoInit(tried))
}

/// Directories and small files that every image has.
fn skeleton() -> Tree {
    let mut tree = Tree::default();
    for (path, mode) in [("dev", 0o755), ("proc", 0o555), ("sys", 0o555), ("run", 0o755), ("sysroot", 0o755)]
    {
        tree.insert(path, Node::Directory(mode));
    }
    // The kernel opens it for init before init could mount devtmpfs (init/main.c, console_on_rootfs).
    tree.insert("dev/console", Node::Char(0o600, 5, 1));
    tree.file("etc/initrd-release", release::initrd_release());
    tree.insert("etc/os-release", Node::Symlink("initrd-release".to_owned()));
    tree
}

fn source_date_epoch() -> u32 {
    std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}
