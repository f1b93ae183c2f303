//! The deliveries of a run and their order. The plan is complete before the first delivery, and depends on the seed only.

/// One delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A new event.
    New,
    /// A new event with a wrong signature.
    Corrupt,
    /// The same bytes as an earlier step, which is `New`.
    Repeat(usize),
}

/// Makes `count` steps. `duplicates` and `corrupt` are shares in per cent, rounded to whole steps.
pub fn plan(count: usize, duplicates: u8, corrupt: u8, seed: u64) -> Vec<Step> {
    let share = |percent: u8| (count * usize::from(percent) + 50) / 100;
    let corrupt = share(corrupt);
    // The first step has nothing to repeat.
    let repeats = share(duplicates).min((count - corrupt).saturating_sub(1));

    let mut steps = vec![Step::New; count];
    steps[..corrupt].fill(Step::Corrupt);
    steps[corrupt..corrupt + repeats].fill(Step::Repeat(0));
    let mut random = fastrand::Rng::with_seed(seed);
    random.shuffle(&mut steps);
    let first = |wanted| steps.iter().position(|step| *step == wanted);
    if let (Some(repeat), Some(new)) = (first(Step::Repeat(0)), first(Step::New))
        && repeat < new
    {
        steps.swap(repeat, new);
    }

    let mut new = Vec::with_capacity(count - corrupt - repeats);
    for (n, step) in steps.iter_mut().enumerate() {
        match step {
            Step::New => new.push(n),
            Step::Corrupt => {}
            Step::Repeat(of) => *of = new[random.usize(..new.len())],
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(steps: &[Step]) -> [usize; 3] {
        let of = |kind: fn(&Step) -> bool| steps.iter().filter(|step| kind(step)).count();
        [
            of(|s| matches!(s, Step::New)),
            of(|s| matches!(s, Step::Repeat(_))),
            of(|s| matches!(s, Step::Corrupt)),
        ]
    }

    #[test]
    fn the_shares_are_exact_if_they_can_be() {
        for (count, duplicates, corrupt, expected) in [
            (8, 0, 0, [8, 0, 0]),
            (200, 10, 5, [170, 20, 10]),
            (10, 100, 0, [1, 9, 0]),
            (10, 0, 100, [0, 0, 10]),
            (10, 90, 10, [1, 8, 1]),
            (1, 50, 50, [0, 0, 1]),
            (1, 100, 0, [1, 0, 0]),
        ] {
            assert_eq!(
                numbers(&plan(count, duplicates, corrupt, 0)),
                expected,
                "{count} {duplicates} {corrupt}"
            );
        }
    }

    #[test]
    fn a_repeat_is_of_a_new_event_before_it() {
        for seed in 0..200 {
            let steps = plan(40, 60, 20, seed);
            for (n, step) in steps.iter().enumerate() {
                if let Step::Repeat(of) = *step {
                    assert!(of < n && steps[of] == Step::New, "{n} of {steps:?}");
                }
            }
        }
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(plan(100, 30, 10, 7), plan(100, 30, 10, 7));
        assert_ne!(plan(100, 30, 10, 7), plan(100, 30, 10, 8));
    }
}
