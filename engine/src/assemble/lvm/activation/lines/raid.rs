//! dm-raid (kernel: Documentation/admin-guide/device-mapper/dm-raid.rst).

use std::fmt::Write as _;

use super::super::Refusal;
use super::super::build::{Builder, Run};
use super::super::group::word;
use super::super::parts::Parts;
use super::super::tree::{Line, Part};
use super::text;

/// Most images (kernel: dm-raid.c).
const MAX_LEGS: usize = 253;

/// The kernel's name of a segment type.
pub(super) fn target(kind: &str) -> Option<&'static str> {
    const SAME: &[&str] = &[
        "raid0",
        "raid1",
        "raid4",
        "raid5_n",
        "raid5_la",
        "raid5_ra",
        "raid5_ls",
        "raid5_rs",
        "raid6_n_6",
        "raid6_zr",
        "raid6_nr",
        "raid6_nc",
        "raid6_ls_6",
        "raid6_rs_6",
        "raid6_la_6",
        "raid6_ra_6",
        "raid10",
    ];
    match kind {
        "raid0_meta" => Some("raid0"),
        "raid5" => Some("raid5_ls"),
        "raid6" => Some("raid6_zr"),
        "raid10_near" => Some("raid10"),
        _ => SAME.iter().copied().find(|name| *name == kind),
    }
}

impl<'a> Builder<'_, 'a> {
    pub(super) fn raid(
        &mut self,
        lv: usize,
        node: usize,
        run: Run<'a>,
        length: u64,
        depth: usize,
    ) -> Result<(), Refusal> {
        let group = self.group;
        let config = &run.segment.config;
        let parts = Parts::of(run.segment);
        let legs = parts.legs();
        let kind = target(&run.segment.kind).unwrap_or_default();
        if legs.is_empty() || legs.len() > MAX_LEGS || u64::try_from(legs.len()) != Ok(parts.area_count()) {
            return Err(group.broken(lv, "a RAID segment with a wrong number of images"));
        }
        let mut images = Vec::with_capacity(legs.len());
        for leg in &legs {
            let find =
                |name| group.find(name).ok_or_else(|| group.broken(lv, "a reference to another volume"));
            images.push((find(leg.data)?, leg.metadata.map(find).transpose()?));
        }
        let info = |image: usize| group.lvs.get(image);
        for (data, metadata) in &images {
            let writable = info(*data).is_some_and(|data| data.visible && data.write);
            if writable || metadata.and_then(info).is_some_and(|metadata| metadata.visible) {
                let what = "a RAID volume with visible images";
                return Err(Refusal::Unsupported { lv: group.name(lv).to_owned(), what });
            }
        }
        // An image that was split off and is tracked stays outside.
        let tracked = |image: usize| info(image).is_some_and(|image| !image.write);
        for (data, metadata) in &images {
            if tracked(*data) {
                continue;
            }
            self.add(*data, None, depth + 1)?;
            if let Some(metadata) = metadata {
                self.add(*metadata, None, depth + 1)?;
            }
        }
        let (mut areas, mut uses) = (Vec::new(), Vec::new());
        for (data, metadata) in &images {
            if tracked(*data) && info(*data).is_some_and(|data| data.visible) {
                areas.push(text(" - -"));
                continue;
            }
            for image in [*metadata, Some(*data)] {
                let Some(image) = image else {
                    areas.push(text(" -"));
                    continue;
                };
                let image = self.node_of(image, None)?;
                uses.push(image);
                areas.extend([text(" "), Part::Node(image)]);
            }
        }
        let settings = self.raid_settings(lv, run, kind, &images)?;
        let words = settings.split_ascii_whitespace().count().saturating_add(1);
        let stripe = config.number("stripe_size").unwrap_or(0);
        let mut params = vec![text(format!("{kind} {words} {stripe}{settings} {}", images.len()))];
        params.extend(areas);
        self.line(node, &uses, Line { length, kind: "raid", params });
        Ok(())
    }

    /// Everything between the stripe size and the images, each word after a space.
    fn raid_settings(
        &self,
        lv: usize,
        run: Run<'a>,
        kind: &str,
        images: &[(usize, Option<usize>)],
    ) -> Result<String, Refusal> {
        let config = &run.segment.config;
        let number = |key: &str| config.number(key).filter(|number| *number > 0);
        if kind == "raid0" {
            return Ok(String::new());
        }
        let group = self.group;
        let region =
            number("region_size").ok_or_else(|| group.broken(lv, "a RAID segment without a region size"))?;
        let mut groups: [String; 9] = Default::default();
        let [rebuild, slowest, fastest, mostly, behind, region_size, copies, delta, offset] = &mut groups;
        let has = |image: usize, wanted: &str| {
            group.lvs.get(image).is_some_and(|image| {
                word(&image.lv.status, wanted)
                    || image.lv.segments.iter().any(|segment| word(&segment.kind_flags, wanted))
            })
        };
        let mut disks = 0_i32;
        for (number, (image, _)) in images.iter().enumerate() {
            if has(*image, "REBUILD") {
                let _ = write!(rebuild, " rebuild {number}");
            }
            if kind == "raid1" && has(*image, "WRITEMOSTLY") {
                let _ = write!(mostly, " write_mostly {number}");
            }
            if has(*image, "RESHAPE_DELTA_DISKS_PLUS") {
                disks = disks.saturating_add(1);
            } else if has(*image, "RESHAPE_DELTA_DISKS_MINUS") {
                disks = disks.saturating_sub(1);
            }
        }
        let set = |out: &mut String, key: &str, value: Option<u64>| {
            if let Some(value) = value {
                let _ = write!(out, " {key} {value}");
            }
        };
        set(slowest, "min_recovery_rate", number("min_recovery_rate"));
        set(fastest, "max_recovery_rate", number("max_recovery_rate"));
        set(behind, "max_write_behind", number("writebehind").filter(|_| kind == "raid1"));
        set(region_size, "region_size", Some(region));
        if kind == "raid10" {
            // Without a number lvm2 means two.
            set(
                copies,
                "raid10_copies",
                Some(number("data_copies").filter(|copies| *copies > 1).unwrap_or(2)),
            );
        }
        if disks != 0 {
            let _ = write!(delta, " delta_disks {disks}");
        }
        // 0 is an offset too; 1 is how lvm2 remembers that in memory.
        set(
            offset,
            "data_offset",
            config.number("data_offset").map(|offset| if offset == 1 { 0 } else { offset }),
        );
        // Target versions 1.9 and 1.10 wanted another order than their documentation.
        let flawed = ((4, 8)..(4, 13)).contains(&self.facts.version);
        let [rebuild, slowest, fastest, mostly, behind, region_size, copies, delta, offset] = &groups;
        Ok(if flawed {
            [copies, region_size, offset, delta, rebuild, mostly, behind, fastest, slowest]
                .map(String::as_str)
                .concat()
        } else {
            [rebuild, slowest, fastest, mostly, behind, region_size, copies, delta, offset]
                .map(String::as_str)
                .concat()
        })
    }
}
