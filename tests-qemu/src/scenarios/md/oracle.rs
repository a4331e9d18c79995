//! Arrays as mdadm leaves them in the builder VM, compared with those of a booted root.

use std::collections::BTreeMap;

use crate::scenario::{ensure, equal};
use crate::verdict::Verdict;

/// One array: what `/run/mdadm/map` and `/sys/block/mdN/md` say of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Array {
    /// Kernel name.
    pub(super) node: String,
    /// Metadata version.
    metadata: String,
    /// Path in the map.
    pub(super) path: String,
    /// `md/...` to value.
    pub(super) attributes: BTreeMap<String, String>,
}

/// By the UUID as the map has it.
pub(super) type Arrays = BTreeMap<String, Array>;

impl Array {
    fn get(&self, attribute: &str) -> &str {
        self.attributes.get(attribute).map_or("", |value| value.trim())
    }

    /// The same with members called by their slots: SCSI disks are found in any order.
    fn by_slot(&self) -> Array {
        let renamed = self.attributes.iter().map(|(name, value)| {
            let member = name.strip_prefix("md/dev-").and_then(|rest| rest.split_once('/'));
            let name = member.map_or_else(
                || name.clone(),
                |(disk, rest)| format!("md/slot {}/{rest}", self.get(&format!("md/dev-{disk}/slot"))),
            );
            (name, value.clone())
        });
        Array { attributes: renamed.collect(), ..self.clone() }
    }

    /// Whether it was started.
    pub(super) fn runs(&self) -> bool {
        !matches!(self.get("md/array_state"), "" | "clear" | "inactive")
    }
}

/// What differs from moment to moment, or tells of speed.
fn is_fleeting(attribute: &str) -> bool {
    [
        "md/sync_",
        "md/last_sync_action",
        "md/mismatch_cnt",
        "md/stripe_cache_active",
        "md/uuid",
        "md/bitmap/max_backlog",
    ]
    .iter()
    .any(|start| attribute.starts_with(start))
}

/// A line of the map.
fn entry(line: &str, arrays: &mut Arrays) {
    if let [node, metadata, uuid, path] = line.split_whitespace().collect::<Vec<_>>()[..] {
        let array = arrays.entry(uuid.to_owned()).or_default();
        (array.node, array.metadata, array.path) = (node.into(), metadata.into(), path.into());
    }
}

/// One part of the dump that the scripts beside this file leave.
pub(super) fn dumped(dump: &str, title: &str) -> Arrays {
    let mut arrays = Arrays::new();
    let mut by_node: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
    let wanted = format!("== {title}");
    let lines = dump.lines().skip_while(|line| *line != wanted).skip(1);
    for line in lines.take_while(|line| !line.starts_with("== ")) {
        if let Some(line) = line.strip_prefix("map ") {
            entry(line, &mut arrays);
        } else if let Some((node, rest)) = line.split_once(' ')
            && let Some((attribute, value)) = rest.split_once(':')
        {
            let known = by_node.entry(node).or_default().entry(attribute.to_owned()).or_default();
            known.push_str(value);
            known.push(' ');
        }
    }
    for array in arrays.values_mut() {
        array.attributes = by_node.get(array.node.as_str()).cloned().unwrap_or_default();
    }
    arrays
}

/// The arrays of a booted root.
pub(super) fn booted(verdict: &Verdict) -> Arrays {
    let mut arrays = Arrays::new();
    let map = verdict.run.iter().find(|entry| entry.path == "/run/mdadm/map");
    for line in map.and_then(|map| map.content.as_deref()).unwrap_or_default().lines() {
        entry(line, &mut arrays);
    }
    for array in arrays.values_mut() {
        array.attributes = verdict.arrays.get(&array.node).cloned().unwrap_or_default();
    }
    arrays
}

/// Compares all arrays. `left_alone` are paths of arrays that mdadm starts there and we do not; what mdadm has not
/// started must not run here either. `read_auto` are paths of arrays that may be read-only until written to on one side
/// only.
pub(super) fn same(
    dump: &str,
    title: &str,
    verdict: &Verdict,
    left_alone: &[&str],
    read_auto: &[&str],
) -> Result<(), String> {
    let (wanted, seen) = (dumped(dump, title), booted(verdict));
    ensure(!wanted.is_empty(), || format!("the dump has no arrays under {title}"))?;
    let mut faults = Vec::new();
    for (uuid, mdadms) in &wanted {
        let own = seen.get(uuid).filter(|own| own.runs());
        match own {
            None if !mdadms.runs() || left_alone.contains(&mdadms.path.as_str()) => {}
            None => faults.push(format!("{} {uuid} does not run", mdadms.path)),
            Some(own) if mdadms.runs() => {
                let may = read_auto.contains(&mdadms.path.as_str());
                faults.extend(
                    differences(mdadms, own, may).into_iter().map(|what| format!("{}: {what}", own.path)),
                );
                faults.extend(links(uuid, own, verdict).err());
            }
            Some(own) => faults.push(format!("{} runs, which mdadm has not started", own.path)),
        }
    }
    let strange = seen.iter().filter(|(uuid, array)| array.runs() && !wanted.contains_key(*uuid));
    faults.extend(strange.map(|(uuid, array)| format!("{} {uuid} is unknown to mdadm", array.path)));
    ensure(faults.is_empty(), || faults.join("; "))
}

fn differences(mdadms: &Array, own: &Array, read_auto: bool) -> Vec<String> {
    let is_external = mdadms.metadata.starts_with('/');
    let (mdadms, own) = if is_external { (&mdadms.by_slot(), &own.by_slot()) } else { (mdadms, own) };
    let mut faults = Vec::new();
    let mut unlike = |what: &str, mdadm: &str, ours: &str| {
        if mdadm != ours {
            faults.push(format!("{what} is {ours:?}, mdadm's {mdadm:?}"));
        }
    };
    unlike("path", &mdadms.path, &own.path);
    unlike("metadata", &mdadms.metadata, &own.metadata);
    let last = mdadms.path.rsplit('/').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        unlike("node", &mdadms.node, &own.node);
    }
    // What moves while it is looked at.
    let moving = mdadms.get("md/reshape_position") != "none" && !mdadms.get("md/reshape_position").is_empty();
    let state = |array: &Array| match array.get("md/array_state") {
        "read-auto" if !read_auto => "read-auto".to_owned(),
        _ => "running".to_owned(),
    };
    unlike("state", &state(mdadms), &state(own));
    let names = mdadms.attributes.keys().chain(own.attributes.keys());
    for name in names {
        let steady =
            ["md/level", "md/raid_disks", "md/chunk_size", "md/layout", "md/degraded", "md/metadata_version"];
        let skipped = is_fleeting(name)
            || name == "md/array_state"
            || (moving && !steady.contains(&name.as_str()) && !name.ends_with("/slot"));
        // `4 (3)` becomes `4` when the reshape is over, which a booted root may live to see.
        let goal = |array: &Array| {
            let value = array.get(name).to_owned();
            // Who asks for external records of bad blocks has to answer for them, which is mdmon's business: until it
            // runs, a member with a bad block fails.
            let value = value.replace(",external_bbl", "");
            if moving { value.split(' ').next().unwrap_or_default().to_owned() } else { value }
        };
        if !skipped {
            unlike(name, &goal(mdadms), &goal(own));
        }
    }
    faults.sort();
    faults.dedup();
    faults
}

/// The links that udev would have made after mdadm.
fn links(uuid: &str, array: &Array, verdict: &Verdict) -> Result<(), String> {
    let leads = |link: &str| {
        let target = verdict.links.get(link).map(|target| target.rsplit('/').next().unwrap_or_default());
        equal(&target, &Some(array.node.as_str())).map_err(|instead| format!("{link}: {instead}"))
    };
    if array.path.starts_with("/dev/md/") {
        leads(&array.path)?;
    }
    // Version 1's UUID is printed byte by byte, the map has it as numbers.
    let printed: Vec<String> = uuid
        .split(':')
        .map(|group| {
            let bytes: Vec<&str> = (0..4).filter_map(|byte| group.get(byte * 2..byte * 2 + 2)).collect();
            if !array.metadata.starts_with("1.") {
                group.to_owned()
            } else {
                bytes.into_iter().rev().collect()
            }
        })
        .collect();
    leads(&format!("/dev/disk/by-id/md-uuid-{}", printed.join(":")))
}
