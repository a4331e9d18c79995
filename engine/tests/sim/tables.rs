//! What device-mapper tables mean: on which devices a mapping lies, and where its bytes are in the end.

use engine::{DmDevice, DmTarget};

/// Major and minor number.
pub type Number = (u32, u32);

/// The number that a word of a table stands for, if it stands for a device.
fn number(word: &str) -> Option<Number> {
    if let Some(minor) = word.strip_prefix("/dev/dm-") {
        return Some((253, minor.parse().ok()?));
    }
    let (major, minor) = word.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The devices that a table names.
pub fn uses(device: &DmDevice) -> Vec<Number> {
    let mut found: Vec<Number> =
        device.targets.iter().flat_map(|target| target.params.split(' ')).filter_map(number).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Where a sector of a mapping lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Below {
    /// On one of these: all of them hold the same, one that is there is enough.
    On(Vec<(Number, u64)>),
    /// In something that begins on this device: its name, and the sector in it.
    In(Number, String),
    /// Nowhere: reading fails.
    Hole,
}

/// Where this sector of a mapping lies.
pub fn below(device: &DmDevice, sector: u64) -> Below {
    let holds = |target: &&DmTarget| (target.start..target.start + target.length).contains(&sector);
    let Some(target) = device.targets.iter().find(holds) else { return Below::Hole };
    let words: Vec<&str> = target.params.split(' ').collect();
    let at = sector - target.start;
    let plain = |word: usize| words.get(word).and_then(|word| word.parse::<u64>().ok());
    let one = |word: usize, sector: u64| match words.get(word).and_then(|word| number(word)) {
        Some(number) => Below::On(vec![(number, sector)]),
        None => Below::Hole,
    };
    match target.kind.as_str() {
        "linear" => one(0, at + plain(1).unwrap_or(0)),
        "snapshot-origin" => one(0, at),
        "striped" => {
            let (Some(count), Some(chunk)) = (plain(0), plain(1)) else { return Below::Hole };
            let stripe = at / chunk;
            let word = 2 + 2 * (stripe % count) as usize;
            one(word, plain(word + 1).unwrap_or(0) + stripe / count * chunk + at % chunk)
        }
        "raid" => {
            let first = 3 + plain(1).unwrap_or(0) as usize;
            let images = words.get(first..).unwrap_or_default().chunks(2).filter_map(|pair| pair.get(1));
            Below::On(images.filter_map(|word| Some((number(word)?, at))).collect())
        }
        "multipath" => Below::On(words.iter().filter_map(|word| Some((number(word)?, at))).collect()),
        "crypt" | "thin" | "snapshot" | "verity" => {
            let Some(base) = words.iter().find_map(|word| number(word)) else { return Below::Hole };
            let rest = words.iter().copied().filter(|word| number(word).is_none());
            let what: Vec<&str> = std::iter::once(target.kind.as_str()).chain(rest).collect();
            Below::In(base, format!("{}+{at}", what.join(" ")))
        }
        // The data come second.
        "thin-pool" => one(1, at),
        _ => Below::Hole,
    }
}
