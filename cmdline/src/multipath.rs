//! What multipath-tools of the image are told: multipath.conf(5), `/etc/multipath/bindings`, `/etc/multipath/wwids`,
//! and the table of storage arrays that is built into them. NVMe and DASD are left out: the kernel has its own
//! multipathing for both.

use std::time::Duration;

mod hardware;
mod pattern;
mod properties;
mod syntax;
#[cfg(test)]
mod tests;

pub use pattern::Pattern;

/// More sections, bindings or ids of one kind than this are not read.
const MOST: usize = 4096;

/// `path_grouping_policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// `failover`: one path per group.
    Failover,
    /// `multibus`: all paths in one group.
    Multibus,
    /// `group_by_prio`.
    Priority,
    /// `group_by_serial`.
    Serial,
    /// `group_by_node_name`.
    NodeName,
}

/// `no_path_retry`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// `fail`: I/O fails at once when no path is left.
    Fail,
    /// `queue`: I/O waits.
    Queue,
    /// A number: I/O waits for as many polling intervals.
    Times(u32),
}

/// `find_multipaths`: which disks are taken for paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Find {
    /// `strict`: those whose id is in `/etc/multipath/wwids`.
    #[default]
    Strict,
    /// `on`: these, and those of which two are seen.
    Two,
    /// `smart`: as [`Find::Two`], and every disk is kept for a while in case another path comes.
    Smart,
    /// `greedy` or `off`: all that are not blacklisted.
    All,
}

/// Settings that may stand in several sections; `None` leaves them to the next one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// `path_grouping_policy`
    pub grouping: Option<Grouping>,
    /// `detect_pgpolicy`
    pub detect_grouping: Option<bool>,
    /// `path_selector`
    pub selector: Option<String>,
    /// `prio`
    pub prio: Option<String>,
    /// `prio_args`
    pub prio_args: Option<String>,
    /// `detect_prio`
    pub detect_prio: Option<bool>,
    /// `features`
    pub features: Option<String>,
    /// `hardware_handler`
    pub handler: Option<String>,
    /// `no_path_retry`
    pub no_path_retry: Option<Retry>,
    /// `flush_on_last_del always`: I/O stops waiting when the last path is taken away.
    pub flush: Option<bool>,
    /// `rr_min_io_rq`
    pub min_io: Option<u32>,
    /// `rr_weight priorities`
    pub weighted: Option<bool>,
    /// `skip_kpartx`: partitions are not mapped.
    pub skip_partitions: Option<bool>,
    /// `user_friendly_names`
    pub friendly_names: Option<bool>,
    /// `alias`, only in a `multipath` section.
    pub alias: Option<String>,
}

/// A `device` section: storage arrays of one make.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Array {
    /// Matches the vendor of INQUIRY; `None` matches all.
    pub vendor: Option<Pattern>,
    /// Matches the product.
    pub product: Option<Pattern>,
    /// Matches the revision.
    pub revision: Option<Pattern>,
    /// `product_blacklist`: products of this vendor that are never multipathed.
    pub never: Option<Pattern>,
    /// What holds for it.
    pub settings: Settings,
}

/// An expression, and whether a `!` before it inverts it.
pub type Invertible = (Pattern, bool);
/// A list of expressions.
pub type Patterns = Vec<Invertible>;

/// Vendor and product; `None` matches all.
pub type DevicePattern = (Option<Invertible>, Option<Invertible>);

/// `blacklist` or `blacklist_exceptions`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// `devnode`
    pub devnodes: Patterns,
    /// `wwid`
    pub wwids: Patterns,
    /// `protocol`
    pub protocols: Patterns,
    /// `property`
    pub properties: Patterns,
    /// `device { vendor product }`
    pub devices: Vec<DevicePattern>,
}

/// Whom the filters and tables are asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Disk<'a> {
    /// Kernel name.
    pub name: &'a str,
    /// World-wide id: udev's `ID_SERIAL`.
    pub wwid: &'a str,
    /// Vendor of INQUIRY, without white space at the end.
    pub vendor: &'a str,
    /// Product of INQUIRY, likewise.
    pub product: &'a str,
    /// Revision of INQUIRY, likewise.
    pub revision: &'a str,
    /// `scsi:fcp`, `scsi:iscsi`, `scsi:sas`, `scsi:unspec` and so on.
    pub protocol: &'a str,
    /// It has a world-wide name: udev's `ID_WWN`.
    pub wwn: bool,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// `defaults`
    pub defaults: Settings,
    /// `overrides`
    pub overrides: Settings,
    /// Storage arrays: the built-in ones, then those of the file. Later ones go before earlier ones.
    pub arrays: Vec<Array>,
    /// `multipaths`: settings of single devices, by their world-wide id.
    pub devices: Vec<(String, Settings)>,
    /// `find_multipaths`
    pub find: Find,
    /// `find_multipaths_timeout` in seconds; negative ones are for storage arrays that are known, others get one second.
    pub find_timeout: Option<i32>,
    /// `polling_interval` in seconds.
    pub polling: Option<u32>,
    /// `max_polling_interval` in seconds.
    pub longest_polling: Option<u32>,
    /// `allow_usb_devices`
    pub usb: bool,
    /// `partition_delimiter`
    pub delimiter: Option<String>,
    /// `blacklist`
    pub blacklist: Filter,
    /// `blacklist_exceptions`
    pub exceptions: Filter,
    /// `/etc/multipath/bindings`: name and world-wide id.
    pub bindings: Vec<(String, String)>,
    /// `/etc/multipath/wwids`: devices that were multipathed before.
    pub known: Vec<String>,
}

/// `find_multipaths_timeout` when it is not set.
const FIND_TIMEOUT: i32 = -10;
/// `polling_interval` when it is not set.
const POLLING: u32 = 5;

impl Config {
    /// Reads configuration files in the order in which they are to be read; says what cannot be used, with the line.
    #[must_use]
    pub fn read<'a>(files: impl IntoIterator<Item = &'a str>) -> (Config, Vec<String>) {
        let mut config = Config { arrays: hardware::arrays(), ..Config::default() };
        let mut remarks = Vec::new();
        for file in files {
            syntax::read(&mut config, file, &mut remarks);
        }
        (config, remarks)
    }

    /// What `rd.multipath=default` stands for when the image has no file: `mpathconf --enable` of Fedora writes this.
    #[must_use]
    pub fn usual() -> Config {
        Config {
            defaults: Settings { friendly_names: Some(true), ..Settings::default() },
            find: Find::Two,
            ..Config::read([]).0
        }
    }

    /// Takes `/etc/multipath/bindings` in: a name and a world-wide id per line, `#` begins a comment.
    pub fn read_bindings(&mut self, text: &str) {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
        let pairs = lines.filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?.to_owned(), words.next()?.to_owned()))
        });
        self.bindings.extend(pairs.take(MOST));
    }

    /// Takes `/etc/multipath/wwids` in: an id between slashes per line.
    pub fn read_wwids(&mut self, text: &str) {
        let ids = text.lines().filter_map(|line| Some(line.strip_prefix('/')?.split_once('/')?.0));
        self.known.extend(ids.filter(|id| !id.is_empty()).take(MOST).map(str::to_owned));
    }

    /// Whether multipath-tools leave the disk alone, as `filter_path` in their blacklist.c decides.
    #[must_use]
    pub fn is_blacklisted(&self, disk: Disk<'_>) -> bool {
        if disk.protocol == "scsi:usb" && !self.usb {
            return true;
        }
        let (no, yes) = (&self.blacklist, &self.exceptions);
        let named = |list: &Patterns, text: &str| list.iter().any(|(one, not)| one.is_in(text) != *not);
        let fits = |one: &Option<Invertible>, text: &str| {
            one.as_ref().is_none_or(|(pattern, not)| pattern.is_in(text) != *not)
        };
        let device = |filter: &Filter| {
            filter
                .devices
                .iter()
                .any(|(vendor, product)| fits(vendor, disk.vendor) && fits(product, disk.product))
        };
        let never = || {
            self.arrays.iter().any(|array| {
                array.never.as_ref().is_some_and(|never| never.is_in(disk.product))
                    && array.vendor.as_ref().is_none_or(|vendor| vendor.is_in(disk.vendor))
            })
        };
        properties::is_blacklisted(disk, &no.properties, &yes.properties)
            || (named(&no.devnodes, disk.name) && !named(&yes.devnodes, disk.name))
            || ((device(no) || never()) && !device(yes))
            || (named(&no.protocols, disk.protocol) && !named(&yes.protocols, disk.protocol))
            || (named(&no.wwids, disk.wwid) && !named(&yes.wwids, disk.wwid))
    }

    /// The storage arrays that the disk may belong to, the most specific first.
    fn arrays_of<'a>(&'a self, disk: Disk<'a>) -> impl Iterator<Item = &'a Settings> {
        let fits = |one: &Option<Pattern>, text: &str| one.as_ref().is_none_or(|pattern| pattern.is_in(text));
        let matching = self.arrays.iter().rev().filter(move |array| {
            fits(&array.vendor, disk.vendor)
                && fits(&array.product, disk.product)
                && fits(&array.revision, disk.revision)
        });
        matching.map(|array| &array.settings)
    }

    /// A setting in the order of precedence of propsel.c: the device's own, overrides, the storage array's, defaults.
    #[must_use]
    pub fn setting<T>(&self, disk: Disk<'_>, of: impl Fn(&Settings) -> Option<T>) -> Option<T> {
        // Of several sections for one device the last one counts, setting by setting.
        let own =
            self.devices.iter().rev().filter(|(wwid, _)| wwid == disk.wwid).map(|(_, settings)| settings);
        own.chain([&self.overrides])
            .find_map(&of)
            .or_else(|| self.arrays_of(disk).find_map(&of))
            .or_else(|| of(&self.defaults))
    }

    /// The name of the device: its alias, with `user_friendly_names` what the bindings say, else the world-wide id. The
    /// bindings are never changed (`multipathd -B`), since the real root has a file of its own.
    #[must_use]
    pub fn name(&self, disk: Disk<'_>) -> String {
        let bound = || {
            let friendly = self.setting(disk, |settings| settings.friendly_names).unwrap_or(false);
            let binding = self.bindings.iter().find(|(_, wwid)| wwid == disk.wwid);
            binding.filter(|_| friendly).map(|(name, _)| name.clone())
        };
        let alias = self.setting(disk, |settings| settings.alias.clone());
        alias.or_else(bound).unwrap_or_else(|| disk.wwid.to_owned())
    }

    /// How long a map of this disk queues I/O without any path; `None` is for ever, or not at all.
    #[must_use]
    pub fn queues_for(&self, disk: Disk<'_>) -> Option<Duration> {
        let Retry::Times(times) = self.setting(disk, |settings| settings.no_path_retry)? else { return None };
        // As `load_config` of their config.c.
        let polling = match (self.polling, self.longest_polling.filter(|longest| *longest > 0)) {
            (Some(polling), longest) => polling.min(longest.unwrap_or(polling)),
            (None, Some(longest)) => (longest / 4).max(1),
            (None, None) => POLLING,
        };
        Some(Duration::from_secs(u64::from(times).saturating_mul(polling.into())))
    }

    /// How many seconds a disk is kept for a second path in `smart` mode.
    #[must_use]
    pub fn patience(&self, disk: Disk<'_>) -> u32 {
        let timeout = self.find_timeout.filter(|timeout| *timeout != 0).unwrap_or(FIND_TIMEOUT);
        let known = timeout > 0 || self.arrays_of(disk).next().is_some();
        if known { timeout.unsigned_abs() } else { 1 }
    }
}
