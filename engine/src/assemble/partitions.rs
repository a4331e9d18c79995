//! Partitions. The kernel makes them, except on device-mapper devices: there they are mapped when nothing else leads to
//! the root, as kpartx would. What is left is to notice those that nobody made.

use super::dm_partitions::DmPartitions;
use super::{Assembler, Requests, View};
use crate::event::{CommandId, DmFacts, Failure, Outcome};
use crate::explain::{Node, State};
use crate::table::Device;

/// Subsystems whose whole devices may hold a partition table; others map the partitions of theirs by themselves.
const WHOLE: [&str; 2] = ["CRYPT-", "LVM-"];

/// The assembler of partitions.
#[derive(Default)]
pub struct Partitions {
    mapped: DmPartitions,
}

impl Assembler for Partitions {
    fn advance(&mut self, view: View<'_>, requests: &mut Requests<'_>) {
        // A virtual machine's disk image on a volume is no business of the host's unless its root lies there.
        if view.calm && view.plan.auto != Some(false) {
            let whole = |dm: &DmFacts| WHOLE.iter().any(|prefix| dm.uuid.starts_with(prefix));
            self.mapped.advance(view, requests, whole, None);
        }
    }

    fn answer(&mut self, _view: View<'_>, id: CommandId, result: &Result<Outcome, Failure>) -> bool {
        self.mapped.answer(id, result)
    }

    fn retry(&mut self) {
        self.mapped.retry();
    }

    fn is_busy(&self) -> bool {
        self.mapped.is_busy()
    }

    fn explain(&self, view: View<'_>, device: &Device) -> Option<Node> {
        let table = device.content()?.table.as_ref()?;
        let absent: Vec<String> = table
            .partitions
            .iter()
            .filter(|entry| {
                let place = Some((&device.name, entry.number));
                !view
                    .table
                    .iter()
                    .any(|known| view.table.place(known).map(|(disk, number)| (&disk.name, number)) == place)
            })
            .map(|entry| format!("{} ({})", entry.number, entry.uuid))
            .collect();
        if absent.is_empty() {
            return None;
        }
        if let Some(failed) = self.mapped.explain(device) {
            return Some(failed);
        }
        let missing = absent.join(", ");
        let text = match &device.facts.dm {
            Some(_) => format!("partition {missing} of {} is not mapped", device.name),
            None => format!("the kernel has not made partition {missing} of {}", device.name),
        };
        Some(Node::new(State::Missing, text))
    }

    fn remedies(&self, view: View<'_>) -> Vec<String> {
        view.table
            .iter()
            .filter_map(|device| {
                let doubt = device.content()?.table.as_ref()?.doubt.as_ref()?;
                Some(format!("repair the partition table of {}: {doubt}", device.name))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::WHOLE;
    use crate::Action;
    use crate::script::{Script, gpt, plan, uuid};

    #[test]
    fn a_table_in_a_container_is_mapped_once_nothing_else_is_left() {
        let mut script = Script::new(plan(uuid("none")));
        let mut table = gpt(&[(1, "11-22", None)]);
        for entry in table.table.iter_mut().flat_map(|table| &mut table.partitions) {
            (entry.start, entry.length) = (1 << 20, 1 << 20);
        }
        let mut actions = script.mapping("dm-0", "opened", "sda", table);
        actions.extend(script.tell(crate::Event::Coldplugged));
        let made: Vec<_> = actions
            .iter()
            .filter_map(|action| match action {
                Action::CreateDm(device) => Some((device.name.as_str(), device.uuid.as_str())),
                _ => None,
            })
            .collect();
        assert!(matches!(made[..], [("opened1", uuid)] if uuid.starts_with("part1-CRYPT-")), "{made:?}");
        assert!(WHOLE.iter().all(|prefix| prefix.ends_with('-')));
    }
}
