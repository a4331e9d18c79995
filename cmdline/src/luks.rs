//! Value grammars of `rd.luks.*`: those of dracut and of systemd, told apart by their shape.

use crate::plan::{Discards, KeyDevice, KeyTarget, LuksIdKind, LuksKey, LuksPlan, LuksSelector};
use crate::table::Expected;

const EXPECT_ID: Expected = "the UUID of the container as cryptsetup luksUUID prints it";

/// `[keysource:][luks-]ID`, several in one value if separated by white space.
pub(crate) fn add_selector(plan: &mut LuksPlan, kind: LuksIdKind, value: &str) -> Result<(), Expected> {
    let mut any = false;
    for item in value.split_whitespace() {
        let (keysource, id) = match item.strip_prefix("keysource:") {
            Some(id) => (true, id),
            None => (false, item),
        };
        let id = id.strip_prefix("luks-").or_else(|| id.strip_prefix("UUID=")).unwrap_or(id);
        // Ids match as substrings, so that an empty one would open every container.
        if !id.bytes().any(|b| b.is_ascii_alphanumeric()) {
            return Err(EXPECT_ID);
        }
        any = true;
        match plan.selectors.iter_mut().find(|known| known.kind == kind && same_id(&known.id, id)) {
            Some(known) => known.keysource |= keysource,
            None => plan.selectors.push(LuksSelector { kind, id: id.to_owned(), keysource, name: None }),
        }
    }
    if any { Ok(()) } else { Err(EXPECT_ID) }
}

/// Whether two ids are the same; dashes and case carry no meaning in them.
pub(crate) fn same_id(a: &str, b: &str) -> bool {
    significant(a).eq(significant(b))
}

fn significant(id: &str) -> impl Iterator<Item = u8> {
    id.bytes().filter(|b| *b != b'-').map(|b| b.to_ascii_lowercase())
}

/// `ID=NAME`. It names the selector with that id; alone it also asks for the container to be opened, as
/// systemd does.
pub(crate) fn add_name(plan: &mut LuksPlan, value: &str) -> Result<(), Expected> {
    const EXPECT: Expected = "UUID=NAME, where NAME has no slash";
    let (id, name) = value.split_once('=').ok_or(EXPECT)?;
    // device-mapper takes names of up to 127 bytes and makes a node of that name.
    if name.is_empty() || name.len() > 127 || name.contains('/') || name == "." || name == ".." {
        return Err(EXPECT);
    }
    let id = id.strip_prefix("luks-").unwrap_or(id);
    let mut named = false;
    for selector in plan.selectors.iter_mut().filter(|selector| same_id(&selector.id, id)) {
        selector.name = Some(name.to_owned());
        named = true;
    }
    if !named {
        add_selector(plan, LuksIdKind::Uuid, id)?;
        if let Some(selector) = plan.selectors.last_mut() {
            selector.name = Some(name.to_owned());
        }
    }
    Ok(())
}

/// dracut's `PATH[:KEYDEV[:LUKSDEV]]` or systemd's `UUID=PATH[:KEYDEV]`.
///
/// A path starts with a slash and a UUID does not, so the first byte tells which one it is. Without KEYDEV
/// dracut looks on every device and systemd in the initramfs; a bare PATH, which both understand, is looked
/// for in the initramfs first and then everywhere.
pub(crate) fn key(value: &str) -> Result<LuksKey, Expected> {
    const EXPECT: Expected = "PATH[:KEYDEV[:LUKSDEV]] or UUID=PATH[:KEYDEV], where PATH starts with a slash";
    if value.starts_with('/') {
        let mut parts = value.splitn(3, ':');
        let path = parts.next().unwrap_or("");
        let device = parts.next().unwrap_or("");
        let target = parts.next().unwrap_or("");
        let device = if device.is_empty() { KeyDevice::Any } else { key_device(device).ok_or(EXPECT)? };
        let target = key_target(target).ok_or(EXPECT)?;
        return key_path(path, device, target).ok_or(EXPECT);
    }
    let (id, rest) = value.split_once('=').ok_or(EXPECT)?;
    let id = id.strip_prefix("luks-").unwrap_or(id);
    // Names of links in /dev/disk have colons too: what follows the last one is a device, or it is all a path.
    let (path, device) = match rest.rsplit_once(':').map(|(path, device)| (path, key_device(device))) {
        Some((path, Some(device))) => (path, device),
        _ if rest.starts_with("/dev/") || !rest.contains(':') => (rest, KeyDevice::Initramfs),
        _ => return Err(EXPECT),
    };
    if !is_uuid_like(id) {
        return Err(EXPECT);
    }
    key_path(path, device, KeyTarget::Uuid(id.to_owned())).ok_or(EXPECT)
}

fn key_path(path: &str, device: KeyDevice, target: KeyTarget) -> Option<LuksKey> {
    let usable = path.len() > 1 && path.starts_with('/') && !path.split('/').any(|part| part == "..");
    usable.then(|| LuksKey { path: path.to_owned(), device, target })
}

/// A key device: `/` is the initramfs, else a node below `/dev`, `UUID=` or `LABEL=`; partitions by their
/// UUID or name through their links.
pub(crate) fn key_device(text: &str) -> Option<KeyDevice> {
    if text == "/" {
        return Some(KeyDevice::Initramfs);
    }
    match text.split_once('=') {
        Some((_, "")) => None,
        Some(("UUID", id)) => Some(KeyDevice::Uuid(id.to_owned())),
        Some(("LABEL", id)) => Some(KeyDevice::Label(crate::root::unescape(id))),
        Some(("PARTUUID", id)) => {
            Some(KeyDevice::Path(format!("/dev/disk/by-partuuid/{}", id.to_lowercase())))
        }
        Some(("PARTLABEL", id)) => Some(KeyDevice::Path(format!("/dev/disk/by-partlabel/{id}"))),
        _ => device_path(text).map(KeyDevice::Path),
    }
}

fn key_target(text: &str) -> Option<KeyTarget> {
    match text.split_once('=') {
        _ if text.is_empty() || text == "*" => Some(KeyTarget::All),
        Some((_, "")) => None,
        Some(("UUID", id)) => Some(KeyTarget::Uuid(id.to_owned())),
        Some(("LABEL", id)) => Some(KeyTarget::Label(crate::root::unescape(id))),
        _ => match device_path(text) {
            Some(path) => Some(KeyTarget::Path(path)),
            // A UUID without its tag is what most people type here.
            None => is_uuid_like(text).then(|| KeyTarget::Uuid(text.to_owned())),
        },
    }
}

fn device_path(text: &str) -> Option<String> {
    let name = text.strip_prefix("/dev/")?;
    (!name.is_empty() && !name.split('/').any(|part| part == "..")).then(|| text.to_owned())
}

/// Hex digits and dashes, long enough not to be an option's name.
pub(crate) fn is_uuid_like(text: &str) -> bool {
    text.len() >= 8
        && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
        && text.bytes().any(|b| b != b'-')
}

/// `rd.luks.allow-discards`, bare or with a UUID: that container alone.
pub(crate) fn allow_discards(plan: &mut LuksPlan, value: &str) -> Result<(), Expected> {
    match value {
        "" | "1" | "yes" | "on" | "true" => plan.discards = Discards::All,
        "0" | "no" | "off" | "false" => plan.discards = Discards::None,
        id => {
            let id = id.strip_prefix("luks-").unwrap_or(id);
            if !is_uuid_like(id) {
                return Err("nothing, or the UUID of one container");
            }
            allow_discards_for(plan, id);
        }
    }
    Ok(())
}

fn allow_discards_for(plan: &mut LuksPlan, id: &str) {
    match &mut plan.discards {
        Discards::All => {}
        Discards::Some(ids) => {
            if !ids.iter().any(|known| same_id(known, id)) {
                ids.push(id.to_owned());
            }
        }
        Discards::None => plan.discards = Discards::Some(vec![id.to_owned()]),
    }
}

/// `rd.luks.data=UUID=DEVICE`.
pub(crate) fn add_data(plan: &mut LuksPlan, value: &str) -> Result<(), Expected> {
    const EXPECT: Expected = "UUID=DEVICE, where DEVICE is /dev/..., PARTUUID=, PARTLABEL=, ID= or the like";
    let (id, device) = value.split_once('=').ok_or(EXPECT)?;
    let id = id.strip_prefix("luks-").unwrap_or(id);
    let device = match device.strip_prefix("ID=") {
        Some(id) => crate::root::device_spec(&format!("/dev/disk/by-id/{id}")),
        None => crate::root::device_spec(device),
    };
    if !is_uuid_like(id) {
        return Err(EXPECT);
    }
    plan.data.push((id.to_owned(), device.ok_or(EXPECT)?));
    Ok(())
}

/// `rd.luks.options=[UUID=]OPTION,...`.
pub(crate) fn add_options(plan: &mut LuksPlan, value: &str) -> Result<(), Expected> {
    let (id, list) = match value.split_once('=') {
        Some((id, list)) if is_uuid_like(id.strip_prefix("luks-").unwrap_or(id)) => {
            (Some(id.strip_prefix("luks-").unwrap_or(id).to_owned()), list)
        }
        _ => (None, value),
    };
    let options = crate::crypttab::split_options(list);
    if options.is_empty() {
        return Err("[UUID=]OPTION,OPTION with the options of crypttab(5)");
    }
    plan.options.push((id, options));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const U: &str = "12345678-9abc-def0-1234-56789abcdef0";

    fn the_key(path: &str, device: KeyDevice, target: KeyTarget) -> Result<LuksKey, Expected> {
        Ok(LuksKey { path: path.into(), device, target })
    }

    #[test]
    fn keys_in_both_grammars() {
        let uuid = |id: &str| KeyTarget::Uuid(id.into());
        for (value, expected) in [
            ("/k".to_owned(), the_key("/k", KeyDevice::Any, KeyTarget::All)),
            ("/k:".to_owned(), the_key("/k", KeyDevice::Any, KeyTarget::All)),
            ("/k:/".to_owned(), the_key("/k", KeyDevice::Initramfs, KeyTarget::All)),
            ("/k:/:*".to_owned(), the_key("/k", KeyDevice::Initramfs, KeyTarget::All)),
            ("/k:UUID=ab".to_owned(), the_key("/k", KeyDevice::Uuid("ab".into()), KeyTarget::All)),
            (
                "/k:LABEL=key stick".to_owned(),
                the_key("/k", KeyDevice::Label("key stick".into()), KeyTarget::All),
            ),
            (
                "/d/k:/dev/sdb1:UUID=cd".to_owned(),
                the_key("/d/k", KeyDevice::Path("/dev/sdb1".into()), uuid("cd")),
            ),
            ("/k::/dev/sda2".to_owned(), the_key("/k", KeyDevice::Any, KeyTarget::Path("/dev/sda2".into()))),
            ("/k::LABEL=x".to_owned(), the_key("/k", KeyDevice::Any, KeyTarget::Label("x".into()))),
            (format!("/k::{U}"), the_key("/k", KeyDevice::Any, uuid(U))),
            (format!("{U}=/k"), the_key("/k", KeyDevice::Initramfs, uuid(U))),
            (format!("luks-{U}=/k:UUID=ab"), the_key("/k", KeyDevice::Uuid("ab".into()), uuid(U))),
            (
                format!("{U}=/dev/disk/by-path/pci-0000:00:1f.2-usb-0:1"),
                the_key("/dev/disk/by-path/pci-0000:00:1f.2-usb-0:1", KeyDevice::Initramfs, uuid(U)),
            ),
            (
                format!("{U}=/k:PARTUUID=AB-01"),
                the_key("/k", KeyDevice::Path("/dev/disk/by-partuuid/ab-01".into()), uuid(U)),
            ),
        ] {
            assert_eq!(key(&value), expected, "{value}");
        }
        for bad in [
            "",
            "k",
            "/",
            "/k:sdb1",
            "/k:UUID=",
            "/k::nonsense",
            "/../k",
            "name=/k",
            "=/k",
            &format!("{U}=k"),
            &format!("{U}=/k:sdb1"),
        ] {
            assert!(key(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn selectors() {
        let mut plan = LuksPlan::default();
        for value in ["luks-AB-cd", "keysource:ee11", "abCD", "x1 y2"] {
            add_selector(&mut plan, LuksIdKind::Uuid, value).expect(value);
        }
        let seen: Vec<_> = plan.selectors.iter().map(|s| (s.id.as_str(), s.keysource)).collect();
        assert_eq!(seen, [("AB-cd", false), ("ee11", true), ("x1", false), ("y2", false)]);
        for bad in ["", " ", "luks-", "keysource:", "keysource:luks-", "---"] {
            assert!(add_selector(&mut plan, LuksIdKind::Uuid, bad).is_err(), "{bad:?}");
        }
        assert_eq!(plan.selectors.len(), 4);
    }

    #[test]
    fn names() {
        let mut plan = LuksPlan::default();
        add_selector(&mut plan, LuksIdKind::Uuid, "ABCD").expect("selector");
        add_name(&mut plan, "ab-cd=root").expect("names the selector");
        add_name(&mut plan, "ee=swap").expect("asks for another container");
        let seen: Vec<_> = plan.selectors.iter().map(|s| (s.id.as_str(), s.name.as_deref())).collect();
        assert_eq!(seen, [("ABCD", Some("root")), ("ee", Some("swap"))]);
        for bad in ["", "ab", "ab=", "ab=a/b", "ab=..", "=x", "luks-=x", &format!("ab={}", "n".repeat(128))] {
            assert!(add_name(&mut plan, bad).is_err(), "{bad}");
        }
        assert_eq!(plan.selectors.len(), 2);
    }

    #[test]
    fn discards_are_for_the_named_container_alone() {
        let mut plan = LuksPlan::default();
        allow_discards(&mut plan, U).expect("uuid");
        allow_discards(&mut plan, &U.to_uppercase()).expect("the same again");
        assert_eq!(plan.discards, Discards::Some(vec![U.into()]));
        assert!(allow_discards(&mut plan, "maybe").is_err());
        allow_discards(&mut plan, "").expect("bare");
        allow_discards(&mut plan, U).expect("all stays all");
        assert_eq!(plan.discards, Discards::All);
        allow_discards(&mut plan, "0").expect("off");
        assert_eq!(plan.discards, Discards::None);
    }

    #[test]
    fn data_devices() {
        let mut plan = LuksPlan::default();
        add_data(&mut plan, &format!("{U}=PARTUUID=ab-01")).expect("by partition");
        add_data(&mut plan, &format!("luks-{U}=/dev/sdb")).expect("by path");
        add_data(&mut plan, &format!("{U}=ID=ata-x")).expect("by id");
        for bad in ["", U, "x=/dev/sdb", &format!("{U}="), &format!("{U}=sdb")] {
            assert!(add_data(&mut plan, bad).is_err(), "{bad}");
        }
        let specs: Vec<_> =
            plan.data.into_iter().inspect(|(id, _)| assert_eq!(id, U)).map(|(_, spec)| spec).collect();
        assert_eq!(
            specs,
            [
                crate::plan::RootSpec::PartUuid { uuid: "ab-01".into(), offset: 0 },
                crate::plan::RootSpec::Path("/dev/sdb".into()),
                crate::plan::RootSpec::Path("/dev/disk/by-id/ata-x".into()),
            ]
        );
    }

    #[test]
    fn options() {
        let mut plan = LuksPlan::default();
        add_options(&mut plan, "timeout=30,tries=3").expect("for all");
        add_options(&mut plan, &format!("{U}=discard,header=/h")).expect("for one");
        assert!(add_options(&mut plan, "").is_err());
        assert_eq!(
            plan.options,
            [
                (None, vec!["timeout=30".to_owned(), "tries=3".to_owned()]),
                (Some(U.to_owned()), vec!["discard".to_owned(), "header=/h".to_owned()]),
            ]
        );
    }
}
