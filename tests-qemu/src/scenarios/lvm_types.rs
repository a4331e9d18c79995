//! Every segment type of LVM2 at once, and roots on the ones that are more than a mapping.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::distribution::healthy;
use crate::bed::{Recipe, Tree};
use crate::image::Image;
use crate::kernel::Series;
use crate::qemu::Bus;
use crate::rootfs::Release;
use crate::scenario::{Boot, Scenario, ensure, equal};
use crate::verdict::Verdict;

const DISKS: [&str; 5] = ["A", "B", "C", "D", "E"];

pub(super) fn scenarios() -> Vec<Scenario> {
    let debians = [(Release::Bookworm, Series::V6_1), (Release::Trixie, Series::V6_12)];
    let mut all: Vec<Scenario> =
        debians.into_iter().flat_map(|debian| [all_types(debian), cached_root(debian)]).collect();
    all.push(vdo_root(debians[1]));
    all
}

/// A distribution and its kernel.
type Debian = (Release, Series);

fn recipe(name: &str, script: &str, size: u64, (release, series): Debian) -> Arc<Recipe> {
    recipe_on(&DISKS, name, script, size, (release, series))
}

fn recipe_on(disks: &[&str], name: &str, script: &str, size: u64, (release, series): Debian) -> Arc<Recipe> {
    Arc::new(Recipe {
        name: name.to_owned(),
        script: script.to_owned(),
        tree: Tree::Debian(release),
        disks: disks.iter().map(|disk| ((*disk).to_owned(), size)).collect(),
        kernel: Some(series),
        release: Some(release),
        ..Recipe::default()
    })
}

fn boot(recipe: &Arc<Recipe>, series: Series, cmdline: &str) -> Boot {
    let boot = Boot::new(series, Image::universal(), cmdline);
    let boot = recipe.disks.iter().fold(boot, |boot, (disk, _)| boot.disk(recipe.disk(disk), Bus::VirtioBlk));
    // The real root's own lvm2 activates nothing, so that what is there is what the initramfs has made.
    same_devices(healthy(boot))
}

/// The root is a thin volume; everything else comes up because its group is named.
fn all_types(debian: Debian) -> Scenario {
    let recipe = recipe("lvm-types", include_str!("lvm_types.sh"), 560, debian);
    let boot = boot(&recipe, debian.1, "root=/dev/all/root ro rd.lvm.vg=all");
    let boot = boot.root("a persistent number is kept", |verdict| {
        equal(&verdict.block("dm-77").map_or("", |device| device.dm_name.as_str()), &"all-linear")
    });
    Scenario::new(&format!("debian{}-lvm-types", debian.0.number()), boot)
}

/// The root is a write-back cache over RAID 1; nothing else of the group comes up.
fn cached_root(debian: Debian) -> Scenario {
    let recipe = recipe("lvm-cached-root", include_str!("lvm_cached_root.sh"), 560, debian);
    let boot = boot(&recipe, debian.1, "root=/dev/sys/root ro");
    Scenario::new(&format!("debian{}-lvm-cached-root", debian.0.number()), boot)
}

/// The root is compressed and deduplicated; only the newer kernel has the target.
fn vdo_root(debian: Debian) -> Scenario {
    let recipe = recipe_on(&["A"], "lvm-vdo", include_str!("lvm_vdo.sh"), 4200, debian);
    let boot = boot(&recipe, debian.1, "root=/dev/sys/root ro").memory(2048);
    Scenario::new(&format!("debian{}-lvm-vdo", debian.0.number()), boot)
}

/// A mapped device: UUID and table, other devices by name.
type Devices = BTreeMap<String, (String, Vec<String>)>;

/// The devices are those that lvm2 has made of the same disks.
fn same_devices(boot: Boot) -> Boot {
    boot.check("names, UUIDs and tables are lvm2's", |seen| {
        let verdict = seen.verdict.as_ref().ok_or("no verdict arrived")?;
        let lines = |prefix: &str| {
            let lines = seen.dump.lines().filter_map(move |line| line.strip_prefix(prefix));
            lines.collect::<Vec<_>>().join("\n")
        };
        let disks = lines("disk ").lines().filter_map(|line| line.split_once(' ')).map(pair).collect();
        let wanted = devices(&lines("info "), &lines("table "), disks);
        let there = there(verdict);
        ensure(wanted.len() > 2, || format!("lvm2 has left {} devices", wanted.len()))?;
        for (name, device) in &wanted {
            let made = there.get(name).ok_or_else(|| format!("{name} is missing"))?;
            ensure(made == device, || format!("{name} is {made:?}, with lvm2 {device:?}"))?;
        }
        let more = there.keys().find(|name| !wanted.contains_key(*name));
        more.map_or(Ok(()), |name| Err(format!("{name} is there, which lvm2 does not make")))
    })
}

fn pair((variable, number): (&str, &str)) -> (String, String) {
    (number.to_owned(), variable.to_owned())
}

fn there(verdict: &Verdict) -> Devices {
    let nodes = ["vda", "vdb", "vdc", "vdd", "vde"];
    let disks = DISKS
        .iter()
        .zip(nodes)
        .filter_map(|(variable, node)| Some((verdict.block(node)?.dev.clone(), (*variable).to_owned())));
    let info: Vec<String> = verdict
        .block
        .iter()
        .filter(|device| !device.dm_name.is_empty())
        .map(|device| format!("{} {} {}", device.dev.replace(':', " "), device.dm_name, device.dm_uuid))
        .collect();
    devices(&info.join("\n"), &verdict.command("dmsetup table").stdout, disks.collect())
}

/// `info` is `MAJOR MINOR NAME UUID` per line, `table` what `dmsetup table` prints.
fn devices(info: &str, table: &str, mut names: BTreeMap<String, String>) -> Devices {
    let mut devices = Devices::new();
    for line in info.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [major, minor, name, uuid] = words.as_slice() else { continue };
        names.insert(format!("{major}:{minor}"), (*name).to_owned());
        devices.insert((*name).to_owned(), ((*uuid).to_owned(), Vec::new()));
    }
    for line in table.lines() {
        let Some((name, rest)) = line.split_once(": ") else { continue };
        let words: Vec<String> = rest
            .split_whitespace()
            .map(|word| {
                // `meta_device:253:4` of dm-integrity.
                let (key, number) = word.split_once("_device:").unwrap_or(("", word));
                names.get(number).map_or_else(|| word.to_owned(), |name| format!("{key}<{name}>"))
            })
            .collect();
        if let Some((_, lines)) = devices.get_mut(name) {
            lines.push(words.join(" "));
        }
    }
    devices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_names() {
        let disks = BTreeMap::from([("254:0".to_owned(), "A".to_owned())]);
        let read = |minor: u32| {
            let info = format!("253 {minor} v-a LVM-x\n253 9 v-b LVM-y");
            let table = format!("v-b: 0 8 striped 2 8 253:{minor} 0 254:0 16\nv-a: 0 8 linear 254:0 0");
            devices(&info, &table, disks.clone())
        };
        assert_eq!(read(0), read(5));
        assert_eq!(read(0)["v-b"].1, ["0 8 striped 2 8 <v-a> 0 <A> 16"]);
    }
}
