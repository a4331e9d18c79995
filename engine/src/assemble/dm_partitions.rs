//! Partitions of device-mapper devices, which the kernel leaves alone: linear mappings as kpartx makes them
//! (multipath-tools: kpartx/kpartx.c, dos.c), for whoever maps a whole disk (BIOS RAID, multipath).

use std::collections::BTreeMap;

use super::{Requests, View};
use crate::command::{Action, DmDevice, DmTarget};
use crate::event::{CommandId, DevName, DmFacts, Failure, Outcome};
use crate::explain::{Node, State};
use crate::table::{Device, Table};

/// Bytes of a sector.
const SECTOR: u64 = 512;
/// kpartx lets an extended partition be this long, in sectors: what is in it is mapped by itself.
const EXTENDED: u64 = 2;

/// Partitions that were asked for.
#[derive(Debug, Default)]
pub struct DmPartitions {
    /// By the mapping's UUID.
    asked: BTreeMap<String, Progress>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Progress {
    Making(CommandId),
    Made,
    Failed(Failure),
}

/// Partition number and UUID of the disk of a mapping's partition, from `partN-UUID`.
#[must_use]
pub fn parse_uuid(uuid: &str) -> Option<(u32, &str)> {
    let (number, disk) = uuid.strip_prefix("part")?.split_once('-')?;
    Some((number.parse().ok().filter(|number| *number > 0)?, disk))
}

/// The name of a partition: what kpartx is told to put between (`-p`), else a `p` after a name that ends with a digit.
#[must_use]
pub fn name(disk: &str, between: Option<&str>, number: u32) -> String {
    if let Some(between) = between {
        return format!("{disk}{between}{number}");
    }
    let p = if disk.ends_with(|c: char| c.is_ascii_digit()) { "p" } else { "" };
    format!("{disk}{p}{number}")
}

/// The mappings for the partition table found on a device-mapper device; none if it has no UUID. For `between` see
/// [`name`].
#[must_use]
pub fn wanted(device: &Device, between: Option<&str>) -> Vec<DmDevice> {
    let Some(dm) = device.facts.dm.as_ref().filter(|dm| !dm.uuid.is_empty()) else { return Vec::new() };
    let Some(table) = device.content().and_then(|content| content.table.as_ref()) else { return Vec::new() };
    let (major, minor) = (device.facts.major, device.facts.minor);
    let partitions = table.partitions.iter().filter(|partition| {
        partition.start.checked_add(partition.length).is_some_and(|end| end <= device.facts.size)
    });
    let map = |partition: &ondisk::Partition| {
        let extended = matches!(partition.kind.as_str(), "0x5" | "0xf" | "0x85");
        DmDevice {
            name: name(&dm.name, between, partition.number),
            uuid: format!("part{}-{}", partition.number, dm.uuid),
            targets: vec![DmTarget {
                start: 0,
                length: if extended { EXTENDED } else { partition.length / SECTOR },
                kind: "linear".into(),
                params: format!("{major}:{minor} {}", partition.start / SECTOR),
            }],
            read_only: device.facts.read_only,
            ..DmDevice::default()
        }
    };
    partitions.map(map).collect()
}

impl DmPartitions {
    /// Asks for every partition on the mappings that `fits` which is not there yet. For `between` see [`name`].
    pub fn advance(
        &mut self,
        view: View<'_>,
        requests: &mut Requests<'_>,
        fits: impl Fn(&DmFacts) -> bool,
        between: Option<&str>,
    ) {
        let whole = |device: &&Device| device.facts.dm.as_ref().is_some_and(&fits);
        for device in view.table.iter().filter(whole) {
            for partition in wanted(device, between) {
                if self.asked.contains_key(&partition.uuid) || is_there(view.table, &partition.uuid) {
                    continue;
                }
                let uuid = partition.uuid.clone();
                let id = requests.ask(Action::CreateDm(partition));
                self.asked.insert(uuid, Progress::Making(id));
            }
        }
    }

    /// Takes the answer to a request of this part; returns whether it was one.
    pub fn answer(&mut self, id: CommandId, result: &Result<Outcome, Failure>) -> bool {
        let Some(progress) = self.asked.values_mut().find(|one| **one == Progress::Making(id)) else {
            return false;
        };
        *progress = match result {
            Ok(_) => Progress::Made,
            Err(failure) => Progress::Failed(failure.clone()),
        };
        true
    }

    /// A mapping is gone, and its partitions with it.
    pub fn gone(&mut self, table: &Table, device: &DevName) {
        let uuid = table.get(device).and_then(|device| device.facts.dm.as_ref()).map(|dm| dm.uuid.clone());
        if let Some(uuid) = uuid {
            self.asked
                .retain(|part, _| *part != uuid && parse_uuid(part).is_none_or(|(_, disk)| disk != uuid));
        }
    }

    /// Forgets failures.
    pub fn retry(&mut self) {
        self.asked.retain(|_, progress| !matches!(progress, Progress::Failed(_)));
    }

    /// Whether requests are under way.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.asked.values().any(|progress| matches!(progress, Progress::Making(_)))
    }

    /// The partitions of `device` that could not be made.
    #[must_use]
    pub fn explain(&self, device: &Device) -> Option<Node> {
        let dm = device.facts.dm.as_ref()?;
        self.asked.iter().find_map(|(uuid, progress)| match (parse_uuid(uuid), progress) {
            (Some((number, disk)), Progress::Failed(failure)) if disk == dm.uuid => Some(Node::new(
                State::Failed,
                format!("partition {number} of {} was not mapped: {failure}", dm.name),
            )),
            _ => None,
        })
    }
}

fn is_there(table: &Table, uuid: &str) -> bool {
    table.iter().any(|device| device.facts.dm.as_ref().is_some_and(|dm| dm.uuid == uuid))
}
