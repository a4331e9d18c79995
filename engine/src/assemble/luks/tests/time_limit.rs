//! How long a passphrase is asked for (`rd.luks.timeout=`, `timeout=`), and what happens when nobody types it in time.

use cmdline::plan::{EmergencyAction, FailurePlan};

use super::*;
use crate::command::GiveUp;
use crate::script::{is_mount, is_rescue};

fn limited(seconds: u64) -> Plan {
    let mut plan = explicit(ID);
    plan.luks.prompt_timeout = Some(Duration::from_secs(seconds));
    plan
}

/// The containers that were given up, as they are named in the log.
fn given_up(actions: &[Action]) -> Vec<&str> {
    let texts = actions.iter().filter_map(|action| match action {
        Action::Say(crate::Loudness::Error, text) => Some(text),
        _ => None,
    });
    texts
        .filter(|text| text.contains("stays locked: nobody typed"))
        .filter_map(|text| text.split(' ').next())
        .collect()
}

#[test]
fn nobody_types_in_time() {
    let mut script = Script::new(limited(20));
    script.disk("sda", luks());
    assert!(!script.wait(19_000).contains(&Action::StopAsking));
    let actions = script.wait(15_000);
    assert!(actions.contains(&Action::StopAsking), "{actions:?}");
    assert_eq!(given_up(&actions), ["sda"]);
    let text = script.engine.explain(crate::Moment(script.now)).to_string();
    assert!(text.contains("rd.luks.timeout"), "{text}");
    assert!(actions.iter().any(is_rescue), "{actions:?}");
    // What is typed now is nobody's answer; after a retry the time is there again.
    assert_eq!(typed(&mut script, 1), []);
    assert!(script.tell(Event::Retry).iter().any(is_ask));
    assert!(!script.wait(19_000).contains(&Action::StopAsking));
    assert_eq!(typed(&mut script, 2).len(), 1);
}

/// `timeout=0` of one container: no limit, whatever rd.luks.timeout= says.
#[test]
fn a_container_may_be_without_the_limit_of_all() {
    let mut plan = limited(20);
    plan.luks.options.push((Some(ID.to_owned()), vec!["timeout=0".to_owned()]));
    let mut script = Script::new(plan);
    script.disk("sda", luks());
    assert!(!script.wait(100_000).contains(&Action::StopAsking));
    assert_eq!(typed(&mut script, 1).len(), 1);
}

#[test]
fn without_a_shell_the_end_is_none() {
    for (panic, end) in [(Some(0), GiveUp::Panic), (None, GiveUp::Act(EmergencyAction::PowerOff))] {
        let mut plan = limited(20);
        plan.failure = FailurePlan { shell: Some(false), panic, ..FailurePlan::default() };
        let mut script = Script::new(plan);
        script.disk("sda", luks());
        let mut actions = script.wait(19_000);
        assert!(!actions.iter().any(|one| matches!(one, Action::GiveUp(_))), "{actions:?}");
        actions.extend(script.wait(15_000));
        assert!(actions.contains(&Action::GiveUp(end)) && !actions.iter().any(is_rescue), "{actions:?}");
        let why = |one: &Action| matches!(one, Action::Explain(crate::Loudness::Error, why) if why.to_string().contains("rd.luks.timeout="));
        assert!(actions.iter().any(why), "{actions:?}");
    }
}

#[test]
fn a_root_elsewhere_waits_for_as_long_as_the_question_stands() {
    let mut script = Script::new(limited(20));
    script.disk("sda", luks());
    let actions = script.disk("sdb", content(Kind::Ext4, "inner"));
    assert!(mounted(&actions).is_empty());
    assert!(mounted(&script.wait(19_000)).is_empty());
    let actions = script.wait(2_000);
    assert_eq!((given_up(&actions), mounted(&actions)), (vec!["sda"], vec!["sdb".to_owned()]));
    let actions = script.answer(is_mount, Ok(Outcome::Done));
    assert!(actions.iter().any(is_switch), "{actions:?}");
}

#[test]
fn a_container_that_comes_late_has_its_own_time() {
    let mut plan = limited(20);
    plan.luks.selectors.push(selector(LuksIdKind::Uuid, "bbbb"));
    // After the end of the first one's, and shortly before.
    let mut script = Script::new(plan.clone());
    script.disk("sda", luks());
    assert_eq!(given_up(&script.wait(21_000)), ["sda"]);
    assert_eq!(
        asks(&script.disk("sdb", content(Kind::Luks2, "bbbb")))[0].0,
        "Passphrase for sdb (luks-bbbb)"
    );
    assert!(given_up(&script.wait(19_000)).is_empty());
    assert_eq!(typed(&mut script, 1), [("sdb".into(), "luks-bbbb".into())]);
    script.answer(is_open, Ok(Outcome::Done));
    let actions = script.mapping("dm-0", "luks-bbbb", "sdb", content(Kind::Ext4, "inner"));
    assert_eq!(mounted(&actions), ["dm-0"]);

    let mut script = Script::new(plan);
    script.disk("sda", luks());
    script.wait(15_000);
    assert_eq!(asks(&script.disk("sdb", content(Kind::Luks2, "bbbb"))).len(), 1);
    assert!(given_up(&script.wait(19_000)).is_empty(), "one question, which ends once");
    assert_eq!(given_up(&script.wait(2_000)), ["sda", "sdb"]);
}

#[test]
fn each_question_has_its_own_time() {
    let mut script = Script::new(limited(20));
    script.disk("sda", luks());
    script.wait(15_000);
    typed(&mut script, 1);
    assert!(wrong(&mut script).iter().any(is_ask));
    assert!(given_up(&script.wait(19_000)).is_empty());
    assert_eq!(given_up(&script.wait(2_000)), ["sda"]);
}

#[test]
fn who_waits_for_ever_is_not_given_up_with_the_others() {
    // One that joins the question, and a plain mapping that is asked for after it.
    let tab = format!(
        "a UUID={ID} none timeout=20,x-initrd.attach\nb UUID=bbbb none x-initrd.attach\np /dev/sdz none plain,x-initrd.attach"
    );
    let mut script = Script::with_image(plan(uuid("inner")), crypttab(&tab));
    script.disk("sda", luks());
    script.disk("sdz", ondisk::Content::default());
    script.wait(15_000);
    script.disk("sdb", content(Kind::Luks2, "bbbb"));
    assert!(given_up(&script.wait(60_000)).is_empty(), "the question stands");
    assert_eq!(typed(&mut script, 1).len(), 1);

    let mut script = Script::with_image(plan(uuid("inner")), crypttab(&tab));
    script.disk("sda", luks());
    script.disk("sdz", ondisk::Content::default());
    let actions = script.wait(21_000);
    assert_eq!(given_up(&actions), ["sda"]);
    assert_eq!(asks(&actions).last().map(|(prompt, _)| prompt.as_str()), Some("Passphrase for sdz (p)"));
    assert!(given_up(&script.wait(60_000)).is_empty());
}

#[test]
fn the_time_of_crypttab_goes_before_that_of_the_command_line() {
    for (row, seconds) in [("timeout=5", 5), ("timeout=1min", 60), ("-", 20)] {
        let mut script = Script::with_image(limited(20), crypttab(&format!("x UUID={ID} none {row}")));
        script.disk("sda", luks());
        assert!(given_up(&script.wait(seconds * 1_000 - 1)).is_empty(), "{row}");
        assert_eq!(given_up(&script.wait(1)), ["sda"], "{row}");
    }
}
