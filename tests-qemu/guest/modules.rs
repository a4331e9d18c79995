//! Loads modules with their dependencies from the root's own module tree (modules.dep in text form).

use std::fs::File;
use std::path::Path;

use crate::procfs;

/// Flag of finit_module(2) for compressed modules (include/uapi/linux/module.h, since Linux 5.17).
const COMPRESSED: i32 = 4;

/// Loads `name` and what it depends on; returns what was not loaded before. A module that is missing is
/// taken to be built in.
pub fn load(name: &str) -> Result<Vec<String>, String> {
    let release = procfs::text("/proc/sys/kernel/osrelease");
    let tree = format!("/lib/modules/{release}");
    let index = procfs::text(format!("{tree}/modules.dep"));
    let wanted = name.replace('-', "_");
    let line =
        index.lines().find(|line| line.split_once(':').is_some_and(|(path, _)| module_name(path) == wanted));
    let Some((path, dependencies)) = line.and_then(|line| line.split_once(':')) else {
        return Ok(Vec::new());
    };
    let mut loaded = Vec::new();
    // modules.dep lists the nearest dependency first, so the order of loading is the reverse.
    for path in dependencies.split_whitespace().rev().chain([path]) {
        let module = module_name(path);
        if Path::new("/sys/module").join(&module).join("refcnt").exists() {
            continue;
        }
        let file = File::open(format!("{tree}/{path}")).map_err(|error| format!("{tree}/{path}: {error}"))?;
        let flags = if path.ends_with(".ko") { 0 } else { COMPRESSED };
        match rustix::system::finit_module(&file, c"", flags) {
            Ok(()) => loaded.push(module),
            Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(format!("loading {module}: {error}")),
        }
    }
    Ok(loaded)
}

fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}
