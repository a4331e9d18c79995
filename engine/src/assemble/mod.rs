//! Assemblers: one per kind of storage. Each looks at new facts and answers with requests.

pub mod ata_raid;
mod bcache;
pub mod dm_partitions;
mod luks;
pub mod lvm;
mod md;
pub(crate) mod multipath;
mod partitions;
mod verity;

use cmdline::Plan;

use crate::command::Action;
use crate::event::{CommandId, DevName, Failure, Outcome, QuestionId, SecretId};
use crate::explain::Node;
use crate::image::ImageFacts;
use crate::table::{Device, Table};
use crate::time::Moment;

/// What an assembler may look at.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// What is wanted.
    pub plan: &'a Plan,
    /// What the image brings along.
    pub image: &'a ImageFacts,
    /// What was seen.
    pub table: &'a Table,
    /// The time.
    pub now: Moment,
    /// Every device that is there was reported and read, no driver is pending, and the wanted root is not among them:
    /// layers that cost nobody anything may be peeled.
    pub calm: bool,
    /// It has been calm for a while, the drivers that nothing needs were loaded too: layers that cost the user
    /// something may be peeled.
    pub stuck: bool,
    /// The device that is the goal, mounted or about to be, and what was mounted before it.
    pub goal: Option<&'a DevName>,
    /// Devices that are mounted.
    pub mounted: &'a [DevName],
    /// When anything last changed.
    pub last_change: Moment,
    /// When anything last changed or was at work: a degraded start waits from here on.
    pub at_rest: Moment,
}

/// Hands out numbers for requests.
pub struct Requests<'a> {
    pub(crate) next: &'a mut u64,
    pub(crate) actions: &'a mut Vec<(CommandId, Action)>,
}

impl Requests<'_> {
    /// Asks for something; returns the number under which the answer comes.
    pub fn ask(&mut self, action: Action) -> CommandId {
        let id = CommandId(*self.next);
        *self.next = self.next.saturating_add(1);
        self.actions.push((id, action));
        id
    }
}

/// Whether the root may be mounted although it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hold {
    /// Nothing speaks against it.
    No,
    /// Something that was named explicitly has not shown up: a little patience.
    Missing,
    /// Something that was named explicitly is being worked on or asked for.
    Working,
}

/// One kind of storage.
pub trait Assembler {
    /// Devices to be kept from everybody else (`Some` is what they belong to, see [`Table::claim`]) or given back
    /// (`None`). Called before anything else looks at new facts.
    fn claims(&mut self, view: View<'_>) -> Vec<(DevName, Option<String>)> {
        let _ = view;
        Vec::new()
    }

    /// Devices that are copies by design, each with the device-mapper UUID of its original, which goes before it.
    fn copies(&self, view: View<'_>) -> Vec<(DevName, String)> {
        let _ = view;
        Vec::new()
    }

    /// Looks at the facts and asks for what follows from them. Called until nobody asks for more.
    fn advance(&mut self, view: View<'_>, requests: &mut Requests<'_>);

    /// Goes on with what was begun and must not be left half made, and begins nothing: root is found. Called in place of
    /// [`Self::advance`] then.
    fn finish(&mut self, view: View<'_>, requests: &mut Requests<'_>) {
        let _ = (view, requests);
    }

    /// Takes the answer to a request of this assembler; returns whether it was one.
    fn answer(&mut self, view: View<'_>, id: CommandId, result: &Result<Outcome, Failure>) -> bool {
        let _ = (view, id, result);
        false
    }

    /// This was typed in answer to the question of this number.
    fn typed(&mut self, secret: SecretId, question: QuestionId) {
        let _ = (secret, question);
    }

    /// A device is gone.
    fn gone(&mut self, name: &DevName) {
        let _ = name;
    }

    /// The operator asks to try again: forget failures.
    fn retry(&mut self) {}

    /// Whether requests are under way.
    fn is_busy(&self) -> bool {
        false
    }

    /// Whether every way through this kind of storage was tried to its end, and at least one has failed.
    fn has_failed(&self, view: View<'_>) -> bool {
        let _ = view;
        false
    }

    /// Whether the root is to wait for what was asked for besides it.
    fn hold(&self, view: View<'_>) -> Hold {
        let _ = view;
        Hold::No
    }

    /// The root is mounted: undo what was only needed on the way. [`Assembler::is_busy`] holds the hand-over up.
    fn wind_up(&mut self, view: View<'_>, requests: &mut Requests<'_>) {
        let _ = (view, requests);
    }

    /// Whether it waits for somebody to type.
    fn is_asking(&self) -> bool {
        false
    }

    /// The question was taken back.
    fn stop_asking(&mut self) {}

    /// When it wants to be called again although nothing happened.
    fn deadline(&self) -> Option<Moment> {
        None
    }

    /// Until when the boot is not given up, since what it waits for may come.
    fn waits(&self) -> Option<Moment> {
        self.deadline()
    }

    /// What it has to say of one device.
    fn explain(&self, view: View<'_>, device: &Device) -> Option<Node> {
        let _ = (view, device);
        None
    }

    /// What it misses as a whole, e.g. containers that were named and never seen.
    fn missing(&self, view: View<'_>) -> Vec<Node> {
        let _ = view;
        Vec::new()
    }

    /// What an operator should try.
    fn remedies(&self, view: View<'_>) -> Vec<String> {
        let _ = view;
        Vec::new()
    }
}

/// All kinds that this version knows.
#[must_use]
pub fn all() -> Vec<Box<dyn Assembler>> {
    vec![
        // First, because it claims disks whose content looks like anybody's.
        Box::new(multipath::Multipath::default()),
        Box::new(ata_raid::AtaRaid::default()),
        Box::new(ata_raid::external::External::default()),
        Box::new(partitions::Partitions::default()),
        Box::new(md::Md::default()),
        Box::new(verity::Verity::default()),
        Box::new(bcache::Bcache::default()),
        Box::new(luks::Luks::default()),
        Box::new(lvm::Lvm::default()),
    ]
}
