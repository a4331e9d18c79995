//! One measured boot.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tests_qemu::program::program;

use super::Contestant;
use crate::Failure;

/// What the clock counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One guest instruction is a nanosecond, on one CPU.
    Instructions,
    /// Wall time under MTTCG, on two CPUs.
    Wall,
}

/// What all contestants are booted with.
pub struct Track<'a> {
    /// bzImage.
    pub kernel: &'a Path,
    /// Raw images, in the order of their names.
    pub disks: &'a [PathBuf],
    /// What an ordinary user tells the kernel.
    pub cmdline: &'a str,
}

/// Figures of one boot, in seconds of the guest's clock.
pub struct Figures {
    /// From "Trying to unpack rootfs image" to "Freeing initrd memory".
    pub unpack: f64,
    /// From the wrapper's mark, just before /init, to the first instruction of the real init.
    pub init: f64,
    /// Lines of /proc/modules.
    pub modules: usize,
    /// `MemFree` in KiB.
    pub free_kib: u64,
}

/// A boot that has not ended by then has failed.
const PATIENCE: Duration = Duration::from_secs(240);

/// Boots a contestant; `memory` in MiB.
pub fn run(contestant: &Contestant, track: &Track<'_>, mode: Mode, memory: u64) -> Result<Figures, Failure> {
    let console = boot(contestant, track, mode, memory, PATIENCE)?;
    figures(&console).ok_or_else(|| {
        let tail: Vec<&str> = console.lines().rev().take(25).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        Failure(format!(
            "{} did not reach the real init; its console ends:\n{}",
            contestant.name,
            tail.join("\n")
        ))
    })
}

/// Least memory in MiB, in steps of 8, with which the contestant reaches its root.
pub fn least_memory(contestant: &Contestant, track: &Track<'_>) -> Result<Option<u64>, Failure> {
    let (mut low, mut high) = (6_u64, 64_u64);
    let works = |eighths: u64| -> Result<bool, Failure> {
        let console = boot(contestant, track, Mode::Wall, eighths * 8, Duration::from_secs(60))?;
        Ok(figures(&console).is_some())
    };
    if !works(high)? {
        return Ok(None);
    }
    while high - low > 1 {
        let middle = u64::midpoint(low, high);
        if works(middle)? {
            high = middle;
        } else {
            low = middle;
        }
    }
    Ok(Some(high * 8))
}

fn boot(
    contestant: &Contestant,
    track: &Track<'_>,
    mode: Mode,
    memory: u64,
    patience: Duration,
) -> Result<String, Failure> {
    let log = contestant.image.with_extension("console");
    let mut command = program("qemu-system-x86_64");
    command.args(["-machine", "q35", "-nodefaults", "-no-reboot", "-display", "none"]);
    match mode {
        // TCG counts every byte of a `rep movsb` as an instruction, so the CPU must not advertise fast ones.
        Mode::Instructions => command.args([
            "-accel",
            "tcg",
            "-cpu",
            "max,-erms,-fsrm",
            "-smp",
            "1",
            "-icount",
            "shift=0,sleep=on",
        ]),
        Mode::Wall => command.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"]),
    };
    command.args(["-m", &format!("{memory}M"), "-serial"]).arg(format!("file:{}", log.display()));
    command.arg("-kernel").arg(track.kernel).arg("-initrd").arg(&contestant.image);
    command.arg("-append").arg(format!(
        "console=ttyS0 quiet loglevel=0 initramfs_async=0 rdinit=/settle panic=-1 ro {}",
        track.cmdline
    ));
    for (number, disk) in track.disks.iter().enumerate() {
        let file = disk.display();
        command.arg("-drive").arg(format!("if=none,id=disk{number},format=raw,snapshot=on,file={file}"));
        command.arg("-device").arg(format!("virtio-blk-pci,drive=disk{number}"));
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let begun = Instant::now();
    while child.try_wait()?.is_none() {
        if begun.elapsed() > patience {
            child.kill()?;
            child.wait()?;
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(String::from_utf8_lossy(&std::fs::read(&log)?).into_owned())
}

/// Reads the record that the bench's real init printed.
fn figures(console: &str) -> Option<Figures> {
    let after = |word: &str| console.lines().find_map(|line| line.trim().strip_prefix(word));
    let entered = after("bench-entered ")?.trim().parse::<f64>().ok()? / 1e9;
    after("bench-end")?;
    // A record of /dev/kmsg is `priority,sequence,microseconds,flags;text`.
    let logged = |text: &str| {
        console
            .lines()
            .filter_map(|line| line.trim().strip_prefix("bench-log "))
            .find(|line| line.contains(text))
            .and_then(|line| Some((line.split(',').nth(2)?.parse::<f64>().ok()? / 1e6, line)))
    };
    let (tie, line) = logged("bench: tie ")?;
    let offset = line.rsplit(' ').next()?.trim().parse::<f64>().ok()? / 1e9 - tie;
    let (settled, _) = logged("bench: settled")?;
    let (unpacking, _) = logged("Trying to unpack rootfs")?;
    let (unpacked, _) = logged("Freeing initrd memory")?;
    let free = console.lines().find_map(|line| line.trim().strip_prefix("bench-memory MemFree:"))?;
    Some(Figures {
        unpack: unpacked - unpacking,
        init: entered - offset - settled,
        modules: console.lines().filter(|line| line.starts_with("bench-module ")).count(),
        free_kib: free.split_whitespace().next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::figures;

    #[test]
    fn a_record_is_read_in_the_kernel_logs_time() {
        let console = "\nbench-entered 9500000000\r\nbench-log 6,1,1000000,-;Trying to unpack rootfs image\r\n\
            bench-log 6,2,1250000,-;Freeing initrd memory: 4K\r\nbench-log 12,3,8000000,-;bench: settled\r\n\
            bench-log 12,4,9100000,-;bench: tie 9600000000\r\nbench-memory MemFree:  400 kB\r\n\
            bench-module ext4 1\r\nbench-end\r\n";
        let read = figures(console).unwrap();
        assert!((read.unpack - 0.25).abs() < 1e-9);
        assert!((read.init - 1.0).abs() < 1e-9, "{}", read.init);
        assert_eq!((read.modules, read.free_kib), (1, 400));
        assert!(figures(&console.replace("bench-end", "")).is_none());
    }
}
