//! Makes the fixtures of engine/tests/lvm: what lvm2 of a Debian release does to activate each LV.
//!
//! `lvm_fixtures TARGET_DIRECTORY [GROUP]...`; see tests-qemu/oracle/lvm/README.md.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tests_qemu::Error;
use tests_qemu::bed::Bed;
use tests_qemu::builder::Job;
use tests_qemu::image::UnderTest;
use tests_qemu::program::{output, program};

/// Scripts of tests-qemu/oracle/lvm.
const GROUPS: &[&str] =
    &["linear", "raid", "mirror", "thin", "snapshot", "cache", "writecache", "integrity", "stacks", "vdo"];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(target) = arguments.next() else {
        eprintln!("usage: lvm_fixtures TARGET_DIRECTORY [GROUP]...");
        return ExitCode::FAILURE;
    };
    let mut groups: Vec<String> = arguments.collect();
    if groups.is_empty() {
        groups = GROUPS.iter().map(|group| (*group).to_owned()).collect();
    }
    match make(Path::new(&target), &groups) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lvm_fixtures: {error}");
            ExitCode::FAILURE
        }
    }
}

fn make(target: &Path, groups: &[String]) -> Result<(), Error> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let checkout = tests.parent().unwrap_or(tests);
    let nothing = UnderTest { init: PathBuf::new(), rootward: PathBuf::new() };
    let scratch = std::env::temp_dir();
    let bed = Bed::prepare(checkout, nothing, &scratch)?;
    fs::create_dir_all(target).map_err(Error::io(target))?;
    let read = |name: &str| {
        let path = tests.join("oracle/lvm").join(name);
        fs::read_to_string(&path).map_err(Error::io(path))
    };
    let prelude = read("prelude.sh")?;
    let mut failed = None;
    for group in groups {
        let script = format!("{prelude}\n{}\ntar -C $STATE -cf $OUT .\n", read(&format!("{group}.sh"))?);
        let name = format!("lvm-oracle-{group}");
        let vdo = group == "vdo";
        let job = Job {
            name: &name,
            script,
            targets: if vdo { vec![("OUT", 8), ("BIG", 8192)] } else { vec![("OUT", 8)] },
            packages: if vdo { vec!["vdo"] } else { Vec::new() },
            ..Job::default()
        };
        match bed.builder().run(&job) {
            Ok(directory) => {
                output(program("tar").arg("-C").arg(target).arg("-xf").arg(directory.join("OUT")))?;
                println!("{group}: {}", directory.join("console.log").display());
            }
            Err(error) => {
                eprintln!("{group}: {error}");
                failed = Some(error);
            }
        }
    }
    failed.map_or(Ok(()), Err)
}
