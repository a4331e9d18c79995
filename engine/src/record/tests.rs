use ondisk::Member;
use ondisk::lvm::{Area, PhysicalVolume, VolumeGroup};
use proptest::prelude::*;

use super::*;
use crate::command::CryptOptions;

fn back(event: &Event) -> Event {
    let line = super::event(Moment(12_345), event);
    assert!(line.starts_with("12.345 > ") && !line.contains('\n'), "{line}");
    match super::line(&line) {
        Ok(Line::Event(Moment(12_345), event)) => event,
        other => panic!("{line}: {other:?}"),
    }
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[a-z0-9 %,;=]{0,12}"]
}

fn signatures() -> impl Strategy<Value = Signature> {
    (0..KINDS.len(), proptest::option::of(texts()), any::<Vec<u8>>(), any::<u64>()).prop_map(
        |(kind, uuid, label, kdf_memory)| {
            let mut signature = Signature::new(KINDS[kind].0);
            signature.uuid = uuid.filter(|uuid| !uuid.is_empty());
            signature.label = (!label.is_empty()).then_some(label);
            signature.kdf_memory = kdf_memory;
            signature.integrity = (kdf_memory % 3 == 0).then(|| "hmac(sha256)".to_owned());
            signature.tokens = vec!["systemd-tpm2".to_owned(); usize::from(kdf_memory % 2 == 0)];
            signature
        },
    )
}

fn contents() -> impl Strategy<Value = Content> {
    let partition =
        (any::<u32>(), any::<u64>(), texts(), texts()).prop_map(|(number, length, uuid, name)| {
            let name = (!name.is_empty()).then_some(name);
            Partition { number, start: 7, length, uuid, name, kind: "0x83".into(), flags: 1 }
        });
    let table = (any::<bool>(), texts(), proptest::collection::vec(partition, 0..4))
        .prop_map(|(gpt, uuid, partitions)| PartitionTable { gpt, uuid, partitions, doubt: None });
    (
        proptest::collection::vec(signatures(), 0..3),
        proptest::option::of(table),
        proptest::collection::vec(signatures(), 0..2),
    )
        .prop_map(|(signatures, table, rejected)| Content { signatures, table, rejected, member: None })
}

proptest! {
    #[test]
    fn content_survives(content in contents(), id: u64) {
        let event = Event::Identified(CommandId(id), content);
        prop_assert_eq!(back(&event), event);
    }

    #[test]
    fn devices_survive(name in texts(), serial in texts(), size: u64, minor: u32, ids in proptest::collection::vec(texts(), 0..3)) {
        let facts = DeviceFacts {
            major: 8,
            minor,
            size,
            sector_size: 512,
            parent: Some(DevName(name.clone())),
            partn: Some(minor),
            read_only: minor % 2 == 0,
            diskseq: u64::from(minor),
            dm: Some(DmFacts { name: serial.clone(), uuid: name.clone() }),
            md: Some(MdFacts { path: name.clone(), uuid: serial.clone() }),
            slaves: vec![DevName(serial.clone())],
            serial: Some(serial),
            ids,
            path: Some(name.clone()),
            scsi: Some(Box::new(ScsiFacts {
                wwid: name.clone(),
                place: name.clone(),
                handler: (minor % 3 == 0).then(|| "alua".to_owned()),
                preferred: minor % 2 == 0,
                running: minor % 5 == 0,
                wwn: minor % 7 == 0,
                ..ScsiFacts::default()
            })),
            queue: (minor % 2 == 0).then_some(QueueFacts { read_ahead: minor, dax: minor % 3 == 0 }),
        };
        let event = Event::Device(DevName(name), facts);
        prop_assert_eq!(back(&event), event);
    }

    #[test]
    fn no_line_makes_it_panic(text in any::<String>(), words in "[0-9.]{5,7} [<>] [a-z=,% 0-9:]{0,40}") {
        let _ = line(&text);
        let _ = line(&words);
    }
}

#[test]
fn the_other_events_survive() {
    for event in [
        Event::Gone("sda!1".into()),
        Event::Coldplugged,
        Event::Drivers(DriverFacts {
            pending: 3,
            driverless: vec![Driverless { devpath: "devices/x".into(), modalias: "pci:v,1".into() }],
            failed: vec![("ext4".into(), -8)],
        }),
        Event::Done(CommandId(1), Outcome::Done),
        Event::Done(CommandId(1), Outcome::Secret(SecretId(2))),
        Event::Failed(CommandId(1), Failure::Os { what: "mount /dev/x as y".into(), errno: 117 }),
        Event::Failed(
            CommandId(1),
            Failure::Member { device: "sda 1".into(), what: "add sda 1 to md0".into(), errno: 22 },
        ),
        Event::Failed(CommandId(1), Failure::WrongSecret),
        Event::Failed(CommandId(1), Failure::Gone),
        Event::Failed(CommandId(1), Failure::NoInit(vec![("/sbin/init".into(), "does not exist".into())])),
        Event::Failed(CommandId(1), Failure::NoModule("x".into())),
        Event::Failed(CommandId(1), Failure::NoKeyFile("/k".into())),
        Event::Failed(CommandId(1), Failure::NoPin),
        Event::Failed(CommandId(1), Failure::BadKey("key file /k is empty".into())),
        Event::Failed(CommandId(1), Failure::Other("two words".into())),
        Event::Done(CommandId(8), Outcome::Length(8_000_008)),
        Event::Done(CommandId(9), Outcome::Made { major: 254, minor: 3 }),
        Event::Typed(SecretId(4), QuestionId(2)),
        Event::Retry,
        Event::UseRoot("/dev/sda 1".into()),
        Event::Continue,
        Event::Tick,
    ] {
        assert_eq!(back(&event), event);
    }
}

#[test]
fn members_come_back() {
    let group = VolumeGroup { name: "vg 0".into(), seqno: 7, extent_size: 8192, ..VolumeGroup::default() };
    let pv = PhysicalVolume {
        id: "a".repeat(32),
        device_size: 1 << 30,
        data_areas: vec![Area { offset: 1 << 20, length: 0 }],
        metadata_areas: Vec::new(),
        vg: Some(group),
        doubts: vec!["a, b; c=d".into()],
    };
    let content = Content { member: Some(Box::new(Member::Lvm(pv))), ..Content::default() };
    let event = Event::Identified(CommandId(7), content);
    assert_eq!(back(&event), event);
}

#[test]
fn the_form_is_stable() {
    let mut signature = Signature::new(Kind::Luks2);
    signature.uuid = Some("c151-67d9".into());
    signature.label = Some(b"a b\xff".to_vec());
    let content = Content { signatures: vec![signature], ..Content::default() };
    assert_eq!(
        event(Moment(1_002), &Event::Identified(CommandId(7), content)),
        "1.002 > identified 7 is=luks2,a%20b%ff,0,c151-67d9,,,,"
    );
    let command = Command { id: CommandId(3), action: Action::LoadModules(vec!["fs-ext4".into()]) };
    assert_eq!(super::command(Moment(20), &command), "0.020 < 3 modules fs-ext4");
    let header =
        HeaderSource::FileOn { device: "sdb".into(), fstype: "vfat".into(), path: "/h".into(), named: true };
    let action = Action::OpenCrypt {
        device: "sda".into(),
        name: "a b".into(),
        secret: SecretSource::Held(SecretId(2)),
        options: CryptOptions {
            format: CryptFormat::BitLocker,
            header: Some(header),
            ..CryptOptions::default()
        },
    };
    assert_eq!(super::action(&action), "open sda a%20b held 2 bitlocker header-on=sdb,/h");
}
