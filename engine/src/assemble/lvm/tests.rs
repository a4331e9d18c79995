use cmdline::root_spec;
use ondisk::lvm::{LogicalVolume, PhysicalVolume, PvEntry, Section, Segment, Value, VolumeGroup};
use ondisk::{Content, Kind, Member};

use super::LvmConf;
use crate::script::{Script, content, plan};
use crate::{Action, DevName, DeviceFacts, DmFacts, Event, ImageFacts, Outcome};

mod choice;
mod degraded;
mod groups;
mod making;
mod pools;
mod snapshots;

fn id(letter: char) -> String {
    letter.to_string().repeat(32)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A group of PVs of these ids, with `lvs` of one extent each on the PV that is given.
fn group(name: &str, letter: char, seqno: u64, pvs: &str, lvs: &[(&str, usize)]) -> VolumeGroup {
    let entry = |(at, pv): (usize, char)| PvEntry {
        name: format!("pv{at}"),
        id: id(pv),
        device: Some(format!("/dev/was-{pv}")),
        status: words(&["ALLOCATABLE"]),
        dev_size: 1 << 21,
        pe_start: 2048,
        pe_count: 100,
        ..PvEntry::default()
    };
    VolumeGroup {
        name: name.into(),
        id: id(letter),
        seqno,
        status: words(&["READ", "WRITE", "RESIZEABLE"]),
        extent_size: 8192,
        pvs: pvs.chars().enumerate().map(entry).collect(),
        lvs: lvs.iter().enumerate().map(|(at, (name, pv))| linear(name, at, &format!("pv{pv}"))).collect(),
        ..VolumeGroup::default()
    }
}

fn linear(name: &str, at: usize, pv: &str) -> LogicalVolume {
    let place = vec![Value::Text(pv.into()), Value::Number(i64::try_from(at).unwrap())];
    let config = vec![("stripe_count".into(), Value::Number(1)), ("stripes".into(), Value::List(place))];
    LogicalVolume {
        name: name.into(),
        id: id(char::from(b'A' + u8::try_from(at).unwrap())),
        status: words(&["READ", "WRITE", "VISIBLE"]),
        segments: vec![Segment {
            extent_count: 1,
            kind: "striped".into(),
            config: Section(config),
            ..Segment::default()
        }],
        ..LogicalVolume::default()
    }
}

/// A raid1 volume with its parts on the first two PVs.
fn mirror(vg: &mut VolumeGroup, name: &str) {
    let mut raids = Vec::new();
    let mut parts = Vec::new();
    for leg in 0..2 {
        for what in ["rmeta", "rimage"] {
            let part = format!("{name}_{what}_{leg}");
            let at = vg.lvs.len() + parts.len();
            parts.push(LogicalVolume {
                status: words(&["READ", "WRITE"]),
                ..linear(&part, at, &format!("pv{leg}"))
            });
            raids.push(Value::Text(part));
        }
    }
    let mut lv = linear(name, vg.lvs.len() + parts.len(), "pv0");
    let config = vec![
        ("device_count".into(), Value::Number(2)),
        ("region_size".into(), Value::Number(4096)),
        ("raids".into(), Value::List(raids)),
    ];
    lv.segments[0].kind = "raid1".into();
    lv.segments[0].config = Section(config);
    vg.lvs.push(lv);
    vg.lvs.extend(parts);
}

fn pv(letter: char, vg: Option<&VolumeGroup>) -> Content {
    let label = PhysicalVolume {
        id: id(letter),
        device_size: 1 << 30,
        data_areas: Vec::new(),
        metadata_areas: Vec::new(),
        vg: vg.cloned(),
        doubts: Vec::new(),
    };
    Content { member: Some(Box::new(Member::Lvm(label))), ..content(Kind::Lvm2Pv, &id(letter)) }
}

fn script(command_line: &str) -> Script {
    script_with(command_line, "")
}

fn script_with(command_line: &str, lvm_conf: &str) -> Script {
    let mut plan = plan(root_spec("UUID=root"));
    for word in command_line.split_whitespace() {
        match word.split_once('=').unwrap() {
            ("root", value) => plan.root.spec = Some(root_spec(value)),
            ("rd.lvm", _) => plan.lvm.enabled = false,
            ("rd.lvm.vg", value) => plan.lvm.vgs.push(value.into()),
            ("rd.lvm.lv", value) => {
                let (vg, lv) = value.split_once('/').unwrap();
                plan.lvm.lvs.push((vg.into(), lv.into()));
            }
            ("rd.lvm.conf", _) => plan.lvm.conf = false,
            ("rd.auto", value) => plan.auto = Some(value == "1"),
            ("degraded", "never") => plan.degraded = None,
            ("degraded", value) => {
                plan.degraded = Some(std::time::Duration::from_secs(value.parse().unwrap()));
            }
            other => panic!("{other:?}"),
        }
    }
    let lvm = LvmConf::read(Some(lvm_conf.as_bytes()), None);
    Script::with_image(plan, ImageFacts { lvm, kernel: (6, 12), ..ImageFacts::default() })
}

/// Names of the devices that were to be made.
fn created(actions: &[Action]) -> Vec<&str> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::CreateDm(device) => Some(device.name.as_str()),
            _ => None,
        })
        .collect()
}

/// The device that was asked for is made, with this content.
fn make(script: &mut Script, minor: u32, content: Content) -> Vec<Action> {
    make_on(script, minor, &["sda"], Some(content))
}

/// Without content it is there and was not read yet.
fn make_on(script: &mut Script, minor: u32, slaves: &[&str], content: Option<Content>) -> Vec<Action> {
    let found = std::cell::RefCell::new(None);
    let is_create = |action: &Action| match action {
        Action::CreateDm(device) => {
            *found.borrow_mut() = Some(device.clone());
            true
        }
        _ => false,
    };
    let asked = script.asked(is_create).expect("a device was to be made");
    let device = found.into_inner().unwrap();
    let mut actions = script.tell(Event::Done(asked, Outcome::Made { major: 253, minor }));
    let facts = DeviceFacts {
        major: 253,
        minor,
        size: 1 << 22,
        dm: Some(DmFacts { name: device.name, uuid: device.uuid }),
        slaves: slaves.iter().map(|name| DevName((*name).into())).collect(),
        ..DeviceFacts::default()
    };
    let name = format!("dm-{minor}");
    actions.extend(match content {
        Some(content) => script.add(&name, facts, content),
        None => script.tell(Event::Device(name.as_str().into(), facts)),
    });
    actions
}

fn root() -> Content {
    content(Kind::Ext4, "root")
}

fn why(script: &Script) -> String {
    script.engine.explain(crate::Moment(script.now)).to_string()
}
