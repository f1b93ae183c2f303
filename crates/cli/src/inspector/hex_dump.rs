//! The bytes of a body, sixteen a line, as `hexdump -C` prints them.

use std::fmt::Write;

/// The most bytes that a dump has.
pub const MAX_BYTES: usize = 2_048;

/// The dump of the first bytes.
pub fn hex_dump(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(MAX_BYTES)];
    let mut dump = String::new();
    for (n, line) in shown.chunks(16).enumerate() {
        let mut hex = String::new();
        for (i, byte) in line.iter().enumerate() {
            // Writing to a String does not fail.
            let _ = write!(hex, "{byte:02x} {}", if i == 7 { " " } else { "" });
        }
        let text: String = line
            .iter()
            .map(|byte| {
                if byte.is_ascii_graphic() || *byte == b' ' {
                    char::from(*byte)
                } else {
                    '.'
                }
            })
            .collect();
        let _ = writeln!(dump, "{:08x}  {hex:<49} |{text}|", n * 16);
    }
    dump
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_has_offset_bytes_and_text() {
        let dump = hex_dump(b"{\"id\": \"evt\"}\n\x00\xff12");
        let lines: Vec<_> = dump.lines().collect();
        assert_eq!(
            lines,
            [
                "00000000  7b 22 69 64 22 3a 20 22  65 76 74 22 7d 0a 00 ff  |{\"id\": \"evt\"}...|",
                "00000010  31 32                                             |12|",
            ]
        );
        assert_eq!(hex_dump(&[0; 100_000]).lines().count(), MAX_BYTES / 16);
    }
}
