//! What can be had of a world, worked out without any order of events.

use cmdline::Plan;

use super::{Carrier, Form, Groups, Pv, dm_name};

impl Groups {
    /// Whether disks vanish.
    pub fn loses_disks(&self) -> bool {
        self.disks.iter().any(|disk| disk.lost.is_some())
    }

    /// The version of the metadata that is seen in the end.
    pub fn seen(&self, group: usize, plan: &Plan) -> usize {
        let there = self.groups[group].pvs.iter().filter(|pv| self.arrives(pv, plan));
        there.filter_map(|pv| pv.metadata).max().unwrap_or(0)
    }

    /// Whether the PV shows up under this plan.
    pub fn arrives(&self, pv: &Pv, plan: &Plan) -> bool {
        let there = |disk: usize| self.disks[disk].arrival.is_some();
        match pv.carrier {
            Carrier::Disk(disk) => there(disk),
            Carrier::Container(disk) => there(disk) && opens(plan),
            Carrier::Array(disks) => {
                let count = disks.into_iter().filter(|disk| there(*disk)).count();
                plan.auto != Some(false) && (count == 2 || count == 1 && plan.degraded.is_some())
            }
            Carrier::Volume(group, lv) => self.is_reachable(group, lv, plan),
        }
    }

    /// Whether the command line lets the volume be activated.
    pub fn is_allowed(&self, group: usize, lv: usize, plan: &Plan) -> bool {
        let (vg, lv) = (&self.groups[group].name, &self.groups[group].lvs[lv].name);
        let lvm = &plan.lvm;
        if lvm.vgs.is_empty() && lvm.lvs.is_empty() {
            return lvm.enabled && plan.auto != Some(false);
        }
        lvm.enabled && (lvm.vgs.contains(vg) || lvm.lvs.contains(&(vg.clone(), lv.clone())))
    }

    /// Whether the group does without this PV in the metadata that are seen.
    pub fn is_removed(&self, group: usize, pv: usize, plan: &Plan) -> bool {
        let of = &self.groups[group];
        of.pvs[pv].removed && self.seen(group, plan) == of.newest()
    }

    /// PVs that the group misses for good: not there, or counted as lost.
    pub fn is_missing(&self, group: usize, pv: usize, plan: &Plan) -> bool {
        let of = &self.groups[group];
        let lost = of.pvs[pv].lost && self.seen(group, plan) == of.newest();
        lost || !self.arrives(&of.pvs[pv], plan)
    }

    /// Whether the volume can be activated sooner or later.
    pub fn is_reachable(&self, group: usize, lv: usize, plan: &Plan) -> bool {
        let of = &self.groups[group];
        let volume = &of.lvs[lv];
        let holes = volume.pvs.iter().filter(|pv| self.is_missing(group, **pv, plan)).count();
        let covered = match volume.form {
            Form::Raid1 | Form::Raid5 => holes == 0 || holes == 1 && plan.degraded.is_some(),
            _ => holes == 0,
        };
        let refused = self.refused.as_deref() == Some(&dm_name(&of.name, &volume.name));
        let known = of.pvs.iter().any(|pv| pv.metadata.is_some() && self.arrives(pv, plan));
        self.is_allowed(group, lv, plan)
            && of.obstacle.is_none()
            && known
            && covered
            && !refused
            && (volume.form != Form::Thin || volume.sound)
    }
}

/// Whether containers are opened.
pub fn opens(plan: &Plan) -> bool {
    plan.auto != Some(false) || !plan.luks.selectors.is_empty()
}
