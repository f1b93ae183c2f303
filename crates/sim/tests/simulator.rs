//! The simulator finds no broken promise, repeats itself, and finds each planted defect.

use std::io::Write;
use std::sync::{Arc, Mutex};

use sim::options::{Defect, Options};
use sim::simulation::{Summary, run};

/// A trace in memory.
#[derive(Clone, Default)]
struct Trace(Arc<Mutex<Vec<u8>>>);

impl Write for Trace {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("one thread").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn traced(options: Options) -> (Summary, String) {
    let trace = Trace::default();
    let report = run(options, Box::new(trace.clone()));
    let trace = trace.0.lock().expect("one thread").clone();
    (report, String::from_utf8(trace).expect("UTF-8"))
}

#[test]
fn one_seed_gives_the_same_trace_twice() {
    let options = Options {
        seed: 7,
        deliveries: 600,
        defect: None,
    };
    let (first, one) = traced(options);
    let (_, two) = traced(options);
    let difference = one.lines().zip(two.lines()).find(|(one, two)| one != two);
    assert_eq!(difference, None);
    assert_eq!(one, two);
    let deliveries = one.lines().filter(|line| line.contains(" attempt ")).count();
    assert_eq!(deliveries as u64, first.deliveries, "a line for each delivery");
    let (_, other) = traced(Options { seed: 8, ..options });
    assert_ne!(one, other);
}

#[test]
fn every_promise_holds() {
    for seed in 100..103 {
        let report = run(
            Options {
                seed,
                deliveries: 1_000,
                defect: None,
            },
            Box::new(std::io::sink()),
        );
        assert_eq!(report.violations, [], "seed {seed}");
        for count in [
            "200 new",
            "200 duplicate",
            "400 invalid_event",
            "400 event_too_old",
            "401 invalid_signature",
            "erasures",
        ] {
            assert!(report.counts.contains_key(count), "no {count} with seed {seed}");
        }
    }
}

#[test]
fn each_planted_defect_is_found() {
    for defect in Defect::ALL {
        let options = Options {
            seed: 1,
            deliveries: 20_000,
            defect: Some(defect),
        };
        let report = run(options, Box::new(std::io::sink()));
        let (check, text) = report
            .violations
            .first()
            .unwrap_or_else(|| panic!("{defect:?} was not found"));
        assert!(
            defect.found_by().contains(check),
            "{defect:?} was found by {check:?}: {text}"
        );
    }
}
