//! Pools: their metadata are looked at before they are made.

use ondisk::Content;
use ondisk::lvm::{Section, Value, VolumeGroup};

use super::{created, group, make, pv, script, script_with, why, words};
use crate::{Action, DeviceFacts, DmFacts, Failure, Outcome};

/// A group with a pool and these volumes in it.
fn thin(volumes: &[&str]) -> VolumeGroup {
    let all: Vec<(&str, usize)> =
        volumes.iter().chain(&["pool", "pool_tdata", "pool_tmeta"]).map(|name| (*name, 0)).collect();
    let mut vg = group("vg", 'v', 1, "a", &all);
    let text = |key: &str, value: &str| (key.to_owned(), Value::Text(value.into()));
    let number = |key: &str, value: i64| (key.to_owned(), Value::Number(value));
    for (device, lv) in (1..).zip(&mut vg.lvs[..volumes.len()]) {
        lv.segments[0].kind = "thin".into();
        lv.segments[0].config = Section(vec![
            text("thin_pool", "pool"),
            number("transaction_id", 0),
            number("device_id", device),
        ]);
    }
    let [pool, parts @ ..] = &mut vg.lvs[volumes.len()..] else { panic!() };
    pool.segments[0].kind = "thin-pool".into();
    pool.segments[0].config = Section(vec![
        text("metadata", "pool_tmeta"),
        text("pool", "pool_tdata"),
        text("discards", "passdown"),
        number("transaction_id", 1),
        number("chunk_size", 128),
        number("zero_new_blocks", 1),
    ]);
    for part in parts {
        part.status = words(&["READ", "WRITE"]);
    }
    vg
}

/// lvm2: `_thin_pool_add_target_line`; the pool has one extent of 64 blocks.
#[test]
fn the_low_water_mark_follows_lvm_conf() {
    let vg = thin(&["root"]);
    for (conf, mark) in [
        ("", 0),
        ("activation { thin_pool_autoextend_threshold = 100 }", 0),
        ("activation { thin_pool_autoextend_threshold = 200 }", 0),
        ("activation { thin_pool_autoextend_threshold = \"70\" }", 0),
        ("activation { thin_pool_autoextend_threshold = 70 }", 19),
        ("activation/thin_pool_autoextend_threshold = 99", 0),
        ("activation { thin_pool_autoextend_threshold = 50 }", 32),
        ("activation { thin_pool_autoextend_threshold = 10 }", 32),
    ] {
        let mut script = script_with("root=/dev/vg/root", conf);
        let mut actions = script.disk("sda", pv('a', Some(&vg)));
        let pool = (0..).find_map(|minor| {
            if actions.iter().any(|action| matches!(action, Action::CheckPool(..))) {
                let check = |action: &Action| matches!(action, Action::CheckPool(..));
                actions = script.answer(check, Ok(Outcome::Done));
            }
            let pool = actions.iter().find_map(|action| match action {
                Action::CreateDm(device) if device.targets[0].kind == "thin-pool" => Some(device.clone()),
                _ => None,
            });
            if pool.is_none() {
                actions = make(&mut script, minor, Content::default());
            }
            pool
        });
        let params = pool.unwrap().targets[0].params.clone();
        assert_eq!(
            params.split(' ').collect::<Vec<_>>()[2..4],
            ["128", &mark.to_string()],
            "{conf}: {params}"
        );
    }
}

/// A thin volume in its pool; the pool's metadata are looked at before the pool is made.
#[test]
fn a_pool_that_asks_to_be_checked_is_left_alone() {
    let vg = thin(&["root"]);
    let is_check = |action: &Action| matches!(action, Action::CheckPool(..));
    for sound in [true, false] {
        let mut script = script("root=/dev/vg/root");
        let mut actions = script.disk("sda", pv('a', Some(&vg)));
        let mut minor = 0;
        while !actions.iter().any(is_check) {
            assert!(!created(&actions).iter().any(|name| name.ends_with("-tpool")), "{actions:?}");
            actions = make(&mut script, minor, Content::default());
            minor += 1;
        }
        let refusal = Failure::Other("its metadata must be checked".into());
        let actions = script.answer(is_check, if sound { Ok(Outcome::Done) } else { Err(refusal) });
        assert_eq!(created(&actions).len(), usize::from(sound));
        if !sound {
            assert!(actions.iter().any(|action| matches!(action, Action::RemoveDm(_))));
            for _ in 0..minor {
                script.answer(|action| matches!(action, Action::RemoveDm(_)), Ok(Outcome::Done));
            }
            assert!(why(&script).contains("pool pool: its metadata must be checked"), "{}", why(&script));
        }
    }
}

/// Two thin volumes in one pool, and answers that come before the events about what was made or removed.
#[test]
fn what_was_just_made_or_removed_is_known_without_an_event() {
    let is_create = |action: &Action| matches!(action, Action::CreateDm(_));
    let is_check = |action: &Action| matches!(action, Action::CheckPool(..));
    for sound in [true, false] {
        let mut script = script("rd.lvm.lv=vg/one rd.lvm.lv=vg/two");
        let mut actions = script.disk("sda", pv('a', Some(&thin(&["one", "two"]))));
        let (mut made, mut minor) = (Vec::new(), 0);
        // Only the metadata, whose event was quick, are in the table.
        while let Some(Action::CreateDm(device)) = actions.iter().find(|action| is_create(action)).cloned() {
            made.push(device.name.clone());
            actions = script.answer(is_create, Ok(Outcome::Made { major: 253, minor }));
            if device.name == "vg-pool_tmeta" && minor == 0 {
                let dm = DmFacts { name: device.name, uuid: device.uuid };
                let facts = DeviceFacts { major: 253, size: 9, dm: Some(dm), ..DeviceFacts::default() };
                actions.extend(script.add("dm-0", facts, Content::default()));
            }
            minor += 1;
            if actions.iter().any(is_check) {
                assert_eq!(made.iter().filter(|name| *name == "vg-pool_tmeta").count(), made.len() / 2);
                let unsound = Err(Failure::Other("its metadata must be checked".into()));
                actions = script.answer(is_check, if sound { Ok(Outcome::Done) } else { unsound });
                while actions.iter().any(|action| matches!(action, Action::RemoveDm(_))) {
                    let is_remove = |action: &Action| matches!(action, Action::RemoveDm(_));
                    actions = script.answer(is_remove, Ok(Outcome::Done));
                }
            }
        }
        let parts = ["vg-pool_tmeta", "vg-pool_tdata"];
        if sound {
            assert_eq!(made, [&parts[..], &["vg-pool-tpool", "vg-one", "vg-two"]].concat());
        } else {
            // Everything again for the second volume, the check too.
            assert_eq!(made, [parts, parts].concat());
        }
    }
}

/// What could not be taken down again is looked at once more for the next volume of the pool.
#[test]
fn metadata_that_stayed_behind_are_looked_at_again() {
    let mut script = script("rd.lvm.lv=vg/one rd.lvm.lv=vg/two");
    script.disk("sda", pv('a', Some(&thin(&["one", "two"]))));
    let is_check = |action: &Action| matches!(action, Action::CheckPool(..));
    make(&mut script, 0, Content::default());
    make(&mut script, 1, Content::default());
    let mut checks = 0;
    for _ in 0..2 {
        let unsound = Err(Failure::Other("its metadata must be checked".into()));
        let mut actions = script.answer(is_check, unsound);
        checks += 1;
        while actions.iter().any(|action| matches!(action, Action::RemoveDm(_))) {
            let is_remove = |action: &Action| matches!(action, Action::RemoveDm(_));
            actions = script.answer(is_remove, Err(Failure::Other("busy".into())));
        }
        assert_eq!(created(&actions), [""; 0]);
    }
    assert_eq!(checks, 2);
}
