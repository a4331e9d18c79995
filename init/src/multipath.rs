//! The image's multipath configuration.

use std::path::Path;

use cmdline::Plan;
use cmdline::multipath::Config;
use cmdline::plan::Multipath;
use engine::image;

/// Device handlers of storage arrays. One that is loaded before a disk appears is attached to it by the kernel, which
/// then knows the state of each path.
pub const HANDLERS: [&str; 4] = ["scsi_dh_alua", "scsi_dh_rdac", "scsi_dh_emc", "scsi_dh_hp_sw"];

/// Reads the configuration; `None` means that there is to be no multipathing.
pub fn read(plan: &Plan) -> Option<Box<Config>> {
    read_below(Path::new("/"), plan)
}

fn read_below(top: &Path, plan: &Plan) -> Option<Box<Config>> {
    let text = |name: &str| std::fs::read_to_string(top.join(name)).ok().filter(|_| plan.hostonly);
    let own = text(image::MULTIPATH_CONF);
    let mut config = match (plan.multipath, own) {
        (Multipath::Off, _) | (Multipath::Configured, None) => return None,
        (_, Some(text)) => {
            let mut texts = vec![text];
            texts.extend(crate::drop_ins(&top.join(image::MULTIPATH_DIRECTORY)));
            let (config, remarks) = Config::read(texts.iter().map(String::as_str));
            for remark in remarks {
                log::warn!("multipath.conf: {remark}");
            }
            config
        }
        (Multipath::Default, None) => Config::usual(),
    };
    config.read_bindings(&text(image::MULTIPATH_BINDINGS).unwrap_or_default());
    config.read_wwids(&text(image::MULTIPATH_WWIDS).unwrap_or_default());
    Some(Box::new(config))
}

#[cfg(test)]
mod tests {
    use cmdline::multipath::Find;

    use super::*;

    #[test]
    fn files_and_the_command_line() {
        let top = std::env::temp_dir().join(format!("rootward-multipath-{}", std::process::id()));
        let etc = top.join("etc");
        std::fs::create_dir_all(etc.join("multipath/conf.d")).unwrap();
        let plan = |multipath, hostonly| Plan { multipath, hostonly, ..Plan::default() };
        assert!(read_below(&top, &plan(Multipath::Configured, true)).is_none());
        let usual = read_below(&top, &plan(Multipath::Default, true)).unwrap();
        assert_eq!((usual.find, usual.defaults.friendly_names), (Find::Two, Some(true)));

        std::fs::write(etc.join("multipath.conf"), "defaults {\n find_multipaths smart\n}\n").unwrap();
        std::fs::write(etc.join("multipath/conf.d/b.conf"), "defaults {\n find_multipaths greedy\n}\n")
            .unwrap();
        std::fs::write(etc.join("multipath/conf.d/a.conf"), "defaults {\n find_multipaths strict\n}\n")
            .unwrap();
        std::fs::write(etc.join("multipath/bindings"), "mpatha 3600\n").unwrap();
        std::fs::write(etc.join("multipath/wwids"), "/3600/\n").unwrap();
        for multipath in [Multipath::Configured, Multipath::Default] {
            let config = read_below(&top, &plan(multipath, true)).unwrap();
            assert_eq!(config.find, Find::All, "the last file");
            assert_eq!((config.bindings.len(), config.known.len()), (1, 1));
        }
        assert!(read_below(&top, &plan(Multipath::Off, true)).is_none());
        assert!(read_below(&top, &plan(Multipath::Configured, false)).is_none(), "rd.hostonly=0");
        assert!(read_below(&top, &plan(Multipath::Default, false)).unwrap().bindings.is_empty());
        std::fs::remove_dir_all(&top).unwrap();
    }
}
