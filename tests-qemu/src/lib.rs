//! The proof: scenarios that boot real kernels and real distributions.

pub mod accel;
pub mod bed;
pub mod builder;
pub mod cache;
pub mod debian;
pub mod dialogue;
pub mod disk;
mod error;
pub mod guest;
pub mod image;
pub mod kernel;
pub mod monitor;
pub mod program;
pub mod qemu;
pub mod rootfs;
mod run;
pub mod samples;
pub mod scenario;
mod scenarios;
pub mod tpm;
pub mod usb_key;
pub mod verdict;
pub mod written;

pub use error::Error;
pub use run::{Options, Outcome, Summary, run};
