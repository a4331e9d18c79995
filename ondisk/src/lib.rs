//! The eyes: bytes of a block device to facts. No I/O beyond the [`ReadAt`] trait, no unsafe.
#![forbid(unsafe_code)]

pub mod ata_raid;
pub mod bcache;
pub mod bcachefs;
mod bitlocker;
pub mod btrfs;
mod bytes;
pub mod content;
mod crc;
mod erofs;
mod ext;
mod gpt;
mod identify;
pub mod integrity;
mod iso9660;
pub mod keymap;
pub mod kmod;
pub mod luks;
pub mod lvm;
pub mod machine_id;
mod mbr;
pub mod md;
pub mod member;
pub mod openpgp;
mod probe;
pub mod read;
pub mod scsi_id;
mod squashfs;
mod swap;
mod text;
pub mod udev_encode;
pub mod verity;
mod vfat;
mod xfs;
mod xxh64;
pub mod zfs;

pub use content::{Content, Kind, Partition, PartitionTable, Signature};
pub use identify::identify;
pub use member::Member;
pub use probe::HEAD;
pub use read::{ReadAt, ReadError};
