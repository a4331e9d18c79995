//! Seconds and systemd time spans (`systemd.time(7)`).

use std::time::Duration;

/// A limit in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// This long.
    Finite(Duration),
    /// `infinity`.
    Infinite,
}

impl Span {
    /// The duration, unless it is unlimited.
    pub fn finite(self) -> Option<Duration> {
        match self {
            Span::Finite(duration) => Some(duration),
            Span::Infinite => None,
        }
    }
}

/// Units and their length in microseconds; months and years are the averages that systemd uses.
const UNITS: &[(&[&str], u64)] = &[
    (&["s", "sec", "second", "seconds"], 1_000_000),
    (&["min", "m", "minute", "minutes"], 60_000_000),
    (&["ms", "msec"], 1_000),
    (&["us", "usec", "\u{b5}s", "\u{3bc}s"], 1),
    (&["h", "hr", "hour", "hours"], 3_600_000_000),
    (&["d", "day", "days"], 86_400_000_000),
    (&["w", "week", "weeks"], 604_800_000_000),
    (&["M", "month", "months"], 2_629_800_000_000),
    (&["y", "year", "years"], 31_557_600_000_000),
];

fn micros_per(unit: &str) -> Option<u64> {
    if unit.is_empty() {
        return Some(1_000_000);
    }
    UNITS.iter().find(|(names, _)| names.contains(&unit)).map(|(_, micros)| *micros)
}

/// Reads a time span: a bare number is seconds, `1min 30s`, `1.5h`, `infinity`; `None` when it is none.
pub fn span(text: &str) -> Option<Span> {
    let mut rest = text.trim();
    if rest == "infinity" {
        return Some(Span::Infinite);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = split(rest, |c| c.is_ascii_digit() || c == '.');
        let (unit, after) = split(after.trim_start(), char::is_alphabetic);
        let per = micros_per(unit)?;
        total = total.checked_add(scale(number, per)?)?;
        rest = after.trim_start();
    }
    Some(Span::Finite(Duration::from_micros(total)))
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c: char| !belongs(c)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// `number` (digits, at most one point) times `per`.
fn scale(number: &str, per: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut total = whole.checked_mul(per)?;
    let mut unit = per;
    for digit in fraction.bytes() {
        unit /= 10;
        total = total.checked_add(unit.checked_mul(u64::from(digit.checked_sub(b'0')?))?)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spans() {
        for (text, millis) in [
            ("0", Some(0)),
            ("30", Some(30_000)),
            ("30s", Some(30_000)),
            ("1min 30s", Some(90_000)),
            ("1min30", Some(90_000)),
            ("2h", Some(7_200_000)),
            ("1.5s", Some(1_500)),
            (".5", Some(500)),
            ("250ms", Some(250)),
            ("5 seconds", Some(5_000)),
            ("1d", Some(86_400_000)),
            ("", None),
            ("s", None),
            ("-1", None),
            ("1x", None),
            ("1..5", None),
            (".", None),
            ("never", None),
            ("99999999999999999999", None),
            ("9999999999999999y", None),
        ] {
            let expected = millis.map(|ms| Span::Finite(Duration::from_millis(ms)));
            assert_eq!(span(text), expected, "{text:?}");
        }
        assert_eq!(span("infinity"), Some(Span::Infinite));
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "[0-9.a-z ]{0,30}|\\PC{0,30}") {
            let _ = span(&text);
        }

        #[test]
        fn seconds_and_minutes_add_up(minutes in 0u64..10_000, seconds in 0u64..10_000) {
            let expected = Span::Finite(Duration::from_secs(minutes * 60 + seconds));
            prop_assert_eq!(span(&format!("{minutes}min {seconds}s")), Some(expected));
        }
    }
}
