//! The goal: the wanted root, then its `/usr` if that is separate, from "not seen" to "handed over".

use std::collections::BTreeMap;

use cmdline::Plan;
use cmdline::plan::RootSpec;

use crate::assemble::ata_raid::external;
use crate::command::{MountRequest, Mountpoint};
use crate::event::{CommandId, DevName, DmFacts, Failure};
use crate::fstab::Entry;
use crate::matching;
use crate::table::{Device, Table};

/// How far the way to the root has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// No usable device matches.
    Wanted,
    /// The driver of its file system is being loaded.
    LoadingFs(CommandId, DevName),
    /// Its driver is there, or nothing more can be done about it: next is the mount.
    FsReady(DevName),
    /// It is being mounted.
    Mounting(CommandId, DevName),
    /// It is mounted at `/sysroot`.
    Mounted(DevName),
    /// The hand-over has begun: nothing more may be commanded.
    Switching(CommandId, DevName),
}

/// The wanted root.
#[derive(Debug, Clone)]
pub struct Goal {
    /// What is to be mounted.
    pub mountpoint: Mountpoint,
    /// What the fstab of the mounted root says about `/usr`, until that is the goal.
    pub usr: Option<Box<Entry>>,
    /// Where the way has come.
    pub stage: Stage,
    /// Devices that matched and could not be mounted.
    pub failures: BTreeMap<DevName, Failure>,
    /// Why the last hand-over did not work.
    pub handover_failure: Option<Failure>,
    /// A device named by the operator, which goes before `root=`.
    pub by_hand: Option<String>,
    /// Look-alikes that were already named in the log.
    pub named: Vec<DevName>,
    /// The types whose drivers were asked for.
    pub fstypes: Vec<String>,
    /// The device that is being mounted was taken away meanwhile.
    pub replaced_meanwhile: bool,
    /// A file system of several devices may be mounted although some are missing.
    pub degraded: bool,
}

/// Whether a device lies on the verity mapping of this name, or is that.
fn is_on(table: &Table, device: &Device, name: &str) -> bool {
    let verity = |dm: &DmFacts| dm.name == name && dm.uuid.starts_with("CRYPT-VERITY-");
    let is_it = |device: &&Device| device.facts.dm.as_ref().is_some_and(verity);
    table.stack(device).iter().any(is_it)
}

impl Goal {
    /// A goal that nothing was done for yet.
    #[must_use]
    pub fn new(mountpoint: Mountpoint) -> Goal {
        Goal {
            mountpoint,
            usr: None,
            stage: Stage::Wanted,
            failures: BTreeMap::new(),
            handover_failure: None,
            by_hand: None,
            named: Vec::new(),
            fstypes: Vec::new(),
            replaced_meanwhile: false,
            degraded: false,
        }
    }

    /// What names the root now.
    #[must_use]
    pub fn spec(&self, plan: &Plan) -> Option<RootSpec> {
        self.by_hand.clone().map(RootSpec::Path).or_else(|| plan.root.spec.clone())
    }

    /// All devices that `root=` names and that nothing else is built on, best first. With a root hash only what was
    /// checked against it: anybody can give a disk the UUID of the root.
    #[must_use]
    pub fn matches<'a>(&self, plan: &Plan, table: &'a Table) -> Vec<&'a Device> {
        let Some(spec) = self.spec(plan) else { return Vec::new() };
        // Whoever names another device by hand sees what it is.
        let verified = match self.mountpoint {
            _ if self.by_hand.is_some() => None,
            Mountpoint::Root => plan.verity.verified_root(),
            Mountpoint::Usr => plan.verity.verified_usr(),
        };
        let mut found: Vec<&Device> = table
            .iter()
            .filter(|device| device.is_free() && matching::is_named_by(&spec, device, table))
            .filter(|device| table.holders(&device.name).next().is_none())
            .filter(|device| verified.is_none_or(|name| is_on(table, device, name)))
            .collect();
        found.sort_by_key(|device| matching::preference(device));
        found
    }

    /// Those that can be mounted as they are and have not failed yet, best first.
    pub fn mountable<'a>(&self, plan: &Plan, table: &'a Table) -> impl Iterator<Item = &'a Device> {
        self.mountable_when_complete(plan, table)
            .filter(|device| self.degraded || missing(table, device) == 0)
    }

    /// Those, and those that wait for further devices of their file system.
    fn mountable_when_complete<'a>(&self, plan: &Plan, table: &'a Table) -> impl Iterator<Item = &'a Device> {
        let matches = self.matches(plan, table);
        let names: Vec<DevName> = matches.iter().map(|device| device.name.clone()).collect();
        // A copy is not taken for its original, nor before that was read.
        let gives_way = move |device: &Device| {
            let is_other = |original: &Device| original.is_settled() && !names.contains(&original.name);
            device.copy_of.is_some() && !table.original(device).is_some_and(is_other)
        };
        matches
            .into_iter()
            .filter(move |device| !gives_way(device))
            .filter(|device| !self.failures.contains_key(&device.name) && obstacle(plan, device).is_none())
    }

    /// A device that is mountable but for missing devices of its file system.
    #[must_use]
    pub fn incomplete<'a>(&self, plan: &Plan, table: &'a Table) -> Option<&'a Device> {
        self.mountable_when_complete(plan, table).find(|device| missing(table, device) > 0)
    }

    /// The device to mount next.
    #[must_use]
    pub fn candidate<'a>(&self, plan: &Plan, table: &'a Table) -> Option<&'a Device> {
        self.mountable(plan, table).next()
    }

    /// The device that is mounted or about to be.
    #[must_use]
    pub fn device(&self) -> Option<&DevName> {
        match &self.stage {
            Stage::Wanted => None,
            Stage::LoadingFs(_, name)
            | Stage::FsReady(name)
            | Stage::Mounting(_, name)
            | Stage::Mounted(name)
            | Stage::Switching(_, name) => Some(name),
        }
    }
}

/// The types to mount a device as: what probing finds wins over what the user says.
#[must_use]
pub fn fstypes(plan: &Plan, device: &Device) -> Vec<String> {
    match device.signature() {
        Some(signature) if signature.kind.is_filesystem() => vec![signature.kind.name().to_owned()],
        _ => plan.root.fstype.iter().filter(|name| name.as_str() != "auto").cloned().collect(),
    }
}

/// Why a device that is named by `root=` cannot be mounted as it is.
#[must_use]
pub fn obstacle(plan: &Plan, device: &Device) -> Option<String> {
    let Some(content) = device.content() else {
        return Some("its content is not known yet".to_owned());
    };
    if content.is_ambiguous() {
        let kinds: Vec<&str> = content.signatures.iter().map(|signature| signature.kind.name()).collect();
        return Some(format!("it carries several valid signatures ({})", kinds.join(", ")));
    }
    match content.only() {
        Some(signature) if signature.kind.is_filesystem() => None,
        Some(signature) => Some(format!("it holds {}, not a file system", signature.kind.name())),
        None if !fstypes(plan, device).is_empty() => None,
        None => Some("it holds no file system that this version knows; rootfstype= may name one".to_owned()),
    }
}

/// The devices of the file system that this one is a device of, each once, in the order of their numbers; none for a
/// file system that lies on one device.
#[must_use]
pub fn members<'a>(table: &'a Table, device: &Device) -> Vec<&'a Device> {
    if place(device).is_none_or(|(_, count)| count < 2) {
        return Vec::new();
    }
    let of_it = |other: &&Device| {
        let same = |one: &Device, other: &Device| {
            let (one, other) = (one.signature()?, other.signature()?);
            Some(one.kind == other.kind && one.uuid == other.uuid)
        };
        other.is_free() && same(device, other) == Some(true) && place(other).is_some()
    };
    let mut members: Vec<&Device> = table.iter().filter(of_it).collect();
    // A copy of a member, or a path to it, counts once; the assembled one is meant.
    members.sort_by_key(|member| (place(member).map(|(index, _)| index), matching::preference(member)));
    members.dedup_by_key(|member| member.signature().and_then(|signature| signature.uuid_sub.as_ref()));
    members
}

/// How many devices of its file system are not there.
#[must_use]
pub fn missing(table: &Table, device: &Device) -> u64 {
    let Some((_, count)) = place(device).filter(|(_, count)| *count > 1) else { return 0 };
    let seen = u64::try_from(members(table, device).len()).unwrap_or(u64::MAX);
    count.saturating_sub(seen)
}

/// What is missing, e.g. `btrfs UUID=x: 1 of 2 devices seen (sda)`.
#[must_use]
pub fn shortfall(table: &Table, device: &Device) -> String {
    let members = members(table, device);
    let all = place(device).map_or(0, |(_, count)| count);
    let (kind, uuid) =
        device.signature().map_or(("", ""), |one| (one.kind.name(), one.uuid.as_deref().unwrap_or_default()));
    let names = matching::join_names(members.iter().map(|member| &member.name));
    format!("{kind} UUID={uuid}: {} of {all} devices seen ({names})", members.len())
}

/// A device's number within its file system, and how many devices that has.
fn place(device: &Device) -> Option<(u64, u64)> {
    let member = device.content()?.member.as_deref()?;
    let btrfs = member.btrfs().map(|place| (place.index, place.devices));
    btrfs.or_else(|| member.bcachefs().map(|place| (u64::from(place.index), u64::from(place.devices))))
}

/// The request that mounts a device.
#[must_use]
pub fn mount_request(plan: &Plan, table: &Table, device: &Device, mountpoint: Mountpoint) -> MountRequest {
    let members = members(table, device);
    MountRequest {
        mountpoint,
        device: device.name.clone(),
        members: members.iter().map(|member| member.name.clone()).collect(),
        missing: missing(table, device),
        fstypes: fstypes(plan, device),
        flags: plan.root.flags.clone(),
        access: plan.root.access,
        fstab: plan.root.fstab && plan.root.flags.is_none(),
        device_read_only: device.facts.read_only,
        volumes: external::volumes_below(plan, table, members.into_iter().chain([device])),
    }
}
