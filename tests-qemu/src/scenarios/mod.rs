//! The scenarios, one file per theme.

mod bare;

use crate::scenario::Scenario;

/// All scenarios.
#[must_use]
pub fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    all.extend(bare::scenarios());
    all
}
