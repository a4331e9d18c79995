//! The `.modinfo` section of a kernel module: NUL-terminated `key=value` strings (include/linux/moduleinfo.h).

use super::{KmodError, module_name};

/// More sections than any module has; the kernel's own linker makes about 60.
const MAX_SECTIONS: u64 = 4096;

/// Facts that a module states about itself, in the order of the section.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModInfo {
    /// All entries; bytes that are not UTF-8 are replaced.
    pub entries: Vec<(String, String)>,
}

impl ModInfo {
    /// Reads the section out of a whole, uncompressed `.ko`.
    ///
    /// # Errors
    /// Not an ELF object, cut short, or without the section.
    pub fn from_elf(bytes: &[u8]) -> Result<Self, KmodError> {
        Ok(Self::from_section(section(bytes, b".modinfo")?))
    }

    /// Reads the content of the section itself, also that of `modules.builtin.modinfo` (keys are `MODULE.KEY`).
    #[must_use]
    pub fn from_section(section: &[u8]) -> Self {
        let strings = section.split(|b| *b == 0).filter(|text| !text.is_empty());
        let entries = strings.filter_map(|text| {
            let text = String::from_utf8_lossy(text);
            let (key, value) = text.split_once('=')?;
            Some((key.to_owned(), value.to_owned()))
        });
        ModInfo { entries: entries.collect() }
    }

    /// All values of one key.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.entries.iter().filter(move |(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// The first value of one key.
    #[must_use]
    pub fn first<'a>(&'a self, key: &'a str) -> Option<&'a str> {
        self.all(key).next()
    }

    /// `name=`, with underscores.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        self.first("name").map(module_name)
    }

    /// `depends=`: the modules whose symbols this one uses.
    #[must_use]
    pub fn depends(&self) -> Vec<String> {
        let names = self.all("depends").flat_map(|list| list.split(','));
        names.filter(|name| !name.is_empty()).map(module_name).collect()
    }

    /// `firmware=`: files below `/lib/firmware`.
    pub fn firmware(&self) -> impl Iterator<Item = &str> {
        self.all("firmware")
    }
}

/// Little- or big-endian fields of either word size.
struct Elf<'a> {
    bytes: &'a [u8],
    wide: bool,
    big: bool,
}

impl Elf<'_> {
    fn field(&self, at: u64, width: usize) -> Result<u64, KmodError> {
        let at = usize::try_from(at).map_err(|_| KmodError::Truncated)?;
        let end = at.checked_add(width).ok_or(KmodError::Truncated)?;
        let bytes = self.bytes.get(at..end).ok_or(KmodError::Truncated)?;
        let fold = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        Ok(if self.big { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) })
    }

    /// A field whose place and width depend on the word size.
    fn word(&self, base: u64, narrow: (u64, usize), wide: (u64, usize)) -> Result<u64, KmodError> {
        let (offset, width) = if self.wide { wide } else { narrow };
        self.field(base.checked_add(offset).ok_or(KmodError::Truncated)?, width)
    }

    /// Offset and length of the content of the section whose header is at `header`.
    fn extent(&self, header: u64) -> Result<(u64, u64), KmodError> {
        Ok((self.word(header, (16, 4), (24, 8))?, self.word(header, (20, 4), (32, 8))?))
    }
}

/// The content of a section, by name (System V ABI, chapter 4).
///
/// # Errors
/// Not an ELF object, cut short, or without that section.
fn section<'a>(bytes: &'a [u8], wanted: &[u8]) -> Result<&'a [u8], KmodError> {
    let (wide, big) = match bytes {
        [0x7f, b'E', b'L', b'F', class @ (1 | 2), order @ (1 | 2), ..] => (*class == 2, *order == 2),
        _ => return Err(KmodError::NotElf),
    };
    let elf = Elf { bytes, wide, big };
    let table = elf.word(0, (32, 4), (40, 8))?;
    let entry = elf.word(0, (46, 2), (58, 2))?;
    let count = elf.word(0, (48, 2), (60, 2))?.min(MAX_SECTIONS);
    let names = elf.word(0, (50, 2), (62, 2))?;
    let header =
        |n: u64| n.checked_mul(entry).and_then(|at| at.checked_add(table)).ok_or(KmodError::Truncated);
    let content = |(offset, length): (u64, u64)| {
        let start = usize::try_from(offset).ok();
        let end = offset.checked_add(length).and_then(|end| usize::try_from(end).ok());
        start.zip(end).and_then(|(start, end)| bytes.get(start..end)).ok_or(KmodError::Truncated)
    };
    let names = content(elf.extent(header(names)?)?)?;
    for n in 0..count {
        let at = header(n)?;
        let name = usize::try_from(elf.field(at, 4)?).ok().and_then(|name| names.get(name..));
        if name.and_then(|name| name.split(|b| *b == 0).next()) == Some(wanted) {
            return content(elf.extent(at)?);
        }
    }
    Err(KmodError::NoModInfo)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A module of three sections: none, names, `.modinfo`.
    fn object(wide: bool, big: bool, modinfo: &[u8]) -> Vec<u8> {
        let names = b"\0.shstrtab\0.modinfo\0";
        let header: usize = if wide { 64 } else { 52 };
        let entry: usize = if wide { 64 } else { 40 };
        let word: usize = if wide { 8 } else { 4 };
        let table = header + names.len() + modinfo.len();
        let mut out = vec![0; header];
        out[..6].copy_from_slice(&[
            0x7f,
            b'E',
            b'L',
            b'F',
            if wide { 2 } else { 1 },
            if big { 2 } else { 1 },
        ]);
        out.extend_from_slice(names);
        out.extend_from_slice(modinfo);
        out.resize(table + 3 * entry, 0);
        let mut put = |at: usize, width: usize, value: usize| {
            let bytes = (value as u64).to_be_bytes();
            for (n, byte) in bytes[8 - width..].iter().enumerate() {
                out[if big { at + n } else { at + width - 1 - n }] = *byte;
            }
        };
        put(if wide { 40 } else { 32 }, word, table);
        put(if wide { 58 } else { 46 }, 2, entry);
        put(if wide { 60 } else { 48 }, 2, 3);
        put(if wide { 62 } else { 50 }, 2, 1);
        for (n, name, offset, length) in
            [(1, 1, header, names.len()), (2, 11, header + names.len(), modinfo.len())]
        {
            let at = table + n * entry;
            put(at, 4, name);
            put(at + if wide { 24 } else { 16 }, word, offset);
            put(at + if wide { 32 } else { 20 }, word, length);
        }
        out
    }

    #[test]
    fn all_word_sizes_and_orders() {
        let text = b"name=dm-crypt\0depends=dm-mod,x\0\0alias=a=b\0alias=c\0firmware=f/w.bin\0odd\0";
        for (wide, big) in [(false, false), (false, true), (true, false), (true, true)] {
            let info = ModInfo::from_elf(&object(wide, big, text)).unwrap();
            assert_eq!(info.name().as_deref(), Some("dm_crypt"));
            assert_eq!(info.depends(), ["dm_mod", "x"]);
            assert_eq!(info.all("alias").collect::<Vec<_>>(), ["a=b", "c"]);
            assert_eq!(info.firmware().collect::<Vec<_>>(), ["f/w.bin"]);
        }
    }

    #[test]
    fn foreign_files_are_refused() {
        assert_eq!(ModInfo::from_elf(b"\xfd7zXZ\0"), Err(KmodError::NotElf));
        assert_eq!(ModInfo::from_elf(b"\x7fELF\x02\x01"), Err(KmodError::Truncated));
        let mut nameless = object(true, false, b"a=b\0");
        let at = 64 + 11;
        nameless[at] = b'_';
        assert_eq!(ModInfo::from_elf(&nameless), Err(KmodError::NoModInfo));
    }

    proptest! {
        #[test]
        fn damage_never_panics(at: usize, byte: u8, wide: bool, big: bool) {
            let mut bytes = object(wide, big, b"name=x\0");
            let len = bytes.len();
            bytes[at % len] = byte;
            let _ = ModInfo::from_elf(&bytes);
        }
    }
}
