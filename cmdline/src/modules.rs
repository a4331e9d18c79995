//! Module names and the parameters that words such as `MODULE.PARAM=VALUE` give to modules.

use crate::table;
use crate::tokenise::Word;

/// Beginnings of dotted names that belong to programs, not to modules.
const NAMESPACES: &[&str] = &[
    "rd",
    "rootward",
    "luks",
    "systemd",
    "udev",
    "vconsole",
    "locale",
    "fsck",
    "quota",
    "quotacheck",
    "plymouth",
    "live",
    "net",
    "nvmf",
    "mount",
    "root",
    "syslog",
    "ib",
    "modprobe",
];

/// The name with dashes turned into underscores, as the kernel and kmod compare them. Aliases such as
/// `pci:v...` contain colons and stay as they are.
pub fn normalise(name: &str) -> String {
    if name.contains(':') { name.to_owned() } else { name.replace('-', "_") }
}

/// Adds a module name to a list, once.
pub(crate) fn add(list: &mut Vec<String>, name: &str) {
    let name = normalise(name);
    if !list.contains(&name) {
        list.push(name);
    }
}

/// Module and parameter of a word, as modprobe reads `/proc/cmdline`; `None` for every other word.
///
/// The parameter comes back in the form that the kernel's loader parses: a value with white space in it is
/// put in quotes again.
pub(crate) fn parameter(word: &Word<'_>) -> Option<(String, String)> {
    let (module, param) = word.key.split_once('.')?;
    let is_name = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    };
    let is_param = !param.is_empty() && param.bytes().all(|b| b.is_ascii_graphic() && b != b'"');
    if !is_name(module) || !is_param || in_namespace(word.key) || table::lookup(word.key).is_some() {
        return None;
    }
    let setting = match word.value {
        None => param.to_owned(),
        Some(value) if value.bytes().any(crate::tokenise::is_space) => format!("{param}=\"{value}\""),
        Some(value) => format!("{param}={value}"),
    };
    Some((normalise(module), setting))
}

/// Whether a dotted name lies in a program's namespace.
pub(crate) fn in_namespace(key: &str) -> bool {
    key.split_once('.').is_some_and(|(space, _)| NAMESPACES.contains(&space))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenise::words;

    #[test]
    fn parameters() {
        for (text, expected) in [
            ("snd-hda-intel.model=auto", Some(("snd_hda_intel", "model=auto"))),
            ("usbcore.autosuspend=-1", Some(("usbcore", "autosuspend=-1"))),
            ("kvm.ignore_msrs", Some(("kvm", "ignore_msrs"))),
            ("a.b.c=1", Some(("a", "b.c=1"))),
            ("dm_mod.x=\"1 2\"", Some(("dm_mod", "x=\"1 2\""))),
            ("a.b=", Some(("a", "b="))),
            ("rd.luks=1", None),
            ("rd.unknown=1", None),
            ("rootward.unknown", None),
            ("luks.uuid=x", None),
            ("systemd.unit=x", None),
            ("udev.children_max=3", None),
            ("vconsole.keymap=de", None),
            ("modprobe.blacklist=x", None),
            ("net.ifnames=0", None),
            ("printk.devkmsg=on", None),
            ("dm-mod.create=x", None),
            ("plain=a.b", None),
            (".x=1", None),
            ("x.=1", None),
            ("a/b.c=1", None),
            ("\u{e9}.x=1", None),
        ] {
            let word = words(text).next().expect("a word");
            let expected = expected.map(|(m, p)| (m.to_owned(), p.to_owned()));
            assert_eq!(parameter(&word), expected, "{text}");
        }
    }

    #[test]
    fn names_are_kept_once_and_normalised() {
        let mut list = Vec::new();
        for name in ["a-b", "a_b", "pci:v0-1", "c"] {
            add(&mut list, name);
        }
        assert_eq!(list, ["a_b", "pci:v0-1", "c"]);
    }
}
