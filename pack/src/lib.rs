//! The suitcase: builds the initramfs.
#![forbid(unsafe_code)]

pub mod cli;
pub mod closure;
pub mod compress;
pub mod configuration;
pub mod cpio;
pub mod elf;
pub mod error;
pub mod extra;
pub mod firmware;
pub mod host;
pub mod image;
pub mod index_writer;
pub mod kernel;
pub mod keymap;
pub mod list;
pub mod modprobe_d;
mod options;
pub mod output;
mod payload;
mod release;
pub mod select;
pub mod tree;
pub mod universal;

#[cfg(test)]
mod testing;

pub use compress::Compression;
pub use error::{Error, Result};
pub use extra::Add;
pub use image::Layout;
pub use list::{Segment, list};
pub use options::{Options, Report, build};
pub use select::Modules;
