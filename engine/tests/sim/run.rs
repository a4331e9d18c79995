//! One boot of a simulated world, with every promise of the engine checked at every step.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cmdline::Plan;
use cmdline::plan::{Patience, RootSpec};
use engine::{Action, Command, CommandId, Engine, Event, ImageFacts, Loudness, Moment, StopReason, record};

use super::machine::{Machine, Timing};
use super::oracle;
use super::rng::Rng;
use super::world::World;

/// Events and commands after which a boot counts as endless.
const MOST_STEPS: usize = 60_000;
/// Virtual milliseconds after which it does.
const LONGEST: u64 = 4 * 3_600_000;

/// How a boot ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// In the root whose content has this tag.
    Root(u32),
    /// With an explanation.
    Stopped(StopReason),
    /// With a question that nobody answers.
    Asking,
    /// Waiting for ever, as `rootwait` says.
    Waiting,
}

/// A fault put between the engine and the machine, to see that it is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Every container is opened twice.
    OpensTwice,
    /// Another file system than the wanted one is mounted.
    MountsAnother,
    /// Something is asked for after the hand-over.
    TalksAfterTheEnd,
    /// A shell is offered whatever `rd.shell` says.
    AlwaysRescues,
    /// Explanations come without advice.
    NoRemedies,
    /// A device that nobody has is to be read.
    StrangeDevice,
    /// Passphrases typed are forgotten.
    LosesTyped,
    /// Containers are opened although the plan forbids it.
    OpensEverything,
}

/// What a boot left behind.
pub struct Boot {
    pub end: End,
    pub log: Vec<String>,
}

/// The checker's state.
struct Checks<'a> {
    world: &'a World,
    plan: &'a Plan,
    spec: Option<RootSpec>,
    ids: BTreeSet<CommandId>,
    links: BTreeMap<String, String>,
    opened: BTreeSet<usize>,
    switching: bool,
    operator_acted: bool,
    handover_retried: bool,
    last_explanation: Option<(String, bool)>,
}

/// Boots the world once.
pub fn boot(
    world: &World,
    plan: &Plan,
    seed: u64,
    schedule: u64,
    fault: Fault,
    keep_log: bool,
) -> Result<Boot, (String, Vec<String>)> {
    let mut log = Vec::new();
    match run(world, plan, seed, schedule, fault, keep_log.then_some(&mut log)) {
        Ok(end) => Ok(Boot { end, log }),
        Err(what) => Err((what, log)),
    }
}

fn run(
    world: &World,
    plan: &Plan,
    seed: u64,
    schedule: u64,
    fault: Fault,
    mut log: Option<&mut Vec<String>>,
) -> Result<End, String> {
    let mut rng = Rng::new(seed, 100 + schedule);
    let timing = Timing::invent(&mut rng);
    let retries = rng.percent(30);
    let mut machine = Machine::new(world, plan, timing, rng);
    let image = ImageFacts { crypttab: world.crypttab.clone(), ..ImageFacts::default() };
    let mut engine = Engine::new(plan.clone(), image);
    let mut checks = Checks {
        world,
        plan,
        spec: plan.root.spec.clone(),
        ids: BTreeSet::new(),
        links: BTreeMap::new(),
        opened: BTreeSet::new(),
        switching: false,
        operator_acted: false,
        handover_retried: false,
        last_explanation: None,
    };
    let mut steps = 0_usize;
    let mut first_end = None;
    let mut commands = engine.start(Moment(0));
    let mut told = VecDeque::new();
    loop {
        let batch = sabotage(fault, std::mem::take(&mut commands), world, &machine);
        for command in batch {
            steps += 1;
            if let Some(log) = log.as_deref_mut() {
                log.push(record::command(Moment(machine.now), &command));
            }
            checks.command(&engine, &machine, &command)?;
            machine.carry_out(&engine, command.id, &command.action);
            if matches!(command.action, Action::Rescue | Action::GiveUp(_)) {
                let reason = engine.stopped().cloned().ok_or("an end without a reason")?;
                first_end.get_or_insert(End::Stopped(reason));
                if retries && !checks.operator_acted && command.action == Action::Rescue {
                    checks.operator_acted = true;
                    machine.retry_later();
                }
            }
        }
        if let Some(tag) = machine.switched {
            return Ok(first_end.unwrap_or(End::Root(tag)));
        }
        if told.is_empty() {
            let deadline = engine.deadline().map(|moment| moment.0);
            let now = match (machine.next_time(), deadline) {
                (None, None) => {
                    checks.at_rest(&engine)?;
                    return checks.rest(first_end, &machine);
                }
                (Some(event), Some(deadline)) if deadline < event => deadline,
                (Some(event), _) => event,
                (None, Some(deadline)) => deadline,
            };
            steps += 1;
            if steps > MOST_STEPS || now > LONGEST {
                return Err(format!("no end after {steps} steps and {} s", now / 1000));
            }
            if machine.next_time().is_some_and(|time| time <= now) {
                told.extend(machine.step(&engine));
            } else {
                machine.now = now;
                told.push_back(Event::Tick);
            }
        }
        if let Some(event) = told.pop_front() {
            if machine.switched.is_some() {
                continue;
            }
            let hidden = match &event {
                Event::Typed(..) => fault == Fault::LosesTyped,
                _ => false,
            };
            if hidden {
                continue;
            }
            if let Some(log) = log.as_deref_mut() {
                log.push(record::event(Moment(machine.now), &event));
            }
            if event == Event::Retry {
                checks.handover_retried |= engine.stopped() == Some(&StopReason::Handover);
            }
            if let Event::Failed(..) = event {
                checks.switching = false;
            }
            commands.extend(engine.handle(Moment(machine.now), event));
            if engine.deadline().is_some_and(|deadline| deadline <= Moment(machine.now)) {
                return Err(format!("the next deadline {:?} is not in the future", engine.deadline()));
            }
        }
    }
}

fn sabotage(fault: Fault, commands: Vec<Command>, world: &World, machine: &Machine<'_>) -> Vec<Command> {
    let mut out = Vec::new();
    for mut command in commands {
        let extra = |action| Command { id: CommandId(command.id.0 + 1_000_000), action };
        let mut after = None;
        match (fault, &mut command.action) {
            (Fault::OpensTwice, action @ Action::OpenCrypt { .. }) => after = Some(extra(action.clone())),
            (Fault::MountsAnother, Action::Mount(request)) => {
                let other = super::oracle::kernel_names(world).into_iter().find(|(name, volume)| {
                    *name != request.device.0
                        && machine.volume(name) == Some(*volume)
                        && world.volumes[*volume].mountable
                        && world.volumes[*volume].content.only().is_some_and(|one| one.kind.is_filesystem())
                });
                if let Some((name, volume)) = other {
                    request.device = name.as_str().into();
                    request.fstypes =
                        vec![world.volumes[volume].content.signatures[0].kind.name().to_owned()];
                }
            }
            (Fault::TalksAfterTheEnd, Action::SwitchRoot { .. }) => {
                after = Some(extra(Action::LoadInputDrivers));
            }
            (Fault::AlwaysRescues, action @ Action::GiveUp(_)) => *action = Action::Rescue,
            (Fault::NoRemedies, Action::Explain(_, explanation)) => explanation.remedies.clear(),
            (Fault::StrangeDevice, Action::Coldplug) => after = Some(extra(Action::Identify("none0".into()))),
            (Fault::OpensEverything, Action::LoadOtherDrivers) => {
                if let Some((name, _)) = super::oracle::kernel_names(world)
                    .into_iter()
                    .find(|(name, at)| world.volumes[*at].luks.is_some() && machine.volume(name).is_some())
                {
                    after = Some(extra(Action::OpenCrypt {
                        device: name.as_str().into(),
                        name: "x".into(),
                        secret: engine::SecretSource::Held(engine::SecretId(0)),
                        options: engine::CryptOptions::default(),
                    }));
                }
            }
            _ => {}
        }
        out.push(command);
        out.extend(after);
    }
    out
}

impl Checks<'_> {
    fn command(&mut self, engine: &Engine, machine: &Machine<'_>, command: &Command) -> Result<(), String> {
        if self.switching {
            return Err(format!("{:?} was asked for after the hand-over had begun", command.action));
        }
        if !self.ids.insert(command.id) {
            return Err(format!("{:?} was given out twice", command.id));
        }
        let known = |name: &engine::DevName| match engine.table().get(name) {
            Some(_) => Ok(()),
            None => Err(format!("{name} is not known, but {:?} names it", command.action)),
        };
        match &command.action {
            Action::Identify(device) => known(device)?,
            Action::Link(device, links) => {
                known(device)?;
                self.links.retain(|_, owner| *owner != device.0);
                for link in links {
                    self.links.insert(link.clone(), device.0.clone());
                }
            }
            Action::OpenCrypt { device, .. } => {
                known(device)?;
                self.open(engine, machine, &device.0)?;
            }
            Action::ReadKey { device, path, .. } => {
                known(device)?;
                if let Some(volume) = machine.volume(&device.0)
                    && !oracle::may_hold_key(self.world, self.plan, volume, &device.0, path)
                {
                    return Err(format!("{device} is searched for {path}, which nobody asked for"));
                }
            }
            Action::AskPassphrase { .. } => {
                let may = machine.locked().into_iter().any(|at| oracle::may_open(self.world, self.plan, at));
                // A container that has just gone may still be asked for.
                if !may && !self.plan.luks.enabled {
                    return Err("a passphrase is asked for that no container may need".into());
                }
            }
            Action::Mount(request) => {
                known(&request.device)?;
                if request.fstypes.is_empty() {
                    return Err("a mount without a type".into());
                }
                if machine.mounted.is_some() {
                    return Err("root is mounted a second time".into());
                }
            }
            Action::SwitchRoot { .. } => {
                self.switching = true;
                self.switch(machine)?;
            }
            Action::Explain(Loudness::Error, explanation) => {
                let full = !explanation.headline.is_empty()
                    && !explanation.remedies.is_empty()
                    && !explanation.tree.children.is_empty();
                self.last_explanation = Some((explanation.to_string(), full));
            }
            Action::Rescue | Action::GiveUp(_) => self.stop(&command.action)?,
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, engine: &Engine, machine: &Machine<'_>, name: &str) -> Result<(), String> {
        let Some(volume) = machine.volume(name) else { return Ok(()) };
        if !oracle::may_open(self.world, self.plan, volume) {
            return Err(format!("{name} is opened, which the plan does not allow"));
        }
        if machine.is_open(volume) {
            return Err(format!("{name} is opened a second time"));
        }
        let twice = self.opened.iter().any(|open| {
            machine.is_open(*open) && self.world.volumes[*open].tag == self.world.volumes[volume].tag
        });
        if twice {
            return Err(format!("{name} is opened beside its copy"));
        }
        self.opened.insert(volume);
        if oracle::is_last_resort(self.world, self.plan, volume) {
            if machine.root_is_in_sight(engine) {
                return Err(format!("{name} is opened although the root is in sight"));
            }
            if !machine.drivers_asked {
                return Err(format!("{name} is opened before everything else was tried"));
            }
        }
        Ok(())
    }

    fn switch(&self, machine: &Machine<'_>) -> Result<(), String> {
        let Some((volume, name, mapping)) = &machine.mounted else {
            return Err("a hand-over without a mounted root".into());
        };
        if machine.is_opening() {
            return Err("a hand-over while a mapping is being made".into());
        }
        let right = self
            .spec
            .as_ref()
            .is_some_and(|spec| oracle::is_named(spec, self.world, *volume, name, mapping.as_deref()));
        if !right && !self.handover_retried {
            return Err(format!("{name} is handed over to, which root={:?} does not name", self.spec));
        }
        Ok(())
    }

    fn stop(&self, action: &Action) -> Result<(), String> {
        let failure = &self.plan.failure;
        if *action == Action::Rescue && failure.shell == Some(false) && failure.breaks.is_empty() {
            return Err("a shell although rd.shell=0".into());
        }
        let Some((text, full)) = &self.last_explanation else {
            return Err("a stop without an explanation".into());
        };
        let wanted = self.spec.as_ref().map_or("root=".to_owned(), engine::diagnose::describe_spec);
        if !full || !text.contains(&wanted) {
            return Err(format!("the explanation lacks what is wanted, or advice: {text}"));
        }
        if text.bytes().any(|byte| byte < b' ' && byte != b'\n') {
            return Err(format!("the explanation sends control characters: {text:?}"));
        }
        Ok(())
    }

    /// When nothing happens any more, every link leads to a device that claims it.
    fn at_rest(&self, engine: &Engine) -> Result<(), String> {
        for device in engine.table().iter() {
            for link in &device.claims {
                let owner = self.links.get(link).ok_or_else(|| format!("nobody has the link {link}"))?;
                let claims = engine
                    .table()
                    .get(&owner.as_str().into())
                    .is_some_and(|owner| owner.claims.contains(link));
                if !claims {
                    return Err(format!("{link} leads to {owner}, which does not claim it"));
                }
            }
        }
        Ok(())
    }

    fn rest(&self, first_end: Option<End>, machine: &Machine<'_>) -> Result<End, String> {
        if let Some(end) = first_end {
            return Ok(end);
        }
        if machine.is_asking() {
            return Ok(End::Asking);
        }
        if self.plan.patience == Patience::Forever {
            return Ok(End::Waiting);
        }
        Err("the boot hangs: nothing is asked for and nothing will happen".into())
    }
}

/// What the truth says of how the boot ended.
pub fn verdict(expected: &oracle::Expected, plan: &Plan, end: &End) -> Result<(), String> {
    match end {
        End::Root(tag) if expected.roots.contains(tag) => Ok(()),
        End::Root(tag) => Err(format!("root {tag} was reached, which cannot be reached")),
        End::Stopped(StopReason::Handover) if expected.may_lack_init => Ok(()),
        End::Stopped(StopReason::Handover) if !plan.failure.breaks.is_empty() || expected.swapped => Ok(()),
        End::Stopped(StopReason::Handover) => Err("the hand-over failed for no reason".into()),
        End::Stopped(StopReason::NoRoot)
            if matches!(plan.root.spec, None | Some(RootSpec::Unsupported(_))) =>
        {
            Ok(())
        }
        End::Stopped(StopReason::NoRoot) => Err("a good root= was called none".into()),
        end if expected.must_reach => Err(format!("root was not reached: {end:?}")),
        _ => Ok(()),
    }
}
