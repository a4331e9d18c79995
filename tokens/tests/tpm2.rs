//! Keys that systemd-cryptenroll has sealed with swtpm, unsealed and given to cryptsetup.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokens::tpm2::{Tpm2Error, Tpm2Token};

/// A TPM, and a LUKS2 container in a file.
struct Bed {
    directory: PathBuf,
    port: u16,
    tpm: Child,
}

impl Bed {
    fn new(name: &str) -> Bed {
        let directory = std::env::temp_dir().join(format!("rootward-tpm2-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).expect("directory");
        fs::write(directory.join("passphrase"), "pass").expect("passphrase");
        let port = ports();
        let tpm = start(&directory, "state", port);
        let bed = Bed { directory, port, tpm };
        bed.run("truncate", &["-s", "20M", "disk"]);
        let cheap = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
        bed.run(
            "cryptsetup",
            &[&["luksFormat", "-q", "--type", "luks2"], &cheap[..], &["disk", "passphrase"]].concat(),
        );
        // A PCR that was never extended is refused as meaningless.
        bed.extend(7);
        bed
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(&self.directory)
            .env("PASSWORD", "pass")
            .env("NEWPIN", "1234")
            .output()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Enrols a key and gives back its token.
    fn enrol(&self, arguments: &[&str]) -> Tpm2Token {
        let tpm = format!("--tpm2-device=swtpm:host=127.0.0.1,port={}", self.port);
        self.run(
            "systemd-cryptenroll",
            &[&[tpm.as_str(), "--wipe-slot=tpm2"], arguments, &["disk"]].concat(),
        );
        let json = (0..8)
            .map(|id| {
                let id = id.to_string();
                Command::new("cryptsetup")
                    .args(["token", "export", "--token-id", &id, "disk"])
                    .current_dir(&self.directory)
                    .output()
                    .expect("cryptsetup")
            })
            .find(|output| output.status.success())
            .expect("a token");
        Tpm2Token::read(&serde_json::from_slice(&json.stdout).expect("JSON")).expect("a token")
    }

    fn transmit(stream: &mut TcpStream, command: &[u8]) -> Vec<u8> {
        stream.write_all(command).expect("command");
        let mut answer = vec![0_u8; 4096];
        let length = stream.read(&mut answer).expect("answer");
        answer.truncate(length);
        answer
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).expect("swtpm")
    }

    fn unseal(&self, token: &Tpm2Token, pin: Option<&str>) -> Result<Vec<u8>, Tpm2Error> {
        let mut stream = self.connect();
        let mut seed = 1_u8;
        let mut random = |buffer: &mut [u8]| {
            for byte in buffer {
                seed = seed.wrapping_mul(5).wrapping_add(3);
                *byte = seed;
            }
        };
        let mut transmit = |command: &[u8]| Ok(Self::transmit(&mut stream, command));
        let key = token.unseal(pin.map(str::as_bytes), &mut random, &mut transmit)?;
        Ok(key.to_vec())
    }

    /// `TPM2_PCR_Extend` with an empty password and a SHA-256 digest.
    fn extend(&self, pcr: u32) {
        let mut command = [&[0x80, 2, 0, 0, 0, 65, 0, 0, 1, 0x82][..], &pcr.to_be_bytes()].concat();
        command.extend([0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0x0b]);
        command.extend([7; 32]);
        let answer = Self::transmit(&mut self.connect(), &command);
        assert_eq!(answer.get(6..10), Some(&[0, 0, 0, 0][..]), "{answer:?}");
    }

    fn opens(&self, key: &[u8]) {
        fs::write(self.directory.join("key"), key).expect("key");
        self.run("cryptsetup", &["open", "--test-passphrase", "--key-file", "key", "disk"]);
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = self.tpm.kill();
        let _ = self.tpm.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Two free ports in a row: swtpm's control channel is one above.
fn ports() -> u16 {
    for _ in 0..100 {
        let first = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = first.local_addr().expect("its number").port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return port;
        }
    }
    panic!("no two free ports in a row");
}

#[expect(clippy::zombie_processes, reason = "a test that panics takes it along")]
fn start(directory: &std::path::Path, state: &str, port: u16) -> Child {
    let state = directory.join(state);
    fs::create_dir_all(&state).expect("state");
    let tpm = Command::new("swtpm")
        .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
        .arg("--tpmstate")
        .arg(format!("dir={}", state.display()))
        .args([
            "--server",
            &format!("type=tcp,port={port}"),
            "--ctrl",
            &format!("type=tcp,port={}", port + 1),
        ])
        .stdout(Stdio::null())
        .spawn()
        .expect("swtpm");
    for _ in 0..200 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return tpm;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("swtpm does not answer");
}

#[test]
fn bound_to_a_register() {
    let mut bed = Bed::new("pcr");
    let token = bed.enrol(&["--tpm2-pcrs=7"]);
    assert!(!token.wants_pin() && !token.is_unencrypted());
    let key = bed.unseal(&token, None).expect("a key");
    bed.opens(&key);
    assert_eq!(bed.unseal(&token, None).expect("again"), key, "nothing is left in the TPM");
    bed.extend(7);
    assert_eq!(bed.unseal(&token, None), Err(Tpm2Error::OtherState(vec![7])));
    // Another TPM.
    let _ = bed.tpm.kill();
    let _ = bed.tpm.wait();
    bed.port = ports();
    bed.tpm = start(&bed.directory, "other", bed.port);
    bed.extend(7);
    assert_eq!(bed.unseal(&token, None), Err(Tpm2Error::OtherTpm));
}

#[test]
fn bound_to_a_pin() {
    let bed = Bed::new("pin");
    let token = bed.enrol(&["--tpm2-pcrs=7", "--tpm2-with-pin=yes"]);
    assert!(token.wants_pin());
    assert_eq!(bed.unseal(&token, None), Err(Tpm2Error::WrongPin));
    assert_eq!(bed.unseal(&token, Some("12345")), Err(Tpm2Error::WrongPin));
    bed.opens(&bed.unseal(&token, Some("1234")).expect("a key"));
    // swtpm's limit is three, and the right one does not reset it.
    let wrong: Vec<_> = (0..4).map(|_| bed.unseal(&token, Some("0")).expect_err("wrong")).collect();
    assert_eq!(wrong.last(), Some(&Tpm2Error::LockedOut), "{wrong:?}");
    assert_eq!(bed.unseal(&token, Some("1234")), Err(Tpm2Error::LockedOut));
}

/// What somebody on the bus has changed is noticed, and the key does not cross it in the open.
#[test]
fn on_the_bus() {
    let bed = Bed::new("bus");
    let token = bed.enrol(&["--tpm2-pcrs=7"]);
    let key = bed.unseal(&token, None).expect("a key");
    let mut stream = bed.connect();
    let mut crossed = Vec::new();
    let mut random = |buffer: &mut [u8]| buffer.fill(9);
    let mut transmit = |command: &[u8]| {
        let mut answer = Bed::transmit(&mut stream, command);
        crossed.extend_from_slice(&answer);
        // TPM2_Unseal: a byte of the key.
        if command.get(6..10) == Some(&[0, 0, 1, 0x5e][..])
            && let Some(byte) = answer.get_mut(20)
        {
            *byte ^= 1;
        }
        Ok(answer)
    };
    let seen = token.unseal(None, &mut random, &mut transmit);
    assert!(matches!(seen, Err(Tpm2Error::Untrusted(_))), "{seen:?}");
    assert!(!crossed.windows(16).any(|part| key.windows(16).any(|of| part == of)));
}
