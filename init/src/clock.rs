//! The clocks: the engine's moments, and the stamps that the real init is told.

use engine::Moment;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// CLOCK_BOOTTIME, so that a suspended machine's deadlines do not stand still.
#[must_use]
pub fn now() -> Moment {
    Moment(micros(clock_gettime(ClockId::Boottime)) / 1000)
}

/// When the program started, for the real init's account of the boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartStamp {
    /// CLOCK_REALTIME in microseconds.
    pub realtime: u64,
    /// CLOCK_MONOTONIC in microseconds.
    pub monotonic: u64,
}

impl StartStamp {
    /// The stamp of this instant; taken as the first thing in `main`.
    #[must_use]
    pub fn take() -> StartStamp {
        StartStamp {
            realtime: micros(clock_gettime(ClockId::Realtime)),
            monotonic: micros(clock_gettime(ClockId::Monotonic)),
        }
    }
}

/// Microseconds; a clock before 1970 counts as 0.
fn micros(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000).saturating_add(nanos / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_move_forward_and_units_hold() {
        let (first, stamp) = (now(), StartStamp::take());
        assert!(now() >= first);
        assert!(stamp.realtime > 1_600_000_000_000_000, "microseconds since 1970: {}", stamp.realtime);
        assert_eq!(micros(Timespec { tv_sec: 2, tv_nsec: 345_678 }), 2_000_345);
        assert_eq!(micros(Timespec { tv_sec: -1, tv_nsec: 0 }), 0);
    }
}
