//! A moment in milliseconds: printed as the contract demands, and read in every form that senders use.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::{Iso8601, Rfc3339};

/// Milliseconds since the Unix epoch, UTC.
///
/// It prints as RFC 3339 with milliseconds (`2026-01-21T12:00:00.000Z`). The text has 24 characters for the years 0 to
/// 9999, so printed times sort as the moments do. Caches measure their age with it, too: Lambda freezes an environment
/// between invocations, and a monotonic clock does not count that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The years 0 to 9999 in UTC. A time with an offset may lie outside of them.
const SORTABLE_MS: RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

/// A day in milliseconds.
const DAY_MS: i64 = 86_400_000;

impl Timestamp {
    /// Reads the clock. Only the edges of the program call this; all other code gets the time as an argument.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// The moment that is `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded up, so that a record does not expire early.
    pub const fn as_seconds_rounded_up(self) -> i64 {
        self.0.div_euclid(1000) + (self.0.rem_euclid(1000) != 0) as i64
    }

    /// Whole seconds since the epoch, rounded down: a record whose `expires_at` is greater has not expired at this moment.
    pub const fn as_seconds_rounded_down(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The moment `days` days later.
    pub const fn plus_days(self, days: u32) -> Self {
        Self(self.0.saturating_add(days as i64 * DAY_MS))
    }

    /// The moment `days` days earlier.
    pub const fn minus_days(self, days: u32) -> Self {
        Self(self.0.saturating_sub(days as i64 * DAY_MS))
    }

    /// The moment `duration` later.
    pub fn plus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// The time since `earlier`. `None` if `earlier` is later than this moment.
    pub fn since(self, earlier: Self) -> Option<Duration> {
        u64::try_from(self.0.checked_sub(earlier.0)?)
            .ok()
            .map(Duration::from_millis)
    }

    /// Reads a time in RFC 3339 or another form of ISO 8601, of the years 0 to 9999 in UTC.
    ///
    /// A blank may stand for the `T`, as RFC 3339 allows, and blanks may stand around the time. A time without an offset
    /// names no moment: [`Parsed::WithoutOffset`] reads it as UTC, and the caller decides.
    pub fn parse(text: &str) -> Option<Parsed> {
        let text = text.trim();
        // No time with nanoseconds and an offset is this long.
        if text.len() > 40 || !text.is_ascii() {
            return None;
        }
        let mut text = text.to_ascii_uppercase().replacen(' ', "T", 1);
        if let Some(moment) = moment(&text) {
            return Some(Parsed::Moment(moment));
        }
        text.push('Z');
        moment(&text).map(Parsed::WithoutOffset)
    }
}

fn moment(text: &str) -> Option<Timestamp> {
    // The library takes any byte between the date and the time of day.
    let is_rfc3339 = text.as_bytes().get(10) == Some(&b'T');
    // The first format reads fractions exactly; the second one reads them through a float.
    let moment = is_rfc3339
        .then(|| OffsetDateTime::parse(text, &Rfc3339).ok())
        .flatten()
        .or_else(|| OffsetDateTime::parse(text, &Iso8601::PARSING).ok())
        // The library reads offsets of up to 25 hours.
        .filter(|moment| moment.offset().whole_hours().unsigned_abs() < 24)?;
    let millis = i64::try_from(moment.unix_timestamp_nanos().div_euclid(1_000_000)).ok()?;
    SORTABLE_MS.contains(&millis).then_some(Timestamp(millis))
}

/// The result of [`Timestamp::parse`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A moment.
    Moment(Timestamp),
    /// A date and time of day without an offset, read as UTC.
    WithoutOffset(Timestamp),
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let millis = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
        };
        Self(millis)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0.div_euclid(1000), self.0.rem_euclid(1000));
        let Ok(t) = OffsetDateTime::from_unix_timestamp(seconds) else {
            // This is past the year 9999. No sender's time gets here, since `parse` does not read it.
            return write!(f, "{seconds}.{millis:03}");
        };
        let (year, month, day) = t.to_calendar_date();
        let (hour, minute, second) = t.to_hms();
        write!(
            f,
            "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z",
            u8::from(month)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn moment(text: &str) -> String {
        match Timestamp::parse(text) {
            Some(Parsed::Moment(t)) => t.to_string(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn every_spelling_of_a_moment_prints_the_same() {
        for text in [
            "2026-01-21T12:00:00Z",
            "2026-01-21T12:00:00.000Z",
            "2026-01-21t12:00:00z",
            "2026-01-21 12:00:00.0000001Z",
            "2026-01-21T13:30:00+01:30",
            "2026-01-21T07:00:00-05:00",
            "2026-01-21T07:00:00-0500",
            "2026-01-21T13:00:00.000+01",
            "2026-01-21T12:00Z",
            "2026-01-21T13:00+0100",
            "2026-01-21T12:00:00,000Z",
            "20260121T120000Z",
            "2026-01-21T12:00:00.0000000000000000000Z",
            " 2026-01-21T12:00:00Z\n",
        ] {
            assert_eq!(moment(text), "2026-01-21T12:00:00.000Z", "{text}");
        }
        assert_eq!(moment("1969-12-31T23:59:59.999Z"), "1969-12-31T23:59:59.999Z");
        assert_eq!(moment("2024-02-29T00:00:00Z"), "2024-02-29T00:00:00.000Z");
    }

    #[test]
    fn a_time_without_an_offset_is_marked() {
        let Some(Parsed::WithoutOffset(t)) = Timestamp::parse("2026-01-21T12:00:00") else {
            panic!("the time is not marked");
        };
        assert_eq!(t.to_string(), "2026-01-21T12:00:00.000Z");
        assert_eq!(
            Timestamp::parse("2026-01-21 12:00"),
            Some(Parsed::WithoutOffset(t))
        );
    }

    #[test]
    fn the_first_and_the_last_moment_print_with_the_usual_width() {
        for text in ["0000-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"] {
            assert_eq!(moment(text), text);
        }
    }

    #[test]
    fn digits_alone_are_not_a_time() {
        for number in (0..4_000_000_000_i64).step_by(999_983) {
            for text in [number.to_string(), (number * 1000).to_string()] {
                assert_eq!(Timestamp::parse(&text), None, "{text}");
            }
        }
    }

    #[test]
    fn a_text_that_names_no_moment_is_not_read() {
        for text in [
            "",
            "now",
            "2026-01-21",
            "2026-02-30T12:00:00Z",
            "2026-01-21T25:00:00Z",
            "2026-01-21T12:00:00ZZ",
            "2026-01-21x12:00:00Z",
            "2026-01-21T12:00:00.00000000000000000000Z",
            "2026-01-21912:00:00Z",
            "2026-01-21-12:00:00Z",
            "2026-01-21_12:00:00",
            "1769000400000",
            "2026-01-21T12:00:00\u{661}Z",
            "+12026-01-21T12:00:00Z",
            "0000-01-01T00:00:00+23:59",
            "2026-01-21T12:00:00+24:00",
            "2026-01-21T12:00:00-24:00",
            "2026-01-21T12:00:00+2430",
            "9999-12-31T23:59:59-00:01",
            "2026-01-21T",
            "2026-01-21Z",
            "12:00:00Z",
            "20260121",
            "Z",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_clock_before_1970_is_read() {
        let before = UNIX_EPOCH - Duration::from_millis(1500);
        assert_eq!(Timestamp::from(before), Timestamp::from_millis(-1500));
        assert_eq!(Timestamp::from(before).to_string(), "1969-12-31T23:59:58.500Z");
    }

    #[test]
    fn a_record_never_expires_early() {
        assert_eq!(Timestamp::from_millis(1).as_seconds_rounded_up(), 1);
        assert_eq!(Timestamp::from_millis(1000).as_seconds_rounded_up(), 1);
        assert_eq!(Timestamp::from_millis(1001).as_seconds_rounded_up(), 2);
    }
}
