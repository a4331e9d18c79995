//! A `/usr` of its own, which most roots need before their init can run.

use cmdline::Plan;
use cmdline::plan::{RootPlan, RootSpec};

use crate::fstab::Entry;

/// What is to be done about `/usr` once root is mounted.
#[derive(Debug, PartialEq, Eq)]
pub enum Usr {
    /// Nothing: it is part of root.
    None,
    /// It is named in a way that is for the real root; says so.
    Left(String),
    /// It is to be mounted as this says.
    Wanted(RootPlan),
}

/// Takes what the command line says about `/usr` out of the plan, or else what the root's fstab says.
///
/// `ro` and `rw` of the command line go before the options of the fstab, as dracut has it; the real root's
/// systemd-remount-fs.service applies those later.
#[must_use]
pub fn wanted(plan: &mut Plan, entry: Option<Box<Entry>>) -> Usr {
    let from_root = |spec, fstype, flags| {
        let (flags, fstab) = (Some(flags), false);
        Usr::Wanted(RootPlan { spec: Some(spec), fstype, flags, fstab, ..plan.root.clone() })
    };
    if let Some(spec) = plan.usr.spec.take() {
        return from_root(spec, plan.usr.fstype.clone(), plan.usr.flags.clone().unwrap_or_default());
    }
    let Some(entry) = entry else { return Usr::None };
    match cmdline::root_spec(&entry.source) {
        RootSpec::Unsupported(source) => Usr::Left(format!(
            "the root's fstab wants {source} as /usr, which is no block device: it is left to the real root"
        )),
        spec => {
            let fstype = entry.fstype.split(',').filter(|name| *name != "auto").map(str::to_owned).collect();
            from_root(spec, fstype, entry.options)
        }
    }
}

#[cfg(test)]
mod tests {
    use cmdline::plan::{Access, UsrPlan};
    use ondisk::Kind;

    use super::*;
    use crate::command::{Action, Mountpoint};
    use crate::event::{DeviceFacts, DmFacts, Failure, Outcome};
    use crate::fstab;
    use crate::script::{Script, content, is_mount, is_open, is_rescue, is_switch, mounted, plan, uuid};

    fn says(line: &str) -> Outcome {
        fstab::usr_entry(line).map_or(Outcome::Done, |entry| Outcome::Usr(Box::new(entry)))
    }

    /// A machine whose root is mounted; what follows from its fstab.
    fn after_root(plan: Plan, fstab: &str) -> (Script, Vec<Action>) {
        let mut script = Script::new(plan);
        script.disk("sda", content(Kind::Ext4, "root"));
        script.disk("sdb", content(Kind::Xfs, "usr"));
        let actions = script.answer(is_mount, Ok(says(fstab)));
        (script, actions)
    }

    fn request(actions: &[Action]) -> (Mountpoint, String, Vec<String>, Option<String>) {
        let found = actions.iter().find_map(|action| match action {
            Action::Mount(one) => {
                Some((one.mountpoint, one.device.0.clone(), one.fstypes.clone(), one.flags.clone()))
            }
            _ => None,
        });
        found.expect("a mount")
    }

    #[test]
    fn the_fstab_names_it() {
        let (mut script, actions) = after_root(plan(uuid("root")), "UUID=usr /usr/ auto nodev,noatime 0 2");
        assert!(!actions.iter().any(is_switch));
        let wanted =
            (Mountpoint::Usr, "sdb".to_owned(), vec!["xfs".to_owned()], Some("nodev,noatime".into()));
        assert_eq!(request(&actions), wanted);
        assert!(script.answer(is_mount, Ok(Outcome::Done)).iter().any(is_switch));
    }

    #[test]
    fn root_alone_is_enough_otherwise() {
        for line in ["", "UUID=usr /usr ext4 noauto 0 2", "UUID=usr /usr/local ext4", "server:/usr /usr nfs"]
        {
            let (_, actions) = after_root(plan(uuid("root")), line);
            assert!(actions.iter().any(is_switch), "{line}");
            assert_eq!(actions.iter().any(|one| matches!(one, Action::Say(..))), line.contains("nfs"));
        }
    }

    #[test]
    fn the_command_line_goes_before_the_fstab() {
        let mut plan = plan(uuid("root"));
        plan.root.access = Some(Access::ReadOnly);
        plan.usr =
            UsrPlan { spec: Some(uuid("usr")), flags: Some("subvol=a".to_owned()), ..UsrPlan::default() };
        let (_, actions) = after_root(plan, "UUID=other /usr ext4 rw 0 2");
        assert_eq!(request(&actions).3.as_deref(), Some("subvol=a"));
        let read_only =
            |action: &Action| matches!(action, Action::Mount(one) if one.access == Some(Access::ReadOnly));
        assert!(actions.iter().any(read_only));
    }

    #[test]
    fn what_is_missing_is_named_and_may_come_late() {
        let (mut script, actions) = after_root(plan(uuid("root")), "UUID=late /usr ext4");
        assert!(!actions.iter().any(|one| is_switch(one) || is_mount(one)));
        let said = script.wait(400_000);
        assert!(said.iter().any(is_rescue));
        let headline = script.engine.explain(crate::time::Moment(500_000)).headline;
        assert!(headline.starts_with("cannot reach /usr: UUID=late"), "{headline}");
        script.tell(crate::event::Event::Retry);
        assert_eq!(mounted(&script.disk("sdc", content(Kind::Ext4, "late"))), ["sdc"]);
    }

    #[test]
    fn a_container_that_nobody_named_is_opened_for_it() {
        let (mut script, _) = after_root(plan(uuid("root")), "UUID=inner /usr ext4");
        let said = [script.disk("sdc", content(Kind::Luks2, "outer")), script.wait(5_000)].concat();
        assert!(
            said.iter().any(|one| matches!(one, Action::AskPassphrase { .. }) || is_open(one)),
            "{said:?}"
        );
    }

    #[test]
    fn one_that_cannot_be_mounted_is_not_done_without() {
        let (mut script, _) = after_root(plan(uuid("root")), "UUID=usr /usr xfs");
        let refused = Failure::Os { what: "mount".into(), errno: 117 };
        let mut actions = script.answer(is_mount, Err(refused));
        actions.extend(script.wait(60_000));
        assert!(!actions.iter().any(is_switch));
        assert!(actions.iter().any(is_rescue));
    }

    /// Anybody can give a disk the id that the fstab names; with a hash only the mapping is `/usr`.
    #[test]
    fn with_a_hash_it_lies_on_the_verified_mapping() {
        let sources = cmdline::Sources {
            kernel: format!("root=UUID=root usrhash={}", "ab".repeat(32)),
            ..cmdline::Sources::default()
        };
        let (mut plan, _) = cmdline::parse(&sources);
        assert_eq!(plan.usr.spec, Some(RootSpec::Path("/dev/mapper/usr".to_owned())));
        plan.usr.spec = Some(uuid("usr"));
        let (mut script, actions) = after_root(plan, "");
        assert!(!actions.iter().any(|one| is_mount(one) || is_switch(one)));
        let dm = |uuid: &str| DmFacts { name: "usr".to_owned(), uuid: format!("CRYPT-{uuid}-usr") };
        for (name, uuid, wanted) in [("dm-0", "LUKS2", vec![]), ("dm-1", "VERITY", vec!["dm-1"])] {
            let facts = DeviceFacts {
                size: 1 << 30,
                sector_size: 512,
                dm: Some(dm(uuid)),
                slaves: vec!["sdb".into()],
                ..DeviceFacts::default()
            };
            assert_eq!(mounted(&script.add(name, facts, content(Kind::Xfs, "usr"))), wanted);
        }
    }
}
