//! The scenarios, one file per theme.
//!
//! What hangs on the kernel runs on both: they differ in what is built in, in how modules are compressed and in what the
//! kernel sends. Storage stacks run mostly on the newer one.

mod ata_raid;
mod bare;
mod crypt;
mod distribution;
mod external_raid;
mod failures;
mod handoff;
mod luks;
mod luks_options;
mod lvm;
mod lvm_faults;
mod lvm_types;
mod md;
mod memory;
mod multi_device;
mod multipath;
mod questions;
mod root_forms;
mod stacks;
mod timing;
mod tokens;
mod usr;
mod verity;

use crate::scenario::Scenario;

/// All scenarios, the long ones first so that two workers end at about the same time.
#[must_use]
pub fn all() -> Vec<Scenario> {
    let mut all = distribution::scenarios();
    all.extend(lvm::scenarios());
    all.extend(lvm_types::scenarios());
    all.extend(lvm_faults::scenarios());
    all.extend(multipath::scenarios());
    all.extend(memory::scenarios());
    all.extend(crypt::scenarios());
    all.extend(questions::scenarios());
    all.extend(luks_options::scenarios());
    all.extend(luks::scenarios());
    all.extend(md::scenarios());
    all.extend(usr::scenarios());
    all.extend(verity::scenarios());
    all.extend(multi_device::scenarios());
    all.extend(timing::scenarios());
    all.extend(tokens::scenarios());
    all.extend(failures::scenarios());
    all.extend(stacks::scenarios());
    all.extend(root_forms::scenarios());
    all.extend(ata_raid::scenarios());
    all.extend(external_raid::scenarios());
    all.extend(bare::scenarios());
    all
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn names_are_unique() {
        let mut names = HashSet::new();
        for scenario in super::all() {
            assert!(names.insert(scenario.name.clone()), "{} is there twice", scenario.name);
        }
    }
}
