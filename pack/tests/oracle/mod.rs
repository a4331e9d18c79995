//! A small kernel tree whose lists are depmod's own, and the tools that judge what is made of it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Version of the made-up kernel.
pub const VERSION: &str = "9.9.9-test";

/// A directory that goes away with the test.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rootward-oracle-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs a tool that has to succeed; returns what it prints.
pub fn tool(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        // kmod lives in sbin on some systems.
        .env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()))
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| {
            panic!("{program}: {error}; the tests need kmod, gcc, cpio, zstd, xz and gzip")
        });
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// One module of the tree.
pub struct Source {
    /// Path below `kernel/` without `.ko`; `foo-bar` exports `foo_bar_symbol`.
    pub path: &'static str,
    /// Modules whose symbols it uses.
    pub uses: &'static [&'static str],
    /// Further `.modinfo` strings.
    pub info: &'static [&'static str],
    /// `""`, `.xz` or `.zst`; Debian builds kmod without zlib.
    pub packed: &'static str,
}

const fn module(path: &'static str, uses: &'static [&'static str], info: &'static [&'static str]) -> Source {
    Source { path, uses, info, packed: "" }
}

/// A kernel in miniature: file system, disks, crypto with alternatives, firmware, all compressions.
pub const TREE: [Source; 17] = [
    module("fs/ext4/ext4", &["jbd2", "mbcache"], &["alias=fs-ext4", "softdep=pre: crypto-crc32c"]),
    Source { packed: ".xz", ..module("fs/jbd2/jbd2", &[], &["softdep=pre: crypto-crc32c"]) },
    Source { packed: ".zst", ..module("fs/mbcache", &[], &[]) },
    module("fs/fat/vfat", &["fat"], &["alias=fs-vfat"]),
    module("fs/fat/fat", &[], &[]),
    module("fs/nls/nls_cp437", &[], &[]),
    Source {
        packed: ".gz",
        ..module("drivers/block/virtio_blk", &["virtio"], &["alias=virtio:d00000002v*"])
    },
    module("drivers/virtio/virtio", &[], &[]),
    module("drivers/virtio/virtio-pci", &["virtio"], &["alias=pci:v00001AF4d*sv*sd*bc*sc*i*"]),
    module("drivers/scsi/scsi_mod", &[], &[]),
    module("drivers/scsi/sd_mod", &["scsi_mod"], &["alias=scsi:t-0x00*"]),
    module(
        "drivers/scsi/big-hba",
        &["scsi_mod"],
        &[
            "alias=pci:v00001234d[0-9]*",
            "firmware=hba/fw.bin",
            "firmware=hba/none.bin",
            "softdep=post: hba-tool",
        ],
    ),
    module("drivers/scsi/hba-tool", &["big-hba"], &["license=GPL"]),
    module(
        "arch/x86/crypto/crc32c-intel",
        &[],
        &["alias=crypto-crc32c", "alias=cpu:type:x86,*feature:*0094*"],
    ),
    module("crypto/crc32c_generic", &[], &["alias=crypto-crc32c"]),
    module("drivers/crypto/engine", &[], &["alias=crypto-crc32c"]),
    module("sound/beep", &[], &["alias=platform:beep-*"]),
];

/// Compiles the tree below `root/lib/modules/VERSION` and lets depmod index it; returns that directory.
pub fn build_tree(root: &Path) -> PathBuf {
    let directory = root.join("lib/modules").join(VERSION);
    let symbol = |name: &str| format!("{}_symbol", name.replace('-', "_"));
    for source in &TREE {
        let file = directory.join("kernel").join(format!("{}.ko", source.path));
        let name = source.path.rsplit('/').next().unwrap();
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let mut info = vec![format!("name={}", name.replace('-', "_"))];
        let depends: Vec<String> = source.uses.iter().map(|name| name.replace('-', "_")).collect();
        info.push(format!("depends={}", depends.join(",")));
        info.extend(source.info.iter().map(|text| (*text).to_owned()));
        let mut text = String::new();
        for (n, entry) in info.iter().enumerate() {
            let _ = writeln!(
                text,
                "static const char i{n}[] __attribute__((section(\".modinfo\"),used,aligned(1))) = \"{entry}\";"
            );
        }
        let own = symbol(name);
        let _ = writeln!(text, "int {own};");
        // depmod takes the exported names from this section.
        let _ = writeln!(
            text,
            "static const char s[] __attribute__((section(\"__ksymtab_strings\"),used)) = \"{own}\";"
        );
        for used in source.uses {
            let used = symbol(used);
            let _ = writeln!(text, "extern int {used}; int *user_of_{used} = &{used};");
        }
        let c = file.with_extension("c");
        fs::write(&c, text).unwrap();
        tool("gcc", &["-c", "-o", file.to_str().unwrap(), c.to_str().unwrap()]);
        fs::remove_file(&c).unwrap();
        match source.packed {
            ".xz" => drop(tool("xz", &["--check=crc32", file.to_str().unwrap()])),
            ".zst" => drop(tool("zstd", &["-q", "--rm", file.to_str().unwrap()])),
            _ => {}
        }
    }
    fs::write(directory.join("modules.order"), "").unwrap();
    fs::write(directory.join("modules.builtin"), "kernel/net/unix/unix.ko\n").unwrap();
    fs::write(directory.join("modules.builtin.modinfo"), b"unix.alias=net-pf-1\0").unwrap();
    tool("depmod", &["-b", root.to_str().unwrap(), VERSION]);
    directory
}
