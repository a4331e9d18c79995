//! What the image's lvm.conf and lvmlocal.conf say about activation (lvm.conf(5), lvmsystemid(7)).

use ondisk::lvm::{LogicalVolume, Section, Value, VolumeGroup, config};

use super::pattern::Pattern;
use super::system_id::{Settings, SystemId};
use crate::table::Device;

/// Settings that activation looks at.
#[derive(Debug, Clone, Default)]
pub struct LvmConf {
    /// `activation/volume_list`: nothing else may be activated.
    volumes: Option<Vec<String>>,
    /// `activation/auto_activation_volume_list`: nothing else is activated unasked.
    auto_volumes: Option<Vec<String>>,
    /// `activation/read_only_volume_list`: what is activated read-only.
    read_only_volumes: Vec<String>,
    /// `tags/...`: tags of this host.
    host_tags: Vec<String>,
    /// Tags of the hosts with these names.
    tags_of_hosts: Vec<(String, Vec<String>)>,
    /// `tags/hosttags`: the host's name is a tag.
    name_is_tag: bool,
    /// `devices/global_filter` and `devices/filter`: true accepts, the first match counts.
    filters: [Vec<(bool, Pattern)>; 2],
    /// A rule of theirs cannot be read. lvm2 does not start with it (lib/commands/toolcontext.c, init_filters), and what
    /// it was to reject is not known: nothing may be used.
    bad_filter: bool,
    /// What this host calls itself, and which other names it accepts.
    system_id: SystemId,
    /// `activation/thin_pool_autoextend_threshold`.
    thin_threshold: Option<i64>,
    /// What could not be understood, for the log.
    pub warnings: Vec<String>,
}

impl LvmConf {
    /// No configuration.
    pub(super) const NONE: LvmConf = LvmConf {
        volumes: None,
        auto_volumes: None,
        read_only_volumes: Vec::new(),
        host_tags: Vec::new(),
        tags_of_hosts: Vec::new(),
        name_is_tag: false,
        filters: [Vec::new(), Vec::new()],
        bad_filter: false,
        system_id: SystemId::NONE,
        thin_threshold: None,
        warnings: Vec::new(),
    };

    /// Reads the texts of lvm.conf and lvmlocal.conf; the second goes before the first.
    #[must_use]
    pub fn read(main: Option<&[u8]>, local: Option<&[u8]>) -> LvmConf {
        let mut conf = LvmConf::default();
        let mut sources = Vec::new();
        for (name, text) in [("lvmlocal.conf", local), ("lvm.conf", main)] {
            match text.map(config::parse) {
                Some(Ok(root)) => sources.push(root),
                Some(Err(error)) => conf.warnings.push(format!("/etc/lvm/{name} is ignored: {error}")),
                None => {}
            }
        }
        let find = |section, key| sources.iter().find_map(|root| setting(root, section, key));
        conf.volumes = find("activation", "volume_list").map(texts);
        conf.auto_volumes = find("activation", "auto_activation_volume_list").map(texts);
        conf.read_only_volumes = find("activation", "read_only_volume_list").map(texts).unwrap_or_default();
        for (slot, key) in conf.filters.iter_mut().zip(["global_filter", "filter"]) {
            for rule in find("devices", key).map(texts).unwrap_or_default() {
                match Pattern::rule(&rule) {
                    Some(rule) => slot.push(rule),
                    None => {
                        conf.bad_filter = true;
                        conf.warnings.push(format!(
                            "devices/{key} in lvm.conf: {rule:?} is no rule that can be read, so that no device is used as \
                             a PV; correct it and build the image anew, or boot with rd.lvm.conf=0"
                        ));
                    }
                }
            }
        }
        let text = |section, key| find(section, key).map(texts).unwrap_or_default().into_iter().next();
        conf.system_id = SystemId::new(Settings {
            source: text("global", "system_id_source"),
            file: text("global", "system_id_file"),
            etc: text("global", "etc"),
            own: text("local", "system_id"),
            extra: find("local", "extra_system_ids").map(texts).unwrap_or_default(),
        });
        conf.thin_threshold = match find("activation", "thin_pool_autoextend_threshold") {
            Some(Value::Number(percent)) => Some(*percent),
            _ => None,
        };
        for root in &sources {
            for (key, value) in root.section("tags").map(|tags| tags.0.as_slice()).unwrap_or_default() {
                let tag = key.trim_start_matches('@').to_owned();
                match value {
                    Value::Section(inner) => match inner.0.iter().find(|(name, _)| name == "host_list") {
                        Some((_, hosts)) => conf.tags_of_hosts.push((tag, texts(hosts))),
                        None => conf.host_tags.push(tag),
                    },
                    Value::Number(number) if key == "hosttags" => conf.name_is_tag |= *number != 0,
                    _ => {}
                }
            }
        }
        conf
    }

    /// Whether the filters let this device be a PV, by its name or any of its links.
    #[must_use]
    pub fn accepts(&self, device: &Device) -> bool {
        !self.bad_filter
            && self.filters.iter().all(|rules| {
                let verdict = |path: &str| {
                    rules.iter().find(|(_, pattern)| pattern.matches(path)).map(|(accept, _)| *accept)
                };
                let names = std::iter::once(&device.name.0).chain(&device.claims);
                let verdicts: Vec<bool> = names.filter_map(|name| verdict(&format!("/dev/{name}"))).collect();
                // lvm2 (lib/filters/filter-regex.c): one accepted name is enough, and so is no rule for any.
                verdicts.is_empty() || verdicts.contains(&true)
            })
    }

    /// Whether `activation/volume_list` allows the volume. Without a list, a host that has tags activates only what carries
    /// one of them (lvm2: lib/activate/activate.c, _passes_activation_filter).
    #[must_use]
    pub fn allows(&self, vg: &VolumeGroup, lv: &LogicalVolume) -> bool {
        match &self.volumes {
            Some(list) => self.is_listed(list, vg, lv),
            None => self.host_tags.is_empty() || self.is_listed(&["@*".to_owned()], vg, lv),
        }
    }

    /// Whether `activation/auto_activation_volume_list` allows the volume.
    #[must_use]
    pub fn allows_unasked(&self, vg: &VolumeGroup, lv: &LogicalVolume) -> bool {
        self.auto_volumes.as_deref().is_none_or(|list| self.is_listed(list, vg, lv))
    }

    /// Whether `activation/read_only_volume_list` has the volume (lvm2: lib/activate/activate.c, _passes_readonly_filter).
    pub(super) fn is_read_only(&self, vg: &VolumeGroup, lv: &LogicalVolume) -> bool {
        self.is_listed(&self.read_only_volumes, vg, lv)
    }

    /// `VG`, `VG/LV`, `@tag` of either, `@*` for any tag of this host.
    fn is_listed(&self, list: &[String], vg: &VolumeGroup, lv: &LogicalVolume) -> bool {
        let tagged = |tag: &str| lv.tags.iter().chain(&vg.tags).any(|seen| seen == tag);
        list.iter().any(|entry| match entry.strip_prefix('@') {
            Some("*") => self.host_tags.iter().any(|tag| tagged(tag)),
            Some(tag) => tagged(tag),
            None => match entry.split_once('/') {
                Some((group, volume)) => group == vg.name && volume == lv.name,
                None => *entry == vg.name,
            },
        })
    }

    /// The percentage of a thin pool from which on lvm2 extends it; from 50 on, and 100 stands for never.
    pub(super) fn thin_threshold(&self) -> u64 {
        self.thin_threshold.map_or(100, |percent| u64::try_from(percent.clamp(50, 100)).unwrap_or(100))
    }

    /// The file of the image that says whose groups are this machine's, if one does.
    #[must_use]
    pub fn system_id_file(&self) -> Option<&str> {
        self.system_id.file()
    }

    /// Whether the host name says it.
    #[must_use]
    pub fn wants_hostname(&self) -> bool {
        self.system_id.wants_hostname()
    }

    /// Tells what [`LvmConf::system_id_file`] holds, and the host name. Until then only `lvmlocal` gives a system id.
    pub fn identify(&mut self, hostname: &str, file: Option<&[u8]>) {
        self.system_id.resolve(hostname, file);
        let named = std::mem::take(&mut self.tags_of_hosts).into_iter();
        let named = named.filter(|(_, hosts)| hosts.iter().any(|host| host == hostname)).map(|(tag, _)| tag);
        self.host_tags.extend(named);
        if self.name_is_tag && !hostname.is_empty() {
            self.host_tags.push(hostname.to_owned());
        }
    }

    /// Why a group with this system id is not this host's and what to do about it; `None` for one that is.
    pub(super) fn foreign(&self, id: &str) -> Option<(String, String)> {
        (!self.system_id.is_own(id)).then(|| self.system_id.foreign(id))
    }
}

/// `section { key = ... }`, or `section/key = ...`; the last one counts.
fn setting<'a>(root: &'a Section, section: &str, key: &str) -> Option<&'a Value> {
    let path = format!("{section}/{key}");
    root.0.iter().rev().find_map(|(name, value)| match value {
        Value::Section(inner) if name == section => {
            inner.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
        }
        value if *name == path => Some(value),
        _ => None,
    })
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Text(text) => vec![text.clone()],
        Value::List(list) => list.iter().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::DeviceFacts;
    use crate::table::Table;
    use crate::time::Moment;

    const TEXT: &str = r#"
        # comment
        activation {
            volume_list = [ "vg0", "vg1/a", "@net", "@*" ]  auto_activation_volume_list = []
            read_only_volume_list = [ "vg0/x", "@net" ]
        }
        devices/filter = [ "r|/dev/sdb|", "a|.*|" ]
        global { system_id_source = "lvmlocal" }
        tags { here { } there { host_list = ["x"] } }
    "#;

    #[test]
    fn settings() {
        let conf = LvmConf::read(
            Some(TEXT.as_bytes()),
            Some(b"local { system_id = \"me\" extra_system_ids = [\"you\"] }"),
        );
        assert_eq!(conf.warnings, [""; 0]);
        for (name, lv_name, tag, yes, read_only) in [
            ("vg0", "x", "", true, true),
            ("vg0", "y", "", true, false),
            ("vg1", "a", "", true, false),
            ("vg1", "b", "", false, false),
            ("vg1", "b", "net", true, true),
            ("vg1", "b", "here", true, false),
            ("vg1", "b", "there", false, false),
        ] {
            let vg = VolumeGroup { name: name.into(), tags: vec![tag.into()], ..VolumeGroup::default() };
            let lv = LogicalVolume { name: lv_name.into(), ..LogicalVolume::default() };
            assert_eq!(conf.allows(&vg, &lv), yes, "{name}/{lv_name} {tag}");
            assert_eq!(conf.is_read_only(&vg, &lv), read_only, "{name}/{lv_name} {tag}");
            assert!(!conf.allows_unasked(&vg, &lv));
        }
        assert!(
            conf.foreign("me").is_none() && conf.foreign("you").is_none() && conf.foreign("them").is_some()
        );
        assert_eq!(conf.filters[1].len(), 2);
    }

    #[test]
    fn tags_of_the_host_are_a_list_where_there_is_none() {
        for (text, tag, yes) in [
            ("", "", true),
            ("tags { here {} }", "", false),
            ("tags { here {} }", "here", true),
            ("tags { hosttags = 1 }", "me", true),
            ("tags { hosttags = 1 }", "", false),
            ("tags { hosttags = 0 }", "", true),
            ("tags { here { host_list = [\"me\"] } }", "here", true),
            ("tags { here { host_list = [\"me\"] } }", "", false),
            ("tags { here { host_list = [\"you\"] } }", "", true),
            ("tags { hosttags = 1 } activation { volume_list = [\"@*\"] }", "me", true),
        ] {
            let mut conf = LvmConf::read(Some(text.as_bytes()), None);
            conf.identify("me", None);
            let vg = VolumeGroup { tags: vec![tag.into()], ..VolumeGroup::default() };
            assert_eq!(conf.allows(&vg, &LogicalVolume::default()), yes, "{text} {tag}");
        }
    }

    #[test]
    fn what_is_not_understood_is_said() {
        let conf = LvmConf::read(Some(b"devices { filter = [ \"a|(x|y|\", \"r|.*|\" ] }"), Some(b"local {"));
        assert_eq!(conf.warnings.len(), 2, "{:?}", conf.warnings);
        assert!(
            conf.warnings.iter().any(|text| text.contains("\"a|(x|y|\" is no rule")),
            "{:?}",
            conf.warnings
        );
    }

    fn accepted(conf: &str, names: &[&str]) -> Vec<bool> {
        let conf = LvmConf::read(Some(conf.as_bytes()), None);
        let mut table = Table::default();
        let at = Moment(0);
        names.iter().for_each(|name| {
            table.update(at, &(*name).into(), DeviceFacts { size: 1, ..DeviceFacts::default() });
        });
        names.iter().map(|name| conf.accepts(table.get(&(*name).into()).expect("a device"))).collect()
    }

    #[test]
    fn a_rule_with_branches_filters_as_the_others_do() {
        let names = ["sda", "sdb", "sdc", "vda"];
        let conf = "devices { filter = [ \"r/(sdb|sdc)/\", \"a/sd/\", \"r/.*/\" ] }";
        assert_eq!(accepted(conf, &names), [true, false, false, false]);
        assert!(LvmConf::read(Some(conf.as_bytes()), None).warnings.is_empty());
    }

    #[test]
    fn with_a_rule_that_cannot_be_read_nothing_is_used() {
        // The first rule would let it be used, and so would a filter that is left out.
        for conf in
            ["devices/filter = [ \"a/sda/\", \"r/(sdb/\" ]", "devices { global_filter = [ \"r/sdb)/\" ] }"]
        {
            assert_eq!(accepted(conf, &["sda", "sdb"]), [false, false], "{conf}");
        }
    }
}
