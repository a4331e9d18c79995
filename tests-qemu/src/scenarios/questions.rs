//! Who is asked for a passphrase, and who answers: consoles and their keyboards, somebody who leaves a shell, a password agent,
//! nobody.

use super::crypt::{THREE, image, three_disks};
use super::handoff::{handed_over, root_is};
use crate::bed::{Disk, LUKS_UUID, PASSPHRASE};
use crate::dialogue::{End, PROMPT};
use crate::disk::PLAIN_UUID;
use crate::image::{Extra, Image};
use crate::kernel::Series;
use crate::qemu::Bus;
use crate::scenario::{Boot, Scenario, ensure};

const KERNEL: Series = Series::V6_12;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        two_consoles(),
        after_a_shell(),
        keymap("keymap-default", "", "horreht corse", "Passphrase for"),
        keymap("keymap-named", "rd.vconsole.keymap=ch-or", "hrooeht crose", "Passphrase for"),
        keymap("keymap-us", "rd.vconsole.keymap=us", "correct horse", "Passphrase for"),
        keymap("keymap-missing", "rd.vconsole.keymap=fr", "horreht corse", "the image has ch, ch-or"),
        wrong_to_the_limit(),
    ]
}

/// Programs of the image for [`after_a_shell`]; systemd's agent is the real one.
const PROGRAMS: [&str; 4] =
    ["/bin/dash:/bin/sh", "/usr/bin/sleep", "/usr/bin/setsid", "/usr/bin/systemd-tty-ask-password-agent"];

/// Leaves systemd's agent behind, which reads from a pipe what it would read from a terminal. It sees the first question
/// come and go, and has an answer only when there is one that tells of a wrong passphrase.
const AGENT: &str = "\
is_asked() {
    for file in /run/systemd/ask-password/ask.*; do
        while read -r line; do
            case $line in Message=*\"$1\"*) return 0 ;; esac
        done 2>/dev/null <\"$file\"
    done
    return 1
}
{
    until is_asked '4 tries left'; do sleep 1; done
    echo 'correct horse'
    exec sleep 1000
} | setsid systemd-tty-ask-password-agent --watch &
";

/// A shell hangs up its terminal when it ends; whoever leaves it is asked all the same. He does not know the passphrase, but
/// an agent that he has started does.
fn after_a_shell() -> Scenario {
    let mut image = image(&[]).with(Extra::Text("/etc/agent", AGENT));
    if let Image::Rootward { arguments, .. } = &mut image {
        arguments.extend(PROGRAMS.iter().flat_map(|program| ["--add".to_owned(), (*program).to_owned()]));
    }
    let words = format!("root=UUID={PLAIN_UUID} ro rd.luks.uuid={LUKS_UUID} rd.break=initqueue");
    let boot = Boot::new(KERNEL, image, words)
        .disk(Disk::Luks, Bus::VirtioBlk)
        .expect("rootward:\\w# ")
        .types(". /etc/agent; echo gone-$((40 + 2)); exit")
        .expect("gone-42")
        .expect("Passphrase for")
        .types("typed and wrong")
        .expect("wrong passphrase, 4 tries left")
        .never_shows("3 tries left")
        .never_shows("typed and wrong")
        .never_shows(PASSPHRASE)
        .root("nothing of the questions is left", |verdict| {
            let left = verdict.run.iter().find(|entry| entry.path.contains("ask-password/"));
            ensure(left.is_none(), || format!("{left:?}"))
        });
    Scenario::new("luks-after-a-shell", root_is(handed_over(boot), "dm-0", "ext4", false))
}

/// A layout on which c and h have changed places, and one on which o and r have, too; the other keys stay.
const CH: &str = "keycode 46 = +h\nkeycode 35 = +c\n";
const CH_OR: &str = "keycode 46 = +h\nkeycode 35 = +c\nkeycode 24 = +r\nkeycode 19 = +o\n";

/// Keys that are pressed on the machine's own keyboard mean what the layout says.
fn keymap(name: &str, words: &str, presses: &str, also: &str) -> Scenario {
    let image = image(&[]).with(Extra::Keymap("ch", CH)).with(Extra::Keymap("ch-or", CH_OR));
    let words = format!("console=tty0 root=UUID={PLAIN_UUID} ro rd.luks.uuid={LUKS_UUID} {words}");
    let boot = Boot::new(KERNEL, image, words)
        .disk(Disk::Luks, Bus::VirtioBlk)
        .expect("Passphrase for")
        .presses(presses)
        .never_shows("wrong passphrase")
        .shows(also);
    Scenario::new(name, root_is(handed_over(boot), "dm-0", "ext4", false))
}

/// The question stands on both serial lines; the answer comes on the one that is not /dev/console.
fn two_consoles() -> Scenario {
    let boot = Boot::new(
        KERNEL,
        image(&["virtio_console"]),
        format!("console=hvc0 console=ttyS0 root=UUID={PLAIN_UUID} ro rd.luks.uuid={LUKS_UUID}"),
    )
    .disk(Disk::Luks, Bus::VirtioBlk)
    .expect("Passphrase for")
    .types_elsewhere("wrong over there")
    .expect("wrong passphrase, 4 tries left")
    .expect("Passphrase for")
    .types_elsewhere(PASSPHRASE)
    .never_shows("wrong over there")
    .never_shows(PASSPHRASE)
    .check("the second line asks, too", |seen| {
        let second = seen.console.split("--- second console ---").nth(1).unwrap_or_default();
        ensure(second.matches("Passphrase for vda").count() >= 2, || second.to_owned())
    });
    Scenario::new("luks-two-consoles", root_is(handed_over(boot), "dm-0", "ext4", false))
}

/// Wrong passphrases to the limit, as crypttab sets it, then nobody who types for another container within its time: with
/// rd.shell=0 neither ends in a shell.
fn wrong_to_the_limit() -> Scenario {
    let [_, _, beside] = THREE;
    let boot = Boot::new(
        KERNEL,
        image(&[]).with(Extra::Text(
            "/etc/crypttab",
            "secret UUID=c1f3a2b4-6d7e-4f80-91a2-b3c4d5e6f701 none tries=2\n",
        )),
        format!(
            "root=UUID={PLAIN_UUID} ro rd.luks.uuid={LUKS_UUID} rd.luks.uuid={beside} rd.luks.timeout=8 \
             rd.shell=0 panic=0"
        ),
    )
    .disk(Disk::Luks, Bus::VirtioBlk)
    .disk(three_disks().disk("TWO"), Bus::VirtioBlk)
    .expect("Passphrase for vda (secret), vdb (luks-5d6e7f80-0003-4000-8000-c0ffee000003): ")
    .types("one")
    .expect("wrong passphrase, 1 try left")
    .types("two")
    .expect("vda (secret) stays locked: 2 wrong passphrases")
    .expect("Passphrase for vdb (luks-5d6e7f80-0003-4000-8000-c0ffee000003): ")
    .expect("vdb (luks-5d6e7f80-0003-4000-8000-c0ffee000003) stays locked: nobody typed a passphrase in time")
    .types("typed after the end")
    .expect("cannot reach root")
    .expect("2 wrong passphrases")
    .expect("nobody typed a passphrase in time")
    .never_shows(PROMPT)
    .never_shows("typed after the end")
    .stops_before_root();
    Scenario::new("luks-wrong-to-the-limit", Boot { end: End::Panic, ..boot })
}
