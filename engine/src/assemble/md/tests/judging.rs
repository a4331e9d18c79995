//! Which members count, and whether they are enough.

use std::time::Duration;

use ondisk::md::{Reshape, Role, Superblock};

use super::super::judge::{Readiness, Seen, judge};
use super::{all, member};
use crate::event::DevName;

/// Readiness, what is used and what is left out, of members named a, b, c ... in their order.
fn judged(members: &[Superblock]) -> (Readiness, String, String) {
    let names: Vec<DevName> =
        (0..members.len()).map(|index| DevName(char::from(b'a' + index as u8).to_string())).collect();
    let mut seen: Vec<Seen<'_>> = members
        .iter()
        .zip(&names)
        .map(|(superblock, name)| Seen { name, superblock, doubt: None, refused: None })
        .collect();
    let mut results = Vec::new();
    // Whatever the order in which they come, the judgement is the same.
    for _ in 0..seen.len() {
        seen.rotate_left(1);
        let judged = judge(&seen).expect("a judgement");
        let used: String = judged.used.iter().map(|one| one.name.0.as_str()).collect();
        let left: String = judged.left_out.iter().map(|(name, _)| name.0.as_str()).collect();
        results.push((judged.readiness, used, left));
    }
    results.dedup();
    assert_eq!(results.len(), 1, "the order matters: {results:?}");
    results.remove(0)
}

pub(super) fn few(readiness: &Readiness) -> bool {
    matches!(readiness, Readiness::TooFew(_))
}

/// A reshape of RAID 5 that adds a member, with its data at a new place or not.
fn growing(new_offset: bool) -> Reshape {
    Reshape { position: 384, level: 5, layout: 2, chunk: 65536, delta_disks: 1, new_offset, backwards: false }
}

/// All members of an array in the middle of this reshape.
fn reshaped(level: i32, disks: u32, reshape: &Reshape) -> Vec<Superblock> {
    let mut members = all(level, disks);
    let slots = disks.saturating_add_signed(reshape.delta_disks.min(0).abs());
    for slot in disks..slots {
        members.push(member(level, disks, slot as u16));
    }
    for one in &mut members {
        one.slots = "A".repeat(slots as usize);
        one.reshape = Some(reshape.clone());
    }
    members
}

#[test]
fn how_many_members_each_level_can_do_without() {
    for (level, disks, without) in
        [(-1, 2, 0), (0, 2, 0), (1, 3, 2), (4, 4, 1), (5, 4, 1), (6, 5, 2), (10, 4, 1)]
    {
        let members = all(level, disks);
        assert_eq!(judged(&members).0, Readiness::Complete, "level {level}");
        for missing in 1..disks as usize {
            let readiness = judged(&members[missing..]).0;
            if missing <= without {
                assert_eq!(readiness, Readiness::Degraded, "level {level} without {missing}");
            } else {
                assert!(few(&readiness), "level {level} without {missing}: {readiness:?}");
            }
        }
    }
}

#[test]
fn raid10_needs_one_copy_of_each_stripe() {
    // Layout near=2 on four: 0 and 1 mirror each other, so do 2 and 3.
    let members = all(10, 4);
    let with =
        |slots: &[usize]| judged(&slots.iter().map(|slot| members[*slot].clone()).collect::<Vec<_>>()).0;
    assert_eq!(with(&[0, 2]), Readiness::Degraded);
    assert_eq!(with(&[1, 3]), Readiness::Degraded);
    assert!(few(&with(&[0, 1])));
    assert!(few(&with(&[2, 3])));
}

#[test]
fn raid10_with_more_copies_than_members_is_judged_at_once() {
    let hostile = |slots: &[u16], disks: u32| {
        let of = |slot: &u16| Superblock { layout: 0xffff, ..member(10, disks, *slot) };
        judged(&slots.iter().map(of).collect::<Vec<_>>()).0
    };
    let begun = std::time::Instant::now();
    assert_eq!(hostile(&[0], 1), Readiness::Complete);
    assert_eq!(hostile(&[1919], 1920), Readiness::Degraded, "everybody has a copy of everything");
    let mut rebuilding = Superblock { layout: 0xffff, ..member(10, 1, 0) };
    rebuilding.recovery_offset = Some(5);
    assert!(few(&judged(&[rebuilding]).0));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[test]
fn dirty_and_degraded_is_only_started_with_a_log() {
    for (level, ppl, may) in
        [(5, false, false), (6, false, false), (4, false, false), (5, true, true), (1, false, true)]
    {
        let mut members = all(level, 4);
        for one in &mut members {
            one.clean = false;
            one.ppl = ppl;
        }
        let readiness = judged(&members[1..]).0;
        assert_eq!(readiness == Readiness::Degraded, may, "level {level}, ppl {ppl}: {readiness:?}");
        assert_eq!(judged(&members).0, Readiness::Complete, "whole it may start");
    }
    // Only the parity disk of RAID 4 may be missing.
    let mut members = all(4, 4);
    members.iter_mut().for_each(|one| one.clean = false);
    assert_eq!(judged(&members[..3]).0, Readiness::Degraded);
}

#[test]
fn stale_members_are_left_out() {
    for (behind, used) in [(0, "ab"), (1, "ab"), (2, "a"), (9, "a")] {
        let mut members = all(1, 2);
        members[1].events -= behind;
        assert_eq!(judged(&members).1, used, "{behind} events behind");
    }
}

#[test]
fn of_a_split_brain_the_fresher_half_is_used() {
    let halves = |events: [u64; 2]| {
        let mut members = all(1, 2);
        for (index, one) in members.iter_mut().enumerate() {
            one.events = events[index];
            one.slots = if index == 0 { "A.".into() } else { ".A".into() };
        }
        judged(&members)
    };
    for (events, used, left) in
        [([12, 10], "a", "b"), ([10, 12], "b", "a"), ([11, 10], "a", "b"), ([10, 10], "a", "b")]
    {
        let (readiness, seen, out) = halves(events);
        assert_eq!((readiness, seen.as_str(), out.as_str()), (Readiness::AsItWas, used, left), "{events:?}");
    }
}

#[test]
fn a_member_whose_failure_was_the_last_event_is_left_out() {
    let with = |slots: &str| {
        let mut members = all(1, 2);
        members[1].events -= 1;
        members[0].slots = slots.into();
        members
    };
    for slots in ["AA", "AR"] {
        assert_eq!(judged(&with(slots)), (Readiness::Complete, "ab".into(), String::new()), "{slots}");
    }
    assert_eq!(judged(&with("A.")), (Readiness::AsItWas, "a".into(), "b".into()));
    assert!(left_out(&with("A."), "b").contains("a, says that it has failed"));
    // A replacement, and a member that is being rebuilt, are known to the freshest one.
    let mut members = all(5, 3);
    members.push(Superblock { replacement: true, recovery_offset: Some(5), number: 3, ..member(5, 3, 1) });
    members.iter_mut().for_each(|one| one.slots = "ARA".into());
    members[1].events -= 1;
    members[3].events -= 1;
    members[2].events -= 1;
    members[2].recovery_offset = Some(5);
    assert_eq!(judged(&members).1, "abdc");
    // Nor does a crash while a reshape adds members make any of them suspect.
    let reshape = growing(true);
    let mut members = all(5, 4);
    members.iter_mut().for_each(|one| one.reshape = Some(reshape.clone()));
    members[3].events -= 1;
    assert_eq!(judged(&members).0, Readiness::Complete);
}

/// Why the member of this name is left out.
fn left_out(members: &[Superblock], of: &str) -> String {
    let names: Vec<DevName> =
        (0..members.len()).map(|index| DevName(char::from(b'a' + index as u8).to_string())).collect();
    let seen: Vec<Seen<'_>> = members
        .iter()
        .zip(&names)
        .map(|(superblock, name)| Seen { name, superblock, doubt: None, refused: None })
        .collect();
    let judged = judge(&seen).expect("a judgement");
    judged.left_out.into_iter().find(|(name, _)| name.0 == of).map(|(_, why)| why).unwrap_or_default()
}

#[test]
fn a_half_that_was_used_apart_is_told_from_a_stale_one() {
    let mut members = all(1, 2);
    members[0].slots = "A.".into();
    members[0].events = 90;
    let why = left_out(&members, "b");
    assert!(why.contains("out of date"), "it knows nothing of a failure: {why}");
    members[1].slots = ".A".into();
    for events in [10, 88, 89, 90] {
        members[1].events = events;
        let why = left_out(&members, "b");
        assert!(why.contains("used apart") && why.contains("writes that a lacks"), "{events}: {why}");
    }
}

#[test]
fn copies_spares_faulty_ones_and_other_shapes() {
    let mut members = all(1, 2);
    members.push(members[0].clone());
    assert_eq!(judged(&members).1, "ab", "the copy is not used");
    members[2].role = Role::Spare;
    assert_eq!(judged(&members).1, "abc");
    members[2].events = 11;
    assert_eq!(judged(&members).2, "c", "a stray spare");
    members[2].role = Role::Faulty;
    assert_eq!(judged(&members).2, "c");
    members[2] = Superblock { raid_disks: 3, ..member(1, 2, 1) };
    assert_eq!(judged(&members).2, "c", "another shape");
    members[2] = Superblock { big_endian: true, ..member(1, 2, 1) };
    assert_eq!(judged(&members).2, "c");
    members.remove(2);
    members[1].recovery_offset = Some(100);
    assert_eq!(judged(&members).0, Readiness::Complete, "the kernel goes on rebuilding it");
    assert!(few(&judged(&members[1..]).0), "half rebuilt is no copy");
}

#[test]
fn a_replacement_stands_beside_the_one_it_replaces() {
    let mut members = all(1, 2);
    members.push(Superblock { replacement: true, recovery_offset: Some(5), number: 2, ..member(1, 2, 1) });
    members.iter_mut().for_each(|one| one.slots = "AR".into());
    assert_eq!(judged(&members), (Readiness::Complete, "abc".into(), String::new()));
}

#[test]
fn a_journal_is_never_done_without() {
    let mut members = all(5, 3);
    members.iter_mut().for_each(|one| one.journal = true);
    assert!(few(&judged(&members).0));
    members.push(Superblock { role: Role::Journal, journal: true, number: 3, ..member(5, 3, 0) });
    assert_eq!(judged(&members).0, Readiness::Complete);
    members[3].events = 8;
    assert!(few(&judged(&members).0), "a stale one is none");
    members.iter_mut().for_each(|one| one.journal = false);
    assert_eq!(judged(&members).2, "d", "an array without a journal takes none");
}

#[test]
fn what_is_not_for_an_initramfs() {
    let mut members = all(1, 2);
    members.iter_mut().for_each(|one| one.nodes = 2);
    assert!(matches!(judged(&members).0, Readiness::Refused(why) if why.contains("cluster")));
    let hostile = Superblock { raid_disks: u32::MAX, ..member(1, 2, 0) };
    assert!(matches!(judged(&[hostile]).0, Readiness::Refused(_)));
    assert!(matches!(judged(&all(-4, 2)).0, Readiness::Refused(_)));
}

/// What is said of an interrupted reshape, nothing if the array is started.
fn advice(level: i32, disks: u32, reshape: &Reshape) -> String {
    match judged(&reshaped(level, disks, reshape)).0 {
        Readiness::Complete => String::new(),
        Readiness::Refused(why) => why,
        other => panic!("{other:?}"),
    }
}

/// From 3 to 4 members stripes of 256 and 384 sectors meet at 768, where mdadm's backup ends. From 6 to 8 they meet at 4480;
/// the kernel would start from 2688 on.
#[test]
fn a_growth_goes_on_by_itself_beyond_its_critical_section() {
    for (disks, delta, position, goes_on) in [
        (4, 1, 0, false),
        (4, 1, 384, false),
        (4, 1, 768, true),
        (4, 1, 384 * 1000, true),
        (8, 2, 896, false),
        (8, 2, 896 * 3, false),
        (8, 2, 896 * 4, false),
        (8, 2, 896 * 5, true),
    ] {
        let reshape = Reshape { position, delta_disks: delta, ..growing(false) };
        let why = advice(5, disks, &reshape);
        assert_eq!(why.is_empty(), goes_on, "{disks} by {delta} at {position}: {why}");
        if !goes_on {
            assert!(why.contains("near its start") && why.contains("copy on the new members"), "{why}");
            assert!(why.contains("mdadm --assemble, and --backup-file=FILE if"), "{why}");
        }
        assert_eq!(advice(5, disks, &Reshape { new_offset: true, ..reshape }), "", "nothing is in the way");
    }
    // RAID 6 has a member less for data, and RAID 4 and 5 are no different.
    let six = Reshape { position: 768, level: 6, ..growing(false) };
    assert_eq!(advice(6, 5, &six), "");
    assert!(advice(6, 5, &Reshape { position: 384, ..six }).contains("near its start"));
    assert_eq!(advice(4, 4, &Reshape { position: 768, level: 4, ..growing(false) }), "");
    // With larger chunks the first common boundary lies further on, and the kernel counts in the larger ones.
    let larger = Reshape { chunk: 131_072, ..growing(false) };
    assert!(advice(5, 4, &Reshape { position: 768, ..larger.clone() }).contains("near its start"));
    assert_eq!(advice(5, 4, &Reshape { position: 1536, ..larger.clone() }), "");
    assert!(
        advice(5, 4, &Reshape { position: 1920, ..larger }).contains("sector 1920, where no stripe begins")
    );
}

#[test]
fn what_mdadm_has_to_back_up_is_left_to_it() {
    let in_place = Reshape { position: 38400, delta_disks: 0, chunk: 131_072, ..growing(false) };
    let why = advice(5, 4, &in_place);
    assert!(
        why.contains("in place") && why.contains("--backup-file=FILE, the file that it was begun with"),
        "{why}"
    );
    assert_eq!(advice(5, 4, &Reshape { new_offset: true, ..in_place }), "");
    // From 4 to 3 members: the critical section is what comes last, the start of the array.
    for (position, unused) in [(256_000, true), (768, true), (512, false), (0, false)] {
        let fewer = Reshape { position, delta_disks: -1, backwards: true, ..growing(false) };
        let why = advice(5, 3, &fewer);
        assert!(why.contains("fewer members") && why.contains("--backup-file=FILE"), "{why}");
        assert_eq!(why.contains("an empty one"), unused, "{position}: {why}");
        assert_eq!(advice(5, 3, &Reshape { new_offset: true, ..fewer }), "");
    }
}

#[test]
fn reshapes_that_the_kernel_does_not_know() {
    let level = |level: i32| Reshape { level, new_offset: true, ..growing(true) };
    assert!(advice(5, 4, &level(6)).contains("from level 5 to level 6"));
    for old in [0, 1, -1] {
        assert!(advice(old, 4, &level(old)).contains("knows none"), "{old}");
    }
    assert!(
        advice(10, 4, &Reshape { new_offset: false, layout: 0x102, ..level(10) }).contains("where they are")
    );
    for delta in [4, 3, i32::MAX, 1000] {
        assert!(
            advice(5, 4, &Reshape { delta_disks: delta, ..level(5) }).contains("which cannot be"),
            "{delta}"
        );
    }
    for (chunk, position) in [(0, 768), (u64::MAX, 768), (65536, u64::MAX)] {
        let hostile = Reshape { chunk, position, ..growing(false) };
        assert!(!advice(5, 4, &hostile).is_empty(), "{hostile:?}");
    }
    let mut members = reshaped(5, 4, &growing(true));
    members.iter_mut().for_each(|one| one.reshape = Some(Reshape { delta_disks: i32::MIN, ..growing(true) }));
    assert!(matches!(judged(&members).0, Readiness::Refused(_)));
}

/// raid5.c, `raid5_calc_degraded`: new members are filled as the reshape comes along, others are rebuilt.
#[test]
fn who_counts_as_whole_during_a_reshape() {
    let with = |level: i32, disks: u32, delta_disks: i32, rebuilding: &[usize], missing: &[usize]| {
        let reshape =
            Reshape { delta_disks, level, layout: if level == 10 { 0x102 } else { 2 }, ..growing(true) };
        let mut members = reshaped(level, disks, &reshape);
        rebuilding.iter().for_each(|slot| members[*slot].recovery_offset = Some(96));
        let mut slot = 0;
        members.retain(|_| {
            slot += 1;
            !missing.contains(&(slot - 1))
        });
        judged(&members).0
    };
    // From 3 to 4 members, slot 3 new.
    assert_eq!(with(5, 4, 1, &[3], &[]), Readiness::Complete);
    assert_eq!(with(5, 4, 1, &[3], &[0]), Readiness::Degraded, "one of the old ones may be missing");
    assert!(few(&with(5, 4, 1, &[3], &[0, 1])));
    assert_eq!(with(5, 4, 1, &[], &[3]), Readiness::Degraded, "or the new one");
    assert!(few(&with(5, 4, 1, &[], &[0, 3])), "of what lies in the new shape two are missing");
    assert_eq!(
        with(5, 4, 1, &[0, 3], &[]),
        Readiness::Complete,
        "an old one that is rebuilt is missing in the old shape"
    );
    assert!(few(&with(5, 4, 1, &[0, 3], &[1])), "and may not be missing beside another");
    // In place, whoever is rebuilt is not whole.
    assert_eq!(with(5, 4, 0, &[1], &[]), Readiness::Complete);
    assert!(few(&with(5, 4, 0, &[1], &[0])));
    assert_eq!(with(6, 5, 0, &[1], &[0]), Readiness::Degraded);
    assert!(few(&with(6, 5, 0, &[1, 2], &[0])));
    // From 4 to 3 members, slot 3 leaves: a growth turned round, which had filled it.
    assert_eq!(with(5, 3, -1, &[3], &[]), Readiness::Complete);
    assert_eq!(with(5, 3, -1, &[3], &[0]), Readiness::Degraded);
    assert!(few(&with(5, 3, -1, &[1], &[0])), "of what lies in the new shape two are missing");
    // RAID 10 of 4 members has no copy of stripes whose members are both being rebuilt, in whichever shape.
    assert_eq!(with(10, 4, 0, &[1], &[]), Readiness::Complete);
    assert!(few(&with(10, 4, 0, &[1], &[0])));
    assert!(few(&with(10, 6, 2, &[4, 5], &[])));
    assert_eq!(with(10, 6, 2, &[5], &[0]), Readiness::Degraded);
}

#[test]
fn redundancy_is_asked_of_each_shape_when_it_was_not_shut_down_cleanly() {
    let mut members = reshaped(5, 4, &growing(true));
    members[3].recovery_offset = Some(96);
    members.iter_mut().for_each(|one| one.clean = false);
    assert_eq!(judged(&members).0, Readiness::Complete, "nothing is missing in either");
    members[0].recovery_offset = Some(96);
    assert!(few(&judged(&members).0), "one of the old ones is being rebuilt");
}
