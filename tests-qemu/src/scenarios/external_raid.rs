//! Intel and DDF volumes: containers made by mdadm, started through md, taken over by the real root's mdmon.

use std::sync::Arc;
use std::time::Duration;

use super::distribution::healthy;
use super::handoff::{handed_over, root_device, root_is};
use crate::bed::{KEY, LUKS_UUID, Recipe, Tree};
use crate::disk::PLAIN_UUID;
use crate::image::{Extra, Image};
use crate::kernel::Series;
use crate::qemu::Bus;
use crate::rootfs::Release;
use crate::scenario::{Boot, Scenario, ensure, equal};
use crate::verdict::Verdict;
use crate::written::WROTE;

pub(super) fn scenarios() -> Vec<Scenario> {
    let debians = ["imsm", "ddf"].into_iter().flat_map(|format| [debian(format), debian_on_half(format)]);
    debians.chain([intel(), ddf(), ddf_mapped(), thin(), layers()]).collect()
}

/// MiB of each disk.
const SIZE: u64 = 200;

/// A container of two disks with a mirror in it. `$DUMP` says what mdadm says of them: the container's UUID and the
/// volume's.
///
/// mdadm takes the names of the builder's nodes for Intel's serial numbers, since virtual disks have none that it could
/// read.
fn recipe(format: &str, tree: Tree, size: u64) -> Arc<Recipe> {
    let half = if tree == Tree::Probe { HALF } else { "" };
    recipe_with("", format, tree, size, "fill /dev/md/root named", ["", half])
}

/// What mdadm and mdmon write to one disk of the two when the volume is started without the other and the first write to it
/// arrives, which here changes nothing. The disk is as before afterwards.
const HALF: &str = "\
cp --sparse=always $A before
mdadm --incremental --run $A || true
mdadm --incremental --run /dev/md127 || true
cat /proc/mdstat
volume=/dev/$(sed -n 's/ : active.* raid1 .*//p' /proc/mdstat)
dd if=$volume of=first bs=4096 count=1
dd if=first of=$volume bs=4096 count=1 oflag=direct conv=notrunc
mount -o ro $volume /new
umount /new
mdadm --wait-clean --scan || true
mdadm --stop $volume
mdadm --stop --scan
sync
cp --sparse=always $A after
wrote half A before after >>noted
dd if=before of=$A bs=1M
";

/// `fill` puts the root onto the volume, `undo` takes down what it has made for that, `more` comes after all.
fn recipe_with(
    kind: &str,
    format: &str,
    tree: Tree,
    size: u64,
    fill: &str,
    [undo, more]: [&str; 2],
) -> Arc<Recipe> {
    let script = format!(
        "\
export IMSM_NO_PLATFORM=1 IMSM_DEVNAME_AS_SERIAL=1
modprobe -a md-mod raid1
mkdir -p /run/mdadm
echo $A $B
mdadm --create /dev/md/box --run --metadata={format} --raid-devices=2 $A $B
mdadm --create /dev/md/root --run --level=1 --raid-devices=2 --assume-clean --size=$(({size} * 1024 - 40960)) /dev/md/box
cat /proc/mdstat
{fill}
sync
{undo}
mdadm --wait-clean --scan || true
mdadm --detail --export /dev/md/box | sed -n 's/^MD_UUID/box/p' >noted
mdadm --detail --export /dev/md/root | sed -n 's/^MD_UUID/root/p' >>noted
mdadm --stop /dev/md/root
mdadm --stop /dev/md/box
mdadm --examine $A
{more}
cat noted; cat noted >$DUMP
"
    );
    let named = match tree {
        Tree::Probe => "named() { :; }\n",
        _ => {
            "named() {
    printf 'mdadm --detail /dev/md126\\nmdadm --examine /dev/sda\\nsystemctl show mdmon@md127.service --property=ActiveState\\ncat /proc/mdstat\\n' >/new/etc/rootward-commands
}
"
        }
    };
    Arc::new(Recipe {
        name: format!("external-{format}{kind}"),
        script: format!("{named}{WROTE}{script}"),
        tree,
        disks: ["A", "B"].map(|disk| (disk.to_owned(), size)).to_vec(),
        ..Recipe::default()
    })
}

/// Root is on the volume of the container that mdadm made.
fn on_the_volume(boot: Boot, format: &'static str, members: usize) -> Boot {
    boot.check("root is on the volume, under mdadm's names", move |seen| {
        let verdict = seen.verdict.as_ref().ok_or("no verdict arrived")?;
        let root = root_device(verdict)?;
        let noted = |name: &str| {
            let line = seen.dump.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.unwrap_or_default().trim_matches('\0').to_owned()
        };
        let array = verdict.arrays.get(&root).ok_or_else(|| format!("{root} is no array"))?;
        let attribute = |name: &str| array.get(name).map_or("", |value| value.trim()).to_owned();
        equal(&attribute("md/level"), "raid1")?;
        ensure(attribute("md/metadata_version").starts_with("external:/md"), || {
            attribute("md/metadata_version")
        })?;
        equal(&verdict.block(&root).ok_or("no such device")?.below.len(), &members)?;
        let map = verdict.run.iter().find(|entry| entry.path == "/run/mdadm/map").ok_or("there is no map")?;
        let map = map.content.clone().unwrap_or_default();
        for uuid in [noted("box"), noted("root")] {
            ensure(!uuid.is_empty() && map.contains(&uuid), || format!("{uuid} is not in {map}"))?;
        }
        ensure(map.contains(&format!("{format} ")), || map.clone())
    })
}

fn boot(recipe: &Arc<Recipe>, words: &str) -> Boot {
    wanting(recipe, &format!("root=UUID={PLAIN_UUID} ro {words}"))
}

fn wanting(recipe: &Arc<Recipe>, words: &str) -> Boot {
    Boot::new(Series::V6_12, Image::universal(), words)
        .disk(recipe.disk("A"), Bus::VirtioScsi)
        .serial("/dev/vdd")
}

/// What the kernel may do with the volume: `active` once its metadata call it dirty.
fn state_is(boot: Boot, wanted: &'static [&str]) -> Boot {
    boot.root("the volume is in the state that its metadata allow", move |verdict| {
        let root = root_device(verdict)?;
        let state = verdict.arrays.get(&root).and_then(|array| array.get("md/array_state"));
        let state = state.map_or("", |state| state.trim());
        ensure(wanted.contains(&state), || state.to_owned())
    })
}

fn both(recipe: &Arc<Recipe>, words: &str) -> Boot {
    with_the_other(boot(recipe, words), recipe)
}

fn with_the_other(boot: Boot, recipe: &Arc<Recipe>) -> Boot {
    boot.disk(recipe.disk("B"), Bus::VirtioScsi).serial("/dev/vde")
}

fn mirror(format: &'static str) -> Scenario {
    let recipe = recipe(format, Tree::Probe, SIZE);
    let active = ["active", "active-idle"].as_slice();
    let whole = on_the_volume(handed_over(both(&recipe, "")), format, 2).never_shows("DEGRADED");
    let half = on_the_volume(handed_over(boot(&recipe, "rootward.degraded=3")), format, 1)
        .shows("BIOS RAID volumes are started DEGRADED")
        .writes_as_the_tools("half");
    let absent = wanting(&recipe, "root=LABEL=absent rd.retry=5 rd.shell=0");
    let stopped = with_the_other(absent, &recipe)
        .stops_before_root()
        .shows("started md126 (/dev/md/root_0)")
        .only_reads();
    Scenario {
        boots: vec![state_is(whole, active), state_is(half, active), stopped],
        ..Scenario::new(&format!("external-{format}"), Boot::new(Series::V6_12, Image::universal(), ""))
    }
}

fn intel() -> Scenario {
    mirror("imsm")
}

fn ddf() -> Scenario {
    mirror("ddf")
}

/// Root is a thin volume on the mirror: the pool's metadata are written before anything is mounted.
fn thin() -> Scenario {
    let fill = "modprobe -a dm-mod dm-thin-pool\n\
        vgcreate vg /dev/md/root\n\
        lvcreate -y -L 120m --poolmetadatasize 4m --type thin-pool -n pool vg\n\
        lvcreate -y -V 116m --thinpool vg/pool -n root\n\
        fill /dev/vg/root named";
    let recipe = recipe_with("-thin", "imsm", Tree::Probe, SIZE, fill, ["vgchange -an vg", ""]);
    let boot = with_the_other(wanting(&recipe, "root=/dev/vg/root ro"), &recipe);
    let boot =
        handed_over(boot).root("root is the thin volume, on a volume that may be written to", |verdict| {
            let device = root_device(verdict)?;
            equal(&verdict.block(&device).ok_or("no such device")?.dm_name, "vg-root")?;
            let states: Vec<&str> = verdict
                .arrays
                .values()
                .filter(|array| array.get("md/level").is_some_and(|level| level.trim() == "raid1"))
                .filter_map(|array| Some(array.get("md/array_state")?.trim()))
                .collect();
            ensure(states.len() == 1 && ["active", "active-idle"].contains(&states[0]), || {
                format!("{states:?}")
            })
        });
    Scenario::new("external-imsm-thin", boot)
}

/// What the image's mdadm.conf says of the container: its volume's name.
const CONF: &str = "HOMEHOST probe\nARRAY /dev/md/renamed container=/dev/md/imsm0 member=0\n";

/// Root is in LUKS on an array of md's own format on the mirror (at its end, since it begins where the disks do, and mdadm
/// would take those for the members), and gets written to: what md or device-mapper make on a
/// volume that is still read-only stays so. All arrays have the names that mdadm gives them with the same mdadm.conf.
fn layers() -> Scenario {
    let fill = "modprobe -a dm-crypt\n\
        mdadm --create /dev/md/inner --run --force --level=1 --raid-devices=1 --metadata=1.0 --assume-clean --bitmap=none \
            --homehost=any --name=inner /dev/md/root\n\
        cryptsetup luksFormat --batch-mode --type luks2 --uuid $LUKS --pbkdf pbkdf2 --pbkdf-force-iterations 1000 \
            --key-file key /dev/md/inner\n\
        cryptsetup open --key-file key /dev/md/inner opened\n\
        fill /dev/mapper/opened named";
    let undo = "cryptsetup close opened\nmdadm --stop /dev/md/inner";
    let more = format!(
        "rm -rf /dev/md /run/mdadm/map
mkdir -p /etc/mdadm
printf '{}' >/etc/mdadm/mdadm.conf
mdadm --incremental $A || true
mdadm --incremental $B
cat /run/mdadm/map
mdadm --incremental $(readlink -f /dev/md/renamed)
sed 's/^/map /' /run/mdadm/map >>noted
mdadm --stop /dev/md/inner
mdadm --stop /dev/md/renamed
mdadm --stop --scan
",
        CONF.replace('\n', "\\n")
    );
    let fill = fill.replace("$LUKS", LUKS_UUID);
    let recipe = recipe_with("-layers", "imsm", Tree::Probe, SIZE, &fill, [undo, &more]);
    let cmdline = format!("root=/dev/mapper/root rw rd.luks.name={LUKS_UUID}=root rd.luks.key=/root.key");
    let image = Image::universal()
        .with(Extra::Text("/etc/mdadm/mdadm.conf", CONF))
        .with(Extra::Text("/root.key", KEY));
    let boot =
        Boot::new(Series::V6_12, image, cmdline).disk(recipe.disk("A"), Bus::VirtioScsi).serial("/dev/vdd");
    let boot = with_the_other(boot, &recipe).check("arrays are called as mdadm calls them", |seen| {
        let verdict = seen.verdict.as_ref().ok_or("no verdict arrived")?;
        let map = verdict.run.iter().find(|entry| entry.path == "/run/mdadm/map").ok_or("there is no map")?;
        let names = |text: &str| {
            let mut names: Vec<String> =
                text.lines().map(|line| line.split(' ').skip(2).collect::<Vec<_>>().join(" ")).collect();
            names.sort();
            names
        };
        let noted: Vec<&str> = seen.dump.lines().filter_map(|line| line.strip_prefix("map ")).collect();
        equal(&noted.len(), &3)?;
        equal(&names(map.content.as_deref().unwrap_or_default()), &names(&noted.join("\n")))
    });
    Scenario::new("external-imsm-layers", root_is(handed_over(boot), "dm-0", "ext4", true))
}

/// The same volume by device-mapper, because md is not to have it: under the name and of the size that the metadata say,
/// as dmraid takes them. No Debian that makes the disks has a dmraid any more.
fn ddf_mapped() -> Scenario {
    let boot = handed_over(both(&recipe("ddf", Tree::Probe, SIZE), "rd.md.ddf=0"))
        .check("root is on the mapping that dmraid would have made", |seen| {
            let verdict = seen.verdict.as_ref().ok_or("no verdict arrived")?;
            let device = verdict.block(&root_device(verdict)?).ok_or("no such device")?;
            equal(&device.dm_name.as_str(), &"ddf1_root")?;
            equal(&device.dm_uuid.as_str(), &"DMRAID-ddf1_root")?;
            equal(&device.below.len(), &2)?;
            // What mdadm was told, in sectors.
            equal(&device.sectors, &((SIZE * 1024 - 40960) * 2))?;
            ensure(verdict.arrays.is_empty(), || format!("{:?}", verdict.arrays.keys()))
        })
        .only_reads();
    Scenario::new("ddf-through-dm", boot)
}

/// A Debian whose mdmon takes the volume over and makes it writable.
///
/// There is no Intel controller here; mdadm is told not to look for one.
fn debian(format: &'static str) -> Scenario {
    let recipe = recipe(format, Tree::Debian(Release::Trixie), 1400);
    let boot = taken_over(both(&recipe, "systemd.setenv=IMSM_NO_PLATFORM=1"), format, 2);
    let sound: &[_] =
        &["Raid Level : raid1", "Active Devices : 2", "Working Devices : 2", "Failed Devices : 0"];
    Scenario::new(&format!("debian13-{format}"), detail(boot, sound))
}

/// The same with one disk: the loss is recorded before anything is written, and mdmon goes on from there.
fn debian_on_half(format: &'static str) -> Scenario {
    let recipe = recipe(format, Tree::Debian(Release::Trixie), 1400);
    let words = "systemd.setenv=IMSM_NO_PLATFORM=1 rootward.degraded=3";
    let boot = taken_over(boot(&recipe, words), format, 1).shows("BIOS RAID volumes are started DEGRADED");
    let half: &[_] = &["Raid Level : raid1", "Raid Devices : 2", "Active Devices : 1", "degraded"];
    let boot = detail(boot, half).root("the loss is on record", move |verdict| {
        let examined = verdict.command("mdadm --examine /dev/sda").stdout;
        let known = if format == "imsm" { "Slots : [U_]" } else { "state[0] : Degraded" };
        ensure(examined.contains(known), || examined.clone())
    });
    Scenario::new(&format!("debian13-{format}-degraded"), boot)
}

fn detail(boot: Boot, lines: &'static [&'static str]) -> Boot {
    boot.root("mdadm says of the volume what is so", move |verdict| {
        let detail = verdict.command("mdadm --detail /dev/md126").stdout;
        lines.iter().try_for_each(|line| ensure(detail.contains(line), || detail.clone()))
    })
}

fn taken_over(boot: Boot, format: &'static str, members: usize) -> Boot {
    healthy(on_the_volume(boot, format, members)).patience(Duration::from_secs(180)).root(
        "mdmon looks after the container",
        |verdict: &Verdict| {
            let service = "systemctl show mdmon@md127.service --property=ActiveState";
            equal(&verdict.command(service).stdout.trim(), &"ActiveState=active")
        },
    )
}
