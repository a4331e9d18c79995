//! The words: kernel command line to typed requests. No I/O, no unsafe.
#![forbid(unsafe_code)]

pub mod plan;

pub use plan::Plan;
