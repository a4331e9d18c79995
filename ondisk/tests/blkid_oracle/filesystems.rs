//! File systems, swap and containers made by the real tools: every field as blkid prints it.

use std::path::Path;

use crate::bench::{Bench, agree, agree_on, identify, poke, run};
use ondisk::Kind;

const MIB: u64 = 1 << 20;

/// Labels that need care; each tool takes as many bytes as its format has.
const LABELS: [&str; 6] = ["root", "my disk", "Größe", "a/b\\c", "q'\"$`<>", " lead and trail "];

fn fits(label: &str, most: usize) -> bool {
    label.len() <= most
}

#[test]
fn ext2_ext3_ext4() {
    for (tool, kind) in [("mkfs.ext2", Kind::Ext2), ("mkfs.ext3", Kind::Ext3), ("mkfs.ext4", Kind::Ext4)] {
        let Some(bench) = Bench::new(&[tool]) else { return };
        for label in LABELS.iter().chain(&["", "sixteen bytes ok"]).filter(|label| fits(label, 16)) {
            let disk = bench.image(8 * MIB);
            run(tool, &[&"-q", &"-L", label, &disk]);
            agree_on(&disk, kind);
        }
    }
}

#[test]
fn ext_variants() {
    let Some(bench) = Bench::new(&["mkfs.ext4"]) else { return };
    for (options, kind) in [
        // No journal, but features that only ext4 knows.
        (&["-O", "^has_journal"][..], Kind::Ext4),
        (&["-O", "^metadata_csum,^64bit"], Kind::Ext4),
        (&["-O", "metadata_csum_seed", "-b", "4096"], Kind::Ext4),
        (&["-O", "journal_dev", "-b", "4096"], Kind::Jbd),
        (&["-O", "journal_dev", "-b", "1024", "-L", "journal"], Kind::Jbd),
        (
            &["-O", "^extents,^64bit,^flex_bg,^huge_file,^dir_nlink,^extra_isize,^metadata_csum,^uninit_bg"],
            Kind::Ext3,
        ),
        (&["-U", "clear"], Kind::Ext4),
    ] {
        let disk = bench.image(32 * MIB);
        let options: Vec<&dyn AsRef<std::ffi::OsStr>> = options.iter().map(|option| option as _).collect();
        run("mkfs.ext4", &[&[&"-q", &"-F" as &dyn AsRef<_>], &options[..], &[&disk]].concat());
        let content = identify(&disk);
        let signature = content.only().expect("something");
        assert_eq!(signature.kind, kind, "{signature:?}");
        agree(&disk);
    }
}

#[test]
fn xfs() {
    let Some(bench) = Bench::new(&["mkfs.xfs"]) else { return };
    for label in
        LABELS.iter().chain(&["twelve bytes"]).filter(|label| fits(label, 12) && !label.contains(' '))
    {
        let disk = bench.image(320 * MIB);
        run("mkfs.xfs", &[&"-q", &"-L", label, &disk]);
        agree_on(&disk, Kind::Xfs);
    }
    for options in [&["-m", "crc=0"][..], &["-s", "size=4096"], &["-b", "size=1024"]] {
        let disk = bench.image(320 * MIB);
        let options: Vec<&dyn AsRef<std::ffi::OsStr>> = options.iter().map(|option| option as _).collect();
        run("mkfs.xfs", &[&[&"-q" as &dyn AsRef<_>], &options[..], &[&disk]].concat());
        agree_on(&disk, Kind::Xfs);
    }
}

#[test]
fn btrfs() {
    let Some(bench) = Bench::new(&["mkfs.btrfs"]) else { return };
    let long = "x y".repeat(85);
    for label in LABELS.iter().chain(&["", long.as_str()]) {
        let disk = bench.image(128 * MIB);
        run("mkfs.btrfs", &[&"-q", &"-L", label, &disk]);
        let signature = agree_on(&disk, Kind::Btrfs);
        assert!(signature.uuid_sub.is_some());
    }
    for checksum in ["crc32c", "xxhash", "sha256", "blake2"] {
        let disk = bench.image(128 * MIB);
        run("mkfs.btrfs", &[&"-q", &"--csum", &checksum, &disk]);
        agree_on(&disk, Kind::Btrfs);
        // A changed generation is noticed by every checksum that we compute.
        poke(&disk, 65536 + 72, &[0xff]);
        let content = identify(&disk);
        assert_eq!(content.rejected.len(), usize::from(checksum != "blake2"), "{checksum}");
    }
}

#[test]
fn vfat() {
    let Some(bench) = Bench::new(&["mkfs.vfat"]) else { return };
    for (bits, size) in [("12", 4 * MIB), ("16", 64 * MIB), ("32", 128 * MIB)] {
        for label in ["", "EFI", "NO NAME", "MY DISK 1", "ELEVEN CHAR"] {
            for sector in ["512", "4096"] {
                let disk = bench.image(size);
                let flag: &[&dyn AsRef<std::ffi::OsStr>] =
                    if label.is_empty() { &[] } else { &[&"-n", &label] };
                run(
                    "mkfs.vfat",
                    &[&[&"-F" as &dyn AsRef<_>, &bits, &"-S", &sector], flag, &[&disk]].concat(),
                );
                let signature = agree_on(&disk, Kind::Vfat);
                assert!(signature.uuid.is_some());
            }
        }
    }
    // A floppy is too small for anything but the first match.
    let disk = bench.image(1440 * 1024);
    run("mkfs.vfat", &[&"-n", &"FLOPPY", &disk]);
    agree_on(&disk, Kind::Vfat);
    // An MBR in the boot sector of a file system.
    let disk = bench.image(64 * MIB);
    run("mkfs.vfat", &[&"--mbr=y", &disk]);
    agree(&disk);
}

#[test]
fn vfat_label_is_found_behind_other_entries() {
    let Some(bench) = Bench::new(&["mkfs.vfat", "mcopy", "mlabel", "mdeltree"]) else { return };
    for bits in ["16", "32"] {
        let disk = bench.image(128 * MIB);
        run("mkfs.vfat", &[&"-F", &bits, &disk]);
        // Enough names for more than one cluster of FAT32's root directory.
        let source = bench.path("files");
        std::fs::create_dir_all(&source).unwrap();
        for number in 0..120 {
            std::fs::write(source.join(format!("a rather long file name {number:04}.txt")), "x").unwrap();
        }
        let files: Vec<_> =
            (0..120).map(|n| source.join(format!("a rather long file name {n:04}.txt"))).collect();
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"-i", &disk];
        arguments.extend(files.iter().map(|file| file as &dyn AsRef<_>));
        arguments.push(&"::");
        run("mcopy", &arguments);
        run("mlabel", &[&"-i", &disk, &"::LATE LABEL"]);
        let signature = agree_on(&disk, Kind::Vfat);
        assert_eq!(signature.label.as_deref(), Some(&b"LATE LABEL"[..]));
    }
}

#[test]
fn squashfs() {
    let Some(bench) = Bench::new(&["mksquashfs"]) else { return };
    let source = bench.path("tree");
    std::fs::create_dir(&source).unwrap();
    // Large enough not to pass for a floppy.
    std::fs::write(source.join("file"), noise(2 << 20)).unwrap();
    let disk = bench.path("disk");
    run("mksquashfs", &[&source, &disk, &"-quiet", &"-no-progress"]);
    agree_on(&disk, Kind::Squashfs);
}

#[test]
fn erofs() {
    let Some(bench) = Bench::new(&["mkfs.erofs"]) else { return };
    let source = bench.path("tree");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("file"), noise(2 << 20)).unwrap();
    let disk = bench.path("disk");
    run("mkfs.erofs", &[&disk, &source]);
    agree_on(&disk, Kind::Erofs);
    let before = identify(&disk);
    // The label field: 16 bytes behind the UUID. Its change must break the checksum.
    poke(&disk, 1024 + 64, b"label");
    let content = identify(&disk);
    assert_eq!(content.signatures, []);
    assert_eq!(content.rejected[0].uuid, before.only().unwrap().uuid);
    assert_eq!(content.rejected[0].label.as_deref(), Some(&b"label"[..]));
}

#[test]
fn iso9660() {
    let Some(bench) = Bench::new(&["xorriso"]) else { return };
    let source = bench.path("tree");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("file"), noise(2 << 20)).unwrap();
    for (label, joliet) in [
        ("DEBIAN 13", false),
        ("Debian 13.1.0 amd64 n", true),
        ("plain", true),
        ("a very long volume id of 32 char", true),
        ("a very long volume id of 32 char", false),
        ("", true),
    ] {
        let disk = bench.path("disk");
        let _ = std::fs::remove_file(&disk);
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> =
            vec![&"-as", &"mkisofs", &"-quiet", &"-o", &disk];
        if joliet {
            arguments.push(&"-J");
        }
        if !label.is_empty() {
            arguments.extend([&"-V" as &dyn AsRef<_>, &label]);
        }
        arguments.push(&source);
        run("xorriso", &arguments);
        agree_on(&disk, Kind::Iso9660);
    }
}

#[test]
fn iso9660_by_genisoimage() {
    let Some(bench) = Bench::new(&["genisoimage"]) else { return };
    let source = bench.path("tree");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("file"), noise(2 << 20)).unwrap();
    for joliet in [&["-J"][..], &[]] {
        let disk = bench.path("disk");
        let options: Vec<&dyn AsRef<std::ffi::OsStr>> = joliet.iter().map(|option| option as _).collect();
        run(
            "genisoimage",
            &[
                &[
                    &"-quiet" as &dyn AsRef<_>,
                    &"-V",
                    &"Größe and more",
                    &"-input-charset",
                    &"utf-8",
                    &"-o",
                    &disk,
                ],
                &options[..],
                &[&source],
            ]
            .concat(),
        );
        agree_on(&disk, Kind::Iso9660);
    }
}

#[test]
fn swap() {
    let Some(bench) = Bench::new(&["mkswap"]) else { return };
    for page in ["4096", "8192", "16384", "32768", "65536"] {
        for label in LABELS.iter().chain(&[""]).filter(|label| fits(label, 15)) {
            let disk = bench.image(2 * MIB);
            run("mkswap", &[&"-p", &page, &"-L", label, &disk]);
            agree_on(&disk, Kind::Swap);
        }
    }
    for magic in [b"S1SUSPEND\0", b"S2SUSPEND\0", b"ULSUSPEND\0", b"LINHIB0001"] {
        let disk = bench.image(2 * MIB);
        run("mkswap", &[&"-L", &"resume", &disk]);
        poke(&disk, 4096 - 10, magic);
        let signature = agree_on(&disk, Kind::SwSuspend);
        assert_eq!(signature.label.as_deref(), Some(&b"resume"[..]));
    }
    // TuxOnIce leaves swap's magic in its place.
    poke(&bench.path("disk"), 0, &[0xed, 0xc3, 0x02, 0xe9, 0x98, 0x56, 0xe5, 0x0c]);
    agree_on(&bench.path("disk"), Kind::SwSuspend);
}

#[test]
fn swap_of_the_other_byte_order() {
    let Some(bench) = Bench::new(&["mkswap"]) else { return };
    let disk = bench.image(2 * MIB);
    run("mkswap", &[&disk]);
    poke(&disk, 1024, &1_u32.to_be_bytes());
    poke(&disk, 1028, &511_u32.to_be_bytes());
    agree_on(&disk, Kind::Swap);
}

#[test]
fn lvm2() {
    let Some(bench) = Bench::new(&[]) else { return };
    let label = include_bytes!("../fixtures/lvm2-pv.bin");
    let disk = bench.image(16 * MIB);
    poke(&disk, 0, label);
    let signature = agree_on(&disk, Kind::Lvm2Pv);
    assert_eq!(signature.version.as_deref(), Some("LVM2 001"));
    // A file system below the label does not count.
    poke(&disk, 4096 - 10, b"SWAPSPACE2");
    poke(&disk, 1024, &[1, 0, 0, 0, 9]);
    agree_on(&disk, Kind::Lvm2Pv);
    // The sector number inside is that of another sector.
    let disk = bench.image(16 * MIB);
    poke(&disk, 1024, &label[512..1024]);
    assert_eq!(agree(&disk).signatures, []);
    // A wrong checksum.
    let disk = bench.image(16 * MIB);
    poke(&disk, 0, label);
    poke(&disk, 512 + 40, b"X");
    assert_eq!(agree(&disk).rejected.len(), 1);
}

/// Two valid signatures, neither of them a container: blkid refuses, and so do we.
#[test]
fn contradictions() {
    let Some(bench) = Bench::new(&["mkfs.ext4", "mkswap", "mkfs.xfs"]) else { return };
    let disk = bench.image(320 * MIB);
    run("mkfs.xfs", &[&"-q", &disk]);
    let xfs = std::fs::read(&disk).unwrap()[..512].to_vec();
    run("mkfs.ext4", &[&"-q", &"-F", &disk]);
    poke(&disk, 0, &xfs);
    let content = agree(&disk);
    assert!(content.is_ambiguous());
    let kinds: Vec<_> = content.signatures.iter().map(|signature| signature.kind).collect();
    assert_eq!(kinds, [Kind::Xfs, Kind::Ext4]);
    assert_eq!(content.only(), None);
}

#[test]
fn nothing() {
    let Some(bench) = Bench::new(&[]) else { return };
    for size in [0, 512, 1024, 1025, 4096, MIB, 8 * MIB] {
        let disk = bench.image(size);
        if size > 0 {
            agree(&disk);
        }
        assert_eq!(identify(&disk), ondisk::Content::default());
    }
    let disk = bench.path("noise");
    std::fs::write(&disk, noise(4 << 20)).unwrap();
    assert_eq!(agree(&disk), ondisk::Content::default());
}

/// Bytes without structure (xorshift64).
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

#[test]
fn truncation_is_doubted() {
    let Some(bench) = Bench::new(&["mkfs.ext4"]) else { return };
    let disk = bench.image(64 * MIB);
    run("mkfs.ext4", &[&"-q", &disk]);
    shorten(&disk, 32 * MIB);
    let content = agree(&disk);
    assert!(content.only().unwrap().doubt.as_ref().unwrap().contains("truncated"));
}

fn shorten(path: &Path, size: u64) {
    std::fs::File::options().write(true).open(path).unwrap().set_len(size).unwrap();
}
