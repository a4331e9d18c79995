//! What a full distribution says once its boot is finished.

use std::process::Command;
use std::time::Duration;

use tests_qemu::verdict::{Distribution, Output, Verdict};

use crate::{collect, port, procfs};

/// Run in this order: the first one waits until the boot is finished.
const COMMANDS: &[&str] = &[
    "systemctl is-system-running --wait",
    JOBS,
    "systemctl list-units --failed --plain --no-legend",
    "systemctl show --property=InitRDTimestampMonotonic --property=UserspaceTimestampMonotonic \
     --property=FinishTimestampMonotonic --property=Version",
    "systemctl list-units --type=device --all --plain --no-legend",
    "systemctl show systemd-cryptsetup@cryptroot.service --property=ActiveState",
    "systemd-analyze",
    "systemd-analyze blame",
    "journalctl -b --no-pager -p warning -o short-monotonic",
    "journalctl -b --no-pager -o short-monotonic",
    "udevadm info --export-db",
    "dmsetup info -c --noheadings -o name,uuid,major,minor,open",
    "dmsetup table",
    "lsblk --json -o NAME,KNAME,TYPE,FSTYPE,UUID,LABEL,MOUNTPOINT",
    "findmnt --json --list",
    "swapon --show --noheadings",
];

/// udev may want more units when the boot is finished; on a busy machine they are still starting when it is asked. So the
/// answer is the one after they have started, or after as many seconds.
const JOBS: &str = "systemctl list-jobs --no-legend";
const JOBS_SECONDS: u32 = 60;

/// As a systemd unit: waits for the end of the boot, records, sends, powers off.
pub fn report() -> Result<(), String> {
    let mut distribution = Distribution::default();
    for line in COMMANDS {
        let mut said = output(line);
        for _ in 0..JOBS_SECONDS {
            if *line != JOBS || said.stdout.is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_secs(1));
            said = output(line);
        }
        distribution.commands.insert((*line).to_owned(), said);
    }
    // What one scenario asks for beyond that, a command on each line.
    for line in procfs::text("/etc/rootward-commands").lines() {
        distribution.commands.insert(line.to_owned(), output(line));
    }
    let mut verdict = Verdict { pid1: procfs::pid1(), mounts: procfs::mounts(), ..Verdict::default() };
    collect::collect(&mut verdict);
    for device in verdict.block.iter().filter(|device| device.dm_uuid.starts_with("CRYPT-")) {
        let line = format!("cryptsetup status {}", device.dm_name);
        distribution.commands.insert(line.clone(), output(&line));
    }
    verdict.distribution = Some(distribution);
    let (mut port, loaded) = port::open()?;
    verdict.modules_by_checker = loaded;
    collect::send(&mut port, &verdict)?;
    procfs::power_off();
}

fn output(line: &str) -> Output {
    let mut words = line.split_whitespace();
    let program = words.next().unwrap_or_default();
    // Without a pager and colours, and in the language that the scenarios expect.
    let run = Command::new(program)
        .args(words)
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .env("SYSTEMD_PAGER", "")
        .env("SYSTEMD_COLORS", "0")
        .output();
    match run {
        Ok(run) => Output {
            status: run.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&run.stdout).trim_end().to_owned(),
            stderr: String::from_utf8_lossy(&run.stderr).trim_end().to_owned(),
        },
        Err(error) => Output { status: -1, stdout: String::new(), stderr: error.to_string() },
    }
}
