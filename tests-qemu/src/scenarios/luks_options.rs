//! Encrypted containers whose tables are more than those of the ordinary one: foreign formats, performance options, data
//! that is proven, and the words that choose a container by its place.

use std::sync::Arc;
use std::time::Duration;

use super::crypt::{as_cryptsetup_made, empty, image, recipe, root_on};
use super::handoff::handed_over;
use crate::bed::{Disk, PASSPHRASE, Tree};
use crate::disk::PLAIN_UUID;
use crate::image::{Extra, Image};
use crate::kernel::Series;
use crate::qemu::Bus;
use crate::rootfs::Release;
use crate::samples::Sample;
use crate::scenario::{Boot, Scenario, ensure, equal};

const KERNEL: Series = Series::V6_12;

/// PARTUUIDs of the containers whose data is proven, which are also their names.
const PROVEN: [&str; 2] = ["5d6e7f80-0008-4000-8000-c0ffee0000a1", "5d6e7f80-0008-4000-8000-c0ffee0000a2"];

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![foreign(), proven()]
}

/// Data proven by a hash, which is the root, and by the cipher itself; first chosen by their partitions, with a device as
/// the key of the root, then by the serial number of their drive, with a part of that device as the key of both.
fn proven() -> Scenario {
    let [hash, cipher] = PROVEN;
    let script = format!(
        "\
printf 'label: gpt\\nsize=56M, uuid={hash}\\nuuid={cipher}\\n' | sfdisk --quiet $DISK
dd if=/dev/urandom of=$KEY bs=512 count=8 status=none
add() {{ cryptsetup luksAddKey --batch-mode --key-file passphrase --pbkdf pbkdf2 --pbkdf-force-iterations 1000 \"$@\"; }}
luks 5d6e7f80-0008-4000-8000-c0ffee000001 --integrity hmac-sha256 --sector-size 4096 ${{DISK}}1
add ${{DISK}}1 $KEY
luks 5d6e7f80-0008-4000-8000-c0ffee000002 --cipher aes-gcm-random --key-size 256 --integrity aead --sector-size 4096 ${{DISK}}2
for part in ${{DISK}}1 ${{DISK}}2; do
    add --new-keyfile-offset 512 --new-keyfile-size 64 $part $KEY
done
unlock ${{DISK}}1 luks-{hash}
fill /dev/mapper/luks-{hash}
unlock ${{DISK}}2 luks-{cipher}
small /dev/mapper/luks-{cipher}
note
"
    );
    let recipe = recipe("proven", Tree::Probe, &[("DISK", 88), ("KEY", 1)], &script);
    // What a host-only image of such a root has.
    let image = || image(&["dm_integrity", "authenc", "gcm", "ghash_generic"]);
    let ignored = "other UUID=5d6e7f80-0008-4000-8000-c0ffee000001 none luks,x-initrd.attach\n";
    let by_part = Boot::new(
        KERNEL,
        image().with(Extra::Text("/etc/crypttab", ignored)),
        format!(
            "root=UUID={PLAIN_UUID} rw rd.luks.crypttab=0 rd.luks.partuuid={hash} rd.luks.partuuid={cipher} \
             rd.luks.key=5d6e7f80-0008-4000-8000-c0ffee000001=/dev/vdb"
        ),
    )
    .disk(recipe.disk("DISK"), Bus::VirtioBlk)
    .disk(recipe.disk("KEY"), Bus::VirtioBlk)
    .expect("Passphrase for vda2 (luks-5d6e7f80-0008-4000-8000-c0ffee0000a2): ")
    .types(PASSPHRASE)
    .never_shows("Passphrase for vda1")
    .never_shows(PASSPHRASE);
    let crypttab = "\
luks-5d6e7f80-0008-4000-8000-c0ffee0000a1 UUID=5d6e7f80-0008-4000-8000-c0ffee000001 /dev/vda keyfile-offset=512,keyfile-size=64
luks-5d6e7f80-0008-4000-8000-c0ffee0000a2 UUID=5d6e7f80-0008-4000-8000-c0ffee000002 /dev/vda keyfile-offset=512,keyfile-size=64
";
    let by_serial = Boot::new(
        KERNEL,
        image().with(Extra::Text("/etc/crypttab", crypttab)),
        format!("root=UUID={PLAIN_UUID} ro rd.luks.serial=PROVEN-7"),
    )
    .disk(recipe.disk("DISK"), Bus::Nvme)
    .serial("PROVEN-7")
    .disk(recipe.disk("KEY"), Bus::VirtioBlk)
    .never_shows("Passphrase for");
    let name = "luks-5d6e7f80-0008-4000-8000-c0ffee0000a1";
    let boots = [by_part, by_serial].map(|boot| as_cryptsetup_made(root_on(handed_over(boot), name), &[]));
    Scenario { boots: boots.into(), ..Scenario::new("luks-integrity", empty()) }
}

/// Volumes of Windows and TrueCrypt: those of cryptsetup's own tests.
const SAMPLES: &[Sample] = &[
    Sample {
        variable: "ELEPHANT",
        archive: "bitlk-images.tar.xz",
        file: "bitlk-images/bitlk-aes-cbc-elephant-128.img",
    },
    Sample { variable: "XTS", archive: "bitlk-images.tar.xz", file: "bitlk-images/bitlk-aes-xts-256.img" },
    Sample {
        variable: "CASCADE",
        archive: "tcrypt-images.tar.xz",
        file: "tcrypt-images/tc_5-sha512-xts-serpent-twofish-aes",
    },
    Sample {
        variable: "HIDDEN",
        archive: "tcrypt-images.tar.xz",
        file: "tcrypt-images/tc_5-sha512-xts-aes-hidden",
    },
];

/// UUIDs of the containers with performance options, with discards, and with data proven by a hash.
const TABLES: [&str; 3] = [
    "5d6e7f80-0009-4000-8000-c0ffee000001",
    "5d6e7f80-0009-4000-8000-c0ffee000002",
    "5d6e7f80-0009-4000-8000-c0ffee000003",
];

/// BitLocker (both of its modes) and TrueCrypt (a cascade of ciphers, a hidden volume), and LUKS with options, beside the root
/// of a Debian, whose own tools then say what was made.
fn foreign() -> Scenario {
    let [tuned, trimmed, proven] = TABLES;
    let script = format!(
        "printf anaconda | cryptsetup open --type bitlk --key-file - $ELEPHANT elephant\n\
         printf anaconda | cryptsetup open --type bitlk --key-file - $XTS windows\n\
         printf aaaaaaaaaaaa | cryptsetup open --type tcrypt $CASCADE cascade\n\
         printf bbbbbbbbbbbb | cryptsetup open --type tcrypt --tcrypt-hidden $HIDDEN hidden\n\
         printf bbbbbbbbbbbb >passphrase\n\
         luks {tuned} $TUNED\n\
         unlock --allow-discards --perf-no_read_workqueue --perf-no_write_workqueue --perf-same_cpu_crypt \
         $TUNED tuned\n\
         luks {trimmed} $TRIMMED\n\
         unlock --allow-discards --perf-submit_from_crypt_cpus $TRIMMED trimmed\n\
         luks {proven} --integrity hmac-sha256 $PROVEN\n\
         unlock $PROVEN proven\n\
         note\n"
    );
    let disks = [("TUNED", 20), ("TRIMMED", 20), ("PROVEN", 24)];
    let recipe = recipe("foreign", Tree::Debian(Release::Trixie), &disks, &script);
    let disk = |variable: &str| Disk::BuiltFrom(Arc::clone(&recipe), SAMPLES, variable.to_owned());
    let crypttab = "\
elephant /dev/vdb none bitlk,x-initrd.attach
windows ID=virtio-rw2 none bitlk,x-initrd.attach
cascade /dev/vdd /etc/keys/outer tcrypt,x-initrd.attach
hidden /dev/vde /etc/keys/hidden tcrypt-hidden,x-initrd.attach
tuned /dev/vdf /etc/keys/hidden luks,x-initrd.attach
trimmed /dev/vdg /etc/keys/hidden submit-from-crypt-cpus,x-initrd.attach
proven /dev/vdh /etc/keys/hidden x-initrd.attach
";
    let image = Image::universal()
        .with(Extra::Text("/etc/crypttab", crypttab))
        .with(Extra::Text("/etc/keys/outer", "aaaaaaaaaaaa\n"))
        .with(Extra::Text("/etc/keys/hidden", "bbbbbbbbbbbb"));
    let words = format!(
        "root=UUID={PLAIN_UUID} ro rd.luks.allow-discards={trimmed} \
         rd.luks.options={tuned}=discard,no-read-workqueue,no-write-workqueue,same-cpu-crypt"
    );
    let boot = Boot::new(KERNEL, image, words)
        .disk(Disk::Debian(Release::Trixie), Bus::VirtioBlk)
        .disk(disk("ELEPHANT"), Bus::VirtioBlk)
        .disk(disk("XTS"), Bus::VirtioBlk)
        .disk(disk("CASCADE"), Bus::VirtioBlk)
        .disk(disk("HIDDEN"), Bus::VirtioBlk)
        .disk(disk("TUNED"), Bus::VirtioBlk)
        .disk(disk("TRIMMED"), Bus::VirtioBlk)
        .disk(disk("PROVEN"), Bus::VirtioBlk)
        .memory(768)
        .patience(Duration::from_secs(150))
        .expect("Passphrase for vdb (elephant), vdc (windows): ")
        .types("anaconda")
        .check("the tables are those that cryptsetup made", |seen| {
            let verdict = seen.verdict.as_ref().ok_or("no verdict arrived")?;
            let (_, wanted) = seen.dump.split_once("\n\n").ok_or("the builder noted nothing")?;
            let mut made: Vec<String> =
                verdict.command("dmsetup table").stdout.lines().map(without_places).collect();
            made.sort();
            equal(&made, &wanted.lines().map(without_places).collect::<Vec<_>>())
        })
        .root("the TrueCrypt volumes hold the file systems that their makers put there", |verdict| {
            let listing =
                verdict.command("lsblk --json -o NAME,KNAME,TYPE,FSTYPE,UUID,LABEL,MOUNTPOINT").stdout;
            for word in ["DEAD-BABE", "CAFE-BABE", "ntfs"] {
                ensure(listing.contains(word), || format!("no {word} in {listing}"))?;
            }
            Ok(())
        })
        .root("systemd is running", |verdict| {
            equal(&verdict.command("systemctl is-system-running --wait").stdout, "running")
        });
    Scenario::new("crypt-foreign-formats", as_cryptsetup_made(boot, &[]))
}

/// A line of `dmsetup table` without device numbers, which depend on the machine.
fn without_places(line: &str) -> String {
    let is_number = |word: &str| {
        word.split_once(':')
            .is_some_and(|(major, minor)| major.parse::<u32>().is_ok() && minor.parse::<u32>().is_ok())
    };
    let words: Vec<&str> = line.split(' ').map(|word| if is_number(word) { "-" } else { word }).collect();
    words.join(" ")
}
