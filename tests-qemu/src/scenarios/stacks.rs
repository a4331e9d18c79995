//! Stacks: every order of two and three layers, and deeper ones drawn from a seed, in front of one root.
//!
//! Nothing on the command line names a layer: the way to the root is found by peeling what is there.

use std::sync::Arc;

use super::handoff::{handed_over, root_device};
use super::luks::CRYPT;
use super::root_forms::STORAGE;
use crate::bed::{KEY, Recipe};
use crate::disk::PLAIN_UUID;
use crate::image::{Extra, Image};
use crate::kernel::Series;
use crate::qemu::Bus;
use crate::scenario::{Boot, Scenario, equal};
use crate::verdict::Verdict;

/// What may lie between a disk and a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layer {
    /// The only partition of a GPT.
    Partition,
    /// LUKS2, opened by the image's key file.
    Luks,
    /// A linear volume of a group with one PV.
    Lvm,
    /// A mirror with one member, metadata 1.2.
    Md,
}
use Layer::{Luks, Lvm, Md, Partition};

const LAYERS: [Layer; 4] = [Partition, Luks, Lvm, Md];
/// The builder VM takes so many disks.
const BATCH: usize = 9;
/// Deeper stacks.
const DRAWN: usize = 10;
/// MiB of a disk: one LUKS2 header of 16 MiB per layer, and a root of three.
const SIZE: u64 = 144;

pub(super) fn scenarios() -> Vec<Scenario> {
    let stacks = stacks();
    let batches = stacks.chunks(BATCH).enumerate().map(|(number, batch)| (recipe(number, batch), batch));
    batches
        .flat_map(|(recipe, batch)| {
            let boots = batch.iter().enumerate();
            boots.map(move |(index, stack)| scenario(&recipe, index, stack)).collect::<Vec<_>>()
        })
        .collect()
}

/// The first layer lies on the disk, the last one under the file system.
fn stacks() -> Vec<Vec<Layer>> {
    let mut all = Vec::new();
    for first in LAYERS {
        for second in LAYERS.into_iter().filter(|layer| *layer != first) {
            all.push(vec![first, second]);
            let thirds = LAYERS.into_iter().filter(|layer| ![first, second].contains(layer));
            all.extend(thirds.map(|third| vec![first, second, third]));
        }
    }
    let mut state = 0x5eed_u32;
    let mut draw = |below: usize| {
        // Numerical Recipes' generator: the stacks must be the same in every run, no more.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as usize % below
    };
    while all.len() < 36 + DRAWN {
        let depth = 4 + draw(2);
        let stack: Vec<Layer> = (0..depth).map(|_| LAYERS[draw(LAYERS.len())]).collect();
        // The kernel makes no partitions on partitions; a table on anything else that is not a disk is rare enough.
        let nested = stack.windows(2).any(|pair| pair == [Partition, Partition]);
        if !nested && !all.contains(&stack) {
            all.push(stack);
        }
    }
    all
}

fn name(stack: &[Layer]) -> String {
    let words = stack.iter().map(|layer| match layer {
        Partition => "part",
        Luks => "luks",
        Lvm => "lvm",
        Md => "md",
    });
    words.collect::<Vec<_>>().join("-")
}

/// One job of the builder VM makes a disk for each of these.
fn recipe(number: usize, stacks: &[Vec<Layer>]) -> Arc<Recipe> {
    let mut script = FUNCTIONS.to_owned();
    let mut disks = Vec::new();
    for (index, stack) in stacks.iter().enumerate() {
        script += &format!("# {}\nD=$STACK{index}\n", name(stack));
        let mut down = String::new();
        for (depth, layer) in stack.iter().enumerate() {
            let id = format!("s{number}{index}x{depth}");
            // Minor numbers of arrays must differ within one machine.
            let md = index * 8 + depth;
            let (up, undo) = match layer {
                Partition => (format!("part {id}\n"), format!("unpart {id}\n")),
                Luks => (format!("luks {id}\n"), format!("cryptsetup close {id}\n")),
                Lvm => (format!("lvm_ {id}\n"), format!("vgchange $SCAN -an {id}\n")),
                Md => (format!("md {md}\n"), format!("mdadm --stop /dev/md{md}\n")),
            };
            script += &up;
            down = undo + &down;
        }
        script += &format!("fill $D true\nsync\n{down}");
        disks.push((format!("STACK{index}"), SIZE));
    }
    Arc::new(Recipe { name: format!("stacks{number}"), script, disks, ..Recipe::default() })
}

/// Each puts a layer onto `$D` and leaves the new device there. PVs on volumes are looked for only when asked.
const FUNCTIONS: &str = "\
SCAN='--config devices{scan_lvs=1}'
part() {
    printf 'label: gpt\\nstart=2048, type=linux\\n' | sfdisk --quiet --no-reread --no-tell-kernel $D
    S=$(blockdev --getsz $D)
    case $D in
    /dev/vd*) blockdev --rereadpt $D; D=${D}1 ;;
    /dev/md*) blockdev --rereadpt $D; D=${D}p1 ;;
    *) dmsetup create $1 --table \"0 $((S - 4096)) linear $D 2048\"; D=/dev/mapper/$1 ;;
    esac
    udevadm settle 2>/dev/null || true
    for i in 1 2 3 4 5 6 7 8 9 10; do [ -b $D ] && break; sleep 0.2; done
}
unpart() { [ -e /dev/mapper/$1 ] && dmsetup remove $1 || true; }
luks() {
    cryptsetup luksFormat --batch-mode --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file key $D
    cryptsetup open --key-file key $D $1
    D=/dev/mapper/$1
}
lvm_() {
    vgcreate $SCAN $1 $D
    lvcreate $SCAN --yes --wipesignatures n --zero n --name lv --extents 100%FREE $1
    D=/dev/$1/lv
}
md() {
    mdadm --create /dev/md$1 --run --force --level=1 --raid-devices=1 --metadata=1.2 --homehost=any --name=$1 $D
    D=/dev/md$1
}
";

fn scenario(recipe: &Arc<Recipe>, index: usize, stack: &[Layer]) -> Scenario {
    let modules = [STORAGE, CRYPT, &["dm_mod", "md_mod", "raid1"]].concat();
    let image = Image::modules(&modules).with(Extra::Text("/etc/keys/root.key", KEY));
    let cmdline = format!("root=UUID={PLAIN_UUID} ro rd.luks.key=/etc/keys/root.key:/");
    let wanted = stack.to_vec();
    let boot = Boot::new(Series::V6_12, image, cmdline)
        .disk(recipe.disk(&format!("STACK{index}")), Bus::VirtioBlk)
        .root("the root lies on exactly these layers", move |verdict| {
            equal(&layers(verdict, &root_device(verdict)?), &wanted)
        })
        .never_shows("Passphrase for")
        .one_cpu();
    Scenario::new(&format!("stack-{}", name(stack)), handed_over(boot))
}

/// What lies below a device, as the kernel tells it.
fn layers(verdict: &Verdict, device: &str) -> Vec<Layer> {
    let mut found = Vec::new();
    let mut next = Some(device.to_owned());
    // More than any stack here has.
    for _ in 0..16 {
        let Some(block) = next.take().and_then(|name| verdict.block(&name)) else { break };
        let partition = |disk: &str| {
            let digits = block.name.strip_prefix(disk)?.trim_start_matches('p');
            (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| disk.to_owned())
        };
        let parent = verdict.block.iter().filter(|other| other.name != block.name);
        let parent = parent.filter(|other| !block.name.starts_with("dm-") && !other.name.starts_with("dm-"));
        let parent = parent.filter_map(|other| partition(&other.name)).next();
        let layer = match (&parent, block.dm_uuid.as_str()) {
            (_, uuid) if uuid.starts_with("CRYPT-") => Luks,
            (_, uuid) if uuid.starts_with("LVM-") => Lvm,
            (_, uuid) if uuid.starts_with("part1-") => Partition,
            (Some(_), _) => Partition,
            _ if block.name.starts_with("md") => Md,
            _ => break,
        };
        found.insert(0, layer);
        next = parent.or_else(|| block.below.first().cloned());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_is_there() {
        let stacks = stacks();
        assert_eq!(stacks.iter().filter(|stack| stack.len() == 2).count(), 12);
        assert_eq!(stacks.iter().filter(|stack| stack.len() == 3).count(), 24);
        assert_eq!(stacks.iter().filter(|stack| stack.len() > 3).count(), DRAWN);
    }
}
