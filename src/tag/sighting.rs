//! What a remote's tags were seen to point at before, and which of them have to be looked at again.
//!
//! For remotes whose listing has names only, so that each digest costs a request. The invariant of this file: no digest is
//! taken from memory that was not confirmed within the last [`SIGHTING_AGE`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::{ManifestDigest, RemoteSnapshot, RemoteTag, TagName};

/// A digest that was confirmed this long ago, or longer, is not believed any more.
pub const SIGHTING_AGE: SignedDuration = SignedDuration::from_hours(1);

/// What a tag was last seen to point at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The manifest.
    pub digest: ManifestDigest,
    /// When the remote last said so.
    pub confirmed: Timestamp,
}

/// Sightings by the tags' names on the remote.
pub type Sightings = BTreeMap<TagName, Sighting>;

/// What a listing may rest on besides the remote's own answers.
pub struct Known<'a> {
    /// What was seen before.
    pub sightings: &'a Sightings,
    /// Whether a plan can depend on what this tag points at.
    pub matters: &'a (dyn Fn(&TagName) -> bool + Sync),
    /// The time of this pass.
    pub now: Timestamp,
}

impl fmt::Debug for Known<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sightings, now, .. } = self;
        f.debug_struct("Known").field("sightings", &sightings.len()).field("now", now).finish_non_exhaustive()
    }
}

/// The names of a listing by what is to be done about their digests; together they are all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Division {
    /// To be asked for.
    pub look: Vec<TagName>,
    /// As they were seen.
    pub remembered: Vec<(TagName, ManifestDigest)>,
    /// Of no interest.
    pub indifferent: Vec<TagName>,
}

impl Known<'_> {
    /// Says of every name what is to be done about its digest.
    ///
    /// What was not seen within the last [`SIGHTING_AGE`] is looked at. Of the rest it is the turn of those that were
    /// confirmed longest ago, of so many that all have had theirs within that time: a pass takes the part of the names that
    /// the time since the pass before is of it. So the looks are spread over the passes, however often these come.
    pub fn divide(&self, names: impl IntoIterator<Item = TagName>) -> Division {
        let mut division = Division::default();
        let mut fresh = Vec::new();
        for name in names {
            match self.fresh(&name) {
                _ if !(self.matters)(&name) => division.indifferent.push(name),
                Some(sighting) => fresh.push((name, sighting)),
                None => division.look.push(name),
            }
        }
        let latest = fresh.iter().map(|(_, sighting)| sighting.confirmed).max();
        let passed = latest.map_or(SignedDuration::ZERO, |latest| self.now.duration_since(latest));
        let count = i128::try_from(division.look.len() + fresh.len()).unwrap_or(i128::MAX);
        let share =
            count.saturating_mul(passed.as_micros()).unsigned_abs().div_ceil(SIGHTING_AGE.as_micros().unsigned_abs());
        let turn = usize::try_from(share).unwrap_or(usize::MAX).saturating_sub(division.look.len()).min(fresh.len());
        fresh.sort_by(|(one, first), (other, second)| (first.confirmed, one).cmp(&(second.confirmed, other)));
        let rest = fresh.split_off(turn);
        division.look.extend(fresh.into_iter().map(|(name, _)| name));
        division.remembered.extend(rest.into_iter().map(|(name, sighting)| (name, sighting.digest.clone())));
        division
    }

    /// What was seen of a tag, if it is to be believed. A time that is still to come was told by a clock that was wrong.
    fn fresh(&self, name: &TagName) -> Option<&Sighting> {
        let sighting = self.sightings.get(name)?;
        let age = self.now.duration_since(sighting.confirmed);
        (age >= SignedDuration::ZERO && age < SIGHTING_AGE).then_some(sighting)
    }
}

/// A complete listing, and where its values are from.
#[derive(Debug)]
pub struct Listed {
    /// The listing.
    pub snapshot: RemoteSnapshot,
    /// `None` where a listing brings all values by itself, so that there is nothing to remember.
    pub looks: Option<Looks>,
}

/// Where the values of a listing are from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looks {
    /// From memory.
    pub remembered: BTreeSet<TagName>,
    /// From the remote, in this pass.
    pub seen: BTreeSet<TagName>,
}

impl Listed {
    /// Those of these names whose values are from memory.
    pub fn doubtful(&self, names: BTreeSet<TagName>) -> Vec<TagName> {
        let Some(looks) = &self.looks else { return Vec::new() };
        names.into_iter().filter(|name| looks.remembered.contains(name)).collect()
    }

    /// Puts what was seen now in the place of what was remembered.
    pub fn renew(&mut self, tags: impl IntoIterator<Item = RemoteTag>) {
        for tag in tags {
            if let Some(looks) = &mut self.looks {
                looks.remembered.remove(&tag.name);
                looks.seen.insert(tag.name.clone());
            }
            self.snapshot.renew(tag);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(number: usize) -> TagName {
        TagName::new(format!("v{number:04}")).unwrap()
    }

    fn digest(number: usize) -> ManifestDigest {
        format!("sha256:{number:064x}").parse().unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn seen(times: &[i64]) -> Sightings {
        let sighting = |(number, seconds): (usize, &i64)| {
            (name(number), Sighting { digest: digest(number), confirmed: at(*seconds) })
        };
        times.iter().enumerate().map(sighting).collect()
    }

    fn divide(count: usize, sightings: &Sightings, now: i64) -> Division {
        Known { sightings, matters: &|_| true, now: at(now) }.divide((0..count).map(name))
    }

    #[test]
    fn what_is_new_old_or_from_the_future_is_looked_at() {
        // The time since the latest of them is a quarter of an hour, so it is one's turn as well.
        let known = seen(&[0, 3600, 2700, 3601, 1]);
        let division = divide(6, &known, 3600);
        assert_eq!(division.look, [0, 3, 5].map(name));
        assert_eq!(division.remembered, [(name(4), digest(4)), (name(2), digest(2)), (name(1), digest(1))]);
        assert_eq!(divide(5, &seen(&[0, 1, 2, 3, 4]), 904).look, [0, 1].map(name));
        assert_eq!(divide(5, &seen(&[0; 5]), 0).look, []);
        assert_eq!(divide(5, &seen(&[0; 5]), 1).look, [name(0)]);
        assert_eq!(divide(5, &seen(&[0; 5]), 86_400).look.len(), 5);
    }

    #[test]
    fn what_does_not_matter_is_never_looked_at() {
        let known = seen(&[0, 0]);
        let division =
            Known { sightings: &known, matters: &|tag| *tag == name(1), now: at(9000) }.divide([0, 1, 2].map(name));
        assert_eq!((division.look, division.indifferent), (vec![name(1)], [0, 2].map(name).to_vec()));
    }

    proptest! {
        #[test]
        fn every_name_is_somewhere_and_nothing_old_is_believed(
            times in proptest::collection::vec(-9000_i64..9000, 0..40), more in 0_usize..5, now in -9000_i64..9000,
        ) {
            let known = seen(&times);
            let division = divide(times.len() + more, &known, now);
            for (tag, remembered) in &division.remembered {
                let age = at(now).duration_since(known[tag].confirmed);
                prop_assert!(age >= SignedDuration::ZERO && age < SIGHTING_AGE && *remembered == known[tag].digest);
            }
            let names = division.look.iter().chain(division.remembered.iter().map(|(tag, _)| tag));
            prop_assert_eq!(names.cloned().collect::<BTreeSet<_>>(), (0..times.len() + more).map(name).collect());
            prop_assert_eq!(division.look.len() + division.remembered.len(), times.len() + more);
        }

        /// Passes at any distance: none looks at more than its share, after a first one that saw everything.
        #[test]
        fn looks_are_spread_over_the_passes(count in 0_usize..300, pauses in proptest::collection::vec(1_i64..3600, 1..60)) {
            let mut known = seen(&vec![0; count]);
            let mut now = 0;
            for pause in pauses {
                now += pause;
                let division = divide(count, &known, now);
                let share = (count as i64 * pause + 3599) / 3600;
                prop_assert!(division.look.len() as i64 <= share, "{} of {share}", division.look.len());
                for tag in division.look {
                    known.get_mut(&tag).unwrap().confirmed = at(now);
                }
            }
        }
    }
}
