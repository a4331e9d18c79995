//! Partition tables made by sfdisk or by hand, judged by partx and blkid.

use crate::bench::{self, Bench, Disk, identify, poke, run, run_with_input};
use crate::table_writer as table;

const MIB: u64 = 1 << 20;

/// Exact partitions as partx sees them, and the identity of the table as blkid sees it.
fn judge(path: &std::path::Path) -> ondisk::PartitionTable {
    bench::agree(path);
    table::agree(path, 512)
}

#[test]
fn gpt() {
    let Some(bench) = Bench::new(&["sfdisk", "partx"]) else { return };
    let disk = bench.image(64 * MIB);
    run_with_input(
        "sfdisk",
        &[&"-q", &disk],
        "label: gpt\n\
         size=1M, type=21686148-6449-6E6F-744E-656564454649, attrs=LegacyBIOSBootable\n\
         size=10M, name=\"my part / x\", type=L\n\
         size=4M, name=\"\u{fc}n\u{ef}\u{20ac}\", type=S\n\
         size=4M, name=\"a name of thirty-six characters, yes\"\n",
    );
    let table = judge(&disk);
    assert!(table.gpt && table.doubt.is_none());
    assert_eq!(table.partitions.len(), 4);
    assert_eq!(table.partitions[2].name.as_deref(), Some("ünï€"));

    // A hole in the numbers.
    run("sfdisk", &[&"-q", &"--delete", &disk, &"2"]);
    let numbers: Vec<_> = judge(&disk).partitions.iter().map(|partition| partition.number).collect();
    assert_eq!(numbers, [1, 3, 4]);
}

#[test]
fn gpt_from_the_backup() {
    let Some(bench) = Bench::new(&["sfdisk", "partx"]) else { return };
    for damage in [512, 1024] {
        let disk = bench.image(64 * MIB);
        run_with_input("sfdisk", &[&"-q", &disk], "label: gpt\nsize=10M, name=root\n");
        let intact = judge(&disk);
        poke(&disk, damage + 20, b"damage");
        let table = judge(&disk);
        assert!(table.doubt.as_ref().unwrap().contains("backup"));
        assert_eq!(ondisk::PartitionTable { doubt: None, ..table }, intact);

        // The backup goes as well: only the protective MBR is left.
        poke(&disk, 64 * MIB - 512, &[0; 512]);
        let content = identify(&disk);
        let table = content.table.unwrap();
        assert_eq!(table.partitions, []);
        assert!(table.doubt.unwrap().contains("neither"));
        assert_eq!(bench::blkid(&disk).unwrap()["PTTYPE"], b"PMBR");
    }
}

#[test]
fn gpt_with_large_sectors() {
    let Some(bench) = Bench::new(&["partx"]) else { return };
    for sector in [512, 4096] {
        let mut bytes = table::gpt(sector, 2048, &[(300, 399, "one"), (400, 400, "zwei ü 😀")]);
        let disk = bench.path("disk");
        std::fs::write(&disk, &bytes).unwrap();
        let size = u32::try_from(sector).unwrap();
        let found = table::agree(&disk, size);
        assert_eq!(found.partitions[0].start, 300 * sector as u64);
        assert_eq!(found.partitions[1].length, sector as u64);
        assert_eq!(found.doubt, None);

        bytes[sector..sector + 8].fill(0);
        std::fs::write(&disk, &bytes).unwrap();
        let found = table::agree(&disk, size);
        assert!(found.doubt.unwrap().contains("backup"));
    }
}

#[test]
fn mbr() {
    let Some(bench) = Bench::new(&["sfdisk", "partx"]) else { return };
    let disk = bench.image(64 * MIB);
    run_with_input(
        "sfdisk",
        &[&"-q", &disk],
        "label: dos\nlabel-id: 0x00c0ffee\n\
         size=4M, type=83, bootable\nsize=4M, type=82\nsize=40M, type=5\n\
         size=4M, type=83\nsize=4M, type=8e\nsize=4M, type=fd\n",
    );
    let found = judge(&disk);
    assert!(!found.gpt);
    assert_eq!(found.uuid, "00c0ffee");
    assert!(found.partitions.iter().any(|partition| partition.number >= 5), "{found:?}");
    let logical: Vec<_> =
        found.partitions.iter().filter(|p| p.number >= 5).map(|p| p.uuid.as_str()).collect();
    assert_eq!(logical[0], "00c0ffee-05");
}

#[test]
fn mbr_with_large_sectors_and_logical_partitions() {
    let Some(bench) = Bench::new(&["partx"]) else { return };
    for sector in [512_u32, 4096] {
        let disk = bench.image(2048 * u64::from(sector));
        let at = |lba: u32| u64::from(lba) * u64::from(sector);
        poke(&disk, 0, &table::mbr(&[(0x83, 64, 64), (0x0f, 256, 1024)]));
        poke(&disk, at(256), &table::mbr(&[(0x83, 2, 98), (0x05, 100, 200)]));
        poke(&disk, at(356), &table::mbr(&[(0x83, 2, 198)]));
        let found = table::agree(&disk, sector);
        let seen: Vec<_> = found.partitions.iter().map(|p| (p.number, p.start / u64::from(sector))).collect();
        assert_eq!(seen, [(1, 64), (2, 256), (5, 258), (6, 358)]);
    }
}

#[test]
fn chain_of_boot_records_that_never_ends() {
    let Some(bench) = Bench::new(&[]) else { return };
    let disk = bench.image(MIB);
    poke(&disk, 0, &table::mbr(&[(0x05, 100, 1000)]));
    poke(&disk, 100 * 512, &table::mbr(&[(0x05, 200, 100)]));
    poke(&disk, 300 * 512, &table::mbr(&[(0x05, 200, 100)]));
    let found = identify(&disk).table.unwrap();
    assert_eq!(found.partitions.len(), 1);
    // With data in the loop the numbers run out.
    poke(&disk, 300 * 512, &table::mbr(&[(0x83, 1, 1), (0x05, 200, 100)]));
    let found = identify(&disk).table.unwrap();
    assert_eq!(found.partitions.last().map(|partition| partition.number), Some(255));
    // A second extended partition does not start the count again.
    poke(&disk, 0, &table::mbr(&[(0x05, 100, 1000), (0x05, 100, 1000)]));
    let found = identify(&disk).table.unwrap();
    assert_eq!(found.partitions.last().map(|partition| partition.number), Some(255));
}

#[test]
fn mbr_without_signature_has_no_uuids() {
    let Some(bench) = Bench::new(&["partx"]) else { return };
    let disk = bench.image(8 * MIB);
    let mut record = table::mbr(&[(0x83, 64, 64)]);
    record[440..444].fill(0);
    poke(&disk, 0, &record);
    let found = judge(&disk);
    assert_eq!((found.uuid.as_str(), found.partitions[0].uuid.as_str()), ("", ""));
}

/// File systems whose first sector ends in 55 AA as well.
#[test]
fn boot_sectors_are_no_tables() {
    let Some(bench) = Bench::new(&["mkfs.vfat"]) else { return };
    for (bits, size) in [("12", 4 * MIB), ("16", 64 * MIB), ("32", 128 * MIB)] {
        let disk = bench.image(size);
        run("mkfs.vfat", &[&"-F", &bits, &disk]);
        assert_eq!(bench::agree(&disk).table, None);
    }
    let disk = bench.image(8 * MIB);
    poke(&disk, 0, &table::mbr(&[(0x83, 64, 64)]));
    poke(&disk, 3, b"NTFS    ");
    assert_eq!(identify(&disk).table, None);
}

/// A bootable image: a file system and a table on the same device are no contradiction.
#[test]
fn hybrid_iso() {
    let Some(bench) = Bench::new(&["xorriso", "sfdisk", "partx"]) else { return };
    let source = bench.path("tree");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("file"), vec![1; 2 << 20]).unwrap();
    let disk = bench.path("disk");
    run("xorriso", &[&"-as", &"mkisofs", &"-quiet", &"-V", &"HYBRID", &"-o", &disk, &source]);
    poke(&disk, 0, &table::mbr(&[(0x17, 0, 4096)]));
    let content = bench::agree(&disk);
    assert_eq!(content.only().unwrap().kind, ondisk::Kind::Iso9660);
    assert_eq!(content.table.unwrap().partitions.len(), 1);
}

/// pvcreate wipes a table, so a table beside a label is newer; but a boot loader's record without entries is not one.
#[test]
fn table_beside_an_lvm_label() {
    let Some(bench) = Bench::new(&[]) else { return };
    let disk = bench.image(16 * MIB);
    poke(&disk, 0, include_bytes!("../fixtures/lvm2-pv.bin"));
    poke(&disk, 0, &table::mbr(&[]));
    let content = bench::agree(&disk);
    assert_eq!((content.only().unwrap().kind, content.table), (ondisk::Kind::Lvm2Pv, None));
    poke(&disk, 0, &table::mbr(&[(0x83, 64, 64)]));
    let content = bench::agree(&disk);
    assert_eq!(content.signatures, []);
    assert!(content.table.is_some());
}

#[test]
fn reads_stay_within_the_device() {
    // A table whose sector size the device does not share.
    let bytes = table::gpt(4096, 2048, &[(300, 399, "one")]);
    let content = ondisk::identify(&bytes.as_slice()).unwrap();
    assert!(content.table.unwrap().partitions.is_empty());
    let bench = Bench::new(&[]);
    if let Some(bench) = bench {
        let disk = bench.path("disk");
        std::fs::write(&disk, &bytes).unwrap();
        assert_eq!(ondisk::identify(&Disk::open(&disk, 4096)).unwrap().table.unwrap().partitions.len(), 1);
    }
}
