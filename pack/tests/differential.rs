//! kmod's own tools as judges: depmod makes the lists, modprobe and modinfo say what they mean.

mod oracle;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ondisk::kmod::ModInfo;
use oracle::{Scratch, TREE, VERSION, build_tree, tool};
use pack::kernel::Kernel;
use pack::{Compression, Layout, Modules, Options};

/// What modprobe would load for a name, in order: module names with underscores. `None` when it knows no such name.
fn show_depends(root: &Path, version: &str, name: &str) -> Option<Vec<String>> {
    let output = Command::new("modprobe")
        .args([
            "-C",
            "/nonexistent-modprobe.d",
            "-d",
            root.to_str().unwrap(),
            "-S",
            version,
            "--show-depends",
            name,
        ])
        .env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()))
        .output()
        .unwrap();
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let mut names: Vec<String> = Vec::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("insmod ")) {
        let name = ondisk::kmod::name_of_path(line.split(' ').next().unwrap());
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Some(names)
}

fn names(kernel: &Kernel, want: &str) -> Vec<String> {
    kernel.catalog.plan(want).into_iter().map(|step| step.name).collect()
}

/// Requests that a boot makes, and some that nobody answers.
const REQUESTS: [&str; 13] = [
    "ext4",
    "fs-ext4",
    "crypto-crc32c",
    "virtio:d00000002v00001AF4",
    "pci:v00001AF4d00001001sv00001AF4sd00000002bc01sc00i00",
    "pci:v00001234d7",
    "pci:v00001234dX",
    "scsi:t-0x00",
    "cpu:type:x86,ven0000fam0006mod003A:feature:,0093,0094,0095,",
    "big_hba",
    "platform:beep-1",
    "platform:beep_1",
    "absent",
];

#[test]
fn modprobe_loads_the_same_in_the_same_order() {
    let scratch = Scratch::new("order");
    let directory = build_tree(scratch.path());
    let kernel = Kernel::open(VERSION, &directory).unwrap();
    assert_eq!(kernel.paths.len(), TREE.len());
    let modules = kernel.paths.keys().map(String::as_str);
    for want in modules.chain(REQUESTS) {
        let expected = show_depends(scratch.path(), VERSION, want).unwrap_or_default();
        assert_eq!(names(&kernel, want), expected, "{want}");
    }
    assert!(kernel.catalog.lookup("unix").builtin);
    assert!(kernel.catalog.lookup("net-pf-1").builtin);
}

#[test]
fn text_lists_say_what_the_indexes_say() {
    let scratch = Scratch::new("text");
    let directory = build_tree(scratch.path());
    let binary = Kernel::open(VERSION, &directory).unwrap();
    for name in ["modules.dep.bin", "modules.alias.bin", "modules.builtin.bin"] {
        fs::remove_file(directory.join(name)).unwrap();
    }
    let text = Kernel::open(VERSION, &directory).unwrap();
    assert_eq!(text.paths, binary.paths);
    for want in binary.paths.keys().map(String::as_str).chain(REQUESTS).chain(["unix"]) {
        assert_eq!(text.catalog.lookup(want), binary.catalog.lookup(want), "{want}");
        assert_eq!(names(&text, want), names(&binary, want), "{want}");
    }
}

#[test]
fn modinfo_reads_the_same() {
    let scratch = Scratch::new("modinfo");
    let directory = build_tree(scratch.path());
    let kernel = Kernel::open(VERSION, &directory).unwrap();
    for name in kernel.paths.keys() {
        let file = kernel.file(name).unwrap();
        let content =
            Compression::of_file(file.to_str().unwrap()).unpack(&fs::read(&file).unwrap()).unwrap().0;
        let info = ModInfo::from_elf(&content).unwrap();
        for key in ["alias", "depends", "firmware", "softdep", "name"] {
            let expected = tool("modinfo", &["-F", key, file.to_str().unwrap()]);
            let ours: Vec<&str> = info.all(key).collect();
            assert_eq!(ours, expected.lines().collect::<Vec<_>>(), "{key} of {name}");
        }
    }
}

fn options(scratch: &Scratch, directory: &Path, modules: Modules) -> Options {
    Options {
        kver: Some(VERSION.into()),
        modules_dir: Some(directory.to_owned()),
        init: Some(scratch.file("bin/init", b"\x7fELF pretends")),
        modules,
        ..Options::new(scratch.path().join("image"))
    }
}

/// Unpacks an image with the real tools, segment by segment, into a directory.
fn unpack(scratch: &Scratch, image: &Path, into: &str) -> PathBuf {
    let directory = scratch.path().join(into);
    fs::create_dir_all(&directory).unwrap();
    let bytes = fs::read(image).unwrap();
    for segment in pack::list(image).unwrap() {
        let start = usize::try_from(segment.offset).unwrap();
        let end = start + usize::try_from(segment.length).unwrap();
        let file = scratch.file("segment", &bytes[start..end]);
        let decompress = match segment.compression {
            Compression::None => "cat",
            Compression::Zstd => "zstd -dc",
            Compression::Gzip => "gzip -dc",
            Compression::Xz => "xz -dc",
        };
        let script = format!(
            "cd {} && {decompress} <{} | cpio -idm --quiet --no-absolute-filenames",
            directory.display(),
            file.display()
        );
        tool("sh", &["-ec", &script]);
        let listed = tool("sh", &["-ec", &format!("{decompress} <{} | cpio -t --quiet", file.display())]);
        let ours: Vec<&str> = segment.entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(listed.lines().collect::<Vec<_>>(), ours);
    }
    directory
}

#[test]
fn modprobe_works_in_every_image() {
    let scratch = Scratch::new("image");
    let directory = build_tree(scratch.path());
    scratch.file("lib/firmware/hba/fw.bin", b"firmware");
    let list = |names: &str| Modules::List(names.split(',').map(str::to_owned).collect());
    for (n, (modules, layout, compression)) in [
        (list("virtio_blk,ext4"), Layout::Whole, Compression::Zstd),
        (list("virtio_blk,ext4"), Layout::Whole, Compression::Gzip),
        (list("big-hba,vfat"), Layout::PerModule, Compression::Xz),
        (Modules::Universal, Layout::PerModule, Compression::Zstd),
        (Modules::Universal, Layout::Whole, Compression::None),
    ]
    .into_iter()
    .enumerate()
    {
        let mut options = options(&scratch, &directory, modules);
        (options.layout, options.compression) = (Some(layout), Some(compression));
        options.cmdline = Some("root=LABEL=x".into());
        let report = pack::build(&options).unwrap();
        let tree = unpack(&scratch, &options.output, &format!("tree{n}"));
        let packed: BTreeSet<&str> = report.modules.iter().map(String::as_str).collect();
        // The tools read our indexes, and find files of the names that those say.
        for name in &packed {
            let expected: Vec<String> = show_depends(scratch.path(), VERSION, name)
                .unwrap()
                .into_iter()
                .filter(|name| packed.contains(name.as_str()))
                .collect();
            assert_eq!(show_depends(&tree, VERSION, name), Some(expected), "{name}");
        }
        let inside = Kernel::open(VERSION, &tree.join("lib/modules").join(VERSION)).unwrap();
        assert_eq!(inside.paths.len(), packed.len());
        let original = Kernel::open(VERSION, &directory).unwrap();
        for name in inside.paths.keys() {
            let content = |kernel: &Kernel| {
                let file = kernel.file(name).unwrap();
                let bytes = fs::read(&file).unwrap();
                Compression::of_file(file.to_str().unwrap()).unpack(&bytes).unwrap().0
            };
            assert!(content(&inside) == content(&original), "{name} is not what it was");
        }
        for want in REQUESTS {
            let mut expected = original.catalog.lookup(want).modules;
            expected.retain(|name| packed.contains(name.as_str()));
            assert_eq!(inside.catalog.lookup(want).modules, expected, "{want}");
        }
        assert_eq!(
            fs::read_to_string(tree.join("etc/cmdline.d/00-rootward.conf")).unwrap(),
            "root=LABEL=x\n"
        );
        if packed.contains("big_hba") {
            assert_eq!(fs::read(tree.join("lib/firmware/hba/fw.bin")).unwrap(), b"firmware");
            assert_eq!(report.missing_firmware, ["hba/none.bin"]);
            assert!(packed.contains("hba_tool") && packed.contains("sd_mod"));
        }
        assert!(!packed.contains("beep") && !packed.contains("engine"), "{packed:?}");
    }
}

#[test]
fn lists_say_what_is_loaded_first() {
    let scratch = Scratch::new("preload");
    let directory = build_tree(scratch.path());
    let list = Modules::List(vec!["virtio_blk".into(), "fs-ext4".into()]);
    let report = pack::build(&options(&scratch, &directory, list)).unwrap();
    assert_eq!(report.preload, ["virtio_pci", "virtio_blk", "ext4"]);
    let expected =
        ["crc32c_generic", "crc32c_intel", "ext4", "jbd2", "mbcache", "virtio", "virtio_blk", "virtio_pci"];
    assert_eq!(report.modules, expected);
    let unknown = Modules::List(vec!["ext5".into()]);
    let error = pack::build(&options(&scratch, &directory, unknown)).unwrap_err();
    assert!(matches!(error, pack::Error::UnknownModule { .. }), "{error}");
}

#[test]
fn a_machine_gets_what_its_root_stands_on() {
    let scratch = Scratch::new("host");
    let directory = build_tree(scratch.path());
    let link = |name: &str, target: &str| {
        let path = scratch.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
    };
    let hba = "sys/devices/pci0000:00/0000:00:05.0";
    scratch.file(&format!("{hba}/modalias"), b"pci:v00001234d7\n");
    scratch.file("sys/devices/platform/beep/modalias", b"platform:beep-1\n");
    scratch.file("sys/devices/pci0000:00/0000:00:06.0/virtio0/modalias", b"virtio:d00000002v00001AF4\n");
    scratch.file(&format!("{hba}/host0/0:0:0:0/modalias"), b"scsi:t-0x00\n");
    scratch.file(&format!("{hba}/host0/0:0:0:0/block/sda/sda1/partition"), b"1\n");
    for module in ["big_hba", "sd_mod", "scsi_mod", "vfat", "beep", "ext4"] {
        scratch.file(&format!("sys/module/{module}/initstate"), b"live\n");
    }
    scratch.file("sys/bus/scsi/drivers/sd/bind", b"");
    link("sys/bus/scsi/drivers/sd/module", "../../../../module/sd_mod");
    link(&format!("{hba}/host0/0:0:0:0/driver"), "../../../../../bus/scsi/drivers/sd");
    link("sys/dev/block/8:1", &format!("../../{}/host0/0:0:0:0/block/sda/sda1", &hba[4..]));
    scratch.file("proc/self/mountinfo", b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n");
    let mut options = options(&scratch, &directory, Modules::HostOnly);
    (options.sys, options.proc) = (scratch.path().join("sys"), scratch.path().join("proc"));
    let report = pack::build(&options).unwrap();
    assert_eq!(report.warnings, [""; 0]);
    // The HBA's driver is found by its modalias, as if it were built into the running kernel.
    assert_eq!(report.preload, ["big_hba", "sd_mod", "ext4"]);
    let expected = [
        "big_hba",
        "crc32c_generic",
        "ext4",
        "hba_tool",
        "jbd2",
        "mbcache",
        "scsi_mod",
        "sd_mod",
        "virtio",
        "virtio_blk",
        "virtio_pci",
    ];
    assert_eq!(report.modules, expected);
    // A processor that has the instruction gets the faster checksum too.
    scratch.file("sys/devices/system/cpu/modalias", b"cpu:type:x86,ven0000:feature:,0094,\n");
    assert!(pack::build(&options).unwrap().modules.contains(&"crc32c_intel".to_owned()));
}

/// Real kernels, where there are any: `ROOTWARD_MODULES` names directories such as `/lib/modules/VERSION`, separated
/// by colons; the installed ones are taken without it.
#[test]
fn real_kernels() {
    let named = std::env::var("ROOTWARD_MODULES").unwrap_or_default();
    let mut directories: Vec<PathBuf> =
        named.split(':').filter(|dir| !dir.is_empty()).map(PathBuf::from).collect();
    directories
        .extend(fs::read_dir("/lib/modules").into_iter().flatten().flatten().map(|entry| entry.path()));
    for directory in directories.iter().filter(|dir| dir.join("modules.dep.bin").exists()) {
        let version = directory.file_name().unwrap().to_str().unwrap();
        let root = directory.ancestors().nth(3).unwrap();
        let kernel = Kernel::open(version, directory).unwrap();
        let mut compared = 0;
        // Every seventh module and alias pattern, made concrete, keeps it to a minute.
        for name in kernel.paths.keys().step_by(7) {
            let expected = show_depends(root, version, name).unwrap();
            let ours = names(&kernel, name);
            // libkmod stops at a module's first softdep line; we take them all.
            let missing: Vec<&String> = expected.iter().filter(|name| !ours.contains(name)).collect();
            assert!(missing.is_empty(), "{name} of {version}: without {missing:?}");
            let several = kernel.softdep.iter().filter_map(|line| line.split(' ').nth(1)).collect::<Vec<_>>();
            let many = |name: &String| several.iter().filter(|other| *other == name).count() > 1;
            if !ours.iter().any(many) {
                assert_eq!(ours, expected, "{name} of {version}");
                compared += 1;
            }
        }
        for (pattern, _) in kernel.alias.iter().step_by(211) {
            let want =
                pattern.replace('*', "0A").replace('?', "3").replace("[0-9]", "7").replace("[0-9A-F]", "B");
            if want.contains('[') {
                continue;
            }
            let expected = show_depends(root, version, &want).unwrap();
            assert_eq!(names(&kernel, &want), expected, "{want} of {version}");
            compared += 1;
        }
        assert!(compared > 50, "{version}: only {compared} compared");
    }
}
