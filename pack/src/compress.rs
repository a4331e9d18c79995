//! The compressions that a stock kernel unpacks: zstd, gzip, xz.

use std::io::{Read, Write};

use crate::error::{Error, Result};

/// How an image, or each module in it, is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// zstd: fast to unpack, nearly as small as xz.
    Zstd,
    /// gzip: for old kernels.
    Gzip,
    /// xz: smallest, slow to unpack.
    Xz,
}

/// zstd's highest level that needs no more than 8 MiB of window to unpack.
pub const ZSTD_LEVEL: i32 = 19;
/// More than any initramfs unpacks to; a bomb stops here.
const MAX_UNPACKED: u64 = 2 << 30;

impl Compression {
    /// By its name on the command line.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "none" => Some(Compression::None),
            "zstd" => Some(Compression::Zstd),
            "gzip" => Some(Compression::Gzip),
            "xz" => Some(Compression::Xz),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Zstd => "zstd",
            Compression::Gzip => "gzip",
            Compression::Xz => "xz",
        }
    }

    /// By the end of a file name: `.zst`, `.gz`, `.xz`.
    #[must_use]
    pub fn of_file(name: &str) -> Self {
        match name.rsplit_once('.').map(|(_, end)| end) {
            Some("zst") => Compression::Zstd,
            Some("gz") => Compression::Gzip,
            Some("xz") => Compression::Xz,
            _ => Compression::None,
        }
    }

    /// By the first bytes of a stream (`lib/decompress.c`); `None` is something else, such as a cpio archive.
    ///
    /// # Errors
    /// A compression that is recognised and not read here.
    pub fn of_bytes(bytes: &[u8]) -> Result<Option<Self>> {
        Ok(Some(match bytes {
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
            [0x1f, 0x8b | 0x9e, ..] => Compression::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
            [b'B', b'Z', b'h', ..] => return Err(Error::Compression("bzip2")),
            [0x5d, 0, 0, ..] => return Err(Error::Compression("lzma")),
            [0x89, b'L', b'Z', b'O', ..] => return Err(Error::Compression("lzop")),
            [0x02, 0x21, 0x4c, 0x18, ..] => return Err(Error::Compression("lz4")),
            _ => return Ok(None),
        }))
    }

    /// Packs; the same bytes every time.
    ///
    /// # Errors
    /// None in practice: everything happens in memory.
    pub fn pack(self, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        match self {
            Compression::None => Ok(bytes.to_vec()),
            // The content size in the frame lets the kernel take a window no larger than the image.
            Compression::Zstd => zstd::bulk::compress(bytes, ZSTD_LEVEL),
            Compression::Gzip => {
                let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
                writer.write_all(bytes)?;
                writer.finish()
            }
            Compression::Xz => {
                let mut options = lzma_rust2::XzOptions::with_preset(6);
                // The kernel's decoder knows no other checksum (lib/xz/xz_dec_stream.c).
                options.set_check_sum_type(lzma_rust2::CheckType::Crc32);
                let mut writer = lzma_rust2::XzWriter::new(Vec::new(), options)?;
                writer.write_all(bytes)?;
                writer.finish()
            }
        }
    }

    /// Unpacks one stream from the beginning of `bytes`; returns the content and what follows the stream.
    ///
    /// # Errors
    /// Damaged data, or more than 2 GiB of content.
    pub fn unpack(self, bytes: &[u8]) -> std::io::Result<(Vec<u8>, &[u8])> {
        match self {
            Compression::None => Ok((bytes.to_vec(), &[])),
            Compression::Zstd => {
                let mut reader = zstd::stream::read::Decoder::with_buffer(bytes)?.single_frame();
                let content = drain(&mut reader)?;
                Ok((content, reader.finish()))
            }
            Compression::Gzip => {
                let mut reader = flate2::bufread::GzDecoder::new(bytes);
                let content = drain(&mut reader)?;
                Ok((content, reader.into_inner()))
            }
            Compression::Xz => {
                let mut reader = lzma_rust2::XzReader::new(bytes, false);
                let content = drain(&mut reader)?;
                Ok((content, reader.into_inner()))
            }
        }
    }
}

fn drain(reader: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    reader.take(MAX_UNPACKED + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_UNPACKED {
        return Err(std::io::Error::other("unpacks to more than 2 GiB"));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_rest() {
        let content: Vec<u8> = (0..200_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        for kind in [Compression::Zstd, Compression::Gzip, Compression::Xz] {
            let mut packed = kind.pack(&content).unwrap();
            assert_eq!(packed, kind.pack(&content).unwrap());
            assert!(packed.len() < content.len() / 2, "{kind:?}");
            assert_eq!(Compression::of_bytes(&packed).unwrap(), Some(kind));
            packed.extend_from_slice(b"\0\0rest");
            let (unpacked, rest) = kind.unpack(&packed).unwrap();
            assert!(unpacked == content, "{kind:?}");
            assert_eq!(rest, b"\0\0rest", "{kind:?}");
            assert!(kind.unpack(&packed[..100]).is_err(), "{kind:?}");
        }
    }
}
