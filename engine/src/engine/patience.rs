//! When the engine speaks, peels, gives up.

use cmdline::plan::{EmergencyAction, FailurePlan, Patience};

use super::{Actions, Engine, FIRST_WORD, LAST_HOPE, OTHER_DRIVERS, QUIET, SECOND_WORD, STALLED, StopReason};
use crate::assemble::Hold;
use crate::command::{Action, GiveUp, Loudness, Mountpoint};
use crate::root::Stage;
use crate::time::Moment;

impl Engine {
    /// When time alone may change something. Moments that have passed were acted upon when they came.
    pub(super) fn next_deadline(&self, now: Moment) -> Option<Moment> {
        if self.stopped.is_some()
            || self.at_break.is_some()
            || !self.begun
            || matches!(self.goal.stage, Stage::Switching(..))
        {
            return None;
        }
        let mut deadlines = Vec::with_capacity(8);
        deadlines.extend(self.assemblers.iter().filter_map(|one| one.deadline()));
        if self.goal.stage == Stage::Wanted {
            deadlines.push(self.last_change.after(QUIET));
            deadlines.push(self.last_change.after(LAST_HOPE));
            deadlines.push(self.last_change.after(STALLED));
            deadlines.extend(self.other_drivers_asked.map(|asked| asked.after(OTHER_DRIVERS)));
            deadlines.extend(self.give_up_at(now));
            if !self.goal.degraded && self.goal.incomplete(&self.plan, &self.table).is_some() {
                deadlines.extend(self.degraded_from());
            }
        }
        if self.goal.replaced_meanwhile {
            deadlines.push(self.last_change.after(LAST_HOPE));
        }
        deadlines.push(self.started.after(FIRST_WORD));
        deadlines.push(self.started.after(SECOND_WORD));
        deadlines.into_iter().filter(|moment| *moment > now).min()
    }

    /// When a file system of which devices are missing may be mounted; `rootflags=degraded` asks for it at once.
    pub(super) fn degraded_from(&self) -> Option<Moment> {
        let flags = self.plan.root.flags.as_deref().unwrap_or_default();
        if flags.split(',').any(|flag| flag == "degraded") {
            return Some(self.last_change);
        }
        self.plan.degraded.map(|grace| self.at_rest().after(grace))
    }

    /// From when on a degraded start waits.
    pub(super) fn at_rest(&self) -> Moment {
        self.last_change.max(self.at_work)
    }

    /// Whether what has not come back by now will not come back soon.
    pub(super) fn is_stalled(&self, now: Moment) -> bool {
        now >= self.last_change.after(STALLED)
    }

    /// Whether an assembler is at work on what it has begun.
    pub(super) fn is_finishing(&self) -> bool {
        self.assemblers.iter().any(|one| one.is_busy())
    }

    /// Whether something is under way that may bring what is missing. Not a question that nobody has asked for on the
    /// command line: there may be nobody to answer it.
    pub(super) fn is_at_work(&self, now: Moment) -> bool {
        let view = self.view(now);
        !self.is_stalled(now) && self.assemblers.iter().any(|one| one.is_busy())
            || self.assemblers.iter().any(|one| one.hold(view) == Hold::Working)
    }

    /// Everything that is there was reported and read, and the wanted root is not among it.
    pub(super) fn is_calm(&self) -> bool {
        self.goal.stage == Stage::Wanted
            && self.coldplugged
            && self.drivers.pending == 0
            && !self.table.is_reading()
            && self.goal.candidate(&self.plan, &self.table).is_none()
    }

    /// Devices and drivers have come to rest.
    pub(super) fn is_quiet(&self, now: Moment) -> bool {
        // A disk or a driver that hangs must not hold up what does not need it.
        let calm = self.drivers.pending == 0 && !self.table.is_reading();
        self.coldplugged && now >= self.last_change.after(if calm { QUIET } else { STALLED })
    }

    /// Nothing more is to be expected of devices and drivers, and the wanted root is not among them.
    pub(super) fn is_stuck(&self, now: Moment) -> bool {
        self.goal.stage == Stage::Wanted
            && !self.held
            && self.is_quiet(now)
            && self.other_drivers_asked.is_some_and(|asked| now >= asked.after(OTHER_DRIVERS))
    }

    /// Whether the root, which is there, waits for something else that was named.
    pub(super) fn is_held(&self, now: Moment) -> bool {
        let out_of_time = match self.plan.patience {
            Patience::Total(limit) => now >= self.started.after(limit),
            _ => false,
        };
        // What was named has been waited for before root was mounted.
        if out_of_time || self.goal.by_hand.is_some() || self.goal.mountpoint == Mountpoint::Usr {
            return false;
        }
        let view = self.view(now);
        match self.assemblers.iter().map(|one| one.hold(view)).max() {
            Some(Hold::Working) => true,
            Some(Hold::Missing) => !self.coldplugged || now < self.last_change.after(LAST_HOPE),
            Some(Hold::No) | None => false,
        }
    }

    fn give_up_at(&self, now: Moment) -> Option<Moment> {
        match self.plan.patience {
            Patience::Forever => None,
            // Somebody who looks for a passphrase is not to be hurried.
            Patience::Quiet(_) if !self.is_idle(now) => None,
            Patience::Quiet(limit) => Some(self.last_change.after(limit)),
            Patience::Total(limit) => Some(self.started.after(limit)),
        }
    }

    /// No assembler works on anything, asks for anything or waits for a moment.
    fn is_idle(&self, now: Moment) -> bool {
        self.assemblers.iter().all(|one| {
            !one.is_busy() && !one.is_asking() && one.waits().is_none_or(|deadline| deadline <= now)
        })
    }

    /// Says why it takes so long.
    pub(super) fn speak(&mut self, now: Moment, actions: &mut Actions) {
        let (words, loudness) = if now >= self.started.after(SECOND_WORD) {
            (2, Loudness::Warning)
        } else if now >= self.started.after(FIRST_WORD) {
            (1, Loudness::Notice)
        } else {
            return;
        };
        if self.words_said >= words {
            return;
        }
        self.words_said = words;
        let done = matches!(self.goal.stage, Stage::Mounted(_)) && !self.is_finishing();
        if !done && !matches!(self.goal.stage, Stage::Switching(..)) {
            let explanation = self.explain(now);
            self.ask(actions, Action::Explain(loudness, explanation));
        }
    }

    /// Decides whether to stop.
    pub(super) fn judge(&mut self, now: Moment, actions: &mut Actions) {
        let Some(reason) = self.verdict(now) else { return };
        self.stopped = Some(reason);
        self.stop_asking(actions);
        let explanation = self.explain(now);
        self.ask(actions, Action::Explain(Loudness::Error, explanation));
        let action = ending(&self.plan.failure);
        if action == Action::Rescue {
            self.ask(actions, Action::LoadInputDrivers);
        }
        self.ask(actions, action);
    }

    fn verdict(&self, now: Moment) -> Option<StopReason> {
        match &self.goal.stage {
            Stage::Mounted(_) => self.goal.handover_failure.is_some().then_some(StopReason::Handover),
            // The devices are read first, so that the explanation can name them.
            Stage::Wanted if !self.has_usable_spec() => self.is_quiet(now).then_some(StopReason::NoRoot),
            Stage::Wanted if self.is_hopeless(now) => Some(StopReason::Hopeless),
            Stage::Wanted => {
                self.give_up_at(now).is_some_and(|moment| now >= moment).then_some(StopReason::OutOfPatience)
            }
            _ => None,
        }
    }

    /// Every way that could lead to the root was tried to its end, and no other has shown up for a while.
    fn is_hopeless(&self, now: Moment) -> bool {
        if self.plan.patience == Patience::Forever
            || !self.is_stuck(now)
            || now < self.last_change.after(LAST_HOPE)
            || !self.is_idle(now)
        {
            return false;
        }
        let failed_mount =
            !self.goal.failures.is_empty() && self.goal.candidate(&self.plan, &self.table).is_none();
        // A member that is missing may come later than anything else.
        let multi_device =
            self.goal.failures.keys().filter_map(|name| self.table.get(name)).any(|device| {
                device.signature().is_some_and(|signature| signature.kind == ondisk::Kind::Btrfs)
            });
        let view = self.view(now);
        (failed_mount && !multi_device) || self.assemblers.iter().any(|one| one.has_failed(view))
    }
}

/// What happens when the boot cannot go on.
fn ending(failure: &FailurePlan) -> Action {
    // Any rd.break enables the shell: whoever types it wants one.
    if failure.shell != Some(false) || !failure.breaks.is_empty() {
        return Action::Rescue;
    }
    match (failure.emergency, failure.panic) {
        (Some(action), _) => Action::GiveUp(GiveUp::Act(action)),
        (None, Some(_)) => Action::GiveUp(GiveUp::Panic),
        (None, None) => Action::GiveUp(GiveUp::Act(EmergencyAction::PowerOff)),
    }
}
