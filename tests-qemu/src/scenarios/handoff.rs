//! What must be true of every real root that was handed over to, whatever lay before it.

use crate::scenario::{Boot, ensure, equal};
use crate::verdict::Verdict;

/// Variables that the kernel itself gives its init (init/main.c, `envp_init`), and PATH.
const CLEAN: &[&str] = &["HOME", "TERM", "PATH"];

/// Adds the statements about PID 1, the API file systems and left-overs.
pub(super) fn handed_over(boot: Boot) -> Boot {
    boot.root("PID 1 is executed by its own name", |verdict| {
        equal(verdict.pid1.argv.first().map_or("", String::as_str), &*verdict.pid1.exe)
    })
    .root("PID 1 has only the console open", |verdict| {
        let fds: Vec<_> = verdict.pid1.fds.iter().map(|(fd, target)| (*fd, target.as_str())).collect();
        equal(&fds, &[(0, "/dev/console"), (1, "/dev/console"), (2, "/dev/console")])
    })
    .root("PID 1 blocks, ignores and catches no signal", |verdict| {
        ["SigBlk", "SigIgn", "SigCgt"].into_iter().try_for_each(|set| {
            let mask = verdict.pid1.status.get(set).map_or("", String::as_str);
            equal(mask, "0000000000000000").map_err(|instead| format!("{set}: {instead}"))
        })
    })
    .root("PID 1 starts in / without a controlling terminal and with the kernel's umask", |verdict| {
        equal(&verdict.pid1.cwd, "/")?;
        equal(&verdict.pid1.tty_nr, &0)?;
        equal(verdict.pid1.status.get("Umask").map_or("", String::as_str), "0022")
    })
    .root("PID 1 has the kernel's limits and OOM score", |verdict| {
        equal(&verdict.pid1.oom_score_adj, &0)?;
        let files = verdict.pid1.limits.get("Max open files").cloned().unwrap_or_default();
        equal(&files, &("1024".to_owned(), "4096".to_owned()))?;
        let core = verdict.pid1.limits.get("Max core file size").cloned().unwrap_or_default();
        equal(&core, &("0".to_owned(), "unlimited".to_owned()))
    })
    .root("PID 1 has a clean environment", clean_environment)
    .root("the API file systems are there, as the contracts want them", api_mounts)
    .root("nothing else is mounted", |verdict| {
        let known = ["/", "/proc", "/sys", "/dev", "/run"];
        // Mounts of the kernel's own making below /sys and /dev are fine; stray roots are not.
        let stray = verdict.mounts.iter().find(|mount| {
            !known.contains(&mount.point.as_str())
                && !mount.point.starts_with("/sys/")
                && !mount.point.starts_with("/dev/")
        });
        stray.map_or(Ok(()), |mount| Err(format!("{} on {}", mount.fstype, mount.point)))?;
        let roots = verdict.mounts.iter().filter(|mount| mount.point == "/").count();
        equal(&roots, &1)
    })
    .root("no process of the initramfs is left", |verdict| {
        ensure(verdict.processes.is_empty(), || format!("{:?}", verdict.processes))
    })
    .root("nothing outside the real root is held", |verdict| {
        ensure(verdict.outside_root.is_empty(), || format!("{:?}", verdict.outside_root))
    })
    .never_shows("Call Trace:")
    .never_shows("internal error, please report")
}

/// Only what the kernel gives, and words of the command line that the kernel passes on.
pub(super) fn clean_environment(verdict: &Verdict) -> Result<(), String> {
    let stray = verdict.pid1.environ.iter().find(|variable| {
        let name = variable.split('=').next().unwrap_or_default();
        !CLEAN.contains(&name) && !verdict.cmdline.split_whitespace().any(|word| word == variable.as_str())
    });
    stray.map_or(Ok(()), |variable| Err(format!("{variable} is in it")))
}

/// /proc, /sys, /dev and /run, the last one as INITRD_INTERFACE asks: no `noexec`, since an exitrd lives there.
pub(super) fn api_mounts(verdict: &Verdict) -> Result<(), String> {
    ensure(verdict.mounted_by_checker.is_empty(), || {
        format!("{:?} were missing", verdict.mounted_by_checker)
    })?;
    for (point, fstype) in [("/proc", "proc"), ("/sys", "sysfs"), ("/dev", "devtmpfs"), ("/run", "tmpfs")] {
        let mount = verdict.mount(point).ok_or_else(|| format!("{point} is not mounted"))?;
        equal(&mount.fstype, fstype)?;
        let options: Vec<&str> = mount.options.split(',').collect();
        ensure(options.contains(&"nosuid"), || format!("{point} lacks nosuid: {}", mount.options))?;
        if point == "/run" {
            ensure(options.contains(&"nodev") && !options.contains(&"noexec"), || mount.options.clone())?;
            ensure(mount.super_options.contains("mode=755"), || mount.super_options.clone())?;
        }
    }
    Ok(())
}

/// Kernel name of the device that / is on. A btrfs root has an anonymous device number, so there the source
/// of the mount decides.
pub(super) fn root_device(verdict: &Verdict) -> Result<String, String> {
    let root = verdict.mount("/").ok_or("/ is not a mount")?;
    if let Some(device) = verdict.block_by_number(&root.device) {
        return Ok(device.name.clone());
    }
    let target = verdict.links.get(&root.source).unwrap_or(&root.source);
    Ok(target.rsplit('/').next().unwrap_or_default().to_owned())
}

/// States what / is.
pub(super) fn root_is(boot: Boot, device: &str, fstype: &str, writable: bool) -> Boot {
    let (device, fstype) = (device.trim_start_matches("/dev/").to_owned(), fstype.to_owned());
    let access = if writable { "rw" } else { "ro" };
    boot.root(format!("/ is {fstype} on {device}, {access}"), move |verdict| {
        equal(&root_device(verdict)?, &device)?;
        let root = verdict.mount("/").ok_or("/ is not a mount")?;
        equal(&root.fstype, &fstype)?;
        equal(root.options.split(',').next().unwrap_or_default(), access)
    })
}

/// States that /dev has a link of this name to this device.
pub(super) fn linked(boot: Boot, link: &str, device: &str) -> Boot {
    let (link, device) = (link.to_owned(), device.trim_start_matches("/dev/").to_owned());
    boot.root(format!("{link} leads to {device}"), move |verdict| match verdict.links.get(&link) {
        Some(target) => equal(target.rsplit('/').next().unwrap_or_default(), &*device),
        None => Err(format!("there is no such link; there are {:?}", verdict.links.keys())),
    })
}
