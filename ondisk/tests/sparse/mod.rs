//! A disk that is mostly empty.

use ondisk::{ReadAt, ReadError};

/// Zeroes, except for a few runs of bytes.
#[derive(Clone)]
pub struct Sparse {
    pub size: u64,
    pub runs: Vec<(u64, Vec<u8>)>,
}

impl ReadAt for Sparse {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ReadError> {
        let end = offset.checked_add(buf.len() as u64).filter(|end| *end <= self.size).expect("inside");
        buf.fill(0);
        for (at, bytes) in &self.runs {
            let from = offset.max(*at);
            let to = end.min(at + bytes.len() as u64);
            if from < to {
                let into = usize::try_from(from - offset).unwrap()..usize::try_from(to - offset).unwrap();
                let out = usize::try_from(from - at).unwrap()..usize::try_from(to - at).unwrap();
                buf[into].copy_from_slice(&bytes[out]);
            }
        }
        Ok(buf.len())
    }

    fn size(&self) -> u64 {
        self.size
    }
}
