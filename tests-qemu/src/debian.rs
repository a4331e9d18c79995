//! Packages of any Debian suite, through a private apt configuration next to the machine's own.
//!
//! The archive's address and its keys come from /etc/apt (see [`sources`]); apt verifies every index by
//! its signature and every file by the index. Nothing of the machine's own apt state is touched, so a
//! Debian 12 machine can take a kernel or a root file system from trixie, as an ordinary user too.
//! `.deb` files are kept in the cache under the SHA-256 that the index promised.

pub mod sources;

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

pub use sources::Mirror;

/// How long package indexes are used before they are fetched again.
const INDEX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Debian's own keyring; it holds the keys of all supported releases, which a `Signed-By` need not.
const DEBIAN_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Why a package could not be had.
#[derive(Debug)]
pub enum Error {
    /// A file or directory of the cache could not be read or written.
    Io(PathBuf, io::Error),
    /// A program failed; its last words are kept.
    Program {
        /// The command line, for a human to repeat.
        command: String,
        /// What it wrote to standard error.
        stderr: String,
    },
    /// apt is not configured for a Debian archive.
    NoMirror,
    /// The suite has no such package, or its index lacks a hash for it.
    NoPackage {
        /// Suite that was searched.
        suite: String,
        /// Package that was asked for.
        package: String,
    },
    /// A file is not what the index promised.
    Hash(PathBuf),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Program { command, stderr } => write!(f, "`{command}` failed: {}", stderr.trim()),
            Self::NoMirror => f.write_str(
                "no Debian archive found in /etc/apt; set ROOTWARD_DEBIAN_MIRROR to the address of one \
                 (its keys are taken from the package debian-archive-keyring)",
            ),
            Self::NoPackage { suite, package } => write!(f, "suite {suite} has no package {package}"),
            Self::Hash(path) => {
                write!(f, "{}: not the content that the package index promised", path.display())
            }
        }
    }
}

impl std::error::Error for Error {}

/// Where everything downloaded or built once is kept: `$XDG_CACHE_HOME/rootward`, else
/// `~/.cache/rootward`. Never inside the checkout.
pub fn cache_root() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    base.unwrap_or_else(|| {
        PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".cache")
    })
    .join("rootward")
}

/// The Debian archive that this machine uses; `ROOTWARD_DEBIAN_MIRROR` overrides its address.
pub fn mirror() -> Result<Mirror, Error> {
    let debian_keyring = || Path::new(DEBIAN_KEYRING).exists().then(|| PathBuf::from(DEBIAN_KEYRING));
    if let Ok(uri) = std::env::var("ROOTWARD_DEBIAN_MIRROR") {
        return Ok(Mirror { uri, keyring: debian_keyring() });
    }
    let found = sources::mirror(Path::new("/etc/apt"), &host_codename()).ok_or(Error::NoMirror)?;
    Ok(Mirror { keyring: debian_keyring().or(found.keyring), ..found })
}

/// The code name of the running release (`bookworm`), from os-release(5).
pub fn host_codename() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    value.unwrap_or("stable").trim_matches('"').to_owned()
}

/// A private apt for one suite.
#[derive(Debug, Clone)]
pub struct Apt {
    suite: String,
    mirror: Mirror,
    cache: PathBuf,
    state: PathBuf,
}

impl Apt {
    /// Prepares a private apt for `suite` (`bookworm`, `bookworm-backports`, `trixie` ...) with its
    /// state and its downloads below `cache`, fetching the package indexes if they are a day old.
    pub fn for_suite(suite: &str, cache: &Path) -> Result<Self, Error> {
        let apt = Self {
            suite: suite.to_owned(),
            mirror: mirror()?,
            cache: cache.to_owned(),
            state: cache.join("apt").join(suite),
        };
        apt.prepare()?;
        Ok(apt)
    }

    /// The suite this apt looks at.
    pub fn suite(&self) -> &str {
        &self.suite
    }

    /// The archive it takes packages from.
    pub fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// The value of `APT_CONFIG` under which other programs (mmdebstrap, apt-cache) see this suite.
    pub fn config(&self) -> PathBuf {
        self.state.join("apt.conf")
    }

    /// A one-line sources.list(5) entry for this suite's binary packages.
    pub fn source_line(&self) -> String {
        self.mirror.line(&self.suite)
    }

    /// The candidate version of `package`.
    pub fn version(&self, package: &str) -> Result<String, Error> {
        self.field(package, "Version")
    }

    /// The names `package` depends on, first alternative each, without version conditions.
    pub fn depends(&self, package: &str) -> Result<Vec<String>, Error> {
        let field = self.field(package, "Depends")?;
        let name =
            |term: &str| term.split([' ', '(', '|', ':']).find(|word| !word.is_empty()).map(String::from);
        Ok(field.split(',').filter_map(name).collect())
    }

    /// One field of the package's record in the index; empty if the record lacks it.
    pub fn field(&self, package: &str, name: &str) -> Result<String, Error> {
        let record = self.output("apt-cache", &["show", "--no-all-versions", package])?;
        if record.trim().is_empty() {
            return Err(self.missing(package));
        }
        let prefix = format!("{name}: ");
        Ok(record.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_default().to_owned())
    }

    /// Downloads `package` for this machine's architecture and returns the path of its `.deb`, which
    /// stays in the cache under its SHA-256.
    pub fn download(&self, package: &str) -> Result<PathBuf, Error> {
        self.retried(|| self.download_now(package))
    }

    fn download_now(&self, package: &str) -> Result<PathBuf, Error> {
        let promised = self.promised(&["--print-uris", "download", package])?;
        let file = promised.into_iter().next().ok_or_else(|| self.missing(package))?;
        let directory = self.cache.join("debs").join(&file.sha256);
        let path = directory.join(&file.name);
        if path.exists() {
            return Ok(path);
        }
        let _lock = lock(&self.state.join("lock"))?;
        if path.exists() {
            return Ok(path);
        }
        let partial = self.state.join("partial");
        fresh_directory(&partial)?;
        self.run_in(&partial, "apt-get", &["-q", "download", package])?;
        let fetched = partial.join(&file.name);
        if sha256(&fetched)? != file.sha256 {
            return Err(Error::Hash(fetched));
        }
        fs::create_dir_all(&directory).map_err(|error| Error::Io(directory, error))?;
        fs::rename(&fetched, &path).map_err(|error| Error::Io(path.clone(), error))?;
        Ok(path)
    }

    /// The SHA-256 and name of every file that makes up the source of `package`, without downloading.
    pub fn source_files(&self, package: &str) -> Result<Vec<SourceFile>, Error> {
        let files = self.promised(&["--print-uris", "--only-source", "source", package])?;
        if files.is_empty() { Err(self.missing(package)) } else { Ok(files) }
    }

    /// Downloads the source of `package` into the directory `into`, verifies it and unpacks it there
    /// with Debian's patches applied; returns the unpacked tree, `into/PACKAGE`.
    pub fn source(&self, package: &str, into: &Path) -> Result<PathBuf, Error> {
        self.retried(|| self.source_now(package, into))
    }

    fn source_now(&self, package: &str, into: &Path) -> Result<PathBuf, Error> {
        fs::create_dir_all(into).map_err(|error| Error::Io(into.to_owned(), error))?;
        let files = self.source_files(package)?;
        self.run_in(into, "apt-get", &["-q", "--download-only", "--only-source", "source", package])?;
        let mut description = None;
        for file in &files {
            let path = into.join(&file.name);
            if sha256(&path)? != file.sha256 {
                return Err(Error::Hash(path));
            }
            if file.name.ends_with(".dsc") {
                description = Some(path);
            }
        }
        let description = description.ok_or_else(|| self.missing(package))?;
        let tree = into.join(package);
        // The description's own signature is a person's; the chain that counts is the signed index.
        let unpack = ["--no-check".as_ref(), "-x".as_ref(), description.as_os_str(), tree.as_os_str()];
        run(Command::new("dpkg-source").args(unpack))?;
        Ok(tree)
    }

    /// Does `work` again with newly fetched indexes if it fails: a release's point update removes files
    /// from the archive that a day-old index still names.
    fn retried<T>(&self, work: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
        work().or_else(|_| {
            let lock = lock(&self.state.join("lock"))?;
            self.update()?;
            drop(lock);
            work()
        })
    }

    /// Writes the configuration and fetches the indexes where they are missing or old.
    fn prepare(&self) -> Result<(), Error> {
        let directory = |name: &str| {
            let path = self.state.join(name);
            fs::create_dir_all(&path).map_err(|error| Error::Io(path.clone(), error))
        };
        for name in ["lists/partial", "archives/partial", "empty"] {
            directory(name)?;
        }
        let _lock = lock(&self.state.join("lock"))?;
        let stamp = self.state.join("updated");
        let mut changed = self.write("sources.list", &self.source_lists())?;
        changed |= self.write("apt.conf", &self.configuration())?;
        self.write("status", "")?;
        let fresh = fs::metadata(&stamp)
            .and_then(|meta| meta.modified())
            .is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age < INDEX_LIFETIME));
        if changed || !fresh {
            self.update()?;
            File::create(&stamp).map_err(|error| Error::Io(stamp, error))?;
        }
        Ok(())
    }

    /// Fetches the package indexes now.
    fn update(&self) -> Result<(), Error> {
        // Appearance data and file lists, which other packages' configuration asks for, are not needed.
        let mut options = vec!["-q".to_owned()];
        for target in ["DEP-11", "DEP-11-icons-small", "DEP-11-icons", "Contents-deb", "Contents-dsc"] {
            options.push("-o".to_owned());
            options.push(format!("Acquire::IndexTargets::deb::{target}::DefaultEnabled=false"));
        }
        options.extend(["-o".to_owned(), "APT::Update::Error-Mode=any".to_owned(), "update".to_owned()]);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        self.run_in(&self.state, "apt-get", &options)
    }

    /// Lines for the suite and, if it is an add-on like `bookworm-backports`, for its base release.
    fn source_lists(&self) -> String {
        let base = self.suite.split('-').next().unwrap_or(&self.suite);
        let mut suites = vec![self.suite.as_str()];
        if base != self.suite {
            suites.push(base);
        }
        let mut text = String::new();
        for suite in suites {
            let line = self.mirror.line(suite);
            text += &format!("{line}\n{}\n", line.replacen("deb ", "deb-src ", 1));
        }
        text
    }

    fn configuration(&self) -> String {
        let state = self.state.display();
        format!(
            "Dir::Etc::sourcelist \"{state}/sources.list\";\n\
             Dir::Etc::sourceparts \"{state}/empty\";\n\
             Dir::Etc::preferences \"{state}/empty/preferences\";\n\
             Dir::Etc::preferencesparts \"{state}/empty\";\n\
             Dir::State \"{state}\";\n\
             Dir::State::lists \"{state}/lists\";\n\
             Dir::State::status \"{state}/status\";\n\
             Dir::Cache \"{state}\";\n\
             Dir::Cache::archives \"{state}/archives\";\n\
             APT::Default-Release \"{}\";\n\
             APT::Sandbox::User \"\";\n\
             Acquire::Languages \"none\";\n\
             Acquire::Retries \"3\";\n",
            self.suite
        )
    }

    /// Writes a file of the private state; true if it was not there or said something else.
    fn write(&self, name: &str, text: &str) -> Result<bool, Error> {
        let path = self.state.join(name);
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            return Ok(false);
        }
        fs::write(&path, text).map_err(|error| Error::Io(path, error))?;
        Ok(true)
    }

    /// Runs apt-get with `--print-uris` and reads its lines `'URI' NAME SIZE SHA256:HEX`.
    fn promised(&self, arguments: &[&str]) -> Result<Vec<SourceFile>, Error> {
        let listing = self.output("apt-get", arguments)?;
        let file = |line: &str| {
            let mut words = line.strip_prefix('\'')?.split_whitespace().skip(1);
            let name = words.next()?.to_owned();
            let sha256 = words.find_map(|word| word.strip_prefix("SHA256:"))?.to_owned();
            Some(SourceFile { name, sha256 })
        };
        Ok(listing.lines().filter_map(file).collect())
    }

    fn missing(&self, package: &str) -> Error {
        Error::NoPackage { suite: self.suite.clone(), package: package.to_owned() }
    }

    fn output(&self, program: &str, arguments: &[&str]) -> Result<String, Error> {
        let output = finish(self.command(program).args(arguments))?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    }

    fn run_in(&self, directory: &Path, program: &str, arguments: &[&str]) -> Result<(), Error> {
        run(self.command(program).args(arguments).current_dir(directory))
    }

    /// A program of apt's that sees this suite. Container images switch apt's own cache off, without
    /// which each call reads all indexes anew.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.config()).env("LC_ALL", "C");
        command.args([
            "-o",
            "Dir::Cache::pkgcache=pkgcache.bin",
            "-o",
            "Dir::Cache::srcpkgcache=srcpkgcache.bin",
        ]);
        command
    }
}

/// One file of a source package, as the signed index describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// File name without directory.
    pub name: String,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
}

impl Mirror {
    /// A one-line sources.list(5) entry for `suite`, component main.
    pub fn line(&self, suite: &str) -> String {
        match &self.keyring {
            Some(keyring) => format!("deb [signed-by={}] {} {suite} main", keyring.display(), self.uri),
            None => format!("deb {} {suite} main", self.uri),
        }
    }
}

/// Unpacks the file system of `deb` into `into`, which is created if missing.
pub fn unpack(deb: &Path, into: &Path) -> Result<(), Error> {
    fs::create_dir_all(into).map_err(|error| Error::Io(into.to_owned(), error))?;
    run(Command::new("dpkg-deb").arg("-x").arg(deb).arg(into))
}

/// SHA-256 of a file, in lower-case hexadecimal, by coreutils.
pub fn sha256(path: &Path) -> Result<String, Error> {
    let output = finish(Command::new("sha256sum").arg("--").arg(path))?;
    let text = String::from_utf8_lossy(&output);
    let word = text.split_whitespace().next().unwrap_or_default();
    // A name with a backslash or newline makes sha256sum prefix its line with a backslash.
    Ok(word.trim_start_matches('\\').to_owned())
}

/// An exclusive lock on the file `path` between processes and threads, held until dropped.
pub fn lock(path: &Path) -> Result<File, Error> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|error| Error::Io(parent.to_owned(), error))?;
    }
    let file = File::create(path).map_err(|error| Error::Io(path.to_owned(), error))?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)
        .map_err(|error| Error::Io(path.to_owned(), error.into()))?;
    Ok(file)
}

/// Makes `path` an empty directory.
fn fresh_directory(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Error::Io(path.to_owned(), error));
        }
        _ => {}
    }
    fs::create_dir_all(path).map_err(|error| Error::Io(path.to_owned(), error))
}

fn run(command: &mut Command) -> Result<(), Error> {
    finish(command).map(drop)
}

/// Runs a program to its end and returns its standard output.
fn finish(command: &mut Command) -> Result<Vec<u8>, Error> {
    let line = || {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
    };
    let line = line();
    let output = command.stdin(Stdio::null()).output().map_err(|error| Error::Program {
        command: line.clone(),
        stderr: format!("cannot be started: {error}"),
    })?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(Error::Program { command: line, stderr: String::from_utf8_lossy(&output.stderr).into_owned() })
    }
}
