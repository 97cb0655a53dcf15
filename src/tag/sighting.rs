//! What was seen of a remote's tags before, and what of it has to be looked at again.
//!
//! For remotes whose listing has names only, so that each digest costs a request, and whose listing does not say where it
//! ends, so that its end costs one. The invariant of this file: nothing is taken from memory that was not confirmed within
//! the last [`SIGHTING_AGE`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::{Fingerprint, ManifestDigest, RemoteSnapshot, RemoteTag, TagName};

/// What was confirmed this long ago, or longer, is not believed any more.
pub const SIGHTING_AGE: SignedDuration = SignedDuration::from_hours(1);

/// From this age on a digest is confirmed along with one that is not believed any more.
const ALONG: SignedDuration = SignedDuration::from_mins(30);

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

/// All names of a listing that was proven to be complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenNames {
    /// What stands for the names, in whatever order they come.
    pub fingerprint: String,
    /// When it was proven that nothing follows them.
    pub proven: Timestamp,
}

impl ProvenNames {
    /// These names were all at that time.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a TagName>, proven: Timestamp) -> Self {
        Self { fingerprint: fingerprint(names), proven }
    }
}

fn fingerprint<'a>(names: impl IntoIterator<Item = &'a TagName>) -> String {
    let names: BTreeSet<&TagName> = names.into_iter().collect();
    let mut fingerprint = Fingerprint::default();
    names.into_iter().for_each(|name| fingerprint.add(name.as_bytes()));
    fingerprint.digits()
}

/// What a listing may rest on besides the remote's own answers.
pub struct Known<'a> {
    /// What was seen before.
    pub sightings: &'a Sightings,
    /// Which names were all, if an end may rest on memory.
    pub names: Option<&'a ProvenNames>,
    /// Whether a plan can depend on what this tag points at.
    pub matters: &'a (dyn Fn(&TagName) -> bool + Sync),
    /// The time of this pass.
    pub now: Timestamp,
}

impl fmt::Debug for Known<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sightings, names, now, .. } = self;
        let mut known = f.debug_struct("Known");
        known.field("sightings", &sightings.len()).field("names", names).field("now", now).finish_non_exhaustive()
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
    /// What was not seen within the last [`SIGHTING_AGE`] is looked at. Once that has come for one, all go along that have
    /// half of it behind them. So passes that look at what is known are half an hour apart at least, however often passes
    /// come and whenever the tags did, and the passes between take the listing alone.
    pub fn divide(&self, names: impl IntoIterator<Item = TagName>) -> Division {
        let mut division = Division::default();
        let mut fresh = Vec::new();
        let mut due = false;
        for name in names {
            if !(self.matters)(&name) {
                division.indifferent.push(name);
                continue;
            }
            match self.sightings.get(&name) {
                Some(sighting) if self.believes(sighting.confirmed) => fresh.push((name, sighting)),
                old => {
                    due |= old.is_some();
                    division.look.push(name);
                }
            }
        }
        for (name, Sighting { digest, confirmed }) in fresh {
            if due && self.now.duration_since(*confirmed) >= ALONG {
                division.look.push(name);
            } else {
                division.remembered.push((name, digest.clone()));
            }
        }
        division
    }

    /// Whether these names, after which the remote names no others, are known to be all.
    pub fn are_all(&self, names: &[TagName]) -> bool {
        self.names.is_some_and(|known| self.believes(known.proven) && known.fingerprint == fingerprint(names))
    }

    /// Whether what was confirmed then still counts. A time that is still to come was told by a clock that was wrong.
    fn believes(&self, confirmed: Timestamp) -> bool {
        let age = self.now.duration_since(confirmed);
        age >= SignedDuration::ZERO && age < SIGHTING_AGE
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
        Known { sightings, names: None, matters: &|_| true, now: at(now) }.divide((0..count).map(name))
    }

    #[test]
    fn what_is_new_old_or_from_the_future_is_looked_at() {
        let known = seen(&[0, 3600, 2700, 3601, 1801]);
        let division = divide(6, &known, 3600);
        assert_eq!(division.look, [0, 3, 5].map(name));
        assert_eq!(division.remembered, [1, 2, 4].map(|number| (name(number), digest(number))));
        // What is new brings nobody along, and what has half its time behind it goes along with what is old.
        assert_eq!(divide(3, &seen(&[0, 1]), 3599).look, [name(2)]);
        assert_eq!(divide(4, &seen(&[0, 1, 1800, 1801]), 3600).look, [0, 1, 2].map(name));
        assert_eq!(divide(5, &seen(&[0; 5]), 3599).look, []);
        assert_eq!(divide(5, &seen(&[0; 5]), 86_400).look.len(), 5);
    }

    #[test]
    fn names_are_all_for_an_hour_in_any_order_and_no_others_are() {
        let names = [0, 1, 2].map(name);
        let (proven, sightings) = (ProvenNames::of(&names, at(0)), Sightings::new());
        let are_all = |known: Option<&ProvenNames>, now: i64, names: &[TagName]| {
            Known { sightings: &sightings, names: known, matters: &|_| true, now: at(now) }.are_all(names)
        };
        assert!(are_all(Some(&proven), 0, &names) && are_all(Some(&proven), 3599, &[2, 0, 1].map(name)));
        assert!(!are_all(None, 0, &names));
        assert!(!are_all(Some(&proven), 3600, &names) && !are_all(Some(&proven), -1, &names));
        for others in [vec![], vec![name(0), name(1)], [0, 1, 3].map(name).to_vec(), (0..4).map(name).collect()] {
            assert!(!are_all(Some(&proven), 1, &others), "{others:?}");
        }
        let joined = [TagName::new("v0000v0001").unwrap(), name(2)];
        assert!(!are_all(Some(&proven), 1, &joined));
    }

    #[test]
    fn what_does_not_matter_is_never_looked_at() {
        let known = seen(&[0, 0]);
        let division = Known { sightings: &known, names: None, matters: &|tag| *tag == name(1), now: at(9000) }
            .divide([0, 1, 2].map(name));
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

        /// Passes at any distance, over tags that came at any time: between two that look is half an hour at least.
        #[test]
        fn looks_fall_together(
            times in proptest::collection::vec(-3599_i64..=0, 1..100), pauses in proptest::collection::vec(1_i64..1200, 1..60),
        ) {
            let mut known = seen(&times);
            let (mut now, mut last) = (0, None);
            for pause in pauses {
                now += pause;
                let division = divide(times.len(), &known, now);
                if !division.look.is_empty() {
                    prop_assert!(last.is_none_or(|last| now - last >= 1800), "at {now}, after {last:?}");
                    last = Some(now);
                }
                for tag in division.look {
                    known.get_mut(&tag).unwrap().confirmed = at(now);
                }
            }
        }
    }
}
