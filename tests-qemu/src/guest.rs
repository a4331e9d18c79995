//! The two guest programs, built by cargo, under names that say what is in them.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;

use crate::Error;
use crate::cache::Cache;
use crate::program::{output, program};

/// The programs that run inside guests.
#[derive(Debug, Clone)]
pub struct GuestPrograms {
    /// The checker.
    pub checker: PathBuf,
    /// The almost empty `/init`.
    pub bare_init: PathBuf,
}

impl GuestPrograms {
    /// Builds them (cargo says where they are) and copies them into the cache, once per process.
    pub fn build(checkout: &Path, cache: &Cache) -> Result<Self, Error> {
        static BUILT: OnceLock<Result<GuestPrograms, String>> = OnceLock::new();
        let built = BUILT.get_or_init(|| Self::make(checkout, cache).map_err(|error| error.to_string()));
        built.clone().map_err(Error::Bed)
    }

    fn make(checkout: &Path, cache: &Cache) -> Result<Self, Error> {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let messages = output(program(&cargo).current_dir(checkout).args([
            "build",
            "--quiet",
            "--profile=guest",
            "--package=rootward-tests-qemu",
            "--bin=rootward-guest",
            "--bin=rootward-bare-init",
            "--message-format=json",
        ]))?;
        let find = |name: &str| {
            messages
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok())
                .filter(|message| message["target"]["name"] == name)
                .find_map(|message| message["executable"].as_str().map(PathBuf::from))
                .ok_or_else(|| Error::Bed(format!("cargo built no {name}")))
        };
        let keep = |name: &str| {
            let built = find(name)?;
            cache.entry("guest", name, &crate::debian::sha256(&built)?, |path| {
                std::fs::copy(&built, path).map(drop).map_err(Error::io(path))
            })
        };
        Ok(Self { checker: keep("rootward-guest")?, bare_init: keep("rootward-bare-init")? })
    }
}
