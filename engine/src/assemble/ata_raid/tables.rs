//! Device-mapper tables as dmraid makes them (lib/activate/activate.c, and Debian's patch for the kernel's own `raid`
//! target). Differences: a set that is being synchronised is mapped with `sync`, which dmraid means but by a slip of its
//! table of states never does; a missing member of RAID 5 is `- -` instead of a device that answers with errors.

use std::fmt::Write as _;

use ondisk::ata_raid::{Level, Parity};

use super::sets::{Leg, Lower, Set};
use crate::command::{DmDevice, DmTarget};

/// Something to be mapped: a disk's part or a lower set.
struct Piece {
    /// `MAJOR:MINOR`.
    number: String,
    offset: u64,
    sectors: u64,
}

impl From<&Leg> for Piece {
    fn from(leg: &Leg) -> Piece {
        Piece { number: leg.number.clone(), offset: leg.part.offset, sectors: leg.part.sectors }
    }
}

/// The mapping of a set whose members are disks. `None` if its figures allow none.
pub fn lower(set: &Set, lower: &Lower) -> Option<DmDevice> {
    let pieces: Vec<Piece> = lower.legs.iter().map(Piece::from).collect();
    let targets = match lower.level {
        Level::Raid4 | Level::Raid5(_) => parity(lower)?,
        level => targets(level, lower.stride, pieces, set.is_syncing())?,
    };
    // The mappings below another are internal: no partitions are looked for on them.
    let prefix = if set.upper.is_some() { "DMRAIDI" } else { "DMRAID" };
    Some(device(&lower.name, prefix, targets))
}

/// The mapping of the upper of two levels; `made` are the numbers of the lower ones that were made, in their order.
pub fn upper(set: &Set, made: &[(u32, u32)]) -> Option<DmDevice> {
    let (level, stride, _) = set.upper?;
    let usable = set.lower.iter().filter(|lower| lower.is_usable());
    let pieces = usable.zip(made).map(|(lower, (major, minor))| {
        Some(Piece { number: format!("{major}:{minor}"), offset: 0, sectors: lower.sectors()? })
    });
    let targets = targets(level, stride, pieces.collect::<Option<_>>()?, set.is_syncing())?;
    Some(device(&set.name, "DMRAID", targets))
}

fn device(name: &str, prefix: &str, targets: Vec<DmTarget>) -> DmDevice {
    DmDevice { name: name.to_owned(), uuid: format!("{prefix}-{name}"), targets, ..DmDevice::default() }
}

impl Lower {
    /// Whether it can be mapped with the members that are there.
    pub fn is_usable(&self) -> bool {
        let (seen, members) = (self.legs.len(), usize::try_from(self.members).unwrap_or(usize::MAX));
        match self.level {
            Level::Raid1 => seen > 0,
            Level::Raid4 | Level::Raid5(_) => seen.saturating_add(1) >= members,
            _ => seen >= members,
        }
    }

    /// Size of its mapping, as dmraid counts it: whole stripes of the smallest member each.
    fn sectors(&self) -> Option<u64> {
        let smallest = self.legs.iter().map(|leg| leg.part.sectors).min()?;
        let share = round_down(smallest, self.stride);
        match self.level {
            Level::Raid1 => Some(share),
            Level::Raid4 | Level::Raid5(_) => share.checked_mul(u64::from(self.members.checked_sub(1)?)),
            _ => share.checked_mul(self.legs.len() as u64),
        }
    }
}

fn round_down(sectors: u64, stride: u32) -> u64 {
    sectors.checked_rem(stride.into()).map_or(sectors, |rest| sectors.saturating_sub(rest))
}

fn target(start: u64, length: u64, kind: &str, params: String) -> DmTarget {
    DmTarget { start, length, kind: kind.to_owned(), params }
}

fn targets(level: Level, stride: u32, pieces: Vec<Piece>, syncing: bool) -> Option<Vec<DmTarget>> {
    let smallest = pieces.iter().map(|piece| piece.sectors).min()?;
    let single = pieces.len() == 1;
    match level {
        Level::Raid0 if !single => {
            let share = round_down(smallest, stride);
            let length = share.checked_mul(pieces.len() as u64).filter(|length| *length > 0)?;
            let mut params = format!("{} {stride}", pieces.len());
            pieces.iter().for_each(|piece| _ = write!(params, " {} {}", piece.number, piece.offset));
            Some(vec![target(0, length, "striped", params)])
        }
        Level::Raid1 if !single => {
            let sync = if syncing { "sync" } else { "nosync" };
            let mut params = format!("core 2 {} {sync} {}", region(smallest), pieces.len());
            pieces.iter().for_each(|piece| _ = write!(params, " {} {}", piece.number, piece.offset));
            params.push_str(" 1 handle_errors");
            Some(vec![target(0, smallest, "mirror", params)])
        }
        Level::Linear | Level::Raid0 | Level::Raid1 => {
            let mut start: u64 = 0;
            let mut lines = Vec::with_capacity(pieces.len());
            for piece in pieces {
                let length =
                    if level == Level::Raid0 { round_down(piece.sectors, stride) } else { piece.sectors };
                lines.push(target(start, length, "linear", format!("{} {}", piece.number, piece.offset)));
                start = start.checked_add(length)?;
            }
            Some(lines)
        }
        _ => None,
    }
}

/// RAID 4 and 5, by dm-raid without metadata of its own.
fn parity(lower: &Lower) -> Option<Vec<DmTarget>> {
    let kind = match lower.level {
        Level::Raid4 => "raid4",
        Level::Raid5(Parity::LeftAsymmetric) => "raid5_la",
        Level::Raid5(Parity::RightAsymmetric) => "raid5_ra",
        Level::Raid5(Parity::LeftSymmetric) => "raid5_ls",
        Level::Raid5(Parity::RightSymmetric) => "raid5_rs",
        _ => return None,
    };
    let length = lower.sectors()?;
    let share = length.checked_div(lower.members.into())?;
    let sync = if lower.legs.iter().any(|leg| leg.part.state == ondisk::ata_raid::State::Unsynced) {
        "sync"
    } else {
        "nosync"
    };
    let mut params =
        format!("{kind} 4 {} {sync} region_size {} {}", lower.stride, region(share), lower.members);
    // Members are numbered without gaps; one that is missing leaves its place.
    for slot in 0..lower.members {
        match lower.legs.iter().find(|leg| leg.part.order == slot) {
            Some(leg) => _ = write!(params, " - {}", leg.number),
            None => params.push_str(" - -"),
        }
    }
    Some(vec![target(0, length, "raid", params)])
}

/// Size of a region of the dirty log.
fn region(sectors: u64) -> u64 {
    const MOST: u64 = 128 << 11;
    let most = (sectors >> 10).min(MOST);
    let mut size: u64 = 128;
    while size < most {
        size <<= 1;
    }
    size >> 1
}
