//! As much of ELF as it takes to say whether a program is static and what fills it (elf(5), 64-bit
//! little-endian).

/// What a build is judged by.
#[derive(Debug, PartialEq, Eq)]
pub struct Elf {
    /// The program interpreter it asks for; a static program has none.
    pub interpreter: Option<String>,
    /// Number of shared libraries it needs.
    pub needed: usize,
    /// Whether it still has a symbol table.
    pub symbols: bool,
    /// Name and size in bytes of each section that takes room in the file.
    pub sections: Vec<(String, u64)>,
}

const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;
const DT_NEEDED: u64 = 1;
const SHT_SYMTAB: u64 = 2;
const SHT_NOBITS: u64 = 8;

/// Reads the headers of a program; `None` if it is no 64-bit little-endian ELF file or is cut short.
pub fn parse(file: &[u8]) -> Option<Elf> {
    if file.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let mut elf = Elf { interpreter: None, needed: 0, symbols: false, sections: Vec::new() };

    let headers = number(file, 32, 8)?;
    let (entry, count) = (number(file, 54, 2)?, number(file, 56, 2)?);
    for index in 0..count {
        let header = usize::try_from(headers.checked_add(index.checked_mul(entry)?)?).ok()?;
        let content = || {
            bytes(file, number(file, header.checked_add(8)?, 8)?, number(file, header.checked_add(32)?, 8)?)
        };
        match number(file, header, 4)? {
            PT_INTERP => elf.interpreter = Some(text(content()?)),
            PT_DYNAMIC => {
                elf.needed =
                    content()?.chunks_exact(16).filter(|pair| number(pair, 0, 8) == Some(DT_NEEDED)).count();
            }
            _ => {}
        }
    }

    let headers = number(file, 40, 8)?;
    let (entry, count, names) = (number(file, 58, 2)?, number(file, 60, 2)?, number(file, 62, 2)?);
    let header = |index: u64| {
        let at = headers.checked_add(index.checked_mul(entry)?)?;
        bytes(file, at, 64)
    };
    if count == 0 {
        return Some(elf);
    }
    let table = header(names)?;
    let names = bytes(file, number(table, 24, 8)?, number(table, 32, 8)?)?;
    for index in 0..count {
        let section = header(index)?;
        let kind = number(section, 4, 4)?;
        elf.symbols |= kind == SHT_SYMTAB;
        let size = number(section, 32, 8)?;
        if kind != SHT_NOBITS && size > 0 {
            let name = names.get(usize::try_from(number(section, 0, 4)?).ok()?..)?;
            elf.sections.push((text(name), size));
        }
    }
    Some(elf)
}

fn bytes(file: &[u8], start: u64, length: u64) -> Option<&[u8]> {
    let start = usize::try_from(start).ok()?;
    file.get(start..start.checked_add(usize::try_from(length).ok()?)?)
}

/// A little-endian number of `width` bytes.
fn number(file: &[u8], at: usize, width: usize) -> Option<u64> {
    let bytes = file.get(at..at.checked_add(width)?)?;
    Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_is_static_and_has_symbols() {
        let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let elf = parse(&file).unwrap();
        assert_eq!(elf.interpreter, None);
        assert_eq!(elf.needed, 0);
        assert!(elf.symbols);
        assert!(elf.sections.iter().any(|(name, _)| name == ".text"));
    }

    #[test]
    fn a_dynamic_program_is_recognised() {
        let elf = parse(&std::fs::read("/bin/sh").unwrap()).unwrap();
        assert!(elf.interpreter.unwrap().starts_with('/'));
        assert!(elf.needed >= 1);
        assert!(!elf.symbols);
    }

    #[test]
    fn anything_cut_short_is_refused_without_a_panic() {
        let file = std::fs::read("/bin/sh").unwrap();
        assert_eq!(parse(b""), None);
        for length in (0..512).chain([file.len() - 1, file.len() / 2]) {
            assert_eq!(parse(&file[..length]), None, "{length} bytes");
        }
    }
}
