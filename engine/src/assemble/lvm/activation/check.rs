//! What a pool's own metadata must say before the pool is made.

use ondisk::lvm::pool::{self, PoolError, PoolState};

/// A kind of pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolKind {
    /// Thin pool whose metadata must be at this transaction; 0 is not compared.
    Thin {
        /// LVM's transaction number.
        transaction_id: u64,
    },
    /// Cache.
    Cache,
    /// VDO pool: its metadata, which lie with the data, are asked for its size, which is answered by
    /// [`Outcome::Length`](crate::Outcome) if they are understood.
    Vdo,
}

impl PoolKind {
    /// Judges the first [`pool::SUPERBLOCK`] bytes of the pool's metadata.
    ///
    /// # Errors
    /// Why the pool must be left alone, with advice. The kernel would make a new pool where it finds zeros, and lvm2 runs
    /// thin_check or cache_check, which refuse what asks to be checked.
    pub fn judge(self, block: &[u8]) -> Result<(), String> {
        let (read, tool) = match self {
            Self::Thin { .. } => (pool::thin(block), "thin"),
            Self::Cache => (pool::cache(block), "cache"),
            Self::Vdo => return Ok(()),
        };
        let wanted = match self {
            Self::Thin { transaction_id } => transaction_id,
            Self::Cache | Self::Vdo => 0,
        };
        match read {
            Ok(PoolState { needs_check: true, .. }) => Err(format!(
                "its metadata must be checked before it is used; run {tool}_check and lvconvert --repair from a rescue system"
            )),
            // One behind: a volume was recorded and not made yet.
            Ok(PoolState { transaction_id, .. })
                if wanted > 0
                    && transaction_id != wanted
                    && transaction_id.checked_add(1) != Some(wanted) =>
            {
                Err(format!(
                    "its metadata is at transaction {transaction_id}, LVM expects {wanted}; \
                     look for a stale copy of the pool before it is repaired"
                ))
            }
            Ok(_) => Ok(()),
            Err(PoolError::Empty) if wanted > 0 => {
                Err("its metadata is empty although volumes were made in it; \
                 run lvconvert --repair from a rescue system"
                    .to_owned())
            }
            Err(PoolError::Empty) => Ok(()),
            Err(PoolError::Foreign | PoolError::Damaged) => Err(format!(
                "its metadata is damaged; run {tool}_check and lvconvert --repair from a rescue system"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THIN: &[u8] = include_bytes!("../../../../tests/lvm/fixtures/debian13/pool_tmeta.superblock");

    #[test]
    fn pools_of_real_tools_are_judged() {
        let transaction = pool::thin(THIN).unwrap().transaction_id;
        assert!(transaction > 1);
        for (wanted, good) in [
            (0, true),
            (transaction, true),
            (transaction + 1, true),
            (transaction + 2, false),
            (transaction - 1, false),
        ] {
            assert_eq!(PoolKind::Thin { transaction_id: wanted }.judge(THIN).is_ok(), good, "{wanted}");
        }
        assert!(PoolKind::Cache.judge(THIN).is_err());
        let zeros = vec![0; pool::SUPERBLOCK];
        assert_eq!(PoolKind::Cache.judge(&zeros), Ok(()));
        assert_eq!(PoolKind::Thin { transaction_id: 0 }.judge(&zeros), Ok(()));
        assert!(PoolKind::Thin { transaction_id: 1 }.judge(&zeros).is_err());
    }
}
