//! The eyes: bytes of a block device to facts. No I/O beyond the [`ReadAt`] trait, no unsafe.
#![forbid(unsafe_code)]

pub mod content;
pub mod kmod;
pub mod read;

pub use content::{Content, Kind, Partition, PartitionTable, Signature};
pub use read::{ReadAt, ReadError};
