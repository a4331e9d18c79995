//! The simulator: a world from a seed, a boot of it, the truth about it.

pub mod machine;
pub mod oracle;
pub mod rng;
pub mod run;
pub mod wish;
pub mod world;
