use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

fn verify(body: &[u8], signature: &str, secret: &str) -> bool {
    let hex = signature.trim();
    let Ok(sent) = hex::decode(hex.strip_prefix("sha256=").unwrap_or(hex)) else {
        return false;
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(body);
    mac.verify_slice(&sent).is_ok()
}
