//! DDF's sets in the terms of device-mapper, for when md is not to have them (`rd.md.ddf=0`).
//!
//! Names, places and sizes are those of dmraid (lib/format/ddf/ddf1.c). Who belongs to a set is decided as for md, by the
//! newest metadata: dmraid believes each disk what it says of itself, a stale one too.

use std::fmt::Write as _;

use ondisk::ata_raid::ddf::{Config, Group, Virtual};
use ondisk::ata_raid::{Above, Disk, Format, Level, Parity, Part, State};

use crate::table::{Device, Table};

/// dmraid's name for the disks that belong to no set.
const SPARES: &str = ".ddf1_spares";

fn group(device: &Device) -> Option<&Group> {
    match device.content()?.member.as_deref()?.ata_raid()? {
        Disk::Ddf(group) if device.facts.partn.is_none() => Some(group),
        _ => None,
    }
}

/// This disk's parts; one that says that it stands by if there are none.
pub fn parts(table: &Table, own: &Group) -> Vec<Part> {
    let all: Vec<&Group> = table.iter().filter_map(group).filter(|group| group.guid == own.guid).collect();
    let newest = all.iter().max_by_key(|group| group.sequence).copied().unwrap_or(own);
    let mut parts: Vec<Part> = newest.sets.iter().filter_map(|set| part(set, own, newest, &all)).collect();
    if parts.is_empty() {
        parts.push(Part {
            set: SPARES.to_owned(),
            above: None,
            level: Level::Spare,
            stride: 0,
            members: 0,
            order: 0,
            offset: 0,
            sectors: 0,
            state: State::Ok,
            total: None,
            generation: None,
        });
    }
    parts
}

/// The newest record of the basic disk that this disk is part of: a set of two levels has one for each.
fn config(set: &Virtual, own: &Group, all: &[&Group]) -> Option<Config> {
    let records: Vec<&Config> =
        all.iter().flat_map(|group| &group.parts).filter(|config| config.guid == set.guid).collect();
    let newest = records.iter().max_by_key(|config| config.sequence)?;
    let count = newest.secondary.0;
    if count <= 1 {
        return Some((*newest).clone());
    }
    (0..count).find_map(|basic| {
        let records =
            records.iter().filter(|config| (config.secondary.0, config.secondary.1) == (count, basic));
        let newest = records.max_by_key(|config| config.sequence)?;
        newest.members.iter().any(|(reference, _)| *reference == own.disk).then(|| (*newest).clone())
    })
}

fn part(set: &Virtual, own: &Group, newest: &Group, all: &[&Group]) -> Option<Part> {
    let config = config(set, own, all)?;
    let (order, (_, offset)) =
        (0..).zip(&config.members).find(|(_, (reference, _))| *reference == own.disk)?;
    // Online, and neither failed nor being rebuilt.
    let is_good = |reference: u32| {
        newest.disks.iter().any(|disk| disk.reference == reference && disk.state & 0x47 == 1)
    };
    let there = all.iter().map(|group| group.disk).filter(|disk| is_good(*disk));
    let seen = there.filter(|disk| config.members.iter().any(|(reference, _)| reference == disk)).count();
    let level = level(&config);
    let unsynced = match level {
        // A copy is as good as its only reader.
        Level::Raid1 if seen < 2 => false,
        Level::Raid1 | Level::Raid4 | Level::Raid5(_) => set.state & 0x10 != 0 || set.initialised != 2,
        _ => false,
    };
    let state = if matches!(set.state & 7, 2..=4) || !is_good(own.disk) {
        State::Broken
    } else if set.state & 8 != 0 {
        State::Rebuilding
    } else if unsynced {
        State::Unsynced
    } else {
        State::Ok
    };
    let stride = 1_u32.checked_shl(config.stride_shift.into()).unwrap_or(0);
    let (name, (joined, basic, _)) = (name(set), config.secondary);
    let nested = is_raid_10(&config);
    Some(Part {
        set: if nested { format!("{name}-{basic}") } else { name.clone() },
        above: nested.then(|| Above {
            set: name,
            level: Level::Raid0,
            stride,
            order: basic.into(),
            members: joined.into(),
        }),
        level,
        stride,
        members: u32::try_from(config.members.len()).ok()?,
        order,
        offset: *offset,
        sectors: config.sectors,
        state,
        total: None,
        generation: None,
    })
}

/// Mirrors joined by stripes: chunks go from one to the next, as in md's RAID 10 with near copies (mdadm: `layout_ddf2md`).
fn is_raid_10(config: &Config) -> bool {
    config.secondary.0 > 1 && matches!(config.level(), Some((10, ..)))
}

/// Level and qualifier. Two of dmraid's are wrong: rotating parity 0 is right asymmetric (mdadm: `layout_ddf2md`), and
/// with a second level the first one is not all of it. RAID 4 it takes with its parity anywhere.
fn level(config: &Config) -> Level {
    match config.level {
        _ if is_raid_10(config) => Level::Raid1,
        (code, _) if config.secondary.0 > 1 => Level::Unsupported(code.into()),
        (0, _) => Level::Raid0,
        (1, _) => Level::Raid1,
        (4, 1) => Level::Raid4,
        (5, 0) => Level::Raid5(Parity::RightAsymmetric),
        (5, 2) => Level::Raid5(Parity::LeftAsymmetric),
        (5, 3) => Level::Raid5(Parity::LeftSymmetric),
        (0x0f | 0x1f, _) => Level::Linear,
        (code, _) => Level::Unsupported(code.into()),
    }
}

fn name(set: &Virtual) -> String {
    let mut name = format!("{}_", Format::Ddf.name());
    if set.name.is_empty() {
        set.guid.iter().for_each(|byte| _ = write!(name, "{byte:02x}"));
    } else {
        name.push_str(set.name.trim_end_matches(|c: char| !c.is_ascii_graphic()));
    }
    name
}
