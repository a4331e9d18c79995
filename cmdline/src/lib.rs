//! The words: kernel command line to typed requests. No I/O, no unsafe.
//!
//! ```
//! let sources = cmdline::Sources { kernel: "root=LABEL=root ro quiet".into(), ..Default::default() };
//! let (plan, remarks) = cmdline::parse(&sources);
//! assert_eq!(plan.root.spec, Some(cmdline::plan::RootSpec::Label("root".into())));
//! assert!(remarks.is_empty());
//! ```
#![forbid(unsafe_code)]

pub mod crypttab;
mod diagnostic;
pub mod document;
mod init_args;
pub mod integritytab;
mod luks;
pub mod mdadm_conf;
pub mod modules;
pub mod multipath;
mod nearest;
mod parse;
pub mod plan;
mod root;
pub mod source;
pub mod table;
pub mod time;
pub mod tokenise;
pub mod verity;

pub use diagnostic::Diagnostic;
pub use parse::parse;
pub use plan::Plan;
pub use root::root_spec;
pub use source::Sources;
