//! What a program or library needs to be loaded: interpreter, libraries, where it wants them looked for (ELF, gABI).

const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;
const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;

/// Facts about one ELF object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Object {
    /// Word size, byte order and machine: a library has to agree with its user.
    pub kind: (u8, u8, u64),
    /// `PT_INTERP`.
    pub interpreter: Option<String>,
    /// `DT_NEEDED`.
    pub needed: Vec<String>,
    /// `DT_RPATH`, split at colons.
    pub rpath: Vec<String>,
    /// `DT_RUNPATH`, split at colons.
    pub runpath: Vec<String>,
}

struct Reader<'a> {
    bytes: &'a [u8],
    wide: bool,
    big: bool,
}

impl Reader<'_> {
    fn field(&self, at: u64, width: usize) -> Option<u64> {
        let at = usize::try_from(at).ok()?;
        let bytes = self.bytes.get(at..at.checked_add(width)?)?;
        let fold = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        Some(if self.big { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) })
    }

    fn pick(&self, base: u64, narrow: (u64, usize), wide: (u64, usize)) -> Option<u64> {
        let (offset, width) = if self.wide { wide } else { narrow };
        self.field(base.checked_add(offset)?, width)
    }

    fn text(&self, at: u64) -> Option<String> {
        let rest = self.bytes.get(usize::try_from(at).ok()?..)?;
        let end = rest.iter().position(|b| *b == 0)?;
        String::from_utf8(rest[..end].to_vec()).ok()
    }
}

/// Reads an object; `None` when the file is no ELF object or is damaged.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<Object> {
    let [0x7f, b'E', b'L', b'F', class @ (1 | 2), order @ (1 | 2), ..] = bytes else { return None };
    let elf = Reader { bytes, wide: *class == 2, big: *order == 2 };
    let table = elf.pick(0, (28, 4), (32, 8))?;
    let entry = elf.pick(0, (42, 2), (54, 2))?;
    let count = elf.pick(0, (44, 2), (56, 2))?;
    let mut object = Object { kind: (*class, *order, elf.field(18, 2)?), ..Object::default() };
    let mut loads = Vec::new();
    let mut dynamic = None;
    for n in 0..count {
        let at = table.checked_add(n.checked_mul(entry)?)?;
        let offset = elf.pick(at, (4, 4), (8, 8))?;
        let address = elf.pick(at, (8, 4), (16, 8))?;
        let size = elf.pick(at, (16, 4), (32, 8))?;
        match elf.field(at, 4)? {
            PT_LOAD => loads.push((address, offset, size)),
            PT_DYNAMIC => dynamic = Some((offset, size)),
            PT_INTERP => object.interpreter = elf.text(offset),
            _ => {}
        }
    }
    let Some((start, size)) = dynamic else { return Some(object) };
    let step = if elf.wide { 16 } else { 8 };
    let mut tags = Vec::new();
    for n in 0..size / step {
        let at = start.checked_add(n * step)?;
        let (tag, value) = (elf.pick(at, (0, 4), (0, 8))?, elf.pick(at, (4, 4), (8, 8))?);
        if tag == DT_NULL {
            break;
        }
        tags.push((tag, value));
    }
    let (_, strings) = *tags.iter().find(|(tag, _)| *tag == DT_STRTAB)?;
    let (address, offset, _) =
        *loads.iter().find(|(address, _, size)| strings.checked_sub(*address).is_some_and(|n| n < *size))?;
    let strings = offset.checked_add(strings - address)?;
    let split = |text: String| text.split(':').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    for (tag, value) in tags {
        let text = |value: u64| elf.text(strings.checked_add(value)?);
        match tag {
            DT_NEEDED => object.needed.push(text(value)?),
            DT_RPATH => object.rpath = split(text(value)?),
            DT_RUNPATH => object.runpath = split(text(value)?),
            _ => {}
        }
    }
    Some(object)
}
