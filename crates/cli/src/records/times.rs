//! Times as a person types them: an RFC 3339 time, a date, or a time before now.

use sonotheia_webhook::timestamp::{Parsed, Timestamp};

const FORM: &str =
    "a time looks like 2026-01-21T12:00:00Z, like 2026-01-21, or like 15m, 2h or 7d before now";

/// Reads a time. A date means its first millisecond, in UTC.
pub fn from(text: &str) -> Result<Timestamp, &'static str> {
    read(text, "T00:00:00.000Z")
}

/// Reads a time up to which something counts. A date means its last millisecond, in UTC.
pub fn to(text: &str) -> Result<Timestamp, &'static str> {
    read(text, "T23:59:59.999Z")
}

fn read(text: &str, end_of_a_date: &str) -> Result<Timestamp, &'static str> {
    let is_date = text.len() == 10 && text.bytes().filter(|byte| *byte == b'-').count() == 2;
    let whole = if is_date {
        format!("{text}{end_of_a_date}")
    } else {
        text.to_owned()
    };
    match Timestamp::parse(&whole) {
        Some(Parsed::Moment(time)) => Ok(time),
        _ => before_now(text).ok_or(FORM),
    }
}

/// Reads `90s`, `15m`, `2h` or `7d`.
fn before_now(text: &str) -> Option<Timestamp> {
    let (count, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    let is_number = count.bytes().all(|byte| byte.is_ascii_digit());
    let count: u32 = count.parse().ok().filter(|_| is_number)?;
    let time = Timestamp::now().as_millis() - i64::from(count) * seconds * 1000;
    // Earlier years have no four digits.
    (time > -62_000_000_000_000).then(|| Timestamp::from_millis(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_moment_a_date_or_a_time_before_now() {
        let read = |read: fn(&str) -> Result<Timestamp, &'static str>, text| {
            read(text).map(|time| time.to_string()).unwrap_or_default()
        };
        assert_eq!(read(from, "2026-01-21T12:00:00Z"), "2026-01-21T12:00:00.000Z");
        assert_eq!(read(from, "2026-01-21"), "2026-01-21T00:00:00.000Z");
        assert_eq!(read(to, "2026-01-21"), "2026-01-21T23:59:59.999Z");
        let ago = Timestamp::now().as_millis() - from("2h").expect("a time").as_millis();
        assert!((7_200_000..7_260_000).contains(&ago), "{ago}");
        for text in [
            "",
            "2",
            "h",
            "-1h",
            "+1h",
            "2 weeks",
            "2026-13-21",
            "2026-01-21T12:00:00",
            "yesterday",
            "é",
            "1é",
        ] {
            assert!(from(text).is_err(), "{text}");
        }
    }
}
