//! Containers that a TPM opens, enrolled by Debian 13's systemd-cryptenroll: a copy of one disk for each condition.

use std::sync::Arc;

use super::handoff::{handed_over, linked, root_is};
use super::luks::CRYPT;
use super::root_forms::STORAGE;
use crate::bed::{LUKS_UUID, PASSPHRASE, Recipe};
use crate::disk::PLAIN_UUID;
use crate::image::Image;
use crate::kernel::Series;
use crate::qemu::Bus;
use crate::scenario::{Boot, Scenario};

const KERNEL: Series = Series::V6_12;

/// The PIN of every token of the bed.
const PIN: &str = "4711";

/// What a register has that was never extended; the firmware has extended this one.
const NEVER: &str = "0000000000000000000000000000000000000000000000000000000000000000";

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![tpm()]
}

fn recipe() -> Arc<Recipe> {
    let script = format!(
        "\
cryptsetup luksFormat --batch-mode --type luks2 --uuid {LUKS_UUID} --pbkdf argon2id --pbkdf-memory 32768 \\
    --pbkdf-force-iterations 4 --pbkdf-parallel 1 --key-file passphrase $STATE
cryptsetup open --key-file passphrase $STATE opened
fill /dev/mapper/opened
cryptsetup close opened
for copy in $PIN $OTHER; do
    dd if=$STATE of=$copy bs=4M status=none
done
export PASSWORD=$(cat passphrase) NEWPIN={PIN}
systemd-cryptenroll --tpm2-device=auto --tpm2-pcrs=0+7 $STATE
systemd-cryptenroll --tpm2-device=auto --tpm2-pcrs=7 --tpm2-with-pin=yes $PIN
systemd-cryptenroll --tpm2-device=auto --tpm2-pcrs=7:sha256={NEVER} $OTHER
cryptsetup luksDump $PIN
"
    );
    Arc::new(Recipe {
        name: "tokens".to_owned(),
        script,
        disks: ["STATE", "PIN", "OTHER"].map(|disk| (disk.to_owned(), 192)).to_vec(),
        tpm: true,
        ..Recipe::default()
    })
}

fn boot(recipe: &Arc<Recipe>, disk: &str, option: &str) -> Boot {
    let image = Image::modules(&[STORAGE, CRYPT].concat());
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
    let pin = boot(&recipe, "PIN", auto)
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
    let none = boot(&recipe, "PIN", auto)
        .expect("this machine has no TPM 2.0")
        .expect("Passphrase for")
        .types(PASSPHRASE);
    Scenario {
        name: format!("luks-tpm2-{}", KERNEL.name()),
        boots: vec![unasked, pin, other, none],
        comparison: None,
    }
}
