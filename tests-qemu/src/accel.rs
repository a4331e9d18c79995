//! KVM where it works, TCG elsewhere.
//!
//! A readable /dev/kvm is not enough: nested or filtered hosts let QEMU open it and then fail. So a guest of
//! one boot sector is started, which must answer through the debug exit device.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use crate::Error;
use crate::program::program;

/// How guests are executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accel {
    /// Hardware virtualisation.
    Kvm,
    /// Translation, one thread per virtual CPU.
    Tcg,
}

impl Accel {
    /// Value of QEMU's `-accel`.
    #[must_use]
    pub fn option(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg,thread=multi",
        }
    }

    /// By how much deadlines are stretched.
    #[must_use]
    pub fn patience(self) -> u32 {
        match self {
            Self::Kvm => 1,
            // A busy host of two cores makes guests that much slower than an idle one.
            Self::Tcg => 6,
        }
    }

    /// Tries KVM with a tiny guest; files go below `directory`.
    pub fn detect(directory: &Path) -> Result<Self, Error> {
        if !Path::new("/dev/kvm").exists() {
            return Ok(Self::Tcg);
        }
        let disk = directory.join("boot-sector.raw");
        fs::write(&disk, boot_sector()).map_err(Error::io(&disk))?;
        let mut guest = program("qemu-system-x86_64")
            .args(["-machine", "q35", "-accel", "kvm", "-cpu", "max", "-nodefaults", "-display", "none"])
            .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-no-reboot", "-drive"])
            .arg(format!("file={},format=raw", disk.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Error::io("qemu-system-x86_64"))?;
        let (sender, receiver) = mpsc::channel();
        let pid = rustix::process::Pid::from_child(&guest);
        let waiter = std::thread::spawn(move || {
            let _ = sender.send(guest.wait());
        });
        let outcome = receiver.recv_timeout(Duration::from_secs(20));
        if outcome.is_err() {
            // The waiter has not reaped it yet, so the id is still this child's.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let _ = waiter.join();
        // The device turns the byte B into the exit status (B << 1) | 1.
        let answered = matches!(outcome, Ok(Ok(status)) if status.code() == Some(ANSWER << 1 | 1));
        Ok(if answered { Self::Kvm } else { Self::Tcg })
    }
}

/// The byte that the boot sector writes to the debug exit port.
const ANSWER: i32 = 0x2a;

fn boot_sector() -> Vec<u8> {
    // mov al, 0x2a; out 0xf4, al; hlt; jmp to hlt
    let mut sector = vec![0xb0, 0x2a, 0xe6, 0xf4, 0xf4, 0xeb, 0xfd];
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    sector
}
