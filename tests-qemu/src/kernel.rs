//! Stock kernels of the distribution, unpacked and indexed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::program::{output, pipe, program};
use crate::{Error, debian};

/// Which kernel a scenario boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Series {
    /// Debian 12's stock kernel: uncompressed modules, virtio and virtio_pci as modules.
    V6_1,
    /// Debian 13's stock kernel: xz-compressed modules that the kernel itself unpacks.
    V6_12,
}

impl Series {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V6_1, Self::V6_12];

    /// Suite whose `linux-image-amd64` this is.
    #[must_use]
    pub fn suite(self) -> &'static str {
        match self {
            Self::V6_1 => "bookworm",
            Self::V6_12 => "trixie",
        }
    }

    /// `6.1` or `6.12`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        }
    }
}

/// An unpacked kernel package.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// Which one.
    pub series: Series,
    /// `uname -r`.
    pub version: String,
    /// Version of the package, part of every key of what is made from it.
    pub package: String,
    /// The bootable image (bzImage).
    pub vmlinuz: PathBuf,
    /// What the bootable image unpacks to: an ELF file with a PVH entry, which QEMU starts directly. An emulated CPU takes
    /// one to four seconds to unpack it itself. A machine with a TPM has no ACPI then, and so no TPM.
    pub vmlinux: PathBuf,
    /// `ROOT/lib/modules/VERSION`, with depmod's indexes.
    pub modules: PathBuf,
}

impl Kernel {
    /// Downloads, unpacks and indexes the kernel unless the cache has it.
    pub fn fetch(series: Series, cache: &Cache) -> Result<Self, Error> {
        let apt = debian::Apt::for_suite(series.suite(), cache.root())?;
        let image = apt
            .depends("linux-image-amd64")?
            .into_iter()
            .find(|name| name.starts_with("linux-image-"))
            .ok_or_else(|| Error::Bed("linux-image-amd64 depends on no kernel image".to_owned()))?;
        let package = format!("{image} {}", apt.version(&image)?);
        let version = image.trim_start_matches("linux-image-").to_owned();
        let tree = cache.entry("kernels", &version, &package, |tree| {
            debian::unpack(&apt.download(&image)?, tree)?;
            // Packages of a merged-/usr release have everything below /usr.
            if !tree.join("lib").exists() {
                symlink("usr/lib", tree.join("lib")).map_err(Error::io(tree))?;
            }
            output(program("depmod").arg("-b").arg(tree).arg(&version)).map(drop)
        })?;
        let vmlinuz = tree.join(format!("boot/vmlinuz-{version}"));
        let modules = tree.join("lib/modules").join(&version);
        for path in [&vmlinuz, &modules] {
            if !path.exists() {
                return Err(Error::Bed(format!("the kernel package has no {}", path.display())));
            }
        }
        let vmlinux = cache.entry("kernels", &format!("vmlinux-{version}"), &package, |path| {
            let image = fs::read(&vmlinuz).map_err(Error::io(&vmlinuz))?;
            let unpacked =
                unpack(&image).map_err(|why| Error::Bed(format!("{}: {why}", vmlinuz.display())))?;
            fs::write(path, unpacked).map_err(Error::io(path))
        })?;
        Ok(Self { series, version, package, vmlinuz, vmlinux, modules })
    }

    /// Copies the modules named in `wanted` (module names, or directories below `kernel/` ending in `/`)
    /// with their dependencies into `root/lib/modules` and indexes them there.
    pub fn install(&self, root: &Path, wanted: &[&str]) -> Result<(), Error> {
        let target = root.join("lib/modules").join(&self.version);
        fs::create_dir_all(&target).map_err(Error::io(&target))?;
        for file in self.select(wanted)? {
            let (from, to) = (self.modules.join(&file), target.join(&file));
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent).map_err(Error::io(parent))?;
            }
            fs::copy(&from, &to).map_err(Error::io(&from))?;
        }
        for index in ["modules.builtin", "modules.builtin.modinfo", "modules.order"] {
            fs::copy(self.modules.join(index), target.join(index)).map_err(Error::io(target.join(index)))?;
        }
        output(program("depmod").arg("-b").arg(root).arg(&self.version)).map(drop)
    }

    /// Paths below the module directory of `wanted` and their dependencies, in the order they must load.
    pub fn select(&self, wanted: &[&str]) -> Result<Vec<String>, Error> {
        let path = self.modules.join("modules.dep");
        let index = fs::read_to_string(&path).map_err(Error::io(&path))?;
        let mut files: Vec<String> = Vec::new();
        for want in wanted {
            for line in index.lines() {
                let Some((path, dependencies)) = line.split_once(':') else { continue };
                let hit = match want.strip_suffix('/') {
                    Some(_) => path.strip_prefix("kernel/").is_some_and(|path| path.starts_with(want)),
                    None => module_name(path) == want.replace('-', "_"),
                };
                if hit {
                    let all = dependencies.split_whitespace().rev().chain([path]);
                    for file in all {
                        if !files.iter().any(|known| known == file) {
                            files.push(file.to_owned());
                        }
                    }
                }
            }
        }
        Ok(files)
    }
}

/// The kernel within a bzImage, which says where it lies (Documentation/arch/x86/boot.rst, `setup_sects`,
/// `payload_offset` and `payload_length`). Its last four bytes are its unpacked size, not part of the compressed stream.
fn unpack(image: &[u8]) -> Result<Vec<u8>, String> {
    let word = |offset: usize| {
        let bytes = image.get(offset..offset + 4).ok_or("too short for a setup header")?;
        Ok::<_, String>(bytes.iter().rev().fold(0_usize, |value, byte| value << 8 | usize::from(*byte)))
    };
    if word(0x206)? & 0xffff < 0x208 || image.get(0x202..0x206) != Some(b"HdrS") {
        return Err("not a bzImage of boot protocol 2.08 or later".to_owned());
    }
    let sectors = usize::from(*image.get(0x1f1).ok_or("too short")?);
    let start = (sectors + 1) * 512 + word(0x248)?;
    let end = start + word(0x24c)?;
    let [stream @ .., a, b, c, d] = image.get(start..end).ok_or("its kernel lies beyond its end")? else {
        return Err("holds no kernel".to_owned());
    };
    let mut unpacker = match stream {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => program("zstd"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => program("xz"),
        _ => return Err("is compressed in a way that is not known here".to_owned()),
    };
    let unpacked = pipe(unpacker.arg("-dc"), stream).map_err(|error| error.to_string())?;
    let size = u32::from_le_bytes([*a, *b, *c, *d]);
    if u32::try_from(unpacked.len()) != Ok(size) {
        return Err(format!("{} bytes were unpacked, {size} should be", unpacked.len()));
    }
    Ok(unpacked)
}

/// Module name of a path: file name without `.ko*`, dashes as underscores.
#[must_use]
pub fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::{module_name, unpack};

    #[test]
    fn what_is_not_a_kernel_is_not_unpacked() {
        assert!(unpack(b"").is_err());
        let mut image = vec![0; 2048];
        assert!(unpack(&image).is_err_and(|why| why.contains("not a bzImage")));
        image.splice(0x202..0x20a, *b"HdrS\x0f\x02\0\0");
        assert!(unpack(&image).is_err_and(|why| why == "holds no kernel"));
        image.splice(0x248..0x250, *b"\0\0\0\0\xff\xff\0\0");
        assert!(unpack(&image).is_err_and(|why| why == "its kernel lies beyond its end"));
    }

    #[test]
    fn names_of_modules() {
        assert_eq!(module_name("kernel/drivers/md/dm-crypt.ko.xz"), "dm_crypt");
        assert_eq!(module_name("kernel/fs/ext4/ext4.ko"), "ext4");
    }
}
