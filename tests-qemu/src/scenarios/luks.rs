//! LUKS2 in front of the root.

use super::handoff::{handed_over, linked, root_is};
use super::root_forms::STORAGE;
use crate::bed::{Disk, KEY, LUKS_UUID, PASSPHRASE};
use crate::disk::PLAIN_UUID;
use crate::image::{Extra, Image};
use crate::kernel::Series;
use crate::qemu::Bus;
use crate::scenario::{Boot, Scenario, ensure};

/// What dm-crypt and the key derivation's ciphers need. `algif_skcipher`: libcryptsetup decrypts the key
/// area through the kernel.
pub(super) const CRYPT: &[&str] = &["dm_crypt", "xts", "algif_skcipher"];

pub(super) fn scenarios() -> Vec<Scenario> {
    Series::ALL.into_iter().flat_map(|kernel| [passphrase(kernel), key_file(kernel)]).collect()
}

fn image() -> Image {
    Image::modules(&[STORAGE, CRYPT].concat())
}

fn passphrase(kernel: Series) -> Scenario {
    let name = format!("luks-{LUKS_UUID}");
    let boot = Boot::new(kernel, image(), format!("root=UUID={PLAIN_UUID} ro rd.luks.uuid={LUKS_UUID}"))
        .disk(Disk::Luks, Bus::VirtioBlk)
        .expect("Passphrase for")
        .types("wrong")
        .expect("Passphrase for")
        .types("also wrong")
        .expect("Passphrase for")
        .types(PASSPHRASE)
        .never_shows("also wrong")
        .never_shows(PASSPHRASE);
    Scenario::new("luks-passphrase-third", opened(boot, &name))
}

fn key_file(kernel: Series) -> Scenario {
    let boot = Boot::new(
        kernel,
        image().with(Extra::Text("/etc/keys/root.key", KEY)),
        format!(
            "root=/dev/mapper/secret rw rd.luks.name={LUKS_UUID}=secret rd.luks.key=/etc/keys/root.key:/"
        ),
    )
    .disk(Disk::Luks, Bus::VirtioBlk)
    .never_shows("Passphrase for");
    let boot = opened(boot, "secret");
    Scenario::new("luks-key-file", boot)
}

/// The mapping is as cryptsetup would have made it, and the real root's udev will take it over.
fn opened(boot: Boot, name: &str) -> Boot {
    let writable = boot.cmdline.contains(" rw ");
    let boot = root_is(handed_over(boot), "dm-0", "ext4", writable);
    let boot = linked(boot, &format!("/dev/mapper/{name}"), "dm-0");
    let boot = linked(boot, &format!("/dev/disk/by-uuid/{LUKS_UUID}"), "vda");
    let boot = linked(boot, &format!("/dev/disk/by-uuid/{PLAIN_UUID}"), "dm-0");
    let name = name.to_owned();
    boot.root("the mapping has cryptsetup's name and UUID", move |verdict| {
        let device = verdict.block("dm-0").ok_or("there is no dm-0")?;
        let uuid = format!("CRYPT-LUKS2-{}-{name}", LUKS_UUID.replace('-', ""));
        ensure(device.dm_name == name && device.dm_uuid == uuid, || format!("{device:?}"))
    })
    .root("the udev database says that the mapping was set up", |verdict| {
        let device = verdict.block("dm-0").ok_or("there is no dm-0")?;
        let path = format!("/run/udev/data/b{}", device.dev);
        let record = verdict.run.iter().find(|entry| entry.path == path);
        let content = record.and_then(|entry| entry.content.as_deref()).unwrap_or_default();
        let flag = content.lines().any(|line| line == "E:DM_UDEV_PRIMARY_SOURCE_FLAG=1");
        ensure(flag, || format!("{path} says {content:?}"))
    })
    .root("no secret and no stale udev socket is in /run", |verdict| {
        let secret = |text: &str| text.contains(PASSPHRASE) || text.contains(KEY);
        let leak = verdict.run.iter().find(|entry| entry.content.as_deref().is_some_and(secret));
        ensure(leak.is_none(), || format!("{leak:?}"))?;
        ensure(!verdict.run.iter().any(|entry| entry.path == "/run/udev/control"), || {
            "/run/udev/control is there and nobody serves it".to_owned()
        })
    })
}
