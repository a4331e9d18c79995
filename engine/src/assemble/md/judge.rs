//! Which of the members seen belong into their array now, and whether that is enough to start it.
//!
//! The rules are mdadm's (Assemble.c, `load_devices` and `start_array`; Incremental.c, `count_active`; util.c, `enough`),
//! except that the order in which members show up never matters.

use ondisk::md::{Role, Superblock};

use super::reshape::{self, Shape};
use crate::event::DevName;

/// More slots than a superblock has room for roles.
const MAX_SLOTS: u32 = 1920;

/// One member as it was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) name: &'a DevName,
    pub(super) superblock: &'a Superblock,
    /// Why its superblock is not to be trusted.
    pub(super) doubt: Option<&'a str>,
    /// Why the kernel did not take it; what it says of the others holds all the same.
    pub(super) refused: Option<&'a str>,
}

/// Whether an array can be started from what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Readiness {
    /// Every slot has its member.
    Complete,
    /// Every member is there that the freshest one takes for working; the array was degraded before.
    AsItWas,
    /// Members are missing that the array's redundancy makes up for.
    Degraded,
    /// Members are missing that cannot be done without.
    TooFew(String),
    /// It must not be started here, whatever comes; with what to do instead.
    Refused(String),
}

/// What is to be made of the members of one array.
#[derive(Debug, Clone)]
pub(super) struct Judgement<'a> {
    /// The freshest member: what it says of the array holds.
    pub(super) best: &'a Superblock,
    /// What to add, in the order of slots; spares and the journal last.
    pub(super) used: Vec<Seen<'a>>,
    /// What is not used, and why.
    pub(super) left_out: Vec<(&'a DevName, String)>,
    /// Slots without a member, the journal's absence aside.
    pub(super) missing: Vec<u16>,
    pub(super) readiness: Readiness,
}

/// Judges the members of one array; `None` if none of them says more than that it is a spare.
pub(super) fn judge<'a>(seen: &[Seen<'a>]) -> Option<Judgement<'a>> {
    let mut left_out: Vec<(&DevName, String)> = Vec::new();
    let mut active: Vec<(u16, Seen<'a>)> = Vec::new();
    let mut others: Vec<Seen<'a>> = Vec::new();
    for one in seen {
        let superblock = one.superblock;
        if let Some(doubt) = one.doubt {
            left_out.push((one.name, doubt.to_owned()));
            continue;
        }
        if superblock.big_endian {
            let advice = "its superblock is in the other byte order; mdadm --assemble --update=byteorder turns it round";
            left_out.push((one.name, advice.to_owned()));
            continue;
        }
        match superblock.role {
            Role::Active(slot) => active.push((slot, *one)),
            Role::Faulty => left_out.push((one.name, "the array has thrown it out as faulty".to_owned())),
            Role::Spare | Role::Journal => others.push(*one),
        }
    }
    // The freshest first; of equals that of the first slot, then by name: the same whatever came first.
    active.sort_by(|(slot_a, a), (slot_b, b)| {
        (b.superblock.events, a.superblock.replacement, slot_a, a.name).cmp(&(
            a.superblock.events,
            b.superblock.replacement,
            slot_b,
            b.name,
        ))
    });
    let (best_slot, best_member) = *active.iter().find(|(_, one)| !one.superblock.replacement)?;
    let best = best_member.superblock;
    if best.all_disks() == 0 || best.all_disks() > MAX_SLOTS {
        let refused = format!("its superblock speaks of {} members", best.all_disks());
        let (used, missing) = (Vec::new(), Vec::new());
        return Some(Judgement { best, used, left_out, missing, readiness: Readiness::Refused(refused) });
    }
    let mut used: Vec<(u16, Seen<'a>)> = Vec::new();
    for (slot, one) in active {
        let superblock = one.superblock;
        let twin = used
            .iter()
            .find(|(other, known)| *other == slot && known.superblock.replacement == superblock.replacement);
        let why = if let Some(refused) = one.refused {
            Some(refused.to_owned())
        } else if superblock.level != best.level
            || superblock.raid_disks != best.raid_disks
            || superblock.version != best.version
        {
            Some(format!("it speaks of another shape of the array than {}", best_member.name))
        } else if one.name != best_member.name && !superblock.trusts(best_slot) {
            // Before the counts are compared: whoever hears only that a half is out of date adds it back, and thereby
            // throws away what was written to it.
            Some(format!(
                "it says that {} has failed: the halves of the array were used apart from each other, and this one may \
                 hold writes that {} lacks; assemble it by itself, read-only, and compare before it is added back",
                best_member.name, best_member.name
            ))
        } else if superblock.events.saturating_add(1) < best.events {
            Some(format!(
                "it is out of date: its event count is {}, that of {} is {}",
                superblock.events, best_member.name, best.events
            ))
        } else if superblock.events < best.events && !best.trusts(slot) {
            // One event behind is what a crash between two superblocks leaves, and what recording this failure leaves.
            Some(format!("the freshest member, {}, says that it has failed", best_member.name))
        } else {
            twin.map(|(_, known)| format!("it claims slot {slot}, which {} has: a copy", known.name))
        };
        match why {
            Some(why) => left_out.push((one.name, why)),
            None => used.push((slot, one)),
        }
    }
    used.sort_by_key(|(slot, one)| (*slot, one.superblock.replacement, one.name));
    let slots = best.all_disks();
    let slots: Vec<u16> = (0..slots).filter_map(|slot| u16::try_from(slot).ok()).collect();
    let holds = |slot: u16, rebuilding: bool| {
        used.iter().any(|(other, one)| {
            let whole = one.superblock.recovery_offset.is_none();
            *other == slot && (whole || (rebuilding && !one.superblock.replacement))
        })
    };
    let missing: Vec<u16> = slots.iter().copied().filter(|slot| !holds(*slot, true)).collect();
    let shapes = reshape::shapes(best, &holds);
    let clean = best.ppl || (best.clean && used.iter().all(|(_, one)| one.superblock.clean));
    let working = used.len();
    let mut used: Vec<Seen<'a>> = used.into_iter().map(|(_, one)| one).collect();
    others.sort_by_key(|one| (one.superblock.number, one.name));
    let mut journal = false;
    for one in others {
        let superblock = one.superblock;
        let why = match superblock.role {
            _ if one.refused.is_some() => one.refused.map(str::to_owned),
            Role::Journal if !best.journal => Some("the array has no journal".to_owned()),
            Role::Journal if superblock.events.saturating_add(1) < best.events => {
                Some("it is out of date".to_owned())
            }
            _ if superblock.events > best.events => {
                Some("its event count is higher than that of any member with data".to_owned())
            }
            _ => None,
        };
        match why {
            Some(why) => left_out.push((one.name, why)),
            None => {
                journal |= superblock.role == Role::Journal;
                used.push(one);
            }
        }
    }
    left_out.sort();
    let readiness = readiness(best, &shapes, clean, journal, &missing, working);
    Some(Judgement { best, used, left_out, missing, readiness })
}

fn readiness(
    best: &Superblock,
    shapes: &[Shape],
    clean: bool,
    journal: bool,
    missing: &[u16],
    working: usize,
) -> Readiness {
    if best.nodes > 1 {
        return Readiness::Refused("it belongs to a cluster, whose resource agents start it".to_owned());
    }
    if !matches!(best.level, -1 | 0 | 1 | 4 | 5 | 6 | 10) {
        return Readiness::Refused(format!("its level {} is not one that the kernel still has", best.level));
    }
    if let Some(why) = reshape::held_up(best) {
        return Readiness::Refused(why);
    }
    if best.journal && !journal {
        return Readiness::TooFew(
            "its write journal is missing, without which what was written last would be lost; mdadm --assemble \
             --force does without it"
                .to_owned(),
        );
    }
    let enough = |clean: bool| shapes.iter().all(|shape| enough(best.level, shape, clean));
    if !enough(true) {
        return Readiness::TooFew(match best.level {
            -1 | 0 => format!("{} has no redundancy", best.level_name()),
            _ => "too few members are left".to_owned(),
        });
    }
    if !enough(clean) {
        return Readiness::TooFew(
            "it was not shut down cleanly and a member is missing, so that data may be damaged unseen; mdadm \
             --assemble --force starts it all the same"
                .to_owned(),
        );
    }
    if missing.is_empty() {
        Readiness::Complete
    } else if working >= best.working() {
        Readiness::AsItWas
    } else {
        Readiness::Degraded
    }
}

/// Whether the members in sync hold all data; `clean` says that redundancy can be relied on.
fn enough(level: i32, Shape { layout, in_sync }: &Shape, clean: bool) -> bool {
    let there = in_sync.iter().filter(|one| **one).count();
    let absent = in_sync.len().saturating_sub(there);
    match level {
        1 => there >= 1,
        4 if absent == 1 && in_sync.last() == Some(&false) => true,
        4 | 5 => absent == 0 || (clean && absent <= 1),
        6 => absent == 0 || (clean && absent <= 2),
        10 => every_stripe_has_a_copy(*layout, in_sync),
        _ => absent == 0,
    }
}

/// RAID 10: of each group of neighbours that hold the same data one must be there.
pub fn every_stripe_has_a_copy(layout: u32, in_sync: &[bool]) -> bool {
    let near = (layout & 0xff) as usize;
    let copies = near.saturating_mul((layout >> 8 & 0xff) as usize);
    if near == 0 || copies == 0 || in_sync.is_empty() {
        return false;
    }
    // More copies than members come round to the same members; layouts are read from disks that anybody may have written.
    let there = |from: usize| {
        (0..copies.min(in_sync.len())).any(|step| {
            let at = from.saturating_add(step).checked_rem(in_sync.len());
            at.and_then(|at| in_sync.get(at)) == Some(&true)
        })
    };
    let mut first = 0_usize;
    // The groups begin at multiples of the near copies, and the first one comes round again.
    for _ in 0..in_sync.len() {
        if !there(first) {
            return false;
        }
        first = first.saturating_add(near).checked_rem(in_sync.len()).unwrap_or(0);
        if first == 0 {
            break;
        }
    }
    true
}
