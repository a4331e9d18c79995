//! Words that the rescue prompt understands.

/// What an operator asked for at the rescue prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// `why`: print the explained tree.
    Why,
    /// `devices`: list block devices.
    Devices,
    /// `log [LINES]`: the end of the kernel log.
    Log(Option<usize>),
    /// `cmdline`: the words the boot was started with.
    CmdLine,
    /// `try WORD...`: add words to the command line and start over with them.
    Try(Vec<String>),
    /// `retry`: look again.
    Retry,
    /// `mount DEVICE`: use this device as root (a node below `/dev`).
    Mount(String),
    /// `boot`: go on; hand over to what is mounted.
    Boot,
    /// `shell`: start a shell, if the image has one.
    Shell,
    /// `reboot`
    Reboot,
    /// `poweroff`
    PowerOff,
    /// `halt`
    Halt,
    /// `help`
    Help,
}

/// Why a line is not a verb, as advice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerbError {
    /// The first word is unknown; with the nearest verb, if one is near.
    Unknown(String, Option<&'static str>),
    /// The verb needs a word after it.
    Missing(&'static str, &'static str),
    /// The verb takes no such word.
    Surplus(&'static str, String),
}

impl std::fmt::Display for VerbError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            VerbError::Unknown(word, Some(near)) => {
                write!(f, "{word}: no such verb; did you mean {near}? (help lists all)")
            }
            VerbError::Unknown(word, None) => write!(f, "{word}: no such verb (help lists all)"),
            VerbError::Missing(verb, what) => write!(f, "{verb}: say {what}"),
            VerbError::Surplus(verb, word) => write!(f, "{verb}: does not take {word}"),
        }
    }
}

/// Verb, argument, meaning: what `help` prints.
pub const VERBS: &[(&str, &str, &str)] = &[
    ("why", "", "what the boot is waiting for, and what it found instead"),
    ("devices", "", "block devices, their size, links and names"),
    ("log", "[LINES]", "the end of the kernel log"),
    ("cmdline", "", "the kernel command line"),
    ("try", "WORD...", "add words to the command line (root=..., rootfstype=...) and try again"),
    ("retry", "", "look for the root again"),
    ("mount", "DEVICE", "use this device as root"),
    ("boot", "", "go on with what is mounted"),
    ("shell", "", "start a shell, if the image has one"),
    ("reboot", "", "restart the machine"),
    ("poweroff", "", "switch the machine off"),
    ("halt", "", "stop the machine"),
    ("help", "", "this list"),
];

/// Reads one line; `Ok(None)` for a blank one.
///
/// # Errors
///
/// [`VerbError`], whose text can be shown as it is.
pub fn parse(line: &str) -> Result<Option<Verb>, VerbError> {
    let mut words = words(line).into_iter();
    let Some(first) = words.next() else { return Ok(None) };
    let rest: Vec<String> = words.collect();
    let Some(&(name, _, _)) = VERBS.iter().find(|(name, _, _)| *name == first || alias(&first) == Some(name))
    else {
        return Err(VerbError::Unknown(first.clone(), nearest(&first)));
    };
    let plain = |verb: Verb| match rest.first() {
        Some(word) => Err(VerbError::Surplus(name, word.clone())),
        None => Ok(Some(verb)),
    };
    match name {
        "why" => plain(Verb::Why),
        "devices" => plain(Verb::Devices),
        "cmdline" => plain(Verb::CmdLine),
        "retry" => plain(Verb::Retry),
        "boot" => plain(Verb::Boot),
        "shell" => plain(Verb::Shell),
        "reboot" => plain(Verb::Reboot),
        "poweroff" => plain(Verb::PowerOff),
        "halt" => plain(Verb::Halt),
        "help" => plain(Verb::Help),
        "log" => match rest.as_slice() {
            [] => Ok(Some(Verb::Log(None))),
            [count] => match count.parse() {
                Ok(count) => Ok(Some(Verb::Log(Some(count)))),
                Err(_) => Err(VerbError::Surplus(name, count.clone())),
            },
            [_, word, ..] => Err(VerbError::Surplus(name, word.clone())),
        },
        "mount" => match rest.as_slice() {
            [] => Err(VerbError::Missing(name, "which device, e.g. /dev/vda1")),
            [device] => Ok(Some(Verb::Mount(node(device)))),
            [_, word, ..] => Err(VerbError::Surplus(name, word.clone())),
        },
        _ if rest.is_empty() => Err(VerbError::Missing(name, "which words, e.g. root=/dev/vda1")),
        _ => Ok(Some(Verb::Try(rest))),
    }
}

fn alias(word: &str) -> Option<&'static str> {
    Some(match word {
        "?" => "help",
        "dmesg" => "log",
        "blkid" | "lsblk" | "ls" => "devices",
        "sh" => "shell",
        "exit" | "continue" => "boot",
        "off" | "shutdown" => "poweroff",
        _ => return None,
    })
}

fn node(device: &str) -> String {
    if device.starts_with('/') { device.to_owned() } else { format!("/dev/{device}") }
}

/// Splits at white space outside double quotes; the quotes stay, since command-line words keep theirs.
fn words(line: &str) -> Vec<String> {
    let mut quoted = false;
    line.split(|character: char| {
        if character == '"' {
            quoted = !quoted;
        }
        character.is_whitespace() && !quoted
    })
    .filter(|word| !word.is_empty())
    .map(str::to_owned)
    .collect()
}

fn nearest(word: &str) -> Option<&'static str> {
    let best = VERBS.iter().map(|(name, _, _)| (distance(word, name), *name)).min()?;
    (best.0 <= 2 && best.0 < best.1.len()).then_some(best.1)
}

/// Levenshtein distance over bytes; long words count as far.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > 16 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i.saturating_add(1);
        let mut next = vec![left];
        for (y, &above) in b.bytes().zip(row.iter().skip(1)) {
            let cost = usize::from(x != y);
            left = diagonal.saturating_add(cost).min(above.saturating_add(1)).min(left.saturating_add(1));
            diagonal = above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::{VERBS, Verb, VerbError, distance, parse};

    #[test]
    fn verbs() {
        let table = [
            ("why", Verb::Why),
            ("  devices ", Verb::Devices),
            ("log", Verb::Log(None)),
            ("log 40", Verb::Log(Some(40))),
            ("cmdline", Verb::CmdLine),
            (
                "try root=/dev/vda1 rootflags=\"subvol=a b\"",
                Verb::Try(vec!["root=/dev/vda1".into(), "rootflags=\"subvol=a b\"".into()]),
            ),
            ("retry", Verb::Retry),
            ("mount /dev/disk/by-label/root", Verb::Mount("/dev/disk/by-label/root".into())),
            ("mount vda1", Verb::Mount("/dev/vda1".into())),
            ("boot", Verb::Boot),
            ("exit", Verb::Boot),
            ("shell", Verb::Shell),
            ("reboot", Verb::Reboot),
            ("poweroff", Verb::PowerOff),
            ("halt", Verb::Halt),
            ("?", Verb::Help),
        ];
        for (line, verb) in table {
            assert_eq!(parse(line), Ok(Some(verb)), "{line}");
        }
        assert_eq!(parse(" \t"), Ok(None));
    }

    #[test]
    fn every_listed_verb_is_understood() {
        for (name, argument, _) in VERBS {
            let line = if argument.is_empty() || argument.starts_with('[') {
                (*name).to_owned()
            } else {
                format!("{name} x")
            };
            assert!(matches!(parse(&line), Ok(Some(_))), "{line}");
        }
    }

    #[test]
    fn advice() {
        assert_eq!(parse("rebot"), Err(VerbError::Unknown("rebot".into(), Some("reboot"))));
        assert_eq!(
            parse("xyzzy").map_err(|error| error.to_string()),
            Err("xyzzy: no such verb (help lists all)".into())
        );
        assert_eq!(parse("mount"), Err(VerbError::Missing("mount", "which device, e.g. /dev/vda1")));
        assert_eq!(parse("try"), Err(VerbError::Missing("try", "which words, e.g. root=/dev/vda1")));
        assert_eq!(parse("reboot now"), Err(VerbError::Surplus("reboot", "now".into())));
        assert_eq!(parse("log all"), Err(VerbError::Surplus("log", "all".into())));
        assert_eq!(parse("mount a b"), Err(VerbError::Surplus("mount", "b".into())));
    }

    #[test]
    fn distances() {
        for (a, b, expected) in
            [("", "abc", 3), ("abc", "abc", 0), ("rebot", "reboot", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
