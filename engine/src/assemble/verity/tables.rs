//! The device-mapper devices that libcryptsetup would make, name, UUID and table (its `lib/libdevmapper.c`,
//! `lib/verity/verity_fec.c`, `lib/integrity/integrity.c`).

use cmdline::integritytab::{IntegrityMode, IntegrityVolume};
use cmdline::verity::{Corruption, RootHashSignature, VerityVolume};
use ondisk::{integrity, verity};

use crate::command::{DmDevice, DmKey, DmTarget, KeySource, MarkedVolume};
use crate::table::Device;

/// What is to be made, and what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) device: DmDevice,
    pub(super) key: Option<DmKey>,
    pub(super) modules: Vec<String>,
}

fn number(device: &Device) -> String {
    format!("{}:{}", device.facts.major, device.facts.minor)
}

/// The mapping of a verity volume; `Err` says why there can be none.
pub(super) fn verity(
    volume: &VerityVolume,
    superblock: Option<&verity::Superblock>,
    data: &Device,
    hash: &Device,
    fec: Option<&Device>,
) -> Result<Made, String> {
    let options = &volume.options;
    let own = verity::Superblock {
        format: options.format,
        uuid: options.uuid.clone().or_else(|| made_up(&volume.root_hash)),
        algorithm: options.algorithm.clone(),
        data_block: options.data_block,
        hash_block: options.hash_block,
        data_blocks: options.data_blocks,
        salt: options.salt.clone(),
        root: None,
    };
    let sb = superblock.unwrap_or(&own);
    if let Some(root) = sb.root.as_ref().filter(|root| **root != volume.root_hash) {
        return Err(format!(
            "the root hash {} is not that of the hashes on {}, whose own is {root}",
            volume.root_hash, hash.name
        ));
    }
    let too_large = || "its sizes are too large".to_owned();
    let (data_block, hash_block) = (u64::from(sb.data_block), u64::from(sb.hash_block));
    let blocks = match sb.data_blocks {
        0 => data.facts.size.checked_div(data_block).unwrap_or(0),
        blocks => blocks,
    };
    let length = blocks.checked_mul(data_block).ok_or_else(too_large)?;
    if length == 0 || length > data.facts.size {
        return Err(format!(
            "{} has {} bytes, but the hashes on {} are for {length}",
            data.name, data.facts.size, hash.name
        ));
    }
    let header = if superblock.is_some() { verity::SUPERBLOCK as u64 } else { 0 };
    let start = options.hash_offset.checked_add(header).ok_or_else(too_large)?.div_ceil(hash_block);
    let salt = if sb.salt.is_empty() { "-" } else { sb.salt.as_str() };
    let mut words: Vec<String> = Vec::new();
    words.extend(match options.corruption {
        Corruption::Fail => None,
        Corruption::Ignore => Some("ignore_corruption".to_owned()),
        Corruption::Restart => Some("restart_on_corruption".to_owned()),
        Corruption::Panic => Some("panic_on_corruption".to_owned()),
    });
    for (wanted, word) in [
        (options.ignore_zero_blocks, "ignore_zero_blocks"),
        (options.check_at_most_once, "check_at_most_once"),
        (options.tasklets, "try_verify_in_tasklet"),
    ] {
        words.extend(wanted.then(|| word.to_owned()));
    }
    if let Some(fec) = fec {
        if data_block != hash_block || !options.fec_offset.is_multiple_of(hash_block) {
            return Err(
                "error correction needs equal block sizes, and fec-offset= at a multiple of them".to_owned()
            );
        }
        // The correction covers data, hashes and whatever follows them up to itself.
        let end = if fec.name == hash.name { options.fec_offset } else { hash.facts.size };
        let covered = match end.checked_div(data_block).unwrap_or(0) {
            0 => blocks,
            hashes => hashes.saturating_sub(start).saturating_add(blocks),
        };
        let first = options.fec_offset.checked_div(hash_block).unwrap_or(0);
        words.extend(["use_fec_from_device".to_owned(), number(fec)]);
        // In the order in which the kernel shows them.
        words.extend(["fec_blocks".to_owned(), covered.to_string()]);
        words.extend(["fec_start".to_owned(), first.to_string()]);
        words.extend(["fec_roots".to_owned(), options.fec_roots.to_string()]);
    }
    let source = match &options.signature {
        None => None,
        Some(RootHashSignature::File(path)) => Some(KeySource::File(path.clone())),
        Some(RootHashSignature::Bytes(bytes)) => Some(KeySource::Bytes(bytes.clone())),
        Some(RootHashSignature::Unusable) => {
            return Err("the signature of its root hash is neither a path nor base64: and a text".to_owned());
        }
    };
    let key = source.map(|source| {
        let id = sb.uuid.as_ref().map(|uuid| format!("{uuid}-")).unwrap_or_default();
        let description = format!("cryptsetup:{id}{}", volume.name);
        words.extend(["root_hash_sig_key_desc".to_owned(), description.clone()]);
        DmKey::Keyring { description, source }
    });
    let mut params = format!(
        "{} {} {} {data_block} {hash_block} {blocks} {start} {} {} {salt}",
        sb.format,
        number(data),
        number(hash),
        sb.algorithm,
        volume.root_hash,
    );
    if !words.is_empty() {
        params.push_str(&format!(" {} {}", words.len(), words.join(" ")));
    }
    let device = device(&volume.name, "VERITY", sb.uuid.as_deref(), "verity", length >> 9, params, true);
    let modules = vec!["dm-verity".to_owned(), format!("crypto-{}", sb.algorithm)];
    Ok(Made { device, key, modules })
}

/// Without superblock there is no UUID; libcryptsetup draws one, which nobody can know.
fn made_up(root_hash: &str) -> Option<String> {
    let part = |from, to| root_hash.get(from..to);
    Some(format!("{}-{}-{}-{}-{}", part(0, 8)?, part(8, 12)?, part(12, 16)?, part(16, 20)?, part(20, 32)?))
}

/// The mapping of a dm-integrity volume.
pub(super) fn integrity(
    volume: &IntegrityVolume,
    sb: &integrity::Superblock,
    device: &Device,
    data: Option<&Device>,
    volumes: Vec<MarkedVolume>,
) -> Made {
    let mut words: Vec<String> = Vec::new();
    let bitmap = volume.mode == IntegrityMode::Bitmap;
    // Tags that lie in the disk's own metadata leave no choice, and no journal.
    let inline = sb.is_inline();
    if volume.watermark > 0 && !inline {
        let word = if bitmap { "sectors_per_bit" } else { "journal_watermark" };
        words.push(format!("{word}:{}", volume.watermark));
    }
    if volume.commit_time > 0 && !inline {
        let word = if bitmap { "bitmap_flush_interval" } else { "commit_time" };
        words.push(format!("{word}:{}", volume.commit_time));
    }
    words.push(format!("block_size:{}", sb.block));
    let key = volume.key.clone().map(DmKey::Hex);
    let hex = if key.is_some() { format!(":{}", DmKey::PLACE) } else { String::new() };
    words.push(format!("internal_hash:{}{hex}", volume.algorithm));
    // Both only matter when a device is formatted; every kernel since 5.11 knows them.
    words.extend(["fix_padding".to_owned(), "fix_hmac".to_owned()]);
    if sb.is_recalculating() {
        words.push("recalculate".to_owned());
    }
    if volume.discard {
        words.push("allow_discards".to_owned());
    }
    if data.is_some() {
        words.push(format!("meta_device:{}", number(device)));
    }
    let mode = match volume.mode {
        IntegrityMode::Recovery => 'R',
        _ if inline => 'I',
        IntegrityMode::Journal => 'J',
        IntegrityMode::Bitmap => 'B',
        IntegrityMode::Direct => 'D',
    };
    let params =
        format!("{} 0 {} {mode} {} {}", number(data.unwrap_or(device)), sb.tag, words.len(), words.join(" "));
    let recovery = volume.mode == IntegrityMode::Recovery;
    let protected = device.facts.read_only || data.is_some_and(|data| data.facts.read_only);
    let read_only = recovery || (protected && volumes.is_empty());
    let volumes = if read_only { Vec::new() } else { volumes };
    let mut modules = vec!["dm-integrity".to_owned()];
    let names = volume.algorithm.split(['(', ')']).filter(|name| !name.is_empty());
    modules.extend(names.map(|name| format!("crypto-{name}")));
    Made {
        device: DmDevice {
            volumes,
            ..self::device(&volume.name, "INTEGRITY", None, "integrity", sb.sectors, params, read_only)
        },
        key,
        modules,
    }
}

fn device(
    name: &str,
    family: &str,
    uuid: Option<&str>,
    kind: &str,
    length: u64,
    params: String,
    read_only: bool,
) -> DmDevice {
    let id: String = uuid.unwrap_or_default().chars().filter(|c| *c != '-').collect();
    let dash = if id.is_empty() { "" } else { "-" };
    DmDevice {
        name: name.to_owned(),
        uuid: format!("CRYPT-{family}-{id}{dash}{name}"),
        targets: vec![DmTarget { start: 0, length, kind: kind.to_owned(), params }],
        read_only,
        ..DmDevice::default()
    }
}
