//! LUKS2's JSON area.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Kdf, KeySlot, Luks, Token};

/// The format allows no more key slots or tokens than this.
const MAX_OBJECTS: usize = 32;

#[derive(Deserialize)]
struct Metadata {
    keyslots: BTreeMap<String, Slot>,
    segments: BTreeMap<String, Segment>,
    #[serde(default)]
    tokens: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    config: Config,
}

#[derive(Deserialize)]
struct Slot {
    kdf: Option<JsonKdf>,
    area: Option<Area>,
    priority: Option<u8>,
}

#[derive(Deserialize)]
struct Area {
    encryption: Option<String>,
}

#[derive(Deserialize)]
struct JsonKdf {
    r#type: String,
    hash: Option<String>,
    iterations: Option<u64>,
    time: Option<u64>,
    memory: Option<u64>,
    cpus: Option<u32>,
}

#[derive(Deserialize)]
struct Segment {
    /// A decimal number, but as a string, since JSON's numbers lose 64-bit precision.
    offset: String,
    encryption: Option<String>,
    integrity: Option<Integrity>,
    sector_size: Option<u32>,
}

#[derive(Deserialize)]
struct Integrity {
    r#type: String,
}

#[derive(Deserialize, Default)]
struct Config {
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    requirements: Requirements,
}

#[derive(Deserialize, Default)]
struct Requirements {
    #[serde(default)]
    mandatory: Vec<String>,
}

/// Objects in the order of their numbers; names that are no numbers are left out.
fn numbered<T>(objects: BTreeMap<String, T>) -> Vec<(u32, T)> {
    let mut objects: Vec<(u32, T)> =
        objects.into_iter().filter_map(|(name, object)| Some((name.parse().ok()?, object))).collect();
    objects.sort_by_key(|(id, _)| *id);
    objects.truncate(MAX_OBJECTS);
    objects
}

fn token(id: u32, object: serde_json::Value) -> Option<Token> {
    let kind = object.get("type")?.as_str()?.to_owned();
    let slots = object.get("keyslots").and_then(serde_json::Value::as_array);
    let slots = slots.into_iter().flatten().take(MAX_OBJECTS);
    let keyslots = slots.filter_map(|slot| slot.as_str()?.parse().ok()).collect();
    Some(Token { id, kind, keyslots, object })
}

/// Adds to `luks` what the JSON area says; `false` if it is not understood.
pub(super) fn fill(luks: &mut Luks, area: &[u8]) -> bool {
    let json = area.split(|byte| *byte == 0).next().unwrap_or(&[]);
    let Ok(metadata) = serde_json::from_slice::<Metadata>(json) else { return false };
    luks.keyslots = numbered(metadata.keyslots)
        .into_iter()
        .map(|(id, slot)| KeySlot {
            id,
            kdf: slot.kdf.map(|kdf| Kdf {
                iterations: kdf.iterations.or(kdf.time).unwrap_or(0),
                memory: kdf.memory.unwrap_or(0),
                threads: kdf.cpus.unwrap_or(1),
                name: kdf.r#type,
                hash: kdf.hash,
            }),
            cipher: slot.area.and_then(|area| area.encryption),
            priority: slot.priority.unwrap_or(1),
        })
        .collect();
    luks.tokens =
        numbered(metadata.tokens).into_iter().filter_map(|(id, object)| token(id, object)).collect();
    // There are several segments only while a container is being reencrypted, and the first says where data begins.
    let Some((_, segment)) = numbered(metadata.segments).into_iter().next() else { return false };
    let Ok(offset) = segment.offset.parse() else { return false };
    luks.data_offset = offset;
    luks.cipher = segment.encryption;
    luks.integrity = segment.integrity.map(|integrity| integrity.r#type);
    luks.sector_size = segment.sector_size.unwrap_or(512);
    luks.flags = metadata.config.flags;
    luks.requirements = metadata.config.requirements.mandatory;
    true
}
