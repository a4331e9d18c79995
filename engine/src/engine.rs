//! The engine itself: one event in, commands out.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use cmdline::Plan;
use cmdline::plan::{BreakPoint, RootSpec};

use crate::assemble::{self, Assembler, Requests, View};
use crate::command::{Action, Command, Mountpoint};
use crate::diagnose;
use crate::event::{CommandId, DevName, DriverFacts, Event, Failure, Outcome, QuestionId, SecretId};
use crate::explain::Explanation;
use crate::image::ImageFacts;
use crate::root::{Goal, Stage};
use crate::table::{Change, Knowledge, Table};
use crate::time::Moment;

mod patience;
mod pursuit;
#[cfg(test)]
mod tests;

type Actions = Vec<(CommandId, Action)>;

/// How long devices must have been quiet before layers are peeled that nobody named.
///
/// A heuristic, not a promise: late devices are taken when they come; too short costs a needless prompt.
const QUIET: Duration = Duration::from_millis(700);
/// How long a read or a driver that does not come back counts as something that is still going on.
const STALLED: Duration = Duration::from_secs(30);
/// Within this time the caller reports the drivers that it loads in answer to [`Action::LoadOtherDrivers`].
const OTHER_DRIVERS: Duration = Duration::from_millis(100);
/// How long to wait for another way to the root once every way that was seen has failed.
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
    /// Devices that are mounted: the root's, then that of a separate `/usr`.
    mounted: Vec<DevName>,
    assemblers: Vec<Box<dyn Assembler>>,
    next_command: u64,
    drivers: DriverFacts,
    coldplugged: bool,
    /// When the drivers were asked for that nothing seen so far needs.
    other_drivers_asked: Option<Moment>,
    started: Moment,
    last_change: Moment,
    /// When an assembler was last at work, or something that was named asked for.
    at_work: Moment,
    /// Root is there, but something else that was named is waited for.
    held: bool,
    words_said: u8,
    stopped: Option<StopReason>,
    /// Break points still to be taken, and the one at which the boot stands, with the time of arrival.
    breaks: VecDeque<BreakPoint>,
    at_break: Option<(BreakPoint, Moment)>,
    begun: bool,
    /// When time alone may change something.
    wake: Option<Moment>,
    /// Devices that are mounted for a moment, for a key or a header on them.
    looked_into: BTreeMap<CommandId, DevName>,
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
            goal: Goal::new(Mountpoint::Root),
            mounted: Vec::new(),
            assemblers: assemble::all(),
            next_command: 1,
            drivers: DriverFacts::default(),
            coldplugged: false,
            other_drivers_asked: None,
            started: Moment::default(),
            last_change: Moment::default(),
            at_work: Moment::default(),
            held: false,
            words_said: 0,
            stopped: None,
            breaks,
            at_break: None,
            begun: false,
            wake: None,
            looked_into: BTreeMap::new(),
        }
    }

    /// Begins; to be called once, before any event.
    pub fn start(&mut self, now: Moment) -> Vec<Command> {
        self.started = now;
        self.last_change = now;
        self.settle(now)
    }

    /// Takes one event and answers with what is to be done.
    ///
    /// An event that changes nothing costs next to nothing: storms of identical uevents are a fact of life.
    pub fn handle(&mut self, now: Moment, event: Event) -> Vec<Command> {
        let changed = self.take(now, event);
        if changed || self.wake.is_some_and(|wake| now >= wake) { self.settle(now) } else { Vec::new() }
    }

    /// When [`Event::Tick`] should come if nothing else happens; always later than the last event.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.wake
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

    /// Numbers of the multipath devices whose partitions the real root is not to map either.
    #[must_use]
    pub fn unpartitioned(&self) -> Vec<(u32, u32)> {
        assemble::multipath::unpartitioned(&self.image, &self.table)
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

    pub(crate) fn view(&self, now: Moment) -> View<'_> {
        View {
            plan: &self.plan,
            image: &self.image,
            table: &self.table,
            goal: self.goal.device(),
            mounted: &self.mounted,
            now,
            calm: self.is_calm(),
            stuck: self.is_stuck(now),
            last_change: self.last_change,
            at_rest: self.at_rest(),
        }
    }

    /// Takes an event in; returns whether anything may follow from it.
    fn take(&mut self, now: Moment, event: Event) -> bool {
        match event {
            Event::Device(name, facts) => match self.table.update(now, &name, facts) {
                Change::Nothing => return false,
                Change::Changed => self.something_new(now),
                Change::Replaced(void) => {
                    void.iter().for_each(|name| self.forget(name));
                    self.something_new(now);
                }
            },
            Event::Gone(name) => {
                if !self.table.remove(&name) {
                    return false;
                }
                self.last_change = now;
                self.forget(&name);
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
            Event::Identified(id, content) => return self.learn(now, id, Knowledge::Known(content)),
            Event::Done(id, outcome) => return self.answer(now, id, &Ok(outcome)),
            Event::Failed(id, failure) => return self.answer(now, id, &Err(failure)),
            Event::Typed(secret, question) => self.typed(now, secret, question),
            Event::Retry => self.retry(now),
            Event::UseRoot(path) => self.use_root(now, path),
            Event::Continue => {
                let Some((_, since)) = self.at_break.take() else { return false };
                // Time spent at a break point is the operator's, not the boot's.
                let stood = now.since(since);
                self.started = self.started.after(stood);
                self.last_change = self.last_change.after(stood);
            }
            Event::Tick => return false,
        }
        true
    }

    /// New facts: a mount that failed deserves another try, since a file system of several devices may be complete now.
    fn something_new(&mut self, now: Moment) {
        self.last_change = now;
        self.goal.failures.clear();
        self.goal.degraded = false;
    }

    /// A device is gone, or another one has taken its name.
    fn forget(&mut self, name: &DevName) {
        self.goal.failures.remove(name);
        if let Stage::Mounting(_, mounted) = &self.goal.stage
            && mounted == name
        {
            self.goal.replaced_meanwhile = true;
        }
        self.assemblers.iter_mut().for_each(|one| one.gone(name));
    }

    fn learn(&mut self, now: Moment, id: CommandId, knowledge: Knowledge) -> bool {
        let known = matches!(knowledge, Knowledge::Known(_));
        let waited_for = self.table.learn(id, knowledge);
        if waited_for && known {
            self.something_new(now);
        } else if waited_for {
            self.last_change = now;
        }
        waited_for
    }

    fn typed(&mut self, now: Moment, secret: SecretId, question: QuestionId) {
        self.last_change = now;
        self.assemblers.iter_mut().for_each(|one| one.typed(secret, question));
    }

    fn use_root(&mut self, now: Moment, path: String) {
        if matches!(self.goal.stage, Stage::Switching(..)) {
            return;
        }
        self.goal.by_hand = Some(if path.starts_with('/') { path } else { format!("/dev/{path}") });
        let names_current = self.goal.device().cloned().is_some_and(|current| {
            self.goal.matches(&self.plan, &self.table).iter().any(|device| device.name == current)
        });
        if !names_current {
            self.goal.stage = Stage::Wanted;
        }
        self.retry(now);
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
        // Whoever retries after having been told accepts what is mounted.
        self.goal.replaced_meanwhile &= !matches!(self.goal.stage, Stage::Mounted(_));
        self.assemblers.iter_mut().for_each(|one| one.retry());
        self.table.forget_useless();
    }

    fn answer(&mut self, now: Moment, id: CommandId, result: &Result<Outcome, Failure>) -> bool {
        self.looked_into.remove(&id);
        match (self.goal.stage.clone(), result) {
            // Without its module a file system may still be built in: the mount tells.
            (Stage::LoadingFs(asked, name), _) if asked == id => self.goal.stage = Stage::FsReady(name),
            (Stage::Mounting(asked, name), Ok(outcome)) if asked == id => {
                self.last_change = now;
                if let Outcome::Usr(entry) = outcome {
                    self.goal.usr = Some(entry.clone());
                }
                self.mounted.push(name.clone());
                self.goal.stage = Stage::Mounted(name);
            }
            (Stage::Mounting(asked, name), Err(failure)) if asked == id => {
                self.goal.stage = Stage::Wanted;
                let replaced = std::mem::take(&mut self.goal.replaced_meanwhile);
                if !replaced && self.table.get(&name).is_some() {
                    self.goal.failures.insert(name, failure.clone());
                }
                self.last_change = now;
            }
            (Stage::Switching(asked, name), Err(failure)) if asked == id => {
                self.goal.stage = Stage::Mounted(name);
                self.goal.handover_failure = Some(failure.clone());
            }
            _ => {
                if let Err(failure) = result
                    && self.learn(now, id, Knowledge::Unreadable(failure.clone()))
                {
                    return true;
                }
                let mut assemblers = std::mem::take(&mut self.assemblers);
                let view = self.view(now);
                let taken = assemblers.iter_mut().any(|one| one.answer(view, id, result));
                self.assemblers = assemblers;
                if taken {
                    self.last_change = now;
                }
                return taken;
            }
        }
        true
    }

    /// Lets everything that follows from the facts follow.
    fn settle(&mut self, now: Moment) -> Vec<Command> {
        let mut actions = Actions::new();
        self.keep_claimed(now);
        if self.table.admit(self.is_quiet(now)) {
            self.keep_claimed(now);
        }
        if !matches!(self.goal.stage, Stage::Switching(..)) && self.begin(now, &mut actions) {
            self.identify(&mut actions);
            if self.stopped.is_none() && self.pass(now, BreakPoint::Initqueue, &mut actions) {
                self.pursue(now, &mut actions);
                if self.at_break.is_none() {
                    self.assemble(now, &mut actions);
                    if self.consider_degraded(now, &mut actions) || self.held {
                        // What the root has waited for may just have failed for good.
                        self.find(now, &mut actions);
                    }
                    self.speak(now, &mut actions);
                    self.judge(now, &mut actions);
                }
            }
        }
        self.wake = self.next_deadline(now);
        let looks = actions.iter().filter_map(|(id, action)| Some((*id, action.looks_into()?.clone())));
        self.looked_into.extend(looks);
        actions.into_iter().map(|(id, action)| Command { id, action }).collect()
    }

    fn ask(&mut self, actions: &mut Actions, action: Action) -> CommandId {
        Requests { next: &mut self.next_command, actions }.ask(action)
    }

    /// Takes the question for a passphrase back, if one is on the consoles.
    fn stop_asking(&mut self, actions: &mut Actions) {
        let mut asked = false;
        for assembler in &mut self.assemblers {
            asked |= assembler.is_asking();
            assembler.stop_asking();
        }
        if asked {
            self.ask(actions, Action::StopAsking);
        }
    }

    /// Whether `root=` is something that can be looked for.
    fn has_usable_spec(&self) -> bool {
        !matches!(self.goal.spec(&self.plan), None | Some(RootSpec::Unsupported(_)))
    }
}
