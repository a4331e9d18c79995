//! Every segment type of LVM2 at once, and roots on the ones that are more than a mapping.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::distribution::healthy;
use crate::bed::{Recipe, Tree};
use crate::image::Image;
use crate::kernel::Series;
use crate::qemu::Bus;
use crate::rootfs::Release;
use crate::scenario::{Boot, Scenario, ensure, equal};

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

fn recipe(name: &str, script: &str, size: u64, debian: Debian) -> Arc<Recipe> {
    recipe_on(&DISKS, name, script, size, debian)
}

fn recipe_on(disks: &[&str], name: &str, script: &str, size: u64, (release, series): Debian) -> Arc<Recipe> {
    Arc::new(Recipe {
        name: name.to_owned(),
        script: format!("{}{script}", include_str!("prelude.sh")),
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
    let script = format!("cat >live <<'EOF'\n{}EOF\n{}", include_str!("live.sh"), include_str!("all.sh"));
    let recipe = recipe("lvm-types", &script, 560, debian);
    let boot = boot(&recipe, debian.1, "root=/dev/all/root ro rd.lvm.vg=all");
    let boot = boot.root("a persistent number is kept", |verdict| {
        equal(&verdict.block("dm-77").map_or("", |device| device.dm_name.as_str()), &"all-linear")
    });
    let boot = boot
        .root("vgck, lvchange, lvconvert, lvextend and lvcreate work on the live system", |verdict| {
            let live = verdict.command("bash /live");
            ensure(live.status == 0 && live.stdout.ends_with("all well"), || format!("{live:?}"))
        })
        .patience(Duration::from_secs(240));
    Scenario::new(&format!("debian{}-lvm-types", debian.0.number()), boot)
}

/// The root is a write-back cache over RAID 1; nothing else of the group comes up.
fn cached_root(debian: Debian) -> Scenario {
    let recipe = recipe("lvm-cached-root", include_str!("cached_root.sh"), 560, debian);
    let boot = boot(&recipe, debian.1, "root=/dev/sys/root ro");
    Scenario::new(&format!("debian{}-lvm-cached-root", debian.0.number()), boot)
}

/// The root is compressed and deduplicated; only the newer kernel has the target.
fn vdo_root(debian: Debian) -> Scenario {
    let recipe = recipe_on(&["A"], "lvm-vdo", include_str!("vdo.sh"), 4200, debian);
    let boot = boot(&recipe, debian.1, "root=/dev/sys/root ro").memory(2048);
    Scenario::new(&format!("debian{}-lvm-vdo", debian.0.number()), boot)
}

/// A mapped device: UUID and table, other devices by name.
type Devices = BTreeMap<String, (String, Vec<String>)>;

/// Device-mapper and lvm2 show what they showed when lvm2 had activated the same disks.
fn same_devices(boot: Boot) -> Boot {
    boot.check("names, UUIDs, tables and what vgs, pvs and lvs say are lvm2's", |seen| {
        let verdict = seen.verdict.as_ref().ok_or("no verdict arrived")?;
        let live = verdict.command("bash /facts").stdout;
        let (wanted, there) = (devices(&seen.dump), devices(&live));
        ensure(wanted.len() > 2, || format!("lvm2 has left {} devices", wanted.len()))?;
        for (name, device) in &wanted {
            let made = there.get(name).ok_or_else(|| format!("{name} is missing"))?;
            ensure(made == device, || format!("{name} is {made:?}, with lvm2 {device:?}"))?;
        }
        let more = there.keys().find(|name| !wanted.contains_key(*name));
        more.map_or(Ok(()), |name| Err(format!("{name} is there, which lvm2 does not make")))?;
        let said =
            |text: &str| text.lines().filter(|line| line.starts_with("lvm2 ")).map(str::to_owned).collect();
        let (wanted, there): (Vec<String>, Vec<String>) = (said(&seen.dump), said(&live));
        ensure(wanted.len() > 4, || format!("lvm2 has said {wanted:?}"))?;
        let only = |one: &[String], other: &[String]| -> Vec<String> {
            one.iter().filter(|line| !other.contains(line)).cloned().collect()
        };
        equal(&only(&there, &wanted), &only(&wanted, &there))
    })
}

/// Reads what `facts` of prelude.sh prints. Numbers become names: they differ from boot to boot.
fn devices(facts: &str) -> Devices {
    let lines = |prefix: &'static str| facts.lines().filter_map(move |line| line.strip_prefix(prefix));
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for (disk, number) in lines("disk ").filter_map(|line| line.split_once(' ')) {
        names.insert(number.to_owned(), disk.to_owned());
    }
    let mut devices = Devices::new();
    for line in lines("info ") {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [major, minor, name, uuid] = words.as_slice() else { continue };
        names.insert(format!("{major}:{minor}"), (*name).to_owned());
        devices.insert((*name).to_owned(), ((*uuid).to_owned(), Vec::new()));
    }
    for line in lines("table ") {
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
        let read = |minor: u32| {
            devices(&format!(
                "disk A 254:0\ninfo 253 {minor} v-a LVM-x\ninfo 253 9 v-b LVM-y\n\
                 table v-b: 0 8 striped 2 8 253:{minor} 0 254:0 16\ntable v-a: 0 8 linear 254:0 0"
            ))
        };
        assert_eq!(read(0), read(5));
        assert_eq!(read(0)["v-b"].1, ["0 8 striped 2 8 <v-a> 0 <A> 16"]);
    }
}
