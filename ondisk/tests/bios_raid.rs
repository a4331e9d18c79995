//! What each of dmraid's formats says, byte by byte from the documented layouts: every level, every state, every refusal.
//! Sets that dmraid maps are compared with it in `blkid_oracle` and in the engine's tests.

mod sparse;

#[path = "blkid_oracle/ata_writer.rs"]
#[allow(dead_code, reason = "sets are for the tests that ask dmraid")]
mod ata_writer;

use ata_writer::{
    DISK, Runs, adaptec, hpt37x, hpt45x, jmicron, lsi, nvidia, promise, promise_area, silicon, silicon_but,
    via,
};
use ondisk::ata_raid::{Disk, Format, Level, Part, State};
use ondisk::{Member, identify};
use sparse::Sparse;

/// Level, state, members, place, offset and sectors.
type Says = (Level, State, u32, u32, u64, u64);

/// The parts of a disk; none where its metadata cannot be understood, which is said.
fn parts(runs: Runs, format: Format) -> Vec<Part> {
    let content = identify(&Sparse { size: DISK * 512, runs }).unwrap();
    let signature = content.only().unwrap();
    assert_eq!(signature.kind, format.kind());
    match content.member.as_deref().and_then(Member::ata_raid) {
        Some(Disk::Parts(is, parts)) => {
            assert_eq!((*is, &signature.doubt), (format, &None));
            parts.clone()
        }
        Some(other) => panic!("{other:?}"),
        None => {
            assert!(signature.doubt.as_deref().unwrap().contains("checksum or geometry"));
            Vec::new()
        }
    }
}

fn part(runs: Runs, format: Format) -> Part {
    let mut parts = parts(runs, format);
    assert_eq!(parts.len(), 1);
    parts.remove(0)
}

fn says(part: &Part) -> Says {
    (part.level, part.state, part.members, part.order, part.offset, part.sectors)
}

/// The upper set: its name, its level, the place in it, how many it joins.
fn above(part: &Part) -> Option<(&str, Level, u32, u32)> {
    part.above.as_ref().map(|above| (above.set.as_str(), above.level, above.order, above.members))
}

/// Other bytes in the last run, with the checksum that `seal` makes.
fn but(mut runs: Runs, at: usize, value: &[u8], seal: &dyn Fn(&mut [u8])) -> Runs {
    let bytes = &mut runs.last_mut().unwrap().1;
    bytes[at..at + value.len()].copy_from_slice(value);
    seal(bytes);
    runs
}

fn unsealed(_: &mut [u8]) {}

#[test]
fn nvidias() {
    let seal = |meta: &mut [u8]| {
        meta[12..16].fill(0);
        let words = meta.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap()));
        let sum = words.fold(0, u32::wrapping_add);
        meta[12..16].copy_from_slice(&sum.wrapping_neg().to_le_bytes());
    };
    let of = |runs| part(runs, Format::Nvidia);
    let data = DISK - 2;
    // The third disk of a mirror of two stands by, and so does one without a level.
    assert_eq!(of(nvidia(0x81, 2, 1, 2, 0)).level, Level::Spare);
    assert_eq!(of(nvidia(0, 0, 1, 1, 0)).level, Level::Spare);
    assert_eq!(of(nvidia(0x95, 3, 2, 3, 0)).level, Level::Spare);
    for code in [0x83, 0x85, 0x8a, 0x77] {
        assert_eq!(of(nvidia(code, 0, 3, 2, 0)).level, Level::Unsupported(code));
    }
    for (job, state) in [
        (0, State::Ok),
        (1, State::Rebuilding),
        (2, State::Unsynced),
        (3, State::Rebuilding),
        (4, State::Rebuilding),
        (5, State::Unsynced),
    ] {
        let part = of(nvidia(0x81, 1, 1, 2, job));
        assert_eq!(says(&part), (Level::Raid1, state, 2, 1, 0, data), "{job}");
    }
    let broken = of(but(nvidia(0x80, 0, 2, 2, 0), 0x74, &[2], &seal));
    assert_eq!(says(&broken), (Level::Raid0, State::Broken, 2, 0, 0, data));
    let half = of(nvidia(0x8180, 3, 2, 4, 0));
    assert_eq!((half.members, half.order), (2, 3));
    assert_eq!(above(&half), Some(("nvidia_eeegeadc", Level::Raid1, 1, 2)));
    assert_eq!(parts(but(nvidia(0x80, 0, 2, 2, 0), 8, &[29], &seal), Format::Nvidia), []);
}

#[test]
fn promises() {
    let seal = |area: &mut [u8]| {
        let words = area[..2044].chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap()));
        let sum = words.fold(0, u32::wrapping_add);
        area[2044..].copy_from_slice(&sum.to_le_bytes());
    };
    let area = |kind, number, disks| promise(63, vec![promise_area(kind, number, disks, 0x1111, 0, 24000)]);
    let of = |runs| part(runs, Format::Promise);
    assert_eq!(says(&of(area(0, 1, 3))), (Level::Raid0, State::Ok, 3, 1, 0, 8000));
    assert_eq!(says(&of(area(1, 1, 3))), (Level::Raid1, State::Ok, 3, 1, 0, 24000));
    assert_eq!(says(&of(area(8, 1, 3))), (Level::Linear, State::Ok, 3, 1, 0, DISK - 63));
    for kind in [1, 2] {
        let half = of(area(kind, 3, 4));
        assert_eq!(says(&half), (Level::Raid0, State::Ok, 2, 3, 0, 12000));
        assert_eq!(above(&half), Some(("pdc_edgj", Level::Raid1, 1, 2)));
    }
    assert_eq!(of(area(5, 0, 3)).level, Level::Unsupported(5));
    for disks in [0, 8] {
        assert_eq!(parts(area(0, 0, disks), Format::Promise), []);
    }
    // Half of one disk.
    assert_eq!(parts(area(2, 0, 1), Format::Promise), []);
    assert_eq!(of(but(area(0, 0, 2), 0x221, &[0], &seal)).stride, 0);
    assert_eq!(parts(but(area(0, 0, 2), 0x221, &[40], &seal), Format::Promise), []);
    // Of further areas nobody checks the sum; the first that is none ends the list.
    let areas = [0, 1, 2].map(|index| promise_area(1, 0, 2, 0x2222 + index, index * 1000, 1000));
    let runs = but(promise(256, areas.to_vec()), 2044, &[0; 4], &unsealed);
    let offsets: Vec<u64> = parts(runs, Format::Promise).iter().map(|part| part.offset).collect();
    assert_eq!(offsets, [0, 1000, 2000]);
    let mut runs = promise(256, areas.to_vec());
    runs[1].1[0] = b'p';
    assert_eq!(parts(runs, Format::Promise).len(), 1);
}

#[test]
fn silicon_images() {
    let of = |runs| part(runs, Format::Silicon);
    let usable = DISK - 3 * 512 - 2;
    let one = |kind, disks| silicon(kind, 1, (disks, 0), (2, 0), 24000);
    assert_eq!(says(&of(one(0, 3))), (Level::Raid0, State::Ok, 3, 1, 0, 8000));
    // Number 1 of one.
    assert_eq!(says(&of(one(0, 1))), (Level::Unsupported(0), State::Ok, 0, 1, 0, usable));
    assert_eq!(says(&of(one(1, 0xff))), (Level::Raid1, State::Ok, 2, 1, 0, 24000));
    let half = of(silicon(2, 1, (2, 1), (2, 1), 24000));
    assert_eq!(says(&half), (Level::Raid0, State::Ok, 2, 1, 0, 24000));
    assert_eq!(
        (half.set.as_str(), above(&half).unwrap()),
        ("sil_acbccicdfifj-1", ("sil_acbccicdfifj", Level::Raid1, 1, 2))
    );
    assert_eq!(says(&of(one(3, 0))), (Level::Spare, State::Ok, 0, 1, 0, usable));
    let five = Level::Raid5(ondisk::ata_raid::Parity::LeftSymmetric);
    assert_eq!(says(&of(one(16, 4))), (five, State::Ok, 4, 1, 0, 8000));
    for kind in [4, 255] {
        let share = DISK - 2048;
        assert_eq!(says(&of(one(kind, 3))), (Level::Linear, State::Ok, 3, 1, 0, share));
        for alone in [0, 1, 0xff] {
            let part = of(one(kind, alone));
            assert_eq!((says(&part), part.total), ((Level::Linear, State::Ok, 1, 1, 0, share), Some(24000)));
        }
    }
    for (kind, disks) in [(16, 2), (16, 9), (16, 0), (5, 3), (0xfd, 1)] {
        assert_eq!(of(one(kind, disks)).level, Level::Unsupported(kind.into()));
    }
    let state = |kind, disk, set| {
        let change = |meta: &mut [u8]| meta[0x128..0x12a].copy_from_slice(&[disk, set]);
        of(silicon_but(kind, 1, (3, 0), (2, 0), 24000, &change)).state
    };
    for (disk, set, mirror, parity) in [
        (1, 0, State::Ok, State::Ok),
        (1, 1, State::Unsynced, State::Unsynced),
        (1, 2, State::Ok, State::Ok),
        (1, 3, State::Broken, State::Broken),
        (0, 2, State::Ok, State::Broken),
        (2, 1, State::Rebuilding, State::Rebuilding),
        (3, 2, State::Broken, State::Broken),
        (4, 2, State::Broken, State::Broken),
    ] {
        assert_eq!((state(1, disk, set), state(16, disk, set)), (mirror, parity), "{disk} {set}");
    }
    // The copy in the last sector is the one that counts, for blkid as well.
    let damaged = |copy: usize| {
        let mut runs = one(1, 2);
        runs[copy].1[0x100] ^= 1;
        runs
    };
    let content = identify(&Sparse { size: DISK * 512, runs: damaged(0) }).unwrap();
    assert!(content.signatures.is_empty(), "{content:?}");
    assert_eq!(of(damaged(1)), of(one(1, 2)));
    // More than the disk has.
    let change = |meta: &mut [u8]| meta[0x78..0x7c].copy_from_slice(&(1_u32 << 20).to_le_bytes());
    assert_eq!(parts(silicon_but(1, 1, (2, 0), (2, 0), 24000, &change), Format::Silicon), []);
}

#[test]
fn highpoints_37x() {
    let of = |runs| part(runs, Format::Hpt37x);
    for (kind, disks, number, expected) in [
        (0, 3, 0, (Level::Raid0, State::Ok, 3, 0, 0, 8000)),
        (0, 3, 1, (Level::Raid0, State::Ok, 3, 1, 10, 7990)),
        // For FreeBSD a mirror (by its `order`), for dmraid a stripe.
        (0, 1, 0, (Level::Unsupported(0), State::Ok, 1, 0, 0, DISK)),
        (1, 1, 0, (Level::Raid1, State::Ok, 2, 0, 0, 24000)),
        // FreeBSD numbers the second half of a mirror six.
        (1, 1, 6, (Level::Raid1, State::Ok, 2, 6, 10, 23990)),
        (1, 2, 1, (Level::Raid1, State::Ok, 2, 1, 10, 23990)),
        (2, 2, 1, (Level::Raid0, State::Ok, 2, 1, 10, 11990)),
        (2, 1, 0, (Level::Unsupported(2), State::Ok, 1, 0, 0, DISK)),
        (3, 3, 2, (Level::Linear, State::Ok, 3, 2, 10, DISK - 10)),
        (4, 3, 1, (Level::Unsupported(4), State::Ok, 3, 1, 10, DISK - 10)),
        (5, 3, 0, (Level::Unsupported(5), State::Ok, 3, 0, 0, DISK)),
        (6, 1, 0, (Level::Linear, State::Ok, 1, 0, 0, DISK)),
        (7, 2, 0, (Level::Raid1, State::Ok, 2, 0, 0, 24000)),
        (7, 1, 1, (Level::Raid1, State::Ok, 2, 1, 10, 23990)),
        (8, 2, 0, (Level::Unsupported(8), State::Ok, 2, 0, 0, DISK)),
    ] {
        let part = of(hpt37x(kind, number, disks, 1001, 2001, 1, 24000));
        assert_eq!(says(&part), expected, "mode {kind}, disk {number} of {disks}");
        // The upper level of mode 2 mirrors, that of 7 stripes.
        let upper = match kind {
            2 => Some(("hpt37x_caab", Level::Raid1, 1, 2)),
            7 => Some(("hpt37x_caab", Level::Raid0, 1, 2)),
            _ => None,
        };
        assert_eq!(above(&part), upper, "{kind}");
        assert_eq!(
            (part.set.as_str(), part.stride),
            (if upper.is_some() { "hpt37x_caab-1" } else { "hpt37x_caab" }, 128)
        );
    }
    let bad = but(hpt37x(1, 0, 2, 1001, 0, 1, 24000), 32, &0x5a78_16fd_u32.to_le_bytes(), &unsealed);
    assert_eq!(says(&of(bad)), (Level::Raid1, State::Broken, 2, 0, 0, 24000));
    // Without a set it stands by, whatever its level; without an array it has the set's name.
    let spare = of(hpt37x(7, 0, 2, 0, 2001, 1, 24000));
    assert_eq!((spare.level, spare.set.as_str(), above(&spare)), (Level::Spare, "hpt37x_SPARE", None));
    assert_eq!(of(hpt37x(1, 0, 2, 1001, 0, 1, 24000)).set, "hpt37x_baab");
    assert_eq!(of(but(hpt37x(3, 0, 2, 1001, 0, 1, 24000), 49, &[0], &unsealed)).stride, 0);
    for (at, value) in [(49, 32), (51, 8)] {
        assert_eq!(
            parts(but(hpt37x(0, 1, 2, 1001, 0, 1, 24000), at, &[value], &unsealed), Format::Hpt37x),
            []
        );
    }
    // Less than what lies before the data.
    assert_eq!(parts(hpt37x(1, 1, 2, 1001, 0, 1, 9), Format::Hpt37x), []);
}

#[test]
fn highpoints_45x() {
    let of = |runs| part(runs, Format::Hpt45x);
    let data = DISK - 11;
    for (kind, upper, expected) in [
        (4, 0, (Level::Linear, State::Ok, 2, 1, 0, data)),
        (5, 0, (Level::Raid0, State::Ok, 2, 1, 0, 12000)),
        (6, 0, (Level::Raid1, State::Ok, 2, 1, 0, 24000)),
        (5, 6, (Level::Raid0, State::Ok, 2, 1, 0, 12000)),
        (6, 6, (Level::Raid1, State::Ok, 2, 1, 0, 24000)),
        (7, 0, (Level::Unsupported(7), State::Ok, 2, 1, 0, data)),
        (0, 0, (Level::Unsupported(0), State::Ok, 2, 1, 0, data)),
    ] {
        let part = of(hpt45x(kind, 1, 2, (upper, 1), 24000));
        assert_eq!(says(&part), expected, "{kind} below {upper}");
        assert_eq!(part.above.is_some(), (kind, upper) == (5, 6));
        assert_eq!(part.set.ends_with("-1"), upper == 6, "{}", part.set);
    }
    let with = |at, value: &[u8]| but(hpt45x(5, 1, 2, (6, 1), 24000), at, value, &unsealed);
    assert_eq!(of(with(0, &0x5a78_16fd_u32.to_le_bytes())).state, State::Broken);
    let spare = of(with(4, &[0; 4]));
    assert_eq!((spare.level, spare.set.as_str(), above(&spare)), (Level::Spare, "hpt45x_SPARE", None));
    // No such disk, and shifts that are none.
    for (at, value) in [(18, 8), (19, 32), (35, 32)] {
        assert_eq!(parts(with(at, &[value]), Format::Hpt45x), []);
    }
}

#[test]
fn jmicrons() {
    let seal = |meta: &mut [u8]| {
        meta[4..6].fill(0);
        let words = meta[..128].chunks_exact(2).map(|word| u16::from_le_bytes(word.try_into().unwrap()));
        let sum = words.fold(0, u16::wrapping_add);
        meta[4..6].copy_from_slice(&sum.wrapping_neg().to_le_bytes());
    };
    let of = |runs| part(runs, Format::Jmicron);
    for (mode, level, members) in [
        (0, Level::Raid0, 4),
        (1, Level::Raid1, 4),
        (2, Level::Raid1, 2),
        (3, Level::Linear, 4),
        (5, Level::Unsupported(5), 4),
    ] {
        let part = of(jmicron(mode, 3, 4, "SET"));
        assert_eq!(says(&part), (level, State::Ok, members, 3, 0, 20000), "{mode}");
        let upper = (mode == 2).then_some(("jmicron_SET", Level::Raid0, 1, 2));
        assert_eq!(above(&part), upper);
    }
    let with = |at, value: &[u8]| but(jmicron(0, 1, 2, "SET"), at, value, &seal);
    let part = of(with(0x14, &[0, 1, 0, 0, 2, 0, 0, 0, 7, 0]));
    assert_eq!((part.offset, part.sectors, part.stride), (256, 2 * 65536 + 7, 128));
    assert_eq!(of(with(0x32, &[7])).state, State::Ok);
    assert_eq!(of(with(0x32, &[8])).state, State::Broken);
    // The low bits of an entry are a segment of the disk; one that is not in its own table is nobody.
    assert_eq!(of(with(0x44, &0x112f_u32.to_le_bytes())).order, 1);
    assert_eq!(parts(with(0x44, &0x9991_u32.to_le_bytes()), Format::Jmicron), []);
}

#[test]
fn lsis() {
    let of = |runs| part(runs, Format::Lsi);
    let data = DISK - 1;
    assert_eq!(says(&of(lsi(1, 1, 0))), (Level::Raid0, State::Ok, 2, 1, 0, data));
    assert_eq!(says(&of(lsi(2, 1, 0))), (Level::Raid1, State::Ok, 2, 1, 0, data));
    assert_eq!(says(&of(lsi(0, 1, 0))), (Level::Unsupported(0), State::Ok, 2, 1, 0, data));
    let half = of(lsi(3, 1, 1));
    assert_eq!(says(&half), (Level::Raid0, State::Ok, 2, 1, 0, data));
    assert_eq!(above(&half), Some(("lsi_hgfedceb", Level::Raid1, 1, 2)));
    assert_eq!(of(but(lsi(2, 1, 0), 32 + 16 + 8, &[1], &unsealed)).state, State::Broken);
    assert_eq!(parts(lsi(2, 0, 2), Format::Lsi), []);
}

#[test]
fn vias() {
    let seal =
        |meta: &mut [u8]| meta[50] = meta[..50].iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte));
    let of = |runs| part(runs, Format::Via);
    let data = DISK - 1;
    assert_eq!(says(&of(via(0, 2, 3))), (Level::Raid0, State::Ok, 3, 2, 0, data));
    assert_eq!(says(&of(via(1, 0, 2))), (Level::Raid1, State::Ok, 2, 0, 0, data));
    assert_eq!(says(&of(via(1, 2, 2))), (Level::Raid1, State::Ok, 2, 1, 0, data));
    assert_eq!(says(&of(via(8, 1, 3))), (Level::Linear, State::Ok, 3, 1, 0, data));
    assert_eq!(says(&of(via(2, 1, 3))), (Level::Unsupported(2), State::Ok, 3, 1, 0, data));
    let half = of(via(9, 1 | 1 << 3, 2));
    assert_eq!(says(&half), (Level::Raid0, State::Ok, 2, 1, 0, data));
    assert_eq!(above(&half), Some(("via_chafeejhac", Level::Raid1, 1, 2)));
    let healthy = via(1, 0, 2)[0].1[3..5].to_vec();
    let disk = u16::from_le_bytes([healthy[0], healthy[1]]);
    for (value, state) in [(disk, State::Ok), (disk | 1 << 15, State::Broken), (disk & !4, State::Broken)] {
        assert_eq!(of(but(via(1, 0, 2), 3, &value.to_le_bytes(), &seal)).state, state, "{value:x}");
    }
}

#[test]
fn adaptecs() {
    let of = |runs| part(runs, Format::Adaptec);
    for (code, level) in
        [(0, Level::Raid0), (1, Level::Raid1), (5, Level::Unsupported(5)), (0xff, Level::Unsupported(0xff))]
    {
        let part = of(adaptec(code, 1, 3, false, "SET"));
        assert_eq!(says(&part), (level, State::Ok, 3, 1, 0, 30000));
        assert_eq!((part.set.as_str(), part.stride, above(&part)), ("asr_SET", 128, None));
    }
    let half = of(adaptec(0, 3, 2, true, "SET"));
    assert_eq!((half.set.as_str(), half.members, half.order), (".asr_SET_5002_donotuse", 2, 3));
    assert_eq!(above(&half), Some(("asr_SET", Level::Raid1, 1, 2)));
    // The line of the second disk: after the head, the array's line and the first disk's.
    let line = 64 + 64 + 64;
    let with = |at: usize, value: &[u8]| {
        let mut runs = adaptec(1, 1, 2, false, "SET");
        runs[0].1[at..at + value.len()].copy_from_slice(value);
        runs
    };
    for (code, state) in [
        (0, State::Ok),
        (1, State::Broken),
        (2, State::Rebuilding),
        (3, State::Broken),
        (4, State::Unsynced),
        (0x0a, State::Rebuilding),
        (0x10, State::Unsynced),
        (0x20, State::Unsynced),
        (0x77, State::Broken),
    ] {
        assert_eq!(of(with(line + 10, &[code])).state, state, "{code}");
    }
    let spare = of(with(line + 9, &[0xfe]));
    assert_eq!((spare.level, spare.set.as_str(), above(&spare)), (Level::Spare, ".asr_spares", None));
    // A disk without a name has that of the first line; disks are ordered by their address, not by their line.
    assert_eq!(of(with(line + 48, b"                ")).set, "asr_SET");
    assert_eq!(of(with(64 + 64 + 16, &[0, 0, 0, 9])).order, 0);
    // No line of its own, no array above it, lines of another length, none, and more than there is room for.
    for (at, value) in [
        (line + 4, &[0, 0, 0, 1][..]),
        (64 + 8, &[2]),
        (12, &[0, 63]),
        (10, &[0, 0]),
        (10, &[0, 127]),
        (0, &[0]),
    ] {
        assert_eq!(parts(with(at, value), Format::Adaptec), [], "{at}");
    }
    // A table that lies beyond the disk, and another version of the block.
    for (at, value) in [(0x104, &[0x7f][..]), (0x3f, &[9])] {
        assert_eq!(
            parts(but(adaptec(1, 1, 2, false, "SET"), at, value, &unsealed), Format::Adaptec),
            [],
            "{at}"
        );
    }
}
