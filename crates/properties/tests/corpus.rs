//! The inputs of `fuzz/corpus`: the beginnings of the fuzz targets, and every input that once broke a property.

use std::path::Path;

/// Runs a property on each file of a corpus.
fn replay(name: &str, property: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(name);
    let files = std::fs::read_dir(&folder)
        .expect("the corpus")
        .map(|file| file.expect("a file").path());
    let mut count = 0;
    for file in files {
        // A failure shows the last name.
        println!("{}", file.display());
        property(&std::fs::read(&file).expect("a file"));
        count += 1;
    }
    assert!(count > 0, "{} is empty", folder.display());
}

fn text(property: impl Fn(&str)) -> impl Fn(&[u8]) {
    move |input| {
        if let Ok(text) = std::str::from_utf8(input) {
            property(text);
        }
    }
}

#[test]
fn the_corpus_of_each_target_keeps_its_property() {
    replay("signature_header", properties::signature_header);
    replay("signature_header", properties::signature_check);
    replay("timestamp", text(properties::timestamp));
    replay("content_hash", text(properties::content_hash));
    replay("event", properties::event);
    replay("cursor", properties::cursor);
    replay("router", properties::router);
    replay("round_trip", properties::round_trip);
}
