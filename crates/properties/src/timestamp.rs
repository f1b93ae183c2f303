//! Times as text.

use sonotheia_webhook::timestamp::{Parsed, Timestamp};

/// The moments that the receiver knows: the years 0 to 9999 in UTC, in milliseconds since the epoch.
const FIRST: i64 = -62_167_219_200_000;
const LAST: i64 = 253_402_300_799_999;

/// A text in the form of RFC 3339 is read as the moment that it names, and is not read if it names no moment. Every moment
/// prints as a text of 24 characters that names it. A text without an offset is read as UTC, and marked. Pure.
pub fn timestamp(text: &str) {
    let parsed = Timestamp::parse(text);
    if let Rfc3339::Names(named) = rfc_3339(text) {
        let moment = match parsed {
            Some(Parsed::Moment(moment)) => Some(moment.as_millis()),
            Some(Parsed::WithoutOffset(_)) => panic!("{text:?} has an offset"),
            None => None,
        };
        assert_eq!(moment, named.filter(|ms| (FIRST..=LAST).contains(ms)), "{text:?}");
    }
    match parsed {
        None => {}
        Some(Parsed::Moment(moment)) => prints_itself(moment),
        Some(Parsed::WithoutOffset(moment)) => {
            prints_itself(moment);
            // The receiver reads no text of more than 40 characters.
            if text.trim().len() < 40 {
                let utc = Timestamp::parse(&format!("{}Z", text.trim()));
                assert_eq!(utc, Some(Parsed::Moment(moment)), "{text:?}");
            }
        }
    }
}

fn prints_itself(moment: Timestamp) {
    assert!((FIRST..=LAST).contains(&moment.as_millis()), "{moment}");
    let printed = moment.to_string();
    assert!(printed.len() == 24 && printed.ends_with('Z'), "{printed}");
    assert_eq!(
        Timestamp::parse(&printed),
        Some(Parsed::Moment(moment)),
        "{printed}"
    );
}

/// Printed moments sort as the moments do. `a` and `b` are milliseconds since the epoch. Pure.
pub fn printed_times_sort(a: i64, b: i64) {
    let in_range = |ms: i64| FIRST + ms.rem_euclid(LAST - FIRST + 1);
    let (a, b) = (in_range(a), in_range(b));
    let print = |ms| Timestamp::from_millis(ms).to_string();
    prints_itself(Timestamp::from_millis(a));
    assert_eq!(print(a).cmp(&print(b)), a.cmp(&b), "{a} {b}");
}

enum Rfc3339 {
    /// The text has the form of RFC 3339: the milliseconds since the epoch, or `None` if a field is out of its range or if
    /// another character stands for the `T`.
    Names(Option<i64>),
    /// The text has another form, which ISO 8601 may allow. Or it has a leap second or more than 40 characters, which the
    /// receiver may read or not.
    Other,
}

/// Reads a time by the grammar of RFC 3339, section 5.6, without any library.
fn rfc_3339(text: &str) -> Rfc3339 {
    let text = text.trim();
    let bytes = text.as_bytes();
    if bytes.len() > 40 || bytes.len() < 20 || !has_form(&bytes[..19], b"dddd-dd-dd?dd:dd:dd") {
        return Rfc3339::Other;
    }
    if !has_form(&bytes[10..11], b"T") {
        return Rfc3339::Names(None);
    }
    let number = |from: usize, to: usize| {
        bytes[from..to]
            .iter()
            .fold(0, |n, digit| n * 10 + i64::from(digit - b'0'))
    };
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    let (hour, minute, second) = (number(11, 13), number(14, 16), number(17, 19));
    let fraction = match bytes[19..].strip_prefix(b".") {
        None => 0,
        Some(rest) => rest.iter().take_while(|byte| byte.is_ascii_digit()).count() + 1,
    };
    let millis = (20..23).fold(0, |n, at| match bytes.get(at) {
        Some(digit) if at < 19 + fraction => n * 10 + i64::from(digit - b'0'),
        _ => n * 10,
    });
    let zone = 19 + fraction;
    let offset = match &bytes[zone..] {
        b"Z" | b"z" => Some(0),
        offset if has_form(offset, b"+dd:dd") || has_form(offset, b"-dd:dd") => {
            let (hours, minutes) = (number(zone + 1, zone + 3), number(zone + 4, zone + 6));
            let sign = if offset[0] == b'-' { -1 } else { 1 };
            (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes))
        }
        _ => return Rfc3339::Other,
    };
    if fraction == 1 || second == 60 {
        return Rfc3339::Other;
    }
    let is_date = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    let is_time = hour <= 23 && minute <= 59 && second <= 59;
    Rfc3339::Names(offset.filter(|_| is_date && is_time).map(|offset| {
        let minutes = (days_since_epoch(year, month, day) * 24 + hour) * 60 + minute - offset;
        (minutes * 60 + second) * 1000 + millis
    }))
}

/// `d` stands for a digit, `T` for the letter in any case or a blank, and `?` for any byte.
fn has_form(bytes: &[u8], form: &[u8]) -> bool {
    let fits = |(byte, form): (&u8, &u8)| match form {
        b'd' => byte.is_ascii_digit(),
        b'T' => matches!(byte, b'T' | b't' | b' '),
        b'?' => true,
        _ => byte == form,
    };
    bytes.len() == form.len() && bytes.iter().zip(form).all(fits)
}

fn days_in(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let leap_days_before = |year: i64| {
        let year = year - 1;
        year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400)
    };
    let whole_years = (year - 1970) * 365 + leap_days_before(year) - leap_days_before(1970);
    let whole_months: i64 = (1..month).map(|month| days_in(year, month)).sum();
    whole_years + whole_months + day - 1
}
