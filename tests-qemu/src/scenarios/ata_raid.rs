//! BIOS RAID: root on sets whose metadata the firmware would have written.

use std::sync::Arc;

use super::handoff::{handed_over, root_device};
use crate::bed::{Recipe, Tree};
use crate::disk::PLAIN_UUID;
use crate::image::Image;
use crate::kernel::Series;
use crate::qemu::Bus;
use crate::scenario::{Boot, Scenario, ensure, equal};

#[path = "../../../ondisk/tests/blkid_oracle/ata_writer.rs"]
#[allow(dead_code, reason = "the formats that are not booted")]
#[allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub, reason = "shared with tests")]
mod writer;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![mapped(), parity()]
}

/// Sizes of the disks in MiB.
const ROOT_DISK: u64 = 200;
const OTHER_DISK: u64 = 16;

/// Writes `bytes` to `disk` at a sector counted from its end.
fn put(disk: &str, before_end: u64, bytes: &[u8]) -> String {
    let octets: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    format!(
        "printf '{octets}' | dd of=${disk} bs=512 seek=$(($(blockdev --getsz ${disk}) - {before_end})) conv=notrunc\n"
    )
}

/// Root on a partition of an NVIDIA mirror; beside it a Promise stripe and a Silicon Image mirror of which one disk is
/// missing. Tables are judged where the engine makes them; here the kernel takes them, and who is where is compared.
fn mapped() -> Scenario {
    let mut script = String::new();
    for (unit, disk) in [(0, "A"), (1, "B")] {
        script += &put(disk, 2, &writer::nvidia(0x81, unit, 1, 2, 0)[0].1);
    }
    let sectors = u32::try_from(OTHER_DISK * 2048).unwrap_or_default() * 2 - 4096;
    for (number, disk) in [(0, "C"), (1, "D")] {
        script += &put(disk, 63, &writer::promise_area(0, number, 2, 0x1111, 0, sectors));
    }
    for (at, bytes) in writer::silicon(1, 0, (0, 0), (2, 0), 30000) {
        script += &put("E", writer::DISK - at / 512, &bytes);
    }
    script += r#"
modprobe -a dm-mod dm-mirror
sectors=$(($(blockdev --getsz $A) - 2))
# What `dmraid -tay` prints for such disks, but for the size.
echo "0 $sectors mirror core 2 512 nosync 2 $A 0 $B 0 1 handle_errors" | dmsetup create nvidia_eeeeegdg
printf 'label: gpt
start=2048
' | sfdisk -q /dev/mapper/nvidia_eeeeegdg
size=$((sectors - 4096))
echo "0 $size linear /dev/mapper/nvidia_eeeeegdg 2048" | dmsetup create part
fill /dev/mapper/part
sfdisk -d /dev/mapper/nvidia_eeeeegdg > $DUMP
dmsetup remove part; dmsetup remove nvidia_eeeeegdg
"#;
    let disk = |(variable, size): (&str, u64)| (variable.to_owned(), size);
    let sizes = [("A", ROOT_DISK), ("B", ROOT_DISK), ("C", OTHER_DISK), ("D", OTHER_DISK), ("E", OTHER_DISK)];
    let recipe = Arc::new(Recipe {
        name: "bios-raid-dm".into(),
        script,
        tree: Tree::Probe,
        disks: sizes.map(disk).to_vec(),
        ..Recipe::default()
    });
    let boot = Boot::new(Series::V6_12, Image::universal(), format!("root=UUID={PLAIN_UUID} ro rd.auto=1"));
    let boot = ["A", "B", "C", "D", "E"]
        .iter()
        .fold(boot, |boot, disk| boot.disk(recipe.disk(disk), Bus::VirtioScsi))
        .root("the mappings are dmraid's and kpartx's, on the right disks", |verdict| {
            let mut seen: Vec<String> = verdict
                .block
                .iter()
                .filter(|device| !device.dm_name.is_empty())
                .map(|device| {
                    // Disks are told apart by their sizes: their names come in any order.
                    let size = |name: &String| {
                        let below = verdict.block.iter().find(|below| below.name == *name);
                        below.map_or(0, |below| below.sectors).to_string()
                    };
                    let below: Vec<String> = device.below.iter().map(size).collect();
                    format!("{} {} {} {}", device.dm_name, device.dm_uuid, device.sectors, below.join(","))
                })
                .collect();
            seen.sort();
            let (disk, other) = (ROOT_DISK * 2048, OTHER_DISK * 2048);
            let whole = disk - 2;
            // sfdisk ends a partition at a MiB.
            let part = verdict.block.iter().find(|device| device.dm_name == "nvidia_eeeeegdg1");
            let part = part.map_or(0, |device| device.sectors);
            ensure((whole - 8192..whole).contains(&part), || format!("{part} sectors in the partition"))?;
            equal(
                &seen,
                &[
                    format!("nvidia_eeeeegdg DMRAID-nvidia_eeeeegdg {whole} {disk},{disk}"),
                    format!("nvidia_eeeeegdg1 part1-DMRAID-nvidia_eeeeegdg {part} {whole}"),
                    format!("pdc_edgj DMRAID-pdc_edgj {} {other},{other}", u64::from(share()) * 2),
                ]
                .to_vec(),
            )
        })
        .root("the kernel shows no partition of a member", |verdict| {
            let shown = verdict.block.iter().find(|device| {
                device.name.starts_with("sd") && device.name.ends_with(|end: char| end.is_ascii_digit())
            });
            shown.map_or(Ok(()), |device| Err(device.name.clone()))
        })
        .root("/ is the partition of the mirror", |verdict| {
            let name = root_device(verdict)?;
            let device = verdict.block.iter().find(|device| device.name == name);
            equal(&device.map(|device| device.dm_name.as_str()), &Some("nvidia_eeeeegdg1"))
        })
        .root("links lead to the mapping, not to the member", |verdict| {
            let link = format!("/dev/disk/by-uuid/{PLAIN_UUID}");
            let target = verdict.links.get(&link).ok_or("no by-uuid link")?;
            ensure(target.contains("dm-"), || target.clone())
        });
    Scenario::new("bios-raid-dm", handed_over(boot).only_reads())
}

/// Root on a RAID 5 of Silicon Image's controllers; whole, and without a disk, whose blocks then come from the parity.
fn parity() -> Scenario {
    const DISKS: [&str; 3] = ["A", "B", "C"];
    const SECTORS: u32 = 128 << 11;
    const SHARE: u32 = SECTORS - 2048;
    let mut script = String::new();
    for (number, disk) in (0..).zip(DISKS) {
        let size = |meta: &mut [u8]| meta[0x78..0x7c].copy_from_slice(&SECTORS.to_le_bytes());
        for (at, bytes) in writer::silicon_but(16, number, (3, 0), (0xff, 0), SHARE * 2, &size) {
            script += &put(disk, writer::DISK - at / 512, &bytes);
        }
    }
    let table = "raid raid5_ls 4 128 nosync region_size 128 3 - $A - $B - $C";
    script += &format!(
        "modprobe -a dm-mod dm-raid raid456\n\
         echo 0 {} {table} | dmsetup create set\n\
         fill /dev/mapper/set\n\
         dmsetup remove set\n",
        SHARE * 2
    );
    let recipe = Arc::new(Recipe {
        name: "bios-raid-parity".into(),
        script,
        tree: Tree::Probe,
        disks: DISKS.map(|disk| (disk.to_owned(), 128)).to_vec(),
        ..Recipe::default()
    });
    let boot = |disks: &[&str], words: &str| {
        let boot = Boot::new(Series::V6_12, Image::universal(), format!("root=UUID={PLAIN_UUID} ro {words}"));
        let boot = disks.iter().fold(boot, |boot, disk| boot.disk(recipe.disk(disk), Bus::VirtioScsi));
        let members = disks.len();
        handed_over(boot)
            .root("root is on the set", move |verdict| {
                let device = verdict.block(&root_device(verdict)?).ok_or("no such device")?;
                ensure(device.dm_uuid.starts_with("DMRAID-sil_"), || device.dm_uuid.clone())?;
                equal(&device.sectors, &u64::from(SHARE * 2))?;
                equal(&device.below.len(), &members)
            })
            .only_reads()
    };
    let whole = boot(&DISKS, "").never_shows("DEGRADED");
    let degraded = boot(&["A", "C"], "rootward.degraded=3").shows("DEGRADED");
    Scenario {
        boots: vec![whole, degraded],
        ..Scenario::new("bios-raid-parity", Boot::new(Series::V6_12, Image::universal(), ""))
    }
}

/// Sectors of each disk that the stripe takes.
fn share() -> u32 {
    let sectors = u32::try_from(OTHER_DISK * 2048).unwrap_or_default() * 2 - 4096;
    sectors / 2 / 128 * 128
}
