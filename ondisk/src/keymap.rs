//! Compiled console keymaps: what `loadkeys --bkeymap` of kbd writes.
//!
//! Seven bytes `bkeymap`, a flag for each of 256 tables (one table for each combination of modifiers), and for each
//! table that is there 128 key symbols of two bytes (kbd, src/libkeymap/dump.c, `lk_dump_bkeymap`). The symbols are in the
//! byte order of the machine that compiled them, which is little-endian wherever this program runs, and in the form that
//! the `KDSKBENT` call takes.

use std::fmt;

const MAGIC: &[u8] = b"bkeymap";
const TABLES: usize = 256;
const KEYS: usize = 128;

/// The symbol of a key that has no meaning, or none in this layout (`K_HOLE`, include/uapi/linux/keyboard.h).
pub const HOLE: u16 = 0x0200;

/// Why bytes are no keymap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeymapError {
    /// They do not begin as one.
    Magic,
    /// The tables that are announced are not all there, or more is.
    Length {
        /// Bytes that the announced tables take.
        wanted: usize,
        /// Bytes that are there.
        found: usize,
    },
}

impl fmt::Display for KeymapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeymapError::Magic => f.write_str("it does not begin with `bkeymap`"),
            KeymapError::Length { wanted, found } => {
                write!(f, "its tables take {wanted} bytes and {found} are there")
            }
        }
    }
}

impl std::error::Error for KeymapError {}

/// What one key means with one combination of modifiers held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyMeaning {
    /// The combination: shift is 1, AltGr 2, control 4, alt 8 and so on (include/uapi/linux/keyboard.h).
    pub table: u8,
    /// The keycode.
    pub key: u8,
    /// The symbol.
    pub symbol: u16,
}

/// Reads a compiled keymap.
///
/// # Errors
/// See [`KeymapError`].
pub fn parse(bytes: &[u8]) -> Result<Vec<KeyMeaning>, KeymapError> {
    let flags = bytes.strip_prefix(MAGIC).ok_or(KeymapError::Magic)?;
    let head = MAGIC.len().saturating_add(TABLES);
    let length = |tables: usize| head.saturating_add(tables.saturating_mul(2 * KEYS));
    let (flags, symbols) =
        flags.split_at_checked(TABLES).ok_or(KeymapError::Length { wanted: head, found: bytes.len() })?;
    let present = || (0_u8..=u8::MAX).zip(flags).filter(|(_, flag)| **flag != 0).map(|(table, _)| table);
    let wanted = length(present().count());
    if wanted != bytes.len() {
        return Err(KeymapError::Length { wanted, found: bytes.len() });
    }
    let places = present().flat_map(|table| (0_u8..).take(KEYS).map(move |key| (table, key)));
    let symbols = symbols.as_chunks().0.iter().map(|symbol| u16::from_le_bytes(*symbol));
    Ok(places.zip(symbols).map(|((table, key), symbol)| KeyMeaning { table, key, symbol }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(tables: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend((0..=u8::MAX).map(|table| u8::from(tables.contains(&table))));
        for table in tables {
            bytes.extend((0..128_u16).flat_map(|key| (u16::from(*table) << 8 | key).to_le_bytes()));
        }
        bytes
    }

    #[test]
    fn symbols_are_where_their_table_and_key_say() {
        let keymap = parse(&compiled(&[0, 2, 255])).unwrap();
        assert_eq!(keymap.len(), 3 * 128);
        for meaning in keymap {
            assert_eq!(meaning.symbol, u16::from(meaning.table) << 8 | u16::from(meaning.key));
        }
        assert_eq!(parse(&compiled(&[])), Ok(Vec::new()));
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        let whole = compiled(&[1, 4]);
        for length in 0..whole.len() {
            assert!(parse(&whole[..length]).is_err(), "{length}");
        }
        let longer = [&whole[..], &[0]].concat();
        assert_eq!(parse(&longer), Err(KeymapError::Length { wanted: 775, found: 776 }));
        assert_eq!(parse(b"keycode 1 = a"), Err(KeymapError::Magic));
    }
}
