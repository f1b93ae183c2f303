//! Random inputs. Each test is a harness of `bolero`: `cargo bolero test NAME` runs it under libFuzzer, and
//! `cargo kani --tests --harness NAME` checks every input of the type, where Kani is installed (see the crate's page).

use bolero::{check, generator::*};

/// A time with fields in and around their ranges: the text of RFC 3339 with a fraction and an offset.
type Fields = ((u16, u8, u8), (u8, u8, u8), u32, (bool, u8, u8));

#[test]
#[cfg_attr(kani, kani::proof)]
fn signature_header() {
    check!()
        .with_type::<[u8; 66]>()
        .for_each(|value| properties::signature_header(value));
}

#[test]
#[cfg_attr(kani, kani::proof)]
fn signature_header_of_hex_digits() {
    let digits = produce::<Vec<u8>>()
        .with()
        .len(60..=72_usize)
        .values(one_of(*b"09afAFgG+ =:s"));
    check!().with_generator(digits).for_each(|value| {
        properties::signature_header(value);
        properties::signature_header(&[b"sha256=", value.as_slice()].concat());
        properties::signature_check(value);
    });
}

#[test]
#[cfg_attr(kani, kani::proof)]
fn printed_times_sort() {
    check!()
        .with_type::<(i64, i64)>()
        .for_each(|(a, b)| properties::printed_times_sort(*a, *b));
}

#[test]
#[cfg_attr(kani, kani::proof)]
fn timestamp() {
    check!().with_type::<Fields>().for_each(
        |&((year, month, day), (hour, minute, second), fraction, zone)| {
            let (is_west, hours, minutes) = zone;
            let sign = if is_west { '-' } else { '+' };
            properties::timestamp(&format!(
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{fraction}{sign}{:02}:{:02}",
                year % 10_000,
                month % 14,
                day % 33,
                hour % 25,
                minute % 61,
                second % 62,
                hours % 25,
                minutes % 61
            ));
        },
    );
}

#[test]
fn timestamp_of_any_text() {
    let text = produce::<Vec<u8>>()
        .with()
        .len(0..=42_usize)
        .values(one_of(*b"0129:-+.,TtZz WP\n"));
    check!().with_generator(text).for_each(|text| {
        properties::timestamp(std::str::from_utf8(text).expect("ASCII"));
    });
}

#[test]
fn content_hash_and_event() {
    let text = produce::<Vec<u8>>()
        .with()
        .len(0..=24_usize)
        .values(one_of(*br#"{}[]:,"ab01-.eE\u null true"#));
    check!().with_generator(text).for_each(|text| {
        let data = format!(r#"{{"a":{},"b":0}}"#, std::str::from_utf8(text).expect("ASCII"));
        properties::content_hash(&data);
        properties::event(format!(r#"{{"type":"t","data":{data}}}"#).as_bytes());
    });
}

#[test]
fn event_of_any_bytes() {
    check!().for_each(properties::event);
}

#[test]
fn router() {
    check!().with_iterations(500).for_each(properties::router);
}

#[test]
fn round_trip() {
    check!().with_iterations(200).for_each(properties::round_trip);
}

#[test]
fn cursor() {
    check!().with_iterations(200).for_each(properties::cursor);
}
