//! Which module is loaded next: dependencies first, what leads to root before the rest, cheap before dear.
//!
//! The queue holds every module that was asked for and what it needs, and hands out only jobs that can run at once,
//! so any number of workers may take them. It follows modprobe where the two can be compared: a module whose hard
//! dependency failed is not tried (the kernel would answer ENOENT for its symbols), a failed softdep changes nothing.
//! It differs in one point: where several modules offer one crypto algorithm, one that loads is enough, and the
//! accelerated ones are tried first, since the kernel keeps the implementation that it finds at first use.

use std::collections::BTreeMap;

use cmdline::plan::ModulePlan;
use ondisk::kmod::{alias_name, module_name};

use super::class::implementation_rank;
use super::request::{Job, Missing, Reason, State, Status, Why};
use super::{Catalog, Class};

/// Linux EEXIST: somebody else loaded it, which is as good.
const EEXIST: i32 = 17;
/// Linux ENOENT: what the kernel says of symbols that no loaded module has.
const ENOENT: i32 = 2;
/// Linux ELOOP: for modules that wait for each other.
const ELOOP: i32 = 40;

/// Any one of these loads, or the only one.
#[derive(Debug, Clone)]
struct Group {
    members: Vec<usize>,
}

#[derive(Debug)]
struct Node {
    name: String,
    path: String,
    params: String,
    size: u64,
    state: State,
    hard: Vec<usize>,
    soft: Vec<Group>,
    post: Vec<String>,
    /// `None` is explicit, which sorts before every class.
    level: Option<Class>,
    /// Whether its needs have been looked up.
    linked: bool,
}

#[derive(Debug)]
struct Target {
    group: Group,
    level: Option<Class>,
}

#[derive(Debug)]
struct Request {
    device: Option<String>,
    /// Modules of which at least one has to load; empty when nothing answers.
    members: Vec<usize>,
    builtin: bool,
    blacklisted: Vec<String>,
}

/// Size in bytes of the module file with this path below `/lib/modules/VERSION`; 0 when it is not known.
pub type SizeOf = Box<dyn FnMut(&str) -> u64 + Send>;

/// The scheduler. It holds no file and makes no call; [`Job`]s are run by whoever asks for them.
pub struct LoadQueue {
    catalog: Catalog,
    size_of: SizeOf,
    nodes: Vec<Node>,
    by_name: BTreeMap<String, usize>,
    requests: BTreeMap<String, Request>,
    targets: Vec<Target>,
    allowed: [bool; 3],
    running: usize,
}

impl LoadQueue {
    /// An empty queue that hands out explicit and urgent modules, and has `rd.driver.pre=` of the plan in it already.
    pub fn new(catalog: Catalog, plan: &ModulePlan, size_of: SizeOf) -> Self {
        let mut queue = LoadQueue {
            catalog,
            size_of,
            nodes: Vec::new(),
            by_name: BTreeMap::new(),
            requests: BTreeMap::new(),
            targets: Vec::new(),
            allowed: [true, false, false],
            running: 0,
        };
        for name in &plan.pre {
            queue.request(name, Why::Explicit);
        }
        queue
    }

    /// The catalog behind it.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Asks for a module by name or alias. Asking again is free, and makes it explicit if it was not.
    pub fn request(&mut self, want: &str, why: Why) -> Status {
        let (explicit, hint) = (why == Why::Explicit, why == Why::Hint);
        if let Some(request) = self.requests.get(want) {
            if explicit && !request.members.is_empty() {
                let members = request.members.clone();
                self.aim(&members, want, |_| None);
            }
            return self.status(want);
        }
        let lookup = self.catalog.lookup(want);
        let modules = match why {
            Why::SoftDep => self.catalog.lookup_softdep(want),
            _ => lookup.modules,
        };
        let alias = if lookup.aliased { alias_name(want) } else { None };
        let members: Vec<usize> =
            modules.iter().filter_map(|name| self.node(name, alias.as_deref())).collect();
        let device = if let Why::Device(path) = why { Some(path) } else { None };
        let (builtin, blacklisted) = (lookup.builtin, lookup.blacklisted);
        self.requests
            .insert(want.to_owned(), Request { device, members: members.clone(), builtin, blacklisted });
        self.aim(&members, want, |path| match (explicit, hint) {
            (true, _) => None,
            (_, true) => Some(Class::Urgent),
            _ => Some(Class::of_path(path)),
        });
        self.status(want)
    }

    /// Makes targets of the members: one for all where one is enough, else one for each.
    fn aim(&mut self, members: &[usize], want: &str, level: impl Fn(&str) -> Option<Class>) {
        for group in self.groups(members, want) {
            let first = group.members.first().and_then(|n| self.nodes.get(*n));
            let Some(level) = first.map(|node| level(&node.path)) else { continue };
            for member in &group.members {
                if let Some(node) = self.nodes.get_mut(*member) {
                    node.level = node.level.min(level);
                }
            }
            self.targets.push(Target { group, level });
        }
    }

    /// Splits what answers to a name into what has to be loaded: alternatives of one algorithm stay together.
    fn groups(&self, members: &[usize], want: &str) -> Vec<Group> {
        let rank = |n: &usize| self.nodes.get(*n).and_then(|node| implementation_rank(&node.path));
        if members.len() > 1 && !want.contains(':') && members.iter().all(|n| rank(n).is_some()) {
            let mut members = members.to_vec();
            // Of the accelerated ones the largest knows the widest registers; where those are missing it says ENODEV.
            members.sort_by_key(|n| (rank(n), std::cmp::Reverse(self.nodes.get(*n).map(|node| node.size))));
            return vec![Group { members }];
        }
        members.iter().map(|n| Group { members: vec![*n] }).collect()
    }

    /// The node of a module, made with everything that it needs when it is new.
    fn node(&mut self, name: &str, alias: Option<&str>) -> Option<usize> {
        let first = self.insert(name, alias)?;
        let mut unlinked = vec![first];
        while let Some(n) = unlinked.pop() {
            let Some(node) = self.nodes.get_mut(n).filter(|node| !node.linked) else { continue };
            node.linked = true;
            let name = node.name.clone();
            let Some(module) = self.catalog.module(&name) else { continue };
            let hard: Vec<Option<usize>> = module.deps.iter().map(|dep| self.insert(dep, None)).collect();
            let mut soft = Vec::new();
            for want in &module.soft.pre {
                let found = self.catalog.lookup_softdep(want);
                let members: Vec<usize> =
                    found.iter().filter_map(|found| self.insert(found, Some(want))).collect();
                unlinked.extend(&members);
                soft.extend(self.groups(&members, want));
            }
            // A dependency that the image lacks leaves symbols undefined.
            let failure = hard.iter().find_map(|dep| match dep {
                None => Some(ENOENT),
                Some(dep) => self.failure(*dep),
            });
            let hard: Vec<usize> = hard.into_iter().flatten().collect();
            unlinked.extend(&hard);
            if let Some(node) = self.nodes.get_mut(n) {
                (node.hard, node.soft, node.post) = (hard, soft, module.soft.post);
            }
            if let Some(errno) = failure {
                self.fail(n, errno);
            }
        }
        Some(first)
    }

    /// The number of a module's node, which is bare at first.
    fn insert(&mut self, name: &str, alias: Option<&str>) -> Option<usize> {
        if let Some(n) = self.by_name.get(name) {
            return Some(*n);
        }
        let module = self.catalog.module(name)?;
        let n = self.nodes.len();
        self.by_name.insert(module.name.clone(), n);
        self.nodes.push(Node {
            params: self.catalog.params(&module.name, alias),
            size: (self.size_of)(&module.path),
            name: module.name,
            path: module.path,
            state: State::Wanted,
            hard: Vec::new(),
            soft: Vec::new(),
            post: Vec::new(),
            level: Some(Class::Rest),
            linked: false,
        });
        Some(n)
    }

    /// Lets modules of this class be handed out.
    pub fn allow(&mut self, class: Class) {
        if let Some(allowed) = self.allowed.get_mut(class as usize) {
            *allowed = true;
        }
    }

    /// Holds modules of this class back again.
    pub fn hold(&mut self, class: Class) {
        if let Some(allowed) = self.allowed.get_mut(class as usize) {
            *allowed = false;
        }
    }

    fn is_allowed(&self, level: Option<Class>) -> bool {
        level.is_none_or(|class| self.allowed.get(class as usize).copied().unwrap_or(false))
    }

    /// The next module that can be loaded now; `None` while there is none, which a later `finished` can change.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator that ends does not begin again; this one does"
    )]
    pub fn next(&mut self) -> Option<Job> {
        let settled: Vec<bool> =
            self.targets.iter().map(|target| self.current(&target.group).is_none()).collect();
        let mut settled = settled.into_iter();
        self.targets.retain(|_| !settled.next().unwrap_or(false));
        let mut stamps = vec![usize::MAX; self.nodes.len()];
        loop {
            let mut best: Option<(Option<Class>, u64, usize)> = None;
            let mut stuck = None;
            for (n, target) in self.targets.iter().enumerate() {
                if !self.is_allowed(target.level) || best.is_some_and(|best| best.0 < target.level) {
                    continue;
                }
                let survey = self.survey(&target.group, n, &mut stamps);
                match survey.ready {
                    Some(ready) => {
                        let offer = (target.level, survey.cost, ready);
                        // Equal offers go to the older request.
                        if best.is_none_or(|best| (offer.0, offer.1) < (best.0, best.1)) {
                            best = Some(offer);
                        }
                    }
                    None if survey.running => {}
                    None => stuck = stuck.or(survey.waiting),
                }
            }
            if let Some((_, _, ready)) = best {
                let node = self.nodes.get_mut(ready)?;
                node.state = State::Running;
                self.running = self.running.saturating_add(1);
                let (name, path, params) = (node.name.clone(), node.path.clone(), node.params.clone());
                return Some(Job { name, path, params });
            }
            // Modules that wait for each other: a softdep gives way, a hard dependency cannot.
            let node = self.nodes.get_mut(stuck?)?;
            if node.soft.is_empty() {
                self.fail(stuck?, ELOOP);
            } else {
                node.soft.clear();
            }
            stamps.fill(usize::MAX);
        }
    }

    /// The member that decides about a group now; `None` when nothing is left to do for it.
    fn current(&self, group: &Group) -> Option<usize> {
        for n in &group.members {
            match self.nodes.get(*n)?.state {
                State::Wanted | State::Running => return Some(*n),
                State::Loaded => return None,
                State::Failed(_) => {}
            }
        }
        None
    }

    /// Looks at everything that a target still needs.
    fn survey(&self, group: &Group, stamp: usize, stamps: &mut [usize]) -> Survey {
        let mut survey = Survey::default();
        let mut largest = 0;
        let mut open: Vec<usize> = self.current(group).into_iter().collect();
        while let Some(n) = open.pop() {
            let (Some(node), Some(seen)) = (self.nodes.get(n), stamps.get_mut(n)) else { continue };
            if std::mem::replace(seen, stamp) == stamp {
                continue;
            }
            if node.state == State::Running {
                survey.running = true;
            }
            if node.state != State::Wanted {
                continue;
            }
            survey.cost = survey.cost.saturating_add(node.size);
            let before = open.len();
            open.extend(
                node.hard.iter().filter(|n| !self.nodes.get(**n).is_some_and(|dep| dep.state.is_settled())),
            );
            open.extend(node.soft.iter().filter_map(|group| self.current(group)));
            if open.len() > before {
                // Prefer to break a loop where that costs nothing but a softdep.
                let soft = |n: usize| self.nodes.get(n).is_some_and(|node| !node.soft.is_empty());
                if survey.waiting.is_none_or(|waiting| !soft(waiting) && soft(n)) {
                    survey.waiting = Some(n);
                }
            } else if survey.ready.is_none() || node.size > largest {
                // Large ones first, so that the small ones fill the gaps of the other workers.
                (survey.ready, largest) = (Some(n), node.size);
            }
        }
        survey
    }

    /// Takes the result of a job: `Err` is the errno of finit_module(2) or of opening the file.
    pub fn finished(&mut self, name: &str, result: Result<(), i32>) {
        let Some(n) = self.by_name.get(&module_name(name)).copied() else { return };
        let Some(node) = self.nodes.get_mut(n).filter(|node| node.state == State::Running) else { return };
        self.running = self.running.saturating_sub(1);
        match result {
            Ok(()) | Err(EEXIST) => node.state = State::Loaded,
            Err(errno) => return self.fail(n, errno),
        }
        let (level, post) = (node.level, std::mem::take(&mut node.post));
        for want in post {
            let why = if level.is_none() { Why::Explicit } else { Why::SoftDep };
            self.request(&want, why);
        }
    }

    /// Notes a module that was in the kernel before the queue began, as `/proc/modules` shows.
    pub fn already_loaded(&mut self, name: &str) {
        if let Some(node) = self.node(&module_name(name), None).and_then(|n| self.nodes.get_mut(n))
            && node.state == State::Wanted
        {
            node.state = State::Loaded;
        }
    }

    fn failure(&self, n: usize) -> Option<i32> {
        match self.nodes.get(n)?.state {
            State::Failed(errno) => Some(errno),
            _ => None,
        }
    }

    /// A module cannot load when one that it depends upon did not.
    fn fail(&mut self, n: usize, errno: i32) {
        let mut failed = vec![n];
        while let Some(n) = failed.pop() {
            if let Some(node) = self.nodes.get_mut(n) {
                node.state = State::Failed(errno);
            }
            let doomed = |(_, node): &(usize, &Node)| node.state == State::Wanted && node.hard.contains(&n);
            failed.extend(self.nodes.iter().enumerate().filter(doomed).map(|(n, _)| n));
        }
    }

    /// What became of a request; one that was never made is `Absent`.
    #[must_use]
    pub fn status(&self, want: &str) -> Status {
        let Some(request) = self.requests.get(want) else { return Status::Failed(Reason::Absent) };
        let nodes = || request.members.iter().filter_map(|n| self.nodes.get(*n));
        let loaded = nodes().any(|node| node.state == State::Loaded);
        // One of several implementations is enough; of several drivers for one device each has its turn.
        if loaded && self.groups(&request.members, want).len() == 1 {
            return Status::Ready;
        }
        if nodes().any(|node| !node.state.is_settled()) {
            return Status::Pending;
        }
        let refused = nodes().find_map(|node| match node.state {
            State::Failed(errno) => Some((node.name.clone(), errno)),
            _ => None,
        });
        match refused {
            _ if loaded || request.builtin => Status::Ready,
            Some((name, errno)) => Status::Failed(Reason::Refused(name, errno)),
            None if !request.blacklisted.is_empty() => {
                Status::Failed(Reason::Blacklisted(request.blacklisted.clone()))
            }
            None => Status::Failed(Reason::Absent),
        }
    }

    /// Where a module is; `None` when nobody needs it.
    #[must_use]
    pub fn state(&self, name: &str) -> Option<State> {
        self.by_name.get(&module_name(name)).and_then(|n| self.nodes.get(*n)).map(|node| node.state)
    }

    /// How many jobs are out.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running
    }

    /// Whether, with the classes that are allowed now, nothing is running and nothing is left to hand out.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let open = |target: &Target| self.is_allowed(target.level) && self.current(&target.group).is_some();
        self.running == 0 && !self.targets.iter().any(open)
    }

    /// Whether everything explicit and urgent has been dealt with, whatever else is running.
    #[must_use]
    pub fn urgent_done(&self) -> bool {
        let urgent = |target: &&Target| target.level <= Some(Class::Urgent);
        !self.targets.iter().filter(urgent).any(|target| self.current(&target.group).is_some())
    }

    /// Every request that came to nothing, for the explanation of a boot that did not end.
    #[must_use]
    pub fn missing(&self) -> Vec<Missing> {
        let entry = |(want, request): (&String, &Request)| match self.status(want) {
            Status::Failed(reason) => {
                Some(Missing { want: want.clone(), device: request.device.clone(), reason })
            }
            _ => None,
        };
        self.requests.iter().filter_map(entry).collect()
    }
}

impl std::fmt::Debug for LoadQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let nodes = self.nodes.iter().map(|node| (&node.name, node.state));
        f.debug_map().entries(nodes).finish()
    }
}

#[derive(Debug, Default)]
struct Survey {
    /// Bytes still to be loaded.
    cost: u64,
    ready: Option<usize>,
    running: bool,
    /// Somebody who waits, should all wait for each other.
    waiting: Option<usize>,
}
