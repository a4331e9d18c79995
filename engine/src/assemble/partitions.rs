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
                !view.table.partitions(&device.name).any(|known| known.facts.partn == Some(entry.number))
            })
            .map(|entry| format!("{} ({})", entry.number, entry.uuid))
            .collect();
        if absent.is_empty() {
            return None;
        }
        Some(Node::new(
            State::Missing,
            format!("the kernel has not made partition {} of {}", absent.join(", "), device.name),
        ))
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
