//! Images made by the real tools, and blkid's and partx's opinion of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use ondisk::{Content, ReadAt, ReadError};

/// Directories of system tools, which an ordinary user's PATH often lacks.
const SYSTEM: &str = "/usr/sbin:/sbin";

/// An image file as a device.
pub struct Disk {
    file: File,
    size: u64,
    sector_size: u32,
}

impl Disk {
    pub fn open(path: &Path, sector_size: u32) -> Self {
        let file = File::open(path).unwrap();
        let size = file.metadata().unwrap().len();
        Self { file, size, sector_size }
    }
}

impl ReadAt for Disk {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ReadError> {
        let mut done = 0;
        while done < buf.len() {
            match self.file.read_at(&mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) => return Err(ReadError { offset, errno: error.raw_os_error().unwrap_or(5) }),
            }
        }
        Ok(done)
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn sector_size(&self) -> u32 {
        self.sector_size
    }
}

/// A directory of its own for one test, removed at the end.
pub struct Bench {
    dir: PathBuf,
}

impl Bench {
    /// `None` when one of `tools` is missing: then the test says so, or fails where tools are required.
    pub fn new(tools: &[&str]) -> Option<Self> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        for tool in ["blkid"].iter().chain(tools) {
            if !has(tool) {
                assert!(
                    std::env::var_os("ROOTWARD_REQUIRE_TOOLS").is_none_or(|value| value != "1"),
                    "{tool} is not installed, and ROOTWARD_REQUIRE_TOOLS=1 demands it"
                );
                // Not through the print macros, which the test runner hides for tests that pass.
                let _ = writeln!(std::io::stderr(), "skipped: no {tool}");
                return None;
            }
        }
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("ondisk-oracle-{}-{number}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        Some(Self { dir })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A sparse file of `size` bytes.
    pub fn image(&self, size: u64) -> PathBuf {
        let path = self.path("disk");
        File::create(&path).unwrap().set_len(size).unwrap();
        path
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn search_path() -> String {
    format!("{}:{SYSTEM}", std::env::var("PATH").unwrap_or_default())
}

fn has(tool: &str) -> bool {
    search_path().split(':').any(|dir| Path::new(dir).join(tool).is_file())
}

pub fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", search_path()).env("LC_ALL", "C");
    command
}

/// Runs a tool that must succeed.
pub fn run(program: &str, args: &[&dyn AsRef<std::ffi::OsStr>]) {
    run_with_input(program, args, "");
}

pub fn run_with_input(program: &str, args: &[&dyn AsRef<std::ffi::OsStr>], input: &str) -> Output {
    let mut child = command(program)
        .args(args)
        // sfdisk drops what the locale cannot print.
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Overwrites bytes of an image.
pub fn poke(path: &Path, offset: u64, bytes: &[u8]) {
    File::options().write(true).open(path).unwrap().write_all_at(bytes, offset).unwrap();
}

pub fn identify(path: &Path) -> Content {
    ondisk::identify(&Disk::open(path, 512)).unwrap()
}

/// Names and raw values; what blkid prints beside them is not ours to say.
pub type Tags = BTreeMap<String, Vec<u8>>;

const COMPARED: [&str; 7] = ["TYPE", "UUID", "UUID_SUB", "LABEL", "VERSION", "PTTYPE", "PTUUID"];

/// `blkid -p -o export`, unescaped; `None` when blkid calls the device ambivalent (exit status 8).
pub fn blkid(path: &Path) -> Option<Tags> {
    let output = command("blkid").args(["-p", "-o", "export"]).arg(path).output().unwrap();
    match output.status.code() {
        Some(8) => return None,
        // Exit status 2 is "nothing found".
        Some(0 | 2) => {}
        other => panic!("blkid: {other:?} {}", String::from_utf8_lossy(&output.stderr)),
    }
    let mut tags = Tags::new();
    for line in output.stdout.split(|byte| *byte == b'\n') {
        if let Some(at) = line.iter().position(|byte| *byte == b'=') {
            let name = String::from_utf8_lossy(&line[..at]).into_owned();
            if COMPARED.contains(&name.as_str()) {
                tags.insert(name, unescape(&line[at + 1..]));
            }
        }
    }
    // In that format a label that is not ASCII cannot be told from one that looks like its M-C notation.
    if let Some(label) = tags.get_mut("LABEL") {
        let output = command("blkid").args(["-p", "-o", "value", "-s", "LABEL"]).arg(path).output().unwrap();
        *label = output.stdout.strip_suffix(b"\n").unwrap().to_vec();
    }
    Some(tags)
}

/// Undoes `\xNN` and `\C`.
pub fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        rest = match rest {
            [b'\\', b'x', high, low, after @ ..] => {
                let digits = String::from_utf8(vec![*high, *low]).unwrap();
                out.push(u8::from_str_radix(&digits, 16).unwrap());
                after
            }
            [b'\\', escaped, after @ ..] => {
                out.push(*escaped);
                after
            }
            _ => {
                out.push(*first);
                tail
            }
        };
    }
    out
}

/// What we say, in the same form.
pub fn ours(content: &Content) -> Option<Tags> {
    if content.is_ambiguous() {
        return None;
    }
    let mut tags = Tags::new();
    let mut put = |name: &str, value: Option<Vec<u8>>| {
        if let Some(value) = value {
            tags.insert(name.into(), value);
        }
    };
    if let Some(signature) = content.only() {
        put("TYPE", Some(signature.kind.name().into()));
        put("UUID", signature.uuid.clone().map(Into::into));
        put("UUID_SUB", signature.uuid_sub.clone().map(Into::into));
        put("LABEL", signature.label.clone());
        put("VERSION", signature.version.clone().map(Into::into));
    }
    if let Some(table) = &content.table {
        put("PTTYPE", Some(if table.gpt { "gpt" } else { "dos" }.into()));
        put("PTUUID", Some(table.uuid.clone().into()).filter(|uuid: &Vec<u8>| !uuid.is_empty()));
    }
    Some(tags)
}

fn readable(tags: &Option<Tags>) -> String {
    match tags {
        None => "ambivalent".into(),
        Some(tags) => {
            tags.iter().map(|(name, value)| format!("{name}={}\n", value.escape_ascii())).collect::<String>()
        }
    }
}

/// Both opinions must be the same; returns ours.
pub fn agree(path: &Path) -> Content {
    let content = identify(path);
    let (ours, theirs) = (ours(&content), blkid(path));
    assert!(ours == theirs, "ours:\n{}blkid:\n{}", readable(&ours), readable(&theirs));
    content
}

/// The same, for an image of which the kind is known and of which nothing is doubtful.
pub fn agree_on(path: &Path, kind: ondisk::Kind) -> ondisk::Signature {
    let content = agree(path);
    let signature = content.only().unwrap_or_else(|| panic!("nothing found, expected {kind:?}")).clone();
    assert_eq!(signature.kind, kind);
    assert_eq!(signature.doubt, None);
    assert_eq!(content.rejected, []);
    udev_names_agree(path, &signature);
    signature
}

/// `blkid -o udev` prints labels in udev's two encodings.
fn udev_names_agree(path: &Path, signature: &ondisk::Signature) {
    let Some(label) = &signature.label else { return };
    let output = command("blkid").args(["-p", "-o", "udev"]).arg(path).output().unwrap().stdout;
    let value = |name: &str| {
        let prefix = format!("{name}=");
        let line = output.split(|byte| *byte == b'\n').find(|line| line.starts_with(prefix.as_bytes()))?;
        Some(line[prefix.len()..].to_vec())
    };
    // blkid gives up where the encoded label does not fit into 256 bytes.
    if ondisk::udev_encode::encode(label).len() < 250 {
        let encoded = value("ID_FS_LABEL_ENC").expect("ID_FS_LABEL_ENC");
        assert_eq!(
            encoded.escape_ascii().to_string(),
            ondisk::udev_encode::encode(label).as_bytes().escape_ascii().to_string()
        );
    }
    let safe = value("ID_FS_LABEL").unwrap_or_default();
    assert_eq!(
        safe.escape_ascii().to_string(),
        ondisk::udev_encode::safe(label).as_bytes().escape_ascii().to_string()
    );
}
