//! Drivers, console, locale, hibernation and integrity.

use super::{Family, Kind, Row, SetText, means, old, same};
use crate::modules;

const D: Family = Family::Drivers;
const R: Family = Family::Resume;

const PRE: SetText = |plan, name| {
    modules::add(&mut plan.modules.pre, name);
    Ok(())
};
const POST: SetText = |plan, name| {
    modules::add(&mut plan.modules.post, name);
    Ok(())
};
const BLACKLIST: SetText = |plan, name| {
    modules::add(&mut plan.modules.blacklist, name);
    Ok(())
};

const KEYMAP: SetText = |plan, name| {
    plan.keymap = (!name.is_empty()).then(|| name.to_owned());
    Ok(())
};

pub(super) static ROWS: &[Row] = &[
    Row::done("rd.driver.pre", Kind::Commas(Some(PRE)), "Modules that are loaded first, in this order.")
        .syntax("MODULE[,MODULE...]")
        .aliases(&[same("rd.modules_load"), same("modules_load"), old("rdloaddriver")])
        .family(D)
        .must(),
    Row::done(
        "rd.driver.blacklist",
        Kind::Commas(Some(BLACKLIST)),
        "Modules that are not loaded for a device that asks for them.",
    )
    .syntax("MODULE[,MODULE...]")
    .aliases(&[same("modprobe.blacklist"), old("rdblacklist")])
    .family(D)
    .must(),
    Row::done(
        "rd.driver.post",
        Kind::Commas(Some(POST)),
        "Modules that are held back, each of them, until the devices have settled.",
    )
    .syntax("MODULE[,MODULE...]")
    .aliases(&[old("rdinsmodpost")])
    .family(D),
    Row::done(
        "MODULE.PARAM",
        Kind::Grammar,
        "A parameter for a module, whenever it is loaded: any name with a dot outside the namespaces of this page. Dashes and underscores in MODULE are equal.",
    )
    .syntax("VALUE")
    .family(D)
    .must(),
    Row::later("rd.driver.export", Kind::Text(None), "Copies the initramfs's modules into a root that lacks them.")
        .syntax("nothing, or force")
        .bare()
        .family(D),
    Row::later("resume", Kind::Text(None), "The device that a hibernated session is resumed from.")
        .syntax("/dev/NAME, UUID=, LABEL=, PARTUUID= or PARTLABEL=")
        .family(R)
        .must(),
    Row::passed("noresume", "No hibernated session is resumed, which is so in any case for now.").family(R).must(),
    Row::later("resume_offset", Kind::Text(None), "Where the image starts in a swap file.").syntax("pages").family(R).must(),
    Row::later("resumeflags", Kind::Text(None), "Mount-style options of the resume device.").family(R),
    Row::passed("hibernate", "The kernel's switch for hibernation.").family(R),
    Row::passed("nohibernate", "The kernel's switch for hibernation.").family(R),
    Row::passed("resumewait", "The kernel's wait for the resume device.").family(R),
    Row::passed("resumedelay", "The kernel's delay before resuming.").family(R),
    Row::later("rd.shutdown.timeout.umount", Kind::Text(None), "How long one unmount may take at shutdown.")
        .syntax("a time as for timeout(1)"),
    Row::passed("plymouth.enable", "There is no splash screen in the initramfs."),
    Row::passed("rd.plymouth", "There is no splash screen in the initramfs.")
        .aliases(&[means("rd_NO_PLYMOUTH", "0"), means("rd_NO_SPLASH", "0")]),
    Row::passed("rhgb", "There is no splash screen in the initramfs.").legacy(),
    Row::passed("splash", "There is no splash screen in the initramfs."),
    Row::done(
        "rd.vconsole.keymap",
        Kind::Text(Some(KEYMAP)),
        "Keyboard layout of the console, for typing passphrases: one that the image was built with (`--keymap`), or `us`, the kernel's own.",
    )
        .syntax("KEYMAP")

        .aliases(&[same("vconsole.keymap"), same("KEYMAP"), old("KEYTABLE")])
        .must(),
    Row::inert("rd.vconsole.keymap.ext", "it never had any; use rd.vconsole.keymap.")
        .aliases(&[same("EXT_KEYMAP"), old("EXT_KEYMAPS")])
        .legacy(),
    Row::later("rd.vconsole.font", Kind::Text(None), "Console font.")
        .syntax("FONT")
        .aliases(&[same("vconsole.font"), same("FONT"), old("SYSFONT")]),
    Row::later("rd.vconsole.font.map", Kind::Text(None), "Console font map.")
        .aliases(&[same("vconsole.font_map"), same("FONT_MAP"), old("CONTRANS")])
        .legacy(),
    Row::later("rd.vconsole.font.unimap", Kind::Text(None), "Console font's Unicode table.")
        .aliases(&[same("vconsole.font_unimap"), same("FONT_UNIMAP"), old("UNIMAP")])
        .legacy(),
    Row::passed("rd.vconsole.font.unicode", "The console is in UTF-8 mode, the kernel's default.")
        .aliases(&[same("UNICODE"), same("vconsole.unicode"), same("rd.vconsole.unicode")])
        .legacy(),
    Row::passed("vconsole.*", "Read by the real root's console setup."),
    Row::passed("rd.locale.LANG", "Messages are in English.").aliases(&[same("LANG")]),
    Row::passed("rd.locale.LC_ALL", "Messages are in English.").aliases(&[same("LC_ALL")]).legacy(),
    Row::passed("locale.*", "Read by the real root."),
    Row::later("fips", Kind::Text(None), "Loads the crypto modules and verifies the kernel image.").syntax("0 or 1"),
    Row::passed("boot", "The partition with the kernel image that `fips` would verify; other initramfs systems use the name in their own ways.")
        .syntax("/dev/NAME, UUID=, LABEL=, PARTUUID= or PARTLABEL="),
    Row::later("rd.fips.skipkernel", Kind::Presence(None), "Leaves the kernel image unverified."),
    Row::inert("rd.fips", "write fips=1 instead.").legacy(),
    Row::passed("BOOT_IMAGE", "The kernel's file name, from the boot loader."),
    Row::passed("selinux", "The policy is loaded by the real init."),
    Row::passed("enforcing", "The policy is loaded by the real init."),
    Row::later("rd.caps", Kind::Text(None), "Drops capabilities before the hand-off.").legacy(),
    Row::later("rd.caps.initdrop", Kind::Text(None), "Which capabilities are dropped.").legacy(),
    Row::later("rd.caps.disablemodules", Kind::Text(None), "Locks module loading before the hand-off.").legacy(),
    Row::later("rd.caps.disablekexec", Kind::Text(None), "Locks kexec before the hand-off.").legacy(),
    Row::later("masterkey", Kind::Text(None), "The kernel master key in the real root.").syntax("PATH").legacy(),
    Row::later("masterkeytype", Kind::Text(None), "Kind of the master key.").syntax("trusted or user").legacy(),
    Row::later("evmkey", Kind::Text(None), "EVM key in the real root.").syntax("PATH").legacy(),
    Row::later("evmx509", Kind::Text(None), "EVM certificate in the real root.").syntax("PATH").legacy(),
    Row::later("ecryptfskey", Kind::Text(None), "eCryptfs key in the real root.").syntax("PATH").legacy(),
    Row::inert("readonlyroot", "it belonged to SysV scripts; write ro instead.").aliases(&[old("noreadonlyroot")]).legacy(),
    Row::passed("fastboot", "The check is left to the real root.").legacy(),
    Row::passed("/fastboot", "The check is left to the real root.").legacy(),
    Row::passed("/forcefsck", "The check is left to the real root.").legacy(),
    Row::passed("/fsckoptions", "The check is left to the real root.").legacy(),
];
