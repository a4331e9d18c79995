//! Scripted boots for unit tests: devices by name and content, everything else by hand.

use std::collections::BTreeMap;

use cmdline::Plan;
use cmdline::plan::RootSpec;
use ondisk::{Content, Kind, Partition, PartitionTable, Signature};

use crate::{
    Action, CommandId, DevName, DeviceFacts, DmFacts, Engine, Event, Failure, ImageFacts, Moment, Outcome,
    QuestionId, SecretId,
};

/// An engine with hands that load modules and read devices at once.
pub struct Script {
    pub engine: Engine,
    pub now: u64,
    contents: BTreeMap<DevName, Content>,
    open: Vec<(CommandId, Action)>,
    disks: u64,
    question: QuestionId,
}

impl Script {
    /// Starts a boot in which the walk over /sys has found nothing yet.
    pub fn new(plan: Plan) -> Script {
        Script::with_image(plan, ImageFacts::default())
    }

    pub fn with_image(plan: Plan, image: ImageFacts) -> Script {
        let mut script = Script {
            engine: Engine::new(plan, image),
            now: 0,
            contents: BTreeMap::new(),
            open: Vec::new(),
            disks: 0,
            question: QuestionId(0),
        };
        let commands = script.engine.start(Moment(0));
        script.carry_out(commands);
        script.tell(Event::Coldplugged);
        script
    }

    /// Tells an event; gives what was asked for because of it.
    pub fn tell(&mut self, event: Event) -> Vec<Action> {
        let commands = self.engine.handle(Moment(self.now), event);
        self.carry_out(commands)
    }

    /// Answers the newest question.
    pub fn types(&mut self, secret: SecretId) -> Vec<Action> {
        self.tell(Event::Typed(secret, self.question))
    }

    fn carry_out(&mut self, commands: Vec<crate::Command>) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut answers = Vec::new();
        for crate::Command { id, action } in commands {
            if let Action::AskPassphrase { question, .. } = &action {
                self.question = *question;
            }
            let answer = match &action {
                Action::LoadModules(_) => Some(Event::Done(id, Outcome::Done)),
                Action::Identify(name) => {
                    self.contents.get(name).map(|content| Event::Identified(id, content.clone()))
                }
                _ => None,
            };
            actions.push(action.clone());
            match answer {
                Some(event) => answers.push(event),
                None => self.open.push((id, action)),
            }
        }
        for event in answers {
            actions.extend(self.tell(event));
        }
        actions
    }

    /// Lets time pass, with ticks when the engine wants them.
    pub fn wait(&mut self, milliseconds: u64) -> Vec<Action> {
        let end = self.now + milliseconds;
        let mut actions = Vec::new();
        while let Some(Moment(next)) = self.engine.deadline().filter(|next| next.0 <= end) {
            assert!(next > self.now, "a deadline that has passed");
            self.now = next;
            actions.extend(self.tell(Event::Tick));
        }
        self.now = end;
        actions
    }

    /// Puts a device there.
    pub fn add(&mut self, name: &str, facts: DeviceFacts, content: Content) -> Vec<Action> {
        self.contents.insert(name.into(), content);
        self.tell(Event::Device(name.into(), facts))
    }

    /// Puts a disk there.
    pub fn disk(&mut self, name: &str, content: Content) -> Vec<Action> {
        self.disks += 1;
        let facts = DeviceFacts { diskseq: self.disks, ..disk_facts(self.disks as u32 * 16) };
        self.add(name, facts, content)
    }

    /// Lets a container's mapping show up.
    pub fn mapping(&mut self, name: &str, dm: &str, below: &str, content: Content) -> Vec<Action> {
        let dm = DmFacts { name: dm.to_owned(), uuid: format!("CRYPT-LUKS2-0-{dm}") };
        let facts = DeviceFacts {
            major: 253,
            dm: Some(dm),
            slaves: vec![below.into()],
            ..disk_facts(name.bytes().map(u32::from).sum())
        };
        self.add(name, facts, content)
    }

    /// The number of the oldest unanswered request that fits.
    pub fn asked(&mut self, fits: impl Fn(&Action) -> bool) -> Option<CommandId> {
        let at = self.open.iter().position(|(_, action)| fits(action))?;
        Some(self.open.remove(at).0)
    }

    /// Answers the oldest unanswered request that fits.
    pub fn answer(
        &mut self,
        fits: impl Fn(&Action) -> bool,
        result: Result<Outcome, Failure>,
    ) -> Vec<Action> {
        let id = self.asked(fits).expect("nothing of the kind was asked for");
        self.tell(match result {
            Ok(outcome) => Event::Done(id, outcome),
            Err(failure) => Event::Failed(id, failure),
        })
    }
}

fn disk_facts(minor: u32) -> DeviceFacts {
    DeviceFacts { major: 8, minor, size: 1 << 30, sector_size: 512, ..DeviceFacts::default() }
}

/// A plan for a root.
pub fn plan(spec: RootSpec) -> Plan {
    let mut plan = Plan::default();
    plan.root.spec = Some(spec);
    plan
}

/// `root=UUID=...`
pub fn uuid(id: &str) -> RootSpec {
    RootSpec::Uuid(id.to_owned())
}

/// One signature with a UUID.
pub fn content(kind: Kind, uuid: &str) -> Content {
    let mut signature = Signature::new(kind);
    signature.uuid = Some(uuid.to_owned());
    Content { signatures: vec![signature], ..Content::default() }
}

/// A GPT whose partitions have the length that [`Script::disk`] gives.
pub fn gpt(partitions: &[(u32, &str, Option<&str>)]) -> Content {
    let partitions = partitions
        .iter()
        .map(|(number, uuid, name)| Partition {
            number: *number,
            start: u64::from(*number) << 30,
            length: 1 << 30,
            uuid: (*uuid).to_owned(),
            name: name.map(str::to_owned),
            kind: String::new(),
            flags: 0,
        })
        .collect();
    let table = PartitionTable { gpt: true, uuid: "table".into(), partitions, doubt: None };
    Content { table: Some(table), ..Content::default() }
}

/// Facts of a partition of a disk made by [`Script::disk`].
pub fn partition(disk: &str, number: u32) -> DeviceFacts {
    DeviceFacts { parent: Some(disk.into()), partn: Some(number), ..disk_facts(number) }
}

pub fn is_open(action: &Action) -> bool {
    matches!(action, Action::OpenCrypt { .. })
}

pub fn is_mount(action: &Action) -> bool {
    matches!(action, Action::Mount(_))
}

pub fn is_ask(action: &Action) -> bool {
    matches!(action, Action::AskPassphrase { .. })
}

pub fn is_switch(action: &Action) -> bool {
    matches!(action, Action::SwitchRoot { .. })
}

pub fn is_rescue(action: &Action) -> bool {
    matches!(action, Action::Rescue)
}

/// The devices that were to be opened, with their mapping's name.
pub fn opened(actions: &[Action]) -> Vec<(String, String)> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::OpenCrypt { device, name, .. } => Some((device.0.clone(), name.clone())),
            _ => None,
        })
        .collect()
}

/// The devices that were to be mounted.
pub fn mounted(actions: &[Action]) -> Vec<String> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Mount(request) => Some(request.device.0.clone()),
            _ => None,
        })
        .collect()
}
