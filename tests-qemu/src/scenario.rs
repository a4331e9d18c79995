//! What a scenario is: machines to boot, what happens meanwhile, and what must be true of them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::bed::{Disk, Recipe};
use crate::dialogue::{End, Step};
use crate::image::Image;
use crate::kernel::Series;
use crate::qemu::Bus;
use crate::usb_key::UsbKey;
use crate::verdict::Verdict;
use crate::written::Allowed;

/// What a check judges.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The serial console.
    pub console: String,
    /// The verdict from the real root, if one arrived.
    pub verdict: Option<Verdict>,
    /// How the guest ended.
    pub end: End,
    /// What the script left that made its disks ([`crate::bed::Recipe`]).
    pub dump: String,
}

/// The test of a check: `Err` says what was seen instead.
type Test = Box<dyn Fn(&Seen) -> Result<(), String> + Send + Sync>;

/// One statement about a boot.
pub struct Check {
    /// The statement.
    pub what: String,
    test: Test,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Check").field(&self.what).finish()
    }
}

/// A disk of a boot.
#[derive(Debug, Clone)]
pub struct Attached {
    /// Which image.
    pub disk: Disk,
    /// How it is attached.
    pub bus: Bus,
    /// Serial number, where it matters.
    pub serial: Option<&'static str>,
    /// There from the start, or plugged in by a step.
    pub plugged: bool,
}

/// One boot of a machine.
#[derive(Debug)]
pub struct Boot {
    /// Kernel.
    pub kernel: Series,
    /// Initramfs.
    pub image: Image,
    /// Kernel command line without the console.
    pub cmdline: String,
    /// Disks in order.
    pub disks: Vec<Attached>,
    /// Memory in MiB.
    pub memory: u32,
    /// Processors.
    pub cpus: u32,
    /// The kernel is started as a boot loader starts it, and unpacks itself; otherwise QEMU starts the unpacked one.
    pub packed_kernel: bool,
    /// It has the TPM 2.0 with which this recipe made its disks.
    pub tpm: Option<Arc<Recipe>>,
    /// Its security key.
    pub usb_key: Option<UsbKey>,
    /// What happens meanwhile.
    pub steps: Vec<Step>,
    /// What must be true.
    pub checks: Vec<Check>,
    /// How the guest has to end.
    pub end: End,
    /// What may be written to the disks.
    pub writes: Allowed,
    /// Whether a verdict must arrive.
    pub reaches_root: bool,
    /// Wall time allowed, on hardware; TCG gets a multiple.
    pub patience: Duration,
}

/// Compares several boots: `Err` says what does not hold.
pub type Comparison = Box<dyn Fn(&[Seen]) -> Result<(), String> + Send + Sync>;

/// A named scenario.
pub struct Scenario {
    /// Name; filters match any part of it.
    pub name: String,
    /// Boots, one after the other; mostly one.
    pub boots: Vec<Boot>,
    /// What must be true of the boots together.
    pub comparison: Option<Comparison>,
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario")
            .field("name", &self.name)
            .field("boots", &self.boots)
            .finish_non_exhaustive()
    }
}

impl Scenario {
    /// A scenario of one boot. The kernel's series is appended to `name`.
    #[must_use]
    pub fn new(name: &str, boot: Boot) -> Self {
        let name = format!("{name}-{}", boot.kernel.name());
        Self { name, boots: vec![boot], comparison: None }
    }
}

impl Boot {
    /// A boot of `image` that must reach the real root and power off by itself.
    #[must_use]
    pub fn new(kernel: Series, image: Image, cmdline: impl Into<String>) -> Self {
        Self {
            kernel,
            image,
            cmdline: cmdline.into(),
            disks: Vec::new(),
            memory: 512,
            // Both kinds of machines are seen; one CPU is cheaper to emulate.
            cpus: if kernel == Series::V6_1 { 1 } else { 2 },
            packed_kernel: false,
            tpm: None,
            usb_key: None,
            steps: Vec::new(),
            checks: Vec::new(),
            end: End::PowerOff,
            writes: Allowed::Any,
            reaches_root: true,
            patience: Duration::from_secs(40),
        }
    }

    /// Attaches a disk.
    #[must_use]
    pub fn disk(mut self, disk: Disk, bus: Bus) -> Self {
        self.disks.push(Attached { disk, bus, serial: None, plugged: true });
        self
    }

    /// Gives the disk that was attached last this serial number.
    #[must_use]
    pub fn serial(mut self, serial: &'static str) -> Self {
        if let Some(disk) = self.disks.last_mut() {
            disk.serial = Some(serial);
        }
        self
    }

    /// A disk that is not there at the start; see [`Self::plug`].
    #[must_use]
    pub fn absent_disk(mut self, disk: Disk, bus: Bus) -> Self {
        self.disks.push(Attached { disk, bus, serial: None, plugged: false });
        self
    }

    /// Gives the machine the TPM 2.0 with which this recipe made its disks, in the same state at each boot.
    #[must_use]
    pub fn tpm(mut self, recipe: &Arc<Recipe>) -> Self {
        self.tpm = Some(Arc::clone(recipe));
        self
    }

    /// Gives the machine a security key.
    #[must_use]
    pub fn usb_key(mut self, key: UsbKey) -> Self {
        self.usb_key = Some(key);
        self
    }

    /// Plugs the security key in.
    #[must_use]
    pub fn plug_usb_key(mut self) -> Self {
        self.steps.push(Step::Monitor("device_add", UsbKey::plug()));
        self
    }

    /// Waits for text on the console.
    #[must_use]
    pub fn expect(mut self, text: &str) -> Self {
        self.steps.push(Step::Expect(text.to_owned()));
        self
    }

    /// Types a line on the console.
    #[must_use]
    pub fn types(mut self, line: &str) -> Self {
        self.steps.push(Step::Type(line.to_owned()));
        self
    }

    /// Types a line on the second console (`console=hvc0`).
    #[must_use]
    pub fn types_elsewhere(mut self, line: &str) -> Self {
        self.steps.push(Step::TypeElsewhere(line.to_owned()));
        self
    }

    /// Presses the keys that have these letters on a US keyboard, one after the other, and Enter.
    #[must_use]
    pub fn presses(mut self, letters: &str) -> Self {
        let key = |code: String| {
            let keys = json!([{ "type": "qcode", "data": code }]);
            Step::Monitor("send-key", json!({ "keys": keys, "hold-time": 20 }))
        };
        let code = |letter: char| if letter == ' ' { "spc".to_owned() } else { letter.to_string() };
        self.steps.extend(letters.chars().map(code).map(key));
        self.steps.push(key("ret".to_owned()));
        self
    }

    /// Lets time pass.
    #[must_use]
    pub fn pause(mut self, length: Duration) -> Self {
        self.steps.push(Step::Pause(length));
        self
    }

    /// Plugs in the disk with this number.
    #[must_use]
    pub fn plug(mut self, number: usize) -> Self {
        let drive = format!("disk{number}");
        let arguments = match self.disks.get(number).map(|disk| disk.bus) {
            Some(Bus::VirtioScsi) => {
                json!({ "driver": "scsi-hd", "bus": "scsi.0", "drive": drive, "id": "late" })
            }
            Some(Bus::Nvme) => {
                json!({ "driver": "nvme", "bus": "slot0", "drive": drive, "serial": "late", "id": "late" })
            }
            _ => json!({ "driver": "virtio-blk-pci", "bus": "slot0", "drive": drive, "id": "late" }),
        };
        self.steps.push(Step::Monitor("device_add", arguments));
        self
    }

    /// Memory in MiB.
    #[must_use]
    pub fn memory(mut self, mebibytes: u32) -> Self {
        self.memory = mebibytes;
        self
    }

    /// Starts the kernel as a boot loader does.
    #[must_use]
    pub fn packed_kernel(mut self) -> Self {
        self.packed_kernel = true;
        self
    }

    /// One processor, where nothing but what is found is in question: cheaper to emulate.
    #[must_use]
    pub fn one_cpu(mut self) -> Self {
        self.cpus = 1;
        self
    }

    /// Wall time allowed on hardware.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// States that no disk was written to.
    #[must_use]
    pub fn only_reads(mut self) -> Self {
        self.writes = Allowed::None;
        self
    }

    /// States that nothing was written but what the real tools write to the same disks (see [`Allowed::AsTheTools`]).
    #[must_use]
    pub fn writes_as_the_tools(mut self, title: &'static str) -> Self {
        self.writes = Allowed::AsTheTools(title);
        self
    }

    /// The real root must not be reached; the guest ends by itself all the same.
    #[must_use]
    pub fn stops_before_root(mut self) -> Self {
        self.reaches_root = false;
        self
    }

    /// States something about the boot.
    #[must_use]
    pub fn check(
        mut self,
        what: impl Into<String>,
        test: impl Fn(&Seen) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.checks.push(Check { what: what.into(), test: Box::new(test) });
        self
    }

    /// States something about the real root.
    #[must_use]
    pub fn root(
        self,
        what: impl Into<String>,
        test: impl Fn(&Verdict) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.check(what, move |seen| {
            let verdict = seen.verdict.as_ref().ok_or("no verdict arrived")?;
            test(verdict)
        })
    }

    /// States that the console showed `text`.
    #[must_use]
    pub fn shows(self, text: &str) -> Self {
        let text = text.to_owned();
        self.check(format!("the console shows {text:?}"), move |seen| {
            if seen.console.contains(&text) { Ok(()) } else { Err("it does not".to_owned()) }
        })
    }

    /// States that the console did not show `text`.
    #[must_use]
    pub fn never_shows(self, text: &str) -> Self {
        let text = text.to_owned();
        self.check(format!("the console never shows {text:?}"), move |seen| {
            let line = seen.console.lines().find(|line| without_time(line).contains(&text));
            line.map_or(Ok(()), |line| Err(format!("it does: {line}")))
        })
    }
}

impl Boot {
    /// Judges what was seen; the statements that do not hold.
    #[must_use]
    pub fn judge(&self, seen: &Seen, stuck: Option<&str>) -> Vec<String> {
        let mut failures: Vec<String> = stuck.map(str::to_owned).into_iter().collect();
        if seen.end != self.end {
            failures.push(format!("the guest ended by {:?} instead of {:?}", seen.end, self.end));
        }
        match (&seen.verdict, self.reaches_root) {
            (None, true) => failures.push("the real root was not reached: no verdict arrived".to_owned()),
            (Some(_), false) => failures.push("the real root was reached, which must not be".to_owned()),
            _ => {}
        }
        if failures.is_empty() || seen.verdict.is_some() || !self.reaches_root {
            for check in &self.checks {
                if let Err(instead) = (check.test)(seen) {
                    failures.push(format!("not true: {}: {instead}", check.what));
                }
            }
        }
        failures
    }
}

/// `Ok` if the two are equal; otherwise what was seen and what was wanted.
pub fn equal<T: PartialEq<U> + fmt::Debug + ?Sized, U: fmt::Debug + ?Sized>(
    seen: &T,
    wanted: &U,
) -> Result<(), String> {
    if seen == wanted { Ok(()) } else { Err(format!("{seen:?} instead of {wanted:?}")) }
}

/// `Ok` if `condition` holds; otherwise `instead`.
pub fn ensure(condition: bool, instead: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(instead()) }
}

/// A line of the kernel's log without its time, whose digits mean nothing.
fn without_time(line: &str) -> &str {
    let is_time = |text: &str| text.trim().bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let parts = line.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    parts.filter(|(time, _)| is_time(time)).map_or(line, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(verdict: Option<Verdict>, end: End) -> Seen {
        Seen { console: "rootward: cannot reach root: x\n".to_owned(), verdict, end, dump: String::new() }
    }

    fn boot() -> Boot {
        Boot::new(Series::V6_12, Image::universal(), "")
            .root("the marker is ext4", |verdict| equal(&verdict.marker, "ext4"))
    }

    #[test]
    fn a_right_verdict_passes_and_a_wrong_one_does_not() {
        let right = Verdict { marker: "ext4".to_owned(), ..Verdict::default() };
        assert_eq!(boot().judge(&seen(Some(right), End::PowerOff), None), Vec::<String>::new());
        let wrong = Verdict { marker: "xfs".to_owned(), ..Verdict::default() };
        assert_eq!(
            boot().judge(&seen(Some(wrong), End::PowerOff), None),
            ["not true: the marker is ext4: \"xfs\" instead of \"ext4\""]
        );
    }

    #[test]
    fn silence_a_bad_end_and_a_missed_step_are_failures() {
        assert_eq!(boot().judge(&seen(None, End::PowerOff), None).len(), 1);
        assert_eq!(boot().judge(&seen(None, End::Deadline), Some("never came to x")).len(), 3);
    }

    #[test]
    fn a_root_that_must_not_be_reached_is_a_failure() {
        let stopped = Boot::new(Series::V6_1, Image::universal(), "").stops_before_root();
        assert_eq!(stopped.judge(&seen(None, End::PowerOff), None), Vec::<String>::new());
        assert_eq!(stopped.judge(&seen(Some(Verdict::default()), End::PowerOff), None).len(), 1);
    }

    #[test]
    fn times_are_not_text() {
        for (line, text) in
            [("[    7.847116] cryptd: max", "cryptd: max"), ("[  OK  ] Up", "[  OK  ] Up"), ("4711", "4711")]
        {
            assert_eq!(without_time(line), text);
        }
    }

    #[test]
    fn text_on_the_console() {
        let boot = Boot::new(Series::V6_1, Image::universal(), "").stops_before_root();
        let boot =
            boot.shows("cannot reach root").never_shows("Call Trace").shows("absent").never_shows("rootward");
        assert_eq!(boot.judge(&seen(None, End::PowerOff), None).len(), 2);
    }
}
