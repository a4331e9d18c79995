//! Module files as the kernel wants them, for kernels that cannot unpack them themselves.

use std::io::{self, Read};

use crate::error::{InitError, Result};

/// Larger modules are not believed in; the largest of 2025 (amdgpu, nvidia) stay below 100 MiB with debug data.
const MAX_MODULE: usize = 256 << 20;

/// Memory for an xz dictionary; kernels themselves are built with at most 64 MiB (`XZ_DEC_ALLOC_MAX`).
const XZ_MEMORY_KIB: u32 = 72 << 10;

/// How a module file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// `.ko`
    Plain,
    /// `.ko.gz`
    Gzip,
    /// `.ko.xz`
    Xz,
    /// `.ko.zst`
    Zstd,
}

impl Packing {
    /// By the file name, as kmod tells them apart.
    #[must_use]
    pub fn of_path(path: &str) -> Packing {
        match path.rsplit('.').next() {
            Some("gz") => Packing::Gzip,
            Some("xz") => Packing::Xz,
            Some("zst") => Packing::Zstd,
            _ => Packing::Plain,
        }
    }

    /// The kernel's name for it, as in `/sys/module/compression`.
    #[must_use]
    pub fn kernel_name(self) -> Option<&'static str> {
        match self {
            Packing::Plain => None,
            Packing::Gzip => Some("gzip"),
            Packing::Xz => Some("xz"),
            Packing::Zstd => Some("zstd"),
        }
    }
}

/// Unpacks the file called `name`.
///
/// # Errors
/// [`InitError::Unfit`] if the data is damaged or unpacks to more than any module has.
pub fn unpack(name: &str, packing: Packing, data: Vec<u8>) -> Result<Vec<u8>> {
    let unpacked = match packing {
        Packing::Plain => return Ok(data),
        Packing::Gzip => read_all(flate2::bufread::MultiGzDecoder::new(data.as_slice()), data.len()),
        // One stream, as the kernel's own decoder wants it.
        Packing::Xz => {
            read_all(lzma_rust2::XzReader::new_mem_limit(data.as_slice(), false, XZ_MEMORY_KIB), data.len())
        }
        Packing::Zstd => zstd(&data),
    };
    unpacked.map_err(|error| {
        InitError::unfit(name, format!("cannot be unpacked: {error}; the image is damaged, build it again"))
    })
}

fn read_all(reader: impl Read, packed: usize) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(packed.saturating_mul(4).min(MAX_MODULE));
    reader.take(MAX_MODULE as u64).read_to_end(&mut out)?;
    if out.len() >= MAX_MODULE { Err(too_large()) } else { Ok(out) }
}

fn zstd(data: &[u8]) -> io::Result<Vec<u8>> {
    let failed = |code| io::Error::new(io::ErrorKind::InvalidData, zstd_safe::get_error_name(code));
    let size =
        zstd_safe::get_frame_content_size(data).map_err(|error| io::Error::other(error.to_string()))?;
    let Some(size) = size else { return zstd_stream(data) };
    let size = usize::try_from(size).ok().filter(|size| *size < MAX_MODULE).ok_or_else(too_large)?;
    let mut out = Vec::with_capacity(size);
    zstd_safe::decompress(&mut out, data).map_err(failed)?;
    Ok(out)
}

/// A frame that does not say its size, as a pipe through zstd(1) makes it.
fn zstd_stream(data: &[u8]) -> io::Result<Vec<u8>> {
    let mut context =
        zstd_safe::DCtx::try_create().ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
    let mut input = zstd_safe::InBuffer::around(data);
    let mut out: Vec<u8> = Vec::new();
    loop {
        if out.len() >= MAX_MODULE {
            return Err(too_large());
        }
        out.reserve(out.len().max(256 << 10));
        let before = (out.len(), input.pos());
        let position = out.len();
        let mut output = zstd_safe::OutBuffer::around_pos(&mut out, position);
        let hint = context
            .decompress_stream(&mut output, &mut input)
            .map_err(|code| io::Error::new(io::ErrorKind::InvalidData, zstd_safe::get_error_name(code)))?;
        if hint == 0 {
            return Ok(out);
        }
        if before == (out.len(), input.pos()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is larger than any kernel module")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    /// The real tool's output; `None` where the tool is not installed.
    fn packed(tool: &str, arguments: &[&str], data: &[u8]) -> Option<Vec<u8>> {
        let mut child =
            Command::new(tool).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let mut input = child.stdin.take()?;
        let data = data.to_vec();
        let writer = std::thread::spawn(move || input.write_all(&data));
        let output = child.wait_with_output().ok()?;
        writer.join().ok()?.ok()?;
        Some(output.stdout)
    }

    fn sample() -> Vec<u8> {
        (0..150_000_u32).flat_map(|n| ((n / 7) ^ (n % 251)).to_le_bytes()).collect()
    }

    #[test]
    fn what_the_tools_pack_comes_back() {
        let data = sample();
        let mut tried = 0;
        for (tool, arguments, packing) in [
            ("gzip", &["-c"][..], Packing::Gzip),
            // As the kernel's own build calls it.
            ("xz", &["--check=crc32", "--lzma2=dict=1MiB", "-c"], Packing::Xz),
            ("xz", &["--check=sha256", "-c"], Packing::Xz),
            ("zstd", &["-c"], Packing::Zstd),
        ] {
            let Some(file) = packed(tool, arguments, &data) else { continue };
            tried += 1;
            assert_eq!(unpack("m", packing, file.clone()).unwrap(), data, "{tool}");
            let cut = file[..file.len() / 2].to_vec();
            assert!(unpack("m", packing, cut).is_err(), "{tool}: a cut file");
            let mut damaged = file;
            let middle = damaged.len() / 2;
            damaged[middle] ^= 0x55;
            assert_ne!(unpack("m", packing, damaged).ok(), Some(data.clone()), "{tool}: a damaged file");
        }
        assert!(tried >= 3, "gzip and xz are on every build machine");
    }

    #[test]
    fn a_zstd_frame_without_and_with_its_size() {
        let data = sample();
        let mut sized = Vec::with_capacity(zstd_safe::compress_bound(data.len()));
        zstd_safe::compress(&mut sized, &data, 3).unwrap();
        assert_eq!(zstd_safe::get_frame_content_size(&sized).unwrap(), Some(data.len() as u64));
        assert_eq!(zstd(&sized).unwrap(), data);
        assert_eq!(zstd_stream(&sized).unwrap(), data);
        assert!(zstd_stream(&sized[..sized.len() - 9]).is_err());
        assert!(zstd(b"not zstd at all").is_err());
    }

    #[test]
    fn packing_is_told_by_the_name() {
        for (path, packing, name) in [
            ("kernel/a.ko", Packing::Plain, None),
            ("kernel/a.ko.xz", Packing::Xz, Some("xz")),
            ("kernel/a.ko.zst", Packing::Zstd, Some("zstd")),
            ("kernel/a.ko.gz", Packing::Gzip, Some("gzip")),
        ] {
            assert_eq!(Packing::of_path(path), packing);
            assert_eq!(packing.kernel_name(), name);
        }
    }
}
