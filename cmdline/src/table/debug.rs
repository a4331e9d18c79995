//! Waiting, failure and debugging.

use std::time::Duration;

use super::{Expected, Family, Kind, Row, SetText, means, old};
use crate::plan::{BreakPoint, EmergencyAction, Patience};

const F: Family = Family::Debug;

const BREAKS: Expected =
    "nothing or cmdline, pre-udev, pre-trigger, initqueue, pre-mount, mount, pre-pivot or cleanup";

const BREAK: SetText = |plan, value| {
    plan.failure.breaks.push(match value {
        "" | "cleanup" => BreakPoint::Cleanup,
        "cmdline" => BreakPoint::Cmdline,
        "pre-udev" => BreakPoint::PreUdev,
        "pre-trigger" => BreakPoint::PreTrigger,
        "initqueue" => BreakPoint::Initqueue,
        "pre-mount" => BreakPoint::PreMount,
        "mount" => BreakPoint::Mount,
        "pre-pivot" => BreakPoint::PrePivot,
        "pre-shutdown" | "shutdown" => {
            return Err("a stage before the hand-off; those of the shutdown are not implemented yet");
        }
        _ => return Err(BREAKS),
    });
    Ok(())
};

/// systemd's break points, at the places of ours that come next.
const SYSTEMD_BREAK: SetText = |plan, value| {
    plan.failure.breaks.push(match value {
        "pre-udev" => BreakPoint::PreUdev,
        "pre-basic" => BreakPoint::Initqueue,
        "pre-mount" => BreakPoint::PreMount,
        "" | "pre-switch-root" => BreakPoint::PrePivot,
        _ => return Err("pre-udev, pre-basic, pre-mount or pre-switch-root"),
    });
    Ok(())
};

const EMERGENCY: SetText = |plan, value| {
    match value {
        // systemd's emergency.target: a shell instead of the boot.
        "" => plan.failure.breaks.push(BreakPoint::Cmdline),
        "reboot" => plan.failure.emergency = Some(EmergencyAction::Reboot),
        "poweroff" => plan.failure.emergency = Some(EmergencyAction::PowerOff),
        "halt" => plan.failure.emergency = Some(EmergencyAction::Halt),
        _ => return Err("reboot, poweroff or halt"),
    }
    Ok(())
};

const ROOTWAIT: SetText = |plan, value| {
    if value.is_empty() {
        plan.patience = Patience::Forever;
        return Ok(());
    }
    let limit = crate::time::span(value).ok_or("nothing, or a number of seconds")?;
    match limit.finite() {
        None => plan.patience = Patience::Forever,
        // The kernel takes 0 as "do not wait", which no device that is found asynchronously survives.
        Some(Duration::ZERO) => return Err("nothing, or a number of seconds above 0"),
        Some(limit) => plan.patience = Patience::Total(limit),
    }
    Ok(())
};

const PANIC: SetText = |plan, value| {
    plan.failure.panic =
        Some(value.parse().map_err(|_| "seconds; 0 hangs, a negative number restarts at once")?);
    Ok(())
};

pub(super) static ROWS: &[Row] = &[
    Row::done(
        "rd.retry",
        Kind::Time(
            Some(180),
            Some(|plan, limit| plan.patience = limit.map_or(Patience::Forever, Patience::Quiet)),
        ),
        "Give up when nothing has changed for this long. The time counts from the last change, not from the start.",
    )
    .aliases(&[old("rd_retry")])
    .family(F)
    .must(),
    Row::done(
        "rootdelay",
        Kind::Time(
            Some(0),
            Some(|plan, delay| {
                if let (Patience::Quiet(limit), Some(delay)) = (plan.patience, delay) {
                    plan.patience = Patience::Quiet(limit.max(delay));
                }
            }),
        ),
        "Wait at least this long before giving up; nothing ever sleeps this long for its own sake.",
    )
    .family(F),
    Row::done("rootwait", Kind::Text(Some(ROOTWAIT)), "Bare: never give up on root. With a value: give up that long after the start.")
        .syntax("nothing, or seconds")
        .bare()
        .absent("`rd.retry` decides")
        .family(F)
        .must(),
    Row::done(
        "rd.timeout",
        Kind::Time(
            None,
            Some(|plan, limit| {
                if let Some(limit) = limit.filter(|limit| !limit.is_zero()) {
                    plan.patience = Patience::Total(limit);
                }
            }),
        ),
        "Give up this long after the start, whatever happens; wins over `rootwait` and `rd.retry`. 0 and `infinity` mean no such limit.",
    )
    .family(F)
    .must(),
    Row::done(
        "rd.shell",
        Kind::Tristate(Some(|plan, on| plan.failure.shell = on)),
        "Whether a rescue prompt may appear on failure.",
    )
    .aliases(&[old("rdshell")])
    .absent("on for ordinary failures, off for fatal ones")
    .family(F)
    .must(),
    Row::done(
        "rd.emergency",
        Kind::List(Some(EMERGENCY)),
        "What to do after the rescue prompt is left or when none is allowed. Bare, as systemd has it: a prompt instead of the boot.",
    )
    .syntax("reboot, poweroff or halt")
    .bare()
    .absent("power off when no prompt is allowed")
    .family(F)
    .must(),
    Row::done(
        "rd.rescue",
        Kind::Presence(Some(|plan| plan.failure.breaks.push(BreakPoint::Initqueue))),
        "A prompt when the devices are being found, as systemd's rescue target.",
    )
    .family(F),
    Row::done("rd.break", Kind::List(Some(BREAK)), "A prompt before that stage; several may be given. Bare: just before the hand-off.")
        .syntax(BREAKS)
        .bare()
        .aliases(&[old("rdbreak")])
        .family(F)
        .must(),
    Row::done("rd.systemd.break", Kind::List(Some(SYSTEMD_BREAK)), "As `rd.break`, with systemd's names.")
        .syntax("pre-udev, pre-basic, pre-mount or pre-switch-root")
        .bare()
        .family(F),
    Row::done(
        "rd.debug",
        Kind::Flag(false, Some(|plan, on| plan.log.debug = on)),
        "Everything that happens is logged.",
    )
    .aliases(&[old("rdinitdebug"), means("rdnetdebug", "1")])
    .family(F)
    .must(),
    Row::done(
        "rd.info",
        Kind::Flag(false, Some(|plan, on| plan.log.info = on)),
        "Informational lines reach the console.",
    )
    .aliases(&[old("rdinfo")])
    .family(F),
    Row::done(
        "quiet",
        Kind::Presence(Some(|plan| plan.log.quiet = true)),
        "Only warnings and errors reach the console.",
    )
    .family(F)
    .must(),
    Row::done(
        "loglevel",
        Kind::Text(Some(|plan, value| {
            plan.log.loglevel = Some(value.parse().map_err(|_| "a number from 0 to 15")?);
            Ok(())
        })),
        "The kernel's console level; what we log follows it because it goes through the kernel log.",
    )
    .syntax("a number from 0 to 15")
    .family(F)
    .must(),
    Row::done(
        "panic",
        Kind::Text(Some(PANIC)),
        "Seconds until the kernel restarts after a panic; honoured when the boot ends without a prompt.",
    )
    .syntax("seconds; 0 hangs, a negative number restarts at once")
    .family(F)
    .must(),
    Row::later("rd.cmdline", Kind::Text(None), "`ask`: reads further parameters from the console.")
        .syntax("ask")
        .family(F),
    Row::later("rd.memdebug", Kind::Int { default: 0, min: 0, max: 5, set: None }, "Prints memory statistics at each stage.")
        .family(F)
        .legacy(),
    Row::inert("rd.udev.log_level", "there is no udev in this initramfs; use rd.debug.")
        .syntax("err, info or debug")
        .aliases(&[
            old("rd.udev.log-priority"),
            means("rd.udev.info", "info"),
            means("rd.udev.debug", "debug"),
            means("rdudevinfo", "info"),
            means("rdudevdebug", "debug"),
        ])
        .family(F),
    Row::later("rd.ctty", Kind::Text(None), "The terminal of the rescue prompt.").syntax("tty name").family(F),
    Row::passed("SYSTEMD_SULOGIN_FORCE", "The rescue prompt of the initramfs asks for no password, so nothing needs forcing.")
        .family(F)
        .must(),
    Row::later("syslog.server", Kind::Text(None), "Forwards the log to this host.")
        .syntax("host")
        .aliases(&[old("syslog")])
        .family(F)
        .legacy(),
    Row::later("syslog.filter", Kind::List(None), "What is forwarded.")
        .syntax("selector")
        .aliases(&[old("filter")])
        .family(F)
        .legacy(),
    Row::later("syslog.type", Kind::Text(None), "Which daemon forwards.")
        .syntax("rsyslogd, syslogd or syslog-ng")
        .aliases(&[old("syslogtype")])
        .family(F)
        .legacy(),
];
