//! What storms and large machines cost: 2,000 uevents at most 50 ms, 256 foreign disks at most 2 ms each.
//!
//! The budgets are those of the whole program on a slow machine; the engine is to need a small part of them.

use std::time::{Duration, Instant};

use cmdline::Plan;
use cmdline::plan::RootSpec;
use engine::{Action, Command, DeviceFacts, Engine, Event, ImageFacts, Moment};
use ondisk::{Content, Kind, Signature};

fn facts(number: u32) -> DeviceFacts {
    DeviceFacts {
        major: 8,
        minor: number,
        size: 1 << 30,
        sector_size: 512,
        diskseq: u64::from(number) + 1,
        ids: vec![format!("scsi-SOME_DISK_{number}"), format!("wwn-0x5000{number:08x}")],
        path: Some(format!("pci-0000:00:04.0-scsi-0:0:{number}:0")),
        ..DeviceFacts::default()
    }
}

fn foreign(number: u32) -> Content {
    let kinds = [Kind::Ext4, Kind::Xfs, Kind::Luks2, Kind::Lvm2Pv, Kind::Swap];
    let mut signature = Signature::new(kinds[number as usize % kinds.len()]);
    signature.uuid = Some(format!("foreign-{number}"));
    signature.label = Some(format!("label {number}").into_bytes());
    Content { signatures: vec![signature], ..Content::default() }
}

/// Reports the disk and answers what is asked about it.
fn add(engine: &mut Engine, number: u32) -> usize {
    let name = format!("sd{number:03}");
    let mut commands = engine.handle(Moment(1), Event::Device(name.as_str().into(), facts(number)));
    let mut count = commands.len();
    while let Some(Command { id, action }) = commands.pop() {
        if matches!(action, Action::Identify(_)) {
            let more = engine.handle(Moment(1), Event::Identified(id, foreign(number)));
            count += more.len();
            commands.extend(more);
        }
    }
    count
}

#[test]
fn storms_and_crowds_are_cheap() {
    let mut plan = Plan::default();
    plan.root.spec = Some(RootSpec::Path("/dev/disk/by-id/absent".into()));
    let mut engine = Engine::new(plan, ImageFacts::default());
    engine.start(Moment(0));
    engine.handle(Moment(0), Event::Coldplugged);

    let begin = Instant::now();
    let commands: usize = (0..256).map(|number| add(&mut engine, number)).sum();
    let crowd = begin.elapsed();
    assert!(commands <= 256 * 4, "{commands} commands for 256 disks");

    let begin = Instant::now();
    for number in 0..2_000 {
        let number = number % 256;
        let name = format!("sd{number:03}");
        let commands = engine.handle(Moment(2), Event::Device(name.as_str().into(), facts(number)));
        assert!(commands.is_empty(), "{commands:?}");
    }
    let storm = begin.elapsed();
    println!("256 disks: {crowd:?}; 2,000 events that change nothing: {storm:?}");
    // Ten times what is seen on a busy machine, and still far below the budget.
    assert!(crowd < Duration::from_millis(512), "{crowd:?}");
    assert!(storm < Duration::from_millis(50), "{storm:?}");
}
