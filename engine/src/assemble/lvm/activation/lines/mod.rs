//! Lines of tables, one function per segment type (lvm2: the add_target_line functions of lib/*/*.c and the
//! _emit_segment_line functions of device_mapper/libdm-deptree.c).

mod cache;
mod pool;
mod raid;

use std::fmt::Write as _;
use std::ops::Range;

use ondisk::lvm::{Section, Value};

use super::build::{Builder, Run, linear};
use super::group::Snapshot;
use super::parts::Parts;
use super::tree::{Line, Node, Part};
use super::{PoolKind, Refusal};

fn text(text: impl Into<String>) -> Part {
    Part::Text(text.into())
}

/// What may stand behind a segment's type (lvm2: lib/format_text/flags.c, `SEGTYPE_FLAG`). With any other word lvm2 takes
/// the whole for a type that it does not know: the word says that readers which ignore it would be wrong.
const FLAGS: [&str; 8] = [
    "RESHAPE",
    "RESHAPE_DATA_OFFSET",
    "RESHAPE_DELTA_DISKS_PLUS",
    "RESHAPE_DELTA_DISKS_MINUS",
    "REMOVE_AFTER_RESHAPE",
    "METADATA_FORMAT",
    "CROP_METADATA",
    "CACHE_USES_CACHEVOL",
];

/// Sectors that a move copies at a time, unless it has fewer (lvm2: raid_region_size, 2 MiB).
const REGION: u64 = 4096;

impl<'a> Builder<'_, 'a> {
    /// Adds what a segment lies on, then its line.
    pub(super) fn add_segment(
        &mut self,
        lv: usize,
        node: usize,
        run: Run<'a>,
        depth: usize,
    ) -> Result<(), Refusal> {
        let length = self.length(lv, run)?;
        let is_known = run.segment.kind_flags.iter().all(|flag| FLAGS.contains(&flag.as_str()));
        match run.segment.kind.as_str() {
            _ if !is_known => Err(self.unknown(lv, run)),
            "striped" | "linear" => self.striped(lv, node, run, length, depth),
            "mirror" => self.mirror(lv, node, run, length, depth),
            "error" | "zero" => {
                let kind = if run.segment.kind == "zero" { "zero" } else { "error" };
                self.line(node, &[], Line { length, kind, params: Vec::new() });
                Ok(())
            }
            "thin-pool" => self.thin_pool(lv, node, run, length, depth),
            "thin" => self.thin(lv, node, run, length, depth),
            "cache" => self.cache(lv, node, run, length, depth),
            "writecache" => self.writecache(lv, node, run, length, depth),
            "integrity" => self.integrity(lv, node, run, depth),
            "vdo-pool" => self.vdo_pool(lv, node, run, depth),
            "vdo" => self.vdo(lv, node, run, length, depth),
            kind if raid::target(kind).is_some() => self.raid(lv, node, run, length, depth),
            _ => Err(self.unknown(lv, run)),
        }
    }

    fn unknown(&self, lv: usize, run: Run<'a>) -> Refusal {
        let flags: String = run.segment.kind_flags.iter().map(|flag| format!("+{flag}")).collect();
        let kind = format!("{}{flags}", run.segment.kind);
        Refusal::UnknownSegment { lv: self.group.name(lv).to_owned(), kind }
    }

    /// Length of a run in sectors, without what a RAID volume keeps free for reshaping.
    fn length(&self, lv: usize, run: Run<'_>) -> Result<u64, Refusal> {
        let parts = Parts::of(run.segment);
        let spare = if parts.is_raid() {
            let data = parts.area_count().saturating_sub(u64::try_from(parts.parity()).unwrap_or(0));
            data.saturating_mul(run.segment.config.number("reshape_count").unwrap_or(0))
        } else {
            0
        };
        run.extents
            .checked_sub(spare)
            .and_then(|extents| extents.checked_mul(self.group.vg.extent_size))
            .ok_or_else(|| self.group.broken(lv, "a segment of impossible length"))
    }

    fn striped(
        &mut self,
        lv: usize,
        node: usize,
        run: Run<'a>,
        length: u64,
        depth: usize,
    ) -> Result<(), Refusal> {
        let parts = Parts::of(run.segment);
        self.add_areas(parts, depth)?;
        let (params, uses) = self.areas(lv, node, run, 0..usize::MAX)?;
        let count = parts.area_count();
        let line = if count == 1 {
            Line { length, kind: "linear", params }
        } else {
            let mut all = vec![text(format!("{count} {} ", parts.stripe_size()))];
            all.extend(params);
            Line { length, kind: "striped", params: all }
        };
        self.line(node, &uses, line);
        Ok(())
    }

    /// Adds the volumes among the areas of a segment.
    fn add_areas(&mut self, parts: Parts<'a>, depth: usize) -> Result<(), Refusal> {
        for (name, _) in parts.areas() {
            if let Some(area) = self.group.area(name) {
                self.add(area, None, depth + 1)?;
            }
        }
        Ok(())
    }

    /// `DEVICE OFFSET` of every area, and the nodes among them.
    fn areas(
        &mut self,
        lv: usize,
        node: usize,
        run: Run<'a>,
        which: Range<usize>,
    ) -> Result<(Vec<Part>, Vec<usize>), Refusal> {
        let group = self.group;
        let parts = Parts::of(run.segment);
        let count = parts.areas().count();
        if count == 0 || u64::try_from(count) != Ok(parts.area_count()) {
            return Err(group.broken(lv, "a segment with a wrong number of areas"));
        }
        let (mut params, mut uses) = (Vec::new(), Vec::new());
        for (area, (name, extent)) in parts.areas().enumerate().take(which.end).skip(which.start) {
            let offset = group.vg.extent_size.checked_mul(extent);
            let pv = group.vg.pv(name);
            let offset = offset
                .and_then(|offset| offset.checked_add(pv.map_or(0, |pv| pv.pe_start)))
                .ok_or_else(|| group.broken(lv, "an area beyond every device"))?;
            if area > which.start {
                params.push(text(" "));
            }
            if let Some(pv) = pv {
                if let Some(device) = (self.pvs)(&pv.id) {
                    params.push(text(format!("{}:{} {offset}", device.major, device.minor)));
                } else {
                    let missing = self.missing(lv, node, run, area)?;
                    uses.push(missing);
                    params.extend([Part::Node(missing), text(" 0")]);
                }
            } else {
                let below =
                    group.find(name).ok_or_else(|| group.broken(lv, "a reference to another volume"))?;
                let below = self.node_of(below, None)?;
                uses.push(below);
                params.extend([Part::Node(below), text(format!(" {offset}"))]);
            }
        }
        Ok((params, uses))
    }

    /// The device that stands for an area whose physical volume is missing; only images of RAID volumes have them.
    fn missing(&mut self, lv: usize, node: usize, run: Run<'a>, area: usize) -> Result<usize, Refusal> {
        let group = self.group;
        let image = group.lvs.get(lv).filter(|info| info.raid_image || info.raid_metadata);
        let info = image.ok_or_else(|| group.broken(lv, "a missing physical volume below no RAID image"))?;
        let segment = self.tree.nodes.get(node).map_or(0, |node| node.lines.len());
        let suffix = format!("missing_{segment}_{area}");
        let node = Node {
            name: super::dm_name(&group.vg.name, &info.lv.name, Some(&suffix)),
            uuid: super::dm_uuid(&group.vg.id, &info.lv.id, Some(&suffix)),
            ..Node::default()
        };
        let node = self.add_node(lv, node)?;
        let length = self.length(lv, run)?;
        self.line(node, &[], Line { length, kind: "error", params: Vec::new() });
        Ok(node)
    }

    fn mirror(
        &mut self,
        lv: usize,
        node: usize,
        run: Run<'a>,
        length: u64,
        depth: usize,
    ) -> Result<(), Refusal> {
        let group = self.group;
        let parts = Parts::of(run.segment);
        let log = match run.segment.config.text("mirror_log") {
            Some(_) => Some(group.named(lv, run.segment, "mirror_log")?),
            None => None,
        };
        if let Some(log) = log {
            self.add(log, None, depth + 1)?;
        }
        self.add_areas(parts, depth)?;
        let moved =
            run.segment.config.get("extents_moved").map(|_| run.segment.config.number("extents_moved"));
        // Of a move one segment is copied at a time: those before lie on the new side, those behind on the old one.
        let which = match moved {
            Some(extents) if extents == Some(run.extents) => 1..usize::MAX,
            Some(_) if self.tree.nodes.get(node).is_some_and(Node::has_mirror) => 0..1,
            _ => 0..usize::MAX,
        };
        let mapped = parts.area_count() == 1 || which != (0..usize::MAX);
        let (areas, below) = self.areas(lv, node, run, which)?;
        if mapped {
            self.line(node, &below, Line { length, kind: "linear", params: areas });
            return Ok(());
        }
        let region = match moved {
            Some(_) if REGION > length => 1 << length.checked_ilog2().unwrap_or(0),
            Some(_) => REGION,
            None => run.segment.config.number("region_size").unwrap_or(0),
        };
        if region == 0 {
            return Err(group.broken(lv, "a mirror without a region size"));
        }
        let (mut params, mut uses) = (Vec::new(), Vec::new());
        if let Some(log) = log {
            let log = self.node_of(log, None)?;
            uses.push(log);
            params.extend([text("disk 2 "), Part::Node(log), text(format!(" {region}"))]);
        } else {
            params.push(text(format!("core 1 {region}")));
        }
        params.push(text(format!(" {} ", parts.area_count())));
        params.extend(areas);
        if moved.is_none() {
            params.push(text(" 1 handle_errors"));
        }
        uses.extend(below);
        self.line(node, &uses, Line { length, kind: "mirror", params });
        Ok(())
    }

    pub(super) fn snapshot_line(&mut self, node: usize, snapshot: Snapshot) -> Result<(), Refusal> {
        let length = snapshot.size;
        if snapshot.merging {
            // Its content goes to the origin; nobody may use it meanwhile.
            self.line(node, &[], Line { length, kind: "error", params: Vec::new() });
            return Ok(());
        }
        let origin = self.node_of(snapshot.origin, Some("real"))?;
        let cow = self.node_of(snapshot.cow, Some("cow"))?;
        let chunk = text(format!(" P {}", snapshot.chunk_size));
        let params = vec![Part::Node(origin), text(" "), Part::Node(cow), chunk];
        self.line(node, &[origin, cow], Line { length, kind: "snapshot", params });
        Ok(())
    }

    fn writecache(
        &mut self,
        lv: usize,
        node: usize,
        run: Run<'a>,
        length: u64,
        depth: usize,
    ) -> Result<(), Refusal> {
        let group = self.group;
        let config = &run.segment.config;
        let fast = group.named(lv, run.segment, "writecache")?;
        let origin = group.named(lv, run.segment, "origin")?;
        self.add(fast, group.layer(fast), depth + 1)?;
        self.add(origin, None, depth + 1)?;
        let cache = self.node_of(fast, Some("cvol"))?;
        let below = self.node_of(origin, Some("real"))?;
        let mut words = 0;
        let mut settings = String::new();
        for key in
            ["high_watermark", "low_watermark", "writeback_jobs", "autocommit_blocks", "autocommit_time"]
        {
            pair(&mut settings, &mut words, key, config.number(key));
        }
        for key in ["fua", "nofua"] {
            if config.get(key).is_some() {
                flag(&mut settings, &mut words, key);
            }
        }
        if config.number("cleaner").is_some_and(|on| on > 0) {
            flag(&mut settings, &mut words, "cleaner");
        }
        pair(&mut settings, &mut words, "max_age", config.number("max_age"));
        if config.get("metadata_only").is_some() {
            flag(&mut settings, &mut words, "metadata_only");
        }
        pair(&mut settings, &mut words, "pause_writeback", config.number("pause_writeback"));
        if let (Some(key), Some(value)) =
            (config.text("writecache_setting_key"), config.text("writecache_setting_val"))
        {
            let _ = write!(settings, " {key} {value}");
            words += 2;
        }
        let block = config.number("writecache_block_size").filter(|size| *size > 0).unwrap_or(4096);
        let memory = if self.is_dax(fast)? { "p " } else { "s " };
        let rest = text(format!(" {block} {words}{settings}"));
        let params = vec![text(memory), Part::Node(below), text(" "), Part::Node(cache), rest];
        self.line(node, &[cache, below], Line { length, kind: "writecache", params });
        Ok(())
    }

    /// Whether a volume lies on persistent memory; the target takes no mix (lvm2: lib/metadata/metadata.c, lv_on_pmem).
    fn is_dax(&self, lv: usize) -> Result<bool, Refusal> {
        let group = self.group;
        let segments = group.lvs.get(lv).map_or(&[][..], |info| &info.lv.segments);
        let names = segments.iter().flat_map(|segment| Parts::of(segment).areas()).map(|(name, _)| name);
        let pvs = names.filter_map(|name| group.vg.pv(name)).map(|pv| (self.pvs)(&pv.id));
        let (memory, others): (Vec<_>, Vec<_>) = pvs.partition(|pv| pv.is_some_and(|pv| pv.dax));
        if !memory.is_empty() && !others.is_empty() {
            return Err(Refusal::MixedMemory(group.name(lv).to_owned()));
        }
        Ok(!memory.is_empty())
    }

    fn integrity(&mut self, lv: usize, node: usize, run: Run<'a>, depth: usize) -> Result<(), Refusal> {
        let group = self.group;
        let config = &run.segment.config;
        let metadata = group.named(lv, run.segment, "meta_dev")?;
        let origin = group.named(lv, run.segment, "origin")?;
        self.add(metadata, group.layer(metadata), depth + 1)?;
        self.add(origin, None, depth + 1)?;
        let (metadata, origin) = (self.node_of(metadata, None)?, self.node_of(origin, None)?);
        let must = |key: &str| {
            config.number(key).ok_or_else(|| group.broken(lv, "an integrity segment without its parameters"))
        };
        let (length, tag_size, block_size) = (must("data_sectors")?, must("tag_size")?, must("block_size")?);
        let (Some(mode), Some(hash)) = (config.text("mode"), config.text("internal_hash")) else {
            return Err(group.broken(lv, "an integrity segment without its parameters"));
        };
        let mut words = 4;
        let mut settings = String::new();
        if config.number("recalculate").is_some_and(|on| on > 0) {
            flag(&mut settings, &mut words, "recalculate");
        }
        for key in [
            "journal_sectors",
            "interleave_sectors",
            "buffer_sectors",
            "journal_watermark",
            "commit_time",
            "bitmap_flush_interval",
            "sectors_per_bit",
        ] {
            if let Some(value) = config.number(key) {
                let _ = write!(settings, " {key}:{value}");
                words += 1;
            }
        }
        if config.number("allow_discards").is_some_and(|on| on > 0) {
            flag(&mut settings, &mut words, "allow_discards");
        }
        let head = format!(
            " 0 {tag_size} {mode} {words} fix_padding block_size:{block_size} internal_hash:{hash} meta_device:"
        );
        let params = vec![Part::Node(origin), text(head), Part::Node(metadata), text(settings)];
        self.line(node, &[metadata, origin], Line { length, kind: "integrity", params });
        Ok(())
    }

    fn vdo(
        &mut self,
        lv: usize,
        node: usize,
        run: Run<'a>,
        length: u64,
        depth: usize,
    ) -> Result<(), Refusal> {
        let group = self.group;
        let pool = group.named(lv, run.segment, "vdo_pool")?;
        self.add(pool, group.layer(pool), depth + 1)?;
        let below = self.node_of(pool, group.layer(pool))?;
        let header = group.first(pool).and_then(|segment| segment.config.number("header_size")).unwrap_or(0);
        let offset =
            run.segment.config.number("vdo_offset").unwrap_or(0).saturating_mul(group.vg.extent_size);
        self.line(node, &[below], linear(length, below, header.saturating_add(offset)));
        Ok(())
    }

    fn vdo_pool(&mut self, lv: usize, node: usize, run: Run<'a>, depth: usize) -> Result<(), Refusal> {
        let group = self.group;
        let config = &run.segment.config;
        let data = group.named(lv, run.segment, "data")?;
        self.add(data, None, depth + 1)?;
        let below = self.node_of(data, group.layer(data))?;
        let must = |key: &str| {
            config.number(key).ok_or_else(|| group.broken(lv, "a VDO pool without its parameters"))
        };
        let length = must("virtual_extents")?
            .checked_mul(group.vg.extent_size)
            .and_then(|size| size.checked_add(must("header_size").ok()?.checked_mul(2)?))
            .ok_or_else(|| group.broken(lv, "a segment of impossible length"))?;
        // In units of 4 KiB.
        let size = group.lvs.get(data).map_or(0, |info| info.size) / 8;
        let cache = must("block_map_cache_size_mb")?.saturating_mul(256);
        let switch = |key: &str| if config.number(key).is_some_and(|on| on > 0) { "on" } else { "off" };
        let mut rest = format!(
            " {size} {} {cache} {} ",
            must("minimum_io_size")? / 512 * 512,
            must("block_map_era_length")?
        );
        let version = if self.facts.version >= (5, 14) { "V4 " } else { "V2 " };
        if version == "V4 " {
            let _ = write!(
                rest,
                "deduplication {} compression {} ",
                switch("use_deduplication"),
                switch("use_compression")
            );
        } else {
            let policy = config.text("write_policy").unwrap_or("auto");
            let name = super::dm_name(&group.vg.name, group.name(lv), Some("vpool"));
            let _ = write!(rest, "{} {policy} {name} ", switch("use_metadata_hints"));
        }
        for (word, key) in [
            ("maxDiscard", "max_discard"),
            (" ack", "ack_threads"),
            (" bio", "bio_threads"),
            (" bioRotationInterval", "bio_rotation"),
            (" cpu", "cpu_threads"),
            (" hash", "hash_zone_threads"),
            (" logical", "logical_threads"),
            (" physical", "physical_threads"),
        ] {
            let _ = write!(rest, "{word} {}", must(key)?);
        }
        let params = vec![text(version), Part::Path(below), text(rest)];
        self.line(node, &[below], Line { length, kind: "vdo", params });
        self.checks.push((below, node, lv, PoolKind::Vdo));
        Ok(())
    }
}

/// ` KEY VALUE`, if there is a value; counts the words.
fn pair(params: &mut String, words: &mut usize, key: &str, value: Option<u64>) {
    if let Some(value) = value {
        let _ = write!(params, " {key} {value}");
        *words = words.saturating_add(2);
    }
}

/// ` WORD`.
fn flag(params: &mut String, words: &mut usize, word: &str) {
    params.push(' ');
    params.push_str(word);
    *words = words.saturating_add(1);
}

/// Settings that are numbers, in the order of the metadata.
fn numbers(section: &Section) -> impl Iterator<Item = (&str, Option<u64>)> {
    section.0.iter().map(|(key, value)| {
        let number = match value {
            Value::Number(number) => u64::try_from(*number).ok(),
            _ => None,
        };
        (key.as_str(), number)
    })
}
