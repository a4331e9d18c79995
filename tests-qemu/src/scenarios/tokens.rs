//! Containers that a TPM or a security key opens, enrolled by Debian 13's systemd-cryptenroll: a copy of one disk for each condition.

use std::sync::Arc;
use std::time::Duration;

use super::handoff::{handed_over, linked, root_is};
use super::luks::CRYPT;
use super::root_forms::STORAGE;
use crate::bed::{LUKS_UUID, PASSPHRASE, Recipe};
use crate::disk::PLAIN_UUID;
use crate::image::Image;
use crate::kernel::Series;
use crate::qemu::Bus;
use crate::scenario::{Boot, Scenario};
use crate::usb_key::{self, ENROLLED, UsbKey};

const KERNEL: Series = Series::V6_12;

/// The PIN of every token of the bed.
const PIN: &str = usb_key::PIN;

/// What the security key is reached by.
const USB: &[&str] = &["xhci_pci", "usbhid", "hid_generic"];

/// What a register has that was never extended; the firmware has extended this one.
const NEVER: &str = "0000000000000000000000000000000000000000000000000000000000000000";

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![tpm(), security_key()]
}

fn recipe() -> Arc<Recipe> {
    let script = format!(
        "\
cryptsetup luksFormat --batch-mode --type luks2 --uuid {LUKS_UUID} --pbkdf argon2id --pbkdf-memory 32768 \\
    --pbkdf-force-iterations 4 --pbkdf-parallel 1 --key-file passphrase $STATE
cryptsetup open --key-file passphrase $STATE opened
fill /dev/mapper/opened
cryptsetup close opened
for copy in $GUARDED $OTHER $KEY; do
    dd if=$STATE of=$copy bs=4M status=none
done
export PASSWORD=$(cat passphrase) NEWPIN={PIN}
systemd-cryptenroll --tpm2-device=auto --tpm2-pcrs=0+7 $STATE
systemd-cryptenroll --tpm2-device=auto --tpm2-pcrs=7 --tpm2-with-pin=yes $GUARDED
systemd-cryptenroll --tpm2-device=auto --tpm2-pcrs=7:sha256={NEVER} $OTHER
for module in xhci_pci usbhid hid_generic; do
    modprobe $module
done
for _ in $(seq 50); do
    [ -e /dev/hidraw0 ] && break
    sleep 0.2
done
mkdir credentials
printf {PIN} >credentials/cryptenroll.fido2-pin
export CREDENTIALS_DIRECTORY=$PWD/credentials
systemd-cryptenroll --fido2-device=/dev/hidraw0 --fido2-with-client-pin=no $KEY
systemd-cryptenroll --fido2-device=/dev/hidraw0 --fido2-with-client-pin=yes $OTHER
cryptsetup luksDump $OTHER
"
    );
    Arc::new(Recipe {
        name: "tokens".to_owned(),
        script,
        disks: ["STATE", "GUARDED", "OTHER", "KEY"].map(|disk| (disk.to_owned(), 192)).to_vec(),
        tokens: true,
        ..Recipe::default()
    })
}

fn boot(recipe: &Arc<Recipe>, disk: &str, option: &str) -> Boot {
    let image = Image::modules(&[STORAGE, CRYPT, USB].concat());
    let name = format!("luks-{LUKS_UUID}");
    let cmdline = format!("root=UUID={PLAIN_UUID} ro rd.luks.uuid={LUKS_UUID} {option}");
    let boot = Boot::new(KERNEL, image, cmdline).disk(recipe.disk(disk), Bus::VirtioBlk);
    let boot = root_is(handed_over(boot), "dm-0", "ext4", false);
    linked(boot, &format!("/dev/mapper/{name}"), "dm-0")
}

/// The state of the machine alone; that and a PIN; another state, and no TPM at all: then the passphrase is asked for.
fn tpm() -> Scenario {
    let recipe = recipe();
    let auto = "rd.luks.options=tpm2-device=auto";
    let unasked = boot(&recipe, "STATE", "").tpm(&recipe).never_shows("Passphrase for").never_shows("PIN of");
    let pin = boot(&recipe, "GUARDED", auto)
        .tpm(&recipe)
        .expect("PIN of the TPM 2.0 for vda")
        .types("4710")
        .expect("wrong PIN, 2 tries left")
        .expect("PIN of the TPM 2.0 for vda")
        .types(PIN)
        .never_shows("Passphrase for")
        .never_shows(PIN);
    let other = boot(&recipe, "OTHER", auto)
        .tpm(&recipe)
        .expect("not started as it was when the key was enrolled (one of the PCRs 7 differs)")
        .expect("Passphrase for")
        .types(PASSPHRASE);
    let none = boot(&recipe, "GUARDED", auto)
        .expect("this machine has no TPM 2.0")
        .expect("Passphrase for")
        .types(PASSPHRASE);
    Scenario {
        name: format!("luks-tpm2-{}", KERNEL.name()),
        boots: vec![unasked, pin, other, none],
        comparison: None,
    }
}

/// A touch that takes its time; a PIN, at first the wrong one; a key that is plugged in late, after another one was there in
/// vain; none at all.
fn security_key() -> Scenario {
    let recipe = recipe();
    let auto = "rd.luks.options=fido2-device=auto";
    let touch = boot(&recipe, "KEY", auto)
        .usb_key(UsbKey { touched_after: Duration::from_secs(2), ..ENROLLED })
        .expect("touch the security key to open vda")
        .never_shows("Passphrase for")
        .never_shows("PIN of");
    let pin = boot(&recipe, "OTHER", auto)
        .usb_key(ENROLLED)
        .expect("PIN of the security key for vda")
        .types("4710")
        .expect("wrong PIN, 2 tries left")
        .types(PIN)
        .never_shows("Passphrase for")
        .never_shows(PIN);
    let late = boot(&recipe, "KEY", auto)
        .usb_key(UsbKey { plugged: false, ..ENROLLED })
        .expect("waiting for the security key")
        .plug_usb_key()
        .never_shows("Passphrase for");
    let foreign = boot(&recipe, "KEY", &format!("{auto},token-timeout=5"))
        .usb_key(UsbKey { seed: b"another", ..ENROLLED })
        .expect("no security key that is plugged in was enrolled")
        .expect("Passphrase for")
        .types(PASSPHRASE);
    Scenario {
        name: format!("luks-fido2-{}", KERNEL.name()),
        boots: vec![touch, pin, late, foreign],
        comparison: None,
    }
}
