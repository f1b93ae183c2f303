//! The content hash of each kind of JSON value. Stored records hold these hashes: another hash would make each redelivery of
//! a stored event a conflict. Never change a value here.

use sonotheia_webhook::event::Event;

fn hash(event_type: &str, data: &str) -> String {
    let body = format!(r#"{{"id":"event-1","type":"{event_type}","data":{data}}}"#);
    hex::encode(Event::parse(body.as_bytes(), 0.8).unwrap().content_hash)
}

#[test]
fn each_kind_of_value_keeps_the_hash_that_stored_records_have() {
    let cases: &[(&str, &str, &str)] = &[
        (
            "t",
            r##"{}"##,
            "221f14db9f7e0789c9e3e5d6c7ff7e6236b9694c7b500818920532bc25ce3d09",
        ),
        (
            "t",
            r##"{"a":null}"##,
            "ec28a4e325f972016372ea195c3086e003f99c5a05c760049d88b1d502937b2b",
        ),
        (
            "t",
            r##"{"a":true}"##,
            "e805d34c8cac5e6660ed122d6152eccf6040d4b8d5e9ad0bc4efa3ec8027c8c0",
        ),
        (
            "t",
            r##"{"a":false}"##,
            "38b5fed4fedbdb96fd5ab5746395da64e062ea0e506e692c19842b0e5ddc0402",
        ),
        (
            "t",
            r##"{"a":""}"##,
            "d891d7411be073088438270babad3939a10f2709a7cc1a3552773d001ec446c3",
        ),
        (
            "t",
            r##"{"a":"text é 😀 \" \\"}"##,
            "8ab34186b8987a77c1ddd6912e1dfa949cd7c0a301bc0a09185a367d7eda2570",
        ),
        (
            "t",
            r##"{"a":0}"##,
            "3bfa2b7f198b0ac167a5df03a6682c79e21d94eafba6454280591eb8da42e207",
        ),
        (
            "t",
            r##"{"a":-0.0}"##,
            "3bfa2b7f198b0ac167a5df03a6682c79e21d94eafba6454280591eb8da42e207",
        ),
        (
            "t",
            r##"{"a":7}"##,
            "7391fb1c9bd834f97f2885124cfeab21323eb21f8db4c24c83c7ec2aaf03dab1",
        ),
        (
            "t",
            r##"{"a":-7}"##,
            "b9eb95797c8a6ad407e6148dcd5a5843846296f3c1c48181e95d43dc7c84b3b8",
        ),
        (
            "t",
            r##"{"a":0.82}"##,
            "71597f0fe87f7d2757c8f6695aca251d2723a2d269c4c5299e199ac26a943591",
        ),
        (
            "t",
            r##"{"a":1500}"##,
            "fa312b17adc870541f45651325677bd8f4323e28d076075fa19338da426d85d0",
        ),
        (
            "t",
            r##"{"a":1e5}"##,
            "f30dea86d17e795e6aa3a318cf07ac2e2bce8513ec45a180c348faab4725b842",
        ),
        (
            "t",
            r##"{"a":1E-5}"##,
            "74d3aebb8786cf47ad04425ddc5e2c05220b34d1287f0d1214b66d61d8a23c77",
        ),
        (
            "t",
            r##"{"a":-12.50e+3}"##,
            "617b183f32f86f093219e32db27663a4d55e4ce876267e6f4a8842ac4eac6b54",
        ),
        (
            "t",
            r##"{"a":9007199254740993}"##,
            "9a4ee82d80435e802cdff0f47cbf31277accf8ecc57fc18afbdfbe27ec56116e",
        ),
        (
            "t",
            r##"{"a":1e400}"##,
            "386adcf0954180605c2f2657b9c3e23a77a12a56afc61b44969243cd12f387d0",
        ),
        (
            "t",
            r##"{"a":[]}"##,
            "a2f9dbcfa72ce4440d5af5f782c4e655e704902dae23ab98abc8e810298240c8",
        ),
        (
            "t",
            r##"{"a":[1,"1",[null]]}"##,
            "712523c6d882f72158feccdbcda49d3da46e8e502ec4837f83ea7a1bce5e93d9",
        ),
        (
            "t",
            r##"{"a":{}}"##,
            "0a97e92193bdb10553d6fcd5cb2a5c9f13fc2580c8d8e7a900e241ae807253dd",
        ),
        (
            "t",
            r##"{"b":{"d":1,"c":2},"a":[{"e":false}]}"##,
            "bd9c839f949f6ff22a84687866ab589b121b7d3553599b79b577de817afda67b",
        ),
        (
            "voice.clonée",
            r##"{}"##,
            "573b0ebdea84ba9e6b4beb932c90d6febc797f47bdd276a44d0d225be17f27a5",
        ),
        (
            "deepfake.completed",
            r##"{"session_id":"s","score":0.93,"label":"likely_synthetic","latency_ms":742}"##,
            "0c4f2b957a8bfb207a7009a96b616e8ae82ce5445d035d407181e9b6c91fffd7",
        ),
    ];
    for (event_type, data, golden) in cases {
        assert_eq!(hash(event_type, data), *golden, "{event_type} {data}");
    }
}

#[test]
fn the_hashes_of_different_values_differ_and_the_spelling_of_a_value_does_not_count() {
    assert_eq!(hash("t", r#"{"a":1.50e-3}"#), hash("t", r#"{ "a" : 0.0015 }"#));
    assert_ne!(hash("t", r#"{"a":1e5}"#), hash("t", r#"{"a":1e-5}"#));
    assert_ne!(hash("t", r#"{"a":null}"#), hash("t", "{}"));
    assert_ne!(hash("ta", "{}"), hash("t", r#"{"a":{}}"#));
}
