//! Random inputs, most of them near the inputs that a property is about.

use proptest::collection::vec;
use proptest::prelude::*;

/// A text of these bytes.
fn text(alphabet: &'static [u8], length: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    vec(prop::sample::select(alphabet), length).prop_map(|text| text.into_iter().map(char::from).collect())
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..200)
}

/// A JSON object with any spelling of its parts, repeated members included.
fn object() -> impl Strategy<Value = String> {
    let number = r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?";
    let string = r#""([ -!#-\[\]-~é😀]|\\["\\/bfnrt]|\\u00[0-9a-f]{2}){0,8}""#;
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        number,
        string
    ];
    let value = leaf.prop_recursive(4, 24, 4, move |inner| {
        let member = (string, inner.clone()).prop_map(|(name, value)| format!("{name}:{value}"));
        prop_oneof![
            vec(inner, 0..4).prop_map(|elements| format!("[ {}]", elements.join(", "))),
            vec(member, 0..4).prop_map(|members| format!("{{{} }}", members.join(" ,"))),
        ]
    });
    let member = ("[ab]", value).prop_map(|(name, value)| format!(r#""{name}":{value}"#));
    vec(member, 0..4).prop_map(|members| format!("{{{}}}", members.join(",")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn signature_header(value in any_bytes(), digits in text(b"09afAFgG+ =:s", 60..73)) {
        let prefixed = format!("sha256={digits}");
        for value in [&value, digits.as_bytes(), prefixed.as_bytes()] {
            properties::signature_header(value);
            properties::signature_check(value);
        }
    }

    #[test]
    fn printed_times_sort(a in any::<i64>(), b in any::<i64>(), near in -2000..2000_i64) {
        properties::printed_times_sort(a, b);
        properties::printed_times_sort(a, a.wrapping_add(near));
    }

    #[test]
    fn timestamp(
        date in (0..=9999_u16, 0..=13_u8, 0..=32_u8), time in (0..=24_u8, 0..=60_u8, 0..=61_u8),
        fraction in r"(\.[0-9]{0,12})?", offset in "Z|z|[+-][0-2][0-9]:[0-6][0-9]|",
    ) {
        let ((year, month, day), (hour, minute, second)) = (date, time);
        properties::timestamp(&format!(
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{offset}"
        ));
    }

    #[test]
    fn timestamp_of_any_text(near in text(b"0129:-+.,TtZz WP\n", 0..43), any in any::<String>()) {
        properties::timestamp(&near);
        properties::timestamp(&any);
    }

    #[test]
    fn event_of_any_bytes(body in any_bytes(), near in text(br#"{}[]:,"ab01-.eE\u null"#, 0..24)) {
        properties::event(&body);
        properties::event(format!(r#"{{"type":"t","data":{{"a":{near}}}}}"#).as_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn content_hash_and_event(data in object()) {
        prop_assert!(properties::hash_of(&data).is_some(), "{data}");
        properties::content_hash(&data);
        properties::event(format!(r#"{{"type":"t","data":{data}}}"#).as_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn requests(input in any_bytes()) {
        properties::router(&input);
        properties::round_trip(&input);
        properties::cursor(&input);
    }
}
