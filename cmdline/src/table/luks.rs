//! Encrypted containers.

use std::time::Duration;

use super::{Expected, Family, Kind, Row, means, old, same};
use crate::luks;
use crate::plan::LuksIdKind;

const F: Family = Family::Luks;

const ID: Expected = "[keysource:][luks-]ID";
const KEY: Expected = "PATH[:KEYDEV[:LUKSDEV]] or UUID=PATH[:KEYDEV]";

pub(super) static ROWS: &[Row] = &[
    Row::done(
        "rd.luks",
        Kind::Flag(true, Some(|plan, on| plan.luks.enabled = on)),
        "Off: every encrypted container is left alone.",
    )
    .aliases(&[same("luks"), means("rd_NO_LUKS", "0")])
    .family(F)
    .must(),
    Row::done(
        "rd.luks.uuid",
        Kind::List(Some(|plan, value| luks::add_selector(&mut plan.luks, LuksIdKind::Uuid, value))),
        "Opens the container whose LUKS UUID contains this id, and no others than those named. `keysource:` marks one that only holds key files.",
    )
    .syntax(ID)
    .aliases(&[same("luks.uuid"), old("rd_LUKS_UUID")])
    .absent("`rd.auto` decides")
    .family(F)
    .must(),
    Row::done(
        "rd.luks.partuuid",
        Kind::List(Some(|plan, value| luks::add_selector(&mut plan.luks, LuksIdKind::PartUuid, value))),
        "As `rd.luks.uuid`, by the UUID of the partition. When given, `rd.luks.serial` and `rd.luks.uuid` are not used.",
    )
    .syntax(ID)
    .aliases(&[old("rd_LUKS_PARTUUID")])
    .family(F),
    Row::done(
        "rd.luks.serial",
        Kind::List(Some(|plan, value| luks::add_selector(&mut plan.luks, LuksIdKind::Serial, value))),
        "As `rd.luks.uuid`, by the serial number of the drive. When given, `rd.luks.uuid` is not used.",
    )
    .syntax(ID)
    .aliases(&[old("rd_LUKS_SERIAL")])
    .family(F),
    Row::done(
        "rd.luks.name",
        Kind::List(Some(|plan, value| luks::add_name(&mut plan.luks, value))),
        "Name of the opened container; alone it also asks for the container to be opened.",
    )
    .syntax("UUID=NAME")
    .aliases(&[same("luks.name")])
    .absent("the name in crypttab, else `luks-ID`")
    .family(F)
    .must(),
    Row::done(
        "rd.luks.crypttab",
        Kind::Flag(true, Some(|plan, on| plan.luks.crypttab = on)),
        "Whether the image's crypttab is used.",
    )
    .aliases(&[same("luks.crypttab"), means("rd_NO_CRYPTTAB", "0")])
    .family(F)
    .must(),
    Row::done(
        "rd.luks.allow-discards",
        Kind::List(Some(|plan, value| luks::allow_discards(&mut plan.luks, value))),
        "Passes discards through: bare for all containers, with a UUID for that one alone.",
    )
    .syntax("nothing, or a UUID")
    .bare()
    .family(F),
    Row::done(
        "rd.luks.key",
        Kind::List(Some(|plan, value| {
            let key = luks::key(value)?;
            plan.luks.keys.push(key);
            Ok(())
        })),
        "A key file. KEYDEV is `/` for the initramfs, `/dev/NAME`, `UUID=`, `LABEL=`, or absent for the initramfs and then every device (with a UUID in front: the initramfs alone); LUKSDEV is `UUID=`, `LABEL=`, `/dev/NAME`, or absent for all containers. If its name ends in `.img` it is a LUKS image, in `.gpg` a file of `gpg --symmetric` (AES); a passphrase opens either, and its plaintext is the key (at most 8 MiB).",
    )
    .syntax(KEY)
    .aliases(&[same("luks.key")])
    .family(F)
    .must(),
    Row::done(
        "rd.luks.key.tout",
        Kind::Int {
            default: 10,
            min: 0,
            max: 86_400,
            set: Some(|plan, seconds| {
                plan.luks.key_timeout = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
            }),
        },
        "Seconds to wait for a key device before a passphrase is asked for.",
    )
    .family(F),
    Row::done(
        "rd.luks.timeout",
        Kind::Time(None, Some(|plan, limit| plan.luks.prompt_timeout = limit.filter(|limit| !limit.is_zero()))),
        "How long a passphrase is asked for, anew after each answer; 0 is for ever, and `timeout=` among the options of a container goes before it. A container that nobody has typed for stays locked; the boot goes on if root is elsewhere.",
    )
    .family(F),
    Row::done(
        "rd.luks.options",
        Kind::List(Some(|plan, value| luks::add_options(&mut plan.luks, value))),
        "Options of crypttab(5) for one container or, without a UUID, for all. They are added to those of its row in crypttab, and of several about one thing the last counts. What has `noauto` is opened only if root is its mapping, named or not (`auto` takes that back); what has `swap` or `tmp` never is. `tpm2-device=` and `fido2-device=` (`auto` or a node) have a TPM 2.0 or a security key give the key that systemd-cryptenroll enrolled; a PIN is asked for where it needs one, and the passphrase where it gives no key. `token-timeout=` is how long the device is waited for (30 s).",
    )
    .syntax("[UUID=]OPTION[,OPTION...]")
    .aliases(&[same("luks.options")])
    .family(F),
    Row::done(
        "rd.luks.data",
        Kind::List(Some(|plan, value| luks::add_data(&mut plan.luks, value))),
        "The data device of the container with this UUID, whose header is elsewhere: where `header=` says, else on the device that has this UUID.",
    )
    .syntax("UUID=DEVICE")
    .aliases(&[same("luks.data")])
    .family(F),
    Row::inert(
        "rd.luks.smartcard",
        "keys are not decrypted with OpenPGP cards; use a key file on a device of its own (rd.luks.key=PATH:UUID=ID).",
    )
    .family(F)
    .legacy(),
    Row::inert("rd_LUKS_KEYDEV_UUID", "write rd.luks.key=PATH:UUID=ID instead.").family(F).legacy(),
    Row::inert("rd_LUKS_KEYPATH", "write rd.luks.key=PATH instead.").family(F).legacy(),
];
