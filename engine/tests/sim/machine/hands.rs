//! What the simulated hands do when they are asked.

use engine::{Action, CommandId, Engine, Event, Failure, MountRequest, Outcome, SecretId, SecretSource};
use ondisk::Content;

use super::super::world::{Arrival, Reads, Swap};
use super::{Item, Machine, Node, Work};

impl Machine<'_> {
    /// Begins what the engine asks for. Gives the events that follow at once.
    pub fn carry_out(&mut self, engine: &Engine, id: CommandId, action: &Action) {
        match action {
            Action::Coldplug => self.coldplug(),
            Action::Identify(device) => self.identify(id, &device.0),
            Action::LoadModules(names) => {
                self.soon(Item::Work(id, Work::Load));
                if names.iter().all(|name| name.starts_with("fs-")) {
                    self.maybe_swap(Swap::WhenWanted, engine.root_device());
                }
            }
            Action::LoadOtherDrivers => self.load_other_drivers(),
            Action::OpenCrypt { device, name, secret, .. } => {
                if let Some(volume) = self.volume(&device.0) {
                    self.opening.insert(id, volume);
                }
                let work =
                    Work::Open { device: device.0.clone(), name: name.clone(), secret: secret.clone() };
                let time = self.now + self.rng.between(20, 3_000);
                self.at(time, Item::Work(id, work));
            }
            Action::ReadKey { device, path, .. } => {
                self.soon(Item::Work(id, Work::ReadKey { device: device.0.clone(), path: path.clone() }));
            }
            Action::AskPassphrase { question, .. } => {
                self.question = true;
                self.asked = *question;
                self.start_typing();
            }
            Action::StopAsking => self.question = false,
            Action::Mount(request) => {
                self.maybe_swap(Swap::WhenMounted, Some(&request.device));
                let time = self.now + self.rng.between(1, 800);
                self.at(time, Item::Work(id, Work::Mount(request.clone())));
            }
            Action::SwitchRoot { .. } => self.soon(Item::Work(id, Work::Switch)),
            Action::Break(_) => {
                let time = self.now + self.rng.between(10, 200_000);
                self.at(time, Item::Event(Event::Continue));
            }
            Action::LoadInputDrivers
            | Action::CreateDm(_)
            | Action::CreateKeyedDm(..)
            | Action::ReadVerity(..)
            | Action::UnsealKey(..)
            | Action::StartBcache(..)
            | Action::ReloadDm(_)
            | Action::MessageDm(..)
            | Action::RemoveDm(_)
            | Action::CheckPool(..)
            | Action::StartContainer(_)
            | Action::ResumeDm(..)
            | Action::AssembleArray(_)
            | Action::AddSpare(..)
            | Action::StopArray(_)
            | Action::WaitClean
            | Action::MakeWritable(_)
            | Action::RemovePartitions(_)
            | Action::Link(..)
            | Action::Say(..)
            | Action::Explain(..)
            | Action::Rescue
            | Action::GiveUp(_) => {}
        }
    }

    /// The operator tries again after a stop.
    pub fn retry_later(&mut self) {
        let time = self.now + self.rng.between(100, 20_000);
        self.at(time, Item::Operator);
    }

    fn coldplug(&mut self) {
        let mut names: Vec<String> = self.nodes.keys().cloned().collect();
        self.shuffle(&mut names);
        for name in names {
            let event = self.report(&name);
            self.at(self.now, Item::Event(event));
        }
        for (number, disk) in self.world.disks.iter().enumerate() {
            if let Arrival::Driver(after) = disk.arrival {
                self.pending_drivers += 1;
                self.at(self.now + after, Item::Arrive(number));
            }
        }
        let drivers = self.drivers();
        self.at(self.now, Item::Event(drivers));
        self.at(self.now, Item::Event(Event::Coldplugged));
    }

    fn load_other_drivers(&mut self) {
        self.drivers_asked = true;
        let before = self.pending_drivers;
        for (number, disk) in self.world.disks.iter().enumerate() {
            if let Arrival::OtherDrivers(after) = disk.arrival {
                self.pending_drivers += 1;
                self.at(self.now + after, Item::Arrive(number));
            }
        }
        if self.pending_drivers != before {
            let drivers = self.drivers();
            self.at(self.now, Item::Event(drivers));
        }
    }

    fn identify(&mut self, id: CommandId, name: &str) {
        let reads = self.volume(name).map_or(Reads::Fine, |volume| self.world.volumes[volume].reads);
        let work = Item::Work(id, Work::Identify(name.to_owned()));
        match reads {
            Reads::Hangs => {}
            Reads::Slow(ms) => self.at(self.now + ms, work),
            _ => self.soon(work),
        }
    }

    fn start_typing(&mut self) {
        if !self.typing
            && let Some((delay, _)) = self.world.typed.get(self.answers_typed)
        {
            self.typing = true;
            self.at(self.now + delay, Item::Type);
        }
    }

    pub(super) fn type_answer(&mut self) -> Option<Event> {
        self.typing = false;
        if !self.question {
            return None;
        }
        let (_, secret) = *self.world.typed.get(self.answers_typed)?;
        self.answers_typed += 1;
        self.question = false;
        Some(Event::Typed(self.keep(secret), self.asked))
    }

    fn keep(&mut self, secret: u32) -> SecretId {
        let id = SecretId(self.next_secret);
        self.next_secret += 1;
        self.secrets.insert(id, secret);
        id
    }

    pub(super) fn finish(&mut self, id: CommandId, work: Work) -> Option<Event> {
        let result = match work {
            Work::Identify(name) => return Some(self.identified(id, &name)),
            Work::Load if self.rng.percent(10) => Err(Failure::NoModule("some".into())),
            Work::Load => Ok(Outcome::Done),
            Work::Open { device, name, secret } => {
                self.opening.remove(&id);
                self.open(&device, &name, &secret)
            }
            Work::ReadKey { device, path } => self.read_key(&device, &path),
            Work::Mount(request) => self.mount(&request),
            Work::Switch => {
                let (volume, ..) = self.mounted.clone()?;
                if self.world.volumes[volume].has_init {
                    self.switched = Some(self.world.volumes[volume].tag);
                    return None;
                }
                Err(Failure::NoInit(vec![("/sbin/init".into(), "does not exist".into())]))
            }
        };
        Some(match result {
            Ok(outcome) => Event::Done(id, outcome),
            Err(failure) => Event::Failed(id, failure),
        })
    }

    fn identified(&mut self, id: CommandId, name: &str) -> Event {
        let Some(volume) = self.volume(name) else { return Event::Failed(id, Failure::Gone) };
        let failure = || Failure::Os { what: format!("read /dev/{name}"), errno: 5 };
        match self.world.volumes[volume].reads {
            Reads::Broken => return Event::Failed(id, failure()),
            Reads::FailsFirst(times) => {
                let count = self.reads.entry(volume).or_default();
                *count += 1;
                if *count <= times {
                    // The drive gets ready, and the kernel says so.
                    self.at(self.now + 20, Item::Uevent(name.to_owned()));
                    return Event::Failed(id, failure());
                }
            }
            _ => {}
        }
        self.scanned.insert(volume);
        Event::Identified(id, self.content(volume))
    }

    fn content(&self, volume: usize) -> Content {
        self.world.volumes[volume].content.clone()
    }

    fn open(&mut self, device: &str, name: &str, secret: &SecretSource) -> Result<Outcome, Failure> {
        let volume = self.volume(device).ok_or(Failure::Gone)?;
        if self.world.crypt_missing {
            return Err(Failure::Os { what: format!("map {device}"), errno: 19 });
        }
        let Some((right, inner)) = &self.world.volumes[volume].luks else {
            return Err(Failure::Other(format!("{device} is no LUKS container")));
        };
        let number = match secret {
            SecretSource::Held(id) => self.secrets.get(id).copied().ok_or(Failure::WrongSecret)?,
            SecretSource::File { path, .. } => self
                .world
                .image_keys
                .iter()
                .find(|(known, _)| known == path)
                .map(|(_, secret)| *secret)
                .ok_or_else(|| Failure::NoKeyFile(path.clone()))?,
        };
        if !right.contains(&number) {
            return Err(Failure::WrongSecret);
        }
        let taken =
            self.nodes.values().any(|node| node.mapping.as_ref().is_some_and(|(taken, _)| taken == name));
        if taken {
            return Err(Failure::Os { what: format!("make /dev/mapper/{name}"), errno: 17 });
        }
        self.opened.insert(volume);
        let uuid = self.world.volumes[volume].content.signatures[0].uuid.clone().unwrap_or_default();
        let dm = format!("dm-{}", self.next_dm);
        let node = Node {
            volume: *inner,
            diskseq: self.next_diskseq,
            parent: None,
            number: 0,
            minor: self.next_dm,
            mapping: Some((name.to_owned(), format!("CRYPT-LUKS2-{}-{name}", uuid.replace('-', "")))),
            resumed: false,
            slaves: vec![device.to_owned()],
        };
        self.next_dm += 1;
        self.next_diskseq += 1;
        self.nodes.insert(dm.clone(), node);
        self.notify(&dm);
        self.soon(Item::Resume(dm));
        Ok(Outcome::Done)
    }

    fn read_key(&mut self, device: &str, path: &str) -> Result<Outcome, Failure> {
        let volume = self.volume(device).ok_or(Failure::Gone)?;
        match &self.world.volumes[volume].key_file {
            Some((known, secret)) if known == path => {
                let secret = *secret;
                Ok(Outcome::Secret(self.keep(secret)))
            }
            _ => Err(Failure::NoKeyFile(path.to_owned())),
        }
    }

    fn mount(&mut self, request: &MountRequest) -> Result<Outcome, Failure> {
        let name = &request.device.0;
        let volume = self.volume(name).ok_or(Failure::Gone)?;
        let truth = &self.world.volumes[volume];
        let fits = matches!(truth.content.signatures.as_slice(), [one]
            if one.kind.is_filesystem() && request.fstypes.iter().any(|fstype| fstype == one.kind.name()));
        let complete = truth.sibling.is_none_or(|sibling| {
            self.scanned.contains(&sibling) && self.nodes.values().any(|node| node.volume == sibling)
        });
        if !truth.mountable || !fits || !complete {
            return Err(Failure::Os { what: format!("mount /dev/{name}"), errno: 22 });
        }
        self.mounted = Some((volume, name.clone(), self.mapping(name)));
        Ok(Outcome::Done)
    }
}
