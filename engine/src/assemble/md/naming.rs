//! Names of arrays, exactly as mdadm gives them (mdopen.c, `create_mddev`; Incremental.c, step 3).

use cmdline::mdadm_conf::{ArrayLine, HomeHost, MdadmConf};
use ondisk::kmod::glob;
use ondisk::md::{Superblock, Version};

use crate::image::ImageFacts;
use crate::table::{Device, Table};

/// What an array is to be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::assemble) struct Name {
    /// `/dev/md/NAME` or `/dev/mdN`; `None` is the node's own path.
    pub(in crate::assemble) path: Option<String>,
    /// Number of the node, where the name asks for one.
    pub(in crate::assemble) number: Option<u32>,
    /// It belongs to another host: nothing is written to it until somebody else writes.
    pub(in crate::assemble) foreign: bool,
}

/// Whether the `DEVICE` lines let this device be a member: none do not ask, else a pattern has to match its node or one of
/// its links, `/` by `/` (mdadm: config.c, `conf_test_dev`; Incremental.c).
pub(super) fn is_listed(conf: &MdadmConf, device: &Device) -> bool {
    conf.devices.is_empty()
        || conf.devices.iter().any(|word| word.eq_ignore_ascii_case("partitions"))
        || has_path_like(device, &conf.devices)
}

/// Whether a pattern matches the device's node or one of its links, `/` by `/`.
fn has_path_like(device: &Device, patterns: &[String]) -> bool {
    let slashes = |text: &str| text.matches('/').count();
    let mut names = std::iter::once(&device.name.0).chain(&device.claims).map(|name| format!("/dev/{name}"));
    let matches =
        |name: &str, pattern: &String| slashes(name) == slashes(pattern) && glob::matches(pattern, name);
    names.any(|name| patterns.iter().any(|pattern| matches(&name, pattern)))
}

/// The `ARRAY` line of the image's mdadm.conf that means this array; `Err` if several do
/// (mdadm: config.c, `conf_match`).
pub(super) fn line<'a>(
    conf: &'a MdadmConf,
    superblock: &Superblock,
    table: &Table,
) -> Result<Option<&'a ArrayLine>, ()> {
    let minor = (superblock.version == Version::V0_90).then(|| superblock.name.parse::<u32>().ok()).flatten();
    let is_member =
        |device: &&Device| super::superblock(device).is_some_and(|one| one.uuid == superblock.uuid);
    let members = || table.iter().filter(is_member);
    let mut matching = conf.arrays.iter().filter(|line| {
        let by_devices = !line.devices.is_empty();
        let by_name =
            line.uuid.is_none() && line.super_minor.is_none() && (!by_devices || line.name.is_some());
        (!by_devices || members().any(|member| has_path_like(member, &line.devices)))
            && line.uuid.is_none_or(|uuid| uuid == superblock.uuid)
            && line.super_minor.is_none_or(|wanted| Some(wanted) == minor)
            && (!by_name || line.name.as_ref() == Some(&superblock.name))
    });
    match (matching.next(), matching.next()) {
        (Some(_), Some(_)) => Err(()),
        (one, _) => Ok(one),
    }
}

/// Whether `matches` accepts the name of this host.
pub(in crate::assemble) fn is_this_host(image: &ImageFacts, matches: impl Fn(&str) -> bool) -> bool {
    let host = match &image.mdadm.homehost {
        HomeHost::System => image.hostname.as_str(),
        HomeHost::Name(name) => name.as_str(),
        HomeHost::None => "",
    };
    (!host.is_empty() && matches(host)) || matches("any")
}

/// Whether the array is this machine's own by its name or UUID.
fn is_local(image: &ImageFacts, superblock: &Superblock) -> bool {
    is_this_host(image, |host| match superblock.version {
        Version::V0_90 => superblock.is_hash_of(host),
        _ => superblock.name.strip_prefix(host).is_some_and(|rest| rest.starts_with(':')),
    })
}

/// Whether the `AUTO` line lets this array be assembled without an `ARRAY` line.
pub(super) fn is_automatic(image: &ImageFacts, superblock: &Superblock) -> bool {
    let version = superblock.version;
    let meant = |what: &str| match what {
        "0" | "0.90" => version == Version::V0_90,
        "1" => version != Version::V0_90,
        _ => what.starts_with("1.") && version != Version::V0_90,
    };
    is_permitted(&image.mdadm, meant, || is_local(image, superblock))
}

/// The same of any metadata: `meant` tells the words for them.
pub(in crate::assemble) fn is_permitted(
    conf: &MdadmConf,
    meant: impl Fn(&str) -> bool,
    local: impl Fn() -> bool,
) -> bool {
    let mut home_only = false;
    for word in &conf.auto {
        if word == "homehost" {
            home_only = true;
            continue;
        }
        let (yes, what) = match (word.strip_prefix('+'), word.strip_prefix('-')) {
            (Some(what), _) => (true, what),
            (_, Some(what)) => (false, what),
            // mdadm: config.c, autoline.
            _ if word == "yes" => (true, "all"),
            _ if word == "no" => (false, "all"),
            _ => continue,
        };
        if what == "all" || meant(what) {
            return yes || (home_only && local());
        }
    }
    true
}

/// What the array is to be called; `taken` tells paths that other arrays have.
pub(super) fn name(
    image: &ImageFacts,
    line: Option<&ArrayLine>,
    superblock: &Superblock,
    taken: impl Fn(&str) -> bool,
) -> Name {
    let mut local = line.is_some() || is_local(image, superblock);
    let own = superblock.name.as_str();
    if !local && image.mdadm.any_host && is_free(&image.mdadm, own) {
        local = true;
    }
    let own = if local { own.split_once(':').map_or(own, |(_, name)| name) } else { own };
    choose(line.and_then(|line| line.device.as_deref()), Some(own), local, taken)
}

/// The name for an array that mdadm.conf gives this device and its metadata this name; local ones are called just that.
pub(in crate::assemble) fn choose(
    device: Option<&str>,
    own: Option<&str>,
    local: bool,
    taken: impl Fn(&str) -> bool,
) -> Name {
    let own = own.filter(|own| !own.is_empty());
    let (mut given, mut number) = device.map_or((None, None), given);
    if number.is_none() && local {
        number = own.and_then(|own| {
            let own = own.strip_prefix("/dev/").unwrap_or(own);
            let own = own.strip_prefix("md").unwrap_or(own);
            digits(own.strip_prefix('/').unwrap_or(own))
        });
    }
    if given.is_none()
        && let Some(own) = own
    {
        let plain: String = own
            .chars()
            .map(|letter| match letter {
                '/' => '-',
                ' ' | '\t' => '_',
                other => other,
            })
            .collect();
        let path = |suffix: Option<u32>| match suffix {
            None => format!("/dev/md/{plain}"),
            Some(number) => format!("/dev/md/{plain}_{number}"),
        };
        let bare = Some(None).filter(|_| local || plain.contains(':'));
        let numbered = (0..u32::from(u16::MAX)).map(Some);
        given = bare.into_iter().chain(numbered).map(path).find(|path| !taken(path));
    }
    Name { path: given, number, foreign: !local }
}

/// Path and number that the device of an `ARRAY` line stands for.
fn given(device: &str) -> (Option<String>, Option<u32>) {
    if let Some(name) = device.strip_prefix("/dev/md/") {
        return (Some(device.to_owned()), digits(name.strip_prefix('d').unwrap_or(name)));
    }
    if let Some(node) = device.strip_prefix("/dev/") {
        let number = node.strip_prefix("md_d").or_else(|| node.strip_prefix("md")).and_then(digits);
        // mdadm takes no other paths.
        return (number.map(|_| device.to_owned()), number);
    }
    (Some(format!("/dev/md/{}", device.replace('/', "-"))), digits(device))
}

/// Whether no `ARRAY` line has the name (mdadm: config.c, `conf_name_is_free`).
fn is_free(conf: &MdadmConf, name: &str) -> bool {
    let name = plain(name);
    !conf.arrays.iter().any(|line| {
        [&line.device, &line.name].into_iter().flatten().any(|taken| plain(taken) == name)
            || line.super_minor.is_some_and(|minor| minor.to_string() == name)
    })
}

/// The numbers that `ARRAY` lines keep: no array without a number of its own gets one of them (mdadm: mdopen.c,
/// `find_free_devnm`).
pub(in crate::assemble) fn reserved(conf: &MdadmConf) -> Vec<u32> {
    let of_line = |line: &ArrayLine| {
        let names = [&line.device, &line.name].into_iter().flatten();
        let numbers: Vec<u32> =
            names.filter_map(|name| digits(plain(name))).chain(line.super_minor).collect();
        numbers
    };
    let mut numbers: Vec<u32> = conf.arrays.iter().flat_map(of_line).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// The name without its directory, and a node's number alone.
fn plain(text: &str) -> &str {
    let text = text.strip_prefix("/dev/md/").or_else(|| text.strip_prefix("/dev/")).unwrap_or(text);
    text.strip_prefix("md").filter(|rest| digits(rest).is_some()).unwrap_or(text)
}

/// Number of a node; the kernel's names go up to 511 (drivers/md/md.c, `add_named_array`).
fn digits(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| plain && *number < 512)
}
