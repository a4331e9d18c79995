//! The syntax of multipath.conf(5): a keyword with a value, or a section that ends with `}`, per line.

use super::{Array, Config, Filter, Find, Grouping, Invertible, MOST, Pattern, Retry, Settings, properties};

/// Remarks that are kept.
const MOST_REMARKS: usize = 20;

/// Where a line stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Top,
    Defaults,
    Overrides,
    /// `blacklist`, or `blacklist_exceptions` (true).
    Filter(bool),
    FilterDevice(bool),
    Devices,
    Device,
    Multipaths,
    Multipath,
    /// One that is not known, within the one before.
    Other,
}

/// Why a line was left out.
type Complaint = &'static str;
const UNKNOWN: Complaint = "the keyword is not known here";
const BAD_VALUE: Complaint = "the value cannot be used";

/// Reads one file.
pub(super) fn read(config: &mut Config, text: &str, remarks: &mut Vec<String>) {
    let mut sections = vec![Section::Top];
    for (number, line) in text.lines().enumerate() {
        let words = words(line);
        let Some(keyword) = words.first() else { continue };
        let inside = sections.last().copied().unwrap_or(Section::Top);
        let complaint = if keyword == "}" {
            if sections.len() > 1 {
                sections.pop();
                None
            } else {
                Some("nothing is open that could end here")
            }
        } else if words.get(1).is_some_and(|word| word == "{") {
            let section = open(config, inside, keyword);
            sections.push(section.unwrap_or(Section::Other));
            (section.is_none() && inside != Section::Other).then_some(UNKNOWN)
        } else {
            match words.get(1) {
                Some(value) => set(config, inside, keyword, value).err(),
                None => Some("the value is missing"),
            }
        };
        if let Some(complaint) = complaint.filter(|_| remarks.len() < MOST_REMARKS) {
            remarks.push(format!("line {}, {keyword}: {complaint}", number.saturating_add(1)));
        }
    }
    // As multipath-tools do, which ignore sections without the key that they are found by.
    config.arrays.retain(|array| array.vendor.is_some() && array.product.is_some());
    config.devices.retain(|(wwid, _)| !wwid.is_empty());
    for filter in [&mut config.blacklist, &mut config.exceptions] {
        filter.devices.retain(|(vendor, product)| vendor.is_some() || product.is_some());
    }
}

/// The words of a line; what stands in quotes is one word, and `""` in it a quote.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        match first {
            '!' | '#' => break,
            '{' | '}' => {
                words.push(first.to_string());
                rest = rest.get(1..).unwrap_or_default();
            }
            '"' => {
                let (word, after) = quoted(rest.get(1..).unwrap_or_default());
                words.push(word);
                rest = after;
            }
            _ => {
                let ends = |char: char| char.is_ascii_whitespace() || "!#{}\"".contains(char);
                let (word, after) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
                words.push(word.to_owned());
                rest = after;
            }
        }
        rest = rest.trim_start();
    }
    words
}

fn quoted(text: &str) -> (String, &str) {
    let mut word = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('"') {
        word.push_str(before);
        match after.strip_prefix('"') {
            Some(after) => {
                word.push('"');
                rest = after;
            }
            None => return (word, after),
        }
    }
    word.push_str(rest);
    (word, "")
}

fn open(config: &mut Config, inside: Section, keyword: &str) -> Option<Section> {
    let section = match (inside, keyword) {
        (Section::Top, "defaults") => Section::Defaults,
        (Section::Top, "overrides") => Section::Overrides,
        (Section::Top, "blacklist") => Section::Filter(false),
        (Section::Top, "blacklist_exceptions") => Section::Filter(true),
        (Section::Top, "devices") => Section::Devices,
        (Section::Top, "multipaths") => Section::Multipaths,
        (Section::Filter(exceptions), "device") => {
            let devices = &mut filter(config, exceptions).devices;
            if devices.len() < MOST {
                devices.push((None, None));
            }
            Section::FilterDevice(exceptions)
        }
        (Section::Devices, "device") if config.arrays.len() < MOST => {
            config.arrays.push(Array::default());
            Section::Device
        }
        (Section::Multipaths, "multipath") if config.devices.len() < MOST => {
            config.devices.push(<(String, Settings)>::default());
            Section::Multipath
        }
        _ => return None,
    };
    Some(section)
}

fn filter(config: &mut Config, exceptions: bool) -> &mut Filter {
    if exceptions { &mut config.exceptions } else { &mut config.blacklist }
}

/// Sets one keyword; an error is why it could not.
fn set(config: &mut Config, inside: Section, keyword: &str, value: &str) -> Result<(), Complaint> {
    match inside {
        Section::Top => Err(UNKNOWN),
        Section::Other | Section::Devices | Section::Multipaths => Ok(()),
        Section::Defaults => defaults(config, keyword, value),
        Section::Overrides => setting(&mut config.overrides, keyword, value),
        Section::Filter(exceptions) => {
            let filter = filter(config, exceptions);
            let list = match keyword {
                "devnode" => &mut filter.devnodes,
                "wwid" => &mut filter.wwids,
                "protocol" => &mut filter.protocols,
                "property" => &mut filter.properties,
                _ => return Err(UNKNOWN),
            };
            let one = invertible(value).ok_or(BAD_VALUE)?;
            if keyword == "property" && !properties::is_known(&one) {
                return Err("fits no property that is known without udev, and so no disk");
            }
            if list.len() < MOST {
                list.push(one);
            }
            Ok(())
        }
        Section::FilterDevice(exceptions) => {
            let Some((vendor, product)) = filter(config, exceptions).devices.last_mut() else {
                return Ok(());
            };
            let place = match keyword {
                "vendor" => vendor,
                "product" => product,
                _ => return Err(UNKNOWN),
            };
            *place = Some(invertible(value).ok_or(BAD_VALUE)?);
            Ok(())
        }
        Section::Device => {
            let Some(array) = config.arrays.last_mut() else { return Ok(()) };
            let place = match keyword {
                "vendor" => &mut array.vendor,
                "product" => &mut array.product,
                "revision" => &mut array.revision,
                "product_blacklist" => &mut array.never,
                _ => return setting(&mut array.settings, keyword, value),
            };
            *place = Some(Pattern::new(value).ok_or(BAD_VALUE)?);
            Ok(())
        }
        Section::Multipath => match (config.devices.last_mut(), keyword) {
            (Some((wwid, _)), "wwid") => {
                value.clone_into(wwid);
                Ok(())
            }
            (Some((_, settings)), "alias") => {
                // dm names have no slash and at most 127 bytes.
                let fits = !value.is_empty() && value.len() < 128 && !value.contains('/');
                settings.alias = fits.then(|| value.to_owned());
                if fits { Ok(()) } else { Err(BAD_VALUE) }
            }
            (Some((_, settings)), _) => setting(settings, keyword, value),
            (None, _) => Ok(()),
        },
    }
}

fn invertible(value: &str) -> Option<Invertible> {
    let (pattern, inverted) = value.strip_prefix('!').map_or((value, false), |rest| (rest, true));
    Some((Pattern::new(pattern)?, inverted))
}

fn defaults(config: &mut Config, keyword: &str, value: &str) -> Result<(), Complaint> {
    match keyword {
        "find_multipaths" => {
            config.find = match value {
                "strict" => Find::Strict,
                "on" | "yes" | "1" => Find::Two,
                "smart" => Find::Smart,
                "greedy" | "off" | "no" | "0" => Find::All,
                _ => return Err(BAD_VALUE),
            };
        }
        "find_multipaths_timeout" => config.find_timeout = Some(value.parse().map_err(|_| BAD_VALUE)?),
        "polling_interval" => config.polling = Some(value.parse().map_err(|_| BAD_VALUE)?),
        "max_polling_interval" => config.longest_polling = Some(value.parse().map_err(|_| BAD_VALUE)?),
        "allow_usb_devices" => config.usb = yes(value)?,
        "partition_delimiter" => config.delimiter = Some(value.to_owned()),
        _ => return setting(&mut config.defaults, keyword, value),
    }
    Ok(())
}

fn yes(value: &str) -> Result<bool, Complaint> {
    match value {
        "yes" | "1" | "on" => Ok(true),
        "no" | "0" | "off" => Ok(false),
        _ => Err(BAD_VALUE),
    }
}

/// Keywords of several sections. Those that only a running multipathd acts on are passed over.
fn setting(settings: &mut Settings, keyword: &str, value: &str) -> Result<(), Complaint> {
    match keyword {
        "path_grouping_policy" => {
            settings.grouping = Some(match value {
                "failover" => Grouping::Failover,
                "multibus" => Grouping::Multibus,
                "group_by_prio" | "group_by_tpg" => Grouping::Priority,
                "group_by_serial" => Grouping::Serial,
                "group_by_node_name" => Grouping::NodeName,
                _ => return Err(BAD_VALUE),
            });
        }
        "detect_pgpolicy" => settings.detect_grouping = Some(yes(value)?),
        "path_selector" => settings.selector = Some(parameters(value)?),
        "prio" => settings.prio = Some(value.to_owned()),
        "prio_args" => settings.prio_args = Some(value.to_owned()),
        "detect_prio" => settings.detect_prio = Some(yes(value)?),
        "features" => settings.features = Some(parameters(value)?),
        "hardware_handler" => settings.handler = Some(parameters(value)?),
        "no_path_retry" => {
            settings.no_path_retry = match value {
                "fail" | "0" => Some(Retry::Fail),
                "queue" => Some(Retry::Queue),
                number => Some(Retry::Times(number.parse().map_err(|_| BAD_VALUE)?)),
            };
        }
        "flush_on_last_del" => {
            settings.flush = Some(match value {
                "always" | "yes" | "1" => true,
                "unused" | "never" | "no" | "0" => false,
                _ => return Err(BAD_VALUE),
            });
        }
        "rr_min_io_rq" => settings.min_io = Some(value.parse().map_err(|_| BAD_VALUE)?),
        "rr_weight" => {
            settings.weighted = Some(match value {
                "priorities" => true,
                "uniform" => false,
                _ => return Err(BAD_VALUE),
            });
        }
        "user_friendly_names" => settings.friendly_names = Some(yes(value)?),
        "skip_kpartx" => settings.skip_partitions = Some(yes(value)?),
        // What would make another map and is not done here. ID_UID is that of DASD.
        "uid_attribute" if value != "ID_UID" && value != "ID_SERIAL" => {
            return Err("disks are told apart by ID_SERIAL");
        }
        "uid_attrs"
            if value.split_whitespace().any(|one| one.starts_with("sd") && !one.ends_with(":ID_SERIAL")) =>
        {
            return Err("disks are told apart by ID_SERIAL");
        }
        "max_sectors_kb" if value != "0" => {
            return Err("the limit of the paths is left as the kernel has set it");
        }
        "alias_prefix" | "failback" | "path_checker" | "checker" | "rr_min_io" => {}
        // All names of keywords look like this; a typing error there changes nothing here.
        _ if keyword.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') => {}
        _ => return Err(UNKNOWN),
    }
    Ok(())
}

/// Text that goes into a device-mapper table as it stands.
fn parameters(value: &str) -> Result<String, Complaint> {
    let fits = !value.is_empty() && value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if fits { Ok(value.to_owned()) } else { Err(BAD_VALUE) }
}
