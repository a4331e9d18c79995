//! From a name or modalias to modules, as modprobe(8) would decide.

use std::collections::BTreeSet;
use std::fmt;

use cmdline::plan::ModulePlan;
use ondisk::kmod::config::SoftDep;
use ondisk::kmod::{Config, Index, KmodError, alias_name, glob, module_name, name_of_path};

/// More nested softdeps than any kernel has; beyond it they are not followed.
const MAX_DEPTH: usize = 64;

/// The files of one kernel version; an empty one stands for a missing file.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// `modules.dep.bin`
    pub dep: Vec<u8>,
    /// `modules.alias.bin`
    pub alias: Vec<u8>,
    /// `modules.builtin.bin`
    pub builtin: Vec<u8>,
    /// `modules.builtin.alias.bin`
    pub builtin_alias: Vec<u8>,
}

/// An index that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogError {
    /// Its file name.
    pub file: &'static str,
    /// What is wrong with it.
    pub cause: KmodError,
}

impl fmt::Display for CatalogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.cause)
    }
}

impl std::error::Error for CatalogError {}

/// All modules of a kernel, with what the administrator says about them.
#[derive(Debug)]
pub struct Catalog {
    dep: Option<Index>,
    alias: Option<Index>,
    builtin: Option<Index>,
    builtin_alias: Option<Index>,
    config: Config,
    /// From modprobe.d and the command line together.
    blacklist: BTreeSet<String>,
    params: Vec<(String, String)>,
}

/// What a name or modalias stands for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lookup {
    /// Modules to load, in order.
    pub modules: Vec<String>,
    /// Whether they were found by an alias and not by their own name.
    pub aliased: bool,
    /// Whether the kernel has it built in.
    pub builtin: bool,
    /// Modules that would have been loaded but for a blacklist.
    pub blacklisted: Vec<String>,
}

impl Lookup {
    /// Nothing in the image and nothing in the kernel.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.modules.is_empty() && !self.builtin && self.blacklisted.is_empty()
    }
}

/// One module as `modules.dep` knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Name with underscores.
    pub name: String,
    /// Path below `/lib/modules/VERSION`; absolute for modules kept elsewhere.
    pub path: String,
    /// Names of all modules that have to be loaded before, in order.
    pub deps: Vec<String>,
    /// Softdeps; the names can be aliases.
    pub soft: SoftDep,
}

/// One load of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Module.
    pub name: String,
    /// Path below `/lib/modules/VERSION`.
    pub path: String,
    /// Parameters for the kernel.
    pub params: String,
    /// Whether its failure stops the plan; false for softdeps.
    pub required: bool,
}

impl Catalog {
    /// Takes the indexes, the parsed modprobe.d and the command line's words about drivers.
    ///
    /// modprobe.d(5): a blacklist makes *aliases* of a module be ignored; a module that is named, or that another
    /// one depends upon, is loaded all the same. `rd.driver.post=` modules count as blacklisted until they are named.
    ///
    /// # Errors
    /// An index that is there and is not one.
    pub fn new(files: Files, config: Config, plan: &ModulePlan) -> Result<Self, CatalogError> {
        let index = |data: Vec<u8>, file| {
            let parsed = (!data.is_empty()).then(|| Index::parse(data)).transpose();
            parsed.map_err(|cause| CatalogError { file, cause })
        };
        let mut blacklist = config.blacklist.clone();
        blacklist.extend(plan.blacklist.iter().chain(&plan.post).map(|name| module_name(name)));
        Ok(Catalog {
            dep: index(files.dep, "modules.dep.bin")?,
            alias: index(files.alias, "modules.alias.bin")?,
            builtin: index(files.builtin, "modules.builtin.bin")?,
            builtin_alias: index(files.builtin_alias, "modules.builtin.alias.bin")?,
            config,
            blacklist,
            params: plan.params.iter().map(|(module, param)| (module_name(module), param.clone())).collect(),
        })
    }

    /// modprobe.d's lines that are not obeyed, for one warning each.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Looks where libkmod looks, and stops where it stops: aliases of modprobe.d, module names, aliases that the
    /// modules declare, built-in modules and their aliases (`kmod_module_new_from_lookup`).
    ///
    /// A damaged index counts as one that does not have the name.
    #[must_use]
    pub fn lookup(&self, want: &str) -> Lookup {
        let Some(want) = alias_name(want) else { return Lookup::default() };
        let configured = self.config.aliases.iter().filter(|(pattern, _)| glob::matches(pattern, &want));
        let configured: Vec<String> = configured.map(|(_, module)| module.clone()).collect();
        if !configured.is_empty() {
            return self.aliased(configured);
        }
        if !want.contains(':') && self.dep_line(&want).is_some() {
            return Lookup { modules: vec![want], ..Lookup::default() };
        }
        let declared =
            self.alias.as_ref().and_then(|index| index.search_wild(&want).ok()).unwrap_or_default();
        if !declared.is_empty() {
            return self.aliased(declared.iter().map(|found| found.value.to_owned()).collect());
        }
        Lookup { builtin: self.is_builtin(&want), ..Lookup::default() }
    }

    fn aliased(&self, names: Vec<String>) -> Lookup {
        let mut lookup = Lookup { aliased: true, ..Lookup::default() };
        for name in names {
            if self.blacklist.contains(&name) || name == "off" {
                lookup.blacklisted.push(name);
            } else if self.dep_line(&name).is_some() {
                lookup.modules.push(name);
            } else {
                lookup.builtin |= self.is_builtin(&name);
            }
        }
        lookup
    }

    fn is_builtin(&self, name: &str) -> bool {
        let named = self.builtin.as_ref().and_then(|index| index.search(name).ok()).flatten().is_some();
        let aliased = |index: &Index| index.search_wild(name).is_ok_and(|found| !found.is_empty());
        named || self.builtin_alias.as_ref().is_some_and(aliased)
    }

    fn dep_line(&self, name: &str) -> Option<(&str, &str)> {
        self.dep.as_ref()?.search(name).ok()??.split_once(':')
    }

    /// What `modules.dep` and the softdeps say about a module; `None` when it is not in the image.
    #[must_use]
    pub fn module(&self, name: &str) -> Option<Module> {
        let name = module_name(name);
        let (path, deps) = self.dep_line(&name)?;
        // depmod writes the module that everything else stands on last.
        let deps = deps.split_ascii_whitespace().rev().map(name_of_path).filter(|dep| *dep != name);
        Some(Module { path: path.to_owned(), deps: deps.collect(), soft: self.config.softdep(&name), name })
    }

    /// Parameters for a module: modprobe.d's for its name and for the alias that led to it, then the command line's.
    #[must_use]
    pub fn params(&self, name: &str, alias: Option<&str>) -> String {
        let applies = |key: &String| key == name || Some(key.as_str()) == alias;
        let options = self.config.options.iter().filter(|(key, _)| applies(key));
        let typed = self.params.iter().filter(|(key, _)| applies(key));
        let mut all = String::new();
        for text in options.map(|(_, text)| text.clone()).chain(typed.map(|(_, param)| quoted(param))) {
            if !all.is_empty() {
                all.push(' ');
            }
            all.push_str(&text);
        }
        all
    }

    /// All loads for one request, in modprobe's order (`kmod_module_get_probe_list`): for each module that is needed
    /// its softdeps before, itself, its softdeps after. [`super::LoadQueue`] runs the same things side by side.
    #[must_use]
    pub fn plan(&self, want: &str) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut visited = BTreeSet::new();
        let lookup = self.lookup(want);
        let alias = if lookup.aliased { alias_name(want) } else { None };
        for name in &lookup.modules {
            self.probe_list(name, alias.as_deref(), true, 0, &mut visited, &mut steps);
        }
        steps
    }

    fn probe_list(
        &self,
        name: &str,
        alias: Option<&str>,
        required: bool,
        depth: usize,
        visited: &mut BTreeSet<String>,
        steps: &mut Vec<Step>,
    ) {
        if depth > MAX_DEPTH || !visited.insert(name.to_owned()) {
            return;
        }
        let Some(module) = self.module(name) else { return };
        for dep in module.deps.iter().filter_map(|dep| self.module(dep)) {
            // A dependency can have been visited as somebody's softdep, and the other way round.
            if !steps.iter().any(|step| step.name == dep.name) {
                visited.insert(dep.name.clone());
                self.with_softdeps(&dep, None, required, depth, visited, steps);
            }
        }
        self.with_softdeps(&module, alias, required, depth, visited, steps);
    }

    fn with_softdeps(
        &self,
        module: &Module,
        alias: Option<&str>,
        required: bool,
        depth: usize,
        visited: &mut BTreeSet<String>,
        steps: &mut Vec<Step>,
    ) {
        let soft = |names: &[String], visited: &mut BTreeSet<String>, steps: &mut Vec<Step>| {
            for name in names {
                let lookup = self.lookup_softdep(name);
                for found in &lookup {
                    self.probe_list(found, Some(name), false, depth.saturating_add(1), visited, steps);
                }
            }
        };
        soft(&module.soft.pre, visited, steps);
        // A softdep that depends on the very module has loaded it meanwhile.
        if steps.iter().any(|step| step.name == module.name) {
            return;
        }
        let params = self.params(&module.name, alias);
        steps.push(Step { name: module.name.clone(), path: module.path.clone(), params, required });
        soft(&module.soft.post, visited, steps);
    }

    /// The modules of a softdep; libkmod applies no blacklist to those.
    #[must_use]
    pub fn lookup_softdep(&self, name: &str) -> Vec<String> {
        let Lookup { mut modules, blacklisted, .. } = self.lookup(name);
        modules.extend(blacklisted.into_iter().filter(|name| self.dep_line(name).is_some()));
        modules
    }
}

/// The kernel splits parameters at blanks outside of double quotes (`lib/cmdline.c`, `next_arg`).
fn quoted(param: &str) -> String {
    match param.split_once('=') {
        Some((key, value)) if value.contains([' ', '\t']) && !value.contains('"') => {
            format!("{key}=\"{value}\"")
        }
        _ => param.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn names(steps: &[Step]) -> Vec<&str> {
        steps.iter().map(|step| step.name.as_str()).collect()
    }

    #[test]
    fn order_of_lookup() {
        let catalog = testing::catalog(
            &["fs/ext4: fs/jbd2 fs/mbcache", "fs/jbd2:", "fs/mbcache:", "drivers/ahci:", "drivers/mine:"],
            &[("pci:v8086d*", "ahci"), ("fs_ext4", "ext4")],
            "alias pci:v8086d7* mine\n",
            &ModulePlan::default(),
        );
        assert_eq!(catalog.lookup("ext4").modules, ["ext4"]);
        assert!(!catalog.lookup("ext4").aliased);
        assert_eq!(catalog.lookup("fs-ext4").modules, ["ext4"]);
        assert_eq!(catalog.lookup("pci:v8086d9").modules, ["ahci"]);
        assert_eq!(catalog.lookup("pci:v8086d7").modules, ["mine"]);
        assert!(catalog.lookup("btrfs").is_absent());
        assert!(catalog.lookup("unix").builtin);
        assert!(catalog.lookup("net-pf-1").builtin);
        assert!(catalog.lookup("bad]").is_absent());
        assert_eq!(names(&catalog.plan("fs-ext4")), ["mbcache", "jbd2", "ext4"]);
    }

    #[test]
    fn blacklist_holds_for_aliases_only() {
        let plan = ModulePlan {
            blacklist: vec!["a-b".into()],
            post: vec!["late".into()],
            params: vec![("a_b".into(), "x=1 2".into())],
            ..ModulePlan::default()
        };
        let catalog = testing::catalog(
            &["d/a-b:", "d/needs: d/a-b", "d/late:"],
            &[("dev:1*", "a_b"), ("dev:1*", "late"), ("dev:2", "needs")],
            "options a_b y\noptions dev:1 z=3",
            &plan,
        );
        let lookup = catalog.lookup("dev:1");
        assert_eq!(lookup.modules, [""; 0]);
        assert_eq!(lookup.blacklisted, ["a_b", "late"]);
        assert!(!lookup.is_absent());
        assert_eq!(names(&catalog.plan("a-b")), ["a_b"]);
        assert_eq!(names(&catalog.plan("dev:2")), ["a_b", "needs"]);
        assert_eq!(catalog.params("a_b", None), "y x=\"1 2\"");
        assert_eq!(catalog.params("a_b", Some("dev:1")), "y z=3 x=\"1 2\"");
    }

    #[test]
    fn softdeps_around_every_module() {
        let catalog = testing::catalog(
            &["c/top: c/base", "c/base:", "c/p:", "c/q:", "c/r: c/top"],
            &[("crypto-p", "p")],
            "softdep base pre: crypto-p nothing post: q\nsoftdep q pre: base\nsoftdep top pre: r",
            &ModulePlan::default(),
        );
        // `r` needs `top`, which is its own cause: the loop is cut, not followed.
        assert_eq!(names(&catalog.plan("base")), ["p", "base", "q"]);
        let top = catalog.plan("top");
        assert_eq!(names(&top)[..3], ["p", "base", "q"]);
        assert_eq!(top.iter().filter(|step| step.name == "top").count(), 1);
        assert_eq!(top.iter().map(|step| step.required).collect::<Vec<_>>()[..3], [false, true, false]);
    }
}
