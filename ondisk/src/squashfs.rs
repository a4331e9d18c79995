//! SquashFS 4 (kernel: fs/squashfs/squashfs_fs.h). It has neither UUID nor label nor checksum.

use crate::bytes::Bytes as _;
use crate::probe::{Found, Probe};
use crate::{Kind, ReadError, Signature};

pub(crate) fn probe(probe: &Probe<'_>) -> Result<Found, ReadError> {
    Ok(parse(probe, probe.head()).into())
}

fn parse(probe: &Probe<'_>, sb: &[u8]) -> Option<Signature> {
    let (major, minor) = (sb.le16(28)?, sb.le16(30)?);
    if !sb.has(0, b"hsqs") || major < 4 {
        return None;
    }
    Some(Signature {
        version: Some(format!("{major}.{minor}")),
        doubt: probe.truncation(sb.le64(40)?),
        ..Signature::new(Kind::Squashfs)
    })
}
