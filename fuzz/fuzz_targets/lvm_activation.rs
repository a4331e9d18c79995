//! LVM2 metadata to the devices that activate its volumes.

#![no_main]

use engine::assemble::lvm::activation::{KernelFacts, PoolMetadata, PvDevice, activate};
use libfuzzer_sys::fuzz_target;
use ondisk::lvm::parse_metadata;

fuzz_target!(|data: &[u8]| {
    let Some((choice, text)) = data.split_first() else { return };
    let Ok(vg) = parse_metadata(text) else { return };
    // One PV may be missing, one device may be active already.
    let missing = vg.pvs.get(usize::from(choice & 7)).map(|pv| pv.id.clone());
    let pvs = |id: &str| {
        (missing.as_deref() != Some(id)).then_some(PvDevice {
            major: 8,
            minor: 1,
            read_ahead: 256,
            dax: false,
        })
    };
    let active = |uuid: &str| (uuid.len() % 7 == usize::from(choice >> 5)).then_some((253, 9));
    let thin_threshold = u64::from(choice >> 1);
    let facts = KernelFacts {
        version: (u32::from(choice & 15), 9),
        thin_threshold,
        active: &active,
        read_only: &|_| choice & 8 != 0,
    };
    for lv in vg.lvs.iter().take(64) {
        let Ok(plan) = activate(&vg, &lv.name, &pvs, choice & 16 != 0, &facts) else { continue };
        let mut made = Vec::new();
        for device in &plan.devices {
            // References point backwards, lines follow each other, and no empty one is among them.
            let request = device.device(&made).expect("a reference to a later device");
            let mut end = 0;
            for target in &request.targets {
                assert_eq!(target.start, end);
                assert!(target.kind.len() < 16);
                end = end.saturating_add(target.length);
            }
            assert!(!request.targets.is_empty());
            assert!(request.uuid.starts_with("LVM-"));
            made.push((253, u32::try_from(made.len()).expect("a bounded plan")));
        }
        for check in &plan.checks {
            match check.metadata {
                PoolMetadata::Planned(place) => assert!(place < check.pool),
                PoolMetadata::Active(number) => assert_eq!(number, (253, 9)),
            }
            assert!(check.pool < plan.devices.len());
        }
    }
});
