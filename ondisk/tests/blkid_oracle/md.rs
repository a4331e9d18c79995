//! MD members: superblocks written here, judged by blkid and by mdadm, which checks the checksum.

use std::path::Path;

use crate::bench::{Bench, agree, agree_on, identify, poke, run, run_with_input};
use crate::{md_writer as md, table_writer as table};
use ondisk::Kind;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 16 * MIB;

/// mdadm's own reading, which must call the checksum correct; otherwise the writer here is wrong.
fn examined(path: &Path) {
    let output = run_with_input("mdadm", &[&"--examine", &path], "");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("- correct"), "{text}");
}

#[test]
fn version_1() {
    let Some(bench) = Bench::new(&["mdadm"]) else { return };
    for (version, offset) in [("1.0", SIZE - 8192), ("1.1", 0), ("1.2", 4096)] {
        let disk = bench.image(SIZE);
        let data = if version == "1.0" { 0 } else { 2048 };
        poke(&disk, offset, &md::version_1(offset, "host:root", data, (SIZE - 2 * MIB) / 512));
        let signature = agree_on(&disk, Kind::MdMember);
        assert_eq!(signature.version.as_deref(), Some(version));
        assert_eq!(signature.label.as_deref(), Some(&b"host:root"[..]));
        examined(&disk);

        // A member stays a member, but its superblock is doubted.
        poke(&disk, offset + 200, &[8]);
        let content = identify(&disk);
        assert!(content.only().unwrap().doubt.as_ref().unwrap().contains("checksum"));
        // At another place it is a copy of somebody else's.
        let disk = bench.image(SIZE + MIB);
        poke(&disk, 65536, &md::version_1(offset, "host:root", data, 100));
        assert_eq!(agree(&disk).signatures, []);
    }
}

#[test]
fn version_0() {
    let Some(bench) = Bench::new(&["mdadm"]) else { return };
    for size in [SIZE, SIZE + 4096, SIZE + 65536 + 512] {
        for big_endian in [false, true] {
            let disk = bench.image(size);
            let offset = (size & !0xffff) - 65536;
            poke(&disk, offset, &md::version_0(u32::try_from(offset >> 10).unwrap(), big_endian));
            let signature = agree_on(&disk, Kind::MdMember);
            assert_eq!(signature.uuid.as_deref(), Some("01020304-0506-0708-090a-0b0c0d0e0f10"));
            assert_eq!(signature.version.as_deref(), Some("0.90.0"));
            if !big_endian {
                examined(&disk);
            }
            poke(&disk, offset + 160, &[1]);
            assert!(identify(&disk).only().unwrap().doubt.is_some());
        }
    }
}

/// A mirror's member begins like the file system on the mirror.
#[test]
fn the_array_hides_its_content() {
    let Some(bench) = Bench::new(&["mkfs.ext4"]) else { return };
    let disk = bench.image(SIZE);
    run("mkfs.ext4", &[&"-q", &disk]);
    poke(&disk, SIZE - 8192, &md::version_1(SIZE - 8192, "any:0", 0, (SIZE - 8192) / 512));
    agree_on(&disk, Kind::MdMember);

    let disk = bench.image(SIZE);
    run("mkfs.ext4", &[&"-q", &disk]);
    let offset = SIZE - 65536;
    poke(&disk, offset, &md::version_0(u32::try_from(offset >> 10).unwrap(), false));
    agree_on(&disk, Kind::MdMember);
}

/// An array on whole disks with a table inside: the table is the array's.
#[test]
fn the_array_hides_its_table() {
    let Some(bench) = Bench::new(&[]) else { return };
    let bytes = table::gpt(512, (SIZE - MIB) / 512, &[(2048, 4095, "inside")]);
    let disk = bench.image(SIZE);
    poke(&disk, 0, &bytes);
    poke(&disk, SIZE - 8192, &md::version_1(SIZE - 8192, "any:0", 0, (SIZE - MIB) / 512));
    let content = agree(&disk);
    assert_eq!((content.only().unwrap().kind, content.table), (Kind::MdMember, None));
}

/// The superblock at the end of the last partition is that of the partition, not of the disk.
#[test]
fn the_last_partition_may_be_the_member() {
    let Some(bench) = Bench::new(&[]) else { return };
    let disk = bench.image(SIZE);
    let start = 2048;
    let sectors = u32::try_from(SIZE / 512).unwrap() - start;
    poke(&disk, 0, &table::mbr(&[(0xfd, start, sectors)]));
    let kib = sectors / 2 - 64;
    poke(&disk, SIZE - 65536, &md::version_0(kib, false));
    let content = agree(&disk);
    assert_eq!(content.signatures, []);
    assert_eq!(content.table.unwrap().partitions.len(), 1);
}
