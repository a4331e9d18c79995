//! Which volumes are wanted now.

use cmdline::plan::RootSpec;
use ondisk::lvm::{LogicalVolume, VolumeGroup};

use super::activation::{dm_name, dm_uuid};
use super::conf::LvmConf;
use super::group::Group;
use crate::assemble::View;

/// Why a volume is to be activated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// `root=` names it, or `rd.lvm.lv=`.
    Named,
    /// Its group was named, or everything is wanted.
    Eager,
    /// Root may lie on it.
    Search,
}

/// Whether any volume at all may be wanted now: spares a look at every group at every event.
pub fn may_want_any(view: View<'_>) -> bool {
    let lvm = &view.plan.lvm;
    lvm.enabled && (view.plan.auto != Some(false) || !lvm.vgs.is_empty() || !lvm.lvs.is_empty())
}

/// Why this volume is wanted, if it is. `sought` says that root may be anywhere.
pub fn wanted(
    view: View<'_>,
    conf: &LvmConf,
    vg: &VolumeGroup,
    lv: &LogicalVolume,
    sought: bool,
) -> Option<Reason> {
    let lvm = &view.plan.lvm;
    let reason = if !lvm.vgs.is_empty() || !lvm.lvs.is_empty() {
        if lvm.lvs.iter().any(|(group, volume)| *group == vg.name && *volume == lv.name) {
            Reason::Named
        } else if lvm.vgs.contains(&vg.name) {
            Reason::Eager
        } else {
            return None;
        }
    } else {
        match view.plan.auto {
            Some(false) => return None,
            _ if is_root(view, vg, lv) => Reason::Named,
            Some(true) => Reason::Eager,
            None if sought => Reason::Search,
            None => return None,
        }
    };
    let unasked = lvm.vgs.is_empty();
    (reason == Reason::Named || (is_usable(vg, lv, unasked) && (!unasked || conf.allows_unasked(vg, lv))))
        .then_some(reason)
}

/// What `vgchange -ay`, or `-aay` when `unasked`, takes of a group (lvm2: tools/vgchange.c, _activate_lvs_in_vg).
fn is_usable(vg: &VolumeGroup, lv: &LogicalVolume, unasked: bool) -> bool {
    let flagged = |word: &str| lv.flags.iter().any(|flag| flag == word);
    let kind = |word: &str| lv.segments.iter().any(|segment| segment.kind == word);
    let by_hand = |flags: &[String]| flags.iter().any(|flag| flag == "NOAUTOACTIVATE");
    lv.is_visible()
        && !kind("snapshot")
        && !comes_with_its_origin(vg, lv)
        && !flagged("ACTIVATION_SKIP")
        && !lv.status.iter().any(|word| word == "PVMOVE")
        && !(unasked && (by_hand(&lv.flags) || by_hand(&vg.flags)))
        && !kind("vdo-pool")
        // Pools without volumes in them hold nothing to boot from.
        && !(unasked && (kind("thin-pool") || kind("cache-pool")))
}

/// Whether the volume is a snapshot's own, which `snapshotN` says. A hidden origin exists for its snapshot alone.
fn comes_with_its_origin(vg: &VolumeGroup, lv: &LogicalVolume) -> bool {
    let segments = vg.lvs.iter().flat_map(|lv| &lv.segments).filter(|segment| segment.kind == "snapshot");
    segments.into_iter().any(|segment| {
        let named = |key: &str| segment.config.text(key);
        let origin = || vg.lvs.iter().find(|lv| Some(lv.name.as_str()) == named("origin"));
        let is_store = [named("cow_store"), named("merging_store")].contains(&Some(lv.name.as_str()));
        is_store && origin().is_some_and(LogicalVolume::is_visible)
    })
}

/// The snapshots of a group and their origins, by dm UUID. One that is being merged is none: its origin shows what it holds.
pub fn snapshots(vg: &VolumeGroup) -> impl Iterator<Item = (String, String)> {
    let segments = vg.lvs.iter().flat_map(|lv| &lv.segments).filter(|segment| segment.kind == "snapshot");
    let uuid = |name: &str| vg.lvs.iter().find(|lv| lv.name == name).map(|lv| dm_uuid(&vg.id, &lv.id, None));
    segments.filter_map(move |segment| {
        uuid(segment.config.text("cow_store")?).zip(uuid(segment.config.text("origin")?))
    })
}

/// Whether `root=` names the volume.
pub fn is_root(view: View<'_>, vg: &VolumeGroup, lv: &LogicalVolume) -> bool {
    let Some(RootSpec::Path(path)) = &view.plan.root.spec else { return false };
    let Some(path) = path.strip_prefix("/dev/") else { return false };
    let mapped = path.strip_prefix("mapper/").or_else(|| path.strip_prefix("disk/by-id/dm-name-"));
    if let Some(name) = mapped {
        return name == dm_name(&vg.name, &lv.name, None);
    }
    if let Some(uuid) = path.strip_prefix("disk/by-id/dm-uuid-") {
        return uuid == dm_uuid(&vg.id, &lv.id, None);
    }
    path.split_once('/').is_some_and(|(group, volume)| group == vg.name && volume == lv.name)
}

/// Group and volume that `root=/dev/VG/LV` names, unless the directory is one of udev's or the kernel's own.
pub fn root_path<'a>(view: View<'a>) -> Option<(&'a str, &'a str)> {
    let Some(RootSpec::Path(path)) = &view.plan.root.spec else { return None };
    let (group, volume) = path.strip_prefix("/dev/")?.split_once('/')?;
    let known = ["block", "bus", "cciss", "disk", "ida", "mapper", "md", "rd"];
    (!volume.contains('/') && !known.contains(&group)).then_some((group, volume))
}

/// Whether root may be on any volume: devices have come to rest, and the volume that `root=` names, if any, is not in a
/// group that is all there. (A PV of that group may be a volume of another.)
pub fn may_be_anywhere(view: View<'_>, groups: &[Group<'_>]) -> bool {
    let names_it = |group: &Group<'_>| group.vg.lvs.iter().any(|lv| is_root(view, group.vg, lv));
    view.calm && !groups.iter().any(|group| group.is_complete() && names_it(group))
}
