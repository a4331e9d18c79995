//! PID 1 of early userspace: the hands of Rootward.
//!
//! `main` sets up what every later line relies on (signals, file systems, the log) and enters the event loop, which
//! ends by becoming the real init.

mod ask_password;
mod bcache;
mod before_main;
mod by_id;
mod by_path;
mod clock;
mod console;
mod crypt;
mod decompress;
mod dm;
mod drivers;
mod early;
mod error;
mod event_loop;
mod external_md;
mod fs_context;
mod handoff;
mod hands;
mod kernel_log;
mod key_file;
mod keyed_dm;
mod keymap;
mod kmsg;
mod md;
mod mount_root;
mod multi_device;
mod multipath;
mod new_root;
mod nodes;
mod operator;
mod panic;
mod power;
mod probe;
mod scsi;
mod secret;
mod security_key;
mod shell;
mod signals;
mod sources;
mod sysfs;
mod tpm;
mod uevent;
mod workers;

use std::convert::Infallible;
use std::path::Path;

use cmdline::{Plan, Sources};
use engine::assemble::lvm::LvmConf;
use engine::{ImageFacts, Loudness, image};

fn main() {
    let stamp = clock::StartStamp::take();
    panic::install();
    let Err(error) = boot(stamp);
    kmsg::say(Loudness::Error, &error);
    // Process 1 must not come here; when it exits the kernel panics, and panic= decides what follows.
    power::end(power::Ending::Panic);
}

fn boot(stamp: clock::StartStamp) -> error::Result<Infallible> {
    early::check_place()?;
    let signals = signals::Signals::block_all()?;
    let early = early::mounts()?;
    kmsg::start()?;
    kmsg::lift_rate_limit();
    early::standard_descriptors();
    if !early.devtmpfs {
        nodes::populate();
    }
    let sources = sources::read();
    let plan = read_plan(&sources);
    panic::configure(&plan.failure);
    keymap::set(plan.keymap.as_deref());
    let image = image_facts(&plan);
    let devtmpfs = early.devtmpfs;
    let begin = event_loop::Beginnings { plan, sources, image, stamp, devtmpfs, signals };
    event_loop::Boot::new(begin)?.run()
}

/// The plan that the command line asks for; says what was not understood.
fn read_plan(sources: &Sources) -> Plan {
    let (plan, diagnostics) = cmdline::parse(sources);
    kmsg::configure(&plan.log);
    for diagnostic in diagnostics {
        log::warn!("{diagnostic}");
    }
    plan
}

/// Where the image's files are.
const TOP: &str = "/";

/// Reads a table of the image, if there is one; says what was not understood.
fn read_table<T>(path: &str, parse: fn(&str) -> (Vec<T>, Vec<cmdline::Diagnostic>)) -> Vec<T> {
    let Ok(text) = std::fs::read_to_string(Path::new(TOP).join(path)) else { return Vec::new() };
    let (entries, diagnostics) = parse(&text);
    for diagnostic in diagnostics {
        log::warn!("/{path}: {diagnostic}");
    }
    entries
}

/// What the image says besides the command line.
fn image_facts(plan: &Plan) -> ImageFacts {
    let mut facts = ImageFacts {
        multipath: multipath::read(plan),
        kernel: kernel_version(),
        hostname: hostname(),
        ..ImageFacts::default()
    };
    if plan.verity.enabled && plan.verity.tab {
        facts.veritytab = read_table(image::VERITYTAB, cmdline::verity::parse_tab);
    }
    if plan.hostonly {
        facts.integritytab = read_table(image::INTEGRITYTAB, cmdline::integritytab::parse);
    }
    if plan.luks.enabled {
        if plan.luks.crypttab {
            facts.crypttab = read_table(image::CRYPTTAB, cmdline::crypttab::parse);
        }
        let anywhere = plan.luks.keys.iter().map(|key| &key.path);
        facts.key_files.extend(anywhere.filter(|path| std::fs::exists(path).unwrap_or(false)).cloned());
        let unnamed = std::fs::read_dir(Path::new(TOP).join(image::KEY_DIRECTORY));
        for entry in unnamed.into_iter().flatten().flatten() {
            facts.key_files.extend(entry.path().to_str().map(str::to_owned));
        }
    }
    if plan.lvm.enabled && plan.lvm.conf {
        let [main, local] = image::LVM_CONFS.map(|name| std::fs::read(Path::new(TOP).join(name)).ok());
        facts.lvm = LvmConf::read(main.as_deref(), local.as_deref());
        let file = facts.lvm.system_id_file().map(|path| Path::new(TOP).join(path));
        let file = file.and_then(|path| std::fs::read(path).ok());
        facts.lvm.identify(&facts.hostname, file.as_deref());
    }
    if plan.md.enabled && plan.md.conf {
        facts.mdadm = mdadm_conf();
    }
    facts
}

/// Major and minor number of the running kernel's version.
fn kernel_version() -> (u32, u32) {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers =
        release.split(|letter: char| !letter.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The image's mdadm.conf(5), where mdadm itself looks for it, and the drop-ins, which go on where it ends.
fn mdadm_conf() -> cmdline::mdadm_conf::MdadmConf {
    let top = Path::new(TOP);
    let mut text = image::MDADM_CONFS
        .into_iter()
        .find_map(|path| std::fs::read_to_string(top.join(path)).ok())
        .unwrap_or_default();
    for more in image::MDADM_DIRECTORIES.into_iter().flat_map(|directory| drop_ins(&top.join(directory))) {
        text.push('\n');
        text.push_str(&more);
    }
    let (conf, diagnostics) = cmdline::mdadm_conf::parse(&text);
    for diagnostic in diagnostics {
        log::warn!("mdadm.conf: {diagnostic}");
    }
    conf
}

/// The texts of a directory's files in `.conf`, by name.
fn drop_ins(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .collect();
    paths.sort();
    paths.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect()
}

/// The name of this machine: what the kernel was told, else what the image says.
fn hostname() -> String {
    let uname = rustix::system::uname();
    let told = uname.nodename().to_string_lossy().into_owned();
    if !told.is_empty() && told != "(none)" {
        return told;
    }
    let text = std::fs::read_to_string(Path::new(TOP).join(image::HOSTNAME)).unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().to_owned()
}
