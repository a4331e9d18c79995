//! `docs/COMMAND-LINE.md`, written from the table.

use std::fmt::Write as _;

use crate::table::{Family, Kind, Priority, Row, Spelling, Status, rows};

const INTRODUCTION: &str = "\
# Kernel command line

This page is written from the table in `cmdline/src/table`; edit that, then run
`UPDATE_DOCS=1 cargo test -p rootward-cmdline --test document`.

## How parameters are read

- **Sources**, the later ones winning: every file of `/etc/cmdline.d/*.conf` in the image together with parameters
  derived while running, by name; `/etc/cmdline` in the image; the kernel command line; every file of
  `/run/initramfs/cmdline.d/*.conf`. `rd.hostonly=0` leaves out the image's own.
- **Words** are split as the kernel does it: at white space outside of double quotes. There is no escape character.
  An open quote reaches to the end of its source.
- **Names** match letter for letter; `-` and `_` differ, except in the names of modules.
- **`--`** ends the parameters; what follows is for the real init.
- **Switches** are off with `0`, `no` or `off` and on with anything else or nothing.
- **Numbers** are digits alone. **Times** are seconds or spans such as `1min 30s`; `infinity` is no limit.
- Of a parameter with one value the **last** occurrence counts. A bare word where a value is needed is remarked on and
  does not hide an earlier value.
- A value that cannot be used is remarked on and the default holds. An unknown name that begins with `rd.`,
  `rootward.` or `luks.` is remarked on with the nearest known name.

## How words reach the real init

Everything after `--` does, word for word. Before it, only bare words that nobody knows as a parameter do, as the kernel
itself would have it, and of these only the ones after `init=` if that is present: run-level words such as `single`,
`emergency` or `3`, and whatever the kernel handed to `/init`.
";

const FAMILIES: &[(Family, &str)] = &[
    (Family::Root, "Root"),
    (Family::Debug, "Waiting, failure, debugging"),
    (Family::Drivers, "Drivers"),
    (Family::Luks, "Encrypted containers"),
    (Family::Storage, "LVM, MD, RAID, multipath, verity"),
    (Family::Network, "Network"),
    (Family::Live, "Live media and overlays"),
    (Family::Resume, "Hibernation"),
    (Family::Misc, "Console, locale, integrity and others"),
    (Family::Kernel, "The kernel's own"),
    (Family::Systemd, "systemd's"),
];

/// The whole page.
pub fn command_line() -> String {
    let mut page = INTRODUCTION.to_owned();
    for (family, title) in FAMILIES {
        section(&mut page, *family, title);
    }
    page
}

fn section(page: &mut String, family: Family, title: &str) {
    let of = |status| rows().filter(move |row| row.family == family && row.status == status);
    // Writing to a String cannot fail.
    let _ = writeln!(page, "\n## {title}");
    if of(Status::Implemented).next().is_some() {
        let _ = writeln!(page, "\n| parameter | value | absent | meaning |\n|---|---|---|---|");
    }
    for row in of(Status::Implemented) {
        let _ = writeln!(page, "| {} | {} | {} | {} |", name(row), value(row), absent(row), cell(row.doc));
    }
    plain(page, "Known, not implemented yet (each answered with a warning):", of(Status::NotYet));
    plain(page, "Left to the kernel or the real root:", of(Status::PassedThrough));
    plain(page, "Without effect (each answered with a warning):", of(Status::NoEffect));
}

fn plain(page: &mut String, title: &str, rows: impl Iterator<Item = &'static Row>) {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return;
    }
    let _ = writeln!(page, "\n{title}\n");
    for row in rows {
        let legacy = if row.priority == Priority::Legacy { " (legacy)" } else { "" };
        let value = if row.syntax.is_empty() { String::new() } else { format!(" (`{}`)", row.syntax) };
        let _ = writeln!(page, "- {}{value}{legacy}: {}", name(row), row.doc);
    }
}

fn name(row: &Row) -> String {
    let mut text = format!("`{}`", row.name);
    let current = row.aliases.iter().filter(|alias| alias.spelling == Spelling::Same);
    for alias in current {
        let _ = write!(text, ", `{}`", alias.name);
    }
    let old: Vec<String> = row
        .aliases
        .iter()
        .filter_map(|alias| match alias.spelling {
            Spelling::Same => None,
            Spelling::Old => Some(format!("`{}`", alias.name)),
            Spelling::Means(value) => Some(format!("`{}` for `{value}`", alias.name)),
        })
        .collect();
    if !old.is_empty() {
        let _ = write!(text, " (old: {})", old.join(", "));
    }
    text
}

fn value(row: &Row) -> String {
    let many = match row.kind {
        Kind::List(_) | Kind::Commas(_) => "; may be repeated",
        _ => "",
    };
    match row.kind {
        Kind::Presence(_) | Kind::InitWord => "none".to_owned(),
        Kind::Flag(..) | Kind::Tristate(_) => "switch".to_owned(),
        Kind::Int { min, max, .. } => format!("{min} to {max}"),
        Kind::Time(..) => "time".to_owned(),
        Kind::Text(_) | Kind::List(_) | Kind::Commas(_) | Kind::Grammar => cell(row.syntax) + many,
    }
}

fn absent(row: &Row) -> String {
    match row.kind {
        _ if !row.absent.is_empty() => row.absent.to_owned(),
        Kind::Flag(default, _) => if default { "on" } else { "off" }.to_owned(),
        Kind::Int { default, .. } => default.to_string(),
        Kind::Time(None, _) => "no limit".to_owned(),
        Kind::Time(Some(seconds), _) => format!("{seconds} s"),
        _ => "\u{2013}".to_owned(),
    }
}

/// A cell of a table; a bar would end it.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
