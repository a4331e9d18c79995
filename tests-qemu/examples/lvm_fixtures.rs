//! Makes the fixtures of engine/tests/lvm: what lvm2 of a Debian release does to activate each LV.
//!
//! `lvm_fixtures 12|13 [GROUP]...`; see tests-qemu/oracle/lvm/README.md.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tests_qemu::Error;
use tests_qemu::bed::Bed;
use tests_qemu::builder::Job;
use tests_qemu::image::UnderTest;
use tests_qemu::kernel::Series;
use tests_qemu::program::{output, program};
use tests_qemu::rootfs::Release;

/// Scripts of tests-qemu/oracle/lvm.
const GROUPS: &[&str] = &[
    "linear",
    "raid",
    "mirror",
    "thin",
    "snapshot",
    "cache",
    "writecache",
    "integrity",
    "stacks",
    "pvmove",
    "vdo",
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let release = match arguments.next().as_deref() {
        Some("12") => Release::Bookworm,
        Some("13") => Release::Trixie,
        _ => {
            eprintln!("usage: lvm_fixtures 12|13 [GROUP]...");
            return ExitCode::FAILURE;
        }
    };
    let mut groups: Vec<String> = arguments.collect();
    if groups.is_empty() {
        groups = GROUPS.iter().map(|group| (*group).to_owned()).collect();
    }
    match make(release, &groups) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lvm_fixtures: {error}");
            ExitCode::FAILURE
        }
    }
}

fn make(release: Release, groups: &[String]) -> Result<(), Error> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let checkout = tests.parent().unwrap_or(tests);
    let target = &checkout.join(format!("engine/tests/lvm/fixtures/debian{}", release.number()));
    // Each release with its own kernel, as its users have it.
    let kernel = match release {
        Release::Bookworm => Series::V6_1,
        Release::Trixie => Series::V6_12,
    };
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
        let name = format!("lvm-oracle{}-{group}", release.number());
        let vdo = group == "vdo";
        let job = Job {
            name: &name,
            script,
            targets: if vdo { vec![("OUT", 8), ("BIG", 8192)] } else { vec![("OUT", 8)] },
            release: Some(release),
            kernel: Some(kernel),
            ..Job::default()
        };
        match bed.builder().run(&job) {
            Ok(directory) => {
                let raw = scratch.join(format!("lvm-oracle-{}", std::process::id()));
                fs::create_dir_all(&raw).map_err(Error::io(&raw))?;
                output(program("tar").arg("-C").arg(&raw).arg("-xf").arg(directory.join("OUT")))?;
                adopt(&raw, target)?;
                fs::remove_dir_all(&raw).map_err(Error::io(&raw))?;
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

/// Copies what a group left behind, dumps in their short form.
fn adopt(raw: &Path, target: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(raw).map_err(Error::io(raw))?.flatten() {
        let (path, place) = (entry.path(), target.join(entry.file_name()));
        if path.extension().is_some_and(|extension| extension == "expected") {
            let text = fs::read_to_string(&path).map_err(Error::io(&path))?;
            fs::write(&place, shorten(&text)).map_err(Error::io(&place))?;
        } else {
            fs::copy(&path, &place).map_err(Error::io(&place))?;
        }
    }
    Ok(())
}

/// One volume's activation while it is read.
#[derive(Default)]
struct Volume {
    /// Lines that lvm2 loaded, by device.
    loaded: BTreeMap<String, Vec<String>>,
    /// What it did about read-ahead, by name.
    ahead: BTreeMap<String, String>,
    /// Creations and resumptions, by the last digits of the device.
    steps: Vec<String>,
    /// The device whose table follows.
    device: String,
    shown: Vec<String>,
    out: String,
}

/// lvm2's log and dmsetup's output as the lines that engine/tests/lvm compares.
fn shorten(text: &str) -> String {
    let mut out = String::new();
    let mut volume = Volume::default();
    for line in text.lines() {
        if let Some(trace) = line.strip_prefix("trace ") {
            volume.trace(trace);
        } else if let Some(device) = line.strip_prefix("device ") {
            volume.device(device);
        } else if let Some(table) = line.strip_prefix("table ") {
            volume.shown.push(table.trim_end().to_owned());
        } else {
            out += &volume.end();
            volume = Volume::default();
            out += line.trim_end();
            out.push('\n');
        }
    }
    out + &volume.end()
}

impl Volume {
    fn trace(&mut self, line: &str) {
        let number = |text: &str| text.split(['(', ')']).nth(1).unwrap_or_default().to_owned();
        if let Some(target) = line.strip_prefix("Adding target to ") {
            let (_, target_line) = target.split_once("): ").unwrap_or_default();
            self.loaded.entry(number(target)).or_default().push(target_line.trim_end().to_owned());
        } else if let Some(rest) = line.strip_prefix("dm create ") {
            let name = rest.split(' ').next().unwrap_or_default();
            self.steps.push(format!("create {name}"));
        } else if let Some(rest) = line.strip_prefix("dm reload ") {
            // Only what was loaded last counts.
            let number = number(rest);
            self.steps.push(format!("load {number}"));
        } else if let Some(rest) = line.strip_prefix("dm resume ") {
            self.steps.push(format!("resume {}", number(rest)));
        } else if let Some(rest) = line.strip_prefix("dm suspend ") {
            self.steps.push(format!("suspend {}", number(rest)));
        } else if let Some((name, rest)) = line.split_once(": retaining kernel read ahead") {
            let requested = rest.split("requested ").nth(1).unwrap_or_default().trim_end_matches(')');
            self.ahead.insert(name.to_owned(), format!("kept {requested}"));
        } else if let Some((name, rest)) = line.split_once(": Setting read ahead to ") {
            let name = name.split(' ').next().unwrap_or_default();
            self.ahead.insert(name.to_owned(), format!("set {rest}"));
        }
    }

    fn device(&mut self, line: &str) {
        self.end_device();
        let words: Vec<&str> = line.split(' ').collect();
        let [number, name, ..] = words.as_slice() else { return };
        self.out += &format!("device {line}\n");
        if let Some(ahead) = self.ahead.get(*name) {
            self.out += &format!("ahead {ahead}\n");
        }
        self.device = (*number).to_owned();
    }

    /// The kernel may show a table in other words than it was loaded with.
    fn end_device(&mut self) {
        let loaded = self.loaded.remove(&self.device).unwrap_or_default();
        for line in &loaded {
            self.out += &format!("load {line}\n");
        }
        let shown = std::mem::take(&mut self.shown);
        if shown != loaded {
            for line in shown {
                self.out += &format!("shows {line}\n");
            }
        }
        self.device.clear();
    }

    fn end(mut self) -> String {
        self.end_device();
        if !self.steps.is_empty() {
            self.out += &format!("steps {}\n", self.steps.join(", "));
        }
        self.out
    }
}
