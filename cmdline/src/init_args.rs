//! Which words become arguments of the real init.
//!
//! The measure is what the kernel would have given an init that it had started by itself: everything after
//! `--` word for word, and before it the bare words without a dot that nobody knows, except those before
//! `init=`. Only the kernel knows all of its own words (`nokaslr`, `noapic` ...), so the part before `--` is
//! taken from the arguments that it gave `/init`, less what our table knows as a parameter. Without those
//! arguments only run-level words pass. dracut instead passes every word behind the text `init=`, so that
//! `init=/bin/sh quiet` starts a shell on a script named "quiet".

use crate::source::{Layer, Source};
use crate::table::{self, Kind};
use crate::tokenise::{self, Word};

/// The arguments for the real init, without its own name.
pub(crate) fn init_args(sources: &[Source], argv: Option<&[String]>) -> Vec<String> {
    let Some(kernel) = sources.iter().find(|source| source.layer == Layer::Kernel) else { return Vec::new() };
    let words: Vec<Word<'_>> = tokenise::words(&kernel.text).collect();
    let dashes = words.iter().position(|word| word.key == "--" && word.value.is_none());
    let (before, after) = match dashes.and_then(|at| words.split_at_checked(at)) {
        Some((before, rest)) => (before, rest.get(1..).unwrap_or(&[])),
        None => (words.as_slice(), &[][..]),
    };
    let after: Vec<String> = after.iter().map(Word::text).collect();
    let mut args: Vec<String> = match argv {
        Some(argv) => {
            let head = argv.strip_suffix(after.as_slice()).unwrap_or(argv);
            head.iter().filter(|arg| is_argument(arg)).cloned().collect()
        }
        None => {
            let start = before.iter().rposition(|word| word.key == "init" && word.value.is_some());
            let bare = before.iter().skip(start.map_or(0, |at| at.saturating_add(1)));
            bare.filter(|word| word.value.is_none() && is_init_word(word.key)).map(Word::text).collect()
        }
    };
    args.extend(after);
    args
}

fn is_init_word(word: &str) -> bool {
    table::lookup(word).is_some_and(|(row, _)| matches!(row.kind, Kind::InitWord))
}

fn is_argument(arg: &str) -> bool {
    let name = arg.split_once('=').map_or(arg, |(name, _)| name);
    is_init_word(arg) || table::lookup(name).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Sources;

    fn args(line: &str, argv: Option<&[&str]>) -> Vec<String> {
        let sources = Sources {
            kernel: line.to_owned(),
            image: vec![("/etc/cmdline.d/a.conf".into(), "single -- image".into())],
            ..Sources::default()
        };
        let argv: Option<Vec<String>> = argv.map(|list| list.iter().map(|arg| (*arg).to_owned()).collect());
        init_args(&sources.ordered(), argv.as_deref())
    }

    #[test]
    fn from_the_text_alone() {
        for (line, expected) in [
            ("root=/dev/sda ro quiet", vec![]),
            ("root=/dev/sda single", vec!["single"]),
            ("3 emergency nokaslr", vec!["3", "emergency"]),
            ("single init=/bin/sh s", vec!["s"]),
            ("rdinit=/init=x single init=/bin/sh 5", vec!["5"]),
            (
                "init=/bin/sh quiet -- -c a=b rd.shell=0 console=tty0",
                vec!["-c", "a=b", "rd.shell=0", "console=tty0"],
            ),
            ("single -- x -- y", vec!["single", "x", "--", "y"]),
            ("-- \"a b\" c=\"d e\"", vec!["a b", "c=d e"]),
            ("--=x single", vec!["single"]),
        ] {
            assert_eq!(args(line, None), expected, "{line}");
        }
    }

    #[test]
    fn with_the_kernels_own_list() {
        for (line, argv, expected) in [
            ("nokaslr foo single", vec!["foo", "single"], vec!["foo", "single"]),
            ("splash rhgb foo", vec!["splash", "rhgb", "foo"], vec!["foo"]),
            ("init=/bin/sh foo -- quiet", vec!["foo", "quiet"], vec!["foo", "quiet"]),
            ("-- splash", vec!["splash"], vec!["splash"]),
            ("a -- b", vec!["other"], vec!["other", "b"]),
        ] {
            assert_eq!(args(line, Some(&argv)), expected, "{line}");
        }
    }
}
