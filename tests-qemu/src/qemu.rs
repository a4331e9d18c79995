//! A guest: its machine, its disks and how it is started and stopped.

use std::fs;
use std::io::Read;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};

use crate::Error;
use crate::accel::Accel;
use crate::program::{output, program};
use crate::tpm::Tpm;
use crate::usb_key::UsbKey;
use crate::verdict::PORT;

/// How a disk is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// /dev/vdX
    VirtioBlk,
    /// /dev/sdX behind a virtio-scsi controller
    VirtioScsi,
    /// /dev/nvmeXn1
    Nvme,
    /// Twice /dev/sdX, behind two virtio-scsi controllers: two paths to one unit. Their QEMU ids are `pathNa` and
    /// `pathNb`, N being the drive's place in the list.
    TwoPaths,
}

impl Bus {
    /// Those with a single path.
    pub const ALL: [Self; 3] = [Self::VirtioBlk, Self::VirtioScsi, Self::Nvme];

    /// Short name, as used in scenario names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::VirtioBlk => "virtio",
            Self::VirtioScsi => "scsi",
            Self::Nvme => "nvme",
            Self::TwoPaths => "paths",
        }
    }

    /// Device node of the first disk on this bus.
    #[must_use]
    pub fn first_disk(self) -> &'static str {
        match self {
            Self::VirtioBlk => "/dev/vda",
            Self::VirtioScsi | Self::TwoPaths => "/dev/sda",
            Self::Nvme => "/dev/nvme0n1",
        }
    }

    /// Device node of the first partition of the first disk on this bus.
    #[must_use]
    pub fn first_partition(self) -> &'static str {
        match self {
            Self::VirtioBlk => "/dev/vda1",
            Self::VirtioScsi | Self::TwoPaths => "/dev/sda1",
            Self::Nvme => "/dev/nvme0n1p1",
        }
    }
}

/// A disk of a guest.
#[derive(Debug, Clone)]
pub struct Drive {
    /// Raw image.
    pub image: PathBuf,
    /// How it is attached.
    pub bus: Bus,
    /// Serial number; without one it is `rwN`, N being the place in the list.
    pub serial: Option<&'static str>,
    /// Attached at start; a drive that is not waits for `device_add` with `drive=diskN`, N being its
    /// place in the list.
    pub plugged: bool,
    /// Where writes go.
    pub writes: Writes,
}

/// Where what a guest writes to a disk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writes {
    /// To the image itself. Only the builder does this.
    Image,
    /// Nowhere that anybody could look at.
    Discarded,
    /// To the file [`overlay`], for a comparison.
    Overlay,
}

/// The file that takes what a guest writes to its disk with this number.
#[must_use]
pub fn overlay(directory: &Path, number: usize) -> PathBuf {
    directory.join(format!("disk{number}.qcow2"))
}

/// What is to be booted.
#[derive(Debug, Clone)]
pub struct Machine {
    /// bzImage, or the unpacked kernel.
    pub kernel: PathBuf,
    /// Initramfs.
    pub initrd: PathBuf,
    /// Kernel command line; the console is added. `console=hvc0` in it brings a second console, whose output goes
    /// to `console2.log`.
    pub cmdline: String,
    /// Memory in MiB.
    pub memory: u32,
    /// Processors.
    pub cpus: u32,
    /// Disks in order.
    pub drives: Vec<Drive>,
    /// The state of its TPM 2.0, if it has one.
    pub tpm: Option<PathBuf>,
    /// Its security key, if it has one.
    pub usb_key: Option<UsbKey>,
}

/// What a running guest tells the runner.
#[derive(Debug)]
pub enum Said {
    /// Bytes on the serial console.
    Console(Vec<u8>),
    /// QEMU has closed the console: it ended or is about to.
    End,
}

/// A running guest. Killed when dropped.
#[derive(Debug)]
pub struct Guest {
    child: Child,
    /// Serial console, to type on.
    pub keyboard: ChildStdin,
    /// Serial console, to read from.
    pub console: Receiver<Said>,
    /// QEMU connects here.
    pub monitor: UnixListener,
    /// QEMU connects its second console here, if it has one.
    pub console2: Option<UnixListener>,
    /// Ends with the guest.
    _tpm: Option<Tpm>,
}

impl Machine {
    /// Starts the guest. `directory` receives `console.log`, `qemu.log` (QEMU's own words), `qemu.command`
    /// and `verdict.json`.
    pub fn start(&self, accel: Accel, directory: &Path) -> Result<Guest, Error> {
        let verdict = directory.join("verdict.json");
        for stale in [&verdict, &directory.join("console.log"), &directory.join("monitor.sock")] {
            crate::cache::remove(stale)?;
        }
        // Socket paths are limited to 108 bytes, so the directory's name must not be part of it.
        let socket = std::env::temp_dir().join(format!("rootward-{}-{}.sock", std::process::id(), serial()));
        let monitor = UnixListener::bind(&socket).map_err(Error::io(&socket))?;
        // A guest must not outlive the thread that watches it, however that ends.
        let mut command = program("setpriv");
        command.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
        command.args(["-machine", "q35", "-accel", accel.option(), "-cpu", "max"]);
        command.args(["-smp", &self.cpus.to_string()]);
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        command.args(["-m", &self.memory.to_string(), "-kernel"]).arg(&self.kernel);
        command.arg("-initrd").arg(&self.initrd);
        command.args(["-append", &format!("console=ttyS0 {}", self.cmdline)]);
        let log = directory.join("console.log");
        command.args(["-chardev", &format!("stdio,id=console,signal=off,logfile={}", log.display())]);
        command.args(["-serial", "chardev:console"]);
        command.args(["-chardev", &format!("socket,id=monitor,path={}", socket.display())]);
        command.args(["-mon", "chardev=monitor,mode=control"]);
        let console2 = match self.cmdline.contains("console=hvc0") {
            true => {
                let path = socket.with_extension("console2");
                let log = directory.join("console2.log");
                let listener = UnixListener::bind(&path).map_err(Error::io(&path))?;
                let (path, log) = (path.display(), log.display());
                command.args(["-chardev", &format!("socket,id=console2,path={path},logfile={log}")]);
                Some(listener)
            }
            false => None,
        };
        command.args(["-chardev", &format!("file,id=verdict,path={}", verdict.display())]);
        command.args(["-device", "virtio-serial-pci", "-device"]);
        command.arg(format!("virtserialport,chardev=verdict,name={PORT}"));
        if console2.is_some() {
            command.args(["-device", "virtconsole,chardev=console2"]);
        }
        command.args(["-object", "rng-builtin,id=rng", "-device", "virtio-rng-pci,rng=rng"]);
        if self.drives.iter().any(|drive| drive.bus == Bus::VirtioScsi) {
            command.args(["-device", "virtio-scsi-pci,id=scsi"]);
        }
        if self.drives.iter().any(|drive| drive.bus == Bus::TwoPaths) {
            command.args(["-device", "virtio-scsi-pci,id=a", "-device", "virtio-scsi-pci,id=b"]);
        }
        let tpm = match &self.tpm {
            Some(state) => Some(Tpm::start(state, socket.with_extension("tpm"))?),
            None => None,
        };
        if let Some(tpm) = &tpm {
            tpm.attach(&mut command);
        }
        if let Some(key) = &self.usb_key {
            key.attach(&mut command, &socket.with_extension("key"))?;
        }
        // A free slot for disks that are plugged in later.
        command.args(["-device", "pcie-root-port,id=slot0,chassis=1,slot=1"]);
        let mut units = 0;
        for (number, drive) in self.drives.iter().enumerate() {
            if drive.bus == Bus::TwoPaths {
                two_paths(&mut command, (number, units), &drive.image, directory)?;
                units += 1;
                continue;
            }
            let (image, format, snapshot) = match drive.writes {
                Writes::Image => (drive.image.clone(), "raw", "off"),
                Writes::Discarded => (drive.image.clone(), "raw", "on"),
                Writes::Overlay => (make_overlay(number, &drive.image, directory)?, "qcow2", "off"),
            };
            let image = image.display();
            command.arg("-drive").arg(format!(
                "file={image},format={format},if=none,id=disk{number},snapshot={snapshot},cache=unsafe,discard=unmap"
            ));
            if drive.plugged {
                let serial = drive.serial.map_or_else(|| format!("rw{number}"), str::to_owned);
                let device = match drive.bus {
                    Bus::VirtioBlk => format!("virtio-blk-pci,drive=disk{number},serial={serial}"),
                    Bus::VirtioScsi => format!("scsi-hd,bus=scsi.0,drive=disk{number},serial={serial}"),
                    Bus::Nvme | Bus::TwoPaths => format!("nvme,drive=disk{number},serial={serial}"),
                };
                command.args(["-device", &device]);
            }
        }
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        let path = directory.join("qemu.command");
        fs::write(&path, format!("setpriv {}\n", words.join(" "))).map_err(Error::io(&path))?;
        let path = directory.join("qemu.log");
        let log = fs::File::create(&path).map_err(Error::io(&path))?;
        // Overlays of `snapshot=on` are made in TMPDIR.
        command.env("TMPDIR", directory).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().map_err(Error::io("qemu-system-x86_64"))?;
        let (Some(keyboard), Some(mut screen)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::Bed("QEMU has no console".to_owned()));
        };
        let (sender, console) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = [0_u8; 4096];
            while let Ok(length @ 1..) = screen.read(&mut bytes) {
                if sender.send(Said::Console(bytes.get(..length).unwrap_or_default().to_vec())).is_err() {
                    return;
                }
            }
            let _ = sender.send(Said::End);
        });
        Ok(Guest { child, keyboard, console, monitor, console2, _tpm: tpm })
    }
}

fn make_overlay(number: usize, image: &Path, directory: &Path) -> Result<PathBuf, Error> {
    let overlay = overlay(directory, number);
    let mut make = program("qemu-img");
    output(make.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).arg(image).arg(&overlay))?;
    Ok(overlay)
}

/// A disk that is attached twice, given its place among all drives and among those with two paths. QEMU's own throw-away
/// overlays belong to one device only, so here it is a file.
fn two_paths(
    command: &mut Command,
    (number, unit): (usize, u64),
    image: &Path,
    directory: &Path,
) -> Result<(), Error> {
    let overlay = make_overlay(number, image, directory)?;
    command.arg("-blockdev").arg(format!(
        "driver=qcow2,node-name=disk{number},discard=unmap,file.driver=file,file.filename={}",
        overlay.display()
    ));
    for path in ["a", "b"] {
        command.arg("-device").arg(format!(
            "scsi-hd,bus={path}.0,id=path{number}{path},drive=disk{number},share-rw=on,serial=rw{number},\
             wwn={:#x}",
            0x5000_c500_0000_0000_u64 + unit
        ));
    }
    Ok(())
}

impl Guest {
    /// Waits for QEMU, which has closed its console; how it failed, if it did not end without an error.
    pub fn failure(&mut self) -> Option<String> {
        match self.child.wait() {
            Ok(status) if status.success() => None,
            Ok(status) => Some(status.to_string()),
            Err(error) => Some(error.to_string()),
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for socket in [Some(&self.monitor), self.console2.as_ref()].into_iter().flatten() {
            if let Some(path) = socket.local_addr().ok().as_ref().and_then(|address| address.as_pathname()) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

fn serial() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
