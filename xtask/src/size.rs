//! What fills a program: by section from its headers, by crate and archive from the linker's map.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::elf::Elf;

/// Lines of the report's second table; the rest is added up.
const LARGEST: usize = 24;

/// The report on a program of `size` bytes as text. `map` is the map file of the linker `lld`.
pub fn report(name: &str, size: usize, limit: Option<usize>, elf: &Elf, map: &str) -> String {
    let mut text = format!("{name}: {size} bytes");
    if let Some(limit) = limit {
        let _ = write!(text, " of {limit} allowed ({} %)", size * 100 / limit);
    }
    text.push('\n');
    let mut sections: Vec<(&str, u64)> =
        elf.sections.iter().map(|(name, size)| (name.as_str(), *size)).collect();
    sections.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    table(&mut text, "section", sections);
    let parts = contributions(map);
    if parts.is_empty() {
        text += "  (this linker's map is of another kind than lld's: no table by crate)\n";
    }
    let mut parts: Vec<(&str, u64)> = parts.iter().map(|(name, size)| (name.as_str(), *size)).collect();
    parts.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    table(&mut text, "crate or archive", parts);
    text
}

fn table(text: &mut String, title: &str, rows: Vec<(&str, u64)>) {
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(text, "  {:>9}  {title}", "bytes");
    let rest: u64 = rows.iter().skip(LARGEST).map(|(_, size)| size).sum();
    for (name, size) in rows.iter().take(LARGEST) {
        let _ = writeln!(text, "  {size:>9}  {name}");
    }
    if rest > 0 {
        let _ = writeln!(text, "  {rest:>9}  others");
    }
}

/// Bytes per crate (of what link-time optimisation made one object) and per C archive.
///
/// In lld's map an output section stands at the margin of the last column, an input section 8 columns
/// further, a symbol 16. A Rust function has a section of its own, so its symbol names the crate.
fn contributions(map: &str) -> BTreeMap<String, u64> {
    let mut parts = BTreeMap::new();
    let mut lines = map.lines();
    let Some(column) = lines.next().and_then(|header| header.find("Out     In      Symbol")) else {
        return parts;
    };
    let mut counted = false;
    // Size and section name of an input section of Rust's object that no symbol has claimed yet.
    let mut open: Option<u64> = None;
    for line in lines {
        let (Some(numbers), Some(rest)) = (line.get(..column), line.get(column..)) else { continue };
        let size = numbers
            .split_whitespace()
            .nth(2)
            .and_then(|size| u64::from_str_radix(size, 16).ok())
            .unwrap_or(0);
        let depth = rest.len() - rest.trim_start().len();
        let name = rest.trim_start();
        if depth < 8 {
            // Sections without address (debug data, comments) and without content in the file do not count.
            counted = !line.trim_start().starts_with("0 ")
                && !name.starts_with(".bss")
                && !name.starts_with(".tbss");
        }
        if depth < 16
            && let Some(size) = open.take()
        {
            *parts.entry("Rust data".to_owned()).or_default() += size;
        }
        if !counted {
            continue;
        }
        if (8..16).contains(&depth) {
            if name.contains(".rcgu.o:(") {
                open = Some(size);
            } else {
                *parts.entry(archive(name)).or_default() += size;
            }
        } else if depth >= 16
            && let Some(size) = open.take()
        {
            *parts.entry(crate_of(name)).or_default() += size;
        }
    }
    if let Some(size) = open {
        *parts.entry("Rust data".to_owned()).or_default() += size;
    }
    parts
}

/// The archive of `/some/where/libx.a(member.o):(.text)`, the crate of `libx-HASH.rlib(member.o)`.
fn archive(input: &str) -> String {
    let file = input.split(":(").next().unwrap_or(input);
    let file = file.split('(').next().unwrap_or(file);
    let name = file.rsplit('/').next().unwrap_or(file);
    if name == "<internal>" {
        return "merged strings, relocations".to_owned();
    }
    match name.strip_suffix(".rlib").and_then(|name| name.strip_prefix("lib")) {
        Some(name) => name.rsplit_once('-').map_or(name, |(name, _)| name).to_owned(),
        None if name.ends_with(".o") => "C start-up".to_owned(),
        None => name.to_owned(),
    }
}

/// The crate of a demangled Rust symbol: its first path segment.
fn crate_of(symbol: &str) -> String {
    let path = symbol.trim_start_matches(|letter: char| !letter.is_alphabetic() && letter != '_');
    let path = path.trim_start_matches("dyn ").trim_start_matches("mut ");
    let end = path.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(path.len());
    let (name, rest) = path.split_at(end);
    if rest.starts_with("::") { name.to_owned() } else { "Rust data".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_of_symbols() {
        for (symbol, expected) in [
            ("std::io::stdio::_print", "std"),
            ("<<std::sync::once::Once>::call_once_force<x>", "std"),
            ("<&mut engine::Plan as core::fmt::Debug>::fmt", "engine"),
            ("<dyn ondisk::ReadAt>::size", "ondisk"),
            (".Lanon.7f3", "Rust data"),
            ("main", "Rust data"),
        ] {
            assert_eq!(crate_of(symbol), expected, "{symbol}");
        }
    }

    #[test]
    fn archives_of_input_sections() {
        for (input, expected) in [
            ("/lib/libc.a(printf.o):(.text)", "libc.a"),
            ("/t/deps/libzstd_sys-1f2e.rlib(zstd_opt.o):(.text.f)", "zstd_sys"),
            ("/usr/lib/rcrt1.o:(.text)", "C start-up"),
            ("<internal>:(.rodata.cst16)", "merged strings, relocations"),
        ] {
            assert_eq!(archive(input), expected, "{input}");
        }
    }

    #[test]
    fn a_map_adds_up() {
        let map = "             VMA              LMA     Size Align Out     In      Symbol
             100              100       30    32 .text
             100              100       10     4         /x/init-1.rcgu.o:(.text._RNv1)
             100              100       10     1                 engine::step
             110              110       10     4         /x/init-1.rcgu.o:(.rodata..Lanon.1)
             120              120       10     4         /x/libcryptsetup.a(a.o):(.text)
             120              120        8     1                 crypt_init
             128              128        8     1                 crypt_free
             200              200       40     1 .bss
             200              200       40     1         /x/libcryptsetup.a(a.o):(.bss)
               0                0       99     1 .comment
               0                0       99     1         <internal>:(.comment)
";
        let parts = contributions(map);
        let expected = [("Rust data", 16), ("engine", 16), ("libcryptsetup.a", 16)];
        assert_eq!(
            parts.into_iter().collect::<Vec<_>>(),
            expected.map(|(name, size)| (name.to_owned(), size))
        );
    }
}
