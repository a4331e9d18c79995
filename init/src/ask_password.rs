//! systemd's password agent protocol (<https://systemd.io/PASSWORD_AGENTS/>): whoever watches `/run/systemd/ask-password`
//! (a splash screen, a network agent that the image brings along) can answer the open question.
//!
//! A question is a file `ask.*` that names a datagram socket; an answer is `+` and the passphrase, or `-`. Both are gone as
//! soon as the question is closed, so that no agent of the real root finds one that nobody waits for.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use zeroize::Zeroize as _;

use crate::secret::{PASSPHRASE_MAX, Secret};

/// Where agents look.
pub const DIRECTORY: &str = "/run/systemd/ask-password";

/// An open question.
#[derive(Debug)]
pub struct Question {
    socket: UnixDatagram,
    address: PathBuf,
    file: PathBuf,
}

impl AsFd for Question {
    /// Readable when an agent has answered.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Question {
    /// Puts a question into `directory`; `number` tells it from those of before, `device` (below `/dev`) is what the
    /// answer opens: agents that look it up find it by that (systemd-cryptsetup's `Id=`).
    ///
    /// # Errors
    ///
    /// When the files cannot be made; nothing of them is left then.
    pub fn open(directory: &Path, number: u64, message: &str, device: Option<&str>) -> io::Result<Question> {
        fs::create_dir_all(directory)?;
        let address = directory.join(format!("sck.rootward{number}"));
        let socket = UnixDatagram::bind(&address)?;
        let question = Question { socket, address, file: directory.join(format!("ask.rootward{number}")) };
        // Only root may answer.
        fs::set_permissions(&question.address, fs::Permissions::from_mode(0o600))?;
        question.socket.set_nonblocking(true)?;
        let text = format!(
            "[Ask]\nPID={}\nSocket={}\nAcceptCached=0\nEcho=0\nNotAfter=0\nSilent=0\nMessage={}:\nIcon=drive-harddisk\nId=cryptsetup{}\n",
            std::process::id(),
            question.address.display(),
            message.replace(|letter: char| letter.is_control(), " "),
            device.map(|device| format!(":/dev/{device}")).unwrap_or_default(),
        );
        // Agents take what is moved into the directory: it has to be whole by then.
        let staged = directory.join(format!("tmp.rootward{number}"));
        let moved = fs::write(&staged, text).and_then(|()| fs::rename(&staged, &question.file));
        if moved.is_err() {
            let _ = fs::remove_file(&staged);
        }
        moved.map(|()| question)
    }

    /// The next answer, if there is one: the passphrase, or `None` when an agent has given up.
    pub fn answer(&self) -> Option<Option<Secret>> {
        // The sign before the passphrase, and the NUL that systemd's own agents send after it.
        let mut packet = Secret::from(vec![0; PASSPHRASE_MAX.saturating_add(2)]);
        let length = self.socket.recv(packet.bytes_mut()).ok()?;
        let (sign, text) = packet.bytes().get(..length)?.split_first()?;
        if *sign != b'+' {
            return Some(None);
        }
        // Several passphrases may come at once, each with its NUL; one question takes one.
        let first = text.split(|byte| *byte == 0).next().unwrap_or_default();
        let mut secret = Secret::with_capacity(PASSPHRASE_MAX);
        secret.push(first);
        packet.bytes_mut().zeroize();
        Some(Some(secret))
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
        let _ = fs::remove_file(&self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("rootward-ask-{name}-{}", std::process::id()))
    }

    fn listed(directory: &Path) -> usize {
        fs::read_dir(directory).map_or(0, Iterator::count)
    }

    #[test]
    fn an_agent_answers() {
        let directory = directory("answer");
        let question = Question::open(&directory, 7, "Passphrase for\nsda", Some("sda")).expect("a question");
        let text = fs::read_to_string(directory.join("ask.rootward7")).expect("the file");
        assert!(text.starts_with("[Ask]\nPID="), "{text}");
        assert!(text.contains("\nMessage=Passphrase for sda:\n"), "{text}");
        assert!(text.contains("\nId=cryptsetup:/dev/sda\n"), "{text}");
        let socket = text.lines().find_map(|line| line.strip_prefix("Socket=")).expect("a socket");
        assert_eq!(fs::metadata(socket).expect("the socket").permissions().mode() & 0o777, 0o600);
        assert!(question.answer().is_none(), "nobody has answered yet");
        let agent = UnixDatagram::unbound().expect("an agent");
        for (packet, expected) in [
            (&b"+correct horse\0"[..], Some(&b"correct horse"[..])),
            (b"+without NUL", Some(b"without NUL")),
            (b"+one\0two\0", Some(b"one")),
            (b"+", Some(b"")),
            (b"-", None),
        ] {
            agent.send_to(packet, socket).expect("sent");
            let answer = question.answer().expect("an answer").map(|secret| secret.bytes().to_vec());
            assert_eq!(answer.as_deref(), expected);
        }
        agent.send_to(&[b'+'; 5000], socket).expect("sent");
        let long = question.answer().expect("an answer").map(|secret| secret.bytes().len());
        assert_eq!(long, Some(PASSPHRASE_MAX), "never more than that");
        drop(question);
        assert_eq!(listed(&directory), 0, "both files are gone");
        fs::remove_dir(&directory).expect("clean");
    }

    #[test]
    fn a_place_that_cannot_be_written_leaves_nothing() {
        let directory = directory("refused");
        fs::create_dir_all(directory.join("ask.rootward1/x")).expect("a directory in its place");
        assert!(Question::open(&directory, 1, "x", None).is_err());
        assert_eq!(listed(&directory), 1);
        fs::remove_dir_all(&directory).expect("clean");
    }
}
