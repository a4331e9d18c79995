//! Interrupted reshapes: whether the kernel goes on with one by itself, and which members count until it is done.
//!
//! `mdadm --incremental` starts no array whose reshape needs a backup; `mdadm --assemble` puts back what it has backed up,
//! and hands arrays that grow over to the kernel (Grow.c, `Grow_restart`; Assemble.c, `start_array`). What can only have
//! been started that way without anything to put back is started here as well.

use ondisk::md::{Reshape, Superblock};

/// One of the shapes that an array has during a reshape: its data lie in the one up to a place and in the other from there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) layout: u32,
    /// Whether the member of each slot holds all of its data that lie in this shape.
    pub(super) in_sync: Vec<bool>,
}

/// The shapes that an array has now: one, or during a reshape two. `holds` says whether a slot has a member, one that is
/// still being rebuilt counted or not.
///
/// A member that takes part without being in sync is being filled by the reshape itself: when members are added it holds
/// what lies in the new shape, when they are taken away (a growth that was turned round) what lies in the old one (raid5.c,
/// `raid5_calc_degraded`). RAID 10 counts it in neither (raid10.c, `_enough`).
pub(super) fn shapes(best: &Superblock, holds: &dyn Fn(u16, bool) -> bool) -> Vec<Shape> {
    let shape = |disks: u32, layout: u32, rebuilding: bool| {
        let slots = (0..disks).filter_map(|slot| u16::try_from(slot).ok());
        Shape { layout, in_sync: slots.map(|slot| holds(slot, rebuilding)).collect() }
    };
    let Some(reshape) = &best.reshape else { return vec![shape(best.raid_disks, best.layout, false)] };
    let parity = matches!(best.level, 4..=6);
    vec![
        shape(before(best, reshape).unwrap_or(0), best.layout, parity && reshape.delta_disks < 0),
        shape(best.raid_disks, reshape.layout, parity && reshape.delta_disks > 0),
    ]
}

/// How many members it had before.
fn before(best: &Superblock, reshape: &Reshape) -> Option<u32> {
    best.raid_disks.checked_sub_signed(reshape.delta_disks)
}

/// Why a reshape does not go on by itself, and what to do about it; `None` if it does, or if there is none.
pub(super) fn held_up(best: &Superblock) -> Option<String> {
    let reshape = best.reshape.as_ref()?;
    let parity = match best.level {
        4 | 5 => 1,
        6 => 2,
        10 => 0,
        // md.c, `md_run`: other levels cannot be reshaped.
        _ => {
            return Some(format!(
                "its superblock speaks of a reshape, of which the kernel knows none for {}; see mdadm --examine",
                best.level_name()
            ));
        }
    };
    let data = |disks: Option<u32>| disks?.checked_sub(parity).filter(|data| *data > 0).map(u64::from);
    let (Some(old), Some(new)) = (data(before(best, reshape)), data(Some(best.raid_disks))) else {
        return Some(format!(
            "its superblock speaks of a reshape by {} to {} members, which cannot be; see mdadm --examine",
            reshape.delta_disks, best.raid_disks
        ));
    };
    // raid5.c, `raid5_run`: levels are changed before and after a reshape.
    if parity > 0 && reshape.level != best.level {
        return Some(format!(
            "its reshape leads from level {} to level {}, which the kernel cannot go on with; see mdadm --examine",
            best.level, reshape.level
        ));
    }
    if reshape.new_offset {
        return None;
    }
    if parity == 0 {
        return Some(
            "its reshape leaves its data where they are, which the kernel cannot go on with".to_owned(),
        );
    }
    let place = Place::of(best, reshape, old, new);
    let from_rescue = "start it from a rescue system with mdadm --assemble";
    match reshape.delta_disks {
        0 => Some(format!(
            "a reshape in place was interrupted, which goes on only while mdadm backs it up; {from_rescue} \
             --backup-file=FILE, the file that it was begun with"
        )),
        ..0 => {
            let spare =
                if place == Some(Place::Apart) { ", or an empty one: it is not needed yet" } else { "" };
            Some(format!(
                "a reshape to fewer members was interrupted, whose last part only mdadm can back up; {from_rescue} \
                 --backup-file=FILE, the file that it was begun with{spare}"
            ))
        }
        _ => match place {
            Some(Place::Apart) => None,
            Some(Place::Critical) => Some(format!(
                "a reshape to more members was interrupted near its start, of which mdadm keeps a copy on the new \
                 members or in a file; {from_rescue}, and --backup-file=FILE if it was begun with one"
            )),
            None => Some(format!(
                "its reshape has come to sector {}, where no stripe begins; see mdadm --examine",
                reshape.position
            )),
        },
    }
}

/// Where a reshape that changes the number of members has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// What is written next may lie where what is read next lies: only mdadm's backup saves it from a crash.
    Critical,
    /// Old and new places are apart, and stay so for a reshape to more members.
    Apart,
}

impl Place {
    /// By the number of members that hold data before and after; `None` where the kernel finds no stripe to begin with.
    ///
    /// The kernel looks only whether the next stripe to be written comes before the next one to be read (raid5.c,
    /// `raid5_run`). mdadm backs up everything below the first common boundary of old and new stripes (Grow.c,
    /// `compute_backup_blocks`), for up to there the kernel may have written over what the superblock still calls the
    /// source (raid5.c, `reshape_request`): both must be behind.
    fn of(best: &Superblock, reshape: &Reshape, old: u64, new: u64) -> Option<Place> {
        let (old_chunk, new_chunk) = (best.chunk / 512, reshape.chunk / 512);
        let step = old_chunk.max(new_chunk);
        let written = step.checked_mul(new)?;
        if reshape.position.checked_rem(written)? != 0 {
            return None;
        }
        let next_new = reshape.position.checked_div(written)?;
        let next_old = reshape.position.checked_div(step.checked_mul(old)?)?;
        let apart = if new > old { next_new < next_old } else { next_new > next_old };
        let backed_up = common_multiple(old_chunk.checked_mul(old)?, new_chunk.checked_mul(new)?)?;
        if backed_up == 0 {
            return None;
        }
        Some(if apart && reshape.position >= backed_up { Place::Apart } else { Place::Critical })
    }
}

fn common_multiple(a: u64, b: u64) -> Option<u64> {
    let (mut divisor, mut rest) = (a, b);
    while rest != 0 {
        (divisor, rest) = (rest, divisor.checked_rem(rest)?);
    }
    a.checked_div(divisor)?.checked_mul(b)
}
