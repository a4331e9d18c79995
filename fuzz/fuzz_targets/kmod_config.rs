//! modprobe.d: any text becomes a configuration whose names are normalised and no larger than the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ondisk::kmod::Config;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let mut config = Config::default();
    config.add("fuzz.conf", &text);
    config.add_declared(&text);
    assert!(config.blacklist.iter().all(|name| !name.contains('-')));
    assert!(config.options.iter().all(|(name, _)| !name.contains('-')));
    let lines = text.lines().count();
    let entries =
        config.aliases.len() + config.blacklist.len() + config.options.len() + config.softdeps.len();
    assert!(entries + config.ignored.len() <= lines);
    assert!(config.ignored.iter().all(|ignored| (1..=lines).contains(&ignored.line)));
    let mut names = 0;
    for (name, _) in config.softdeps.iter().take(64) {
        let soft = config.softdep(name);
        names += soft.pre.len() + soft.post.len();
    }
    assert!(names <= 64 * data.len());
});
