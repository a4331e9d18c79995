//! Decisions about kernel modules: which ones a name or modalias stands for, and in which order they are loaded.

pub mod class;
pub mod kernel_requests;
pub mod queue;
pub mod request;
pub mod resolve;

#[cfg(test)]
mod queue_tests;
#[cfg(test)]
mod testing;

pub use class::Class;
pub use queue::LoadQueue;
pub use request::{Job, Missing, Reason, State, Status, Why};
pub use resolve::{Catalog, CatalogError, Files, Lookup, Module, Step};
