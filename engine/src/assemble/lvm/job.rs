//! The activation of one volume, device by device.

use std::collections::BTreeSet;

use super::activation::{Activation, PoolCheck, PoolMetadata};
use crate::assemble::Requests;
use crate::command::{Action, MarkedVolume};
use crate::event::{CommandId, DevName, Failure, Outcome};

/// A volume: id of the group, name.
pub type Key = (String, String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The next request may go out.
    Ready,
    Loading(CommandId),
    /// BIOS RAID volumes below are made writable.
    Opening(CommandId),
    /// A pool's metadata are looked at.
    Checking(CommandId, usize),
    Making(CommandId),
    /// A device that was made held, by its place in the plan.
    Resuming(CommandId, usize),
    /// What was made is taken down again.
    Undoing(Option<CommandId>),
}

/// How a job ended that is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It could not be made, and nothing is left of it.
    Failed(String),
    /// A physical volume vanished meanwhile; nothing is left of it.
    Void,
}

/// One activation under way.
#[derive(Debug)]
pub struct Job {
    pub key: Key,
    /// `VG/LV`, for people.
    pub path: String,
    plan: Activation,
    made: Vec<(u32, u32)>,
    /// What was made (with its number) or removed since somebody asked, by UUID.
    changed: Vec<(String, Option<(u32, u32)>)>,
    /// Drivers to be loaded once device-mapper itself is there.
    drivers: Vec<String>,
    step: Step,
    /// Checks of pools that are done.
    checked: BTreeSet<usize>,
    /// Devices up to here need no resuming any more.
    resumed: usize,
    /// BIOS RAID volumes below it, which its devices write to as soon as they are made.
    volumes: Vec<MarkedVolume>,
    /// Physical volumes below it.
    pub pvs: BTreeSet<DevName>,
    void: bool,
    failure: Option<String>,
}

impl Job {
    /// Starts by asking for the drivers.
    pub fn start(
        key: Key,
        path: String,
        plan: Activation,
        pvs: BTreeSet<DevName>,
        volumes: Vec<MarkedVolume>,
        requests: &mut Requests<'_>,
    ) -> Job {
        let volumes = if plan.writes() { volumes } else { Vec::new() };
        let mut modules = vec!["dm-mod".to_owned()];
        let more: Vec<String> = plan.modules.iter().filter(|name| *name != "dm-mod").cloned().collect();
        // dm-raid brings md-mod, which takes a dynamic major number too: device-mapper's must not depend on which of
        // the two is faster, as lvm2 keeps it beside a persistent minor number.
        let drivers = if more.iter().any(|name| name == "dm-raid") {
            more
        } else {
            modules.extend(more);
            Vec::new()
        };
        let step = Step::Loading(requests.ask(Action::LoadModules(modules)));
        Job {
            key,
            path,
            plan,
            made: Vec::new(),
            changed: Vec::new(),
            drivers,
            step,
            checked: BTreeSet::new(),
            resumed: 0,
            volumes,
            pvs,
            void: false,
            failure: None,
        }
    }

    /// Asks for the next thing; gives the end when it came to nothing.
    pub fn advance(&mut self, requests: &mut Requests<'_>) -> Option<End> {
        loop {
            match self.step {
                Step::Loading(_)
                | Step::Opening(_)
                | Step::Checking(..)
                | Step::Making(_)
                | Step::Resuming(..)
                | Step::Undoing(Some(_)) => {
                    return None;
                }
                Step::Ready if self.void => self.step = Step::Undoing(None),
                Step::Ready if !self.drivers.is_empty() => {
                    let drivers = std::mem::take(&mut self.drivers);
                    self.step = Step::Loading(requests.ask(Action::LoadModules(drivers)));
                }
                Step::Ready if !self.volumes.is_empty() => {
                    let volumes = std::mem::take(&mut self.volumes);
                    self.step = Step::Opening(requests.ask(Action::MakeWritable(volumes)));
                }
                Step::Ready => {
                    let Some(next) = self.plan.devices.get(self.made.len()) else {
                        let (at, action) = self.next_held()?;
                        self.step = Step::Resuming(requests.ask(action), at);
                        continue;
                    };
                    if let Some((at, check)) = self.next_check() {
                        let number = match check.metadata {
                            PoolMetadata::Planned(place) => self.made.get(place).copied(),
                            PoolMetadata::Active(number) => Some(number),
                        };
                        match number {
                            Some(number) => {
                                let id = requests.ask(Action::CheckPool(number, check.kind));
                                self.step = Step::Checking(id, at);
                            }
                            None => self.fail("a pool's metadata is made later than the pool".into()),
                        }
                        continue;
                    }
                    match next.device(&self.made) {
                        Some(device) => {
                            self.step = Step::Making(requests.ask(Action::CreateDm(device)));
                        }
                        None => self.fail("its table refers to a device that is made later".into()),
                    }
                }
                Step::Undoing(None) => {
                    let Some(last) = self.made.len().checked_sub(1).and_then(|at| self.plan.devices.get(at))
                    else {
                        let failure = self.failure.take().filter(|_| !self.void);
                        return Some(failure.map_or(End::Void, End::Failed));
                    };
                    self.step = Step::Undoing(Some(requests.ask(Action::RemoveDm(last.name.clone()))));
                }
            }
        }
    }

    /// A pool that is next and was not looked at.
    fn next_check(&self) -> Option<(usize, &PoolCheck)> {
        let next = self.made.len();
        let mut checks = self.plan.checks.iter().enumerate();
        checks.find(|(at, check)| check.pool == next && !self.checked.contains(at))
    }

    /// The next device that was made held, with the request that resumes it.
    fn next_held(&self) -> Option<(usize, Action)> {
        let mut rest = self.plan.devices.iter().enumerate().skip(self.resumed);
        rest.find_map(|(at, device)| Some((at, device.resume()?)))
    }

    /// Whether the volume is active, all of it.
    pub fn is_done(&self) -> bool {
        self.step == Step::Ready
            && !self.void
            && self.made.len() == self.plan.devices.len()
            && self.next_held().is_none()
    }

    /// Takes an answer; returns whether it was this job's.
    pub fn answer(&mut self, id: CommandId, result: &Result<Outcome, Failure>) -> bool {
        match self.step {
            // A driver may be built in; what is missing shows when the device is made.
            Step::Loading(asked) if asked == id => self.step = Step::Ready,
            Step::Opening(asked) if asked == id => match result {
                Ok(_) => self.step = Step::Ready,
                Err(failure) => self.fail(format!("the RAID volume below it stays read-only: {failure}")),
            },
            Step::Checking(asked, at) if asked == id => match result {
                Ok(outcome) => {
                    if let Outcome::Length(length) = outcome {
                        self.grow(at, *length);
                    }
                    self.checked.insert(at);
                    self.step = Step::Ready;
                }
                Err(failure) => {
                    let name = self.plan.checks.get(at).map_or("", |check| &check.name);
                    self.fail(format!("pool {name}: {failure}"));
                }
            },
            Step::Making(asked) if asked == id => match result {
                Ok(Outcome::Made { major, minor }) => {
                    self.note(self.made.len(), Some((*major, *minor)));
                    self.made.push((*major, *minor));
                    self.step = Step::Ready;
                }
                Ok(_) => self.fail("the device has no number".into()),
                Err(failure) => self.fail(failure.to_string()),
            },
            Step::Resuming(asked, at) if asked == id => match result {
                Ok(_) => {
                    self.resumed = at.saturating_add(1);
                    self.step = Step::Ready;
                }
                Err(failure) => self.fail(failure.to_string()),
            },
            Step::Undoing(Some(asked)) if asked == id => {
                // A device that cannot be removed is the real root's to deal with.
                self.made.pop();
                if result.is_ok() {
                    self.note(self.made.len(), None);
                }
                self.step = Step::Undoing(None);
            }
            _ => return false,
        }
        true
    }

    /// What a VDO pool holds may end behind the last whole extent; lvm2 maps all of it (`_vdo_emit_segment_line`), and the
    /// kernel takes no less.
    fn grow(&mut self, check: usize, length: u64) {
        let pool = self.plan.checks.get(check).map(|check| check.pool);
        let device = pool.and_then(|pool| self.plan.devices.get_mut(pool));
        if let Some([target]) = device.map(|device| device.targets.as_mut_slice()) {
            target.length = target.length.max(length);
        }
    }

    fn note(&mut self, at: usize, number: Option<(u32, u32)>) {
        self.changed.extend(self.plan.devices.get(at).map(|device| (device.uuid.clone(), number)));
    }

    /// What was made (with its number) or removed since the last call, by UUID.
    pub fn take_changed(&mut self) -> Vec<(String, Option<(u32, u32)>)> {
        std::mem::take(&mut self.changed)
    }

    fn fail(&mut self, why: String) {
        self.failure = Some(why);
        self.step = Step::Undoing(None);
    }

    /// A device is gone: whatever lies on it is void.
    pub fn gone(&mut self, name: &DevName) {
        self.void |= self.pvs.contains(name);
    }

    /// Whether this UUID is that of a device which this job makes.
    pub fn makes(&self, uuid: &str) -> bool {
        self.plan.devices.iter().any(|device| device.uuid == uuid)
    }

    /// UUID of the device that users see, if this job makes it.
    pub fn visible(&self) -> Option<&str> {
        let made = self.plan.devices.iter().find(|device| device.name == self.plan.visible);
        made.map(|device| device.uuid.as_str())
    }

    /// The device that users see, once it is made.
    pub fn visible_device(&self) -> Option<DevName> {
        let at = self.plan.devices.iter().position(|device| device.name == self.plan.visible)?;
        self.made.get(at).map(|(_, minor)| DevName(format!("dm-{minor}")))
    }
}

#[cfg(test)]
mod tests {
    use super::super::activation::{Planned, PoolKind, ReadAhead, Target};
    use super::*;

    fn activation(kind: &'static str) -> Activation {
        let target = Target { start: 0, length: 8, kind, params: Vec::new() };
        let device = Planned {
            name: "vg-root".into(),
            uuid: "LVM-x".into(),
            targets: vec![target],
            read_only: false,
            read_ahead: ReadAhead::AtLeast(0),
            held: false,
            number: None,
        };
        Activation {
            devices: vec![device],
            visible: "vg-root".into(),
            modules: Vec::new(),
            degraded: Vec::new(),
            checks: Vec::new(),
        }
    }

    /// The metadata of a BIOS RAID volume are marked before a target that writes by itself lies on it, and for no other.
    #[test]
    fn what_writes_by_itself_finds_its_volumes_writable() {
        let below = || vec![MarkedVolume { array: "md126".into(), missing: Vec::new() }];
        for (kind, writes) in
            [("linear", false), ("raid", true), ("thin-pool", true), ("snapshot-origin", false)]
        {
            let (mut next, mut actions) = (1, Vec::new());
            let mut requests = Requests { next: &mut next, actions: &mut actions };
            let key = ("id".to_owned(), "root".to_owned());
            let pvs = BTreeSet::new();
            let mut job = Job::start(key, "vg/root".into(), activation(kind), pvs, below(), &mut requests);
            assert!(job.answer(CommandId(1), &Ok(Outcome::Done)));
            assert_eq!(job.advance(&mut requests), None);
            let second = |actions: &[(CommandId, Action)]| actions.last().map(|(_, action)| action.clone());
            assert_eq!(matches!(second(&actions), Some(Action::MakeWritable(_))), writes, "{kind}");
            if writes {
                let mut requests = Requests { next: &mut next, actions: &mut actions };
                assert!(job.answer(CommandId(2), &Err(Failure::Other("no".into()))));
                let End::Failed(why) = job.advance(&mut requests).expect("an end") else { panic!("{kind}") };
                assert!(why.contains("stays read-only: no"), "{why}");
            }
        }
    }

    /// The size is the larger one of what LVM and the volume say.
    #[test]
    fn a_vdo_pool_is_as_large_as_it_says_itself() {
        for (said, expected) in [(Outcome::Length(15), 15), (Outcome::Length(7), 8), (Outcome::Done, 8)] {
            let (mut next, mut actions) = (1, Vec::new());
            let mut plan = activation("vdo");
            let (metadata, name) = (PoolMetadata::Active((254, 3)), "pool".to_owned());
            plan.checks.push(PoolCheck { metadata, pool: 0, name, kind: PoolKind::Vdo });
            let key = ("id".to_owned(), "root".to_owned());
            let mut requests = Requests { next: &mut next, actions: &mut actions };
            let mut job = Job::start(key, "vg/root".into(), plan, BTreeSet::new(), Vec::new(), &mut requests);
            assert!(job.answer(CommandId(1), &Ok(Outcome::Done)));
            assert_eq!(job.advance(&mut requests), None);
            assert!(job.answer(CommandId(2), &Ok(said)));
            assert_eq!(job.advance(&mut requests), None);
            let asked: Vec<Action> = actions.into_iter().map(|(_, action)| action).collect();
            assert_eq!(asked.get(1), Some(&Action::CheckPool((254, 3), PoolKind::Vdo)));
            let Some(Action::CreateDm(device)) = asked.get(2) else { panic!("{asked:?}") };
            assert_eq!(device.targets[0].length, expected);
        }
    }

    /// Device-mapper's major number is handed out before the one of md partitions, whichever driver loads faster.
    #[test]
    fn device_mapper_is_there_before_md() {
        let (mut next, mut actions) = (1, Vec::new());
        let mut requests = Requests { next: &mut next, actions: &mut actions };
        let plan = Activation { modules: vec!["dm-mod".into(), "dm-raid".into()], ..activation("raid") };
        let key = ("id".to_owned(), "root".to_owned());
        let mut job = Job::start(key, "vg/root".into(), plan, BTreeSet::new(), Vec::new(), &mut requests);
        assert_eq!(job.advance(&mut requests), None);
        assert!(job.answer(CommandId(1), &Ok(Outcome::Done)));
        assert_eq!(job.advance(&mut requests), None);
        let loads =
            |names: &[&str]| Action::LoadModules(names.iter().map(|name| (*name).to_owned()).collect());
        let asked: Vec<Action> = actions.into_iter().map(|(_, action)| action).collect();
        assert_eq!(asked, [loads(&["dm-mod"]), loads(&["dm-raid"])]);
    }
}
