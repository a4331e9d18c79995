//! The storage arrays that multipath-tools know by themselves (their libmultipath/hwtable.c).

use super::{Array, Grouping, Pattern, Retry, Settings};

const TABLE: &str = include_str!("hardware.tsv");

/// All of them, in the order of the table.
pub(super) fn arrays() -> Vec<Array> {
    TABLE.lines().filter(|line| !line.starts_with('#')).filter_map(array).collect()
}

fn array(line: &str) -> Option<Array> {
    let mut columns = line.split('\t');
    let (vendor, product) = (columns.next()?, columns.next()?);
    let mut settings = Settings::default();
    for word in columns.next()?.split(' ') {
        match word {
            "prio" => settings.grouping = Some(Grouping::Priority),
            "bus" => settings.grouping = Some(Grouping::Multibus),
            "serial" => settings.grouping = Some(Grouping::Serial),
            "queue" => settings.no_path_retry = Some(Retry::Queue),
            "fail" => settings.no_path_retry = Some(Retry::Fail),
            "init50" => settings.features = Some("2 pg_init_retries 50".to_owned()),
            "plain-names" => settings.friendly_names = Some(false),
            "undetected" => settings.detect_prio = Some(false),
            "round-robin" => settings.selector = Some("round-robin 0".to_owned()),
            "weighted" => (settings.weighted, settings.min_io) = (Some(true), Some(1)),
            "flush" => settings.flush = Some(true),
            word => match word.parse() {
                Ok(times) => settings.no_path_retry = Some(Retry::Times(times)),
                Err(_) => settings.prio = Some(word.to_owned()),
            },
        }
    }
    let never = columns.next().and_then(Pattern::new);
    Some(Array {
        vendor: Pattern::new(vendor),
        product: Pattern::new(product),
        revision: None,
        never,
        settings,
    })
}
