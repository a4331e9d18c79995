//! Differential tests: images made by the real tools, every field compared with what blkid prints.
//!
//! A test whose tool is missing says so and proves nothing; `ROOTWARD_REQUIRE_TOOLS=1` makes that a failure.

mod ata_raid;
mod ata_writer;
mod bench;
mod bitlocker;
mod filesystems;
mod luks;
mod md;
mod md_writer;
mod seeds;
mod stacks;
mod table_writer;
mod tables;
