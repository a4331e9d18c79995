//! FAT12, FAT16 and FAT32 (Microsoft FAT specification; blkid's rules for what counts as FAT and as its label).

use crate::bytes::Bytes as _;
use crate::probe::{Found, Probe};
use crate::{Kind, ReadError, Signature, text};

/// Strings that formatters leave in the boot sector, with their offsets.
const NAMES: [(usize, &[u8]); 6] = [
    (0x52, b"MSWIN"),
    (0x52, b"FAT32   "),
    (0x36, b"MSDOS"),
    (0x36, b"FAT16   "),
    (0x36, b"FAT12   "),
    (0x36, b"FAT     "),
];
const FAT12_MAX: u32 = 0xff4;
const FAT16_MAX: u32 = 0xfff4;
const FAT32_MAX: u32 = 0x0fff_fff6;

const ENTRY: u32 = 32;
/// A root directory is searched for the label up to this many clusters and bytes; the label is normally first.
const MAX_CLUSTERS: u32 = 100;
const MAX_DIRECTORY: u32 = 2 << 20;

/// The fields of a valid boot sector.
struct Boot {
    sector: u32,
    sectors_per_cluster: u32,
    reserved: u32,
    fat_sectors: u32,
    root_entries: u32,
    clusters: u32,
    sectors: u32,
    /// Sectors per FAT of FAT32, 0 for the others.
    fat32_length: u32,
}

/// Whether the first sector is that of a FAT file system; asked by the MBR parser, since both end in 55 AA.
pub(crate) fn is_boot_sector(head: &[u8]) -> bool {
    boot(head).is_some()
}

fn boot(head: &[u8]) -> Option<Boot> {
    let named = NAMES.iter().any(|(at, name)| head.has(*at, name));
    if !named {
        // OS/2 puts FAT-like fields in front of other file systems.
        if !head.has(0x1fe, &[0x55, 0xaa]) || head.has(0x36, b"JFS     ") || head.has(0x36, b"HPFS    ") {
            return None;
        }
    }
    if head.has(3, b"-FVE-FS-") {
        return None;
    }
    let fats = u32::from(head.u8(0x10)?);
    let reserved = u32::from(head.le16(0x0e)?);
    let media = head.u8(0x15)?;
    let sectors_per_cluster = u32::from(head.u8(0x0d)?);
    let sector = u32::from(head.le16(0x0b)?);
    if fats == 0
        || reserved == 0
        || !(media >= 0xf8 || media == 0xf0)
        || !sectors_per_cluster.is_power_of_two()
        || !sector.is_power_of_two()
        || !(512..=4096).contains(&sector)
    {
        return None;
    }
    let root_entries = u32::from(head.le16(0x11)?);
    let sectors = match head.le16(0x13)? {
        0 => head.le32(0x20)?,
        sectors => u32::from(sectors),
    };
    let fat16_length = u32::from(head.le16(0x16)?);
    let fat32_length = if fat16_length == 0 { head.le32(0x24)? } else { 0 };
    let fat_sectors = (fat16_length | fat32_length).wrapping_mul(fats);
    let directory = (root_entries * ENTRY).div_ceil(sector);
    // blkid computes in 32 bits and lets nonsense wrap around into a cluster count that the limits below refuse.
    let clusters = sectors.wrapping_sub(reserved.wrapping_add(fat_sectors).wrapping_add(directory))
        / sectors_per_cluster;
    let max = match (fat32_length, clusters) {
        (1.., _) => FAT32_MAX,
        (0, clusters) if clusters > FAT12_MAX => FAT16_MAX,
        _ => FAT12_MAX,
    };
    (clusters <= max).then_some(Boot {
        sector,
        sectors_per_cluster,
        reserved,
        fat_sectors,
        root_entries,
        clusters,
        sectors,
        fat32_length,
    })
}

pub(crate) fn probe(probe: &Probe<'_>) -> Result<Found, ReadError> {
    let head = probe.head();
    let Some(boot) = boot(head) else { return Ok(Found::Nothing) };
    let (label, serial, version);
    if boot.fat32_length == 0 {
        let start = (u64::from(boot.reserved) + u64::from(boot.fat_sectors)) * u64::from(boot.sector);
        label = match search(probe, start, (boot.root_entries * ENTRY).min(MAX_DIRECTORY))? {
            Search::Label(label) => Some(label),
            Search::End | Search::NotHere => None,
        };
        serial = matches!(head.u8(0x26), Some(0x28 | 0x29)).then(|| head.array(0x27)).flatten();
        version = if boot.clusters < FAT12_MAX {
            Some("FAT12")
        } else {
            (boot.clusters < FAT16_MAX).then_some("FAT16")
        };
    } else {
        if !info_sector_fits(probe, &boot)? {
            return Ok(Found::Nothing);
        }
        label = fat32_label(probe, &boot)?;
        serial = head.array(0x43);
        version = Some("FAT32");
    }
    Ok(Found::Valid(Signature {
        uuid: serial
            .filter(|serial: &[u8; 4]| *serial != [0; 4])
            .map(|[a, b, c, d]| format!("{d:02X}{c:02X}-{b:02X}{a:02X}")),
        label: label.and_then(|label| text::label(&label)),
        version: version.map(Into::into),
        doubt: probe.truncation(u64::from(boot.sectors) * u64::from(boot.sector)),
        ..Signature::new(Kind::Vfat)
    }))
}

/// FAT32 has an information sector; where it is there, its signatures are right or zero.
fn info_sector_fits(probe: &Probe<'_>, boot: &Boot) -> Result<bool, ReadError> {
    let Some(sector @ 1..) = probe.head().le16(0x30) else { return Ok(true) };
    let Some(info) = probe.bytes(u64::from(sector) * u64::from(boot.sector), 512)? else { return Ok(false) };
    let first = [*b"RRaA", *b"RRdA", [0; 4]].iter().any(|magic| info.has(0, magic));
    let second = [*b"rrAa", [0; 4]].iter().any(|magic| info.has(484, magic));
    Ok(first && second)
}

enum Search {
    Label([u8; 11]),
    /// The directory ends here.
    End,
    /// No label in this part.
    NotHere,
}

/// Looks for the volume label among the directory entries of `length` bytes at `start`.
fn search(probe: &Probe<'_>, start: u64, length: u32) -> Result<Search, ReadError> {
    const PIECE: u32 = 4096;
    let mut done = 0;
    while done < length {
        let step = (length - done).min(PIECE);
        let Some(piece) = probe.bytes(start.saturating_add(u64::from(done)), step as usize)? else {
            return Ok(Search::End);
        };
        for entry in piece.chunks_exact(ENTRY as usize) {
            let (Some(first), Some(attributes)) = (entry.u8(0), entry.u8(11)) else { continue };
            if first == 0 {
                return Ok(Search::End);
            }
            let has_cluster = entry.le16(20) != Some(0) || entry.le16(26) != Some(0);
            let long_name = attributes & 0x3f == 0x0f;
            if first == 0xe5 || has_cluster || long_name || attributes & 0x18 != 0x08 {
                continue;
            }
            if let Some(mut name) = entry.array::<11>(0) {
                if let [first @ 0x05, ..] = &mut name {
                    *first = 0xe5;
                }
                return Ok(Search::Label(name));
            }
        }
        done += step;
    }
    Ok(Search::NotHere)
}

/// Walks the clusters of FAT32's root directory.
fn fat32_label(probe: &Probe<'_>, boot: &Boot) -> Result<Option<[u8; 11]>, ReadError> {
    let sector = u64::from(boot.sector);
    let cluster_bytes = boot.sectors_per_cluster * boot.sector;
    let entries = u64::from(boot.fat32_length) * sector / 4;
    let mut cluster = probe.head().le32(0x2c).unwrap_or(0);
    let mut budget = MAX_DIRECTORY;
    for _ in 1..MAX_CLUSTERS {
        if cluster < 2 || u64::from(cluster) >= entries || budget < cluster_bytes {
            break;
        }
        budget -= cluster_bytes;
        let data = u64::from(boot.reserved) + u64::from(boot.fat_sectors);
        let start = (data + u64::from(cluster - 2) * u64::from(boot.sectors_per_cluster)) * sector;
        if let Search::Label(label) = search(probe, start, cluster_bytes)? {
            return Ok(Some(label));
        }
        let entry = u64::from(boot.reserved) * sector + u64::from(cluster) * 4;
        let Some(bytes) = probe.bytes(entry, 4)? else { break };
        cluster = bytes.le32(0).unwrap_or(0) & 0x0fff_ffff;
    }
    Ok(None)
}
