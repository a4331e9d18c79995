//! The proof: scenarios that boot real kernels and real distributions.

pub mod accel;
pub mod cache;
pub mod debian;
pub mod dialogue;
mod error;
pub mod guest;
pub mod image;
pub mod kernel;
pub mod monitor;
pub mod program;
pub mod qemu;
pub mod verdict;

pub use error::Error;
