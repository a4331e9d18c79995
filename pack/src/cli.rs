//! The `rootward` command.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::compress::Compression;
use crate::cpio::Entry;
use crate::error::{Error, Result};
use crate::extra::Add;
use crate::image::Layout;
use crate::options::{Options, Report, build};
use crate::select::Modules;

/// How to call the program.
pub const USAGE: &str = "\
usage: rootward build [--kver V] [--modules-dir DIR] [--init FILE]
                      [--host-only | --universal | --modules A,B,..]
                      [--add SRC[:DEST]]... [--keymap NAME|FILE]... [--cmdline STRING]
                      [--compress auto|zstd|gzip|xz|none] [--layout auto|whole|per-module] -o IMAGE
       rootward list IMAGE
       rootward --version
";

/// Runs the command with these words (without the program's name); returns what goes to standard output, and what
/// goes to standard error.
///
/// # Errors
/// See [`Error`].
pub fn run(words: &[String]) -> Result<(String, String)> {
    match words {
        [command, rest @ ..] if command == "build" => {
            let report = build(&parse_build(rest)?)?;
            Ok((summary(&report), warnings(&report)))
        }
        [command, image] if command == "list" => Ok((listing(Path::new(image))?, String::new())),
        [flag] if flag == "--version" => {
            Ok((format!("rootward {}\n", env!("CARGO_PKG_VERSION")), String::new()))
        }
        [flag] if flag == "--help" || flag == "-h" => Ok((USAGE.to_owned(), String::new())),
        _ => Err(Error::Usage(USAGE.to_owned())),
    }
}

/// Reads the words after `build`. `--flag=value` and `--flag value` are the same.
///
/// # Errors
/// An unknown word, a missing value, or no `-o`.
pub fn parse_build(words: &[String]) -> Result<Options> {
    let mut options = Options::new("");
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (flag, joined) = match word.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => (flag, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        let mut value = || {
            let missing = || Error::Usage(format!("{flag} needs a value\n{USAGE}"));
            joined.clone().or_else(|| words.next().cloned()).ok_or_else(missing)
        };
        match flag {
            "--kver" => options.kver = Some(value()?),
            "--modules-dir" => options.modules_dir = Some(value()?.into()),
            "--init" => options.init = Some(value()?.into()),
            "--host-only" => options.modules = Modules::HostOnly,
            "--universal" => options.modules = Modules::Universal,
            "--modules" => {
                options.modules = Modules::List(value()?.split(',').map(str::to_owned).collect());
            }
            "--add" => options.add.push(parse_add(&value()?)),
            "--keymap" => options.keymaps.push(value()?),
            "--cmdline" => options.cmdline = Some(value()?),
            "--compress" => options.compression = choice(flag, &value()?, Compression::from_name)?,
            "--layout" => options.layout = choice(flag, &value()?, Layout::from_name)?,
            "-o" | "--output" => options.output = value()?.into(),
            _ => return Err(Error::Usage(format!("{word} is not understood\n{USAGE}"))),
        }
    }
    if options.output.as_os_str().is_empty() {
        return Err(Error::Usage(format!("-o IMAGE is missing\n{USAGE}")));
    }
    Ok(options)
}

fn choice<T>(flag: &str, value: &str, by_name: fn(&str) -> Option<T>) -> Result<Option<T>> {
    match by_name(value) {
        None if value != "auto" => Err(Error::Usage(format!("{flag} {value} is not understood\n{USAGE}"))),
        chosen => Ok(chosen),
    }
}

/// `SRC[:DEST]`; a file whose own name has a colon is taken for that file.
fn parse_add(spec: &str) -> Add {
    match spec.rsplit_once(':') {
        Some((source, destination)) if !Path::new(spec).exists() => {
            Add { source: source.into(), destination: Some(destination.to_owned()) }
        }
        _ => Add { source: PathBuf::from(spec), destination: None },
    }
}

fn summary(report: &Report) -> String {
    format!(
        "{} bytes for kernel {}: {} files, {} modules, {} firmware files; {} {}\n",
        report.size,
        report.version,
        report.files,
        report.modules.len(),
        report.firmware.len(),
        report.layout.name(),
        report.compression.name(),
    )
}

fn warnings(report: &Report) -> String {
    let mut text: String = report.warnings.iter().map(|line| format!("rootward: {line}\n")).collect();
    if !report.missing_firmware.is_empty() {
        let count = report.missing_firmware.len();
        let _ = writeln!(text, "rootward: {count} firmware files that modules name are not installed");
    }
    text
}

fn listing(image: &Path) -> Result<String> {
    let mut text = String::new();
    for segment in crate::list::list(image)? {
        let kind = segment.compression.name();
        let _ = writeln!(text, "# at {}: {} bytes, {kind}", segment.offset, segment.length);
        for entry in &segment.entries {
            let _ = writeln!(text, "{}", line(entry));
        }
    }
    Ok(text)
}

fn line(entry: &Entry) -> String {
    let kind = entry.type_letter();
    let size = match kind {
        'c' | 'b' => format!("{}, {}", entry.rdev.0, entry.rdev.1),
        _ => entry.size.to_string(),
    };
    let target = match kind {
        'l' => format!(" -> {}", String::from_utf8_lossy(&entry.data)),
        _ => String::new(),
    };
    format!("{kind}{:04o} {size:>10} {}{target}", entry.mode & 0o7777, entry.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Options> {
        parse_build(&text.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn words() {
        let options = parse(
            "--kver 6.1 --modules=a,b --add /bin/sh --add /x:/y --keymap de --keymap=fr --compress xz --layout per-module -o out",
        )
        .unwrap();
        assert_eq!(options.keymaps, ["de", "fr"]);
        assert_eq!(options.kver.as_deref(), Some("6.1"));
        assert_eq!(options.modules, Modules::List(vec!["a".into(), "b".into()]));
        assert_eq!(options.add[0], Add { source: "/bin/sh".into(), destination: None });
        assert_eq!(options.add[1], Add { source: "/x".into(), destination: Some("/y".into()) });
        assert_eq!(options.compression, Some(Compression::Xz));
        assert_eq!(options.layout, Some(Layout::PerModule));
        assert_eq!(parse("--universal --compress auto -o x").unwrap().compression, None);
        for bad in ["", "--kver", "--universal", "--compress lz4 -o x", "--frob -o x", "x -o y"] {
            assert!(matches!(parse(bad), Err(Error::Usage(_))), "{bad}");
        }
    }
}
