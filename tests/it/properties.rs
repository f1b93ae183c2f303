//! Properties that hold for every input, tested with random inputs.

use proptest::prelude::*;
use serde_json::{Value, json};
use sonotheia_webhook::event::{Event, Payload};
use sonotheia_webhook::signature::{Secret, Signature};

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("JSON has no NaN", |n| n.is_finite())
            .prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        // Values that are easily taken for others.
        prop::sample::select(vec![
            json!(0),
            json!(""),
            json!("0"),
            json!("null"),
            json!([]),
            json!({})
        ]),
    ]
}

fn json_value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn data() -> impl Strategy<Value = Value> {
    let known = prop::sample::select(vec![
        "session_id",
        "score",
        "label",
        "timestamp",
        "verified",
        "compliance",
        "error",
        "case_id",
    ]);
    let name = prop_oneof![known.prop_map(str::to_owned), any::<String>()];
    prop::collection::hash_map(name, json_value(), 0..8)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

/// The same JSON with the members in another order and with other blanks.
fn respell(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members: Vec<_> = members
                .iter()
                .rev()
                .map(|(key, value)| format!("{}\t:\n{}", json!(key), respell(value)))
                .collect();
            format!("{{ {} }}", members.join(" , "))
        }
        Value::Array(elements) => {
            let elements: Vec<_> = elements.iter().map(respell).collect();
            format!("[ {} ]", elements.join(" ,\r\n"))
        }
        scalar => scalar.to_string(),
    }
}

/// The JSON pointers of every value that has no values in it.
fn leaves(value: &Value) -> Vec<String> {
    let inner: Vec<_> = match value {
        Value::Object(members) if !members.is_empty() => members
            .iter()
            .map(|(name, value)| (name.replace('~', "~0").replace('/', "~1"), value))
            .collect(),
        Value::Array(elements) if !elements.is_empty() => elements
            .iter()
            .enumerate()
            .map(|(n, value)| (n.to_string(), value))
            .collect(),
        _ => return vec![String::new()],
    };
    inner
        .into_iter()
        .flat_map(|(step, value)| {
            leaves(value)
                .into_iter()
                .map(move |rest| format!("/{step}{rest}"))
        })
        .collect()
}

/// Whether two leaves are the same JSON. `1` and `1.0` are the same number.
fn is_same(a: &Value, b: &Value) -> bool {
    a == b || (a.is_number() && a.as_f64() == b.as_f64())
}

fn id() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_-]{1,40}"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_signature_is_valid_for_its_body_and_secret(secret in "[^\\s]{1,80}", body in prop::collection::vec(any::<u8>(), 0..300)) {
        let secret = Secret::new(&secret).unwrap();
        let header = secret.sign(&body).to_string();
        prop_assert!(secret.verify(&body, &Signature::parse(header.as_bytes()).unwrap()));
    }

    #[test]
    fn a_body_with_a_flipped_bit_fails_the_check(body in prop::collection::vec(any::<u8>(), 1..300), bit in any::<prop::sample::Index>()) {
        let secret = Secret::new("secret").unwrap();
        let signature = secret.sign(&body);
        let mut flipped = body;
        let bit = bit.index(flipped.len() * 8);
        flipped[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!secret.verify(&flipped, &signature));
    }

    #[test]
    fn a_signature_with_a_flipped_bit_fails_the_check(body in prop::collection::vec(any::<u8>(), 0..300), bit in 0..256_usize) {
        let secret = Secret::new("secret").unwrap();
        let mut digits: Vec<u8> = secret.sign(&body).to_string().into();
        let value = char::from(digits[bit / 4]).to_digit(16).unwrap() ^ 1 << (bit % 4);
        digits[bit / 4] = char::from_digit(value, 16).unwrap() as u8;
        prop_assert!(!secret.verify(&body, &Signature::parse(&digits).unwrap()));
    }

    #[test]
    fn parsing_a_signature_never_panics(value in prop::collection::vec(any::<u8>(), 0..100)) {
        if let Ok(signature) = Signature::parse(&value) {
            prop_assert_eq!(signature.to_string().len(), 64);
        }
    }

    #[test]
    fn both_envelopes_of_one_event_give_one_record(id in id(), event_type in id(), data in data()) {
        let guide = json!({"type": event_type, "id": id, "data": data}).to_string();
        let schema = format!(
            r#"{{"api_version":"1","data":{},"event_id":"{id}","event_type":"{event_type}","metadata":{{}}}}"#,
            respell(&data)
        );
        let both = json!({"id": id, "event_id": id, "type": event_type, "event_type": event_type, "data": data}).to_string();
        let read = |body: &str| {
            let event = Event::parse(body.as_bytes(), 0.8).unwrap();
            (
                event.id.map(|id| id.into_owned()), event.event_type.into_owned(), event.occurred_at,
                event.session_id.map(|id| id.into_owned()), event.alert, event.problems, event.content_hash,
            )
        };
        prop_assert_eq!(read(&guide), read(&schema));
        prop_assert_eq!(read(&guide), read(&both));
    }

    #[test]
    fn data_with_one_other_leaf_has_another_hash(data in data(), at in any::<prop::sample::Index>(), leaf in leaf()) {
        // `data` itself has to stay an object.
        prop_assume!(data != json!({}));
        let mut places = leaves(&data);
        let place = places.swap_remove(at.index(places.len()));
        let mut changed = data.clone();
        let old = changed.pointer_mut(&place).unwrap();
        prop_assume!(!is_same(old, &leaf));
        *old = leaf;
        let hash = |data: &Value| {
            let body = json!({"id": "a", "type": "t", "data": data}).to_string();
            Event::parse(body.as_bytes(), 0.8).unwrap().content_hash
        };
        prop_assert_ne!(hash(&data), hash(&changed), "{}", place);
    }

    #[test]
    fn the_payload_is_read_back_byte_for_byte(data in data()) {
        let text = respell(&data);
        let body = format!(r#"{{"id":"a","type":"t","data":{text}}}"#);
        prop_assert_eq!(Payload::parse(body.as_bytes()).data.map(|data| data.get()), Some(text.as_str()));
    }

    #[test]
    fn parsing_never_panics_on_bytes(body in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Event::parse(&body, 0.8);
        let _ = Payload::parse(&body);
    }

    #[test]
    fn parsing_never_panics_on_broken_json(data in data(), cut in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut body = json!({"id": "a", "type": "deepfake.completed", "timestamp": "x", "data": data}).to_string().into_bytes();
        let at = cut.index(body.len());
        body[at] = byte;
        let _ = Event::parse(&body, 0.8);
        body.truncate(at);
        let _ = Event::parse(&body, 0.8);
    }
}
