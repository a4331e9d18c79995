//! dm-cache (kernel: Documentation/admin-guide/device-mapper/cache.rst).

use std::fmt::Write as _;

use super::super::build::{Builder, Run};
use super::super::tree::{Line, Part};
use super::super::{PoolKind, Refusal};
use super::{numbers, text};

/// Block sizes that the target takes, in sectors (lvm2: DM_CACHE_MIN_DATA_BLOCK_SIZE, MAX).
const BLOCK_SIZES: std::ops::RangeInclusive<u64> = 64..=2_097_152;
/// Sectors per migration when nothing else is said; the kernel's default, which is not written out.
const MIGRATION_THRESHOLD: u64 = 2048;

/// Settings that a policy knows; lvm2 leaves others out.
fn is_known(policy: &str, key: &str) -> bool {
    const MQ: &[&str] = &[
        "migration_threshold",
        "sequential_threshold",
        "random_threshold",
        "read_promote_adjustment",
        "write_promote_adjustment",
        "discard_promote_adjustment",
    ];
    if policy.eq_ignore_ascii_case("mq") {
        MQ.contains(&key)
    } else {
        !policy.eq_ignore_ascii_case("smq") || key == "migration_threshold"
    }
}

impl<'a> Builder<'_, 'a> {
    pub(super) fn cache(
        &mut self,
        lv: usize,
        node: usize,
        run: Run<'a>,
        length: u64,
        depth: usize,
    ) -> Result<(), Refusal> {
        let group = self.group;
        let pool = group.named(lv, run.segment, "cache_pool")?;
        let origin = group.named(lv, run.segment, "origin")?;
        let cachevol = group.lvs.get(pool).is_some_and(|pool| pool.cachevol);
        if group.name(lv).contains("_corig") {
            let what = "a cache that is being removed";
            return Err(Refusal::Unsupported { lv: group.name(lv).to_owned(), what });
        }
        self.add(pool, group.layer(pool), depth + 1)?;
        self.add(origin, None, depth + 1)?;
        let pool_segment = group.first(pool).ok_or_else(|| group.broken(pool, "a pool without segments"))?;
        let (data, metadata) = if cachevol {
            let find = |layer| {
                let uuid = self.cachevol_uuid(lv, pool, layer);
                self.tree.find(&uuid).ok_or_else(|| group.broken(lv, "a volume without a device"))
            };
            (find("cdata")?, find("cmeta")?)
        } else {
            let data = group.named(pool, pool_segment, "data")?;
            (self.node_of(data, None)?, self.node_of(group.named(pool, pool_segment, "metadata")?, None)?)
        };
        let origin = self.node_of(origin, None)?;
        // A cachevol has its settings in the cache, a cache pool in itself.
        let settings = if cachevol { &run.segment.config } else { &pool_segment.config };
        let cleaner = run.segment.config.number("cleaner").is_some_and(|on| on > 0);
        let named = pool_segment.config.text("policy");
        let policy = if cleaner { "cleaner" } else { named.unwrap_or("mq") };
        let mut mode = match settings.text("cache_mode") {
            _ if cleaner => "writethrough",
            None | Some("writethrough") => "writethrough",
            Some("writeback") => "writeback",
            Some("passthrough") => "passthrough",
            Some(_) => return Err(group.broken(lv, "an unknown cache mode")),
        };
        let mut metadata2 = settings.number("metadata_format") == Some(2);
        if policy == "cleaner" && mode != "writethrough" {
            // As libdevmapper does it, which sets every other feature along with this mode.
            (mode, metadata2) = ("writethrough", true);
        }
        let block = settings.number("chunk_size").filter(|size| BLOCK_SIZES.contains(size));
        let block = block.ok_or_else(|| group.broken(lv, "an impossible chunk size"))?;
        let mut threshold = MIGRATION_THRESHOLD;
        let mut others = String::new();
        let mut count: u64 = 0;
        if let Some(section) = settings.section("policy_settings").filter(|_| !cleaner) {
            for (key, value) in numbers(section) {
                if named.is_some_and(|policy| !is_known(policy, key)) {
                    continue;
                }
                let value = value.ok_or_else(|| group.broken(lv, "a cache setting that is no number"))?;
                if key == "migration_threshold" {
                    threshold = value;
                } else {
                    let _ = write!(others, " {key} {value}");
                    count = count.saturating_add(2);
                }
            }
        }
        // Always enough for some blocks to move.
        threshold = threshold.max(block.saturating_mul(8));
        let mut rest = format!(" {block} {}", if metadata2 { "2 metadata2" } else { "1" });
        let _ = write!(rest, " {mode} {policy} ");
        if threshold == MIGRATION_THRESHOLD {
            let _ = write!(rest, "{count}");
        } else {
            let _ = write!(rest, "{} migration_threshold {threshold}", count.saturating_add(2));
        }
        rest.push_str(&others);
        let params = vec![
            Part::Node(metadata),
            text(" "),
            Part::Node(data),
            text(" "),
            Part::Node(origin),
            text(rest),
        ];
        self.line(node, &[data, metadata, origin], Line { length, kind: "cache", params });
        self.checks.push((metadata, node, lv, PoolKind::Cache));
        Ok(())
    }
}
