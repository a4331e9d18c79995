//! BIOS RAID metadata, written from the documented layouts (dmraid's headers below lib/format/ataraid).

/// Sectors of a disk.
pub const DISK: u64 = 32768;

/// A member: what is written where, in bytes.
pub type Runs = Vec<(u64, Vec<u8>)>;

/// A set: its name in the tests and its disks.
pub struct Set {
    pub name: &'static str,
    pub disks: Vec<Runs>,
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn put32(bytes: &mut [u8], at: usize, value: u32) {
    put(bytes, at, &value.to_le_bytes());
}

fn sum32(bytes: &[u8]) -> u32 {
    bytes.chunks_exact(4).fold(0, |sum, word| sum.wrapping_add(u32::from_le_bytes(word.try_into().unwrap())))
}

fn sum16(bytes: &[u8]) -> u16 {
    bytes.chunks_exact(2).fold(0, |sum, word| sum.wrapping_add(u16::from_le_bytes(word.try_into().unwrap())))
}

/// `before` sectors from the end.
fn at_end(before: u64, bytes: Vec<u8>) -> Runs {
    vec![((DISK - before) * 512, bytes)]
}

pub fn nvidia(level: u32, unit: u8, width: u8, volumes: u8, job: u8) -> Runs {
    let mut meta = vec![0; 120];
    put(&mut meta, 0, b"NVIDIA\0\0");
    put32(&mut meta, 8, 30);
    put(&mut meta, 16, &100_u16.to_le_bytes());
    meta[18] = unit;
    put32(&mut meta, 20, 65000);
    put32(&mut meta, 24, 512);
    put(&mut meta, 28, b"NVIDIA  STRIPE  REV1");
    put32(&mut meta, 0x34, 0x0064_0044);
    for (slot, word) in [0x1234_5678, 0x9abc_def0, 0x0fed_cba9, 0x8765_4321].into_iter().enumerate() {
        put32(&mut meta, 0x38 + slot * 4, word + level);
    }
    put(&mut meta, 0x48, &[job, width, volumes, width]);
    put32(&mut meta, 0x4c, level);
    for (at, value) in [(0x50, 128), (0x54, 65536), (0x58, 7), (0x5c, 127), (0x60, 256), (0x64, 131_072)] {
        put32(&mut meta, at, value);
    }
    let sum = sum32(&meta);
    put32(&mut meta, 12, sum.wrapping_neg());
    at_end(2, meta)
}

/// `array` of `sectors`; a further area of another array may follow.
pub fn promise_area(kind: u8, number: u8, disks: u8, magic: u32, start: u32, sectors: u32) -> Vec<u8> {
    let mut area = vec![0; 2048];
    put(&mut area, 0, b"Promise Technology, Inc.");
    put32(&mut area, 0x200, 0x0280_0000);
    area[0x205] = number;
    put32(&mut area, 0x210, start);
    put32(&mut area, 0x214, sectors);
    put(&mut area, 0x21e, &[15, kind, disks, 7, disks, 0]);
    put32(&mut area, 0x224, sectors);
    put32(&mut area, 0x22c, magic);
    let sum = sum32(&area[..2044]);
    put32(&mut area, 2044, sum);
    area
}

pub fn promise(place: u64, areas: Vec<Vec<u8>>) -> Runs {
    (0..).zip(areas).map(|(index, area)| ((DISK - place + index * 14) * 512, area)).collect()
}

pub fn silicon(kind: u8, number: u8, striped: (u8, u8), mirrored: (u8, u8), array: u32) -> Runs {
    silicon_but(kind, number, striped, mirrored, array, &|_| ())
}

/// With what is changed before the checksum is made.
pub fn silicon_but(
    kind: u8,
    number: u8,
    striped: (u8, u8),
    mirrored: (u8, u8),
    array: u32,
    change: &dyn Fn(&mut [u8]),
) -> Runs {
    let mut meta = vec![0; 512];
    put32(&mut meta, 0x60, 0x2f00_0000);
    put32(&mut meta, 0x6c, array);
    put32(&mut meta, 0x78, u32::try_from(DISK).unwrap());
    put(&mut meta, 0x104, &[0x14, 0x31, 0x95, 0x10, 1, 0, 2, 0]);
    put(&mut meta, 0x10c, &[59, 58, 23, 28, 12, kind]);
    put(&mut meta, 0x112, &128_u16.to_le_bytes());
    put(&mut meta, 0x116, &[number, kind, striped.0, striped.1, mirrored.0, mirrored.1]);
    put32(&mut meta, 0x124, 3);
    put(&mut meta, 0x128, &[1, 2]);
    change(&mut meta);
    let sum = sum16(&meta[..0x13e]);
    put(&mut meta, 0x13e, &sum.wrapping_neg().to_le_bytes());
    (0..4).map(|copy| ((DISK - 1 - copy * 512) * 512, meta.clone())).collect()
}

pub fn hpt37x(kind: u8, number: u8, disks: u8, set: u32, array: u32, order: u32, total: u32) -> Runs {
    let mut meta = vec![0; 512];
    for (at, value) in [(32, 0x5a78_16f0), (36, set), (40, array), (44, order), (52, total)] {
        put32(&mut meta, at, value);
    }
    put(&mut meta, 48, &[disks, 7, kind, number]);
    vec![(4608, meta)]
}

pub fn hpt45x(kind: u8, number: u8, disks: u8, upper: (u8, u8), total: u32) -> Runs {
    let mut meta = vec![0; 512];
    for (at, value) in
        [(0, 0x5a78_16f3), (4, 90210 + u32::from(kind) + u32::from(upper.0)), (8, 7), (12, total)]
    {
        put32(&mut meta, at, value);
    }
    put(&mut meta, 16, &[kind, disks, number, 7]);
    put(&mut meta, 32, &[upper.0, 2, upper.1, 7]);
    at_end(11, meta)
}

pub fn jmicron(mode: u8, number: usize, disks: u32, name: &str) -> Runs {
    let mut meta = vec![0; 512];
    put(&mut meta, 0, b"JM\x01\x00");
    let id = |number: u32| 0x1110 + number * 0x10;
    put32(&mut meta, 16, id(u32::try_from(number).unwrap()));
    put32(&mut meta, 24, 0);
    put(&mut meta, 28, &20000_u16.to_le_bytes());
    put(&mut meta, 32, name.as_bytes());
    put(&mut meta, 48, &[mode, 6]);
    for (slot, disk) in (0..disks).enumerate() {
        put32(&mut meta, 64 + slot * 4, id(disk) | 1);
    }
    let sum = sum16(&meta[..128]);
    put(&mut meta, 4, &sum.wrapping_neg().to_le_bytes());
    at_end(1, meta)
}

pub fn lsi(kind: u8, number: u8, set: u8) -> Runs {
    let mut meta = vec![0; 512];
    put(&mut meta, 0, b"$XIDE$");
    meta[16] = kind;
    put(&mut meta, 18, &128_u16.to_le_bytes());
    for slot in 0..4_u8 {
        let at = 32 + usize::from(slot) * 16;
        meta[at] = (slot & 1) | (slot >> 1) << 4;
        put(&mut meta, at + 6, &[slot & 1, slot >> 1]);
    }
    put(&mut meta, 0x1f0, &[number, set]);
    put32(&mut meta, 0x1f2, 7_654_321 + u32::from(kind));
    at_end(1, meta)
}

pub fn via(kind: u16, info: u16, disks: u8) -> Runs {
    let mut meta = vec![0; 512];
    put(&mut meta, 0, &[0x55, 0xaa, 1]);
    let disk = 4 | kind << 3 | info << 10;
    put(&mut meta, 3, &disk.to_le_bytes());
    meta[5] = disks | 4 << 4;
    put32(&mut meta, 6, 65534);
    for slot in 0..4_usize {
        put32(&mut meta, 18 + slot * 4, 0x1020_3040 * (u32::try_from(slot).unwrap() + 1) + u32::from(kind));
    }
    meta[50] = meta[..50].iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte));
    at_end(1, meta)
}

/// `upper` adds an array of the two arrays.
pub fn adaptec(level: u8, number: u32, disks: u16, upper: bool, name: &str) -> Runs {
    let mut block = vec![0; 512];
    put(&mut block, 0, &0x37fc_4d1e_u32.to_be_bytes());
    block[0x3f] = 8;
    let magic = |number: u32| 0xabc0_0000 | number;
    put(&mut block, 0x40, &magic(number).to_be_bytes());
    put(&mut block, 0x100, &0x4450_544d_u32.to_be_bytes());
    let start = DISK - 18;
    put(&mut block, 0x104, &u32::try_from(start).unwrap().to_be_bytes());
    let line = |tier: u8, count: u16, id: u32, scsi: u32| {
        let mut line = vec![0; 64];
        put(&mut line, 0, &count.to_be_bytes());
        put(&mut line, 4, &id.to_be_bytes());
        line[8] = tier;
        line[9] = level;
        put(&mut line, 16, &scsi.to_be_bytes());
        put(&mut line, 24, &30000_u32.to_be_bytes());
        put(&mut line, 28, &128_u16.to_be_bytes());
        put(&mut line, 48, b"                ");
        put(&mut line, 48, name.as_bytes());
        line
    };
    let mut lines = Vec::new();
    if upper {
        lines.push(line(3, 2, 0x5000, 0));
    }
    for group in 0..if upper { 2 } else { 1 } {
        lines.push(line(1, disks, 0x5001 + group, 0));
        for disk in 0..u32::from(disks) {
            let disk = group * u32::from(disks) + disk;
            lines.push(line(0, 0, magic(disk), disk));
        }
    }
    let mut table = vec![0; 64];
    put(&mut table, 0, &0x9007_65c4_u32.to_be_bytes());
    put(&mut table, 4, &1_u32.to_be_bytes());
    put(&mut table, 8, &127_u16.to_be_bytes());
    put(&mut table, 10, &u16::try_from(lines.len()).unwrap().to_be_bytes());
    put(&mut table, 12, &64_u16.to_be_bytes());
    let lines = lines.concat();
    let sum = lines.iter().fold(0, |sum: u16, byte| sum.wrapping_add((*byte).into()));
    put(&mut table, 14, &sum.to_be_bytes());
    table.extend(lines);
    vec![(start * 512, table), ((DISK - 1) * 512, block)]
}

/// Sets of every format and level that dmraid maps.
pub fn sets() -> Vec<Set> {
    let set = |name, disks| Set { name, disks };
    let pair = |disk: &dyn Fn(u8) -> Runs| vec![disk(0), disk(1)];
    let four = |disk: &dyn Fn(u8) -> Runs| (0..4).map(disk).collect::<Vec<_>>();
    let total = 60000;
    vec![
        set("nvidia-linear", pair(&|unit| nvidia(0xff, unit, 2, 2, 0))),
        set("nvidia-raid0", pair(&|unit| nvidia(0x80, unit, 2, 2, 0))),
        set("nvidia-raid1", pair(&|unit| nvidia(0x81, unit, 1, 2, 0))),
        set("nvidia-raid1-syncing", pair(&|unit| nvidia(0x81, unit, 1, 2, 5))),
        set("nvidia-raid5", (0..3).map(|unit| nvidia(0x95, unit, 2, 3, 0)).collect()),
        set("nvidia-raid3", (0..3).map(|unit| nvidia(0x83, unit, 3, 3, 0)).collect()),
        set("nvidia-raid10", four(&|unit| nvidia(0x8180, unit, 2, 4, 0))),
        set("pdc-raid0", pair(&|n| promise(63, vec![promise_area(0, n, 2, 0x1111, 0, total)]))),
        set("pdc-raid1", pair(&|n| promise(255, vec![promise_area(1, n, 2, 0x2222, 0, 30000)]))),
        set("pdc-linear", pair(&|n| promise(16, vec![promise_area(8, n, 2, 0x3333, 0, total)]))),
        set("pdc-raid10", four(&|n| promise(399, vec![promise_area(1, n, 4, 0x4444, 0, 40000)]))),
        set("pdc-raid10-own", four(&|n| promise(735, vec![promise_area(2, n, 4, 0x7777, 0, 40000)]))),
        set(
            "pdc-two",
            pair(&|n| {
                let areas = [(0x5555, 0, 20000), (0x6666, 20000, 10000)];
                let area = |(magic, start, size)| promise_area(1, n, 2, magic, start, size);
                promise(256, areas.map(area).to_vec())
            }),
        ),
        set("sil-raid0", pair(&|n| silicon(0, n, (2, 0), (0, 0), total))),
        set("sil-raid1", pair(&|n| silicon(1, n, (0, 0), (2, 0), 30000))),
        set("sil-raid10", four(&|n| silicon(2, n % 2, (2, n / 2), (2, n / 2), 15000))),
        set("sil-linear", pair(&|n| silicon(255, n, (0, 0), (0, 0), total))),
        set("sil-single", vec![silicon(255, 0, (1, 0), (0xff, 0xff), 30720)]),
        set("sil-joined", pair(&|n| silicon(4, n, (2, 0), (0xff, 0xff), 2 * 30720))),
        set("sil-joined-freebsd", pair(&|n| silicon(255, n, (2, 0), (0xff, 0xff), 2 * 30720))),
        set("sil-raid5", (0..3).map(|n| silicon(16, n, (3, 0), (0xff, 0xff), total)).collect()),
        set("hpt37x-raid0", pair(&|n| hpt37x(0, n, 2, 1001, 2001, 1, total))),
        set("hpt37x-raid1", pair(&|n| hpt37x(1, n, 2, 1002, 0, 1, 30000))),
        set("hpt37x-linear", pair(&|n| hpt37x(3, n, 2, 1003, 0, 1, total))),
        // Of a mirror the number is that of its stripes: one.
        set("hpt37x-raid1-of-1", pair(&|n| hpt37x(1, n, 1, 1005, 0, 1, 30000))),
        set("hpt37x-raid3", (0..3).map(|n| hpt37x(4, n, 3, 1006, 0, 4, total)).collect()),
        set("hpt37x-raid5", (0..3).map(|n| hpt37x(5, n, 3, 1007, 0, 4, total)).collect()),
        set("hpt37x-single", vec![hpt37x(6, 0, 1, 1008, 0, 4, 30000)]),
        set("hpt37x-raid10", four(&|n| hpt37x(7, n % 2, 2, 1009, 2009, u32::from(n / 2), 30000))),
        set("hpt37x-raid10-of-1", four(&|n| hpt37x(7, n % 2, 1, 1010, 2010, u32::from(n / 2), 30000))),
        set("hpt37x-spare", vec![hpt37x(0, 0, 2, 0, 0, 4, total)]),
        set("hpt37x-raid01", four(&|n| hpt37x(2, n % 2, 2, 1004, 2004, u32::from(n / 2), total))),
        set("hpt45x-raid0", pair(&|n| hpt45x(5, n, 2, (0, 0), total))),
        set("hpt45x-raid1", pair(&|n| hpt45x(6, n, 2, (0, 0), 30000))),
        set("hpt45x-linear", pair(&|n| hpt45x(4, n, 2, (0, 0), total))),
        set("hpt45x-raid5", (0..3).map(|n| hpt45x(7, n, 3, (0, 0), total)).collect()),
        set("hpt45x-raid10", four(&|n| hpt45x(5, n % 2, 2, (6, n / 2), total))),
        set("jmicron-raid0", pair(&|n| jmicron(0, n.into(), 2, "FAST"))),
        set("jmicron-raid1", pair(&|n| jmicron(1, n.into(), 2, "SAFE 1"))),
        set("jmicron-linear", pair(&|n| jmicron(3, n.into(), 2, "LONG"))),
        set("jmicron-raid01", four(&|n| jmicron(2, n.into(), 4, "BOTH"))),
        set("jmicron-raid5", (0..3).map(|n| jmicron(5, n, 3, "FIVE")).collect()),
        set("lsi-raid0", pair(&|n| lsi(1, n, 0))),
        set("lsi-raid1", pair(&|n| lsi(2, n, 0))),
        set("lsi-raid10", four(&|n| lsi(3, n, 0))),
        set("lsi-raid5", pair(&|n| lsi(4, n, 0))),
        set("via-raid0", pair(&|n| via(0, n.into(), 2))),
        set("via-raid1", pair(&|n| via(1, if n == 0 { 0 } else { 2 }, 2))),
        set("via-linear", pair(&|n| via(8, n.into(), 2))),
        set("via-raid01", four(&|n| via(9, u16::from(n % 2) | u16::from(n / 2) << 3, 2))),
        set("via-raid5", (0..3).map(|n| via(2, n, 3)).collect()),
        set("asr-raid0", pair(&|n| adaptec(0, n.into(), 2, false, "STRIPE"))),
        set("asr-raid1", pair(&|n| adaptec(1, n.into(), 2, false, "MIRROR"))),
        set("asr-raid5", (0..3).map(|n| adaptec(5, n, 3, false, "FIVE")).collect()),
        set("asr-raid10", four(&|n| adaptec(0, n.into(), 2, true, "BOTH"))),
    ]
}

/// Intel's metadata of two disks with a mirror and a stripe.
pub fn imsm(serials: [&str; 2]) -> Runs {
    let mut mpb = vec![0; 0xd8];
    put(&mut mpb, 0, b"Intel Raid ISM Cfg Sig. 1.1.00");
    for (at, value) in [(0x28, 0x1234_5678), (0x2c, 9), (0x34, 0x8000_0003), (0x40, 0x1234_5678)] {
        put32(&mut mpb, at, value);
    }
    put(&mut mpb, 0x38, &[2, 2]);
    for serial in serials {
        let mut disk = vec![0; 48];
        put(&mut disk, 0, serial.as_bytes());
        put32(&mut disk, 16, u32::try_from(DISK).unwrap());
        put32(&mut disk, 24, 2);
        mpb.extend(disk);
    }
    for (name, level, offset, size) in [("Root", 1, 0, 8192_u32), ("Fast", 0, 16384, 8192)] {
        let mut volume = vec![0; 112 + 48 + 8];
        put(&mut volume, 0, name.as_bytes());
        put32(&mut volume, 16, size);
        let map = &mut volume[112..];
        let each = if level == 1 { size } else { size / 2 };
        // Of a mirror the stripes of data are spread over both disks.
        let stripes = size / 128 / 2;
        for (at, value) in [(0, offset), (4, each), (8, stripes), (12, 128), (48, 0), (52, 1)] {
            put32(map, at, value);
        }
        put(map, 15, &[level, 2, if level == 1 { 2 } else { 1 }, 0xff, 1]);
        mpb.extend(volume);
    }
    let length = u32::try_from(mpb.len()).unwrap();
    put32(&mut mpb, 0x24, length);
    let sum = sum32(&mpb);
    put32(&mut mpb, 0x20, sum);
    let rest = mpb.split_off(512);
    vec![((DISK - 3) * 512, rest), ((DISK - 2) * 512, mpb)]
}
