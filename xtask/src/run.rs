//! `cargo xtask run`: a Debian 13 with systemd boots in QEMU through our `/init`, the console in view.

use std::fs;
use std::io::Write as _;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use tests_qemu::bed::{Bed, Disk};
use tests_qemu::disk::PLAIN_UUID;
use tests_qemu::image::{Image, UnderTest};
use tests_qemu::kernel::Series;
use tests_qemu::qemu::{Bus, Drive, Guest, Machine, Said, Writes};
use tests_qemu::rootfs::Release;
use tests_qemu::verdict::Verdict;

use crate::{Failure, artifacts, host, root, say};

/// Longest time from power-on to power-off on hardware; emulation gets a multiple.
const PATIENCE: Duration = Duration::from_secs(180);

/// What systemd has to say for the job to be done.
const STATE: &str = "systemctl is-system-running --wait";

/// Builds everything, boots, and prints what `systemctl is-system-running` said; fails if that is not
/// `running`.
pub fn run() -> Result<(), Failure> {
    host::for_test_bed()?;
    say("building /init and the image builder");
    let artifacts = artifacts::build(false)?;
    say("preparing the kernel and a Debian 13 root");
    let directory = root().join("target/run");
    fs::create_dir_all(&directory)?;
    let under_test = UnderTest { rootward: artifacts.rootward, init: artifacts.init };
    let bed = Bed::prepare(&root(), under_test, &directory)?;
    let kernel = bed.kernel(Series::V6_12)?;
    let machine = Machine {
        kernel: kernel.vmlinuz.clone(),
        initrd: Image::universal().make(kernel, &bed.under_test, &bed.guest, &bed.cache)?,
        cmdline: format!("root=UUID={PLAIN_UUID} ro"),
        memory: 1024,
        cpus: 2,
        drives: vec![Drive {
            image: bed.disk(&Disk::Debian(Release::Trixie))?,
            bus: Bus::VirtioBlk,
            plugged: true,
            writes: Writes::Discarded,
            serial: None,
        }],
        tpm: None,
        usb_key: None,
    };
    say(&format!("booting Linux {} under {:?}", kernel.version, bed.accel));
    let guest = machine.start(bed.accel, &directory)?;
    watch(guest, PATIENCE * bed.accel.patience())?;

    let report = fs::read_to_string(directory.join("verdict.json")).unwrap_or_default();
    if report.trim().is_empty() {
        return Err(Failure(format!(
            "the real root was not reached; console: {}",
            directory.join("console.log").display()
        )));
    }
    let verdict: Verdict = serde_json::from_str(&report)?;
    let state = verdict.command(STATE).stdout.trim().to_owned();
    println!("systemctl is-system-running: {state}");
    if state == "running" {
        Ok(())
    } else {
        Err(Failure(format!("systemd says {state:?} instead of running")))
    }
}

/// Shows the console until the guest has ended.
fn watch(mut guest: Guest, patience: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + patience;
    let mut screen = std::io::stdout().lock();
    loop {
        match guest.console.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Said::Console(bytes)) => {
                screen.write_all(&bytes)?;
                screen.flush()?;
            }
            Ok(Said::End) | Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                return Err(Failure(format!("the guest did not end within {} s", patience.as_secs())));
            }
        }
    }
    writeln!(screen)?;
    match guest.failure() {
        None => Ok(()),
        Some(status) => Err(Failure(format!("QEMU failed ({status}); see target/run/qemu.log"))),
    }
}
