//! The table of a multipath device, as multipath-tools would load it: what they find they adopt only if it is the same.
//!
//! Source: libmultipath's propsel.c (what holds), pgpolicies.c and switchgroup.c (groups), dmparser.c (the text).

use std::fmt::Write as _;
use std::time::Duration;

use cmdline::multipath::{Config, Disk, Grouping, Retry};

use crate::command::{DmDevice, DmTarget};
use crate::event::ScsiFacts;
use crate::table::Device;

const SECTOR: u64 = 512;
const QUEUE: &str = "queue_if_no_path";
/// multipath-tools' own choice of a selector, used where nothing else is said.
const SELECTOR: &str = "service-time 0";

/// One path with its facts.
#[derive(Clone, Copy)]
pub(super) struct MapPath<'a> {
    pub(super) device: &'a Device,
    pub(super) scsi: &'a ScsiFacts,
}

/// What the filters and settings are asked about.
pub(super) fn disk<'a>(device: &'a Device, scsi: &'a ScsiFacts) -> Disk<'a> {
    Disk {
        name: &device.name.0,
        wwid: &scsi.wwid,
        vendor: &scsi.vendor,
        product: &scsi.product,
        revision: &scsi.revision,
        protocol: &scsi.protocol,
        wwn: scsi.wwn,
    }
}

/// How much a path is worth.
struct Priority {
    value: u32,
    /// It follows the access state.
    asymmetric: bool,
    /// It can be told from here. Some prioritizers ask the array in its own language; multipathd does that later.
    known: bool,
}

/// When a map that queues I/O although it has no path stops doing so.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Patience {
    /// `no_path_retry` polling intervals.
    pub(super) queues_for: Option<Duration>,
    /// At once, when the last path is taken away.
    pub(super) flush: bool,
}

struct Group<'a> {
    paths: Vec<(MapPath<'a>, u32)>,
    priority: u32,
    enabled: usize,
}

/// The device that the paths make, all of one unit; `None` without paths. Paths of another size are left out.
pub(super) fn build(config: &Config, paths: &[MapPath<'_>]) -> Option<(DmDevice, Patience)> {
    let mut paths = paths.to_vec();
    // libudev's order: name by name.
    paths.sort_by(|one, other| one.scsi.place.split('/').cmp(other.scsi.place.split('/')));
    let first = *paths.first()?;
    let size = first.device.facts.size;
    paths.retain(|path| path.device.facts.size == size);
    let about = disk(first.device, first.scsi);

    let priorities: Vec<Priority> = paths.iter().map(|path| priority(config, *path)).collect();
    let mut grouping = config.setting(about, |all| all.grouping).unwrap_or(Grouping::Failover);
    let detect = config.setting(about, |all| all.detect_grouping).unwrap_or(true);
    if detect && priorities.iter().all(|priority| priority.asymmetric) {
        grouping = Grouping::Priority;
    }
    let known = priorities.iter().all(|priority| priority.known);
    let valued: Vec<(MapPath<'_>, u32)> =
        paths.iter().copied().zip(priorities.iter().map(|priority| priority.value)).collect();
    let groups = sorted(match grouping {
        Grouping::Multibus => vec![valued],
        Grouping::Priority if known => by_priority(valued),
        // Serial and node name would have to be asked for. Each path on its own is right for every array: at worst the
        // groups are joined by multipathd later.
        _ => valued.into_iter().map(|path| vec![path]).collect(),
    });

    let retry = config.setting(about, |all| all.no_path_retry);
    let features = features(&config.setting(about, |all| all.features.clone()).unwrap_or_default(), retry);
    let handler = handler(config, about, &paths);
    let selector = config.setting(about, |all| all.selector.clone()).unwrap_or_else(|| SELECTOR.to_owned());
    let min_io = config.setting(about, |all| all.min_io).unwrap_or(1);
    let weighted = config.setting(about, |all| all.weighted).unwrap_or(false);
    let mut params = format!("{features} {handler} {} {}", groups.len(), best(&groups));
    for group in &groups {
        let _ = write!(params, " {selector} {} 1", group.paths.len());
        for (path, priority) in &group.paths {
            let weight = if weighted && *priority > 0 { *priority } else { 1 };
            let facts = &path.device.facts;
            let _ = write!(params, " {}:{} {}", facts.major, facts.minor, min_io.saturating_mul(weight));
        }
    }
    let length = size.checked_div(SECTOR)?;
    let target = DmTarget { start: 0, length, kind: "multipath".to_owned(), params };
    let map = DmDevice {
        name: config.name(about),
        uuid: format!("mpath-{}", first.scsi.wwid),
        targets: vec![target],
        read_only: paths.iter().any(|path| path.device.facts.read_only),
        ..DmDevice::default()
    };
    let queues = map.targets.iter().any(|target| target.params.contains(QUEUE));
    let flush = queues && config.setting(about, |all| all.flush).unwrap_or(false);
    Some((map, Patience { queues_for: config.queues_for(about), flush }))
}

/// The modules that the table needs: the target, the selector, the device handler.
pub(super) fn modules(map: &DmDevice) -> Vec<String> {
    let mut names = vec!["dm-multipath".to_owned()];
    let params = map.targets.first().map_or("", |target| &target.params);
    let mut words = params.split(' ');
    // Counted lists of features and of handler arguments, the number of groups, the first one, the selector.
    let list = |words: &mut std::str::Split<'_, char>| -> Option<String> {
        let count: usize = words.next()?.parse().ok()?;
        let first = (count > 0).then(|| words.next()).flatten().map(str::to_owned);
        (1..count).for_each(|_| {
            words.next();
        });
        first
    };
    list(&mut words);
    names.extend(list(&mut words).map(|handler| format!("scsi_dh_{handler}")));
    names.extend(words.nth(2).map(|selector| format!("dm-{selector}")));
    names
}

fn priority(config: &Config, path: MapPath<'_>) -> Priority {
    let about = disk(path.device, path.scsi);
    let detect = config.setting(about, |all| all.detect_prio).unwrap_or(true) && path.scsi.alua;
    let name = config.setting(about, |all| all.prio.clone());
    let exclusive = !detect
        && config
            .setting(about, |all| all.prio_args.clone())
            .is_some_and(|args| args.contains("exclusive_pref_bit"));
    match name.as_deref() {
        _ if detect => asymmetric(path.scsi, false),
        Some("alua" | "sysfs") if path.scsi.alua => asymmetric(path.scsi, exclusive),
        None | Some("const" | "alua" | "sysfs") => Priority { value: 1, asymmetric: false, known: true },
        // What it would answer is not known, but a handler may have told which paths are better.
        Some(_) => {
            let value = if path.scsi.access.is_some() { asymmetric(path.scsi, false).value } else { 1 };
            Priority { value, asymmetric: false, known: false }
        }
    }
}

/// As prioritizers/sysfs.c. Without a handler the state is not known; all paths count as good ones then.
fn asymmetric(scsi: &ScsiFacts, exclusive: bool) -> Priority {
    let value = match scsi.access.as_deref() {
        None | Some("active/optimized") => 50,
        Some("active/non-optimized") => 10,
        Some("lba-dependent") => 5,
        Some("standby") => 1,
        Some(_) => 0_u32,
    };
    let bonus = if scsi.preferred && (value != 50 || exclusive) { 80 } else { 0 };
    Priority { value: value.saturating_add(bonus), asymmetric: true, known: true }
}

type Valued<'a> = Vec<(MapPath<'a>, u32)>;

fn by_priority(paths: Valued<'_>) -> Vec<Valued<'_>> {
    let mut groups: Vec<Valued<'_>> = Vec::new();
    for path in paths {
        let same = |group: &&mut Valued<'_>| group.first().is_some_and(|(_, priority)| *priority == path.1);
        match groups.iter_mut().find(same) {
            Some(group) => group.push(path),
            None => groups.push(vec![path]),
        }
    }
    groups
}

/// Best group first; equal ones stay in their order.
fn sorted(groups: Vec<Valued<'_>>) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = groups
        .into_iter()
        .map(|paths| {
            let up: Vec<u32> =
                paths.iter().filter(|(path, _)| path.scsi.running).map(|(_, priority)| *priority).collect();
            let sum = up.iter().fold(0_u32, |sum, one| sum.saturating_add(*one));
            let priority = u32::try_from(up.len()).ok().and_then(|count| sum.checked_div(count)).unwrap_or(0);
            Group { enabled: up.len(), priority, paths }
        })
        .collect();
    groups.sort_by_key(|group| std::cmp::Reverse((group.priority, group.enabled)));
    groups
}

/// The group that is to be used first, counted from 1.
fn best(groups: &[Group<'_>]) -> usize {
    // They are sorted, but one without a working path may have come out first.
    groups.iter().position(|group| group.enabled > 0).unwrap_or(0).saturating_add(1)
}

/// The counted list of features. `queue_if_no_path` follows from `no_path_retry` alone; the kernel retains attached
/// handlers without being told since 4.3.
fn features(text: &str, retry: Option<Retry>) -> String {
    let mut words: Vec<&str> = text.split_whitespace().skip(1).collect();
    let queue = retry.map_or(words.contains(&QUEUE), |retry| retry != Retry::Fail);
    words.retain(|word| !matches!(*word, QUEUE | "retain_attached_hw_handler"));
    if queue {
        words.push(QUEUE);
    }
    counted(&words)
}

fn counted(words: &[&str]) -> String {
    let mut text = words.len().to_string();
    words.iter().for_each(|word| {
        text.push(' ');
        text.push_str(word);
    });
    text
}

/// The counted list of the device handler: what the kernel has attached stays.
fn handler(config: &Config, about: Disk<'_>, paths: &[MapPath<'_>]) -> String {
    let all_alua = paths.iter().all(|path| path.scsi.alua);
    let attached = paths.iter().find_map(|path| path.scsi.handler.as_deref());
    let wanted = match attached {
        Some(name) => counted(&[name]),
        None => match config.setting(about, |all| all.handler.clone()) {
            Some(text) => text,
            None if all_alua => "1 alua".to_owned(),
            None => "0".to_owned(),
        },
    };
    if wanted == "1 alua" && !all_alua { "0".to_owned() } else { wanted }
}
