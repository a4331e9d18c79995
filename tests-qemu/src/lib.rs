//! The proof: scenarios that boot real kernels and real distributions.

pub mod verdict;
