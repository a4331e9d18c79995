//! dm-verity and dm-integrity: roots that are checked while they are read, sound and damaged.

use std::sync::Arc;

use super::handoff::{handed_over, root_is};
use super::root_forms::STORAGE;
use crate::bed::{Recipe, Tree};
use crate::dialogue::{End, PROMPT, STOP};
use crate::disk::PLAIN_UUID;
use crate::image::{Extra, Image};
use crate::kernel::Series;
use crate::qemu::Bus;
use crate::scenario::{Boot, Scenario, Seen, ensure, equal};

const KERNEL: Series = Series::V6_12;
/// The drivers of both targets and of what they hash with.
const CHECKED: &[&str] = &["dm_verity", "dm_integrity", "crc32c_generic", "sha256_generic"];

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![verity(), integrity()]
}

fn image() -> Image {
    Image::modules(&[STORAGE, CHECKED].concat())
}

/// `$DISK` has data, hashes and error correction, with the partition UUIDs that the root hash says; `$BAD` is the same
/// with a changed byte that ext4 does not look at.
fn verity_disks() -> Arc<Recipe> {
    Arc::new(Recipe {
        name: "verity".to_owned(),
        script: "\
printf 'label: gpt\\nsize=120M\\nsize=8M\\nsize=16M\\n' | sfdisk -q $DISK
# Blocks as large as those of the hashes.
eval \"$(declare -f fill | sed 's/mke2fs/mke2fs -b 4096/')\"
fill ${DISK}1
veritysetup format --uuid 6a1e7c5d-0001-4000-8000-c0ffee0000d1 --salt 00ff11ee --fec-device ${DISK}3 ${DISK}1 ${DISK}2 >said
HASH=$(sed -n 's/^Root hash:[ \\t]*//p' said)
uuid() { echo ${1:0:8}-${1:8:4}-${1:12:4}-${1:16:4}-${1:20:12}; }
sfdisk -q --part-uuid $DISK 1 $(uuid ${HASH:0:32})
sfdisk -q --part-uuid $DISK 2 $(uuid ${HASH:32:32})
sfdisk -q --part-uuid $DISK 3 6a1e7c5d-0001-4000-8000-c0ffee0000f3
modprobe dm-verity
veritysetup open ${DISK}1 root ${DISK}2 $HASH
{ echo hash=$HASH; dmsetup info -c --noheadings -o uuid root; dmsetup table root; } >noted
veritysetup close root
veritysetup open --fec-device ${DISK}3 ${DISK}1 root ${DISK}2 $HASH
dmsetup table root >>noted
veritysetup close root
cat noted; cat noted >$DUMP
dd if=$DISK of=$BAD bs=1M
blockdev --rereadpt $BAD
printf x | dd of=${BAD}1 bs=1 seek=100
"
        .to_owned(),
        tree: Tree::Probe,
        disks: vec![("DISK".to_owned(), 160), ("BAD".to_owned(), 160)],
        ..Recipe::default()
    })
}

const FEC: &str =
    "systemd.verity_root_options=fec-device=PARTUUID=6a1e7c5d-0001-4000-8000-c0ffee0000f3,fec-roots=2";

fn verity() -> Scenario {
    let recipe = verity_disks();
    let boot = |disk: &str, words: &str| {
        Boot::new(KERNEL, image(), format!("roothash=${{hash}} rd.retry=5 rd.debug {words}"))
            .disk(recipe.disk(disk), Bus::VirtioBlk)
    };
    let reached = |boot: Boot| root_is(handed_over(boot), "dm-0", "ext4", false);
    let stopped = |boot: Boot, why: &str| {
        boot.expect(STOP).expect(why).expect(PROMPT).types("poweroff").stops_before_root()
    };
    let sound = reached(boot("DISK", ""))
        .check("the mapping is the one that veritysetup made", |seen| same_mapping(seen, 2))
        .root("the mapping is read-only", |verdict| {
            let root = verdict.mount("/").ok_or("/ is not a mount")?;
            ensure(root.super_options.split(',').any(|option| option == "ro"), || root.super_options.clone())
        });
    // The raw data device has the file system's UUID too, and is not taken.
    let by_uuid = reached(boot("DISK", &format!("root=UUID={PLAIN_UUID}")));
    // Left to the GPT, root is what the root hash names.
    let corrected = reached(boot("BAD", &format!("root=gpt-auto {FEC}")))
        .check("the mapping with error correction is veritysetup's", |seen| same_mapping(seen, 3));
    let ignored = reached(boot("BAD", "systemd.verity_root_options=ignore-corruption"));
    let failed = stopped(boot("BAD", ""), "ignore-corruption reads them all the same");
    let restarted = boot("BAD", "systemd.verity_root_options=restart-on-corruption").stops_before_root();
    let mut panicked = boot("BAD", "systemd.verity_root_options=panic-on-corruption").stops_before_root();
    panicked.end = End::Panic;
    let wrong = Boot::new(
        KERNEL,
        image(),
        format!("root=UUID={PLAIN_UUID} roothash={} rd.retry=5 systemd.verity_root_data=/dev/vda1 systemd.verity_root_hash=/dev/vda2", "0".repeat(64)),
    )
    .disk(recipe.disk("DISK"), Bus::VirtioBlk);
    let wrong = stopped(wrong, "compare the root hash on the command line");
    let mut unsigned = boot("DISK", "roothashsig=/etc/garbage.p7s");
    unsigned.image = image().with(Extra::Text("/etc/garbage.p7s", "no signature at all\n"));
    let unsigned = stopped(unsigned, "signature").shows("Root hash verification failed");
    Scenario {
        boots: vec![sound, by_uuid, corrected, ignored, failed, restarted, panicked, wrong, unsigned],
        ..Scenario::new("verity", Boot::new(KERNEL, Image::universal(), ""))
    }
}

/// Compares UUID and table with what the real tool made; the table stands in this line of the dump.
fn same_mapping(seen: &Seen, line: usize) -> Result<(), String> {
    let verdict = seen.verdict.as_ref().ok_or("no verdict arrived")?;
    let noted: Vec<&str> = seen.dump.lines().collect();
    let device = verdict.block("dm-0").ok_or("there is no dm-0")?;
    equal(&device.dm_uuid, noted.get(1).copied().unwrap_or_default())?;
    let made =
        verdict.own_log().find(|line| line.contains("create-dm root ")).ok_or("no create-dm in the log")?;
    let made = made.rsplit(' ').next().unwrap_or_default().replacen(',', " ", 3).replace("%20", " ");
    // Device numbers depend on the machine, and a dash is an empty salt.
    let words = |table: &str| -> Vec<String> {
        let number = |word: &str| word.split_once(':').is_some_and(|(major, _)| major.parse::<u32>().is_ok());
        table.split(' ').filter(|word| !number(word)).map(str::to_owned).collect()
    };
    equal(&words(&made), &words(noted.get(line).copied().unwrap_or_default()))
}

/// A root on standalone dm-integrity, named by the image's integritytab.
fn integrity() -> Scenario {
    let recipe = Arc::new(Recipe {
        name: "integrity".to_owned(),
        script: "\
modprobe dm-integrity
integritysetup format -q --no-wipe --tag-size 4 --sector-size 4096 $DISK
integritysetup open --integrity-recalculate $DISK root || integritysetup open $DISK root
dd if=/dev/zero of=/dev/mapper/root bs=1M oflag=direct || true
fill /dev/mapper/root
integritysetup close root
integritysetup open $DISK root
{ echo; dmsetup info -c --noheadings -o uuid root; dmsetup table root; } >noted
integritysetup close root
cat noted; cat noted >$DUMP
"
        .to_owned(),
        tree: Tree::Probe,
        disks: vec![("DISK".to_owned(), 160)],
        ..Recipe::default()
    });
    let image = image().with(Extra::Text("/etc/integritytab", "root /dev/vda - -\n"));
    let boot = Boot::new(KERNEL, image, "root=/dev/mapper/root rw rd.debug")
        .disk(recipe.disk("DISK"), Bus::VirtioBlk);
    let boot = root_is(handed_over(boot), "dm-0", "ext4", true).check(
        "UUID and length are those that integritysetup made",
        |seen| {
            let verdict = seen.verdict.as_ref().ok_or("no verdict arrived")?;
            let noted: Vec<&str> = seen.dump.lines().collect();
            let device = verdict.block("dm-0").ok_or("there is no dm-0")?;
            equal(&device.dm_uuid, noted.get(1).copied().unwrap_or_default())?;
            let length = noted.get(2).and_then(|table| table.split(' ').nth(1)).unwrap_or_default();
            equal(&device.sectors.to_string(), length)
        },
    );
    Scenario::new("integrity", boot)
}
