//! What the simulated kernel does when it is asked.

use engine::{Action, ArrayRequest, CommandId, DeviceFacts, DmDevice, DmTarget, Event, Failure, Outcome};

use super::super::tables;
use super::{DISK, Form, Kernel, Node, minor};

impl Kernel<'_> {
    /// Carries out what was begun; gives the answer.
    pub(super) fn finish(&mut self, id: CommandId, action: &Action) -> Option<Event> {
        self.working.remove(&id);
        let result = match action {
            Action::Identify(name) => match self.nodes.get(&name.0).map(|_| self.place(&name.0, 0)) {
                None => Err(Failure::Gone),
                Some(None) => Err(Failure::Os { what: format!("read {name}"), errno: 5 }),
                Some(Some(place)) if !self.world.is_readable(&place) => {
                    Err(Failure::Os { what: format!("read {name}"), errno: 5 })
                }
                Some(Some(place)) => return Some(Event::Identified(id, self.world.content(&place))),
            },
            Action::OpenCrypt { device, name, .. } => self.open(&device.0, name),
            Action::CreateDm(device) | Action::CreateKeyedDm(device, _) => self.create(device),
            Action::ReloadDm(device) => self.reload(device),
            Action::ResumeDm(dm, _) => self.resume(dm),
            Action::RemoveDm(dm) => self.remove(dm),
            Action::CheckPool(number, _) => {
                let place = self.name_of(*number).and_then(|name| self.place(name, 0));
                match place {
                    Some(place) if self.world.is_sound(&place) => Ok(Outcome::Done),
                    _ => Err(Failure::Other("its metadata must be checked".into())),
                }
            }
            Action::AssembleArray(request) => self.assemble(request),
            Action::ReadVerity(device, _) => {
                let place = self.place(&device.0, 0);
                match place.and_then(|place| self.world.content(&place).member) {
                    Some(member) => Ok(Outcome::Member(member)),
                    None => Err(Failure::Other(format!("{device} holds no hashes"))),
                }
            }
            Action::Mount(request) => match self.place(&request.device.0, 0) {
                Some(place)
                    if self.world.content(&place).only().is_some_and(|one| one.kind.is_filesystem()) =>
                {
                    self.mounted = Some((request.device.0.clone(), place));
                    Ok(Outcome::Done)
                }
                _ => Err(Failure::Os { what: format!("mount {}", request.device), errno: 22 }),
            },
            _ => Ok(Outcome::Done),
        };
        Some(match result {
            Ok(outcome) => Event::Done(id, outcome),
            Err(failure) => Event::Failed(id, failure),
        })
    }

    fn open(&mut self, device: &str, name: &str) -> Result<Outcome, Failure> {
        let node = self.nodes.get(device).ok_or(Failure::Gone)?;
        let (major, minor) = (node.facts.major, node.facts.minor);
        let place = self.place(device, 0).ok_or(Failure::Gone)?;
        let uuid = self.world.content(&place).only().and_then(|one| one.uuid.clone()).unwrap_or_default();
        let params = format!("{major}:{minor}");
        let target = DmTarget { start: 0, length: DISK, kind: "crypt".into(), params };
        let uuid = format!("CRYPT-LUKS2-{}-{name}", uuid.replace('-', ""));
        let mapping = DmDevice { name: name.to_owned(), uuid, targets: vec![target], ..DmDevice::default() };
        self.create(&mapping).map(|_| Outcome::Done)
    }

    fn create(&mut self, device: &DmDevice) -> Result<Outcome, Failure> {
        let what = || format!("make {}", device.name);
        if self.world.refuses(&device.name) {
            return Err(Failure::Os { what: what(), errno: 22 });
        }
        if tables::uses(device).iter().any(|number| self.name_of(*number).is_none()) {
            return Err(Failure::Os { what: what(), errno: 6 });
        }
        let minor = minor(&device.name);
        let name = format!("dm-{minor}");
        assert!(!self.nodes.contains_key(&name), "two mappings with one number");
        let facts = DeviceFacts { major: 253, minor, sector_size: 512, ..DeviceFacts::default() };
        let form = Form::Mapping { device: device.clone(), live: !device.held };
        self.nodes.insert(name.clone(), Node { facts, form });
        self.notify(&name);
        Ok(Outcome::Made { major: 253, minor })
    }

    fn change(
        &mut self,
        dm: &str,
        change: impl FnOnce(&mut DmDevice, &mut bool),
    ) -> Result<Outcome, Failure> {
        let node = self.nodes.iter_mut().find_map(|(name, node)| match &mut node.form {
            Form::Mapping { device, live } if device.name == dm => Some((name.clone(), device, live)),
            _ => None,
        });
        let (name, device, live) = node.ok_or(Failure::Gone)?;
        change(device, live);
        self.notify(&name);
        Ok(Outcome::Done)
    }

    fn reload(&mut self, device: &DmDevice) -> Result<Outcome, Failure> {
        if tables::uses(device).iter().any(|number| self.name_of(*number).is_none()) {
            return Err(Failure::Os { what: format!("reload {}", device.name), errno: 6 });
        }
        self.change(&device.name, |old, _| old.targets.clone_from(&device.targets))
    }

    fn resume(&mut self, dm: &str) -> Result<Outcome, Failure> {
        self.change(dm, |_, live| *live = true)
    }

    fn remove(&mut self, dm: &str) -> Result<Outcome, Failure> {
        let name = format!("dm-{}", minor(dm));
        let number = (253, minor(dm));
        let used = |node: &Node| match &node.form {
            Form::Mapping { device, .. } => tables::uses(device).contains(&number),
            Form::Array(request) => request.members.iter().any(|one| one.device.0 == name),
            Form::Disk { .. } => false,
        };
        if self.nodes.values().any(used) {
            return Err(Failure::Os { what: format!("remove {dm}"), errno: 16 });
        }
        self.nodes.remove(&name);
        self.notify(&name);
        Ok(Outcome::Done)
    }

    fn assemble(&mut self, request: &ArrayRequest) -> Result<Outcome, Failure> {
        if request.members.iter().any(|member| !self.nodes.contains_key(&member.device.0)) {
            return Err(Failure::Gone);
        }
        let minor = minor(&request.map_uuid) % 100;
        let name = format!("md{minor}");
        let facts = DeviceFacts { major: 9, minor, sector_size: 512, ..DeviceFacts::default() };
        self.nodes.insert(name.clone(), Node { facts, form: Form::Array(request.clone()) });
        self.notify(&name);
        Ok(Outcome::Made { major: 9, minor })
    }
}
