//! Fixed-offset fields of on-disk structures, read without ever panicking.

/// Reads integers and slices at byte offsets; `None` when the buffer is too short.
pub(crate) trait Bytes {
    /// `len` bytes at `at`.
    fn slice(&self, at: usize, len: usize) -> Option<&[u8]>;
    /// One byte at `at`.
    fn u8(&self, at: usize) -> Option<u8>;
    /// An array of `N` bytes at `at`.
    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]>;
    /// Whether the bytes at `at` are `magic`.
    fn has(&self, at: usize, magic: &[u8]) -> bool {
        self.slice(at, magic.len()) == Some(magic)
    }
    /// Little-endian u16 at `at`.
    fn le16(&self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_le_bytes)
    }
    /// Little-endian u32 at `at`.
    fn le32(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }
    /// Little-endian u64 at `at`.
    fn le64(&self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }
    /// Big-endian u16 at `at`.
    fn be16(&self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_be_bytes)
    }
    /// Big-endian u32 at `at`.
    fn be32(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_be_bytes)
    }
    /// Big-endian u64 at `at`.
    fn be64(&self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_be_bytes)
    }
}

impl Bytes for [u8] {
    fn slice(&self, at: usize, len: usize) -> Option<&[u8]> {
        self.get(at..at.checked_add(len)?)
    }

    fn u8(&self, at: usize) -> Option<u8> {
        self.get(at).copied()
    }

    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.slice(at, N)?.try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_at_the_edge() {
        let bytes: &[u8] = &[1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(bytes.le16(6), Some(0x0807));
        assert_eq!(bytes.le16(7), None);
        assert_eq!(bytes.be32(4), Some(0x0506_0708));
        assert_eq!(bytes.le64(0), Some(0x0807_0605_0403_0201));
        assert_eq!(bytes.be64(1), None);
        assert_eq!(bytes.u8(usize::MAX), None);
        assert_eq!(bytes.slice(usize::MAX, 2), None);
        assert!(bytes.has(3, &[4, 5]));
        assert!(!bytes.has(7, &[8, 9]));
    }
}
