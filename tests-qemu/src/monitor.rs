//! QEMU's machine protocol (docs/interop/qmp-spec): one command at a time, events skipped.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use serde_json::{Value, json};

use crate::Error;

/// A connection on which capabilities were negotiated.
#[derive(Debug)]
pub struct Monitor {
    reader: BufReader<UnixStream>,
}

impl Monitor {
    /// Takes QEMU's connection. QEMU connects before it runs its guest, so this does not wait once the guest
    /// has said anything.
    pub fn accept(listener: &UnixListener) -> Result<Self, Error> {
        let failure = |error| Error::Bed(format!("QEMU's monitor: {error}"));
        let (stream, _) = listener.accept().map_err(failure)?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(failure)?;
        let mut monitor = Self { reader: BufReader::new(stream) };
        monitor.line()?;
        monitor.execute("qmp_capabilities", &json!({}))?;
        Ok(monitor)
    }

    /// Runs one command and returns its result.
    pub fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value, Error> {
        let request = json!({ "execute": command, "arguments": arguments });
        writeln!(self.reader.get_mut(), "{request}")
            .map_err(|error| Error::Bed(format!("QEMU's monitor: {error}")))?;
        loop {
            let reply = self.line()?;
            if let Some(value) = reply.get("return") {
                return Ok(value.clone());
            }
            if let Some(error) = reply.get("error") {
                return Err(Error::Bed(format!("QEMU refused {request}: {error}")));
            }
        }
    }

    fn line(&mut self) -> Result<Value, Error> {
        let mut line = String::new();
        let read = self.reader.read_line(&mut line);
        match read {
            Ok(0) => Err(Error::Bed("QEMU has closed its monitor".to_owned())),
            Ok(_) => serde_json::from_str(&line)
                .map_err(|error| Error::Bed(format!("QEMU's monitor said {line:?}: {error}"))),
            Err(error) => Err(Error::Bed(format!("QEMU's monitor: {error}"))),
        }
    }
}
