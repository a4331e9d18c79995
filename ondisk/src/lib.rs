//! The eyes: bytes of a block device to facts. No I/O beyond the [`ReadAt`] trait, no unsafe.
#![forbid(unsafe_code)]

mod bytes;
pub mod content;
mod crc;
mod ext;
mod gpt;
mod identify;
pub mod kmod;
mod luks;
mod mbr;
mod probe;
pub mod read;
mod text;
mod vfat;

pub use content::{Content, Kind, Partition, PartitionTable, Signature};
pub use identify::identify;
pub use probe::HEAD;
pub use read::{ReadAt, ReadError};
