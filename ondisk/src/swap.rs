//! Swap space and hibernation images in it (kernel: include/linux/swap.h, kernel/power/swap.c).

use crate::bytes::Bytes as _;
use crate::probe::{Found, Probe};
use crate::{Kind, ReadError, Signature, text};

/// Ten pages is the least that mkswap accepts.
const MIN_SIZE: u64 = 10 * 4096;
/// The magic ends with the first page, and the page size is that of the machine that made it.
const PAGE_SIZES: [usize; 5] = [4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10];
/// The header follows 1 KiB left for a boot loader.
const HEADER: usize = 1024;
/// TuxOnIce puts its own magic at the start and leaves that of swap at the end of the page.
const TUX_ON_ICE: &[u8] = &[0xed, 0xc3, 0x02, 0xe9, 0x98, 0x56, 0xe5, 0x0c];
/// Magics that a hibernated kernel leaves in place of swap's, with blkid's `VERSION`.
const SUSPENDED: [(&[u8], &str); 4] = [
    (b"S1SUSPEND\0", "s1suspend"),
    (b"S2SUSPEND\0", "s2suspend"),
    (b"ULSUSPEND\0", "ulsuspend"),
    (b"LINHIB0001", "linhib0001"),
];

pub(crate) fn probe(probe: &Probe<'_>) -> Result<Found, ReadError> {
    let head = probe.head();
    if probe.size() < MIN_SIZE {
        return Ok(Found::Nothing);
    }
    if head.has(0, TUX_ON_ICE) {
        return Ok(header(head, Kind::SwSuspend, "tuxonice").into());
    }
    for page in PAGE_SIZES {
        let Some(magic) = head.slice(page - 10, 10) else { break };
        if let Some((_, version)) = SUSPENDED.iter().find(|(name, _)| magic.starts_with(trimmed(name))) {
            return Ok(header(head, Kind::SwSuspend, version).into());
        }
        if magic == b"SWAP-SPACE" {
            return Ok(Found::Valid(Signature { version: Some("0".into()), ..Signature::new(Kind::Swap) }));
        }
        if magic == b"SWAPSPACE2" {
            return Ok(version1(probe, page).into());
        }
    }
    Ok(Found::Nothing)
}

/// Without the terminating NUL, which blkid does not ask for.
fn trimmed(name: &[u8]) -> &[u8] {
    name.strip_suffix(&[0]).unwrap_or(name)
}

fn version1(probe: &Probe<'_>, page: usize) -> Option<Signature> {
    let head = probe.head();
    let last = match (head.le32(HEADER)?, head.be32(HEADER)?) {
        (1, _) => head.le32(HEADER + 4)?,
        (_, 1) => head.be32(HEADER + 4)?,
        _ => return None,
    };
    if last == 0 {
        return None;
    }
    let mut signature = header(head, Kind::Swap, "1")?;
    signature.doubt = probe.truncation((u64::from(last) + 1).saturating_mul(page as u64));
    Some(signature)
}

fn header(head: &[u8], kind: Kind, version: &str) -> Option<Signature> {
    // Old tools left junk in the whole header; mkswap has zeroes in the padding where UUID and label are meant.
    let meant = head.has(HEADER + 44 + 128, &[0; 8]);
    let label = text::label(head.slice(HEADER + 28, 16)?);
    Some(Signature {
        uuid: if meant { text::uuid(&head.array(HEADER + 12)?) } else { None },
        label: label.filter(|_| meant),
        version: Some(version.into()),
        ..Signature::new(kind)
    })
}
