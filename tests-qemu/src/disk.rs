//! Disk images made by the real tools, without mounting anything on the host.
//!
//! Identifiers are fixed, so that scenarios can name them; the bed checks with blkid that the tools took
//! them, and keeps what blkid says next to each image.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::cache::Cache;
use crate::program::{feed, output, program};
use crate::rootfs::mebibytes;

/// File systems that a root may have here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filesystem {
    /// ext4
    Ext4,
    /// xfs
    Xfs,
    /// btrfs
    Btrfs,
}

impl Filesystem {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ext4, Self::Xfs, Self::Btrfs];

    /// Type name for mount(2), also part of labels.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// UUID of the root file system.
    #[must_use]
    pub fn uuid(self) -> &'static str {
        match self {
            Self::Ext4 => "3b7d1f5e-8f2c-4a8e-9b1d-0a6f5c2e4e01",
            Self::Xfs => "3b7d1f5e-8f2c-4a8e-9b1d-0a6f5c2e4f02",
            Self::Btrfs => "3b7d1f5e-8f2c-4a8e-9b1d-0a6f5c2e4b03",
        }
    }

    /// Label of the root file system: a space, a slash and a letter beyond ASCII want udev's encoding.
    /// xfs has room for 12 bytes only.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Ext4 => "root/ext \u{e9}4",
            Self::Xfs => "root/x fs",
            Self::Btrfs => "root btrfs/1",
        }
    }

    /// PARTUUID of the root partition.
    #[must_use]
    pub fn partuuid(self) -> &'static str {
        match self {
            Self::Ext4 => "7c0e6c1a-52a5-4d3e-8a57-6d2b8c9e0e01",
            Self::Xfs => "7c0e6c1a-52a5-4d3e-8a57-6d2b8c9e0f02",
            Self::Btrfs => "7c0e6c1a-52a5-4d3e-8a57-6d2b8c9e0b03",
        }
    }

    /// PARTLABEL of the root partition.
    #[must_use]
    pub fn partlabel(self) -> &'static str {
        match self {
            Self::Ext4 => "rootward-ext4",
            Self::Xfs => "rootward-xfs",
            Self::Btrfs => "rootward-btrfs",
        }
    }
}

/// UUID of a file system on a whole disk ([`plain_ext4`]).
pub const PLAIN_UUID: &str = "2a1f0d7c-3c55-4c0f-8d6e-5b1c7d9e0000";

/// File name of an image in its directory of the cache.
const IMAGE: &str = "disk.raw";
/// Where the only partition begins.
const PARTITION_START: u64 = 1 << 20;
/// Room for the backup GPT.
const PARTITION_END: u64 = 1 << 20;

/// Sparse file of zeros.
pub fn blank(path: &Path, size: u64) -> Result<(), Error> {
    fs::File::create(path).and_then(|file| file.set_len(size)).map_err(Error::io(path))
}

/// An ext4 image of a tree, on the whole disk.
pub fn plain_ext4(tree: &Path, name: &str, cache: &Cache) -> Result<PathBuf, Error> {
    let recipe = format!("ext4 {}", tree.display());
    let directory = cache.entry("disks", name, &recipe, |directory| {
        let path = directory.join(IMAGE);
        fs::create_dir_all(directory).map_err(Error::io(directory))?;
        make_filesystem(Filesystem::Ext4, tree, &path, PLAIN_UUID, name)?;
        record_content(&path)
    })?;
    Ok(directory.join(IMAGE))
}

/// A GPT disk with one partition holding `tree` on `filesystem`, all identifiers as [`Filesystem`] says.
pub fn partitioned(filesystem: Filesystem, tree: &Path, cache: &Cache) -> Result<PathBuf, Error> {
    let recipe = format!("gpt {filesystem:?} {} {}", tree.display(), filesystem.label());
    let directory = cache.entry("disks", &format!("gpt-{}", filesystem.name()), &recipe, |directory| {
        fs::create_dir_all(directory).map_err(Error::io(directory))?;
        let (path, content) = (&directory.join(IMAGE), directory.join("content"));
        make_filesystem(filesystem, tree, &content, filesystem.uuid(), filesystem.label())?;
        let size = content.metadata().map_err(Error::io(&content))?.len();
        blank(path, PARTITION_START + size + PARTITION_END)?;
        let table = format!(
            "label: gpt\nlabel-id: 51c0ffee-0000-4000-8000-00000000000{}\nstart={}, size={}, type=linux, \
             uuid={}, name=\"{}\"\n",
            filesystem as u8,
            PARTITION_START / 512,
            size / 512,
            filesystem.partuuid(),
            filesystem.partlabel()
        );
        feed(program("sfdisk").arg("--quiet").arg(path), table.as_bytes())?;
        output(
            program("dd")
                .arg(format!("if={}", content.display()))
                .arg(format!("of={}", path.display()))
                .args(["bs=1M", "seek=1", "conv=sparse,notrunc", "status=none"]),
        )?;
        crate::cache::remove(&content)?;
        record_content(path)?;
        let partition = probe(path, PARTITION_START, size)?;
        for (key, value) in [("UUID", filesystem.uuid()), ("TYPE", filesystem.name())] {
            if !partition.lines().any(|line| line == format!("{key}={value}")) {
                return Err(Error::Bed(format!("blkid does not see {key}={value} but\n{partition}")));
            }
        }
        let notes = notes(path);
        let all = fs::read_to_string(&notes).unwrap_or_default() + "# partition 1\n" + &partition;
        fs::write(&notes, all).map_err(Error::io(&notes))
    })?;
    Ok(directory.join(IMAGE))
}

/// Writes what blkid says of the whole disk next to the image, as `IMAGE.blkid`.
pub fn record_content(path: &Path) -> Result<(), Error> {
    let size = path.metadata().map_err(Error::io(path))?.len();
    let notes = notes(path);
    fs::write(&notes, format!("# whole disk\n{}", probe(path, 0, size)?)).map_err(Error::io(&notes))
}

fn notes(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".blkid");
    PathBuf::from(name)
}

/// `blkid -p`, low-level probing; empty if it recognises nothing.
fn probe(path: &Path, offset: u64, size: u64) -> Result<String, Error> {
    let result = program("blkid")
        .args(["-p", "-o", "export"])
        .args([format!("--offset={offset}"), format!("--size={size}")])
        .arg(path)
        .output()
        .map_err(Error::io("blkid"))?;
    // Status 2 is "nothing recognised" or "ambiguous": both are facts worth recording.
    let text =
        format!("{}{}", String::from_utf8_lossy(&result.stdout), String::from_utf8_lossy(&result.stderr));
    // The image has a temporary name while it is being made.
    Ok(text.lines().filter(|line| !line.starts_with("DEVNAME=")).map(|line| format!("{line}\n")).collect())
}

/// Makes a file system with the content of `tree` at `path`.
pub fn make_filesystem(
    filesystem: Filesystem,
    tree: &Path,
    path: &Path,
    uuid: &str,
    label: &str,
) -> Result<(), Error> {
    let used = mebibytes(tree)?;
    match filesystem {
        Filesystem::Ext4 => {
            let size = used * 5 / 4 + 48;
            blank(path, size << 20)?;
            let mut mkfs = program("mke2fs");
            if size > 128 {
                // Devices with such sectors may get a copy of it (`fill` of a recipe).
                mkfs.args(["-b", "4096"]);
            }
            mkfs.args(["-q", "-F", "-t", "ext4", "-m", "0", "-U", uuid, "-L", label, "-d"])
                .arg(tree)
                .arg(path);
            // Of the label ext4 keeps 16 bytes.
            output(&mut mkfs).map(drop)
        }
        Filesystem::Xfs => {
            // mkfs.xfs refuses less than 300 MiB.
            blank(path, (used * 2 + 320) << 20)?;
            let prototype = path.with_extension("proto");
            fs::write(&prototype, xfs_prototype(tree)?).map_err(Error::io(&prototype))?;
            let mut mkfs = program("mkfs.xfs");
            mkfs.args(["-q", "-f", "-m", &format!("uuid={uuid}"), "-L", label, "-p"])
                .arg(&prototype)
                .arg(path);
            output(&mut mkfs)?;
            crate::cache::remove(&prototype)
        }
        Filesystem::Btrfs => {
            blank(path, (used * 2 + 128) << 20)?;
            let mut mkfs = program("mkfs.btrfs");
            mkfs.args(["-q", "-f", "-U", uuid, "-L", label, "--rootdir"]).arg(tree).arg(path);
            output(&mut mkfs).map(drop)
        }
    }
}

/// mkfs.xfs(8)'s prototype of a tree of directories, files and symbolic links, all owned by root.
fn xfs_prototype(tree: &Path) -> Result<String, Error> {
    let mut text = "/dev/null\n0 0\nd--755 0 0\n".to_owned();
    xfs_directory(tree, &mut text)?;
    Ok(text)
}

fn xfs_directory(directory: &Path, text: &mut String) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    let mut entries: Vec<_> = fs::read_dir(directory)
        .map_err(Error::io(directory))?
        .collect::<Result<_, _>>()
        .map_err(Error::io(directory))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let data = path.symlink_metadata().map_err(Error::io(&path))?;
        let mode = data.permissions().mode() & 0o777;
        if data.is_dir() {
            *text += &format!("{name} d--{mode:03o} 0 0\n");
            xfs_directory(&path, text)?;
        } else if data.is_symlink() {
            let target = fs::read_link(&path).map_err(Error::io(&path))?;
            *text += &format!("{name} l--777 0 0 {}\n", target.display());
        } else {
            *text += &format!("{name} ---{mode:03o} 0 0 {}\n", path.display());
        }
    }
    *text += "$\n";
    Ok(())
}
