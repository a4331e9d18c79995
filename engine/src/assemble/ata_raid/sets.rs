//! Sets of BIOS RAID, put together from what their disks say. All sizes are in sectors of 512 bytes.

use std::collections::BTreeMap;

use ondisk::ata_raid::{Format, Level, Part, State};

use crate::event::DevName;

/// A disk's part in a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg {
    /// The disk.
    pub device: DevName,
    /// Its number, `MAJOR:MINOR`.
    pub number: String,
    /// Sectors of the disk.
    pub disk: u64,
    /// What it says.
    pub part: Part,
}

/// A set whose members are disks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lower {
    /// Name of its mapping.
    pub name: String,
    /// How its members hold the data.
    pub level: Level,
    /// Stripe.
    pub stride: u32,
    /// Members that it has when complete.
    pub members: u32,
    /// Position in the upper set.
    pub order: u32,
    /// The members seen, in their order; failed ones are not among them.
    pub legs: Vec<Leg>,
    /// Disks that stand by, and those that have failed.
    pub others: Vec<Leg>,
}

/// A whole set: what is to be mapped under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// dmraid's name.
    pub name: String,
    /// Whose metadata.
    pub format: Format,
    /// For two levels how the upper one joins the lower ones: level, stripe, number.
    pub upper: Option<(Level, u32, u32)>,
    /// One, or the members of the upper level in their order.
    pub lower: Vec<Lower>,
}

/// What is possible with a set as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// Every member is there.
    Complete,
    /// Members are missing; redundancy covers it.
    Degraded(String),
    /// Too few members; what is missing.
    Incomplete(String),
    /// It cannot or must not be mapped; why, and what to do.
    Refused(String),
}

/// Sorts parts into sets, by name.
pub fn sets<'a>(parts: impl Iterator<Item = (Format, Leg)> + 'a) -> Vec<Set> {
    let mut by_name: BTreeMap<String, Set> = BTreeMap::new();
    for (format, leg) in parts {
        // A spare that belongs to no set is of no use for any.
        let above = leg.part.above.as_ref();
        let name = above.map_or(&leg.part.set, |above| &above.set).clone();
        let set = by_name.entry(name.clone()).or_insert_with(|| Set {
            name,
            format,
            upper: above.map(|above| (above.level, above.stride, above.members)),
            lower: Vec::new(),
        });
        let order = above.map_or(0, |above| above.order);
        let lower = match set.lower.iter().position(|lower| lower.name == leg.part.set) {
            Some(at) => set.lower.get_mut(at),
            None => {
                set.lower.push(Lower {
                    name: leg.part.set.clone(),
                    level: Level::Spare,
                    stride: leg.part.stride,
                    members: leg.part.members,
                    order,
                    legs: Vec::new(),
                    others: Vec::new(),
                });
                set.lower.last_mut()
            }
        };
        let Some(lower) = lower else { continue };
        if leg.part.level == Level::Spare || leg.part.state == State::Broken {
            lower.others.push(leg);
        } else {
            if lower.level == Level::Spare {
                (lower.level, lower.stride, lower.members) =
                    (leg.part.level, leg.part.stride, leg.part.members);
            }
            lower.legs.push(leg);
        }
    }
    let mut sets: Vec<Set> = by_name.into_values().collect();
    for set in &mut sets {
        set.lower.sort_by_key(|lower| lower.order);
        for lower in &mut set.lower {
            lower.legs.sort_by_key(|leg| leg.part.order);
        }
        // Without a leg it is a spare or a failed disk.
        set.lower.retain(|lower| !lower.legs.is_empty() || set.upper.is_none());
    }
    sets
}

impl Set {
    /// All disks that have to do with it.
    pub fn disks(&self) -> impl Iterator<Item = &Leg> {
        self.lower.iter().flat_map(|lower| lower.legs.iter().chain(&lower.others))
    }

    /// What is possible now.
    pub fn readiness(&self) -> Readiness {
        if let Some(why) = self.contradiction() {
            return Readiness::Refused(why);
        }
        let states: Vec<(bool, bool)> = self.lower.iter().map(Lower::standing).collect();
        let missing = self.missing();
        let usable = states.iter().filter(|(_, usable)| *usable).count();
        let complete = states.iter().all(|(complete, _)| *complete);
        let (enough, all) = match self.upper {
            None => (usable > 0, complete),
            Some((level, _, members)) => {
                let members = usize::try_from(members).unwrap_or(usize::MAX);
                let there = usable >= members;
                (if level == Level::Raid1 { usable > 0 } else { there }, complete && states.len() >= members)
            }
        };
        // Of a stripe of mirrors each one stands for itself.
        let doubtful = match self.upper {
            Some((Level::Raid0, ..)) => {
                self.lower.iter().zip(&states).any(|(lower, (complete, _))| !complete && lower.is_syncing())
            }
            _ => self.is_syncing(),
        };
        match (all, enough) {
            (true, _) => Readiness::Complete,
            (false, true) if doubtful => {
                Readiness::Refused(format!("{missing}, and its redundancy had not been built to the end"))
            }
            (false, true) => Readiness::Degraded(missing),
            (false, false) => Readiness::Incomplete(missing),
        }
    }

    /// Whether its redundancy is being built.
    pub fn is_syncing(&self) -> bool {
        self.lower.iter().any(Lower::is_syncing)
    }

    /// What is missing, in words.
    fn missing(&self) -> String {
        let seen: usize = self.lower.iter().map(|lower| lower.legs.len()).sum();
        let one = self.lower.first().map_or(0, |lower| lower.members);
        let total = self.upper.map_or(one, |(.., sets)| one.saturating_mul(sets));
        let failed = self.disks().filter(|leg| leg.part.state == State::Broken).count();
        let but = if failed > 0 { format!(", {failed} marked as failed") } else { String::new() };
        format!("{seen} of {total} disks seen{but}")
    }

    /// Why what the disks say cannot be true, or cannot be mapped.
    fn contradiction(&self) -> Option<String> {
        if self.name.is_empty() || self.name.contains(['/', '\0']) || self.name.len() > 100 {
            return Some("its name cannot be that of a mapping".into());
        }
        let lower = self.lower.iter().find_map(|lower| lower.contradiction(self.upper.is_some()));
        lower.or_else(|| self.out_of_date())
    }

    /// A member of a redundant set that was left out for a while: who reads it reads what was there before.
    fn out_of_date(&self) -> Option<String> {
        let redundant = |level| matches!(level, Level::Raid1 | Level::Raid4 | Level::Raid5(_));
        let levels = self.lower.iter().map(|lower| lower.level).chain(self.upper.map(|(level, ..)| level));
        if !levels.into_iter().any(redundant) {
            return None;
        }
        let mut counted = self
            .lower
            .iter()
            .flat_map(|lower| &lower.legs)
            .filter_map(|leg| Some((&leg.device, leg.part.generation?)));
        let (first, count) = counted.next()?;
        let (other, other_count) = counted.find(|(_, other)| *other != count)?;
        // Counters may wrap.
        let (old, new) =
            if other_count.wrapping_sub(count) < 1 << 31 { (first, other) } else { (other, first) };
        Some(format!(
            "the metadata of {old} are older than those of {new}, so its data are too; rebuild it in the firmware's setup, or \
             detach it"
        ))
    }
}

impl Lower {
    fn is_syncing(&self) -> bool {
        self.legs.iter().any(|leg| leg.part.state == State::Unsynced)
    }

    /// Whether all members are there, and whether those that are there suffice.
    fn standing(&self) -> (bool, bool) {
        let (seen, members) = (self.legs.len(), usize::try_from(self.members).unwrap_or(usize::MAX));
        let complete = seen >= members;
        let usable = match self.level {
            Level::Raid1 => seen > 0,
            Level::Raid4 | Level::Raid5(_) => seen.saturating_add(1) >= members,
            _ => complete,
        };
        (complete, usable)
    }

    fn contradiction(&self, stacked: bool) -> Option<String> {
        let first = self.legs.first()?;
        let names = |legs: &mut dyn Iterator<Item = &Leg>| {
            let names: Vec<&str> = legs.map(|leg| leg.device.0.as_str()).collect();
            names.join(" and ")
        };
        if let Level::Unsupported(code) = self.level {
            return Some(format!(
                "its RAID level (code {code}) is none that can be mapped; migrate it in the firmware"
            ));
        }
        for (one, other) in self.legs.iter().zip(self.legs.iter().skip(1)) {
            if one.part.order == other.part.order {
                let who = names(&mut [one, other].into_iter());
                return Some(format!("{who} both say that they are member {}; detach one", one.part.order));
            }
        }
        let odd = self.legs.iter().find(|leg| {
            (leg.part.level, leg.part.stride, leg.part.members) != (self.level, self.stride, self.members)
                || leg.part.total != first.part.total
        });
        if let Some(odd) = odd {
            let who = names(&mut [first, odd].into_iter());
            return Some(format!("{who} disagree about its level, stripe or size"));
        }
        if self.members == 0 || self.legs.len() > usize::try_from(self.members).unwrap_or(usize::MAX) {
            let who = names(&mut self.legs.iter());
            return Some(format!("it has {} members by its metadata, but there are {who}", self.members));
        }
        let striped = matches!(self.level, Level::Raid0 | Level::Raid4 | Level::Raid5(_));
        if striped && !self.stride.is_power_of_two() {
            return Some(format!("its stripe of {} sectors is not a power of two", self.stride));
        }
        for leg in &self.legs {
            if leg.part.sectors == 0 || leg.part.offset.saturating_add(leg.part.sectors) > leg.disk {
                return Some(format!("its part of {} does not fit on that disk", leg.device));
            }
            if leg.part.state == State::Rebuilding {
                return Some(format!(
                    "{} says that a rebuild or migration is under way, and not which disk is the good one; finish it in \
                     the firmware's setup",
                    leg.device
                ));
            }
        }
        let shares: u64 = self.legs.iter().map(|leg| leg.part.sectors).fold(0, u64::saturating_add);
        let complete = usize::try_from(self.members).is_ok_and(|members| members == self.legs.len());
        if let Some(total) = first.part.total.filter(|total| complete && *total != shares) {
            return Some(format!(
                "its disks hold {shares} sectors by the layout that is known, but {total} by its metadata; copy its data with \
                 the controller that made it"
            ));
        }
        let parity = matches!(self.level, Level::Raid4 | Level::Raid5(_));
        if let Some(leg) = self.legs.iter().find(|leg| parity && leg.part.order >= self.members) {
            let (who, number) = (&leg.device, leg.part.order);
            return Some(format!(
                "{who} says that it is member {number} of {}, counted from 0",
                self.members
            ));
        }
        if parity && (stacked || self.legs.iter().any(|leg| leg.part.offset != 0)) {
            return Some("RAID 5 that does not begin at the start of its disks cannot be mapped".into());
        }
        None
    }
}
