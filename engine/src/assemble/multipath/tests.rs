use cmdline::multipath::Config;
use ondisk::{Content, Kind};

use super::map;
use super::*;
use crate::command::{DmTarget, Loudness};
use crate::event::{DmFacts, Event};
use crate::image::ImageFacts;
use crate::script::{Script, content, gpt, is_mount, plan, uuid};

const WWID: &str = "36001405a0102030405060708090a0b0c";
const ROOT: &str = "6e7410d5-90b8-e744-b233-a0e57b61cd0f";

fn scsi(wwid: &str, place: &str) -> ScsiFacts {
    ScsiFacts {
        wwid: wwid.into(),
        vendor: "QEMU".into(),
        product: "QEMU HARDDISK".into(),
        place: place.into(),
        protocol: "scsi:unspec".into(),
        running: true,
        ..ScsiFacts::default()
    }
}

fn facts(minor: u32, scsi: ScsiFacts) -> DeviceFacts {
    DeviceFacts {
        major: 8,
        minor,
        size: 1 << 30,
        sector_size: 512,
        diskseq: u64::from(minor) + 1,
        scsi: Some(Box::new(scsi)),
        ..DeviceFacts::default()
    }
}

fn config(text: &str) -> Config {
    let (config, remarks) = Config::read([text]);
    assert!(remarks.is_empty(), "{remarks:?}");
    config
}

/// The parameters of the map that multipath-tools 0.11.1 would load for these paths, in the order of their places.
fn params(text: &str, paths: &[ScsiFacts]) -> String {
    let config = config(text);
    let mut table = Table::default();
    for (number, scsi) in (0_u32..).zip(paths) {
        let name = DevName(format!("sd{}", char::from(b'a' + u8::try_from(number).expect("few"))));
        table.update(Moment(0), &name, facts(number * 16, scsi.clone()));
    }
    let paths: Vec<MapPath<'_>> = candidates(&table).collect();
    let (built, _) = map::build(&config, &paths).expect("a map");
    let [DmTarget { start: 0, length, kind, params }] = &built.targets[..] else { panic!("{built:?}") };
    assert_eq!((*length, kind.as_str()), (1 << 21, "multipath"));
    params.clone()
}

fn alua(place: &str, access: &str) -> ScsiFacts {
    let mut facts = scsi(WWID, place);
    (facts.alua, facts.access) = (true, Some(access.to_owned()));
    facts.handler = Some("alua".to_owned());
    facts
}

#[test]
fn tables() {
    let plain = [scsi(WWID, "b"), scsi(WWID, "a")];
    assert_eq!(params("", &plain), "0 0 2 1 service-time 0 1 1 8:16 1 service-time 0 1 1 8:0 1");
    assert_eq!(
        params(
            "defaults {\n path_grouping_policy multibus\n no_path_retry queue\n path_selector \"round-robin 0\"\n}",
            &plain
        ),
        "1 queue_if_no_path 0 1 1 round-robin 0 2 1 8:16 1 8:0 1"
    );
    let groups =
        [alua("a", "active/non-optimized"), alua("b", "active/optimized"), alua("c", "active/non-optimized")];
    assert_eq!(params("", &groups), "0 1 alua 2 1 service-time 0 1 1 8:16 1 service-time 0 2 1 8:0 1 8:32 1");
    let mut preferred = groups.clone();
    preferred[0].preferred = true;
    assert_eq!(
        params("defaults {\n no_path_retry 12\n features \"2 pg_init_retries 50\"\n}", &preferred),
        "3 pg_init_retries 50 queue_if_no_path 1 alua 3 1 service-time 0 1 1 8:0 1 service-time 0 1 1 8:16 1 service-time 0 1 1 8:32 1"
    );
    // A path that does not answer makes its group the last one.
    let mut down = plain.clone();
    down[1].running = false;
    assert_eq!(params("", &down), "0 0 2 1 service-time 0 1 1 8:0 1 service-time 0 1 1 8:16 1");
    // Not every path is asymmetric: the handler is left away.
    let mut mixed = groups.to_vec();
    mixed[2].alua = false;
    assert!(params("", &mixed).starts_with("0 0 3 1 "), "{}", params("", &mixed));
    // An array that speaks a language of its own.
    let mut rdac = scsi(WWID, "a");
    (rdac.vendor, rdac.product) = ("LENOVO".into(), "DE_Series".into());
    rdac.handler = Some("rdac".into());
    let mut other = rdac.clone();
    other.place = "b".into();
    assert_eq!(
        params("", &[rdac, other]),
        "3 pg_init_retries 50 queue_if_no_path 1 rdac 2 1 service-time 0 1 1 8:0 1 service-time 0 1 1 8:16 1"
    );
}

#[test]
fn modules_are_named_in_the_table() {
    let map = |params: &str| DmDevice {
        targets: vec![DmTarget { start: 0, length: 1, kind: "multipath".into(), params: params.into() }],
        ..DmDevice::default()
    };
    let names = |params: &str| map::modules(&map(params));
    assert_eq!(names("0 0 1 1 service-time 0 1 1 8:0 1"), ["dm-multipath", "dm-service-time"]);
    assert_eq!(
        names("3 pg_init_retries 50 queue_if_no_path 1 rdac 1 1 queue-length 0 1 1 8:0 1"),
        ["dm-multipath", "scsi_dh_rdac", "dm-queue-length"]
    );
    assert_eq!(names(""), ["dm-multipath"]);
}

/// A boot whose root is on the first partition of a unit.
fn boot(text: &str, known: &[&str]) -> Script {
    let mut config = config(text);
    config.known = known.iter().map(|id| (*id).to_owned()).collect();
    let image = ImageFacts { multipath: Some(Box::new(config)), ..ImageFacts::default() };
    Script::with_image(plan(uuid(ROOT)), image)
}

fn created(actions: &[Action]) -> Vec<&DmDevice> {
    actions
        .iter()
        .filter_map(|action| if let Action::CreateDm(device) = action { Some(device) } else { None })
        .collect()
}

fn mapping(name: &str, uuid: &str, below: &[&str], size: u64) -> DeviceFacts {
    DeviceFacts {
        major: 254,
        minor: u32::from(uuid.starts_with("part")),
        size,
        dm: Some(DmFacts { name: name.into(), uuid: uuid.into() }),
        slaves: below.iter().map(|name| DevName((*name).into())).collect(),
        ..DeviceFacts::default()
    }
}

fn is_claimed(script: &Script, name: &str) -> bool {
    script.engine.table().get(&name.into()).is_some_and(|device| device.claimed.is_some())
}

#[test]
fn root_on_a_partition_of_a_unit_with_two_paths() {
    let mut script = boot("", &[WWID]);
    let whole = gpt(&[(1, "aaaa-1", None)]);
    let mut actions = script.add("sda", facts(0, scsi(WWID, "a")), whole.clone());
    // Nothing else is there yet, so that the first path makes the map.
    assert_eq!(created(&actions)[0].targets[0].params, "0 0 1 1 service-time 0 1 1 8:0 1");
    assert!(!actions.contains(&Action::Identify("sda".into())), "nobody reads a path");
    assert!(is_claimed(&script, "sda"));
    script.answer(|action| matches!(action, Action::CreateDm(_)), Ok(Outcome::Made { major: 254, minor: 0 }));
    actions = script.add("dm-0", mapping(WWID, &format!("mpath-{WWID}"), &["sda"], 4 << 30), whole);
    let part = created(&actions)[0];
    let entry = script.engine.table().get(&"dm-0".into()).and_then(Device::content).expect("read");
    let entry = &entry.table.as_ref().expect("a table").partitions[0];
    assert_eq!(part.name, format!("{WWID}-part1"));
    assert_eq!(part.uuid, format!("part1-mpath-{WWID}"));
    assert_eq!(part.targets[0].params, format!("254:0 {}", entry.start / 512));
    let size = entry.length;

    // The second path comes late: the map gets it.
    actions = script.add("sdb", facts(16, scsi(WWID, "b")), Content::default());
    let Some(Action::ReloadDm(map)) = actions.iter().find(|action| matches!(action, Action::ReloadDm(_)))
    else {
        panic!("{actions:?}")
    };
    assert_eq!(map.targets[0].params, "0 0 2 1 service-time 0 1 1 8:0 1 service-time 0 1 1 8:16 1");
    script.answer(|action| matches!(action, Action::ReloadDm(_)), Ok(Outcome::Done));
    // And is lost again.
    actions = script.tell(Event::Gone("sdb".into()));
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::ReloadDm(map) if !map.targets[0].params.contains("8:16")))
    );

    script.answer(|action| matches!(action, Action::CreateDm(_)), Ok(Outcome::Made { major: 254, minor: 1 }));
    let uuid = format!("part1-mpath-{WWID}");
    script.add("dm-1", mapping(&format!("{WWID}-part1"), &uuid, &["dm-0"], size), content(Kind::Ext4, ROOT));
    let device = script.engine.table().get(&"dm-1".into()).expect("there");
    for link in [
        "disk/by-partuuid/aaaa-1".to_owned(),
        format!("disk/by-id/scsi-{WWID}-part1"),
        format!("disk/by-id/wwn-0x{}-part1", &WWID[1..]),
        format!("mapper/{WWID}-part1"),
    ] {
        assert!(device.links.contains(&link), "{link} in {:?}", device.links);
    }
    assert_eq!(script.engine.root_device(), Some(&"dm-1".into()));
}

/// A map of `sda`, whose root was found, and is being mounted if `mounting`.
fn one_path(text: &str, mounting: bool) -> Script {
    let mut script = boot(text, &[WWID]);
    script.add("sda", facts(0, scsi(WWID, "a")), Content::default());
    script.answer(|action| matches!(action, Action::CreateDm(_)), Ok(Outcome::Made { major: 254, minor: 0 }));
    let map = mapping("yellow", &format!("mpath-{WWID}"), &["sda"], 1 << 30);
    let actions =
        script.add("dm-0", map, if mounting { content(Kind::Ext4, ROOT) } else { Content::default() });
    assert_eq!(actions.iter().any(is_mount), mounting);
    script
}

fn messages<'a>(actions: &'a [Action]) -> Vec<&'a str> {
    let text =
        |action: &'a Action| if let Action::MessageDm(_, text) = action { Some(text.as_str()) } else { None };
    actions.iter().filter_map(text).collect()
}

/// Parameters of the tables that take the place of others.
fn reloads<'a>(actions: &'a [Action]) -> Vec<&'a str> {
    let map = |action: &'a Action| {
        if let Action::ReloadDm(map) = action { Some(map.targets[0].params.as_str()) } else { None }
    };
    actions.iter().filter_map(map).collect()
}

fn warnings(actions: &[Action]) -> String {
    let text = |action: &Action| match action {
        Action::Say(Loudness::Warning, text) => Some(text.clone()),
        _ => None,
    };
    actions.iter().filter_map(text).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_map_without_paths_queues_for_so_long() {
    for (text, until) in [
        ("no_path_retry 3", Some(15_000)),
        ("no_path_retry 3\n polling_interval 2", Some(6_000)),
        ("no_path_retry 3\n max_polling_interval 8", Some(6_000)),
        ("no_path_retry 3\n flush_on_last_del always", Some(0)),
        ("no_path_retry queue\n flush_on_last_del yes", Some(0)),
        ("no_path_retry queue", None),
        ("no_path_retry fail\n flush_on_last_del yes", None),
        ("", None),
    ] {
        for mounting in [false, true] {
            let mut script = one_path(&format!("defaults {{\n {text}\n}}"), mounting);
            let mut actions = script.tell(Event::Gone("sda".into()));
            if until != Some(0) {
                actions.extend(script.wait(until.unwrap_or(100_000) - 100));
                assert_eq!(messages(&actions), [""; 0], "{text}");
            }
            if until.is_some() {
                actions.extend(script.wait(200));
                assert_eq!(messages(&actions), ["fail_if_no_path"], "{text}");
                assert!(warnings(&actions).contains("from now on what is read or written fails"), "{text}");
                script.answer(|action| matches!(action, Action::MessageDm(..)), Ok(Outcome::Done));
            }
            // Said once; and a path that comes back brings the queueing back.
            assert_eq!(messages(&script.wait(200_000)), [""; 0], "{text}");
            if mounting {
                let actions = script.add("sdb", facts(16, scsi(WWID, "b")), Content::default());
                let queues = text.contains("no_path_retry q") || text.contains("no_path_retry 3");
                let start = if queues { "1 queue_if_no_path 0 1 1 " } else { "0 0 1 1 " };
                assert_eq!(reloads(&actions), [format!("{start}service-time 0 1 1 8:16 1")], "{text}");
            }
        }
    }
}

#[test]
fn a_map_that_could_not_be_read_is_read_with_another_path() {
    let mut script = boot("defaults {\n no_path_retry 1\n}", &[WWID]);
    script.add("sda", facts(0, scsi(WWID, "a")), Content::default());
    script.answer(|action| matches!(action, Action::CreateDm(_)), Ok(Outcome::Made { major: 254, minor: 0 }));
    let map = |below: &[&str]| mapping(WWID, &format!("mpath-{WWID}"), below, 1 << 30);
    script.tell(Event::Device("dm-0".into(), map(&["sda"])));
    let read = script.asked(|action| matches!(action, Action::Identify(_))).expect("it is read");
    script.tell(Event::Gone("sda".into()));
    assert_eq!(messages(&script.wait(5_100)), ["fail_if_no_path"]);
    script.answer(|action| matches!(action, Action::MessageDm(..)), Ok(Outcome::Done));
    script.tell(Event::Failed(read, Failure::Os { what: "read dm-0".into(), errno: 5 }));
    let actions = script.add("sdb", facts(16, scsi(WWID, "b")), Content::default());
    assert_eq!(reloads(&actions).len(), 1);
    script.answer(|action| matches!(action, Action::ReloadDm(_)), Ok(Outcome::Done));
    let actions = script.add("dm-0", map(&["sdb"]), content(Kind::Ext4, ROOT));
    assert!(actions.iter().any(is_mount), "{actions:?}");
}

/// A root that is nowhere is given up while another map queues for hours.
#[test]
fn a_long_queue_does_not_keep_the_boot_from_giving_up() {
    let mut script = one_path("defaults {\n no_path_retry 10000\n}", false);
    script.tell(Event::Gone("sda".into()));
    assert_eq!(script.engine.stopped(), None);
    assert_eq!(messages(&script.wait(600_000)), [""; 0], "it queues still");
    assert!(script.engine.stopped().is_some());
}

#[test]
fn what_lies_on_a_map_is_read_again_with_another_path() {
    let mut script = one_path("", false);
    let identify = |action: &Action| matches!(action, Action::Identify(name) if name.0 == "dm-1");
    script.tell(Event::Device("dm-1".into(), mapping("upper", "LVM-upper", &["dm-0"], 1 << 29)));
    let read = script.asked(identify).expect("it is read");
    script.tell(Event::Failed(read, Failure::Os { what: "read dm-1".into(), errno: 5 }));
    let map = |below: &[&str]| mapping("yellow", &format!("mpath-{WWID}"), below, 1 << 30);
    let again = |actions: &[Action]| actions.iter().any(identify);
    assert!(!again(&script.tell(Event::Device("dm-0".into(), map(&["sda"])))), "nothing has changed");
    assert!(again(&script.tell(Event::Device("dm-0".into(), map(&["sdb"])))));
}

#[test]
fn a_path_that_comes_back_in_time_keeps_the_map_queueing() {
    let mut script = one_path("defaults {\n no_path_retry 3\n}", true);
    let stopped = ScsiFacts { running: false, ..scsi(WWID, "a") };
    // Lost, though its device stays.
    let said = warnings(&script.tell(Event::Device("sda".into(), facts(0, stopped))));
    assert!(said.contains("waits for one, 15 s at most"), "{said}");
    assert_eq!(messages(&script.wait(14_000)), [""; 0]);
    let actions = script.tell(Event::Device("sda".into(), facts(0, scsi(WWID, "a"))));
    assert_eq!((messages(&actions).len(), reloads(&actions).len()), (0, 0));
    assert_eq!(messages(&script.wait(60_000)), [""; 0]);
    // The next time is counted anew.
    script.tell(Event::Gone("sda".into()));
    assert_eq!(messages(&script.wait(14_900)), [""; 0]);
    assert_eq!(messages(&script.wait(200)), ["fail_if_no_path"]);
    // While that is on its way the table stays; afterwards the same one is loaded again, since it queues.
    assert_eq!(reloads(&script.add("sda", facts(0, scsi(WWID, "a")), Content::default())), [""; 0]);
    let actions = script.answer(|action| matches!(action, Action::MessageDm(..)), Ok(Outcome::Done));
    assert_eq!(reloads(&actions).len(), 1);
}

#[test]
fn a_map_without_partitions() {
    let device = format!("multipaths {{\n multipath {{\n wwid {WWID}\n skip_kpartx yes\n }}\n}}");
    for (text, skipped) in [
        ("defaults {\n skip_kpartx yes\n}", true),
        ("defaults {\n skip_kpartx yes\n}\noverrides {\n skip_kpartx no\n}", false),
        (&device, true),
        ("", false),
    ] {
        let mut script = boot(text, &[WWID]);
        script.add("sda", facts(0, scsi(WWID, "a")), Content::default());
        script.answer(
            |action| matches!(action, Action::CreateDm(_)),
            Ok(Outcome::Made { major: 254, minor: 0 }),
        );
        let map = mapping(WWID, &format!("mpath-{WWID}"), &["sda"], 4 << 30);
        let actions = script.add("dm-0", map, gpt(&[(1, "aaaa-1", None)]));
        assert_eq!(created(&actions).is_empty(), skipped, "{text}");
        assert_eq!(
            script.engine.unpartitioned().as_slice(),
            if skipped { &[(254, 0)][..] } else { &[] },
            "{text}"
        );
        let text = script.engine.explain(Moment(script.now)).to_string();
        assert_eq!(text.contains("says skip_kpartx"), skipped, "{text}");
    }
}

/// A path of the passive controller does not come first, though what the array's own prioritizer would say is not known.
#[test]
fn unknown_prioritizers_go_by_what_the_handler_says() {
    let path = |place: &str, access: Option<&str>| ScsiFacts {
        access: access.map(str::to_owned),
        ..scsi(WWID, place)
    };
    let text = "defaults {\n prio rdac\n path_grouping_policy group_by_prio\n}";
    let owner = |first, second| {
        let params = params(text, &[path("a", first), path("b", second)]);
        let at = |number| params.find(number).expect("both paths");
        at(" 8:0 ") < at(" 8:16 ")
    };
    assert!(!owner(Some("standby"), Some("active/optimized")));
    assert!(owner(Some("active/optimized"), Some("standby")));
    assert!(owner(None, None));
}

/// Red Hat's kpartx.rules leave it to kpartx what stands between a map's name and a number.
#[test]
fn partitions_are_spelled_as_the_root_spells_them() {
    let text = format!("multipaths {{\n multipath {{\n wwid {WWID}\n alias disk\n }}\n}}");
    for (alias, root, expected) in [
        ("mpatha", "mpatha3", "mpatha3"),
        ("disk0", "disk0p3", "disk0p3"),
        ("mpatha", "mpatha-part3", "mpatha-part3"),
        ("mpatha", "mpathab", "mpatha-part3"),
        ("disk0", "disk03", "disk0-part3"),
        ("mpatha", "mpatha", "mpatha-part3"),
    ] {
        let config = config(&text.replace("alias disk", &format!("alias {alias}")));
        let image = ImageFacts { multipath: Some(Box::new(config)), ..ImageFacts::default() };
        let mut script = Script::with_image(plan(cmdline::root_spec(&format!("/dev/mapper/{root}"))), image);
        let map = mapping(alias, &format!("mpath-{WWID}"), &[], 4 << 30);
        let actions = script.add("dm-0", map, gpt(&[(3, "aaaa-3", None)]));
        let names: Vec<&str> = created(&actions).iter().map(|device| device.name.as_str()).collect();
        assert_eq!(names, [expected], "{alias} {root}");
    }
}

#[test]
fn what_is_taken_for_a_path() {
    let two = "defaults {\n find_multipaths yes\n}";
    let smart = "defaults {\n find_multipaths smart\n}";
    let all = "defaults {\n find_multipaths greedy\n}";
    let black = "defaults {\n find_multipaths greedy\n}\nblacklist {\n wwid 3600140.*\n}";
    // Configuration, ids that are known, whether one path is claimed at once, after a second, and two are.
    for (text, known, once, later, both) in [
        ("", &[][..], false, false, false),
        ("", &[WWID][..], true, true, true),
        (two, &[], false, false, true),
        (smart, &[], true, false, true),
        (all, &[], true, true, true),
        (black, &[WWID], false, false, false),
    ] {
        let mut script = boot(text, known);
        script.add("sda", facts(0, scsi(WWID, "a")), content(Kind::Ext4, "other"));
        assert_eq!(is_claimed(&script, "sda"), once, "{text} {known:?}");
        script.wait(1100);
        assert_eq!(is_claimed(&script, "sda"), later, "{text} {known:?}, later");
        assert_eq!(
            script.engine.table().get(&"sda".into()).and_then(Device::content).is_some(),
            !later,
            "{text}"
        );
        script.add("sdb", facts(16, scsi(WWID, "b")), content(Kind::Ext4, "other"));
        assert_eq!((is_claimed(&script, "sda"), is_claimed(&script, "sdb")), (both, both), "{text}, two");
    }
}

#[test]
fn two_paths_are_waited_for_during_the_walk() {
    let image = ImageFacts {
        multipath: Some(Box::new(config("defaults {\n find_multipaths on\n}"))),
        ..ImageFacts::default()
    };
    let mut engine = crate::Engine::new(plan(uuid(ROOT)), image);
    engine.start(Moment(0));
    engine.handle(Moment(1), Event::Device("sda".into(), facts(0, scsi(WWID, "a"))));
    assert!(
        engine.table().get(&"sda".into()).is_some_and(|device| device.claimed.is_some()),
        "another may come"
    );
    let commands = engine.handle(Moment(2), Event::Coldplugged);
    assert!(engine.table().get(&"sda".into()).is_some_and(|device| device.claimed.is_none()));
    assert!(
        commands.iter().any(|command| command.action == Action::Identify("sda".into())),
        "it is free now"
    );
}

#[test]
fn a_disk_in_use_stays_what_it_is() {
    let mut script = boot("defaults {\n find_multipaths on\n}", &[]);
    script.add("sda", facts(0, scsi(WWID, "a")), content(Kind::Lvm2Pv, "pv"));
    script.add("dm-0", mapping("vg-lv", "LVM-x", &["sda"], 1 << 20), Content::default());
    let actions = script.add("sdb", facts(16, scsi(WWID, "b")), content(Kind::Lvm2Pv, "pv"));
    assert!(created(&actions).is_empty() && !is_claimed(&script, "sda"));
}

/// A second path that comes late would take the disk away from under the root.
#[test]
fn a_mounted_disk_stays_what_it_is() {
    let mut script = boot("defaults {\n find_multipaths on\n}", &[]);
    script.add("sda", facts(0, scsi(WWID, "a")), content(Kind::Ext4, ROOT));
    script.answer(is_mount, Ok(Outcome::Done));
    let actions = script.add("sdb", facts(16, scsi(WWID, "b")), content(Kind::Ext4, ROOT));
    assert!(created(&actions).is_empty() && !is_claimed(&script, "sda"));
}

#[test]
fn a_refusal_is_explained_and_tried_again_with_other_paths() {
    let mut script = boot("", &[WWID]);
    script.add("sda", facts(0, scsi(WWID, "a")), Content::default());
    let refused = Err(Failure::Other("no such target".into()));
    script.answer(|action| matches!(action, Action::CreateDm(_)), refused);
    let text = script.engine.explain(Moment(script.now)).to_string();
    assert!(text.contains("cannot be made: no such target"), "{text}");
    assert!(text.contains("rd.multipath=0 uses a single path"), "{text}");
    let actions = script.add("sdb", facts(16, scsi(WWID, "b")), Content::default());
    assert_eq!(created(&actions).len(), 1);
}

#[test]
fn paths_that_nobody_knows_are_named() {
    let mut script = boot("", &[]);
    script.add("sda", facts(0, scsi(WWID, "a")), Content::default());
    script.add("sdb", facts(16, scsi(WWID, "b")), Content::default());
    let text = script.engine.explain(Moment(script.now)).to_string();
    assert!(text.contains(&format!("multipath -a {WWID}")), "{text}");
}
