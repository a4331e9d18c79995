//! What the PVs say together, and groups that are left alone.

use cmdline::root_spec;
use ondisk::lvm::{Section, Value, VolumeGroup};

use super::{LvmConf, created, group, linear, pv, script, script_with, why, words};
use crate::script::{Script, is_rescue, plan};
use crate::{Action, DeviceFacts, DmFacts, Event, ImageFacts};

/// A copy that is there already is seen before it is too late.
#[test]
fn a_complete_group_waits_for_devices_that_are_being_read() {
    let vg = group("vg", 'v', 1, "a", &[("root", 0)]);
    for copied in [true, false] {
        let mut script = script("root=/dev/vg/root");
        let facts = DeviceFacts { major: 8, minor: 99, size: 1 << 22, diskseq: 99, ..DeviceFacts::default() };
        script.tell(Event::Device("sdz".into(), facts));
        assert!(created(&script.disk("sda", pv('a', Some(&vg)))).is_empty());
        if copied {
            let id = script.asked(|action| matches!(action, Action::Identify(_))).unwrap();
            let actions = script.tell(Event::Identified(id, pv('a', Some(&vg))));
            assert!(
                created(&actions).is_empty() && why(&script).contains("one is a copy"),
                "{}",
                why(&script)
            );
        } else {
            assert!(created(&script.wait(900)).is_empty());
            assert_eq!(created(&script.wait(200)), ["vg-root"], "a disk that hangs is nothing to wait for");
        }
    }
}

#[test]
fn the_newest_metadata_of_all_pvs_counts() {
    let old = group("vg", 'v', 3, "ab", &[("root", 0)]);
    let mut new = group("vg", 'v', 4, "ab", &[("root", 1)]);
    for (first, second) in [(&old, &new), (&new, &old)] {
        let mut script = script("root=/dev/vg/root");
        script.disk("sda", pv('a', Some(first)));
        let actions = script.disk("sdb", pv('b', Some(second)));
        assert!(actions.iter().any(|action| matches!(action, Action::CreateDm(device) if device.targets[0].params.starts_with("8:32 "))));
    }
    // A PV that was counted as lost stays so although it is back.
    new.pvs[1].flags = words(&["MISSING"]);
    let mut script = script("root=/dev/vg/root degraded=1");
    script.disk("sda", pv('a', Some(&new)));
    let actions = script.disk("sdb", pv('b', Some(&old)));
    assert!(created(&actions).is_empty());
    script.wait(30_000);
    assert!(why(&script).contains("vgextend --restoremissing vg"), "{}", why(&script));
    // One that was taken out is named, and not used.
    let reduced = group("vg", 'v', 9, "a", &[("root", 0)]);
    let mut script = self::script("root=/dev/vg/other");
    script.disk("sda", pv('a', Some(&reduced)));
    script.disk("sdb", pv('b', Some(&old)));
    assert!(why(&script).contains("was taken out of VG vg"), "{}", why(&script));
}

#[test]
fn groups_that_are_left_alone() {
    type Case = (fn(&mut VolumeGroup), &'static str, &'static str);
    let cases: [Case; 6] = [
        (|vg| vg.status = words(&["READ", "EXPORTED"]), "", "vgimport vg"),
        (|vg| vg.status = words(&["READ", "CLUSTERED"]), "", "belongs to a cluster"),
        (|vg| vg.lock_type = Some("sanlock".into()), "", "shared through sanlock"),
        (|vg| vg.system_id = Some("elsewhere".into()), "", "belongs to the system elsewhere"),
        (
            |vg| vg.system_id = Some("elsewhere".into()),
            "global { system_id_source = \"lvmlocal\" } local { system_id = \"here\" }",
            "belongs to the system elsewhere",
        ),
        (|_| {}, "activation { volume_list = [ \"other\" ] }", "volume_list"),
    ];
    for (change, conf, text) in cases {
        for line in ["root=/dev/vg/root", "rd.auto=1", "rd.lvm.vg=vg"] {
            let mut script = script_with(line, conf);
            let mut vg = group("vg", 'v', 1, "a", &[("root", 0)]);
            change(&mut vg);
            let mut actions = script.disk("sda", pv('a', Some(&vg)));
            actions.extend(script.wait(20_000));
            assert!(created(&actions).is_empty(), "{text}");
            assert!(why(&script).contains(text), "{text}: {}", why(&script));
            assert_eq!(actions.iter().any(is_rescue), line.starts_with("root"), "{text}");
        }
    }
    let own = "global { system_id_source = \"lvmlocal\" } local { system_id = \"here\" }";
    let mut script = script_with("root=/dev/vg/root", own);
    let vg = VolumeGroup { system_id: Some("here".into()), ..group("vg", 'v', 1, "a", &[("root", 0)]) };
    assert_eq!(created(&script.disk("sda", pv('a', Some(&vg)))), ["vg-root"]);
}

#[test]
fn a_group_is_ones_own_by_the_host_name_or_a_file() {
    for (source, hostname, file, own) in [
        ("uname", "here", None, true),
        ("uname", "there", None, false),
        ("uname", "", None, false),
        ("machineid", "there", Some("here\n"), true),
        ("machineid", "here", None, false),
        ("file", "there", Some("# mine\nhere\n"), true),
    ] {
        let text = format!("global {{ system_id_source = \"{source}\" system_id_file = \"/etc/id\" }}");
        let mut lvm = LvmConf::read(Some(text.as_bytes()), None);
        lvm.identify(hostname, file.map(str::as_bytes));
        let plan = plan(root_spec("/dev/vg/root"));
        let mut script = Script::with_image(plan, ImageFacts { lvm, ..ImageFacts::default() });
        let vg = VolumeGroup { system_id: Some("here".into()), ..group("vg", 'v', 1, "a", &[("root", 0)]) };
        let actions = script.disk("sda", pv('a', Some(&vg)));
        assert_eq!(created(&actions).len(), usize::from(own), "{source} {hostname}");
        assert_eq!(
            why(&script).contains("left alone: it belongs to the system here"),
            !own,
            "{}",
            why(&script)
        );
    }
}

#[test]
fn copies_of_a_pv_and_of_a_name() {
    let vg = group("vg", 'v', 1, "ab", &[("root", 0)]);
    let mut script = script("root=/dev/vg/root");
    script.disk("sda", pv('a', Some(&vg)));
    script.disk("sdb", pv('a', Some(&vg)));
    let actions = script.disk("sdc", pv('b', Some(&vg)));
    assert!(created(&actions).is_empty());
    assert!(why(&script).contains("is on sda and sdb"), "{}", why(&script));
    assert_eq!(created(&script.tell(Event::Gone("sdb".into()))), ["vg-root"]);

    // The path of a device that is built on it is not a copy.
    let one = group("vg", 'v', 1, "a", &[("root", 0)]);
    let mut script = self::script("root=/dev/vg/root rd.auto=0 rd.lvm.lv=vg/root");
    script.disk("sda", pv('b', None));
    script.mapping("dm-7", "mpatha", "sda", pv('a', Some(&one)));
    assert!(script.asked(|action| matches!(action, Action::CreateDm(_))).is_some());

    let twin = group("vg", 'w', 1, "c", &[("root", 0)]);
    let mut script = self::script("root=/dev/vg/root");
    let both = group("vg", 'v', 1, "ab", &[("root", 0)]);
    script.disk("sda", pv('a', Some(&both)));
    assert_eq!(created(&script.disk("sdc", pv('c', Some(&twin)))), [""; 0]);
    assert!(created(&script.disk("sdb", pv('b', Some(&both)))).is_empty());
    assert!(why(&script).contains("there are two groups of this name"), "{}", why(&script));
    assert!(why(&script).contains("vgrename"), "{}", why(&script));

    // A guest's disk in a volume of the host does not cost the host its root.
    let host = group("vg", 'v', 1, "ab", &[("guest", 0), ("root", 0)]);
    let mut script = self::script("root=/dev/vg/root");
    script.disk("sda", pv('a', Some(&host)));
    let guest = DeviceFacts {
        major: 253,
        size: 1 << 30,
        sector_size: 512,
        dm: Some(DmFacts { name: "vg-guest".into(), uuid: "LVM-x".into() }),
        ..DeviceFacts::default()
    };
    assert!(created(&script.add("dm-9", guest, pv('c', Some(&twin)))).is_empty());
    assert_eq!(created(&script.disk("sdb", pv('b', Some(&host)))), ["vg-root"]);
}

/// `pv0` in an area is the physical volume, whatever volumes are called.
#[test]
fn a_volume_with_the_name_that_the_metadata_have_for_a_pv() {
    let vg = group("vg", 'v', 1, "a", &[("pv0", 0), ("root", 0)]);
    let mut script = script("root=/dev/vg/root");
    assert_eq!(created(&script.disk("sda", pv('a', Some(&vg)))), ["vg-root"]);
    // What lies on a missing one is missing, though there is a volume of its name.
    let vg = group("vg", 'v', 1, "ab", &[("pv1", 0), ("root", 1)]);
    let mut script = self::script("rd.lvm.lv=vg/root root=/dev/vg/root degraded=never");
    let actions = [script.disk("sda", pv('a', Some(&vg))), script.wait(60_000)].concat();
    assert!(created(&actions).is_empty(), "{actions:?}");
    assert_eq!(created(&script.disk("sdb", pv('b', Some(&vg)))), ["vg-root"]);
}

#[test]
fn volumes_that_are_listed_are_read_only() {
    let vg = group("vg", 'v', 1, "a", &[("root", 0), ("home", 0)]);
    for (line, list, expected) in [
        ("root=/dev/vg/root", "\"vg/root\"", true),
        ("root=/dev/vg/root", "\"vg\"", true),
        ("root=/dev/vg/root", "\"vg/home\"", false),
        ("root=/dev/vg/root", "", false),
        ("root=/dev/vg/root rd.lvm.conf=0", "\"vg\"", false),
    ] {
        let conf = format!("activation {{ read_only_volume_list = [ {list} ] }}");
        let mut script = script_with(line, &conf);
        let actions = script.disk("sda", pv('a', Some(&vg)));
        let made = actions.iter().find_map(|action| match action {
            Action::CreateDm(device) => Some(device.read_only),
            _ => None,
        });
        assert_eq!(made, Some(expected), "{line} {list}");
    }
    // A snapshot is activated with its origin, and judged by it.
    for (listed, expected) in [("origin", true), ("snap", false)] {
        let mut vg = group("vg", 'v', 1, "a", &[("origin", 0), ("snap", 0)]);
        let mut snapshot = linear("snapshot0", 2, "pv0");
        snapshot.segments[0].kind = "snapshot".into();
        snapshot.segments[0].config = Section(vec![
            ("chunk_size".into(), Value::Number(8)),
            ("origin".into(), Value::Text("origin".into())),
            ("cow_store".into(), Value::Text("snap".into())),
        ]);
        vg.lvs.push(snapshot);
        let conf = format!("activation {{ read_only_volume_list = [ \"vg/{listed}\" ] }}");
        let mut script = script_with("root=/dev/vg/snap", &conf);
        let actions = script.disk("sda", pv('a', Some(&vg)));
        let Some(Action::CreateDm(device)) = actions.iter().find(|one| matches!(one, Action::CreateDm(_)))
        else {
            panic!("{actions:?}")
        };
        assert_eq!((device.name.as_str(), device.read_only), ("vg-origin-real", expected));
    }
}

#[test]
fn filters_hide_devices() {
    let vg = group("vg", 'v', 1, "a", &[("root", 0)]);
    let conf = "devices { filter = [ \"r|/dev/sda$|\" ] }";
    let mut script = script_with("root=/dev/vg/root", conf);
    assert!(created(&script.disk("sda", pv('a', Some(&vg)))).is_empty());
    assert!(why(&script).contains("rejected by the filter"), "{}", why(&script));
    let mut script = script_with("root=/dev/vg/root rd.lvm.conf=0", conf);
    assert_eq!(created(&script.disk("sda", pv('a', Some(&vg)))), ["vg-root"]);
}
