//! LVM2 volume groups and logical volumes: which are wanted, when they are activated, with what.
//!
//! Volumes are activated one after the other, device by device; whoever finds root first stops the rest. Groups are
//! drawn up anew from what the devices say whenever something has changed: there is nothing to keep in step.

pub mod activation;
mod choice;
mod conf;
mod group;
mod job;
mod pattern;
mod report;
mod system_id;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ondisk::lvm::{LogicalVolume, VolumeGroup};

use self::activation::{Activation, KernelFacts, Refusal};
use self::choice::Reason;
use self::group::Group;
use self::job::{End, Job, Key};
use super::ata_raid::external::volumes_below;
use super::{Assembler, Hold, Requests, View};
use crate::command::{Action, Loudness};
use crate::event::{CommandId, DevName, Failure, Outcome};
use crate::explain::Node;
use crate::table::{Device, Table};
use crate::time::Moment;

pub use conf::LvmConf;

/// How long a volume waits for PVs of its group that it does not need itself, when degraded starts are never allowed:
/// what they hold may be newer.
const GRACE: Duration = Duration::from_secs(10);

/// How long a device that cannot be read to its end keeps complete groups waiting.
const READING: Duration = Duration::from_secs(1);

/// What has become of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// With the device that users see, once that is known.
    Active(Option<DevName>),
    /// It was refused, or could not be made of these PVs.
    Failed(String, BTreeSet<DevName>),
}

/// The assembler of logical volumes.
#[derive(Debug, Default)]
pub struct Lvm {
    volumes: BTreeMap<Key, State>,
    job: Option<Job>,
    /// The device made last that users see: before it was read nothing else is activated on suspicion.
    fresh: Option<String>,
    /// What was made (with its number) or removed here and the table does not show yet, by UUID.
    unseen: BTreeMap<String, Option<(u32, u32)>>,
    /// Devices that are kept from others while the volume that they belong to is being made.
    held: BTreeSet<DevName>,
    /// When a volume may be started although PVs are missing.
    degraded_at: Option<Moment>,
    /// When a complete group is started although devices are still being read.
    unread_until: Option<Moment>,
    said: BTreeSet<String>,
    /// Snapshots of what was activated and their origins, by UUID.
    snapshots: BTreeMap<String, String>,
}

/// Which volumes are looked at.
#[derive(Debug, Clone, Copy)]
struct Which {
    /// Root may be on any of them.
    sought: bool,
    /// They may be started with images missing.
    degraded: bool,
    /// Those that were named, or the others.
    named: bool,
}

/// What an attempt at a volume came to.
enum Attempt {
    Start(Activation),
    /// PVs are missing that may still come.
    Wait,
    Refused(String),
}

impl Lvm {
    fn say(&mut self, requests: &mut Requests<'_>, loudness: Loudness, text: String) {
        if self.said.insert(text.clone()) {
            requests.ask(Action::Say(loudness, text));
        }
    }

    /// Starts the next volume that is wanted and can be had. Returns whether one was started.
    fn choose(&mut self, view: View<'_>, requests: &mut Requests<'_>) -> bool {
        (self.degraded_at, self.unread_until) = (None, None);
        if !choice::may_want_any(view) {
            return false;
        }
        let conf = view.lvm_conf();
        for warning in &conf.warnings {
            self.say(requests, Loudness::Warning, warning.clone());
        }
        let groups = group::all(view.table, conf);
        let sought = choice::may_be_anywhere(view, &groups) && self.is_settled(view);
        // Redundancy is used up last: a volume that needs none of it may hold the PV that another misses. And it is not
        // used up on suspicion before what was named has been started.
        [(false, true), (false, false), (true, true), (true, false)].into_iter().any(|(degraded, named)| {
            let which = Which { sought, degraded, named };
            self.choose_from(view, conf, &groups, which, requests)
        })
    }

    fn choose_from(
        &mut self,
        view: View<'_>,
        conf: &LvmConf,
        groups: &[Group<'_>],
        which: Which,
        requests: &mut Requests<'_>,
    ) -> bool {
        for group in groups {
            let vg = group.vg;
            let wanted: Vec<(&LogicalVolume, Reason)> = vg
                .lvs
                .iter()
                .filter(|lv| !self.volumes.contains_key(&key(vg, lv)))
                .filter_map(|lv| Some((lv, choice::wanted(view, conf, vg, lv, which.sought)?)))
                .filter(|(_, reason)| (*reason == Reason::Named) == which.named)
                .collect();
            if wanted.is_empty() || group.obstacle(groups, conf).is_some() {
                continue;
            }
            for (lv, _) in wanted {
                if !conf.allows(vg, lv) {
                    let text = "activation/volume_list in lvm.conf does not list it".to_owned();
                    self.volumes.insert(key(vg, lv), State::Failed(text, BTreeSet::new()));
                    continue;
                }
                match self.attempt(view, group, lv, which.degraded) {
                    Attempt::Start(plan) => {
                        self.start(view, group, lv, plan, requests);
                        return true;
                    }
                    Attempt::Wait => {}
                    Attempt::Refused(why) => {
                        let pvs = group.devices().map(|device| device.name.clone()).collect();
                        self.volumes.insert(key(vg, lv), State::Failed(why, pvs));
                    }
                }
            }
        }
        false
    }

    fn attempt(&mut self, view: View<'_>, group: &Group<'_>, lv: &LogicalVolume, degraded: bool) -> Attempt {
        let active = |uuid: &str| {
            // Events come later than answers: the table may still show what is gone, and its number be another's.
            self.unseen.get(uuid).copied().unwrap_or_else(|| shown(view.table, uuid))
        };
        let thin_threshold = view.lvm_conf().thin_threshold();
        let read_only = |lv: &LogicalVolume| view.lvm_conf().is_read_only(group.vg, lv);
        let facts = KernelFacts {
            version: view.image.kernel,
            thin_threshold,
            active: &active,
            read_only: &read_only,
        };
        let present = |id: &str| group.number(id);
        if !group.is_complete() {
            let at = view.at_rest.after(view.plan.degraded.unwrap_or(GRACE));
            if !view.calm || view.now < at {
                if view.calm {
                    self.degraded_at = Some(at);
                }
                return Attempt::Wait;
            }
        } else if view.table.is_reading() {
            // What is there already may be a copy of a PV, with which lvm2 would refuse the group.
            let until = view.last_change.after(READING);
            if view.now < until {
                self.unread_until = Some(until);
                return Attempt::Wait;
            }
        }
        let degraded = degraded && !group.is_complete() && view.plan.degraded.is_some();
        match activation::activate(group.vg, &lv.name, &present, degraded, &facts) {
            Ok(plan) => Attempt::Start(plan),
            Err(Refusal::MissingPv { .. }) => Attempt::Wait,
            Err(refusal) => Attempt::Refused(refusal.to_string()),
        }
    }

    fn start(
        &mut self,
        view: View<'_>,
        group: &Group<'_>,
        lv: &LogicalVolume,
        plan: Activation,
        requests: &mut Requests<'_>,
    ) {
        self.snapshots.extend(choice::snapshots(group.vg));
        let key = key(group.vg, lv);
        let path = format!("{}/{}", group.vg.name, lv.name);
        if plan.devices.is_empty() {
            let named = |device: &&Device| device.facts.dm.as_ref().is_some_and(|dm| dm.name == plan.visible);
            let device = view.table.iter().find(named).map(|device| device.name.clone());
            self.volumes.insert(key, State::Active(device));
            return;
        }
        if !group.is_complete() {
            let missing: Vec<String> = group.missing().map(report::pv_name).collect();
            let what = if plan.degraded.is_empty() {
                format!(
                    "{path} is started although its group lacks {}: it does not lie there",
                    missing.join(", ")
                )
            } else {
                let volumes = plan.degraded.join(", ");
                format!("{path} is started DEGRADED ({volumes}): {} is missing", missing.join(", "))
            };
            self.say(requests, Loudness::Warning, what);
        }
        let pvs = group.devices().map(|device| device.name.clone()).collect();
        let used = group.devices().filter(|device| plan.uses((device.facts.major, device.facts.minor)));
        let volumes = volumes_below(view.plan, view.table, used);
        self.job = Some(Job::start(key, path, plan, pvs, volumes, requests));
    }

    /// Moves the volume on that is being made. Returns whether it came to nothing.
    fn work(&mut self, requests: &mut Requests<'_>) -> bool {
        let Some(mut job) = self.job.take() else { return false };
        match job.advance(requests) {
            None => {
                self.job = Some(job);
                return false;
            }
            Some(End::Failed(why)) => {
                self.say(requests, Loudness::Error, format!("{} cannot be activated: {why}", job.path));
                self.volumes.insert(job.key, State::Failed(why, job.pvs));
            }
            Some(End::Void) => {}
        }
        true
    }

    /// How the volumes and groups that the command line names stand.
    fn named(&self, view: View<'_>) -> Hold {
        let lvm = &view.plan.lvm;
        if !lvm.enabled || lvm.vgs.is_empty() && lvm.lvs.is_empty() {
            return Hold::No;
        }
        let conf = view.lvm_conf();
        let groups = group::all(view.table, conf);
        let names = lvm.vgs.iter().chain(lvm.lvs.iter().map(|(group, _)| group));
        let of = |name: &String| {
            let Some(group) = groups.iter().find(|group| group.vg.name == *name) else {
                return Hold::Missing;
            };
            if group.obstacle(&groups, conf).is_some() {
                return Hold::No;
            }
            let open = |lv: &&LogicalVolume| {
                !self.volumes.contains_key(&key(group.vg, lv))
                    && choice::wanted(view, conf, group.vg, lv, false).is_some()
            };
            match group.vg.lvs.iter().find(open) {
                None => Hold::No,
                Some(_) if group.is_complete() || self.job.is_some() => Hold::Working,
                Some(_) => Hold::Missing,
            }
        };
        names.map(of).max().unwrap_or(Hold::No)
    }

    /// Whether what was made last has been read, so that it is known not to be root.
    fn is_settled(&self, view: View<'_>) -> bool {
        let Some(uuid) = &self.fresh else { return true };
        let device =
            view.table.iter().find(|device| device.facts.dm.as_ref().is_some_and(|dm| dm.uuid == *uuid));
        view.stuck || device.is_some_and(Device::is_settled)
    }
}

/// Number of the device-mapper device with this UUID, as far as the table knows it.
fn shown(table: &Table, uuid: &str) -> Option<(u32, u32)> {
    let device = table.iter().find(|device| device.facts.dm.as_ref().is_some_and(|dm| dm.uuid == uuid))?;
    Some((device.facts.major, device.facts.minor))
}

/// What identifies a volume.
fn key(vg: &VolumeGroup, lv: &LogicalVolume) -> Key {
    (vg.id.clone(), lv.name.clone())
}

impl View<'_> {
    /// The configuration that counts.
    fn lvm_conf(&self) -> &LvmConf {
        const NONE: &LvmConf = &LvmConf::NONE;
        if self.plan.lvm.conf { &self.image.lvm } else { NONE }
    }
}

impl Assembler for Lvm {
    fn claims(&mut self, view: View<'_>) -> Vec<(DevName, Option<String>)> {
        if self.job.is_none() && self.held.is_empty() {
            return Vec::new();
        }
        // Before a snapshot is there, nobody may write to its origin.
        let mine = |device: &&Device| {
            let uuid = device.facts.dm.as_ref().map(|dm| dm.uuid.as_str());
            self.job.as_ref().zip(uuid).is_some_and(|(job, uuid)| job.makes(uuid))
        };
        let held: BTreeSet<DevName> =
            view.table.iter().filter(mine).map(|device| device.name.clone()).collect();
        let free = self.held.difference(&held).map(|name| (name.clone(), None));
        let owner = self.job.as_ref().map(|job| job.path.clone());
        let changes = free.chain(held.iter().map(|name| (name.clone(), owner.clone()))).collect();
        self.held = held;
        changes
    }

    /// Snapshots: for udev too their origins go first (lvm2: lib/activate/dev_manager.c, `_get_udev_flags`).
    fn copies(&self, view: View<'_>) -> Vec<(DevName, String)> {
        if self.snapshots.is_empty() {
            return Vec::new();
        }
        let copy = |device: &Device| {
            let origin = self.snapshots.get(&device.facts.dm.as_ref()?.uuid)?;
            Some((device.name.clone(), origin.clone()))
        };
        view.table.iter().filter_map(copy).collect()
    }

    fn advance(&mut self, view: View<'_>, requests: &mut Requests<'_>) {
        self.unseen.retain(|uuid, number| shown(view.table, uuid) != *number);
        while (self.job.is_some() && self.work(requests))
            || (self.job.is_none() && self.choose(view, requests))
        {}
    }

    fn finish(&mut self, _view: View<'_>, requests: &mut Requests<'_>) {
        self.work(requests);
    }

    fn answer(&mut self, _view: View<'_>, id: CommandId, result: &Result<Outcome, Failure>) -> bool {
        if !self.job.as_mut().is_some_and(|job| job.answer(id, result)) {
            return false;
        }
        self.unseen.extend(self.job.iter_mut().flat_map(Job::take_changed));
        // At once, so that its devices are free before anybody looks at them again.
        if let Some(job) = self.job.take_if(|job| job.is_done()) {
            self.fresh = job.visible().map(str::to_owned);
            let device = job.visible_device();
            self.volumes.insert(job.key, State::Active(device));
        }
        true
    }

    fn gone(&mut self, name: &DevName) {
        if let Some(job) = &mut self.job {
            job.gone(name);
        }
        self.held.remove(name);
        // What failed with a PV that is gone may do better with what comes in its place. What was taken down again after
        // a failure is no reason to try once more.
        self.volumes.retain(|_, state| match state {
            State::Active(device) => device.as_ref() != Some(name),
            State::Failed(_, pvs) => !pvs.contains(name),
        });
    }

    fn retry(&mut self) {
        self.volumes.clear();
        self.unseen.clear();
        self.said.clear();
    }

    fn is_busy(&self) -> bool {
        self.job.is_some()
    }

    fn has_failed(&self, view: View<'_>) -> bool {
        self.root_has_failed(view)
    }

    fn hold(&self, view: View<'_>) -> Hold {
        self.named(view)
    }

    fn deadline(&self) -> Option<Moment> {
        self.degraded_at.into_iter().chain(self.unread_until).min()
    }

    fn explain(&self, view: View<'_>, device: &Device) -> Option<Node> {
        self.explain_device(view, device)
    }

    fn missing(&self, view: View<'_>) -> Vec<Node> {
        self.explain_groups(view)
    }

    fn remedies(&self, view: View<'_>) -> Vec<String> {
        self.remedies_for(view)
    }
}
