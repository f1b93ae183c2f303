//! Harnesses for Kani, a model checker for Rust: `cargo kani -p properties`. Each of them holds for every input up to a length.

/// Every value of up to 72 bytes: the longest value that the receiver reads, with a blank.
#[kani::proof]
#[kani::unwind(74)]
fn signature_header() {
    let value: [u8; 72] = kani::any();
    let length: usize = kani::any_where(|length| *length <= 72);
    crate::signature_header(&value[..length]);
}

/// Every text of 20 ASCII characters: a time without a fraction, or any other text.
#[kani::proof]
#[kani::unwind(32)]
fn timestamp() {
    let text: [u8; 20] = kani::any();
    kani::assume(text.is_ascii());
    crate::timestamp(std::str::from_utf8(&text).expect("ASCII"));
}

/// Every two moments.
#[kani::proof]
#[kani::unwind(32)]
fn printed_times_sort() {
    crate::printed_times_sort(kani::any(), kani::any());
}

/// Every value of a member in up to four ASCII characters.
#[kani::proof]
#[kani::unwind(80)]
fn content_hash() {
    let text: [u8; 4] = kani::any();
    kani::assume(text.is_ascii());
    let text = std::str::from_utf8(&text).expect("ASCII");
    crate::content_hash(&format!(r#"{{"a":{text}}}"#));
}
