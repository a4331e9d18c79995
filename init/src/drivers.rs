//! Loading modules: the files of the image around the engine's [`LoadQueue`], and the system calls.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::io::Read;
use std::path::{Path, PathBuf};

use cmdline::plan::ModulePlan;
use engine::event::Driverless;
use engine::modules::class::is_storage_modalias;
use engine::modules::{Catalog, Class, Files, LoadQueue, Reason, Status, Why};
use engine::{DriverFacts, Failure};
use ondisk::kmod::Config;
use ondisk::kmod::config::effective_order;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::decompress::{self, Packing};
use crate::error::{Context, InitError, Result};

/// Modules that the image wants loaded at once, one name per line: what the builder knows this machine's root needs.
const PRELOAD: &str = "etc/rootward/preload";

/// Where modprobe.d(5) files lie, highest precedence first.
const CONFIGURATION: [&str; 5] =
    ["etc/modprobe.d", "run/modprobe.d", "usr/local/lib/modprobe.d", "usr/lib/modprobe.d", "lib/modprobe.d"];

/// dracut's name for it, so that tools which look for it find it.
const BLACKLIST: &str = "run/modprobe.d/initramfsblacklist.conf";

/// `MODULE_INIT_COMPRESSED_FILE` (include/uapi/linux/module.h, Linux 5.17).
const COMPRESSED_FILE: i32 = 4;

/// Everything about modules that the main thread keeps.
#[derive(Debug)]
pub struct Loader {
    queue: LoadQueue,
    directory: PathBuf,
    sys: PathBuf,
    /// What the kernel unpacks itself: the contents of `/sys/module/compression`; empty when nothing.
    kernel_unpacks: String,
    /// `rd.driver.post=`, until it has been asked for.
    post: Vec<String>,
    /// The first devices have been reported.
    coldplugged: bool,
    /// The image has no index at all: a kernel with everything built in.
    bare: bool,
    failed: Vec<(String, i32)>,
    news: bool,
}

/// One module to load, on a worker.
#[derive(Debug)]
pub struct Job {
    name: String,
    path: PathBuf,
    params: String,
    kernel_unpacks: bool,
}

/// What became of it.
#[derive(Debug)]
pub struct Finished {
    name: String,
    result: Result<()>,
}

impl Loader {
    /// Reads the running kernel's module indexes and the configuration of the image. What is missing or damaged is
    /// named in the log; the boot goes on with what there is.
    #[must_use]
    pub fn open(plan: &ModulePlan) -> Loader {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let loader = Loader::open_below(Path::new("/"), &release, plan);
        write_blacklist(Path::new("/"), &plan.blacklist);
        loader
    }

    fn open_below(root: &Path, release: &str, plan: &ModulePlan) -> Loader {
        let directory = root.join("lib/modules").join(release);
        let config = configuration(root, &directory);
        for line in &config.ignored {
            log::info!(
                "{}:{}: `{} {}` is not obeyed here",
                line.origin,
                line.line,
                line.directive,
                line.module
            );
        }
        let bare = !INDEXES.iter().any(|name| directory.join(name).exists());
        if bare {
            report_missing_index(root, release);
        }
        let catalog = catalog(&directory, config, plan);
        let sizes = directory.clone();
        let size_of =
            Box::new(move |path: &str| std::fs::metadata(sizes.join(path)).map_or(0, |file| file.len()));
        let mut queue = LoadQueue::new(catalog, plan, size_of);
        for name in text(&root.join("proc/modules")).lines().filter_map(|line| line.split(' ').next()) {
            queue.already_loaded(name);
        }
        for name in text(&root.join(PRELOAD)).lines().map(str::trim) {
            if !name.is_empty() && !name.starts_with('#') {
                queue.request(name, Why::Hint);
            }
        }
        let kernel_unpacks = text(&root.join("sys/module/compression")).trim().to_owned();
        Loader {
            queue,
            directory,
            sys: root.join("sys"),
            kernel_unpacks,
            post: plan.post.clone(),
            coldplugged: false,
            bare,
            failed: Vec::new(),
            news: false,
        }
    }

    /// Asks for the driver of the device with this path below `/sys`.
    pub fn request_modalias(&mut self, modalias: &str, devpath: &str) {
        self.coldplugged = true;
        let status = self.queue.request(modalias, Why::Device(devpath.to_owned()));
        self.news |= matches!(status, Status::Failed(_)) && is_storage_modalias(modalias);
    }

    /// Asks for modules that had better be there early; one that is not in the image is no matter.
    pub fn hint(&mut self, names: &[&str]) {
        for name in names {
            self.queue.request(name, Why::Hint);
        }
    }

    /// Asks for modules by name or alias; [`Loader::outcome`] says what became of them.
    pub fn request(&mut self, names: &[String]) {
        for name in names {
            self.queue.request(name, Why::Explicit);
        }
    }

    /// Keyboards may be loaded from now on.
    pub fn allow_input(&mut self) {
        self.queue.allow(Class::Input);
    }

    /// Everything may be loaded from now on.
    pub fn allow_rest(&mut self) {
        self.queue.allow(Class::Input);
        self.queue.allow(Class::Rest);
    }

    /// The next module that can be loaded now. When storage has settled, that is one of `rd.driver.post=`.
    pub fn take_job(&mut self) -> Option<Job> {
        let mut next = self.queue.next();
        if next.is_none() && self.coldplugged && !self.post.is_empty() && self.queue.urgent_done() {
            let post = std::mem::take(&mut self.post);
            self.request(&post);
            next = self.queue.next();
        }
        let job = next?;
        let packing = Packing::of_path(&job.path);
        Some(Job {
            kernel_unpacks: packing.kernel_name() == Some(self.kernel_unpacks.as_str()),
            path: self.directory.join(&job.path),
            name: job.name,
            params: job.params,
        })
    }

    /// Takes the result of a job.
    pub fn finished(&mut self, finished: Finished) {
        let Finished { name, result } = finished;
        match &result {
            Ok(()) => log::debug!("loaded {name}"),
            // The ordinary answer of an accelerated cipher on a CPU without the instruction.
            Err(error) if error.errno() == Some(Errno::NODEV.raw_os_error()) => log::info!("{error}"),
            Err(error) => log::warn!("{error}"),
        }
        let errno = result.map_err(|error| error.errno().unwrap_or(Errno::NOEXEC.raw_os_error()));
        if let Err(errno) = errno {
            self.failed.push((name.clone(), errno));
            self.news = true;
        }
        self.queue.finished(&name, errno);
    }

    /// What became of a request: `None` while it is not decided.
    #[must_use]
    pub fn outcome(&self, names: &[String]) -> Option<Result<(), Failure>> {
        let mut failure = None;
        for name in names {
            match self.queue.status(name) {
                Status::Pending => return None,
                Status::Ready => {}
                // A kernel without modules has built in what it has, and says so only when it is used.
                Status::Failed(Reason::Absent) if self.bare => {}
                Status::Failed(reason) => failure = failure.or_else(|| Some(failure_of(name, reason))),
            }
        }
        Some(failure.map_or(Ok(()), Err))
    }

    /// How many jobs are out.
    #[must_use]
    pub fn running(&self) -> usize {
        self.queue.running()
    }

    /// Whether storage still waits for modules: 0 when not, else how many are being loaded at least.
    #[must_use]
    pub fn pending(&self) -> usize {
        if self.queue.urgent_done() { 0 } else { self.queue.running().max(1) }
    }

    /// Whether something failed or is missing that the last [`Loader::facts`] did not tell.
    #[must_use]
    pub fn news(&self) -> bool {
        self.news
    }

    /// The state for the engine.
    pub fn facts(&mut self) -> DriverFacts {
        self.news = false;
        let missing = self.queue.missing().into_iter().filter(|missing| missing.reason == Reason::Absent);
        let driverless = missing
            .filter_map(|missing| Some(Driverless { devpath: missing.device?, modalias: missing.want }));
        DriverFacts {
            pending: self.pending(),
            driverless: driverless
                .filter(|device| is_storage_modalias(&device.modalias) && self.is_unbound(&device.devpath))
                .collect(),
            failed: self.failed.clone(),
        }
    }
}

impl Loader {
    /// Whether the device is there and has no driver. What a built-in driver binds to shows only here: most kernels
    /// leave the device tables of built-in modules out of `modules.builtin.modinfo`.
    fn is_unbound(&self, devpath: &str) -> bool {
        let device = self.sys.join(devpath);
        device.exists() && !device.join("driver").exists()
    }
}

fn failure_of(name: &str, reason: Reason) -> Failure {
    match reason {
        Reason::Absent => Failure::NoModule(name.to_owned()),
        Reason::Blacklisted(modules) => Failure::Other(format!(
            "{name} needs {}, which is blacklisted; name the module in rd.driver.pre= to load it all the same",
            modules.join(" or ")
        )),
        Reason::Refused(module, errno) => Failure::Os { what: format!("load module {module}"), errno },
    }
}

impl Job {
    /// Loads it; blocks for as long as the module's own initialisation takes.
    #[must_use]
    pub fn run(self) -> Finished {
        let result = self.load().or_else(|error| match error.errno() {
            // Somebody was faster.
            Some(errno) if errno == Errno::EXIST.raw_os_error() => Ok(()),
            Some(errno) => Err(match advice(Errno::from_raw_os_error(errno), &self.params) {
                Some(advice) => error.advise(advice),
                None => error,
            }),
            None => Err(error),
        });
        Finished { name: self.name, result }
    }

    fn load(&self) -> Result<()> {
        let params = CString::new(self.params.as_str())
            .map_err(|_| InitError::unfit(&self.name, "its parameters contain a NUL byte"))?;
        let what = || format!("load module {}", self.name);
        let fd = rustix::fs::open(&self.path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .on("open module", &self.path)?;
        let packing = Packing::of_path(&self.path.to_string_lossy());
        if packing == Packing::Plain {
            return rustix::system::finit_module(&fd, &params, 0).context(what);
        }
        if self.kernel_unpacks {
            match rustix::system::finit_module(&fd, &params, COMPRESSED_FILE) {
                // A kernel that says so and cannot after all; or one whose decoder finds the file too much.
                Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOMEM) => {}
                outcome => return outcome.context(what),
            }
        }
        let mut file = std::fs::File::from(fd);
        let mut data = Vec::new();
        file.read_to_end(&mut data).on("read module", &self.path)?;
        let image = decompress::unpack(&self.name, packing, data)?;
        rustix::system::init_module(&image, &params).context(what)
    }
}

/// What errno does not say by itself (kernel/module/main.c).
fn advice(errno: Errno, params: &str) -> Option<String> {
    let text = match errno {
        Errno::NOENT => "the image lacks it or a module that it needs; the kernel log names missing symbols",
        Errno::NOEXEC => "it was built for another kernel: build the image again for this one",
        Errno::BUSY => "another copy of it is still being loaded or removed",
        Errno::KEYREJECTED | Errno::NOKEY | Errno::BADMSG => {
            "the kernel accepts signed modules only, and this signature is not one that it trusts"
        }
        Errno::PERM | Errno::ACCESS => "the kernel is locked down, or module_blacklist= forbids it",
        Errno::NODEV => "there is no device for it on this machine",
        Errno::INVAL if !params.is_empty() => return Some(format!("are its parameters right? {params}")),
        _ => return None,
    };
    Some(text.to_owned())
}

const INDEXES: [&str; 4] =
    ["modules.dep.bin", "modules.alias.bin", "modules.builtin.bin", "modules.builtin.alias.bin"];

/// Parses the indexes; one that is damaged is left out.
fn catalog(directory: &Path, config: Config, plan: &ModulePlan) -> Catalog {
    let mut damaged: Vec<&str> = Vec::new();
    loop {
        let index =
            |name: &str| if damaged.contains(&name) { Vec::new() } else { bytes(&directory.join(name)) };
        let [dep, alias, builtin, builtin_alias] = INDEXES.map(index);
        let files = Files { dep, alias, builtin, builtin_alias };
        match Catalog::new(files, config.clone(), plan) {
            Ok(catalog) => return catalog,
            Err(error) => {
                log::error!("{}/{error}; it is left out, so drivers may be missing", directory.display());
                // Ends: an empty file is never damaged, so each round names another one.
                damaged.push(error.file);
            }
        }
    }
}

fn configuration(root: &Path, modules: &Path) -> Config {
    let mut config = Config::default();
    let directories = CONFIGURATION.map(|directory| root.join(directory));
    let names: Vec<Vec<String>> = directories.iter().map(|directory| file_names(directory)).collect();
    for (number, name) in effective_order(&names) {
        if let Some(directory) = directories.get(number) {
            let path = directory.join(&name);
            config.add(&path.to_string_lossy(), &text(&path));
        }
    }
    config.add_declared(&text(&modules.join("modules.softdep")));
    config
}

fn file_names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// An image for another kernel is the commonest mistake, and the message that it deserves is not "no driver".
fn report_missing_index(root: &Path, release: &str) {
    let kernels: BTreeSet<String> = file_names(&root.join("lib/modules")).into_iter().collect();
    if kernels.is_empty() {
        log::info!("the image has no modules; the boot depends on what kernel {release} has built in");
    } else if kernels.contains(release) {
        log::error!(
            "lib/modules/{release} of the image has no modules.dep.bin: run depmod and build the image again"
        );
    } else {
        let kernels = kernels.into_iter().collect::<Vec<_>>().join(", ");
        log::error!(
            "the image has modules for {kernels}, but this is kernel {release}: build it for this kernel"
        );
    }
}

/// Keeps `rd.driver.blacklist=` for the real system, which reads `/run/modprobe.d` as well.
fn write_blacklist(root: &Path, names: &[String]) {
    if names.is_empty() {
        return;
    }
    let path = root.join(BLACKLIST);
    let lines: String = names.iter().map(|name| format!("blacklist {name}\n")).collect();
    let directory = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    if let Err(error) = directory.and_then(|()| std::fs::write(&path, lines)) {
        log::warn!("cannot write {}: {error}; the real system may load what is blacklisted", path.display());
    }
}

/// The contents of a file; a missing one is empty.
fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| {
        if error.kind() != std::io::ErrorKind::NotFound {
            log::warn!("cannot read {}: {error}", path.display());
        }
        Vec::new()
    })
}

fn text(path: &Path) -> String {
    String::from_utf8(bytes(path))
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(name: &str) -> PathBuf {
        let root = std::env::temp_dir().join(format!("rootward-drivers-{name}-{}", std::process::id()));
        std::fs::create_dir_all(root.join("proc")).unwrap();
        root
    }

    #[test]
    fn a_kernel_without_modules_has_everything() {
        let root = root("bare");
        let mut loader = Loader::open_below(&root, "6.1.0", &ModulePlan::default());
        let names = ["fs-ext4".to_owned()];
        loader.request(&names);
        assert!(loader.take_job().is_none());
        assert_eq!(loader.outcome(&names), Some(Ok(())));
        assert_eq!(loader.pending(), 0);
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_device_without_driver_is_named_and_a_bound_one_is_not() {
        let root = root("driverless");
        for device in ["sys/devices/a", "sys/devices/b/driver"] {
            std::fs::create_dir_all(root.join(device)).unwrap();
        }
        let mut loader = Loader::open_below(&root, "6.1.0", &ModulePlan::default());
        for (modalias, devpath) in [
            ("virtio:d00000002v1", "devices/a"),
            ("virtio:d00000008v1", "devices/b"),
            ("scsi:t-0x00", "devices/gone"),
        ] {
            loader.request_modalias(modalias, devpath);
        }
        assert!(loader.news());
        let facts = loader.facts();
        std::fs::remove_dir_all(&root).unwrap();
        let names: Vec<&str> = facts.driverless.iter().map(|device| device.devpath.as_str()).collect();
        assert_eq!(names, ["devices/a"]);
        assert!(!loader.news(), "told once");
    }

    #[test]
    fn damaged_indexes_are_left_out_one_by_one() {
        let root = root("damaged");
        let modules = root.join("lib/modules/6.1.0");
        std::fs::create_dir_all(&modules).unwrap();
        for name in INDEXES {
            std::fs::write(modules.join(name), "this is not an index").unwrap();
        }
        let mut loader = Loader::open_below(&root, "6.1.0", &ModulePlan::default());
        let names = ["ext4".to_owned()];
        loader.request(&names);
        assert_eq!(loader.outcome(&names), Some(Err(Failure::NoModule("ext4".into()))));
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn configuration_and_blacklist_are_where_modprobe_looks() {
        let root = root("conf");
        for (path, text) in [
            ("etc/modprobe.d/a.conf", "options ext4 x=1\n"),
            ("lib/modprobe.d/a.conf", "options ext4 masked=1\n"),
            ("lib/modprobe.d/b.conf", "blacklist floppy\n"),
            ("lib/modules/6.1.0/modules.softdep", "softdep ext4 pre: crc32c\n"),
        ] {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        write_blacklist(&root, &["pcspkr".to_owned(), "nouveau".to_owned()]);
        let config = configuration(&root, &root.join("lib/modules/6.1.0"));
        let text = std::fs::read_to_string(root.join(BLACKLIST)).unwrap();
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(text, "blacklist pcspkr\nblacklist nouveau\n");
        assert_eq!(config.options, [("ext4".into(), "x=1".into())]);
        assert_eq!(
            config.blacklist.iter().map(String::as_str).collect::<Vec<_>>(),
            ["floppy", "nouveau", "pcspkr"]
        );
        assert_eq!(config.softdep("ext4").pre, ["crc32c"]);
    }

    #[test]
    fn a_file_that_is_no_module_is_refused_with_advice() {
        let root = root("job");
        let path = root.join("x.ko.xz");
        std::fs::write(&path, "not xz").unwrap();
        let job =
            |path: PathBuf| Job { name: "x".into(), path, params: String::new(), kernel_unpacks: false };
        let error = job(path.clone()).run().result.unwrap_err();
        assert!(error.to_string().contains("build it again"), "{error}");
        let error = job(root.join("missing.ko")).run().result.unwrap_err();
        assert!(error.to_string().contains("image lacks it"), "{error}");
        std::fs::remove_dir_all(&root).unwrap();
    }
}
