//! Partitions. The kernel makes them; what is left is to notice those that it did not make.

use super::{Assembler, Requests, View};
use crate::explain::{Node, State};
use crate::table::Device;

/// The assembler of partitions.
pub struct Partitions;

impl Assembler for Partitions {
    fn advance(&mut self, _view: View<'_>, _requests: &mut Requests<'_>) {}

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
