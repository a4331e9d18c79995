//! What the kernel would make of a file that is to be executed. No I/O.

/// How the kernel would start a file (`fs/binfmt_elf.c`, `fs/binfmt_script.c`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Executable {
    /// A program for a machine, with its dynamic loader if it names one.
    Elf {
        /// `e_machine`.
        machine: u16,
        /// `PT_INTERP`.
        loader: Option<String>,
    },
    /// A script, with the program that reads it.
    Script(String),
    /// Nothing that the kernel starts by itself.
    Unknown,
}

/// Bytes from the start of the file that [`recognise`] wants to see.
pub const HEAD: usize = 4096;

/// The loaders and scripts that this machine's kernel takes; `None` when every machine is believed.
const MACHINES: Option<&[u16]> = if cfg!(target_arch = "x86_64") {
    // EM_X86_64, EM_386
    Some(&[62, 3])
} else if cfg!(target_arch = "aarch64") {
    // EM_AARCH64, EM_ARM
    Some(&[183, 40])
} else {
    None
};

/// Whether this machine can run programs for that one.
pub fn runs_here(machine: u16) -> bool {
    MACHINES.is_none_or(|machines| machines.contains(&machine))
}

/// Reads the first bytes of a file.
pub fn recognise(head: &[u8]) -> Executable {
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|&byte| byte == b'\n' || byte == 0).next().unwrap_or_default();
        let name = line.split(|byte| matches!(byte, b' ' | b'\t' | b'\r')).find(|word| !word.is_empty());
        return match name {
            Some(name) => Executable::Script(String::from_utf8_lossy(name).into_owned()),
            None => Executable::Unknown,
        };
    }
    if head.starts_with(b"\x7fELF") { elf(head).unwrap_or(Executable::Unknown) } else { Executable::Unknown }
}

/// Fields of the ELF header and program headers as in elf(5); `None` when the header is cut off.
fn elf(head: &[u8]) -> Option<Executable> {
    let wide = *head.get(4)? == 2;
    let big = *head.get(5)? == 2;
    let number = |at: usize, size: usize| -> Option<u64> {
        let bytes = head.get(at..at.checked_add(size)?)?;
        let fold = |all: u64, byte: &u8| (all << 8) | u64::from(*byte);
        Some(if big { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) })
    };
    let machine = u16::try_from(number(18, 2)?).ok()?;
    let (table, entry_size, count) = if wide {
        (number(32, 8)?, number(54, 2)?, number(56, 2)?)
    } else {
        (number(28, 4)?, number(42, 2)?, number(44, 2)?)
    };
    let entry = |index: u64| -> Option<Option<String>> {
        let at = usize::try_from(table.checked_add(index.checked_mul(entry_size)?)?).ok()?;
        // PT_INTERP is 3.
        if number(at, 4)? != 3 {
            return Some(None);
        }
        let (offset, size) = if wide {
            (number(at.checked_add(8)?, 8)?, number(at.checked_add(32)?, 8)?)
        } else {
            (number(at.checked_add(4)?, 4)?, number(at.checked_add(16)?, 4)?)
        };
        let start = usize::try_from(offset).ok()?;
        let name = head.get(start..start.checked_add(usize::try_from(size).ok()?)?)?;
        let name = name.split(|&byte| byte == 0).next()?;
        Some(Some(String::from_utf8_lossy(name).into_owned()))
    };
    // A header outside the bytes at hand ends the search: then the loader stays unknown, and the kernel will judge.
    let loader = (0..count).map_while(entry).flatten().next();
    Some(Executable::Elf { machine, loader })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 64-bit little-endian header with one program header of the given type.
    fn wide(kind: u8) -> Vec<u8> {
        let mut head = vec![0_u8; 160];
        head[..6].copy_from_slice(b"\x7fELF\x02\x01");
        head[18] = 62;
        head[32] = 64;
        head[54] = 56;
        head[56] = 1;
        head[64] = kind;
        head[72] = 128;
        head[96] = 12;
        head[128..140].copy_from_slice(b"/lib/ld.so.9");
        head
    }

    #[test]
    fn programs() {
        let loader = Some("/lib/ld.so.9".to_owned());
        assert_eq!(recognise(&wide(3)), Executable::Elf { machine: 62, loader });
        assert_eq!(recognise(&wide(1)), Executable::Elf { machine: 62, loader: None });
        assert_eq!(recognise(b"\x7fELF\x02\x01"), Executable::Unknown);
        let mut far = wide(3);
        far[79] = 0xff;
        assert_eq!(recognise(&far), Executable::Elf { machine: 62, loader: None });
    }

    #[test]
    fn our_own_binary_is_a_program() {
        let own = std::fs::read("/proc/self/exe").expect("own binary");
        let Executable::Elf { machine, .. } = recognise(&own[..HEAD]) else { panic!("not recognised") };
        assert!(runs_here(machine));
        assert_eq!(runs_here(0xfeed), MACHINES.is_none());
    }

    #[test]
    fn scripts_and_others() {
        let table: [(&[u8], Executable); 6] = [
            (b"#!/bin/sh\necho", Executable::Script("/bin/sh".into())),
            (b"#! /usr/bin/env  python3\n", Executable::Script("/usr/bin/env".into())),
            (b"#!/bin/sh", Executable::Script("/bin/sh".into())),
            (b"#!\n", Executable::Unknown),
            (b"echo hello\n", Executable::Unknown),
            (b"", Executable::Unknown),
        ];
        for (head, expected) in table {
            assert_eq!(recognise(head), expected, "{head:?}");
        }
    }
}
