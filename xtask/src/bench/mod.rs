//! `cargo xtask bench`.

use crate::Failure;

/// Not written yet.
pub fn bench(_arguments: &[&str]) -> Result<(), Failure> {
    Err(Failure("the benchmark is not written yet".into()))
}
