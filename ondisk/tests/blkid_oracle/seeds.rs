//! Writes real superblocks as seeds for the fuzz targets and for the tests that need no tools.

use std::fs;
use std::path::{Path, PathBuf};

use crate::bench::{Bench, identify, poke, run, run_with_input};
use crate::{ata_writer as ata, md_writer as md, table_writer as table};

const MIB: u64 = 1 << 20;
/// Everything else that identification looks at is this close to the start or the end.
const NEAR: usize = 160 << 10;
/// Small enough to be damaged byte by byte.
const MAX_SEED: usize = 8 << 10;

/// The file as: size (u64), then for each run of data its offset (u32), length (u16) and bytes, little-endian.
fn sparse(bytes: &[u8], near: usize) -> Vec<u8> {
    const GAP: usize = 16;
    let mut out = (bytes.len() as u64).to_le_bytes().to_vec();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == 0 {
            at += 1;
            continue;
        }
        let mut end = at;
        let mut zeroes = 0;
        while end < bytes.len() && zeroes < GAP && end - at < 0xffff {
            zeroes = if bytes[end] == 0 { zeroes + 1 } else { 0 };
            end += 1;
        }
        let run = &bytes[at..end - zeroes];
        if at < near || at + near > bytes.len() {
            out.extend(u32::try_from(at).unwrap().to_le_bytes());
            out.extend(u16::try_from(run.len()).unwrap().to_le_bytes());
            out.extend(run);
        }
        at = end;
    }
    out
}

fn keep(name: &str, image: &Path) {
    let content = identify(image);
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/ondisk_identify");
    fs::create_dir_all(&dir).unwrap();
    let bytes = fs::read(image).unwrap();
    let all = sparse(&bytes, bytes.len());
    let seed = if all.len() < MAX_SEED { all } else { sparse(&bytes, NEAR) };
    assert!(seed.len() < MAX_SEED, "{name}: {}", seed.len());
    fs::write(dir.join(name), seed).unwrap();
    println!("{name}: {content:?}");
}

/// One set of each format.
fn bios_raid(bench: &Bench) {
    let chosen = [
        "nvidia-raid10",
        "pdc-two",
        "sil-raid10",
        "hpt37x-raid01",
        "hpt45x-raid10",
        "jmicron-raid01",
        "lsi-raid1",
        "via-raid01",
        "asr-raid10",
    ];
    for set in ata::sets().into_iter().filter(|set| chosen.contains(&set.name)) {
        let disk = bench.image(ata::DISK * 512);
        for (at, bytes) in &set.disks[1] {
            poke(&disk, *at, bytes);
        }
        keep(set.name, &disk);
    }
    // For the format's own target the structures alone.
    for set in ata::sets() {
        let (format, level) = set.name.split_once('-').unwrap();
        let target = match format {
            "pdc" => "promise",
            "sil" => "silicon",
            "asr" => "adaptec",
            format => format,
        };
        let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../fuzz/seeds/ondisk_{target}"));
        fs::create_dir_all(&dir).unwrap();
        let runs = &set.disks[0];
        let bytes = match format {
            "asr" => [runs[1].1.clone(), runs[0].1.clone()].concat(),
            "pdc" => runs.iter().flat_map(|(_, area)| sized(area, 14 * 512)).collect(),
            _ => runs[0].1.clone(),
        };
        fs::write(dir.join(level), bytes).unwrap();
    }
}

fn sized(bytes: &[u8], length: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(length, 0);
    bytes
}

#[test]
#[ignore = "writes the BIOS RAID part of fuzz/seeds/ondisk_identify"]
fn write_bios_raid() {
    if let Some(bench) = Bench::new(&[]) {
        bios_raid(&bench);
    }
}

#[test]
#[ignore = "writes fuzz/seeds/ondisk_identify"]
fn write() {
    let Some(bench) =
        Bench::new(&["mkfs.xfs", "mkfs.btrfs", "mkfs.vfat", "mksquashfs", "mkfs.erofs", "xorriso"])
    else {
        return;
    };
    let disk = bench.image(4 * MIB);
    run("mkfs.ext4", &[&"-q", &"-L", &"root", &"-O", &"^resize_inode", &disk]);
    keep("ext4", &disk);
    let disk = bench.image(4 * MIB);
    run("mkfs.ext2", &[&"-q", &"-L", &"boot", &disk]);
    keep("ext2", &disk);
    let disk = bench.image(320 * MIB);
    run("mkfs.xfs", &[&"-q", &"-L", &"root", &disk]);
    keep("xfs", &disk);
    for checksum in ["crc32c", "xxhash", "sha256"] {
        let disk = bench.image(112 * MIB);
        run("mkfs.btrfs", &[&"-q", &"-L", &"root", &"--csum", &checksum, &disk]);
        keep(&format!("btrfs-{checksum}"), &disk);
    }
    for (bits, size) in [("12", 2 * MIB), ("16", 16 * MIB), ("32", 64 * MIB)] {
        let disk = bench.image(size);
        run("mkfs.vfat", &[&"-F", &bits, &"-n", &"EFI", &disk]);
        keep(&format!("fat{bits}"), &disk);
    }
    let tree = bench.path("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("file"), vec![b'x'; 64 << 10]).unwrap();
    let disk = bench.path("squashfs");
    run("mksquashfs", &[&tree, &disk, &"-quiet", &"-no-progress"]);
    keep("squashfs", &disk);
    let disk = bench.path("erofs");
    run("mkfs.erofs", &[&"-zlz4", &disk, &tree]);
    keep("erofs", &disk);
    fs::write(tree.join("file"), "x").unwrap();
    let disk = bench.path("iso");
    run(
        "xorriso",
        &[&"-as", &"mkisofs", &"-quiet", &"-J", &"-V", &"Debian 13.1.0 amd64 n", &"-o", &disk, &tree],
    );
    keep("iso9660", &disk);
    let disk = bench.image(2 * MIB);
    run("mkswap", &[&"-L", &"swap", &disk]);
    keep("swap", &disk);
    poke(&disk, 4096 - 10, b"S1SUSPEND\0");
    keep("swsuspend", &disk);
    let disk = bench.image(16 * MIB);
    poke(&disk, 0, include_bytes!("../fixtures/lvm2-pv.bin"));
    keep("lvm2", &disk);
    let key = bench.path("key");
    fs::write(&key, "secret").unwrap();
    for version in ["luks1", "luks2"] {
        let disk = bench.image(20 * MIB);
        let options: [&dyn AsRef<std::ffi::OsStr>; 10] = [
            &"luksFormat",
            &"-q",
            &"--type",
            &version,
            &"--pbkdf",
            &"pbkdf2",
            &"--pbkdf-force-iterations",
            &"1000",
            &disk,
            &key,
        ];
        run("cryptsetup", &options);
        // The key area is noise.
        let size = fs::metadata(&disk).unwrap().len();
        let mut bytes = fs::read(&disk).unwrap();
        let headers = if version == "luks1" { 1024 } else { 32768 };
        bytes[headers..].fill(0);
        assert_eq!(bytes.len() as u64, size);
        fs::write(&disk, bytes).unwrap();
        keep(version, &disk);
    }
    for (version, offset) in [("1.0", 16 * MIB - 8192), ("1.1", 0), ("1.2", 4096)] {
        let disk = bench.image(16 * MIB);
        poke(&disk, offset, &md::version_1(offset, "host:root", 2048, 20480));
        keep(&format!("md-{version}"), &disk);
    }
    let disk = bench.image(16 * MIB);
    poke(&disk, 16 * MIB - 65536, &md::version_0(8192, false));
    keep("md-0.90", &disk);
    bios_raid(&bench);
    let disk = bench.image(16 * MIB);
    poke(&disk, 0, &table::gpt(512, 32768, &[(2048, 4095, "one"), (4096, 8191, "zwei ü")]));
    keep("gpt", &disk);
    let disk = bench.image(16 * MIB);
    run_with_input(
        "sfdisk",
        &[&"-q", &disk],
        "label: dos\nsize=1M\nsize=1M\nsize=8M,type=5\nsize=1M\nsize=1M\nsize=1M\n",
    );
    keep("mbr", &disk);
}
