//! The one entry point for developers: cargo xtask COMMAND.
fn main() {}
