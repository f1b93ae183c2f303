//! Every input up to a bound.

use std::collections::HashMap;

/// Calls `each` with every text of exactly `length` bytes of an alphabet.
fn every(alphabet: &[u8], length: usize, each: &mut impl FnMut(&[u8])) {
    let mut text = vec![alphabet[0]; length];
    let mut places = vec![0; length];
    loop {
        each(&text);
        let Some(at) = places.iter().rposition(|place| place + 1 < alphabet.len()) else {
            return;
        };
        places[at] += 1;
        places[at + 1..].fill(0);
        for (byte, place) in text[at..].iter_mut().zip(&places[at..]) {
            *byte = alphabet[*place];
        }
    }
}

#[test]
fn every_signature_header_whose_first_and_last_three_bytes_are_of_a_small_alphabet() {
    for prefix in ["", "sha256=", "SHA256=", "sha256"] {
        for digits in 57..=59_usize {
            let middle = "0aF9".repeat(15);
            every(b"0aFg =\0", 6, &mut |ends| {
                let (start, end) = ends.split_at(3);
                let value = [prefix.as_bytes(), start, &middle.as_bytes()[..digits], end].concat();
                properties::signature_header(&value);
            });
        }
    }
}

#[test]
fn every_byte_at_every_place_of_a_signature_header() {
    for header in [" sha256=", ""].map(|prefix| format!("{prefix}{}\t", "5C".repeat(32))) {
        for at in 0..header.len() {
            for byte in 0..=u8::MAX {
                let mut value = header.clone().into_bytes();
                value[at] = byte;
                properties::signature_header(&value);
                value.insert(at, byte);
                properties::signature_header(&value);
            }
        }
    }
}

#[test]
fn every_short_signature_header() {
    for length in 0..=5 {
        every(b"sha256= 0f\0\xff", length, &mut properties::signature_header);
    }
}

#[test]
fn every_day_of_four_centuries_and_each_end_of_every_year() {
    const DAY: i64 = 86_400_000;
    for day in 0..146_097 {
        let midnight = (day - 100_000) * DAY;
        properties::printed_times_sort(midnight + 62_167_219_200_000, midnight + 62_167_219_199_999);
    }
    for year in 0..=9999 {
        for (date, time) in [
            ("01-01", "00:00:00"),
            ("02-29", "12:00:00.5"),
            ("12-31", "23:59:59.999"),
        ] {
            properties::timestamp(&format!("{year:04}-{date}T{time}Z"));
        }
    }
}

#[test]
fn every_field_of_a_time_in_and_around_its_range() {
    for year in ["0000", "0001", "1900", "2000", "2023", "2024", "9999"] {
        for month in 0..=13 {
            for day in 0..=32 {
                for rest in ["T00:00:00Z", " 23:59:59.999+23:59", "t23:59:59.9999999999-00:01"] {
                    properties::timestamp(&format!("{year}-{month:02}-{day:02}{rest}"));
                }
            }
        }
    }
    for (hours, minutes) in (0..=25).flat_map(|hours| (0..=61).map(move |minutes| (hours, minutes))) {
        for second in [0, 1, 59, 60, 61, 99] {
            properties::timestamp(&format!("2024-02-29T{hours:02}:{minutes:02}:{second:02}Z"));
        }
        for date in ["0000-01-01", "2024-02-29", "9999-12-31"] {
            for sign in ['+', '-'] {
                properties::timestamp(&format!("{date}T12:00:00{sign}{hours:02}:{minutes:02}"));
            }
        }
    }
}

#[test]
fn every_byte_at_every_place_of_a_time() {
    for time in [
        "2026-01-21T12:00:00.250+01:30",
        "2026-01-21 12:00:00Z",
        "20260121T120000Z",
    ] {
        for at in 0..time.len() {
            for byte in 0..=0x7f {
                let mut changed = time.as_bytes().to_vec();
                changed[at] = byte;
                properties::timestamp(std::str::from_utf8(&changed).expect("ASCII"));
                changed.insert(at, byte);
                properties::timestamp(std::str::from_utf8(&changed).expect("ASCII"));
            }
        }
    }
}

/// Every number of up to five characters has a mantissa that a float holds, and most have an exponent that it holds.
#[test]
fn every_short_number_is_hashed_by_its_value() {
    let mut hashes = HashMap::new();
    for length in 1..=5 {
        every(b"0129-.e", length, &mut |text| {
            let text = std::str::from_utf8(text).expect("ASCII");
            let number = text.parse::<f64>().unwrap_or(f64::NAN);
            let hash = properties::hash_of(&format!(r#"{{"a":{text}}}"#));
            if let (true, Some(hash)) = (number.is_finite(), hash) {
                // `-0` and `0` are the same number.
                let value = (number + 0.0).to_bits();
                assert_eq!(*hashes.entry(value).or_insert(hash), hash, "{text}");
            }
        });
    }
    assert!(hashes.len() > 1000, "{}", hashes.len());
    all_differ(hashes);
}

#[test]
fn every_small_document_has_a_hash_of_its_own_in_every_spelling() {
    let leaves = [
        "null",
        "true",
        "false",
        "0",
        "-1",
        "1",
        "10",
        r#""""#,
        r#""1""#,
        r#""null""#,
        "[]",
        "{}",
    ];
    let mut values: Vec<String> = leaves.map(str::to_owned).into();
    // Two levels of arrays and objects with up to two members.
    for _ in 0..2 {
        let inner = values.clone();
        let short = &inner[..inner.len().min(40)];
        for a in &inner {
            values.extend([
                format!("[{a}]"),
                format!(r#"{{"a":{a}}}"#),
                format!(r#"{{"b":{a}}}"#),
            ]);
        }
        for a in short {
            for b in short {
                values.extend([format!("[{a},{b}]"), format!(r#"{{"a":{a},"b":{b}}}"#)]);
            }
        }
        values.sort();
        values.dedup();
    }
    let mut hashes = HashMap::new();
    for value in values {
        let data = format!(r#"{{"v":{value}}}"#);
        properties::content_hash(&data);
        let hash = properties::hash_of(&data).expect("an event");
        hashes.insert(data, hash);
    }
    assert!(hashes.len() > 3000, "{}", hashes.len());
    all_differ(hashes);
}

fn all_differ<T: std::hash::Hash + Eq + std::fmt::Debug>(hashes: HashMap<T, [u8; 32]>) {
    let mut seen = HashMap::new();
    for (value, hash) in hashes {
        if let Some(other) = seen.insert(hash, value) {
            panic!("{other:?} and {:?} have the same hash", seen[&hash]);
        }
    }
}

#[test]
fn every_character_at_every_place_of_a_cursor() {
    let [session, all] = properties::cursors();
    for at in 1..session.len() {
        // The alphabet of a cursor, and bytes outside of it.
        for byte in (b'-'..=b'z').chain([0, b' ', b'%', 0xff]) {
            let mut changed = session.clone();
            changed[at] = byte;
            properties::cursor(&changed);
        }
    }
    for at in 1..all.len() {
        for flip in [1, 2, 4, 0x20, 0x80] {
            let mut changed = all.clone();
            changed[at] ^= flip;
            properties::cursor(&changed);
        }
        properties::cursor(&all[..at]);
    }
}
