//! What the MD assembler has to say to an operator.

use ondisk::md::{Role, Superblock};

use super::judge::{Judgement, Readiness, Seen, judge};
use super::{Md, Stage, Unwanted, holder, list, members, naming, outrun, superblock};
use crate::assemble::View;
use crate::assemble::ata_raid::external;
use crate::explain::{Node, State};
use crate::table::Device;

/// An array in a few words: `array UUID (NAME, raid1)`.
pub(super) fn title(superblock: &Superblock) -> String {
    format!("array {} ({}, {})", superblock.array_uuid(), superblock.name, superblock.level_name())
}

/// What is said when an array starts without all of its members.
pub(super) fn degraded_start(judged: &Judgement<'_>) -> String {
    let how = match judged.readiness {
        Readiness::AsItWas => "as degraded as it was left",
        _ => "degraded",
    };
    format!("{} starts {how}: {}", title(judged.best), counted(judged))
}

/// `1 of 2 members seen, missing slot 1`.
fn counted(judged: &Judgement<'_>) -> String {
    let all = judged.best.all_disks();
    let missing: Vec<String> = judged.missing.iter().map(u16::to_string).collect();
    let seen = all.saturating_sub(u32::try_from(missing.len()).unwrap_or(all));
    let slots = match missing.as_slice() {
        [] => String::new(),
        [one] => format!(", missing slot {one}"),
        several => format!(", missing slots {}", several.join(", ")),
    };
    format!("{seen} of {all} members seen{slots}")
}

/// Whether the freshest member has moved on from those that the array runs from, as only use without them makes it.
pub(super) fn is_fresher(running: &Device, seen: &[Seen<'_>], judged: &Judgement<'_>) -> bool {
    let inside = seen.iter().filter(|one| running.facts.slaves.contains(one.name));
    let newest = inside.map(|one| one.superblock.events).max();
    newest.is_some_and(|newest| newest.saturating_add(1) < judged.best.events)
}

/// What is said of an array that runs without its freshest member.
pub(super) fn runs_outrun(running: &Device, seen: &[Seen<'_>], judged: &Judgement<'_>) -> String {
    let name = &running.name;
    let (inside, fresh) = (list(running.facts.slaves.iter()), list(judged.used.iter().map(|one| one.name)));
    let devices: Vec<String> = judged.used.iter().map(|one| format!("/dev/{}", one.name)).collect();
    let how = if is_fresher(running, seen, judged) { "is fresher" } else { "was used apart from it" };
    format!(
        "runs as {name} from {inside}, and {fresh} {how}: do not write to it; mdadm --stop /dev/{name}, then mdadm \
         --assemble --run /dev/{name} {}",
        devices.join(" ")
    )
}

impl Md {
    /// What a member is, and what keeps its array.
    pub(super) fn explain_member(&self, view: View<'_>, device: &Device) -> Option<Node> {
        let own = superblock(device)?;
        if let Some(array) = holder(view.table, &device.name) {
            return Some(Node::new(State::Found, format!("member of {}", array.name)));
        }
        let role = match own.role {
            Role::Active(slot) => format!("slot {slot}"),
            Role::Spare => "spare".to_owned(),
            Role::Faulty => "faulty".to_owned(),
            Role::Journal => "journal".to_owned(),
        };
        let groups = members(view, &self.refused);
        let judged = groups.get(&own.uuid).and_then(|seen| judge(seen));
        if !naming::is_listed(&view.image.mdadm, device) {
            let text = format!("{role} of {}, left alone: no DEVICE line of mdadm.conf names it", title(own));
            return Some(Node::new(State::Seen, text));
        }
        let why = judged
            .iter()
            .flat_map(|judged| &judged.left_out)
            .find(|(name, _)| **name == device.name)
            .map(|(_, why)| why.as_str());
        Some(match why {
            Some(why) => Node::new(State::Failed, format!("{role} of {}, left out: {why}", title(own))),
            None => Node::new(State::Waiting, format!("{role} of {}", title(own))),
        })
    }

    /// Arrays that do not run.
    pub(super) fn unfinished(&self, view: View<'_>) -> Vec<Node> {
        let groups = members(view, &self.refused);
        let mut nodes = Vec::new();
        for (uuid, seen) in &groups {
            let Some(judged) = judge(seen) else { continue };
            if judged.used.iter().any(|one| holder(view.table, one.name).is_some()) {
                continue;
            }
            if let Some(running) = outrun(view.table, seen, &judged) {
                let what = runs_outrun(running, seen, &judged);
                nodes.push(Node::new(State::Failed, format!("{} {what}", title(judged.best))));
                continue;
            }
            let (state, what) = match self.arrays.get(uuid).map(|array| &array.stage) {
                Some(Stage::Failed(_, why)) => (State::Failed, format!("could not be started: {why}")),
                Some(Stage::Starting(..) | Stage::Started(_) | Stage::Stopping(_)) => {
                    (State::Waiting, format!("{}, being started", counted(&judged)))
                }
                _ => self.waiting(view, &judged),
            };
            nodes.push(Node::new(state, format!("{}: {what}", title(judged.best))));
        }
        for uuid in
            view.plan.md.uuids.iter().filter(|uuid| view.plan.md.enabled && !groups.contains_key(*uuid))
        {
            if external::is_seen(view, *uuid) {
                continue;
            }
            nodes
                .push(Node::new(State::Missing, format!("no member of MD array {} was seen", printed(uuid))));
        }
        nodes
    }

    fn waiting(&self, view: View<'_>, judged: &Judgement<'_>) -> (State, String) {
        let count = counted(judged);
        match self.wanted(view, judged.best) {
            Ok(()) => {}
            Err(Unwanted::NotYet) => return (State::Seen, format!("{count}, not needed so far")),
            Err(why) => return (State::Seen, format!("{count}, left alone: {}", reason(why))),
        }
        match &judged.readiness {
            Readiness::Complete | Readiness::AsItWas => (State::Waiting, count),
            Readiness::TooFew(why) => (State::Missing, format!("{count}; {why}")),
            Readiness::Refused(why) => (State::Failed, format!("{count}; {why}")),
            Readiness::Degraded => match self.grace_ends(view) {
                Some(at) if at > view.now => {
                    let left = at.since(view.now).as_millis().div_ceil(1000);
                    (State::Waiting, format!("{count}, degraded start in {left} s"))
                }
                Some(_) => {
                    (State::Waiting, format!("{count}, degraded start as soon as devices have come to rest"))
                }
                None => {
                    (State::Missing, format!("{count}; rootward.degraded=never forbids a degraded start"))
                }
            },
        }
    }

    /// What may help.
    pub(super) fn remedies_for(&self, view: View<'_>) -> Vec<String> {
        let mut remedies = Vec::new();
        for (uuid, seen) in members(view, &self.refused) {
            let Some(judged) = judge(&seen) else { continue };
            if judged.used.iter().any(|one| holder(view.table, one.name).is_some()) {
                continue;
            }
            if outrun(view.table, &seen, &judged).is_some() {
                continue;
            }
            let title = title(judged.best);
            if let Some(Stage::Failed(tried, _)) = self.arrays.get(&uuid).map(|array| &array.stage) {
                remedies.push(format!(
                    "mdadm --examine of {} from a rescue system, for {title}",
                    list(tried.iter())
                ));
                continue;
            }
            match (self.wanted(view, judged.best), &judged.readiness) {
                (Err(Unwanted::NotYet), _) => {}
                (Err(why), _) => {
                    remedies.push(format!("if root lies in {title}: {}", advice(why, judged.best)));
                }
                (Ok(()), Readiness::Degraded) if view.plan.degraded.is_none() => remedies.push(format!(
                    "connect the missing member of {title}, or boot with rootward.degraded=10"
                )),
                (Ok(()), Readiness::TooFew(_)) => {
                    remedies.push(format!("connect the missing members of {title}"));
                }
                (Ok(()), _) => {}
            }
        }
        remedies
    }
}

fn reason(why: Unwanted) -> &'static str {
    match why {
        Unwanted::Off => "rd.md=0",
        Unwanted::NotNamed => "rd.md.uuid= names others",
        Unwanted::AutoOff => "rd.auto=0",
        Unwanted::Ignored => "mdadm.conf says <ignore>",
        Unwanted::Ambiguous => "several lines of mdadm.conf mean it",
        Unwanted::NotAutomatic => "the AUTO line of mdadm.conf excludes it",
        Unwanted::NotYet => "nothing needs it",
    }
}

fn advice(why: Unwanted, superblock: &Superblock) -> String {
    match why {
        Unwanted::Off => "take rd.md=0 off the command line".to_owned(),
        Unwanted::Ambiguous => {
            "leave one ARRAY line for it in mdadm.conf, or boot with rd.md.conf=0".to_owned()
        }
        _ => format!("rd.md.uuid={}", superblock.array_uuid()),
    }
}

fn printed(uuid: &[u8; 16]) -> String {
    let groups: Vec<String> =
        uuid.chunks_exact(4).map(|group| group.iter().map(|byte| format!("{byte:02x}")).collect()).collect();
    groups.join(":")
}
