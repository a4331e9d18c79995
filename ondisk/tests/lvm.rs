//! Physical volumes made by lvm2: what is read from them, from damaged copies, and from any other bytes.

mod sparse;

use std::fs;
use std::path::PathBuf;

use ondisk::lvm::{Area, PhysicalVolume, Value, VolumeGroup, parse_metadata};
use ondisk::{Kind, identify};
use sparse::Sparse;

fn file(path: &str) -> Vec<u8> {
    fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Size, then offset (u32), length (u16) and bytes of each run.
fn disk(name: &str) -> Sparse {
    let seed = file(&format!("tests/fixtures/lvm/{name}"));
    let (size, mut rest) = seed.split_at(8);
    let mut runs = Vec::new();
    while let Some((header, tail)) = rest.split_at_checked(6) {
        let offset = u32::from_le_bytes(header[..4].try_into().unwrap());
        let length = usize::from(u16::from_le_bytes(header[4..].try_into().unwrap()));
        let mut bytes = tail[..length].to_vec();
        // Sectors are stored without the zeroes at their end.
        if length < 512 {
            bytes.resize(512, 0);
        }
        runs.push((u64::from(offset), bytes));
        rest = &tail[length..];
    }
    Sparse { size: u64::from_le_bytes(size.try_into().unwrap()), runs }
}

fn pv(disk: &Sparse) -> PhysicalVolume {
    let content = identify(disk).unwrap();
    assert_eq!(content.only().map(|signature| signature.kind), Some(Kind::Lvm2Pv));
    content.member.unwrap().lvm().unwrap().clone()
}

fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0xf597_a6cf, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

/// Changes a metadata area's header and puts its checksum right.
fn edit(disk: &mut Sparse, area: u64, change: impl Fn(&mut Vec<u8>)) {
    let (_, header) = disk.runs.iter_mut().find(|(at, _)| *at == area).unwrap();
    change(header);
    let sum = crc(&header[4..]);
    header[..4].copy_from_slice(&sum.to_le_bytes());
}

/// Where the second area of `mixed-pv0` and its text begin.
const SECOND: u64 = 66_060_288;
const TEXT: u64 = 114_176;

fn damage_text(disk: &mut Sparse, area: u64) {
    disk.runs.iter_mut().find(|(at, _)| *at == area + TEXT).unwrap().1[100] ^= 1;
}

#[test]
fn a_group_of_three() {
    let disks = ["mixed-pv0", "mixed-pv1", "mixed-pv2"].map(disk);
    let pvs = disks.each_ref().map(pv);
    assert_eq!(pvs[0].id, "5q0z5r18fv6CWHPNePDHdX4sIaCdvTJk");
    assert_eq!(pvs[0].device_size, 64 << 20);
    assert_eq!(pvs[0].data_areas, [Area { offset: 1 << 20, length: 0 }]);
    let areas = [Area { offset: 4096, length: 1_044_480 }, Area { offset: SECOND, length: 1 << 20 }];
    assert_eq!(pvs[0].metadata_areas, areas);
    assert_eq!(pvs[0].vg, pvs[1].vg);
    assert!(pvs.iter().all(|pv| pv.doubts.is_empty()));
    // Made with --metadatacopies 0.
    assert_eq!((pvs[2].metadata_areas.len(), &pvs[2].vg), (0, &None));
    let vg = pvs[0].vg.as_ref().unwrap();
    assert_eq!((vg.name.as_str(), vg.seqno, vg.extent_size), ("fix-tures", 25, 8192));
    assert_eq!(vg.id, "of4eOcxaHjnyfDhtpwwf7tXtZPL4s0vO");
    assert_eq!(vg.status, ["RESIZEABLE", "READ", "WRITE"]);
    assert_eq!(vg.tags, ["prod", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9"]);
    assert_eq!((vg.system_id.as_ref(), vg.lock_type.as_ref()), (None, None));
    assert_eq!(vg.pvs.iter().map(|pv| pv.id.as_str()).collect::<Vec<_>>(), pvs.each_ref().map(|pv| &pv.id));
    let entry = vg.pv("pv2").unwrap();
    assert_eq!(entry.device.as_deref(), Some("/dev/vde"));
    assert_eq!((entry.dev_size, entry.pe_start, entry.pe_count), (65536, 2048, 7));
    let visible: Vec<_> = vg.lvs.iter().filter(|lv| lv.is_visible()).map(|lv| lv.name.as_str()).collect();
    assert_eq!(
        visible,
        ["root", "a-b", "mir", "ro", "skip", "pool", "thin", "snapshot0", "lvol0_pmspare"][..8]
    );
    assert_eq!(vg.lv("root").unwrap().read_ahead, None);
    assert_eq!(vg.lv("ro").unwrap().read_ahead, Some(0));
    assert_eq!(vg.lv("skip").unwrap().read_ahead, Some(256));
    assert_eq!(vg.lv("skip").unwrap().flags, ["ACTIVATION_SKIP"]);
    assert_eq!(vg.lv("a-b").unwrap().tags, ["boot"]);
    let segment = &vg.lv("a-b").unwrap().segments[0];
    assert_eq!((segment.kind.as_str(), segment.config.number("stripe_size")), ("striped", Some(128)));
    assert_eq!(segment.config.areas("stripes").unwrap(), [("pv0", 2), ("pv1", 0)]);
    let raids = vg.lv("mir").unwrap().segments[0].config.list("raids").unwrap().len();
    assert_eq!(raids, 4);
    assert_eq!(vg.lv("snapshot0").unwrap().segments[0].config.text("cow_store"), Some("snap"));
}

#[test]
fn a_text_that_wraps() {
    let pv = pv(&disk("wrapped"));
    assert_eq!(pv.doubts, [""; 0]);
    let vg = pv.vg.unwrap();
    assert_eq!((vg.name.as_str(), vg.seqno, vg.tags.len()), ("wrapped", 22, 0));
    assert_eq!(Some(vg), parse_metadata(&file("../fuzz/seeds/lvm_metadata/small")).ok());
}

/// As lvm2: an area whose header or text is damaged is as if it were not there.
#[test]
fn damaged_copies() {
    let whole = pv(&disk("mixed-pv0"));
    for (change, doubt) in [
        (
            (|disk| damage_text(disk, 4096)) as fn(&mut Sparse),
            "metadata area 1: the checksum of its text is wrong",
        ),
        (|disk| disk.runs[1].1[300] ^= 1, "metadata area 1 has a header with a wrong checksum"),
        (
            |disk| edit(disk, 4096, |header| header[4] = 0),
            "metadata area 1 has a header with a wrong magic number",
        ),
        (
            |disk| edit(disk, 4096, |header| header[20] = 2),
            "metadata area 1 has a header with a wrong version",
        ),
        (|disk| edit(disk, 4096, |header| header[24] = 1), "metadata area 1 has a header with a wrong start"),
        (
            |disk| edit(disk, 4096, |header| header[44] = 1),
            "metadata area 1: its text does not fit into the area",
        ),
    ] {
        let mut disk = disk("mixed-pv0");
        change(&mut disk);
        let pv = pv(&disk);
        assert_eq!((&pv.vg, &pv.doubts), (&whole.vg, &vec![doubt.to_owned()]));
    }
    let mut both = disk("mixed-pv0");
    damage_text(&mut both, 4096);
    damage_text(&mut both, SECOND);
    let pv = pv(&both);
    assert_eq!((pv.vg, pv.doubts.len()), (None, 2));
}

#[test]
fn older_and_ignored_copies() {
    let older = parse_metadata(&file("../fuzz/seeds/lvm_metadata/mixed")).unwrap();
    for (area, other) in [(4096, SECOND), (SECOND, 4096)] {
        let mut device = disk("mixed-pv0");
        let text = device.runs.iter_mut().find(|(at, _)| *at == area + TEXT).unwrap();
        let at = text.1.windows(10).position(|window| window == b"seqno = 25").unwrap();
        text.1[at + 9] = b'9';
        let sum = crc(&text.1);
        edit(&mut device, area, |header| header[56..60].copy_from_slice(&sum.to_le_bytes()));
        let found = pv(&device);
        assert_eq!(found.vg.unwrap(), VolumeGroup { seqno: 29, ..older.clone() });
        assert_eq!(found.doubts.len(), 1);
        assert!(found.doubts[0].ends_with("is older (seqno 25)"), "{:?}", found.doubts);
        assert_eq!(found.doubts[0].contains("area 2"), other == SECOND, "{:?}", found.doubts);
        // Ignored, as vgchange --vgmetadatacopies does it.
        edit(&mut device, area, |header| header[60] = 1);
        let found = pv(&device);
        assert_eq!((found.vg.unwrap().seqno, found.doubts.len()), (25, 0));
        // No metadata was ever committed to the other.
        edit(&mut device, other, |header| header[40..64].fill(0));
        assert_eq!(pv(&device).vg, None);
    }
}

#[test]
fn what_lvm2_refuses() {
    let text = String::from_utf8(file("../fuzz/seeds/lvm_metadata/mixed")).unwrap();
    for (from, to, error) in [
        ("Text Format Volume Group", "Text Format", "not LVM2 metadata"),
        ("version = 1\n", "version = 2\n", "not LVM2 metadata"),
        ("extent_size = 8192", "extent_size = 0", "VG fix-tures: extent_size"),
        ("extent_size = 8192", "extent_size = 4294967296", "VG fix-tures: extent_size"),
        ("extent_size = 8192", "extent_size = -8192", "VG fix-tures: extent_size"),
        ("seqno = 25", "seqno = \"25\"", "VG fix-tures: seqno"),
        ("format = \"lvm2\"", "format = \"lvm3\"", "not lvm2"),
        ("id = \"of4eOc-", "id = \"of4eO-", "VG fix-tures: id"),
        ("id = \"5q0z5r-", "id = \"5q/z5r-", "PV pv0: id"),
        ("\"RESIZEABLE\"", "\"HOLOGRAPHIC\"", "status flag HOLOGRAPHIC"),
        ("fix-tures {", "../etc {", "VG ../etc: its name"),
        ("a-b {", "\"a/b\" {", "LV a/b: its name"),
        ("segment_count = 1", "segment_count = 2", "LV root: segment_count"),
        ("start_extent = 0", "start_extent = 1", "LV root: its segments"),
        ("extent_count = 2", "extent_count = 0", "LV root: the extents"),
        ("extent_count = 2", "extent_count = 99999999999", "LV root: the extents"),
        ("physical_volumes {", "fizical_volumes {", "physical_volumes"),
        ("type = \"striped\"", "type = 1", "LV root: the type"),
    ] {
        assert!(text.contains(from), "{from}");
        let changed = text.replacen(from, to, 1);
        let refused = parse_metadata(changed.as_bytes()).unwrap_err().to_string();
        assert!(refused.contains(error), "{from} -> {to}: {refused}");
    }
}

#[test]
fn flags_and_numbers() {
    let text = String::from_utf8(file("../fuzz/seeds/lvm_metadata/small")).unwrap();
    let text = text
        .replacen("status = [\"READ\", \"WRITE\", \"VISIBLE\"]", "status = [\"READ\", \"FIXED_MINOR\"]", 1)
        .replacen("creation_host", "minor = 77\ncreation_host", 1)
        .replacen("type = \"striped\"", "type = \"striped+ONE+TWO\"\nx = -1 y { z = 1 }", 1)
        .replacen("metadata_copies", "system_id = \"me\"\nlock_type = \"dlm\"\nmetadata_copies", 1);
    let vg = parse_metadata(text.as_bytes()).unwrap();
    let lv = vg.lv("root").unwrap();
    assert_eq!((lv.is_visible(), lv.device_number), (false, Some((0, 77))));
    assert_eq!(
        (lv.segments[0].kind.as_str(), &lv.segments[0].kind_flags[..]),
        ("striped", &["ONE".into(), "TWO".into()][..])
    );
    assert_eq!(lv.segments[0].config.get("x"), Some(&Value::Number(-1)));
    assert_eq!(lv.segments[0].config.section("y").unwrap().number("z"), Some(1));
    assert_eq!((vg.system_id.as_deref(), vg.lock_type.as_deref()), (Some("me"), Some("dlm")));
    let locked = text.replacen("flags = []\ncreation", "flags = [\"WRITE_LOCKED\"]\ncreation", 1);
    assert_eq!(
        parse_metadata(locked.as_bytes()).unwrap().lv("root").unwrap().status,
        ["READ", "FIXED_MINOR", "WRITE"]
    );
}

/// Each byte takes all values; in the large text, where that takes minutes, tokens of the format and two flipped bits.
#[test]
fn every_prefix_and_every_byte_of_a_text() {
    const TOKENS: &[u8] = b"\0\"{}[9\\# ";
    for (name, others) in [("small", None), ("mixed", Some(TOKENS))] {
        let mut text = file(&format!("../fuzz/seeds/lvm_metadata/{name}"));
        for length in 0..text.len() {
            let _ = parse_metadata(&text[..length]);
        }
        for at in 0..text.len() {
            let byte = text[at];
            let all: Vec<u8> = match others {
                None => (0..=u8::MAX).collect(),
                Some(tokens) => [tokens, &[byte ^ 1, byte ^ 0x80]].concat(),
            };
            for other in all {
                text[at] = other;
                let _ = parse_metadata(&text);
            }
            text[at] = byte;
        }
    }
}

/// Damage anywhere is seen as such and never makes another group.
#[test]
fn every_byte_of_a_disk() {
    for name in ["mixed-pv1", "wrapped"] {
        let whole = pv(&disk(name));
        let mut device = disk(name);
        for run in 0..device.runs.len() {
            for at in 0..device.runs[run].1.len() {
                for flip in [1, 0xff] {
                    device.runs[run].1[at] ^= flip;
                    let content = identify(&device).unwrap();
                    let damaged = content.member.as_ref().and_then(|member| member.lvm());
                    // The second area's text is not read when its header says that it is the same.
                    if run <= 4 {
                        assert_ne!(damaged, Some(&whole), "{name}: byte {at} of run {run}");
                    }
                    if let Some(vg) = damaged.and_then(|pv| pv.vg.as_ref()) {
                        assert_eq!(Some(vg), whole.vg.as_ref());
                    }
                    device.runs[run].1[at] ^= flip;
                }
            }
        }
        for length in (0..140 << 10).step_by(499) {
            let _ = identify(&Sparse { size: length, ..device.clone() });
        }
    }
}
