//! The one loop of the program: waits for the kernel, the workers and the operator, and feeds the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use cmdline::Plan;
use cmdline::source::Sources;
use engine::table::{Device, Knowledge};
use engine::{
    CommandId, DevName, DeviceFacts, DriverFacts, Engine, Event, Failure, ImageFacts, Moment, Outcome, record,
};
use ondisk::Content;
use rustix::event::epoll;
use rustix::time::Timespec;

use crate::ask_password;
use crate::clock::{self, StartStamp};
use crate::console::Consoles;
use crate::drivers::{self, Loader};
use crate::error::{Context, InitError, Result};
use crate::handoff;
use crate::multipath;
use crate::nodes::{self, Links};
use crate::operator::Operator;
use crate::secret::{Secret, Vault};
use crate::signals::Signals;
use crate::sysfs::Sysfs;
use crate::uevent::{Batch, BlockChange, UeventSocket};
use crate::workers::Pool;

/// What a worker brings back. The first field of engine answers is the engine's generation: `try` starts a new one.
pub enum Report {
    /// A module was loaded, or not.
    Module(drivers::Finished),
    /// A device was read.
    Identified(u32, CommandId, std::result::Result<Content, Failure>),
    /// A command is finished.
    Command(u32, CommandId, std::result::Result<Outcome, Failure>),
    /// A key file was read, or only found.
    Key(u32, CommandId, std::result::Result<Option<Secret>, Failure>),
}

/// Modules that a command waits for.
pub struct Waiting {
    pub(crate) id: CommandId,
    pub(crate) names: Vec<String>,
}

/// A hand-over that waits for modules which are being loaded.
///
/// execve(2) kills the other threads, and a thread that is killed inside finit_module(2) leaves a half-registered
/// module and a kernel warning behind (`crypto_wait_for_test`).
pub struct Departure {
    pub(crate) id: CommandId,
    pub(crate) request: handoff::Request,
    /// A module that takes longer than this must not hold the boot.
    pub(crate) latest: Moment,
}

/// Who is readable, as epoll's user data.
const UEVENTS: u64 = 0;
const WORKERS: u64 = 1;
const SIGNALS: u64 = 2;
const CONSOLES: u64 = 3;
const AGENTS: u64 = 4;

/// Events taken from epoll at once.
const READY: usize = 16;

/// Everything that lives as long as the boot.
pub struct Boot {
    pub(crate) engine: Engine,
    pub(crate) generation: u32,
    pub(crate) sources: Sources,
    pub(crate) image: ImageFacts,
    pub(crate) stamp: StartStamp,
    pub(crate) pool: Pool<Report>,
    pub(crate) loader: Loader,
    pub(crate) loader_limit: usize,
    pub(crate) waiting: Vec<Waiting>,
    /// Root is being mounted by this command: no further module is begun that only strangers need.
    pub(crate) mounting: Option<CommandId>,
    /// What works for the boot's own sake, and until when that is believed: each takes the place of a module that only
    /// strangers need.
    pub(crate) at_work: BTreeMap<(u32, CommandId), Option<Instant>>,
    pub(crate) departure: Option<Departure>,
    pub(crate) drivers_told: DriverFacts,
    pub(crate) sysfs: Sysfs,
    pub(crate) links: Links,
    pub(crate) vault: Vault,
    pub(crate) consoles: Consoles,
    pub(crate) operator: Operator,
    /// The question as password agents see it, and how many there were.
    pub(crate) asked: (Option<ask_password::Question>, u64),
    pub(crate) at_break: bool,
    pub(crate) signals: Signals,
    pub(crate) events: Vec<Event>,
    uevents: UeventSocket,
    epoll: OwnedFd,
}

/// What the boot starts from.
pub struct Beginnings {
    /// The plan.
    pub plan: Plan,
    /// The texts that it came from.
    pub sources: Sources,
    /// crypttab and its like.
    pub image: ImageFacts,
    /// When the program started.
    pub stamp: StartStamp,
    /// Whether the kernel makes device nodes.
    pub devtmpfs: bool,
    /// Signals, blocked since the first line of `main`.
    pub signals: Signals,
}

impl Boot {
    /// Opens everything that the loop waits for. The uevent socket is open before anything looks at `/sys`.
    ///
    /// # Errors
    /// If one of the kernel's interfaces is missing.
    pub fn new(begin: Beginnings) -> Result<Boot> {
        let uevents = UeventSocket::open(!begin.devtmpfs)?;
        let pool = Pool::new()?;
        let mut loader = Loader::open(&begin.plan.modules);
        let multipath = begin.image.multipath.is_some();
        if multipath {
            loader.hint(&multipath::HANDLERS);
        }
        let consoles = Consoles::open()?;
        let epoll =
            epoll::create(epoll::CreateFlags::CLOEXEC).context(|| "make an epoll descriptor".to_owned())?;
        let watch = |fd: &dyn AsFd, data: u64| {
            epoll::add(&epoll, fd.as_fd(), epoll::EventData::new_u64(data), epoll::EventFlags::IN)
                .context(|| "watch a descriptor".to_owned())
        };
        watch(&uevents, UEVENTS)?;
        watch(&pool, WORKERS)?;
        watch(&begin.signals, SIGNALS)?;
        watch(&consoles, CONSOLES)?;
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Boot {
            engine: Engine::new(begin.plan, begin.image.clone()),
            generation: 0,
            sources: begin.sources,
            image: begin.image,
            stamp: begin.stamp,
            pool,
            loader,
            loader_limit: cpus,
            waiting: Vec::new(),
            mounting: None,
            at_work: BTreeMap::new(),
            departure: None,
            drivers_told: DriverFacts::default(),
            sysfs: Sysfs::new().with_scsi(multipath),
            links: Links::new(),
            vault: Vault::default(),
            consoles,
            operator: Operator::Absent,
            asked: (None, 0),
            at_break: false,
            signals: begin.signals,
            events: Vec::new(),
            uevents,
            epoll,
        })
    }

    /// Shows agents a question in place of any earlier one.
    pub(crate) fn ask_agents(&mut self, message: &str, device: Option<&DevName>) {
        self.asked.0 = None;
        self.asked.1 = self.asked.1.saturating_add(1);
        let directory = std::path::Path::new(ask_password::DIRECTORY);
        match ask_password::Question::open(
            directory,
            self.asked.1,
            message,
            device.map(|device| device.0.as_str()),
        ) {
            Ok(question) => {
                let (data, flags) = (epoll::EventData::new_u64(AGENTS), epoll::EventFlags::IN);
                match epoll::add(&self.epoll, &question, data, flags) {
                    Ok(()) => self.asked.0 = Some(question),
                    Err(errno) => log::warn!("password agents cannot be listened to: {errno}"),
                }
            }
            Err(error) => log::warn!("password agents cannot be asked: {error}"),
        }
    }

    /// Runs until another program has taken the place of this one, or the machine ends.
    ///
    /// # Errors
    /// If the kernel refuses to let this program wait.
    pub fn run(mut self) -> Result<std::convert::Infallible> {
        self.load_modules();
        let commands = self.engine.start(clock::now());
        self.carry_out(commands);
        loop {
            self.think();
            let mut ready =
                [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) };
                    READY];
            let count = match epoll::wait(&self.epoll, &mut ready[..], self.timeout().as_ref()) {
                Ok(count) => count,
                Err(rustix::io::Errno::INTR) => 0,
                Err(error) => return Err(InitError::os("wait for events", error)),
            };
            for event in ready.iter().take(count) {
                match event.data.u64() {
                    UEVENTS => self.read_uevents(),
                    WORKERS => self.read_reports(),
                    SIGNALS => self.read_signals(),
                    AGENTS => self.read_agents(),
                    _ => self.read_consoles(),
                }
            }
            if count == 0 {
                self.events.push(Event::Tick);
            }
        }
    }

    /// Feeds the engine until it has nothing more to say.
    fn think(&mut self) {
        self.load_modules();
        self.tell_drivers();
        self.depart();
        while !self.events.is_empty() {
            for event in std::mem::take(&mut self.events) {
                let now = clock::now();
                log::debug!("{}", record::event(now, &event));
                let commands = self.engine.handle(now, event);
                self.carry_out(commands);
            }
            self.load_modules();
            self.tell_drivers();
            self.depart();
        }
    }

    fn timeout(&self) -> Option<Timespec> {
        let latest = self.departure.as_ref().map(|departure| departure.latest);
        let wait = latest.or_else(|| self.engine.deadline())?.since(clock::now());
        // Rounded up to the engine's milliseconds, so that the tick does not come a moment too early.
        Timespec::try_from(wait.saturating_add(std::time::Duration::from_millis(1))).ok()
    }

    fn read_uevents(&mut self) {
        loop {
            match self.uevents.drain() {
                Ok(batch) => {
                    let more = batch.more;
                    self.take_batch(batch);
                    if !more {
                        return;
                    }
                }
                Err(error) => {
                    log::error!("{error}; devices that appear from now on may be missed");
                    return;
                }
            }
        }
    }

    fn take_batch(&mut self, batch: Batch) {
        for node in &batch.nodes {
            if let Err(error) = nodes::apply_node(node) {
                log::warn!("{error}");
            }
        }
        for (devpath, modalias) in batch.modalias {
            self.loader.request_modalias(&modalias, &devpath);
        }
        for (name, change) in batch.block {
            match change {
                BlockChange::Present => self.look_at(&name),
                BlockChange::Gone => self.events.push(Event::Gone(name)),
            }
        }
        if batch.overflow {
            log::warn!("the kernel dropped uevents; every device is looked at again");
            self.walk_devices();
        }
    }

    /// Reads a block device's facts and passes them on.
    pub(crate) fn look_at(&mut self, name: &DevName) {
        match self.sysfs.facts(name) {
            Ok(Some(facts)) => self.events.push(Event::Device(name.clone(), facts)),
            Ok(None) => self.events.push(Event::Gone(name.clone())),
            Err(error) => log::warn!("{name}: {error}"),
        }
    }

    /// Reports a physical volume once more, with its queue, before what was read of it: whoever knows that it is one needs
    /// both, and nobody needs the queues of the others.
    fn look_at_queue(&mut self, read: CommandId) {
        let asked = |device: &&Device| device.knowledge == Knowledge::Asked(read);
        let Some(name) = self.engine.table().iter().find(asked).map(|device| device.name.clone()) else {
            return;
        };
        if let Ok(Some(facts)) = self.sysfs.facts(&name) {
            let queue = self.sysfs.queue(&name, &facts);
            self.events.push(Event::Device(name, DeviceFacts { queue, ..facts }));
        }
    }

    /// Reports every device that is there now, and those that are not any more.
    pub(crate) fn walk_devices(&mut self) {
        let present: BTreeSet<DevName> = self.sysfs.block_devices().into_iter().collect();
        let vanished: Vec<DevName> = self
            .engine
            .table()
            .iter()
            .map(|device| device.name.clone())
            .filter(|name| !present.contains(name))
            .collect();
        self.events.extend(vanished.into_iter().map(Event::Gone));
        for name in &present {
            self.look_at(name);
        }
        let loader = &mut self.loader;
        self.sysfs.modaliases(|devpath, modalias| loader.request_modalias(modalias, devpath));
    }

    fn read_reports(&mut self) {
        let generation = self.generation;
        for report in self.pool.reports() {
            if let Report::Command(born, id, _) | Report::Identified(born, id, _) = &report {
                self.at_work.remove(&(*born, *id));
            }
            match report {
                Report::Module(finished) => self.loader.finished(finished),
                Report::Identified(born, id, result) if born == generation => {
                    if let Ok(content) = &result
                        && content.member.as_ref().is_some_and(|member| member.lvm().is_some())
                    {
                        self.look_at_queue(id);
                    }
                    self.events.push(match result {
                        Ok(content) => Event::Identified(id, content),
                        Err(failure) => Event::Failed(id, failure),
                    });
                }
                Report::Command(born, id, result) if born == generation => {
                    self.mounting.take_if(|mounting| *mounting == id);
                    self.events.push(match result {
                        Ok(outcome) => Event::Done(id, outcome),
                        Err(failure) => Event::Failed(id, failure),
                    });
                }
                Report::Key(born, id, result) if born == generation => {
                    let event = match result {
                        Ok(Some(secret)) => Event::Done(id, Outcome::Secret(self.vault.keep(secret))),
                        Ok(None) => Event::Done(id, Outcome::Done),
                        Err(failure) => Event::Failed(id, failure),
                    };
                    self.events.push(event);
                }
                Report::Identified(..) | Report::Command(..) | Report::Key(..) => {}
            }
        }
    }

    /// Answers commands that waited for modules, and hands modules to the workers, as many at once as there are CPUs.
    fn load_modules(&mut self) {
        self.answer_waiting();
        // What the engine makes of the news may need the only CPU before any stranger does.
        let news = self.loader_limit == 1 && !self.events.is_empty();
        let pause = news || self.departure.is_some() || (self.mounting.is_some() && self.waiting.is_empty());
        // A device that is not read by then hangs, and is nothing to wait for.
        let now = Instant::now();
        let works = |until: &&Option<Instant>| until.is_none_or(|until| now < until);
        let others = if self.waiting.is_empty() { self.at_work.values().filter(works).count() } else { 0 };
        while !pause && self.loader.running() < self.loader_limit.saturating_sub(others) {
            let Some(job) = self.loader.take_job() else { break };
            self.pool.submit(move || Report::Module(job.run()));
        }
        // Some need no loading.
        self.answer_waiting();
    }

    fn answer_waiting(&mut self) {
        let loader = &self.loader;
        let mut events = Vec::new();
        self.waiting.retain(|waiting| match loader.outcome(&waiting.names) {
            None => true,
            Some(Ok(())) => {
                events.push(Event::Done(waiting.id, Outcome::Done));
                false
            }
            Some(Err(failure)) => {
                events.push(Event::Failed(waiting.id, failure));
                false
            }
        });
        self.events.extend(events);
    }

    fn tell_drivers(&mut self) {
        if self.loader.pending() != self.drivers_told.pending || self.loader.news() {
            self.drivers_told = self.loader.facts();
            self.events.push(Event::Drivers(self.drivers_told.clone()));
        }
    }
}
