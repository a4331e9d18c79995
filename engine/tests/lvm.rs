//! What lvm2 did to activate each logical volume, against what the engine plans from the same metadata.
//!
//! `fixtures/RELEASE/GROUP.metadata` is what vgcfgbackup wrote, `GROUP.expected` what the log of lvm2 and dmsetup said;
//! tests-qemu/oracle/lvm/README.md tells how they are made.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use engine::assemble::lvm::activation::{Activation, KernelFacts, PvDevice, ReadAhead, activate};
use ondisk::lvm::{LogicalVolume, Value, VolumeGroup, parse_metadata};

/// Every loop device of the fixtures has the kernel's usual read-ahead.
const PV_READ_AHEAD: u32 = 256;

/// Debian 12 has 6.1, Debian 13 has 6.12; no table of the fixtures depends on which.
const KERNEL: (u32, u32) = (6, 12);

/// lvm2's default: pools do not extend themselves.
const THIN_THRESHOLD: u64 = 100;

/// A device as lvm2 made it.
#[derive(Debug, Default)]
struct Device {
    number: (u32, u32),
    name: String,
    uuid: String,
    read_only: bool,
    /// `kept N` or `set N`.
    ahead: Option<String>,
    /// Read-ahead in the end, in sectors.
    read_ahead: u32,
    lines: Vec<String>,
}

/// One activation.
#[derive(Debug, Default)]
struct Case {
    lv: String,
    options: String,
    devices: Vec<Device>,
    refused: Option<String>,
    steps: Vec<String>,
}

#[derive(Debug, Default)]
struct Fixture {
    pvs: BTreeMap<String, (u32, u32)>,
    cases: Vec<Case>,
}

fn fixtures() -> Vec<(PathBuf, VolumeGroup, Fixture)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lvm/fixtures");
    let mut found = Vec::new();
    for release in fs::read_dir(&root).unwrap().flatten() {
        for entry in fs::read_dir(release.path()).unwrap().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "metadata") {
                let vg = parse_metadata(&fs::read(&path).unwrap())
                    .unwrap_or_else(|error| panic!("{path:?}: {error}"));
                let fixture = read(&fs::read_to_string(path.with_extension("expected")).unwrap());
                found.push((path, vg, fixture));
            }
        }
    }
    assert!(!found.is_empty());
    found
}

fn number(text: &str) -> (u32, u32) {
    let (major, minor) = text.split_once(':').unwrap();
    (major.parse().unwrap(), minor.parse().unwrap())
}

fn read(text: &str) -> Fixture {
    let mut fixture = Fixture::default();
    for line in text.lines() {
        let (key, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words: Vec<&str> = rest.split(' ').collect();
        match key {
            "pv" => {
                if words[1] != "missing" {
                    fixture.pvs.insert(words[0].to_owned(), number(words[1]));
                }
            }
            "==" => {
                let (name, options) = rest.split_once(' ').unwrap_or((rest, ""));
                let lv = name.split_once('/').unwrap().1.to_owned();
                fixture.cases.push(Case { lv, options: options.to_owned(), ..Case::default() });
            }
            "refused" => fixture.cases.last_mut().unwrap().refused = Some(rest.to_owned()),
            "device" => fixture.cases.last_mut().unwrap().devices.push(Device {
                number: number(words[0]),
                name: words[1].to_owned(),
                uuid: words[2].to_owned(),
                read_ahead: words[4].strip_prefix("ra=").unwrap().parse().unwrap(),
                read_only: words[5] == "ro=1",
                ..Device::default()
            }),
            "ahead" => {
                fixture.cases.last_mut().unwrap().devices.last_mut().unwrap().ahead = Some(rest.to_owned());
            }
            "load" => {
                fixture.cases.last_mut().unwrap().devices.last_mut().unwrap().lines.push(rest.to_owned());
            }
            "steps" => {
                fixture.cases.last_mut().unwrap().steps = rest.split(", ").map(str::to_owned).collect();
            }
            "shows" => {}
            _ => panic!("unknown line {line:?}"),
        }
    }
    fixture
}

fn plan(vg: &VolumeGroup, fixture: &Fixture, case: &Case) -> Result<Activation, String> {
    let pvs = |id: &str| {
        let (major, minor) = *fixture.pvs.get(id)?;
        Some(PvDevice { major, minor, read_ahead: PV_READ_AHEAD, dax: false })
    };
    let facts = KernelFacts {
        version: KERNEL,
        thin_threshold: THIN_THRESHOLD,
        active: &|_| None,
        read_only: &|_| false,
    };
    let degraded = case.options.contains("degraded");
    activate(vg, &case.lv, &pvs, degraded, &facts).map_err(|refusal| refusal.to_string())
}

/// What an activation would make, in the words of the fixtures. New devices get the lowest free number.
fn planned(activation: &Activation, case: &Case) -> String {
    let mut made = Vec::new();
    let mut out = String::new();
    let mut next = 0;
    for device in &activation.devices {
        let number = device.number.unwrap_or_else(|| {
            next += 1;
            (253, next - 1)
        });
        let made_as = device.device(&made).expect("references point backwards");
        let lines: Vec<String> = made_as
            .targets
            .iter()
            .map(|target| {
                format!("{} {} {} {}", target.start, target.length, target.kind, target.params)
                    .trim_end()
                    .to_owned()
            })
            .collect();
        // Whether lvm2 set or kept is the kernel's choice; what it asked for is in the plan.
        let seen = case.devices.iter().find(|seen| seen.name == device.name);
        let ahead = match (device.read_ahead, seen.and_then(|seen| seen.ahead.as_deref())) {
            (_, None) | (ReadAhead::Kernel, _) => None,
            (ReadAhead::AtLeast(sectors), Some(seen)) if seen.starts_with("set ") => {
                Some(format!("set {sectors}"))
            }
            (ReadAhead::AtLeast(sectors), _) => Some(format!("kept {sectors}")),
            (ReadAhead::Exactly(sectors), _) => Some(format!("set {sectors}")),
        };
        if let Some(seen) = seen {
            let fits = match device.read_ahead {
                ReadAhead::Kernel => true,
                ReadAhead::AtLeast(sectors) => seen.read_ahead >= sectors,
                ReadAhead::Exactly(sectors) => seen.read_ahead == sectors,
            };
            assert!(fits, "{}: {:?}, lvm2 ends with {}", device.name, device.read_ahead, seen.read_ahead);
        }
        write(&mut out, number, &device.name, &device.uuid, device.read_only, ahead.as_deref(), &lines);
        made.push(number);
    }
    out
}

fn write(
    out: &mut String,
    (major, minor): (u32, u32),
    name: &str,
    uuid: &str,
    read_only: bool,
    ahead: Option<&str>,
    lines: &[String],
) {
    writeln!(out, "{major}:{minor} {name} {uuid} ro={} {}", u8::from(read_only), ahead.unwrap_or("-"))
        .unwrap();
    for line in lines {
        writeln!(out, "    {line}").unwrap();
    }
}

fn expected(case: &Case) -> String {
    let mut out = String::new();
    // dmsetup lists by number; a persistent number does not tell when the device was made.
    let created: Vec<&str> = case.steps.iter().filter_map(|step| step.strip_prefix("create ")).collect();
    let mut devices: Vec<&Device> = case.devices.iter().collect();
    devices.sort_by_key(|device| created.iter().position(|name| *name == device.name));
    for device in devices {
        let ahead = device.ahead.as_deref();
        write(&mut out, device.number, &device.name, &device.uuid, device.read_only, ahead, &device.lines);
    }
    out
}

/// In its degraded mode lvm2 starts RAID 0 with metadata although images are missing, and with them data; the engine waits
/// for the disk.
const STRICTER: &[(&str, &str)] = &[("rd", "r0m")];

fn is_stricter(vg: &VolumeGroup, case: &Case) -> bool {
    case.options.contains("degraded") && STRICTER.contains(&(vg.name.as_str(), case.lv.as_str()))
}

#[test]
fn plans_equal_what_lvm2_does() {
    let mut count = 0;
    let mut failures = String::new();
    for (path, vg, fixture) in fixtures() {
        for case in &fixture.cases {
            count += 1;
            let at =
                format!("{} {}/{}", path.parent().unwrap().file_name().unwrap().display(), vg.name, case.lv);
            match (plan(&vg, &fixture, case), &case.refused) {
                (Ok(activation), None) => {
                    let (planned, expected) = (planned(&activation, case), expected(case));
                    if planned != expected {
                        write!(failures, "== {at}\nlvm2:\n{expected}planned:\n{planned}").unwrap();
                    }
                }
                (Err(_), Some(_)) => {}
                (Err(_), None) if is_stricter(&vg, case) => {}
                (Ok(activation), Some(refused)) => {
                    let planned = planned(&activation, case);
                    write!(failures, "== {at}: lvm2 refuses: {refused}\nplanned:\n{planned}").unwrap();
                }
                (Err(refusal), None) => {
                    write!(failures, "== {at}: refused: {refusal}\n{}", expected(case)).unwrap();
                }
            }
        }
    }
    println!("{count} activations");
    assert!(failures.is_empty(), "{failures}");
}

/// A cache on persistent memory says so (lvm2: lib/metadata/metadata.c, lv_on_pmem); loop devices are none, so no fixture
/// shows it.
#[test]
fn a_writecache_on_persistent_memory() {
    let (_, vg, _) = fixtures().into_iter().find(|(_, vg, _)| vg.name == "wc").unwrap();
    let mut mixed = vg.clone();
    let fast = mixed.lvs.iter_mut().find(|lv| lv.name == "fast_cvol").unwrap();
    let mut more = fast.segments[0].clone();
    more.start_extent = more.extent_count;
    let stripes = more.config.0.iter_mut().find(|(key, _)| key == "stripes").unwrap();
    stripes.1 = Value::List(vec![Value::Text("pv1".into()), Value::Number(99)]);
    fast.segments.push(more);
    for (vg, memory, expected) in [
        (&vg, &[][..], Ok("s ")),
        (&vg, &["pv0"], Ok("p ")),
        (&vg, &["pv1"], Ok("s ")),
        (&mixed, &["pv0", "pv1"], Ok("p ")),
        (&mixed, &["pv0"], Err("partly on persistent memory")),
    ] {
        let pvs = |id: &str| {
            let minor = vg.pvs.iter().position(|pv| pv.id == id)?;
            let dax = memory.contains(&vg.pvs[minor].name.as_str());
            Some(PvDevice { major: 8, minor: u32::try_from(minor).unwrap(), dax, ..PvDevice::default() })
        };
        let facts = KernelFacts {
            version: KERNEL,
            thin_threshold: THIN_THRESHOLD,
            active: &|_| None,
            read_only: &|_| false,
        };
        match (activate(vg, "plain", &pvs, false, &facts), expected) {
            (Ok(plan), Ok(mode)) => {
                let numbers: Vec<_> = (0..10).map(|minor| (253, minor)).collect();
                let target = &plan.devices.last().unwrap().targets[0];
                assert!(target.params(&numbers).unwrap().starts_with(mode), "{memory:?}: {target:?}");
            }
            (Err(refusal), Err(text)) => assert!(refusal.to_string().contains(text), "{refusal}"),
            (plan, _) => panic!("{memory:?}: {plan:?}"),
        }
    }
}

/// Origins wait for their snapshots, as in lvm2; everything else is resumed at once.
#[test]
fn origins_are_resumed_when_their_snapshots_are_there() {
    let mut held = 0;
    for (_, vg, fixture) in fixtures() {
        for case in fixture.cases.iter().filter(|case| case.refused.is_none() && !is_stricter(&vg, case)) {
            for device in plan(&vg, &fixture, case).unwrap().devices.iter().filter(|device| device.held) {
                held += 1;
                let seen = case.devices.iter().find(|seen| seen.name == device.name).unwrap();
                let resume = format!("resume {}:{}", seen.number.0, seen.number.1);
                let resumed = case.steps.iter().position(|step| *step == resume).unwrap();
                let loaded = case.steps.iter().rposition(|step| step.starts_with("load ")).unwrap();
                assert!(resumed > loaded, "{}: {:?}", device.name, case.steps);
            }
        }
    }
    assert!(held > 10);
}

/// What is active already is referred to, not made again.
/// lvm2 keeps from `read_only_volume_list` what is written nevertheless: the chunks of snapshots, the parts of RAID volumes
/// and what stands in for missing ones.
#[test]
fn a_volume_is_made_read_only_with_what_is_below() {
    let mut kept = 0;
    for (path, vg, fixture) in fixtures() {
        for case in fixture.cases.iter().filter(|case| !case.devices.is_empty()) {
            let Ok(usual) = plan(&vg, &fixture, case) else { continue };
            let listed = |_: &LogicalVolume| true;
            let facts = KernelFacts {
                version: KERNEL,
                thin_threshold: THIN_THRESHOLD,
                active: &|_| None,
                read_only: &listed,
            };
            let pvs = |id: &str| {
                let (major, minor) = *fixture.pvs.get(id)?;
                Some(PvDevice { major, minor, read_ahead: PV_READ_AHEAD, dax: false })
            };
            let degraded = case.options.contains("degraded");
            let mut plan = activate(&vg, &case.lv, &pvs, degraded, &facts).expect("as before");
            for device in &mut plan.devices {
                let name = device.name.trim_end_matches(|letter: char| letter.is_ascii_digit());
                let written = ["-cow", "_rimage_", "_rmeta_"].iter().any(|end| name.ends_with(end))
                    || name.contains("-missing_");
                assert_eq!(device.read_only, !written, "{}: {}", path.display(), device.name);
                kept += usize::from(written);
            }
            plan.devices
                .iter_mut()
                .zip(&usual.devices)
                .for_each(|(one, other)| one.read_only = other.read_only);
            assert_eq!(plan, usual, "nothing else changes");
        }
    }
    assert!(kept > 4);
}

#[test]
fn what_is_active_is_not_made_again() {
    for (_, vg, fixture) in fixtures() {
        for case in fixture.cases.iter().filter(|case| case.refused.is_none() && !is_stricter(&vg, case)) {
            let whole = plan(&vg, &fixture, case).unwrap();
            let pvs = |id: &str| {
                let (major, minor) = *fixture.pvs.get(id)?;
                Some(PvDevice { major, minor, ..PvDevice::default() })
            };
            let degraded = case.options.contains("degraded");
            let last = whole.devices.last().unwrap();
            let active = |uuid: &str| (uuid != last.uuid).then_some((253, 77));
            let rest = activate(
                &vg,
                &case.lv,
                &pvs,
                degraded,
                &KernelFacts {
                    version: KERNEL,
                    thin_threshold: THIN_THRESHOLD,
                    active: &active,
                    read_only: &|_| false,
                },
            )
            .unwrap();
            assert_eq!(rest.devices.len(), 1, "{}", case.lv);
            assert_eq!(rest.devices[0].uuid, last.uuid);
            assert!(rest.devices[0].device(&[]).is_some(), "it refers to nothing that is to be made");
            let nothing = activate(
                &vg,
                &case.lv,
                &pvs,
                degraded,
                &KernelFacts {
                    version: KERNEL,
                    thin_threshold: THIN_THRESHOLD,
                    active: &|_| Some((253, 1)),
                    read_only: &|_| false,
                },
            );
            assert_eq!(nothing.unwrap().devices, []);
        }
    }
}

/// No plan ever touches a physical volume that is missing: it is refused, or redundancy covers the hole.
#[test]
fn missing_volumes_are_refused_or_covered() {
    let (mut refused, mut covered) = (0, 0);
    for (_, vg, fixture) in fixtures() {
        if fixture.pvs.len() < vg.pvs.len() {
            continue;
        }
        for missing in &vg.pvs {
            let pvs = |id: &str| {
                let minor = vg.pvs.iter().position(|pv| pv.id == id)?;
                (id != missing.id).then(|| PvDevice {
                    major: 7,
                    minor: u32::try_from(minor).unwrap(),
                    ..PvDevice::default()
                })
            };
            let facts = KernelFacts {
                version: KERNEL,
                thin_threshold: THIN_THRESHOLD,
                active: &|_| None,
                read_only: &|_| false,
            };
            for case in &fixture.cases {
                let whole = activate(&vg, &case.lv, &pvs, false, &facts);
                match activate(&vg, &case.lv, &pvs, true, &facts) {
                    Ok(plan) if plan.degraded.is_empty() => assert_eq!(whole, Ok(plan)),
                    Ok(plan) => {
                        covered += 1;
                        let refusal = whole.unwrap_err().to_string();
                        assert!(refusal.contains(&missing.id) && refusal.contains("degraded"), "{refusal}");
                        assert!(plan.devices.iter().any(|device| device.name.contains("-missing_0_0")));
                    }
                    Err(_) => {
                        refused += 1;
                        assert!(whole.is_err());
                    }
                }
            }
        }
    }
    assert!(refused > 100 && covered > 100, "{refused} refused, {covered} covered");
}

/// Metadata that was cut short or changed never breaks the planner.
#[test]
fn changed_metadata_never_panics() {
    for (path, _, _) in fixtures() {
        let text = fs::read(&path).unwrap();
        // Larger groups cost more per try, so they get fewer.
        let step = (text.len() / 60).max(1);
        for at in (0..text.len()).step_by(step) {
            let mut changed = text.clone();
            changed[at] = if changed[at].is_ascii_digit() { b'9' } else { changed[at] ^ 1 };
            for bytes in [&text[..at], &changed] {
                let Ok(vg) = parse_metadata(bytes) else { continue };
                let pvs = |_: &str| Some(PvDevice::default());
                let facts = KernelFacts {
                    version: KERNEL,
                    thin_threshold: THIN_THRESHOLD,
                    active: &|_| None,
                    read_only: &|_| false,
                };
                for lv in &vg.lvs {
                    if let Ok(plan) = activate(&vg, &lv.name, &pvs, true, &facts) {
                        assert!(plan.devices.len() < 4097);
                    }
                }
            }
        }
    }
}
