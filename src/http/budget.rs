//! How often requests are repeated: a few times at once, and then one for every ten requests, so that a bad day of a
//! server is no storm of ours.

/// How many repetitions there are at first, and at most.
const BURST: u32 = 10;

/// How many requests earn one.
const PRICE: u32 = 10;

/// What is left, in requests.
#[derive(Debug)]
pub(super) struct Budget(u32);

impl Budget {
    pub(super) fn new() -> Self {
        Self(BURST * PRICE)
    }

    /// A request goes, be it a repetition.
    pub(super) fn earn(&mut self) {
        self.0 = (self.0 + 1).min(BURST * PRICE);
    }

    /// Takes one repetition; `false` when none is left.
    pub(super) fn spend(&mut self) -> bool {
        match self.0.checked_sub(PRICE) {
            Some(left) => {
                self.0 = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn repetitions_stay_below_a_tenth_and_a_few(requests in prop::collection::vec(0..4_u32, 0..500)) {
            let mut budget = Budget::new();
            let (mut sent, mut repeated) = (0, 0);
            for tries in requests {
                budget.earn();
                sent += 1;
                for _ in 0..tries {
                    let may = budget.spend();
                    prop_assert!(may || repeated >= BURST, "a few go at once");
                    if may {
                        budget.earn();
                        sent += 1;
                        repeated += 1;
                    }
                    prop_assert!(repeated <= BURST + sent / PRICE);
                }
            }
        }
    }

    #[test]
    fn what_was_saved_has_an_end() {
        let mut budget = Budget::new();
        (0..10_000).for_each(|_| budget.earn());
        assert_eq!((0..100).filter(|_| budget.spend()).count(), 10);
        (0..25).for_each(|_| budget.earn());
        assert_eq!((0..100).filter(|_| budget.spend()).count(), 2);
    }
}
