//! Encrypted containers beyond the ordinary one: headers and keys elsewhere, several of them, plain ones, little memory.
//!
//! The builder VM makes every mapping with cryptsetup first and notes its names, UUIDs and tables; what `/init` makes
//! of the same disks has to be the same.

use std::sync::Arc;
use std::time::Duration;

use super::handoff::{handed_over, linked, root_device, root_is};
use super::luks::CRYPT;
use super::root_forms::STORAGE;
use crate::bed::{KEY, LUKS_UUID, PASSPHRASE, Recipe, Tree};
use crate::disk::PLAIN_UUID;
use crate::image::{Extra, Image};
use crate::kernel::Series;
use crate::qemu::Bus;
use crate::scenario::{Boot, Scenario, ensure, equal};
use crate::verdict::Verdict;

const KERNEL: Series = Series::V6_12;

/// vfat with its code pages.
const VFAT: &[&str] = &["vfat", "nls_cp437", "nls_ascii", "nls_iso8859_1"];

/// UUID of the header that lies on a device of its own.
const HEADER: &str = "5d6e7f80-0001-4000-8000-c0ffee000001";
/// PARTUUIDs of the data whose headers lie elsewhere.
const PARTS: [&str; 2] = ["5d6e7f80-0001-4000-8000-c0ffee0000a1", "5d6e7f80-0001-4000-8000-c0ffee0000a2"];
/// UUIDs of three containers with one passphrase, the second of them within the first.
pub(super) const THREE: [&str; 3] = [
    "5d6e7f80-0003-4000-8000-c0ffee000001",
    "5d6e7f80-0003-4000-8000-c0ffee000002",
    "5d6e7f80-0003-4000-8000-c0ffee000003",
];
/// UUIDs of two containers of which each wants a gigabyte.
const LARGE: [&str; 2] = ["5d6e7f80-0004-4000-8000-c0ffee000001", "5d6e7f80-0004-4000-8000-c0ffee000002"];
/// UUID of the container that holds a key, and of the one that it opens.
const VAULT: [&str; 2] = ["5d6e7f80-0005-4000-8000-c0ffee000001", "5d6e7f80-0005-4000-8000-c0ffee000002"];
/// UUID of the image in which a key lies, and of the container that it opens.
const IMAGE: [&str; 2] = ["5d6e7f80-0006-4000-8000-c0ffee000001", "5d6e7f80-0006-4000-8000-c0ffee000002"];

/// UUID of the container whose key gpg has encrypted.
const GPG: &str = "5d6e7f80-0007-4000-8000-c0ffee000001";

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![memory(), detached(), late_key(), three(), plain(), key_source(), key_image(), key_gpg()]
}

/// Functions of all scripts: a LUKS container with a cheap key derivation, and what the mappings look like.
const FUNCTIONS: &str = "\
luks() {
    cryptsetup luksFormat --batch-mode --type luks2 --pbkdf argon2id --pbkdf-memory 32768 \\
        --pbkdf-force-iterations 4 --pbkdf-parallel 1 --key-file passphrase --uuid \"$@\"
}
unlock() { cryptsetup open --key-file passphrase \"$@\"; }
small() { mke2fs -q -t ext4 -m 0 \"$@\"; }
note() {
    { dmsetup info -c --noheadings --separator ' ' -o name,uuid | sort; echo; dmsetup table | sort; } >noted
    cat noted; cat noted >$DUMP
}
";

pub(super) fn recipe(name: &str, tree: Tree, disks: &[(&str, u64)], script: &str) -> Arc<Recipe> {
    Arc::new(Recipe {
        name: format!("crypt-{name}"),
        script: format!("{FUNCTIONS}{script}"),
        tree,
        disks: disks.iter().map(|(variable, size)| ((*variable).to_owned(), *size)).collect(),
        ..Recipe::default()
    })
}

pub(super) fn image(more: &[&str]) -> Image {
    Image::modules(&[STORAGE, CRYPT, more].concat())
}

/// The mappings are those that cryptsetup made: all of them, or those that are named.
pub(super) fn as_cryptsetup_made(boot: Boot, names: &'static [&'static str]) -> Boot {
    boot.check("the mappings have cryptsetup's names and UUIDs", move |seen| {
        let verdict = seen.verdict.as_ref().ok_or("no verdict arrived")?;
        let wanted: Vec<&str> = seen
            .dump
            .lines()
            .take_while(|line| !line.is_empty())
            .filter(|line| names.is_empty() || names.iter().any(|name| line.starts_with(&format!("{name} "))))
            .collect();
        ensure(!wanted.is_empty(), || format!("the builder noted {:?}", seen.dump))?;
        let mut made: Vec<String> = verdict
            .block
            .iter()
            .filter(|device| !device.dm_uuid.is_empty())
            .map(|device| format!("{} {}", device.dm_name, device.dm_uuid))
            .collect();
        made.sort();
        equal(&made, &wanted)
    })
    .root("no secret is in /run", no_secret)
}

fn no_secret(verdict: &Verdict) -> Result<(), String> {
    let secret = |text: &str| text.contains(PASSPHRASE) || text.contains(KEY);
    let leak = verdict.run.iter().find(|entry| entry.content.as_deref().is_some_and(secret));
    ensure(leak.is_none(), || format!("{leak:?}"))
}

/// The root is the mapping of this name.
pub(super) fn root_on(boot: Boot, name: &'static str) -> Boot {
    boot.root(format!("/ is on {name}"), move |verdict| {
        let device = root_device(verdict)?;
        let block = verdict.block(&device).ok_or_else(|| format!("there is no {device}"))?;
        equal(&block.dm_name, name)
    })
}

/// Data without a header: the root's header is a device, that of the other a file on a vfat stick, with its key. Twice:
/// as crypttab says, with the stick plugged in late, and as the command line says.
fn detached() -> Scenario {
    let script = format!(
        "printf 'label: gpt\\nsize=192M, uuid={0}\\nuuid={1}\\n' | sfdisk --quiet $DATA\n\
         luks {HEADER} --header $HEAD ${{DATA}}1\n\
         unlock --header $HEAD ${{DATA}}1 cryptroot\n\
         fill /dev/mapper/cryptroot\n\
         truncate -s 16M other.head\n\
         luks 5d6e7f80-0001-4000-8000-c0ffee000002 --header other.head ${{DATA}}2\n\
         cryptsetup luksAddKey --batch-mode --key-file passphrase --pbkdf pbkdf2 --pbkdf-force-iterations 1000 \
         other.head key\n\
         unlock --header other.head ${{DATA}}2 other\n\
         small /dev/mapper/other\n\
         mkfs.vfat -n KEYS $STICK\n\
         mkdir -p /stick /stick\n\
         mount $STICK /stick\n\
         mkdir /stick/keys\n\
         cp key /stick/keys/root.key\n\
         cp other.head /stick/\n\
         umount /stick\n\
         note\n",
        PARTS[0], PARTS[1]
    );
    let recipe = recipe("detached", Tree::Probe, &[("DATA", 256), ("HEAD", 20), ("STICK", 32)], &script);
    let crypttab = "\
cryptroot PARTUUID=5d6e7f80-0001-4000-8000-c0ffee0000a1 none luks,x-initrd.attach,header=UUID=5d6e7f80-0001-4000-8000-c0ffee000001
other PARTUUID=5d6e7f80-0001-4000-8000-c0ffee0000a2 /keys/root.key:LABEL=KEYS luks,x-initrd.attach,header=/other.head:LABEL=KEYS
";
    let by_table = Boot::new(
        KERNEL,
        image(VFAT).with(Extra::Text("/etc/crypttab", crypttab)),
        format!("root=UUID={PLAIN_UUID} ro"),
    )
    .disk(recipe.disk("DATA"), Bus::VirtioBlk)
    .disk(recipe.disk("HEAD"), Bus::VirtioScsi)
    .absent_disk(recipe.disk("STICK"), Bus::VirtioBlk)
    .expect("Passphrase for vda1 (cryptroot): ")
    .plug(2)
    .types(PASSPHRASE)
    .never_shows("Passphrase for vda2")
    .never_shows(PASSPHRASE);
    let by_words = Boot::new(
        KERNEL,
        image(&[]),
        format!(
            "root=/dev/mapper/cryptroot rw rd.luks.name={HEADER}=cryptroot rd.luks.data={HEADER}=PARTUUID={}",
            PARTS[0]
        ),
    )
    .disk(recipe.disk("DATA"), Bus::VirtioBlk)
    .disk(recipe.disk("HEAD"), Bus::Nvme)
    .expect("Passphrase for vda1 (cryptroot): ")
    .types(PASSPHRASE);
    let by_table = as_cryptsetup_made(root_on(handed_over(by_table), "cryptroot"), &[]);
    let by_words = as_cryptsetup_made(root_on(handed_over(by_words), "cryptroot"), &["cryptroot"]);
    Scenario { boots: vec![by_table, by_words], ..Scenario::new("luks-detached-header", empty()) }
}

/// Replaced by the boots of a scenario that has several.
pub(super) fn empty() -> Boot {
    Boot::new(KERNEL, Image::modules(&[]), "")
}

/// The key lies on a vfat stick that is plugged in when the boot has been waiting for it for a while.
fn late_key() -> Scenario {
    let script = format!(
        "luks {LUKS_UUID} $DISK\n\
         cryptsetup luksAddKey --batch-mode --key-file passphrase --pbkdf pbkdf2 --pbkdf-force-iterations 1000 $DISK key\n\
         unlock $DISK secret\n\
         fill /dev/mapper/secret\n\
         mkfs.vfat -n KEYSTICK $STICK\n\
         mkdir -p /stick\n\
         mount $STICK /stick\n\
         mkdir /stick/keys\n\
         cp key /stick/keys/root.key\n\
         umount /stick\n\
         note\n"
    );
    let recipe = recipe("late-key", Tree::Probe, &[("DISK", 192), ("STICK", 32)], &script);
    let boot = Boot::new(
        KERNEL,
        image(VFAT),
        format!(
            "root=/dev/mapper/secret ro rd.luks.name={LUKS_UUID}=secret rd.luks.key.tout=600 \
             rd.luks.key=/keys/root.key:LABEL=KEYSTICK:UUID=c1f3a2b4"
        ),
    )
    .disk(recipe.disk("DISK"), Bus::VirtioBlk)
    .absent_disk(recipe.disk("STICK"), Bus::VirtioScsi)
    .expect("waits for the device with its key file")
    .plug(1)
    .never_shows("Passphrase for");
    let boot = as_cryptsetup_made(root_is(handed_over(boot), "dm-0", "ext4", false), &[]);
    Scenario::new("luks-late-key-stick", linked(boot, "/dev/mapper/secret", "dm-0"))
}

/// LUKS1 around the LUKS2 of the root, and a LUKS2 beside them.
pub(super) fn three_disks() -> Arc<Recipe> {
    let [outer, inner, beside] = THREE;
    let script = format!(
        "cryptsetup luksFormat --batch-mode --type luks1 --uuid {outer} --pbkdf-force-iterations 1000 \
         --key-file passphrase $ONE\n\
         unlock $ONE luks-{outer}\n\
         luks {inner} /dev/mapper/luks-{outer}\n\
         unlock /dev/mapper/luks-{outer} luks-{inner}\n\
         fill /dev/mapper/luks-{inner}\n\
         luks {beside} $TWO\n\
         unlock $TWO luks-{beside}\n\
         small /dev/mapper/luks-{beside}\n\
         note\n"
    );
    recipe("three", Tree::Probe, &[("ONE", 224), ("TWO", 32)], &script)
}

/// One passphrase, typed once, opens all three.
fn three() -> Scenario {
    let [outer, inner, beside] = THREE;
    let recipe = three_disks();
    let boot = Boot::new(
        KERNEL,
        image(&[]),
        format!("root=UUID={PLAIN_UUID} ro rd.luks.uuid={outer} rd.luks.uuid={inner} rd.luks.uuid={beside}"),
    )
    .disk(recipe.disk("ONE"), Bus::VirtioBlk)
    .disk(recipe.disk("TWO"), Bus::VirtioScsi)
    // Typed ahead: neither shown nor lost.
    .expect("rootward: ")
    .types(PASSPHRASE)
    .never_shows(PASSPHRASE)
    .never_shows("wrong passphrase");
    let boot = root_on(handed_over(boot), "luks-5d6e7f80-0003-4000-8000-c0ffee000002");
    Scenario::new("luks-three-one-passphrase", as_cryptsetup_made(boot, &[]))
}

/// Two containers that each want a gigabyte open one after the other on a machine with two.
fn memory() -> Scenario {
    let [one, two] = LARGE;
    // The key derivation is made dear last: emulated, each costs most of a minute.
    let dear = "cryptsetup luksConvertKey --batch-mode --key-slot 0 --pbkdf argon2id --pbkdf-memory 1048576 \
                --pbkdf-force-iterations 4 --pbkdf-parallel 2 --key-file passphrase";
    let script = format!(
        "luks {one} $ONE\nunlock $ONE luks-{one}\nfill /dev/mapper/luks-{one}\n\
         luks {two} $TWO\nunlock $TWO luks-{two}\nsmall /dev/mapper/luks-{two}\n\
         note\ncryptsetup close luks-{one}\ncryptsetup close luks-{two}\n\
         {dear} $ONE\n{dear} $TWO\ncryptsetup luksDump $ONE >about\ngrep -q 'Memory: *1048576' about\n"
    );
    let recipe = recipe("memory", Tree::Probe, &[("ONE", 192), ("TWO", 32)], &script);
    let boot = Boot::new(
        KERNEL,
        image(&[]),
        format!("root=UUID={PLAIN_UUID} ro rd.luks.uuid={one} rd.luks.uuid={two}"),
    )
    .disk(recipe.disk("ONE"), Bus::VirtioBlk)
    .disk(recipe.disk("TWO"), Bus::VirtioBlk)
    .memory(2048)
    .patience(Duration::from_secs(120))
    .expect("Passphrase for")
    .types(PASSPHRASE)
    .never_shows("Out of memory")
    .never_shows("wrong passphrase");
    let boot = root_on(handed_over(boot), "luks-5d6e7f80-0004-4000-8000-c0ffee000001");
    Scenario::new("luks-memory", as_cryptsetup_made(boot, &[]))
}

/// Header of a VeraCrypt volume of 160 MiB, in base64: format version 5, AES in XTS, SHA-512, PIM 1, [`PASSPHRASE`]. No tool here
/// makes one, and in those of cryptsetup's tests the derivation of the key takes half a million rounds and more.
const VERACRYPT: &str = "\
7Zk2mD1z09tn/CAihTI49/ebfmqVt5yT1Mt278lim2VaNIXJFg1HZxj73NcIKMxS6nRXUVe9f9rr8NHsUK0+fNOHanhK9UGLUI0N\
TT4xG9b02V/gOvQN6nV/kxRDvdfomPomOmcJXA06wC2pmDNEJvDoG3Z5eewk5TIMw4qJQKbmrcNgyXl9blrXtdwaRbsg3s8nmp+D\
5IyokGX62Dya9m+HEGNvzch5kxmuWivt64AuC7ffF4HhBwojD1ZsqZ5bJ68+eIMcLWmpdK8f4kAaABkbmFpMFazFkk9H1QkUHbPn\
xAQUKs7GnxnAJmqhkSj0ZkEqVqeW/s5YXrCofa+LT7QksAAwC0fKjHvERzC/ebOJ0uOVHiCDDJNJTfkCzt7i/8WGa4TszsdD7KPe\
VcIzVojmWevPDXO5vZSayU7amxoR8MqJIEebHNZ50AO7S3X30f2YoohqVK3lJXdvJXM7JGDhrrizBQ5xL5omGjGVh/HDHFP78sTE\
lmi3roxWcbSRINOWDhI5kf1EFgs4Ogn0agAB/Q3HgFSF+qcK/Ueg07tyIzwW2zZcwe8IG1ijJt0nV8AzPWzVpzrnxiUrqC9VxdYi\
EiIAHOY9ZeGhu6ahIG6y3V1vYF245O7KczXREphSPooBWEVuzbHAP0algbrlWXC87t1UeiPxUkv3XK5nTqc=";

/// Plain dm-crypt whose key lies on a partition as such, at an offset; on it a VeraCrypt volume with the root.
fn plain() -> Scenario {
    let script = format!(
        "printf 'label: gpt\\nsize=1M, name=key\\nname=bare\\n' | sfdisk --quiet $DISK\n\
         dd if=/dev/urandom of=${{DISK}}1 bs=512 count=4 status=none\n\
         dd if=${{DISK}}1 of=plain.key bs=1 skip=512 count=64 status=none\n\
         cryptsetup open --type plain --cipher aes-xts-plain64 --key-size 512 --key-file plain.key ${{DISK}}2 bare\n\
         echo {VERACRYPT} | base64 -d >/dev/mapper/bare\n\
         cryptsetup open --type tcrypt --veracrypt --veracrypt-pim 1 /dev/mapper/bare vera <passphrase\n\
         fill /dev/mapper/vera\n\
         note\n"
    );
    let recipe = recipe("plain", Tree::Probe, &[("DISK", 192)], &script);
    let crypttab = "\
bare PARTLABEL=bare /dev/disk/by-partlabel/key plain,cipher=aes-xts-plain64,size=512,keyfile-offset=512,x-initrd.attach
vera /dev/mapper/bare none tcrypt-veracrypt,veracrypt-pim=1,x-initrd.attach
";
    let boot = Boot::new(
        KERNEL,
        image(&[]).with(Extra::Text("/etc/crypttab", crypttab)),
        "root=/dev/mapper/vera rw",
    )
    .disk(recipe.disk("DISK"), Bus::VirtioScsi)
    .expect("Passphrase for dm-0 (vera): ")
    .types(PASSPHRASE)
    .never_shows("wrong passphrase")
    .never_shows("Passphrase for sda")
    .never_shows(PASSPHRASE);
    let boot = as_cryptsetup_made(root_is(handed_over(boot), "dm-1", "ext4", true), &[]);
    Scenario::new("crypt-plain", boot)
}

/// A container that holds the key of another: asked for at once, closed before the hand-over.
fn key_source() -> Scenario {
    let [vault, root] = VAULT;
    let script = format!(
        "luks {vault} $VAULT\n\
         unlock $VAULT vault\n\
         small -L vault /dev/mapper/vault\n\
         mkdir /vault\n\
         mount /dev/mapper/vault /vault\n\
         cp key /vault/root.key\n\
         umount /vault\n\
         cryptsetup close vault\n\
         cp passphrase kept\n\
         cp key passphrase\n\
         luks {root} $DISK\n\
         unlock $DISK root\n\
         fill /dev/mapper/root\n\
         note\n"
    );
    let recipe = recipe("vault", Tree::Probe, &[("DISK", 192), ("VAULT", 32)], &script);
    let boot = Boot::new(
        KERNEL,
        image(&[]),
        format!(
            "root=/dev/mapper/root ro rd.luks.uuid=keysource:{vault} rd.luks.name={root}=root \
             rd.luks.key=/root.key:LABEL=vault"
        ),
    )
    .disk(recipe.disk("DISK"), Bus::VirtioBlk)
    .disk(recipe.disk("VAULT"), Bus::VirtioBlk)
    .expect("Passphrase for vdb (luks-5d6e7f80-0005-4000-8000-c0ffee000001): ")
    .types(PASSPHRASE)
    .never_shows("Passphrase for vda");
    Scenario::new("luks-key-source", as_cryptsetup_made(root_on(handed_over(boot), "root"), &[]))
}

/// A key that gpg has encrypted, on a stick; nothing of gpg is in the image.
fn key_gpg() -> Scenario {
    let root = GPG;
    let script = format!(
        "\
mkfs.vfat -n KEYS $STICK
mkdir -p /stick
mount $STICK /stick
dd if=/dev/urandom of=plaintext bs=64 count=4 status=none
gpg --homedir $(mktemp -d) --batch --pinentry-mode loopback --passphrase-file passphrase \\
    --output /stick/root.gpg --symmetric plaintext
umount /stick
cp plaintext passphrase
luks {root} $DISK
unlock $DISK root
fill /dev/mapper/root
note
"
    );
    let disks = [("DISK", 192), ("STICK", 48)];
    let recipe = recipe("gpg", Tree::Probe, &disks, &script);
    let boot = Boot::new(
        KERNEL,
        image(VFAT),
        format!("root=/dev/mapper/root ro rd.luks.name={root}=root rd.luks.key=/root.gpg:LABEL=KEYS"),
    )
    .disk(recipe.disk("DISK"), Bus::VirtioBlk)
    .disk(recipe.disk("STICK"), Bus::VirtioBlk)
    .expect("Passphrase for /root.gpg, the key of vda (root): ")
    .types("wrong")
    .expect("wrong passphrase, 4 tries left")
    .expect("Passphrase for /root.gpg")
    .types(PASSPHRASE)
    .never_shows(PASSPHRASE);
    Scenario::new("luks-key-gpg", as_cryptsetup_made(root_on(handed_over(boot), "root"), &[]))
}

/// The key of the root is the plaintext of a LUKS image on a vfat stick, whose passphrase is asked for; nothing of that is
/// left in the real root.
fn key_image() -> Scenario {
    let [seal, root] = IMAGE;
    // The builder's cryptsetup would want a loop device for a file.
    let script = format!(
        "luks {seal} $SEAL\n\
         unlock $SEAL seal\n\
         dd if=/dev/urandom of=/dev/mapper/seal bs=64k status=none || true\n\
         mkfs.vfat -n KEYS $STICK\n\
         mkdir -p /stick\n\
         mount $STICK /stick\n\
         cat /dev/mapper/seal >plaintext\n\
         cryptsetup close seal\n\
         cat $SEAL >/stick/root.img\n\
         umount /stick\n\
         cp plaintext passphrase\n\
         luks {root} $DISK\n\
         unlock $DISK root\n\
         fill /dev/mapper/root\n\
         note\n"
    );
    let disks = [("DISK", 192), ("STICK", 48), ("SEAL", 18)];
    let recipe = recipe("image", Tree::Probe, &disks, &script);
    let boot = Boot::new(
        KERNEL,
        image(&[VFAT, &["loop"]].concat()),
        format!("root=/dev/mapper/root ro rd.luks.name={root}=root rd.luks.key=/root.img:LABEL=KEYS"),
    )
    .disk(recipe.disk("DISK"), Bus::VirtioBlk)
    .disk(recipe.disk("STICK"), Bus::VirtioBlk)
    .expect("Passphrase for /root.img, the key of vda (root): ")
    .types("wrong")
    .expect("wrong passphrase, 4 tries left")
    .expect("Passphrase for /root.img")
    .types(PASSPHRASE)
    .never_shows(PASSPHRASE)
    .root("no loop device is left", |verdict| {
        let used = verdict.block.iter().find(|device| device.name.starts_with("loop") && device.sectors > 0);
        ensure(used.is_none(), || format!("{used:?}"))
    });
    Scenario::new("luks-key-image", as_cryptsetup_made(root_on(handed_over(boot), "root"), &[]))
}
