//! dm-verity, dm-integrity, bcache and ZFS: made by the real tools, or byte for byte where no tool runs without a kernel.

use crate::bench::{Bench, agree, agree_on, blkid, command, identify, ours, poke, run};
use ondisk::{Kind, Member};

const MIB: u64 = 1 << 20;

#[test]
fn verity() {
    let Some(bench) = Bench::new(&["veritysetup"]) else { return };
    for (options, blocks) in [
        (&["--format", "1"][..], 4096),
        (&["--format", "0"], 4096),
        (&["--hash", "sha512"], 4096),
        (&["--data-block-size", "1024", "--hash-block-size", "512", "--salt", "-"], 512),
        (&["--salt", "00ff", "--data-blocks", "1"], 4096),
    ] {
        let data = bench.path("data");
        std::fs::write(&data, vec![7; 3 << 20]).unwrap();
        let hash = bench.image(4 * MIB);
        let output =
            command("veritysetup").arg("format").args(options).args([&data, &hash]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap();
        let field = |name: &str| {
            let line = said
                .lines()
                .find(|line| line.starts_with(name))
                .unwrap_or_else(|| panic!("{name} in {said}"));
            line.split_once(':').unwrap().1.trim().to_owned()
        };
        let signature = agree_on(&hash, Kind::DmVerity);
        assert_eq!(signature.uuid, Some(field("UUID")));
        let content = identify(&hash);
        let sb = content.member.as_deref().and_then(Member::verity).unwrap();
        assert_eq!(sb.format.to_string(), field("Hash type"));
        assert_eq!(sb.algorithm, field("Hash algorithm"));
        assert_eq!(sb.data_block.to_string(), field("Data block size"));
        assert_eq!(sb.hash_block.to_string(), field("Hash block size"));
        assert_eq!(sb.hash_block, blocks);
        assert_eq!(sb.data_blocks.to_string(), field("Data blocks"));
        assert_eq!(sb.salt, field("Salt").trim_matches('-'));
        let root = (sb.data_blocks > 1 && sb.algorithm == "sha256").then(|| field("Root hash"));
        assert_eq!(sb.root, root, "{options:?}");
    }
}

#[test]
fn integrity() {
    let Some(bench) = Bench::new(&["integritysetup"]) else { return };
    // Formatting needs the kernel; the bytes are those of its `struct superblock`.
    let disk = bench.image(4 * MIB);
    poke(&disk, 0, b"integrt\0\x04\x0f\x04\0\x58\0\0\0\xe8\x1f\0\0\0\0\0\0\0\0\0\0\x03");
    let signature = agree_on(&disk, Kind::DmIntegrity);
    assert_eq!(signature.version.as_deref(), Some("4"));
    let output = command("integritysetup").arg("dump").arg(&disk).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let content = identify(&disk);
    let sb = content.member.as_deref().and_then(Member::integrity).unwrap();
    for expected in [
        format!("integrity_tag_size {}", sb.tag),
        format!("provided_data_sectors {}", sb.sectors),
        format!("sector_size {}", sb.block),
    ] {
        assert!(said.contains(&expected), "{expected} in {said}");
    }
}

/// blkid before 2.39 prints neither label nor version of bcache and checks no checksum.
#[test]
fn bcache() {
    let Some(bench) = Bench::new(&[]) else { return };
    let disk = bench.image(4 * MIB);
    poke(&disk, 4096, include_bytes!("../fixtures/bcache-backing.bin"));
    let content = identify(&disk);
    let signature = content.only().unwrap();
    assert_eq!(signature.kind, Kind::Bcache);
    let sb = content.member.as_deref().and_then(Member::bcache).unwrap();
    assert!(sb.backing && sb.set.is_none() && !sb.dirty);
    let (mut ours, theirs) = (ours(&content).unwrap(), blkid(&disk).unwrap());
    ours.retain(|name, _| theirs.contains_key(name));
    assert_eq!(ours, theirs);
}

#[test]
fn zfs() {
    let Some(bench) = Bench::new(&[]) else { return };
    let disk = bench.image(64 * MIB);
    let pair = |name: &str, kind: u32, value: &[u8]| {
        let mut pair = vec![0; 8];
        pair.extend(u32::try_from(name.len()).unwrap().to_be_bytes());
        pair.extend(name.bytes());
        pair.resize(pair.len().next_multiple_of(4), 0);
        pair.extend([kind.to_be_bytes(), 1_u32.to_be_bytes()].concat());
        pair.extend(value);
        let size = u32::try_from(pair.len()).unwrap().to_be_bytes();
        pair[..4].copy_from_slice(&size);
        pair
    };
    let mut list = vec![1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    list.extend(pair("version", 8, &5000_u64.to_be_bytes()));
    list.extend(pair("name", 9, b"\0\0\0\x04tank"));
    list.extend(pair("pool_guid", 8, &0xf123_4567_89ab_cdef_u64.to_be_bytes()));
    list.extend(pair("guid", 8, &88_u64.to_be_bytes()));
    list.extend(pair("vdev_tree", 19, &[0; 8]));
    list.extend(pair("guid", 8, &99_u64.to_be_bytes()));
    list.extend([0; 8]);
    list.extend(pair("hostname", 9, b"\0\0\0\x04host"));
    poke(&disk, 16 << 10, &list);
    for slot in 4..8 {
        let mut uberblock = 0x00ba_b10c_u64.to_le_bytes().to_vec();
        uberblock.extend(5000_u64.to_le_bytes());
        poke(&disk, (128 + slot) << 10, &uberblock);
    }
    let signature = agree_on(&disk, Kind::ZfsMember);
    assert_eq!(signature.label.as_deref(), Some(&b"tank"[..]));
    // One fewer is not enough for either.
    poke(&disk, 132 << 10, &[0; 8]);
    assert!(agree(&disk).signatures.is_empty());
}

#[test]
fn btrfs_of_two_devices() {
    let Some(bench) = Bench::new(&["mkfs.btrfs"]) else { return };
    let (one, other) = (bench.image(128 * MIB), bench.path("other"));
    std::fs::File::create(&other).unwrap().set_len(128 * MIB).unwrap();
    run("mkfs.btrfs", &[&"-q", &"-d", &"raid1", &"-m", &"raid1", &one, &other]);
    for (path, index) in [(one, 1), (other, 2)] {
        agree_on(&path, Kind::Btrfs);
        let content = identify(&path);
        let membership = content.member.as_deref().and_then(Member::btrfs).unwrap();
        assert_eq!((membership.devices, membership.index), (2, index));
    }
}
