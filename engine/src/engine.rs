//! The engine itself: one event in, commands out.

use std::collections::VecDeque;
use std::time::Duration;

use cmdline::Plan;
use cmdline::plan::{BreakPoint, Patience};

use crate::assemble::{self, Assembler, Requests, View};
use crate::command::{Action, Command, GiveUp, Loudness};
use crate::diagnose;
use crate::event::{CommandId, DevName, DriverFacts, Event, Failure, Outcome, SecretId};
use crate::explain::Explanation;
use crate::image::ImageFacts;
use crate::links;
use crate::matching;
use crate::root::{self, Goal, Stage};
use crate::table::{Knowledge, Table};
use crate::time::Moment;

/// How long devices must have been quiet before layers are peeled that nobody named.
///
/// A heuristic, not a promise: late devices are taken when they come; too short costs a needless prompt.
const QUIET: Duration = Duration::from_millis(700);
/// How long to wait for another way to the root once every container that could hide it has failed.
const LAST_HOPE: Duration = Duration::from_secs(10);
/// When the tree is printed although nothing failed.
const FIRST_WORD: Duration = Duration::from_secs(3);
/// When it is printed again, louder.
const SECOND_WORD: Duration = Duration::from_secs(30);

/// Why the boot stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// Nothing happened for `rd.retry` seconds, or `rd.timeout` has passed.
    OutOfPatience,
    /// Everything that could lead to the root has failed.
    Hopeless,
    /// There is no usable `root=`.
    NoRoot,
    /// Root is mounted, but could not be handed over to.
    Handover,
}

/// State of the whole way to the root.
pub struct Engine {
    plan: Plan,
    image: ImageFacts,
    table: Table,
    goal: Goal,
    assemblers: Vec<Box<dyn Assembler>>,
    next_command: u64,
    drivers: DriverFacts,
    coldplugged: bool,
    other_drivers_asked: bool,
    started: Moment,
    last_change: Moment,
    words_said: u8,
    stopped: Option<StopReason>,
    /// Break points still to be taken, and the one at which the boot stands.
    breaks: VecDeque<BreakPoint>,
    at_break: Option<BreakPoint>,
    begun: bool,
}

impl Engine {
    /// An engine that has seen nothing.
    #[must_use]
    pub fn new(plan: Plan, image: ImageFacts) -> Engine {
        let breaks = plan.failure.breaks.iter().copied().collect();
        Engine {
            plan,
            image,
            table: Table::default(),
            goal: Goal::new(),
            assemblers: assemble::all(),
            next_command: 1,
            drivers: DriverFacts::default(),
            coldplugged: false,
            other_drivers_asked: false,
            started: Moment::default(),
            last_change: Moment::default(),
            words_said: 0,
            stopped: None,
            breaks,
            at_break: None,
            begun: false,
        }
    }

    /// Begins; to be called once, before any event.
    pub fn start(&mut self, now: Moment) -> Vec<Command> {
        self.started = now;
        self.last_change = now;
        self.settle(now)
    }

    /// Takes one event and answers with what is to be done.
    pub fn handle(&mut self, now: Moment, event: Event) -> Vec<Command> {
        self.take(now, event);
        self.settle(now)
    }

    /// When [`Event::Tick`] should come if nothing else happens.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        if self.stopped.is_some()
            || self.at_break.is_some()
            || matches!(self.goal.stage, Stage::Switching(..))
        {
            return None;
        }
        let mut deadlines: Vec<Moment> = self.assemblers.iter().filter_map(|one| one.deadline()).collect();
        if self.goal.stage == Stage::Wanted {
            if !self.other_drivers_asked || !self.is_quiet(self.last_change.after(QUIET)) {
                deadlines.push(self.last_change.after(QUIET));
            }
            if self.has_failed_way() {
                deadlines.push(self.last_change.after(LAST_HOPE));
            }
            deadlines.extend(self.give_up_at());
        }
        match self.words_said {
            0 => deadlines.push(self.started.after(FIRST_WORD)),
            1 => deadlines.push(self.started.after(SECOND_WORD)),
            _ => {}
        }
        deadlines.into_iter().min()
    }

    /// The tree from the wanted root to what is missing.
    #[must_use]
    pub fn explain(&self, now: Moment) -> Explanation {
        diagnose::explain(self.view(now), &self.goal, &self.assemblers, &self.drivers, self.stopped.as_ref())
    }

    /// The device table.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Why the boot stands still, if it has been stopped.
    #[must_use]
    pub fn stopped(&self) -> Option<&StopReason> {
        self.stopped.as_ref()
    }

    /// The device that is root, or about to be.
    #[must_use]
    pub fn root_device(&self) -> Option<&DevName> {
        self.goal.device()
    }

    fn view(&self, now: Moment) -> View<'_> {
        View { plan: &self.plan, image: &self.image, table: &self.table, now, stuck: self.is_stuck(now) }
    }

    /// Devices and drivers have come to rest.
    fn is_quiet(&self, now: Moment) -> bool {
        self.coldplugged
            && self.drivers.pending == 0
            && !self.table.is_reading()
            && now >= self.last_change.after(QUIET)
    }

    fn is_stuck(&self, now: Moment) -> bool {
        self.goal.stage == Stage::Wanted && self.is_quiet(now)
    }

    fn give_up_at(&self) -> Option<Moment> {
        match self.plan.patience {
            Patience::Forever => None,
            // Somebody who looks for a passphrase is not to be hurried.
            Patience::Quiet(_) if self.assemblers.iter().any(|one| one.is_asking() || one.is_busy()) => None,
            Patience::Quiet(limit) => Some(self.last_change.after(limit)),
            Patience::Total(limit) => Some(self.started.after(limit)),
        }
    }

    fn take(&mut self, now: Moment, event: Event) {
        match event {
            Event::Device(name, facts) => {
                if self.table.update(now, &name, facts) {
                    self.last_change = now;
                    // A changed device deserves another try, and so does a multi-device file system.
                    self.goal.failures.clear();
                }
            }
            Event::Gone(name) => {
                if self.table.remove(&name) {
                    self.last_change = now;
                    self.goal.failures.remove(&name);
                    self.assemblers.iter_mut().for_each(|one| one.gone(&name));
                }
            }
            Event::Coldplugged => {
                self.coldplugged = true;
                self.last_change = now;
            }
            Event::Drivers(facts) => {
                if self.drivers.pending != facts.pending {
                    self.last_change = now;
                }
                self.drivers = facts;
            }
            Event::Identified(id, content) => self.learn(now, id, Knowledge::Known(content)),
            Event::Done(id, outcome) => self.answer(now, id, &Ok(outcome)),
            Event::Failed(id, failure) => self.answer(now, id, &Err(failure)),
            Event::Typed(secret) => self.typed(now, secret),
            Event::Retry => self.retry(now),
            Event::UseRoot(path) => {
                self.goal.by_hand = Some(path);
                self.retry(now);
            }
            Event::Continue => self.at_break = None,
            Event::Tick => {}
        }
    }

    fn learn(&mut self, now: Moment, id: CommandId, knowledge: Knowledge) {
        if self.table.learn(id, knowledge) {
            self.last_change = now;
        }
    }

    fn typed(&mut self, now: Moment, secret: SecretId) {
        self.last_change = now;
        self.assemblers.iter_mut().for_each(|one| one.typed(secret));
    }

    fn retry(&mut self, now: Moment) {
        if matches!(self.goal.stage, Stage::Switching(..)) {
            return;
        }
        self.stopped = None;
        self.last_change = now;
        self.started = now;
        self.words_said = 0;
        self.goal.failures.clear();
        self.goal.handover_failure = None;
        self.assemblers.iter_mut().for_each(|one| one.retry());
        for device in self.table.iter_mut() {
            let useless = device.content().is_none_or(|content| content.signatures.is_empty());
            if useless && !matches!(device.knowledge, Knowledge::Asked(_)) {
                device.knowledge = Knowledge::Unknown;
            }
        }
    }

    fn answer(&mut self, now: Moment, id: CommandId, result: &Result<Outcome, Failure>) {
        if let Err(failure) = result {
            self.learn(now, id, Knowledge::Unreadable(failure.clone()));
        }
        match (self.goal.stage.clone(), result) {
            // Without its module a file system may still be built in: the mount tells.
            (Stage::LoadingFs(asked, name), _) if asked == id => self.goal.stage = Stage::FsReady(name),
            (Stage::Mounting(asked, name), Ok(_)) if asked == id => self.goal.stage = Stage::Mounted(name),
            (Stage::Mounting(asked, name), Err(failure)) if asked == id => {
                self.goal.stage = Stage::Wanted;
                self.goal.failures.insert(name, failure.clone());
                self.last_change = now;
            }
            (Stage::Switching(asked, name), Err(failure)) if asked == id => {
                self.goal.stage = Stage::Mounted(name);
                self.goal.handover_failure = Some(failure.clone());
            }
            _ => {
                let mut assemblers = std::mem::take(&mut self.assemblers);
                let view = self.view(now);
                if assemblers.iter_mut().any(|one| one.answer(view, id, result)) {
                    self.last_change = now;
                }
                self.assemblers = assemblers;
            }
        }
    }

    /// Lets everything that follows from the facts follow.
    fn settle(&mut self, now: Moment) -> Vec<Command> {
        let mut actions = Vec::new();
        if matches!(self.goal.stage, Stage::Switching(..)) {
            return Vec::new();
        }
        if self.at_break.is_none() && self.begin(&mut actions) {
            self.identify(&mut actions);
            self.pursue(&mut actions);
            if self.stopped.is_none() && self.at_break.is_none() {
                self.assemble(now, &mut actions);
                self.speak(now, &mut actions);
                self.judge(now, &mut actions);
            }
        }
        actions.into_iter().map(|(id, action)| Command { id, action }).collect()
    }

    /// Takes the next break point up to and including `last`; true when none of them holds the boot.
    fn pass(&mut self, last: BreakPoint, actions: &mut Vec<(CommandId, Action)>) -> bool {
        if self.at_break.is_some() {
            return false;
        }
        match self.breaks.front().copied() {
            Some(point) if point <= last => {
                self.breaks.pop_front();
                self.at_break = Some(point);
                self.ask(actions, Action::LoadInputDrivers);
                self.ask(actions, Action::Break(point));
                false
            }
            _ => true,
        }
    }

    fn ask(&mut self, actions: &mut Vec<(CommandId, Action)>, action: Action) -> CommandId {
        Requests { next: &mut self.next_command, actions }.ask(action)
    }

    /// The first commands; true once they are out.
    fn begin(&mut self, actions: &mut Vec<(CommandId, Action)>) -> bool {
        if self.begun {
            return true;
        }
        if !self.pass(BreakPoint::PreTrigger, actions) {
            return false;
        }
        self.begun = true;
        let early: Vec<String> = self.plan.root.fstype.iter().map(|name| format!("fs-{name}")).collect();
        if !early.is_empty() {
            self.ask(actions, Action::LoadModules(early));
        }
        self.ask(actions, Action::Coldplug);
        true
    }

    fn identify(&mut self, actions: &mut Vec<(CommandId, Action)>) {
        let mut requests = Requests { next: &mut self.next_command, actions };
        for device in self.table.iter_mut() {
            if device.knowledge == Knowledge::Unknown && device.is_readable() {
                let id = requests.ask(Action::Identify(device.name.clone()));
                device.knowledge = Knowledge::Asked(id);
            }
        }
        for (name, links) in links::changed(&mut self.table) {
            requests.ask(Action::Link(name, links));
        }
    }

    /// Moves the goal on as far as it goes.
    fn pursue(&mut self, actions: &mut Vec<(CommandId, Action)>) {
        if self.stopped.is_some() {
            return;
        }
        if self.goal.stage == Stage::Wanted {
            self.find(actions);
        }
        if let Stage::FsReady(name) = self.goal.stage.clone() {
            match self.table.get(&name).map(|device| root::mount_request(&self.plan, device)) {
                Some(request) => {
                    let id = self.ask(actions, Action::Mount(request));
                    self.goal.stage = Stage::Mounting(id, name);
                }
                None => self.goal.stage = Stage::Wanted,
            }
        }
        self.name_lookalikes(actions);
        if let Stage::Mounted(name) = self.goal.stage.clone() {
            // A mapping that is half made must not be left behind.
            let busy = self.assemblers.iter().any(|one| one.is_busy());
            if busy || self.goal.handover_failure.is_some() || !self.pass(BreakPoint::Cleanup, actions) {
                return;
            }
            if self.assemblers.iter().any(|one| one.is_asking()) {
                self.ask(actions, Action::StopAsking);
            }
            let root = &self.plan.root;
            let action = Action::SwitchRoot { init: root.init.clone(), args: root.init_args.clone() };
            let id = self.ask(actions, action);
            self.goal.stage = Stage::Switching(id, name);
        }
    }

    fn find(&mut self, actions: &mut Vec<(CommandId, Action)>) {
        let Some(device) = self.goal.candidate(&self.plan, &self.table) else { return };
        let (name, fstypes) = (device.name.clone(), root::fstypes(&self.plan, device));
        if !self.pass(BreakPoint::PreMount, actions) {
            return;
        }
        let modules = fstypes.iter().map(|fstype| format!("fs-{fstype}")).collect();
        let id = self.ask(actions, Action::LoadModules(modules));
        self.goal.stage = Stage::LoadingFs(id, name);
    }

    /// Other devices that `root=` names as well are named in the log, once each.
    fn name_lookalikes(&mut self, actions: &mut Vec<(CommandId, Action)>) {
        let Some(chosen) = self.goal.device().cloned() else { return };
        let others: Vec<DevName> = self
            .goal
            .matches(&self.plan, &self.table)
            .into_iter()
            .map(|device| device.name.clone())
            .filter(|name| *name != chosen && !self.goal.named.contains(name))
            .collect();
        if others.is_empty() {
            return;
        }
        let text = format!(
            "{} also matches root=; {chosen} is used and the other left alone. Give one of them a new UUID or label",
            matching::join_names(others.iter())
        );
        self.ask(actions, Action::Say(Loudness::Warning, text));
        self.goal.named.extend(others);
    }

    fn assemble(&mut self, now: Moment, actions: &mut Vec<(CommandId, Action)>) {
        if self.goal.stage != Stage::Wanted {
            return;
        }
        if self.is_stuck(now) && !self.other_drivers_asked {
            self.other_drivers_asked = true;
            self.ask(actions, Action::LoadOtherDrivers);
        }
        let mut assemblers = std::mem::take(&mut self.assemblers);
        let mut next = self.next_command;
        let view = self.view(now);
        let mut requests = Requests { next: &mut next, actions };
        for assembler in &mut assemblers {
            assembler.advance(view, &mut requests);
        }
        self.next_command = next;
        self.assemblers = assemblers;
    }

    /// Says why it takes so long.
    fn speak(&mut self, now: Moment, actions: &mut Vec<(CommandId, Action)>) {
        let (due, loudness) = match self.words_said {
            0 => (FIRST_WORD, Loudness::Notice),
            1 => (SECOND_WORD, Loudness::Warning),
            _ => return,
        };
        if now < self.started.after(due) {
            return;
        }
        self.words_said = self.words_said.saturating_add(1);
        if self.goal.stage == Stage::Wanted {
            let explanation = self.explain(now);
            self.ask(actions, Action::Explain(loudness, explanation));
        }
    }

    /// Decides whether to stop.
    fn judge(&mut self, now: Moment, actions: &mut Vec<(CommandId, Action)>) {
        let reason = match &self.goal.stage {
            Stage::Mounted(_) if self.goal.handover_failure.is_some() => StopReason::Handover,
            Stage::Wanted => {
                let spec = self.goal.spec(&self.plan);
                let unusable = matches!(spec, None | Some(cmdline::plan::RootSpec::Unsupported(_)));
                if unusable && self.coldplugged {
                    StopReason::NoRoot
                } else if self.is_hopeless(now) {
                    StopReason::Hopeless
                } else if self.give_up_at().is_some_and(|moment| now >= moment) {
                    StopReason::OutOfPatience
                } else {
                    return;
                }
            }
            _ => return,
        };
        self.stopped = Some(reason);
        let explanation = self.explain(now);
        self.ask(actions, Action::Explain(Loudness::Error, explanation));
        if self.assemblers.iter().any(|one| one.is_asking()) {
            self.ask(actions, Action::StopAsking);
        }
        let failure = &self.plan.failure;
        let action = match (failure.shell, failure.emergency, failure.panic) {
            // Any rd.break enables the shell: whoever types it wants one.
            (shell, ..) if shell != Some(false) || !failure.breaks.is_empty() => Action::Rescue,
            (_, Some(action), _) => Action::GiveUp(GiveUp::Act(action)),
            (_, None, Some(_)) => Action::GiveUp(GiveUp::Panic),
            (_, None, None) => Action::GiveUp(GiveUp::Act(cmdline::plan::EmergencyAction::PowerOff)),
        };
        if action == Action::Rescue {
            self.ask(actions, Action::LoadInputDrivers);
        }
        self.ask(actions, action);
    }

    fn has_failed_way(&self) -> bool {
        self.assemblers.iter().any(|one| one.has_failed())
    }

    /// Every way that could lead to the root was tried to its end, so that waiting cannot help.
    fn is_hopeless(&self, now: Moment) -> bool {
        if self.plan.patience == Patience::Forever || !self.is_quiet(now) {
            return false;
        }
        let idle = self.assemblers.iter().all(|one| !one.is_busy() && !one.is_asking());
        let failed_mount =
            !self.goal.failures.is_empty() && self.goal.candidate(&self.plan, &self.table).is_none();
        let multi_device =
            self.goal.failures.keys().filter_map(|name| self.table.get(name)).any(|device| {
                device.signature().is_some_and(|signature| signature.kind == ondisk::Kind::Btrfs)
            });
        let failed_way = now >= self.last_change.after(LAST_HOPE) && self.has_failed_way();
        idle && ((failed_mount && !multi_device) || failed_way)
    }
}
