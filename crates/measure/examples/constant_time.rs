//! Measures whether the time of the signature check depends on the signature. The method is of Reparaz, Balasch and
//! Verbauwhede, "Dude, is my code constant time?": two classes of input in random order, and Welch's t-test of their
//! times, once with all samples and once for each of several cuts of the slowest samples.
//!
//! The example measures a comparison that stops at the first difference, too. If it does not find that leak, the
//! measurement says nothing.
//!
//! `cargo run --profile light --package measure --example constant_time` needs a machine without other load.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sonotheia_webhook::signature::{Secret, Signature};

/// The number of samples.
const SAMPLES: usize = 1_000_000;
/// The samples before the counted ones. They warm the processor and its caches.
const WARM: usize = 10_000;
/// The checks in a sample. With several checks, the resolution of the clock matters less.
const REPEATS: u32 = 4;
/// The authors' bound. Above it, the two classes have different times.
const BOUND: f64 = 4.5;

const KEY: &[u8] = b"a secret of the usual length, as 64 hex digits would be: 0123456";
const BODY: &[u8] = b"{}";

fn main() -> ExitCode {
    let Ok(secret) = Secret::new(KEY) else {
        return ExitCode::FAILURE;
    };
    let right = right_signature();
    // One signature differs in its first byte, the other one in its last byte.
    let mut early = right;
    early[0] ^= 1;
    let mut late = right;
    late[31] ^= 1;

    let parse = |bytes: [u8; 32]| Signature::parse(hex::encode(bytes).as_bytes());
    let (Ok(early_signature), Ok(late_signature)) = (parse(early), parse(late)) else {
        return ExitCode::FAILURE;
    };
    let ours = measure(early_signature, late_signature, |signature| {
        secret.verify(BODY, signature)
    });
    let leaky = measure(early, late, |signature| {
        let right = right_signature();
        right
            .iter()
            .zip(signature)
            .all(|(a, b)| black_box(a) == black_box(b))
    });

    println!("{SAMPLES} samples of {REPEATS} checks for each; up to |t| = {BOUND} there is no difference");
    println!("  signature::Secret::verify                  |t| = {ours:.2}");
    println!("  a comparison that stops at a difference    |t| = {leaky:.2}");
    match (ours <= BOUND, leaky > BOUND) {
        (true, true) => ExitCode::SUCCESS,
        (false, _) => {
            println!(
                "the time of the check depends on the signature, or the machine had other load; run it again"
            );
            ExitCode::FAILURE
        }
        (true, false) => {
            println!("the measurement did not find the known leak, so this run says nothing; run it again");
            ExitCode::FAILURE
        }
    }
}

fn right_signature() -> [u8; 32] {
    Hmac::<Sha256>::new_from_slice(KEY)
        .map(|mac| mac.chain_update(black_box(BODY)).finalize().into_bytes().into())
        .unwrap_or_default()
}

/// The largest |t| of all cuts.
fn measure<T: Copy>(early: T, late: T, check: impl Fn(&T) -> bool) -> f64 {
    let mut rng = fastrand::Rng::with_seed(1);
    let inputs = [early, late];
    let mut times: [Vec<f64>; 2] = Default::default();
    for sample in 0..SAMPLES + WARM {
        let class = usize::from(rng.bool());
        // Both classes use the same place in memory.
        let input = black_box(inputs[class]);
        let begun = Instant::now();
        for _ in 0..REPEATS {
            black_box(check(black_box(&input)));
        }
        let time = begun.elapsed().as_nanos() as f64;
        if sample >= WARM {
            times[class].push(time);
        }
    }
    let mut all: Vec<f64> = times.iter().flatten().copied().collect();
    all.sort_by(f64::total_cmp);
    [0.5, 0.8, 0.9, 0.95, 0.99, 1.0]
        .into_iter()
        .map(|share| {
            let cut = all[((all.len() - 1) as f64 * share) as usize];
            let kept = |times: &[f64]| {
                times
                    .iter()
                    .copied()
                    .filter(|time| *time <= cut)
                    .collect::<Vec<_>>()
            };
            welch(&kept(&times[0]), &kept(&times[1])).abs()
        })
        .fold(0.0, f64::max)
}

/// Welch's t of two sets of samples.
fn welch(a: &[f64], b: &[f64]) -> f64 {
    let moments = |samples: &[f64]| {
        let n = samples.len() as f64;
        let mean = samples.iter().sum::<f64>() / n;
        let variance = samples.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
        (mean, variance / n)
    };
    let ((mean_a, error_a), (mean_b, error_b)) = (moments(a), moments(b));
    (mean_a - mean_b) / (error_a + error_b).sqrt()
}
