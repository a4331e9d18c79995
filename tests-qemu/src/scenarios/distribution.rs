//! Whole distributions: systemd must not be able to tell the difference.

use std::time::Duration;

use super::handoff::{api_mounts, clean_environment};
use crate::bed::{DEBIAN_LUKS_NAME, Disk, LUKS_UUID, PASSPHRASE};
use crate::disk::PLAIN_UUID;
use crate::image::Image;
use crate::kernel::Series;
use crate::qemu::Bus;
use crate::rootfs::Release;
use crate::scenario::{Boot, Scenario, ensure, equal};
use crate::verdict::Verdict;

pub(super) fn scenarios() -> Vec<Scenario> {
    [(Release::Trixie, Series::V6_12), (Release::Bookworm, Series::V6_1)]
        .into_iter()
        .flat_map(|(release, kernel)| [encrypted(release, kernel), plain(release, kernel)])
        .collect()
}

fn plain(release: Release, kernel: Series) -> Scenario {
    let boot = Boot::new(kernel, Image::universal(), format!("root=UUID={PLAIN_UUID} ro"))
        .disk(Disk::Debian(release), Bus::VirtioBlk)
        .packed_kernel();
    Scenario::new(&format!("debian{}-plain", release.number()), healthy(boot))
}

fn encrypted(release: Release, kernel: Series) -> Scenario {
    let boot = Boot::new(
        kernel,
        Image::universal(),
        format!("root=/dev/mapper/{DEBIAN_LUKS_NAME} ro rd.luks.name={LUKS_UUID}={DEBIAN_LUKS_NAME}"),
    )
    .disk(Disk::DebianLuks(release), Bus::VirtioBlk)
    .expect("Passphrase for")
    .types(PASSPHRASE)
    .root("crypttab's mapping is adopted, not opened again", |verdict| {
        let line =
            format!("systemctl show systemd-cryptsetup@{DEBIAN_LUKS_NAME}.service --property=ActiveState");
        equal(&verdict.command(&line).stdout, "ActiveState=active")?;
        let maps = verdict.block.iter().filter(|device| device.dm_uuid.starts_with("CRYPT-")).count();
        equal(&maps, &1)
    })
    .root("the mapping's device unit, which fstab waits for, is active", |verdict| {
        let units = verdict.command("systemctl list-units --type=device --all --plain --no-legend").stdout;
        let wanted = format!("dev-mapper-{DEBIAN_LUKS_NAME}.device");
        let line = units.lines().find(|line| line.starts_with(&wanted)).unwrap_or("no such unit");
        let words: Vec<&str> = line.split_whitespace().collect();
        ensure(words.get(1..4) == Some(&["loaded", "active", "plugged"]), || line.to_owned())
    })
    .root("cryptsetup knows the mapping", |verdict| {
        let status = verdict.command(&format!("cryptsetup status {DEBIAN_LUKS_NAME}"));
        ensure(status.stdout.contains("is active and is in use") && status.stdout.contains("LUKS2"), || {
            format!("{status:?}")
        })
    });
    Scenario::new(&format!("debian{}-luks", release.number()), healthy(boot))
}

/// What is true of a distribution that has booted well.
pub(super) fn healthy(boot: Boot) -> Boot {
    boot.memory(768)
        .patience(Duration::from_secs(120))
        .root("systemd is running", |verdict| {
            let state = verdict.command("systemctl is-system-running --wait").stdout;
            equal(&state, "running").map_err(|instead| format!("{instead}; failed: {}", failed(verdict)))
        })
        .root("no unit failed and no job is left", |verdict| {
            equal(&failed(verdict), "")?;
            equal(&verdict.command("systemctl list-jobs --no-legend").stdout, "")
        })
        .root("nothing timed out", |verdict| {
            let journal = verdict.command("journalctl -b --no-pager -o short-monotonic").stdout;
            ensure(journal.lines().count() > 100, || "the journal is almost empty".to_owned())?;
            let line = journal.lines().find(|line| line.contains("imed out"));
            line.map_or(Ok(()), |line| Err(line.to_owned()))
        })
        .root("systemd-analyze shows an initrd phase", |verdict| {
            let times = verdict.command("systemd-analyze").stdout;
            ensure(times.contains("(initrd)"), || times.clone())
        })
        .root("PID 1 is systemd with a clean environment", |verdict| {
            ensure(verdict.pid1.exe.ends_with("/systemd"), || verdict.pid1.exe.clone())?;
            clean_environment(verdict)
        })
        .root("PID 1 holds nothing from before the hand-off", |verdict| {
            let stray = verdict.outside_root.iter().find(|held| held.starts_with("1 "));
            stray.map_or(Ok(()), |held| Err(held.clone()))
        })
        .root("the API file systems are as the contracts want them", api_mounts)
        .root("/ is writable, as fstab says", |verdict| {
            let root = verdict.mount("/").ok_or("/ is not a mount")?;
            equal(root.options.split(',').next().unwrap_or_default(), "rw")
        })
        .never_shows("internal error, please report")
}

fn failed(verdict: &Verdict) -> String {
    verdict.command("systemctl list-units --failed --plain --no-legend").stdout
}
