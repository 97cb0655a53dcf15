//! How many new credentials one origin may refuse before others that it does not know yet have to wait.
//!
//! A command that prints another revoked token each time would else be refused once with each. GitLab bans an address for
//! that, and with it all who ask from there (see [`Cause::Refused`](super::circuit::Cause)). Pure: the time is an argument.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::circuit::LONGEST;

/// So many within the longest break; far from what gets an address banned, even with those that are under way.
const MOST: usize = 5;

/// The latest refusals of credentials that never got through.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    refused: VecDeque<Instant>,
}

impl Newcomers {
    /// One more was refused.
    pub(super) fn refused(&mut self, now: Instant) {
        if self.refused.len() == MOST {
            self.refused.pop_front();
        }
        self.refused.push_back(now);
    }

    /// Until when others wait, if they have to.
    pub(super) fn wait(&self, now: Instant) -> Option<Instant> {
        let first = self.refused.front().filter(|_| self.refused.len() == MOST)?;
        Some(*first + LONGEST).filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn five_are_refused_within_a_break_and_no_more() {
        let (begin, minute) = (Instant::now(), Duration::from_secs(60));
        let mut newcomers = Newcomers::default();
        let mut refused = Vec::new();
        // One comes each second of two hours, and is refused wherever it may ask.
        for second in 0..7200 {
            let now = begin + Duration::from_secs(second);
            match newcomers.wait(now) {
                None => {
                    newcomers.refused(now);
                    refused.push(now);
                }
                Some(until) => assert!(until > now && until <= now + 15 * minute),
            }
        }
        assert!(refused.windows(6).all(|six| six[5] - six[0] >= 15 * minute));
        assert_eq!(refused.len(), 8 * 5);
        assert_eq!(newcomers.wait(begin + 135 * minute), None);
    }
}
