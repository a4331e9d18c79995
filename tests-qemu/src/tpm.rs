//! A TPM 2.0 for a guest: swtpm(8), whose state is a directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::Duration;

use crate::Error;
use crate::program::program;

/// A running swtpm. It ends with the guest that is connected to it, at the latest when dropped.
#[derive(Debug)]
pub struct Tpm {
    child: Child,
    socket: PathBuf,
}

/// What a TPM remembers without power, in its directory.
const STATE: &str = "tpm2-00.permall";

impl Tpm {
    /// Starts one with the state in `directory`, new if there is none, that answers at `socket`.
    pub fn start(directory: &Path, socket: PathBuf) -> Result<Self, Error> {
        fs::create_dir_all(directory).map_err(Error::io(directory))?;
        let mut command = program("setpriv");
        command.args(["--pdeathsig", "KILL", "swtpm", "socket", "--tpm2", "--terminate"]);
        command.arg("--tpmstate").arg(format!("dir={}", directory.display()));
        command.arg("--ctrl").arg(format!("type=unixio,path={}", socket.display()));
        command.arg("--log").arg(format!("file={}", directory.join("swtpm.log").display()));
        let child = command.spawn().map_err(Error::io("swtpm"))?;
        let tpm = Self { child, socket };
        for _ in 0..200 {
            if tpm.socket.exists() {
                return Ok(tpm);
            }
            sleep(Duration::from_millis(50));
        }
        Err(Error::Bed("swtpm did not start within 10 s".to_owned()))
    }

    /// Adds it to a machine.
    pub fn attach(&self, qemu: &mut Command) {
        qemu.args(["-chardev", &format!("socket,id=tpm,path={}", self.socket.display())]);
        qemu.args(["-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm0"]);
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.socket);
    }
}

/// Leaves nothing but the state in a TPM's directory, once it has ended.
pub fn settle(directory: &Path) -> Result<(), Error> {
    let state = directory.join(STATE);
    let bytes = fs::read(&state).map_err(Error::io(&state))?;
    crate::cache::remove(directory)?;
    fs::create_dir_all(directory).map_err(Error::io(directory))?;
    fs::write(&state, bytes).map_err(Error::io(&state))
}

/// A TPM with the same content, so that a guest does not change the first.
pub fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to).map_err(Error::io(to))?;
    fs::copy(from.join(STATE), to.join(STATE)).map_err(Error::io(from))?;
    Ok(())
}
