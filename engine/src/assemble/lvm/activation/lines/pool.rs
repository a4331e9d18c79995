//! dm-thin-pool and dm-thin (kernel: Documentation/admin-guide/device-mapper/thin-provisioning.rst).

use super::super::build::{Builder, Run};
use super::super::group::word;
use super::super::tree::{Line, Part};
use super::super::{PoolKind, Refusal};
use super::text;

/// Block sizes that the target takes, in sectors (kernel: dm-thin.c, DATA_DEV_BLOCK_SIZE_MIN_SECTORS, MAX).
const BLOCK_SIZES: std::ops::RangeInclusive<u64> = 128..=2_097_152;
/// Largest metadata device in sectors (lvm2: DM_THIN_MAX_METADATA_SIZE).
const MAX_METADATA: u64 = 255 * (1 << 14) * 8 - 256 * 1024;
/// Largest device number in a pool.
const MAX_DEVICE_ID: u64 = (1 << 24) - 1;

impl<'a> Builder<'_, 'a> {
    pub(super) fn thin_pool(
        &mut self,
        lv: usize,
        node: usize,
        run: Run<'a>,
        length: u64,
        depth: usize,
    ) -> Result<(), Refusal> {
        let group = self.group;
        let config = &run.segment.config;
        let metadata_lv = group.named(lv, run.segment, "metadata")?;
        let data_lv = group.named(lv, run.segment, "pool")?;
        self.add(metadata_lv, None, depth + 1)?;
        self.add(data_lv, None, depth + 1)?;
        let (metadata, data) = (self.node_of(metadata_lv, None)?, self.node_of(data_lv, None)?);
        if config.number("crop_metadata").is_some_and(|crop| crop > 0) {
            self.crop(metadata);
        }
        let block = config.number("chunk_size").filter(|size| BLOCK_SIZES.contains(size));
        let block = block.ok_or_else(|| group.broken(lv, "an impossible chunk size"))?;
        let discards = config.text("discards").unwrap_or("ignore");
        let error = group.lvs.get(lv).is_some_and(|info| word(&info.lv.flags, "ERROR_WHEN_FULL"));
        let features = [
            (config.number("zero_new_blocks").unwrap_or(0) == 0).then_some(" skip_block_zeroing"),
            (discards == "ignore").then_some(" ignore_discard"),
            (discards == "nopassdown").then_some(" no_discard_passdown"),
            error.then_some(" error_if_no_space"),
        ];
        let words: String = features.iter().flatten().copied().collect();
        // Free blocks below which the kernel raises an event; none unless pools are to extend themselves, monitored or not
        // (lvm2: lib/thin/thin.c, _thin_pool_add_target_line).
        let free = 100_u64.saturating_sub(self.facts.thin_threshold);
        let blocks = length.checked_div(block).unwrap_or(0);
        let low_water_mark = blocks.saturating_mul(free) / 100;
        let rest = text(format!(" {block} {low_water_mark} {}{words}", features.iter().flatten().count()));
        let params = vec![Part::Node(metadata), text(" "), Part::Node(data), rest];
        self.line(node, &[metadata, data], Line { length, kind: "thin-pool", params });
        let transaction_id = config.number("transaction_id").unwrap_or(0);
        self.checks.push((metadata, node, lv, PoolKind::Thin { transaction_id }));
        Ok(())
    }

    /// The kernel refuses metadata devices that are larger than it can use.
    fn crop(&mut self, metadata: usize) {
        let Some(node) = self.tree.nodes.get_mut(metadata) else { return };
        let mut left = MAX_METADATA;
        if node.size() <= left {
            return;
        }
        for line in &mut node.lines {
            line.length = line.length.min(left);
            left = left.saturating_sub(line.length);
        }
        node.lines.retain(|line| line.length > 0);
    }

    pub(super) fn thin(
        &mut self,
        lv: usize,
        node: usize,
        run: Run<'a>,
        length: u64,
        depth: usize,
    ) -> Result<(), Refusal> {
        let group = self.group;
        let pool = group.named(lv, run.segment, "thin_pool")?;
        let external = match run.segment.config.text("external_origin") {
            Some(_) => Some(group.named(lv, run.segment, "external_origin")?),
            None => None,
        };
        if group.kind(pool) != "thin-pool" {
            return Err(group.broken(lv, "a thin volume in something that is no thin pool"));
        }
        if let Some(external) = external {
            self.add(external, group.layer(external), depth + 1)?;
        }
        self.add(pool, group.layer(pool), depth + 1)?;
        let below = self.node_of(pool, group.layer(pool))?;
        // A merge swaps numbers: the origin shows what was its snapshot.
        let merging = group.lvs.get(lv).and_then(|info| group.first(info.thin_merging?));
        let number = merging.unwrap_or(run.segment).config.number("device_id");
        let number = number.filter(|number| *number <= MAX_DEVICE_ID);
        let number = number.ok_or_else(|| group.broken(lv, "an impossible thin device number"))?;
        let mut params = vec![Part::Node(below), text(format!(" {number}"))];
        let mut uses = vec![below];
        if let Some(external) = external {
            let external = self.node_of(external, group.layer(external))?;
            uses.push(external);
            params.extend([text(" "), Part::Node(external)]);
        }
        self.line(node, &uses, Line { length, kind: "thin", params });
        Ok(())
    }
}
