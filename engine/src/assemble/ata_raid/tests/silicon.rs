//! Silicon Image's RAID 5 and concatenated disks, and what their metadata say of a disk's past.

use super::ata_writer::silicon_but;
use super::*;

/// A set of disks of which one has other bytes at a place.
fn with(kind: u8, disks: u8, array: u32, odd: u8, at: usize, value: &[u8]) -> Set {
    let one = |number: u8| {
        let (striped, mirrored) = if kind == 1 { (0xff, disks) } else { (disks, 0xff) };
        let change = |meta: &mut [u8]| {
            if number == odd {
                meta[at..at + value.len()].copy_from_slice(value);
            }
        };
        read(&silicon_but(kind, number, (striped, 0), (mirrored, 0), array, &change))
    };
    let contents: Vec<Content> = (0..disks).map(one).collect();
    let mut sets = assembled(&contents);
    assert_eq!(sets.len(), 1);
    sets.remove(0)
}

fn without(mut set: Set, disk: &str) -> Set {
    set.lower[0].legs.retain(|leg| leg.device.0 != disk);
    set
}

fn why(set: &Set) -> String {
    match set.readiness() {
        Readiness::Refused(why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn raid_5_by_the_states_of_its_disks() {
    let raid5 = |at, value: &[u8]| with(16, 3, 60000, 1, at, value);
    let whole = raid5(0x128, &[1, 2]);
    assert_eq!(whole.readiness(), Readiness::Complete);
    let table = |set: &Set| tables::lower(set, &set.lower[0]).unwrap().targets[0].params.clone();
    assert_eq!(
        table(&without(whole.clone(), "sda")),
        "raid5_ls 4 128 nosync region_size 64 3 - - - /dev/sdb - /dev/sdc"
    );
    // Dropped, removed, and what was never current.
    for state in [0, 3, 4] {
        let set = raid5(0x128, &[state]);
        assert!(matches!(set.readiness(), Readiness::Degraded(_)), "{state}: {:?}", set.readiness());
        assert_eq!(table(&set), "raid5_ls 4 128 nosync region_size 64 3 - /dev/sda - - - /dev/sdc");
    }
    assert!(why(&raid5(0x128, &[2])).contains("sdb says that a rebuild"));
    // The set was in use.
    let dirty = raid5(0x129, &[1]);
    assert!(table(&dirty).contains(" sync "), "{dirty:?}");
    assert!(why(&without(dirty, "sda")).contains("had not been built"));
    // It was away, or has been elsewhere; counters wrap.
    assert!(why(&raid5(0x124, &[2])).contains("of sdb are older than those of sda"));
    assert!(why(&raid5(0x124, &[4])).contains("of sda are older than those of sdb"));
    assert!(why(&raid5(0x124, &[0xff; 4])).contains("of sdb are older"));
    assert!(why(&raid5(0x116, &[3])).contains("member 3 of 3"));
    assert!(why(&raid5(0x118, &[4])).contains("disagree"));
    // What nobody has described.
    let unknown = |set: Set| assert!(why(&set).contains("(code 16)"), "{}", why(&set));
    unknown(with(16, 2, 60000, 9, 0, &[]));
    unknown(with(16, 1, 60000, 0, 0x118, &[9]));
    unknown(with(16, 1, 60000, 0, 0x10a, &[3]));
    unknown(with(16, 1, 60000, 0, 0x106, &[0]));
}

/// dmraid would let it read from both.
#[test]
fn a_mirror_by_the_states_of_its_disks() {
    let mirror = |at, value: &[u8]| with(1, 2, 30000, 1, at, value);
    assert_eq!(mirror(0x128, &[0]).readiness(), Readiness::Complete);
    assert!(matches!(mirror(0x128, &[3]).readiness(), Readiness::Degraded(_)));
    assert!(why(&mirror(0x128, &[2])).contains("rebuild"));
    assert!(why(&mirror(0x124, &[2])).contains("of sdb are older"));
    // What is lost of a stripe is lost in any case.
    assert_eq!(with(0, 2, 60000, 1, 0x124, &[2]).readiness(), Readiness::Complete);
}

/// Their shares are not in the metadata: what they say of the whole has to confirm the rule.
#[test]
fn concatenated_disks_have_to_add_up() {
    for (kind, disks) in [(4, 1_u8), (4, 3), (255, 1), (255, 2)] {
        let array = u32::from(disks) * 30720;
        assert_eq!(with(kind, disks, array, 9, 0, &[]).readiness(), Readiness::Complete, "{kind} {disks}");
        let odd = with(kind, disks, array + 8, 9, 0, &[]);
        assert!(why(&odd).contains(&format!("hold {array} sectors")), "{}", why(&odd));
    }
    // One alone does not add up yet, but that is not what is wrong.
    let set = without(with(4, 2, 61440, 9, 0, &[]), "sda");
    assert!(matches!(set.readiness(), Readiness::Incomplete(_)), "{:?}", set.readiness());
    assert!(why(&with(4, 2, 61440, 1, 0x6c, &[1])).contains("disagree"));
}
