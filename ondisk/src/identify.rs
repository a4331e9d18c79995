//! What a device holds: all parsers, in libblkid's order and with its rules for conflicts.

use crate::probe::{Found, Probe};
use crate::{
    Content, Kind, Member, ReadAt, ReadError, Signature, ata_raid, bcache, bcachefs, bitlocker, btrfs, erofs,
    ext, gpt, integrity, iso9660, luks, lvm, mbr, md, squashfs, swap, verity, vfat, xfs, zfs,
};

/// Devices up to this size are not looked at: an extended partition is a block device of two sectors.
const MIN_SIZE: u64 = 1024;

/// One parser.
type Parser = fn(&Probe<'_>) -> Result<Found, ReadError>;

/// Containers, in libblkid's order; the first one found hides whatever else is there.
const CONTAINERS: &[Parser] = &[lvm::probe, verity::probe, integrity::probe, luks::probe, bitlocker::probe];
/// Everything else; two of these at once are a contradiction.
const FILESYSTEMS: &[Parser] = &[
    bcache::probe,
    vfat::probe,
    swap::probe,
    xfs::probe,
    ext::probe,
    iso9660::probe,
    zfs::probe,
    squashfs::probe,
    btrfs::probe,
    erofs::probe,
    bcachefs::probe,
];

/// Finds out what is on `dev`.
///
/// The rules are those of `blkid -p`: a RAID member or an encrypted container hides what else is there, because its
/// first sectors may be those of the file system inside; several file systems are all reported, for the caller to
/// refuse; a partition table on a RAID member belongs to the array.
///
/// Costs one read of [`HEAD`](crate::HEAD) bytes and three near the end (MD's older superblocks, BIOS RAID), on whole
/// disks a dozen single sectors there (Promise's many places), and more only where a format demands it: a table's logical partitions, the backup of a damaged table, a large LUKS2 header.
///
/// # Errors
/// The error of the device, when its start cannot be read; also when only its end cannot and nothing else was found.
/// (Some drives state a size that is too large: what was found then counts, with a doubt.)
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
    let mut unreadable_end = None;
    // A GPT whose backup is this device's last sector cannot be that of an array which begins here.
    if !gpt::owns_device(&probe) {
        match md::at_end(&probe, content.table.as_ref()) {
            Ok(Some(hit)) => array_member(hit, &mut content),
            Ok(None) => {}
            Err(error) => unreadable_end = Some(error),
        }
        if content.signatures.is_empty()
            && let Some(hit) = md::at_start(&probe)?
        {
            array_member(hit, &mut content);
        }
        if content.signatures.is_empty() && !dev.is_partition() {
            match ata_raid::probe(&probe) {
                Ok(found) => bios_raid(found, &mut content),
                Err(error) => unreadable_end = Some(error),
            }
        }
        if !content.signatures.is_empty() {
            return Ok(content);
        }
    }
    signatures(&probe, &mut content)?;
    if content.signatures.is_empty() && content.table.is_none() {
        content.signatures.extend(luks::orphan(&probe)?);
    }
    content.member = member(&probe, &content)?.map(Box::new);
    match unreadable_end {
        Some(error) if content.signatures.is_empty() && content.table.is_none() => Err(error),
        Some(error) => {
            doubt(&mut content, &format!("{error}, so it may be a RAID member that was not recognised"));
            Ok(content)
        }
        None => Ok(content),
    }
}

/// What the device says of the whole that it is a part of.
fn member(probe: &Probe<'_>, content: &Content) -> Result<Option<Member>, ReadError> {
    let Some(signature) = content.only() else { return Ok(None) };
    Ok(match signature.kind {
        Kind::Lvm2Pv => lvm::member(probe)?.map(Member::Lvm),
        Kind::DmVerity => verity::member(probe)?.map(Member::Verity),
        Kind::DmIntegrity => integrity::member(probe).map(Member::Integrity),
        Kind::Bcache => bcache::member(probe).map(Member::Bcache),
        Kind::Btrfs => btrfs::member(probe).map(Member::Btrfs),
        Kind::Bcachefs => bcachefs::member(probe)?.map(Member::Bcachefs),
        Kind::ZfsMember => zfs::member(signature).map(Member::Zfs),
        _ => None,
    })
}

/// A member of an array hides everything else, the array's own partition table included.
fn array_member((signature, superblock): md::Hit, content: &mut Content) {
    content.table = None;
    content.signatures.push(signature);
    content.member = superblock.map(|superblock| Box::new(Member::Md(superblock)));
}

/// So does a member of a BIOS RAID set.
fn bios_raid(found: Option<ata_raid::Found>, content: &mut Content) {
    if let Some(found) = found {
        content.table = None;
        content.signatures.push(found.signature);
        content.member = found.disk.map(|disk| Box::new(Member::AtaRaid(disk)));
    }
}

/// Adds a doubt to everything found that has none yet.
fn doubt(content: &mut Content, why: &str) {
    let signatures = content.signatures.iter_mut().map(|signature| &mut signature.doubt);
    let table = content.table.iter_mut().map(|table| &mut table.doubt);
    for doubt in signatures.chain(table) {
        doubt.get_or_insert_with(|| why.into());
    }
}

fn signatures(probe: &Probe<'_>, content: &mut Content) -> Result<(), ReadError> {
    for parser in CONTAINERS {
        if let Some(signature) = sort(parser(probe)?, content) {
            if signature.kind == Kind::Lvm2Pv && !settle_lvm(content) {
                continue;
            }
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

/// pvcreate wipes the place of a partition table, so a table beside an LVM label came later and the label is a
/// leftover, except that boot loaders on a PV leave a table without entries. Returns whether the label counts.
fn settle_lvm(content: &mut Content) -> bool {
    match &content.table {
        None => true,
        Some(table) if table.partitions.is_empty() => {
            content.table = None;
            true
        }
        Some(_) => false,
    }
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
