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

impl Sparse {
    /// A disk below `tests/fixtures/raid`: size (u64), then offset (u64), length (u32) and kind of each run: 0 with its bytes,
    /// 1 of ones. Later runs lie over earlier ones.
    #[allow(dead_code, reason = "not every test has one")]
    pub fn fixture(name: &str) -> Sparse {
        let dir = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/raid");
        let bytes = std::fs::read(dir.join(name)).unwrap();
        let (size, mut rest) = bytes.split_at(8);
        let mut runs = Vec::new();
        while let Some((header, tail)) = rest.split_at_checked(13) {
            let offset = u64::from_le_bytes(header[..8].try_into().unwrap());
            let length = u32::from_le_bytes(header[8..12].try_into().unwrap()) as usize;
            rest = tail;
            if header[12] == 1 {
                runs.push((offset, vec![0xff; length]));
            } else {
                runs.push((offset, tail[..length].to_vec()));
                rest = &tail[length..];
            }
        }
        Sparse { size: u64::from_le_bytes(size.try_into().unwrap()), runs }
    }
}
