//! What a device holds: all parsers, in libblkid's order and with its rules for conflicts.

use crate::probe::{Found, Probe};
use crate::{Content, ReadAt, ReadError, Signature, ext, gpt, luks, mbr, vfat};

/// Devices up to this size are not looked at: an extended partition is a block device of two sectors.
const MIN_SIZE: u64 = 1024;

/// One parser.
type Parser = fn(&Probe<'_>) -> Result<Found, ReadError>;

/// Containers, in libblkid's order; the first one found hides whatever else is there.
const CONTAINERS: &[Parser] = &[luks::probe];
/// Everything else; two of these at once are a contradiction.
const FILESYSTEMS: &[Parser] = &[vfat::probe, ext::probe];

/// Finds out what is on `dev`.
///
/// Costs one read of [`HEAD`](crate::probe::HEAD) bytes, and more only where a format demands it.
///
/// # Errors
/// The error of the device, when its start cannot be read.
pub fn identify(dev: &dyn ReadAt) -> Result<Content, ReadError> {
    let mut content = Content::default();
    if dev.size() <= MIN_SIZE {
        return Ok(content);
    }
    let probe = Probe::new(dev)?;
    content.table = match gpt::table(&probe)? {
        Some(table) => Some(table),
        None => mbr::table(&probe)?,
    };
    signatures(&probe, &mut content)?;
    if content.signatures.is_empty() && content.table.is_none() {
        content.signatures.extend(luks::orphan(&probe)?);
    }
    Ok(content)
}

fn signatures(probe: &Probe<'_>, content: &mut Content) -> Result<(), ReadError> {
    for parser in CONTAINERS {
        if let Some(signature) = sort(parser(probe)?, content) {
            content.signatures.push(signature);
            return Ok(());
        }
    }
    for parser in FILESYSTEMS {
        if let Some(signature) = sort(parser(probe)?, content) {
            content.signatures.push(signature);
            if probe.is_tiny() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Gives a valid signature back and keeps a rejected one for the explanation.
fn sort(found: Found, content: &mut Content) -> Option<Signature> {
    match found {
        Found::Nothing => None,
        Found::Valid(signature) => Some(signature),
        Found::Rejected(signature) => {
            content.rejected.push(signature);
            None
        }
    }
}
