//! Runs the tools that the bed relies on.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::Error;

/// A command in the C locale whose PATH has root's directories too (mkfs, depmod, sfdisk live there).
#[must_use]
pub fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin")).env("LC_ALL", "C");
    command
}

/// Runs to the end; standard output on success.
pub fn output(command: &mut Command) -> Result<String, Error> {
    feed(command, b"")
}

/// Runs to the end with `input` on standard input; standard output on success.
pub fn feed(command: &mut Command, input: &[u8]) -> Result<String, Error> {
    Ok(String::from_utf8_lossy(&pipe(command, input)?).into_owned())
}

/// Runs to the end with `input` on standard input, which may be larger than a pipe holds; standard output on success.
pub fn pipe(command: &mut Command, input: &[u8]) -> Result<Vec<u8>, Error> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line = words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ");
    let failure = |text: String| Error::Program { command: line.clone(), stderr: text };
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| failure(format!("cannot be started: {error}")))?;
    let stdin = child.stdin.take();
    let output = std::thread::scope(|scope| {
        scope.spawn(|| {
            if let Some(mut stdin) = stdin {
                // A program that ends without reading all of its input says why by its status.
                let _ = stdin.write_all(input);
            }
        });
        child.wait_with_output()
    });
    let output = output.map_err(|error| failure(error.to_string()))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let stdout = String::from_utf8_lossy(&output.stdout);
        Err(failure(if stderr.trim().is_empty() { stdout.into_owned() } else { stderr.into_owned() }))
    }
}
