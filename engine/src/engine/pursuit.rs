//! What the engine does by itself: read devices, find the root among them, mount it, hand over.

use cmdline::plan::BreakPoint;

use super::{Actions, Engine, LAST_HOPE};
use crate::assemble::{Assembler, Requests, View};
use crate::command::{Action, Loudness, Mountpoint};
use crate::event::{DevName, Failure};
use crate::matching;
use crate::root::{self, Goal, Stage};
use crate::table::Device;
use crate::time::Moment;
use crate::usr::{self, Usr};

impl Engine {
    /// Takes the next break point up to and including `last`; true when none of them holds the boot.
    pub(super) fn pass(&mut self, now: Moment, last: BreakPoint, actions: &mut Actions) -> bool {
        if self.at_break.is_some() {
            return false;
        }
        match self.breaks.front().copied() {
            Some(point) if point <= last => {
                self.breaks.pop_front();
                self.at_break = Some((point, now));
                // The operator takes the consoles: what is still to be asked is asked anew when the boot goes on.
                self.stop_asking(actions);
                self.ask(actions, Action::LoadInputDrivers);
                self.ask(actions, Action::Break(point));
                false
            }
            _ => true,
        }
    }

    /// The first commands; true once they are out.
    pub(super) fn begin(&mut self, now: Moment, actions: &mut Actions) -> bool {
        if self.begun {
            return true;
        }
        if !self.pass(now, BreakPoint::PreTrigger, actions) {
            return false;
        }
        self.begun = true;
        let named = self.plan.root.fstype.iter().filter(|name| name.as_str() != "auto");
        let early: Vec<String> = named.map(|name| format!("fs-{name}")).collect();
        if !early.is_empty() {
            self.ask(actions, Action::LoadModules(early));
        }
        self.ask(actions, Action::Coldplug);
        true
    }

    /// Keeps what belongs to something from everybody else.
    pub(super) fn keep_claimed(&mut self, now: Moment) {
        let mut assemblers = std::mem::take(&mut self.assemblers);
        for assembler in &mut assemblers {
            for (device, owner) in assembler.claims(self.view(now)) {
                match owner {
                    Some(owner) => self.table.claim(&device, &owner),
                    None => self.table.release(&device),
                }
            }
            for (copy, original) in assembler.copies(self.view(now)) {
                self.table.mark_copy(&copy, original);
            }
        }
        self.assemblers = assemblers;
    }

    /// Has unknown devices read, and their links made. Goes on at break points: whoever stops there wants to look.
    pub(super) fn identify(&mut self, actions: &mut Actions) {
        let mut requests = Requests { next: &mut self.next_command, actions };
        self.table.read_unknown(|name| requests.ask(Action::Identify(name.clone())));
        for (name, links) in self.table.changed_links() {
            requests.ask(Action::Link(name, links));
        }
    }

    /// Moves the goal on as far as it goes.
    pub(super) fn pursue(&mut self, now: Moment, actions: &mut Actions) {
        if let Stage::FsReady(name) = self.goal.stage.clone() {
            self.mount(&name, actions);
        }
        if self.goal.stage == Stage::Wanted {
            self.find(now, actions);
        }
        self.name_lookalikes(actions);
        if let Stage::Mounted(name) = self.goal.stage.clone() {
            if self.goal.replaced_meanwhile && !self.is_right_after_all(now, &name) {
                return;
            }
            if self.turn_to_usr(actions) {
                return self.pursue(now, actions);
            }
            self.each(now, actions, |one, view, requests| one.wind_up(view, requests));
            // A mapping that is half made must not be left behind.
            if self.is_finishing()
                || self.goal.handover_failure.is_some()
                || !self.pass(now, BreakPoint::Cleanup, actions)
            {
                return;
            }
            self.stop_asking(actions);
            let root = &self.plan.root;
            let action = Action::SwitchRoot { init: root.init.clone(), args: root.init_args.clone() };
            let id = self.ask(actions, action);
            self.goal.stage = Stage::Switching(id, name);
        }
    }

    fn each(
        &mut self,
        now: Moment,
        actions: &mut Actions,
        call: fn(&mut dyn Assembler, View<'_>, &mut Requests<'_>),
    ) {
        let mut assemblers = std::mem::take(&mut self.assemblers);
        let mut next = self.next_command;
        let view = self.view(now);
        let mut requests = Requests { next: &mut next, actions };
        assemblers.iter_mut().for_each(|one| call(one.as_mut(), view, &mut requests));
        self.next_command = next;
        self.assemblers = assemblers;
    }

    /// Once root is mounted: makes a `/usr` of its own the goal. Most roots need theirs to be handed over to.
    fn turn_to_usr(&mut self, actions: &mut Actions) -> bool {
        match usr::wanted(&mut self.plan, self.goal.usr.take()) {
            Usr::None => false,
            Usr::Left(why) => {
                self.ask(actions, Action::Say(Loudness::Warning, why));
                false
            }
            Usr::Wanted(plan) => {
                self.plan.root = plan;
                self.goal = Goal::new(Mountpoint::Usr);
                true
            }
        }
    }

    /// When the devices have been quiet for long enough, a file system is tried without those that are missing. Comes
    /// after the assemblers: one of them may just have begun to make what is missing. Returns whether it is time.
    pub(super) fn consider_degraded(&mut self, now: Moment, actions: &mut Actions) -> bool {
        if self.goal.degraded || !self.is_calm() || self.degraded_from().is_none_or(|from| now < from) {
            return false;
        }
        let Some(device) = self.goal.incomplete(&self.plan, &self.table) else { return false };
        let text = format!("{}: it is mounted degraded", root::shortfall(&self.table, device));
        self.goal.degraded = true;
        self.ask(actions, Action::Say(Loudness::Warning, text));
        true
    }

    pub(super) fn find(&mut self, now: Moment, actions: &mut Actions) {
        self.held = false;
        let Some(device) = self.goal.candidate(&self.plan, &self.table) else { return };
        // A mount for a key leaves its journal alone, and whoever mounts meanwhile would share that.
        let looks = actions.iter().filter_map(|(_, action)| action.looks_into());
        let mut looked_into = looks.chain(self.looked_into.values());
        let members = root::members(&self.table, device);
        if looked_into.any(|name| *name == device.name || members.iter().any(|member| member.name == *name)) {
            return;
        }
        let (name, fstypes) = (device.name.clone(), root::fstypes(&self.plan, device));
        self.held = self.is_held(now);
        if self.held {
            return;
        }
        if !self.pass(now, BreakPoint::PreMount, actions) {
            return;
        }
        let modules = fstypes.iter().map(|fstype| format!("fs-{fstype}")).collect();
        let id = self.ask(actions, Action::LoadModules(modules));
        self.goal.fstypes = fstypes;
        self.goal.stage = Stage::LoadingFs(id, name);
    }

    /// Mounts the device that was found, unless it has become another while its driver was being loaded.
    fn mount(&mut self, name: &DevName, actions: &mut Actions) {
        let still = self.goal.mountable(&self.plan, &self.table).find(|device| device.name == *name);
        let request =
            still.map(|device| root::mount_request(&self.plan, &self.table, device, self.goal.mountpoint));
        match request.filter(|request| request.fstypes == self.goal.fstypes) {
            Some(request) => {
                let id = self.ask(actions, Action::Mount(request));
                self.goal.replaced_meanwhile = false;
                self.goal.stage = Stage::Mounting(id, name.clone());
            }
            None => self.goal.stage = Stage::Wanted,
        }
    }

    /// A device was taken away while it was being mounted: whether what has the name now is what is wanted.
    fn is_right_after_all(&mut self, now: Moment, name: &DevName) -> bool {
        let settled = |name: &DevName| self.table.get(name).is_some_and(Device::is_settled);
        let device = self.table.get(name).filter(|device| settled(&device.name));
        if device.is_some()
            && self.goal.matches(&self.plan, &self.table).iter().any(|device| device.name == *name)
        {
            self.goal.replaced_meanwhile = false;
            return true;
        }
        // The name may come from the partition table, which is read on its own.
        let read = device.is_some_and(|device| device.facts.parent.as_ref().is_none_or(settled));
        if (read || now >= self.last_change.after(LAST_HOPE)) && self.goal.handover_failure.is_none() {
            self.goal.handover_failure = Some(Failure::Other(format!(
                "{name} was taken away while it was being mounted, so that what is mounted may not be what was wanted"
            )));
        }
        false
    }

    /// Other devices that `root=` names as well are named in the log, once each.
    fn name_lookalikes(&mut self, actions: &mut Actions) {
        let Some(chosen) = self.goal.device().and_then(|name| self.table.get(name)) else { return };
        let others: Vec<DevName> = self
            .goal
            .matches(&self.plan, &self.table)
            .into_iter()
            .filter(|device| device.name != chosen.name && !self.goal.named.contains(&device.name))
            .filter(|device| device.copy_of.is_none() && !matching::are_siblings(device, chosen))
            .map(|device| device.name.clone())
            .collect();
        if others.is_empty() {
            return;
        }
        let subject = match self.goal.mountpoint {
            Mountpoint::Root => "root=",
            Mountpoint::Usr => "what names /usr",
        };
        let text = format!(
            "{subject} also names {}; {} is used and nothing else touched. Give one of them a new UUID or label",
            matching::join_names(others.iter()),
            chosen.name
        );
        self.ask(actions, Action::Say(Loudness::Warning, text));
        self.goal.named.extend(others);
    }

    pub(super) fn assemble(&mut self, now: Moment, actions: &mut Actions) {
        if matches!(self.goal.stage, Stage::Switching(..)) {
            return;
        }
        if self.goal.stage != Stage::Wanted {
            return self.each(now, actions, |one, view, requests| one.finish(view, requests));
        }
        if !self.has_usable_spec() {
            return;
        }
        // While a key is derived or an array started, silence says nothing about what is missing.
        let at_work = self.assemblers.iter().any(|one| one.is_busy());
        if self.other_drivers_asked.is_none() && !at_work && self.is_quiet(now) {
            self.other_drivers_asked = Some(now);
            self.ask(actions, Action::LoadOtherDrivers);
        }
        if self.is_at_work(now) {
            self.at_work = now;
        }
        let mut assemblers = std::mem::take(&mut self.assemblers);
        let mut next = self.next_command;
        let mut view = self.view(now);
        let mut requests = Requests { next: &mut next, actions };
        for assembler in &mut assemblers {
            assembler.advance(view, &mut requests);
            if assembler.is_busy() && !self.is_stalled(now) {
                // What it makes may be what the next ones miss.
                view.at_rest = now;
            }
        }
        let at_work = view.at_rest;
        self.next_command = next;
        self.at_work = at_work;
        self.assemblers = assemblers;
    }
}
