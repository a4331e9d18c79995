//! The TPM's device node (drivers/char/tpm/tpm-dev-common.c): a command is written, its answer read.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};

use engine::Failure;

/// The resource manager: what was loaded goes away with the descriptor. Only a TPM 2.0 has it.
const NODE: &str = "/dev/tpmrm0";

/// Longest answer (`TPM_BUFSIZE`).
const ANSWER: usize = 4096;

/// An open TPM 2.0.
#[derive(Debug)]
pub struct Tpm {
    node: String,
    file: File,
}

impl Tpm {
    /// Opens the TPM with this node, or the machine's own.
    ///
    /// # Errors
    ///
    /// [`Failure::NoKeyFile`] while its driver is not there, [`Failure::BadKey`] if there is none or it cannot be opened.
    pub fn open(node: Option<&str>) -> Result<Tpm, Failure> {
        let node = node.unwrap_or(NODE);
        match OpenOptions::new().read(true).write(true).open(node) {
            Ok(file) => Ok(Tpm { node: node.to_owned(), file }),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(missing(node, is_announced())),
            Err(error) => Err(Failure::BadKey(format!("cannot open {node}: {error}"))),
        }
    }

    /// Sends a command and waits for its answer.
    ///
    /// # Errors
    ///
    /// What the operating system said.
    pub fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, String> {
        self.file.write_all(command).map_err(|error| format!("cannot write to {}: {error}", self.node))?;
        let mut answer = vec![0_u8; ANSWER];
        let length = self
            .file
            .read(&mut answer)
            .map_err(|error| format!("cannot read from {}: {error}", self.node))?;
        answer.truncate(length);
        Ok(answer)
    }
}

/// Whether a TPM 2.0 may still appear: firmware with ACPI announces it in a table.
fn is_announced() -> bool {
    let tables = "/sys/firmware/acpi/tables";
    !fs::exists(tables).unwrap_or(false) || fs::exists(format!("{tables}/TPM2")).unwrap_or(false)
}

fn missing(node: &str, announced: bool) -> Failure {
    match announced {
        true => Failure::NoKeyFile(format!("{node} is not there (does the image have the TPM's driver?)")),
        false => {
            Failure::BadKey("this machine has no TPM 2.0, or it is switched off in the firmware".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there() {
        assert!(matches!(
            Tpm::open(Some("/dev/rootward-none")),
            Err(Failure::NoKeyFile(_) | Failure::BadKey(_))
        ));
        assert!(matches!(missing(NODE, true), Failure::NoKeyFile(why) if why.contains(NODE)));
        assert!(matches!(missing(NODE, false), Failure::BadKey(why) if why.contains("no TPM")));
    }

    #[test]
    fn commands_and_answers() {
        let path = std::env::temp_dir().join(format!("rootward-tpm-{}", std::process::id()));
        fs::write(&path, b"").expect("file");
        let path = path.to_string_lossy().into_owned();
        let mut tpm = Tpm::open(Some(&path)).expect("open");
        // A file gives back nothing behind what was written.
        assert_eq!(tpm.transmit(b"command"), Ok(Vec::new()));
        assert_eq!(fs::read(&path).expect("read"), b"command");
        fs::remove_file(path).expect("clean");
    }
}
