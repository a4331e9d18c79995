//! What the superblock of an MD member says of its array and of itself.
//!
//! Layout: include/uapi/linux/raid/md_p.h. How the fields are read together follows what `mdadm --examine` prints.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::bytes::Bytes as _;

/// "To the end" in fields that hold sectors (`MaxSector`).
const MAX_SECTOR: u64 = u64::MAX;
/// Devices that a version 0.90 superblock has room for.
const DISKS_0: usize = 27;
/// Roles above this are no slots of the array (`MD_DISK_ROLE_MAX`).
const ROLE_MAX: u16 = 0xff00;

/// Bits of version 1's feature map.
mod feature {
    pub const BITMAP: u32 = 1;
    pub const RECOVERY_OFFSET: u32 = 2;
    pub const RESHAPE: u32 = 4;
    pub const REPLACEMENT: u32 = 16;
    pub const RESHAPE_BACKWARDS: u32 = 32;
    pub const NEW_OFFSET: u32 = 64;
    pub const JOURNAL: u32 = 512;
    pub const PPL: u32 = 1024 | 2048;
}

/// Version of the metadata: where it lies and what it looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Version {
    /// 0.90 in the last whole 64 KiB, and 0.91 during a reshape.
    V0_90,
    /// 1.0, at the end.
    V1_0,
    /// 1.1, at the start.
    V1_1,
    /// 1.2, 4 KiB from the start.
    V1_2,
}

impl Version {
    /// As the kernel's `md/metadata_version` and mdadm's map have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Version::V0_90 => "0.90",
            Version::V1_0 => "1.0",
            Version::V1_1 => "1.1",
            Version::V1_2 => "1.2",
        }
    }

    /// Major and minor version as `SET_ARRAY_INFO` takes them.
    #[must_use]
    pub fn numbers(self) -> (i32, i32) {
        match self {
            Version::V0_90 => (0, 90),
            Version::V1_0 => (1, 0),
            Version::V1_1 => (1, 1),
            Version::V1_2 => (1, 2),
        }
    }
}

/// What this device is in its array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// Holds the data of this slot.
    Active(u16),
    /// Waits for another to fail.
    Spare,
    /// Was thrown out.
    Faulty,
    /// The write journal of RAID 4, 5 and 6.
    Journal,
}

/// A change of shape under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reshape {
    /// How far it has come, in sectors of the array.
    pub position: u64,
    /// Level that it leads to.
    pub level: i32,
    /// Layout that it leads to.
    pub layout: u32,
    /// Chunk size that it leads to, in bytes.
    pub chunk: u64,
    /// Devices more (or fewer) than before.
    pub delta_disks: i32,
    /// Data moves to another offset on the members, so that no backup is needed.
    pub new_offset: bool,
    /// Goes from the end to the start.
    pub backwards: bool,
}

/// One member's superblock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Superblock {
    /// Version.
    pub version: Version,
    /// Minor version of 0.90: 91 during a reshape. Equal to that of `version` otherwise.
    pub minor: u32,
    /// Written in big-endian order, which this machine's kernel does not read (version 0.90 only).
    pub big_endian: bool,
    /// UUID of the array, in the order in which it is printed.
    pub uuid: [u8; 16],
    /// Name as set, with `HOMEHOST:` if it has one; of version 0.90, which has none, the preferred minor number.
    pub name: String,
    /// -1 is linear, -4 multipath.
    pub level: i32,
    /// Layout, by level; of RAID 10 copies near, far and offset.
    pub layout: u32,
    /// Chunk size in bytes.
    pub chunk: u64,
    /// Slots.
    pub raid_disks: u32,
    /// Used size of each member in sectors; 0 where each may have its own.
    pub size: u64,
    /// Seconds since 1970.
    pub created: u64,
    /// Seconds since 1970.
    pub updated: u64,
    /// Rises with every change of the superblock.
    pub events: u64,
    /// All redundancy was up to date when the superblock was written.
    pub clean: bool,
    /// Which members this one knows: per slot `A` for active, `R` for one that is being replaced, `.` for missing,
    /// as in mdadm's `Array State`.
    pub slots: String,
    /// This device's permanent number.
    pub number: u32,
    /// This device's role.
    pub role: Role,
    /// It is to take the place of the active member of its slot.
    pub replacement: bool,
    /// Its flag write-mostly.
    pub write_mostly: bool,
    /// Its flag failfast.
    pub failfast: bool,
    /// UUID of the device; version 0.90 has none.
    pub device_uuid: Option<[u8; 16]>,
    /// Start of data in sectors.
    pub data_offset: u64,
    /// Room for data in sectors.
    pub data_size: u64,
    /// Up to where this device has been rebuilt, in sectors; `None` is all of it. Version 0.90 does not say: 0 for a member
    /// that a reshape fills.
    pub recovery_offset: Option<u64>,
    /// Where the write-intent bitmap lies, in sectors from the superblock.
    pub bitmap_offset: Option<i32>,
    /// Nodes of a cluster that the bitmap is made for; more than one makes the array a clustered one.
    pub nodes: u32,
    /// A write journal belongs to the array.
    pub journal: bool,
    /// It has a partial parity log.
    pub ppl: bool,
    /// Room reserved for a list of bad blocks, in sectors.
    pub bad_block_log: u16,
    /// A reshape under way.
    pub reshape: Option<Reshape>,
}

impl Superblock {
    /// The array's UUID as mdadm prints it: four groups of eight digits.
    #[must_use]
    pub fn array_uuid(&self) -> String {
        groups(&self.uuid, false)
    }

    /// The same as mdadm's map has it, where version 1's groups are numbers in the order of this machine.
    #[must_use]
    pub fn map_uuid(&self) -> String {
        groups(&self.uuid, self.version != Version::V0_90)
    }

    /// The kernel's name of the level.
    #[must_use]
    pub fn level_name(&self) -> &'static str {
        match self.level {
            -4 => "multipath",
            -1 => "linear",
            0 => "raid0",
            1 => "raid1",
            4 => "raid4",
            5 => "raid5",
            6 => "raid6",
            10 => "raid10",
            _ => "unknown level",
        }
    }

    /// Slots in use while a reshape to fewer devices is under way, too.
    #[must_use]
    pub fn all_disks(&self) -> u32 {
        let fewer = self.reshape.as_ref().map_or(0, |reshape| reshape.delta_disks.min(0).unsigned_abs());
        self.raid_disks.saturating_add(fewer)
    }

    /// Whether this member takes the one of that slot for working.
    #[must_use]
    pub fn trusts(&self, slot: u16) -> bool {
        self.slots.as_bytes().get(usize::from(slot)).is_some_and(|state| *state != b'.')
    }

    /// Members in working order by its account, replacements counted too.
    #[must_use]
    pub fn working(&self) -> usize {
        let of = |state: u8| match state {
            b'A' => 1,
            b'R' => 2,
            _ => 0,
        };
        self.slots.bytes().map(of).sum()
    }
}

fn groups(uuid: &[u8; 16], swapped: bool) -> String {
    let mut text = String::with_capacity(35);
    for (index, group) in uuid.chunks_exact(4).enumerate() {
        if index > 0 {
            text.push(':');
        }
        let mut group: Vec<u8> = group.to_vec();
        if swapped {
            group.reverse();
        }
        for byte in group {
            // Writing into a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
    }
    text
}

/// Version 0.90; `word` reads the superblock's words in its own order.
pub(super) fn parse_0(big_endian: bool, word: impl Fn(usize) -> Option<u32>) -> Option<Superblock> {
    let wide = |low: usize, high: usize| Some(u64::from(word(high)?) << 32 | u64::from(word(low)?));
    let native = |first: usize| if big_endian { wide(first + 1, first) } else { wide(first, first + 1) };
    let minor = word(2)?;
    let mut uuid = [0; 16];
    // Before 0.90 only the first word counted.
    let meant = if minor >= 90 { 4 } else { 1 };
    for (bytes, index) in uuid.chunks_exact_mut(4).zip([5, 13, 14, 15]).take(meant) {
        bytes.copy_from_slice(&word(index)?.to_be_bytes());
    }
    let state = word(33)?;
    let reshape = match (minor > 90).then(|| native(44)).flatten().filter(|position| *position != MAX_SECTOR)
    {
        Some(position) => Some(Reshape {
            position,
            level: word(46)?.cast_signed(),
            layout: word(48)?,
            chunk: u64::from(word(49)?),
            delta_disks: word(47)?.cast_signed(),
            new_offset: false,
            backwards: word(47)?.cast_signed() < 0,
        }),
        None => None,
    };
    let this = 992;
    let flags = word(this + 4)?;
    // Bits of a disk's state: faulty, active, in sync, removed. Only during a reshape is a member active without being in
    // sync: one that the reshape fills (drivers/md/md.c, `super_90_validate`).
    let is_active = |state: u32| state & 6 == 6 || (minor > 90 && state & 2 != 0);
    let role = match word(this + 3)? {
        _ if flags & 1 != 0 => Role::Faulty,
        slot if is_active(flags) => Role::Active(u16::try_from(slot).ok().filter(|slot| *slot < ROLE_MAX)?),
        _ => Role::Spare,
    };
    // How far such a member is filled is what the reshape has come to, and stored nowhere else.
    let recovery_offset = (matches!(role, Role::Active(_)) && flags & 4 == 0).then_some(0);
    let mut superblock = Superblock {
        version: Version::V0_90,
        minor,
        big_endian,
        uuid,
        name: word(11)?.to_string(),
        level: word(7)?.cast_signed(),
        layout: word(64)?,
        chunk: u64::from(word(65)?),
        raid_disks: word(10)?,
        size: u64::from(word(8)?) * 2,
        created: u64::from(word(6)?),
        updated: u64::from(word(32)?),
        events: native(39)?,
        clean: state & 1 != 0,
        slots: String::new(),
        number: word(this)?,
        role,
        replacement: false,
        write_mostly: flags & (1 << 9) != 0,
        failfast: flags & (1 << 10) != 0,
        device_uuid: None,
        data_offset: 0,
        data_size: u64::from(word(8)?) * 2,
        recovery_offset,
        // MD_SB_BITMAP_PRESENT; right behind the superblock.
        bitmap_offset: (state & (1 << 8) != 0).then_some(8),
        nodes: 0,
        journal: false,
        ppl: false,
        bad_block_log: 0,
        reshape,
    };
    let slots = usize::try_from(superblock.all_disks()).ok()?.min(DISKS_0);
    for slot in 0..slots {
        let works = (0..DISKS_0).any(|disk| {
            let at = 128 + disk * 32;
            word(at + 3) == u32::try_from(slot).ok()
                && word(at + 4).is_some_and(|state| state & 1 == 0 && is_active(state))
        });
        superblock.slots.push(if works { 'A' } else { '.' });
    }
    Some(superblock)
}

/// Version 1; `sb` is the superblock with its table of roles, as far as it was read.
pub(super) fn parse_1(version: Version, sb: &[u8]) -> Option<Superblock> {
    let features = sb.le32(8)?;
    let has = |bits: u32| features & bits != 0;
    let number = sb.le32(160)?;
    let roles = usize::try_from(sb.le32(220)?).ok()?;
    let table = sb.get(256..)?;
    let table = table.get(..roles.saturating_mul(2)).unwrap_or(table);
    let roles = || table.chunks_exact(2).filter_map(|bytes| bytes.le16(0));
    let role = match usize::try_from(number).ok().and_then(|number| roles().nth(number)) {
        Some(0xffff) => Role::Spare,
        Some(0xfffd) => Role::Journal,
        Some(slot) if slot < ROLE_MAX => Role::Active(slot),
        _ => Role::Faulty,
    };
    let reshape = if has(feature::RESHAPE) {
        Some(Reshape {
            position: sb.le64(104)?,
            level: sb.le32(100)?.cast_signed(),
            layout: sb.le32(116)?,
            chunk: u64::from(sb.le32(120)?) << 9,
            delta_disks: sb.le32(112)?.cast_signed(),
            new_offset: has(feature::NEW_OFFSET) && sb.le32(124)? != 0,
            backwards: has(feature::RESHAPE_BACKWARDS) || sb.le32(112)?.cast_signed() < 0,
        })
    } else {
        None
    };
    let name = sb.slice(32, 32)?;
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    let mut superblock = Superblock {
        version,
        minor: version.numbers().1.cast_unsigned(),
        big_endian: false,
        uuid: sb.array(16)?,
        name: String::from_utf8_lossy(name).into_owned(),
        level: sb.le32(72)?.cast_signed(),
        layout: sb.le32(76)?,
        chunk: u64::from(sb.le32(88)?) << 9,
        raid_disks: sb.le32(92)?,
        size: sb.le64(80)?,
        // The upper bits are microseconds.
        created: sb.le64(64)? & 0xff_ffff_ffff,
        updated: sb.le64(192)? & 0xff_ffff_ffff,
        events: sb.le64(200)?,
        clean: sb.le64(208)? == MAX_SECTOR,
        slots: String::new(),
        number,
        role,
        replacement: has(feature::REPLACEMENT),
        write_mostly: sb.u8(184)? & 1 != 0,
        failfast: sb.u8(184)? & 2 != 0,
        device_uuid: Some(sb.array(168)?),
        data_offset: sb.le64(128)?,
        data_size: sb.le64(136)?,
        recovery_offset: if has(feature::RECOVERY_OFFSET) { Some(sb.le64(152)?) } else { None },
        bitmap_offset: if has(feature::BITMAP) { Some(sb.le32(96)?.cast_signed()) } else { None },
        nodes: 0,
        journal: has(feature::JOURNAL),
        ppl: has(feature::PPL),
        bad_block_log: if sb.le32(188)? == 0 { 0 } else { sb.le16(186)? },
        reshape,
    };
    let mut holders = vec![0_u8; usize::try_from(superblock.all_disks()).ok()?.min(table.len() / 2)];
    for role in roles() {
        if let Some(count) = holders.get_mut(usize::from(role)) {
            *count = count.saturating_add(1);
        }
    }
    let state = |count: &u8| match count {
        0 => '.',
        1 => 'A',
        _ => 'R',
    };
    superblock.slots = holders.iter().map(state).collect();
    Some(superblock)
}

/// Nodes of the cluster that a bitmap superblock is made for (drivers/md/md-bitmap.h, `bitmap_super_t`).
pub(super) fn bitmap_nodes(bitmap: &[u8]) -> Option<u32> {
    if bitmap.le32(0)? != 0x6d74_6962 { None } else { bitmap.le32(68) }
}
