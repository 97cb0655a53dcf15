//! What is due when. Pure: time is an argument, and nothing happens here.
//!
//! The unit is the pair, so that a remote that takes long keeps only itself waiting; pairs of one repository that are due together
//! start together, so that their source is read once. A pair never runs twice at a time, and whatever asks for it meanwhile, however
//! often, leads to one more pass. What was missed, by a sleeping machine or a clock that was set, runs once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::config::Repository;
use crate::ledger::Pair;
use crate::schedule::{Schedule, shift};

/// Passes over pairs of one remote at the same time: each holds two snapshots in memory.
const PER_REMOTE: usize = 16;

/// A clock that goes back by less than this was not set; it was read on another core.
const SET_BACK: SignedDuration = SignedDuration::from_secs(1);

/// A job, as far as its time table is concerned.
#[derive(Clone, Debug)]
pub(super) struct Timetable {
    /// The job's name.
    pub(super) job: String,
    /// The names of its remotes.
    pub(super) remotes: Vec<String>,
    /// When it runs.
    pub(super) schedule: Schedule,
}

/// Names a start, so that its end is told from that of a later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StartNumber(u64);

/// Pairs of one repository that start together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Start {
    /// No other has it.
    pub(super) number: StartNumber,
    /// The job's name.
    pub(super) job: String,
    /// Where the tags are read.
    pub(super) repository: Repository,
    /// The pairs.
    pub(super) pairs: BTreeSet<Pair>,
}

/// All jobs with their repositories and what is due for them.
#[derive(Debug)]
pub(super) struct Agenda {
    /// What makes shifts differ between hosts.
    host: String,
    jitter: Duration,
    jobs: BTreeMap<String, Job>,
    /// The pairs whose pass has begun and not ended, also those of an earlier configuration.
    under_way: BTreeMap<Pair, StartNumber>,
    starts: u64,
    /// The latest time that was told, to notice a clock that was set back.
    latest: Timestamp,
}

#[derive(Debug)]
struct Job {
    remotes: Vec<String>,
    schedule: Schedule,
    /// When its repositories are looked for next.
    tick: Option<Timestamp>,
    /// Whether they are being looked for, and whether somebody has asked for another look since.
    looking: Looking,
    instances: BTreeMap<String, Instance>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looking {
    No,
    Yes,
    Again,
}

#[derive(Debug)]
struct Instance {
    repository: Repository,
    /// How much later than the schedule says it runs.
    shift: Duration,
    /// When the schedule wants it next.
    scheduled: Option<Timestamp>,
    /// When each remote is wanted next.
    wanted: BTreeMap<String, Timestamp>,
}

impl Agenda {
    /// An agenda without jobs.
    pub(super) fn new(host: String) -> Self {
        Self {
            host,
            jitter: Duration::ZERO,
            jobs: BTreeMap::new(),
            under_way: BTreeMap::new(),
            starts: 0,
            latest: Timestamp::MIN,
        }
    }

    /// Takes over a configuration: all its jobs run once soon, and then by their schedules. Passes under way stay so.
    pub(super) fn configure(&mut self, jobs: Vec<Timetable>, jitter: Duration, now: Timestamp) {
        self.jitter = jitter;
        self.jobs = jobs
            .into_iter()
            .map(|Timetable { job, remotes, schedule }| {
                let looking = Looking::No;
                (job, Job { remotes, schedule, tick: Some(now), looking, instances: BTreeMap::new() })
            })
            .collect();
    }

    /// The jobs whose repositories have to be looked for now; [`found`](Self::found) takes the answer.
    pub(super) fn look(&mut self, now: Timestamp) -> Vec<String> {
        self.keep_up_with(now);
        let mut due = Vec::new();
        for (name, job) in &mut self.jobs {
            if job.tick.is_none_or(|tick| tick > now) {
                continue;
            }
            // From now, not from the tick: what was missed is not made up for.
            job.tick = job.schedule.next_after(now);
            match job.looking {
                Looking::No => {
                    job.looking = Looking::Yes;
                    due.push(name.clone());
                }
                Looking::Yes | Looking::Again => job.looking = Looking::Again,
            }
        }
        due
    }

    /// After a clock was set back, what was to be in so long is still to be in so long, and not when that time comes again.
    fn keep_up_with(&mut self, now: Timestamp) {
        let back = self.latest.duration_since(now);
        self.latest = now;
        if back < SET_BACK {
            return;
        }
        for job in self.jobs.values_mut() {
            job.tick = job.tick.and_then(|_| job.schedule.next_after(now));
            for instance in job.instances.values_mut() {
                instance.scheduled = instance.next_scheduled(&job.schedule, now);
                instance.wanted.values_mut().for_each(|at| *at = at.saturating_sub(back).unwrap_or(now));
            }
        }
    }

    /// These are a job's repositories; those that are new are due after their shift. `None` where that could not be told: then
    /// those that are known stay, and say themselves what is wrong with them. Gives the repositories that are gone.
    pub(super) fn found(&mut self, job: &str, found: Option<Vec<Repository>>, now: Timestamp) -> Vec<String> {
        let Self { host, jitter, .. } = self;
        // Not there any more after a reload.
        let Some(entry) = self.jobs.get_mut(job) else { return Vec::new() };
        if entry.looking == Looking::Again {
            entry.tick = Some(now);
        }
        entry.looking = Looking::No;
        let Some(found) = found else { return Vec::new() };
        let mut former = std::mem::take(&mut entry.instances);
        let instance = |repository: Repository| {
            let name = repository.name.clone();
            let instance = match former.remove(&name) {
                Some(known) => Instance { repository, ..known },
                None => {
                    let shift = shift(host, job, &name, *jitter);
                    let mut new = Instance { repository, shift, scheduled: None, wanted: BTreeMap::new() };
                    new.scheduled = new.next_scheduled(&entry.schedule, now);
                    entry.remotes.iter().for_each(|remote| new.want(remote, later(now, shift)));
                    new
                }
            };
            (name, instance)
        };
        // All at once, because a tree that grows one by one in their order is half empty.
        entry.instances = found.into_iter().map(instance).collect();
        former.into_keys().collect()
    }

    /// A whole job is wanted now, whatever its schedule and its shifts say, and its repositories are looked for anew.
    pub(super) fn ask_job(&mut self, job: &str, now: Timestamp) {
        let Some(entry) = self.jobs.get_mut(job) else { return };
        entry.tick = Some(now);
        let Job { remotes, instances, .. } = entry;
        for instance in instances.values_mut() {
            remotes.iter().for_each(|remote| instance.want(remote, now));
        }
    }

    /// All jobs are wanted now.
    pub(super) fn ask_all(&mut self, now: Timestamp) {
        let jobs: Vec<String> = self.jobs.keys().cloned().collect();
        jobs.iter().for_each(|job| self.ask_job(job, now));
    }

    /// A repository of a job is wanted now.
    pub(super) fn ask_repository(&mut self, job: &str, repository: &str, now: Timestamp) {
        let Some(Job { remotes, instances, .. }) = self.jobs.get_mut(job) else { return };
        let Some(instance) = instances.get_mut(repository) else { return };
        remotes.iter().for_each(|remote| instance.want(remote, now));
    }

    /// A pair is wanted at this time, if nothing wants it earlier.
    pub(super) fn ask_pair(&mut self, pair: &Pair, at: Timestamp) {
        let Some(Job { remotes, instances, .. }) = self.jobs.get_mut(&pair.job) else { return };
        if let Some(instance) = instances.get_mut(&pair.repository)
            && remotes.contains(&pair.remote)
        {
            instance.want(&pair.remote, at);
        }
    }

    /// What starts now. Those that have been due for longest come first where not all can start.
    pub(super) fn start(&mut self, now: Timestamp) -> Vec<Start> {
        self.want_what_is_scheduled(now);
        let mut starts: BTreeMap<(String, String), Start> = BTreeMap::new();
        for pair in self.due(now) {
            let Some(instance) = self.jobs.get_mut(&pair.job).and_then(|job| job.instances.get_mut(&pair.repository))
            else {
                continue;
            };
            instance.wanted.remove(&pair.remote);
            if instance.wanted.is_empty() {
                // One that was emptied keeps the memory for eleven remotes, and most repositories want nothing most of the time.
                instance.wanted = BTreeMap::new();
            }
            let start = starts.entry((pair.job.clone(), pair.repository.clone())).or_insert_with(|| {
                self.starts += 1;
                Start {
                    number: StartNumber(self.starts),
                    job: pair.job.clone(),
                    repository: instance.repository.clone(),
                    pairs: BTreeSet::new(),
                }
            });
            self.under_way.insert(pair.clone(), start.number);
            start.pairs.insert(pair);
        }
        starts.into_values().collect()
    }

    /// What is due and has a free place. While a thousand pairs wait for the places of one remote, this is asked at every turn,
    /// so only what starts is copied.
    fn due(&self, now: Timestamp) -> Vec<Pair> {
        let mut taken = self.taken();
        let due = self.waiting().filter(|(at, [_, _, remote])| *at <= now && has_place(taken.get(remote)));
        let mut due: Vec<_> = due.collect();
        due.sort_unstable();
        due.retain(|(_, [_, _, remote])| {
            let taken = taken.entry(remote).or_default();
            let starts = has_place(Some(taken));
            *taken += 1;
            starts
        });
        due.into_iter().map(|(_, names)| pair_of(names)).collect()
    }

    /// How many passes each remote has under way.
    fn taken(&self) -> BTreeMap<&str, usize> {
        let mut taken = BTreeMap::new();
        for pair in self.under_way.keys() {
            *taken.entry(pair.remote.as_str()).or_default() += 1;
        }
        taken
    }

    fn want_what_is_scheduled(&mut self, now: Timestamp) {
        for Job { remotes, schedule, instances, .. } in self.jobs.values_mut() {
            for instance in instances.values_mut() {
                if let Some(at) = instance.scheduled.filter(|at| *at <= now) {
                    remotes.iter().for_each(|remote| instance.want(remote, at));
                    // From now, not from then: what was missed is not made up for.
                    instance.scheduled = instance.next_scheduled(schedule, now);
                }
            }
        }
    }

    /// The pass over a pair that began with this start has ended. A later one is not ended by it. Gives whether it was under
    /// way.
    pub(super) fn ended(&mut self, pair: &Pair, start: StartNumber) -> bool {
        let under_way = self.under_way.get(pair) == Some(&start);
        if under_way {
            self.under_way.remove(pair);
        }
        under_way
    }

    /// When there is something to do next; `None` for never. What waits for a pass to end is not due by itself.
    pub(super) fn next(&self) -> Option<Timestamp> {
        let taken = self.taken();
        let free = |remote: &str| has_place(taken.get(remote));
        let ticks = self.jobs.values().flat_map(|job| {
            job.tick.into_iter().chain(job.instances.values().filter_map(|instance| instance.scheduled))
        });
        let starts = self.waiting().filter(|(_, [_, _, remote])| free(remote)).map(|(at, _)| at);
        ticks.chain(starts).min()
    }

    /// When a repository of a job runs next, as far as that is known; `None` also where there is none such.
    pub(super) fn next_run(&self, job: &str, repository: &str) -> Option<Timestamp> {
        let entry = self.jobs.get(job)?;
        let instance = entry.instances.get(repository)?;
        instance.wanted.values().copied().chain(instance.scheduled).min()
    }

    /// Every pair that there is.
    pub(super) fn pairs(&self) -> Vec<Pair> {
        let mut pairs = Vec::new();
        for (name, job) in &self.jobs {
            for repository in job.instances.keys() {
                pairs.extend(job.remotes.iter().map(|remote| pair_of([name, repository, remote])));
            }
        }
        pairs
    }

    /// Every repository of every job.
    pub(super) fn repositories(&self) -> impl Iterator<Item = (&str, &Repository)> {
        self.jobs
            .iter()
            .flat_map(|(name, job)| job.instances.values().map(move |instance| (name.as_str(), &instance.repository)))
    }

    /// How many pairs have a pass under way.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// What is wanted and not under way: when, job, repository, remote. It is walked at every turn, so it copies nothing.
    fn waiting(&self) -> impl Iterator<Item = (Timestamp, [&str; 3])> {
        let instances = self.jobs.iter().flat_map(|(job, entry)| {
            entry.instances.iter().map(move |(repository, instance)| (job.as_str(), repository.as_str(), instance))
        });
        let wanted = instances.flat_map(|(job, repository, instance)| {
            instance.wanted.iter().map(move |(remote, at)| (*at, [job, repository, remote.as_str()]))
        });
        wanted.filter(|(_, names)| !self.under_way.keys().any(|pair| names_of(pair) == *names))
    }
}

/// Whether a pass may begin beside so many of its remote.
fn has_place(taken: Option<&usize>) -> bool {
    taken.is_none_or(|taken| *taken < PER_REMOTE)
}

fn names_of(pair: &Pair) -> [&str; 3] {
    [&pair.job, &pair.repository, &pair.remote]
}

fn pair_of([job, repository, remote]: [&str; 3]) -> Pair {
    Pair { job: job.to_owned(), repository: repository.to_owned(), remote: remote.to_owned() }
}

impl Instance {
    /// The schedule's next time for it: each tick has one, also where the shift is longer than the time between two.
    fn next_scheduled(&self, schedule: &Schedule, now: Timestamp) -> Option<Timestamp> {
        let tick = schedule.next_after(now.checked_sub(self.shift).ok()?)?;
        tick.checked_add(self.shift).ok()
    }

    fn want(&mut self, remote: &str, at: Timestamp) {
        match self.wanted.get_mut(remote) {
            Some(wanted) => *wanted = at.min(*wanted),
            None => {
                self.wanted.insert(remote.to_owned(), at);
            }
        }
    }
}

/// The end of time is late enough.
fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    fn timetable(job: &str, remotes: &[&str], schedule: &str) -> Timetable {
        Timetable {
            job: job.to_owned(),
            remotes: remotes.iter().map(|&remote| remote.to_owned()).collect(),
            schedule: Schedule::parse(schedule, TimeZone::UTC).unwrap(),
        }
    }

    fn repository(name: &str) -> Repository {
        Repository::local(name, format!("/srv/{name}"))
    }

    fn pair(job: &str, repository: &str, remote: &str) -> Pair {
        pair_of([job, repository, remote])
    }

    /// A job `core` on `near` and `far`, every minute, whose only repository was found at the beginning.
    fn agenda() -> Agenda {
        let mut agenda = Agenda::new("host".into());
        agenda.configure(vec![timetable("core", &["near", "far"], "* * * * *")], Duration::ZERO, at(0));
        assert_eq!(agenda.look(at(0)), ["core"]);
        assert_eq!(agenda.found("core", Some(vec![repository("core")]), at(0)), [""; 0]);
        agenda
    }

    fn started(starts: Vec<Start>) -> Vec<Pair> {
        starts.into_iter().flat_map(|start| start.pairs).collect()
    }

    impl Agenda {
        /// The latest start of a pair ends.
        fn end(&mut self, pair: &Pair) {
            let start = self.under_way[pair];
            assert!(self.ended(pair, start));
        }
    }

    #[test]
    fn pairs_of_one_repository_start_together_and_again_with_the_next_tick() {
        let mut agenda = agenda();
        let starts = agenda.start(at(0));
        assert_eq!((starts.len(), starts[0].pairs.len()), (1, 2));
        assert_eq!(agenda.next(), Some(at(60)));
        started(starts).iter().for_each(|pair| agenda.end(pair));
        assert_eq!(agenda.start(at(59)), []);
        assert_eq!(agenda.look(at(60)), ["core"]);
        agenda.found("core", Some(vec![repository("core")]), at(60));
        assert_eq!(started(agenda.start(at(60))).len(), 2);
    }

    #[test]
    fn a_slow_remote_keeps_only_itself_waiting() {
        let mut agenda = agenda();
        agenda.start(at(0));
        agenda.end(&pair("core", "core", "near"));
        for tick in 1..=3 {
            agenda.look(at(60 * tick));
            agenda.found("core", Some(vec![repository("core")]), at(60 * tick));
            assert_eq!(started(agenda.start(at(60 * tick))), [pair("core", "core", "near")]);
            agenda.end(&pair("core", "core", "near"));
            // It is due, but that is no reason to look at the clock all the time.
            assert_eq!(agenda.next(), Some(at(60 * tick + 60)));
        }
        agenda.end(&pair("core", "core", "far"));
        assert_eq!(started(agenda.start(at(200))), [pair("core", "core", "far")]);
        agenda.end(&pair("core", "core", "far"));
        assert_eq!(agenda.start(at(200)), [], "three missed ticks are one pass");
    }

    #[test]
    fn the_end_of_an_earlier_start_does_not_end_a_later_one() {
        let mut agenda = agenda();
        let first = agenda.start(at(0)).remove(0);
        assert!(agenda.ended(&pair("core", "core", "near"), first.number));
        agenda.ask_pair(&pair("core", "core", "near"), at(1));
        let second = agenda.start(at(1)).remove(0);
        let late = first.pairs.iter().filter(|pair| agenda.ended(pair, first.number)).count();
        assert_eq!(late, 1, "only that of the other remote");
        agenda.ask_pair(&pair("core", "core", "near"), at(2));
        assert_eq!(agenda.start(at(2)), []);
        assert!(agenda.ended(&pair("core", "core", "near"), second.number));
        assert_eq!(agenda.start(at(2)).len(), 1);
    }

    #[test]
    fn what_was_missed_runs_once() {
        let mut agenda = agenda();
        started(agenda.start(at(0))).iter().for_each(|pair| agenda.end(pair));
        // The machine slept for a day.
        assert_eq!(agenda.look(at(86_410)), ["core"]);
        agenda.found("core", Some(vec![repository("core")]), at(86_410));
        assert_eq!(started(agenda.start(at(86_410))).len(), 2);
        assert_eq!(agenda.look(at(86_411)), [""; 0]);
        assert_eq!(agenda.next(), Some(at(86_460)));
    }

    #[test]
    fn a_shift_that_is_longer_than_the_time_between_two_ticks_leaves_a_run_for_each() {
        let mut agenda = Agenda::new("host".into());
        agenda.configure(vec![timetable("core", &["far"], "* * * * *")], Duration::from_secs(600), at(86_400));
        agenda.look(at(86_400));
        agenda.found("core", Some(vec![repository("core")]), at(86_400));
        let mut runs = 0;
        for second in 86_400..86_400 + 1_200 {
            for job in agenda.look(at(second)) {
                agenda.found(&job, Some(vec![repository("core")]), at(second));
            }
            for pair in started(agenda.start(at(second))) {
                runs += 1;
                agenda.end(&pair);
            }
        }
        assert!((20..=21).contains(&runs), "20 ticks and the run at the start: {runs}");
    }

    #[test]
    fn a_clock_that_was_set_back_silences_nothing() {
        let mut agenda = agenda();
        started(agenda.start(at(0))).iter().for_each(|pair| agenda.end(pair));
        let year = 365 * 86_400;
        // Ahead by a year for a while; the passes of then want to be looked after in ten seconds.
        agenda.look(at(year));
        agenda.found("core", Some(vec![repository("core")]), at(year));
        started(agenda.start(at(year))).iter().for_each(|pair| agenda.end(pair));
        agenda.ask_pair(&pair("core", "core", "near"), at(year + 10));
        assert_eq!(agenda.look(at(100)), [""; 0]);
        assert_eq!(agenda.next(), Some(at(110)));
        assert_eq!(started(agenda.start(at(110))), [pair("core", "core", "near")]);
        assert_eq!(agenda.next(), Some(at(120)));
        assert_eq!(agenda.look(at(120)), ["core"]);
        assert_eq!(started(agenda.start(at(120))), [pair("core", "core", "far")]);
    }

    #[test]
    fn repositories_come_and_go() {
        let mut agenda = agenda();
        let gone = agenda.found("core", Some(vec![repository("new")]), at(1));
        assert_eq!(gone, ["core"]);
        assert_eq!(agenda.pairs(), [pair("core", "new", "near"), pair("core", "new", "far")]);
        // Not being able to look is no absence.
        assert_eq!(agenda.found("core", None, at(2)), [""; 0]);
        assert_eq!(agenda.pairs().len(), 2);
        assert_eq!(started(agenda.start(at(2))).len(), 2);
        // A job that somebody asks for is looked through anew.
        agenda.ask_job("core", at(3));
        assert_eq!(agenda.look(at(3)), ["core"]);
    }

    #[test]
    fn a_new_configuration_runs_everything_and_doubles_nothing() {
        let mut agenda = agenda();
        let under_way = started(agenda.start(at(0)));
        agenda.configure(vec![timetable("core", &["near", "far"], "@yearly")], Duration::ZERO, at(5));
        assert_eq!(agenda.look(at(5)), ["core"]);
        agenda.found("core", Some(vec![repository("core")]), at(5));
        assert_eq!(agenda.start(at(5)), [], "they are still under way");
        under_way.iter().for_each(|pair| agenda.end(pair));
        assert_eq!(started(agenda.start(at(6))).len(), 2);
    }

    #[test]
    fn a_remote_gets_so_many_at_once_and_those_that_wait_for_longest_first() {
        let mut agenda = Agenda::new("host".into());
        agenda.configure(vec![timetable("all", &["far"], "@yearly")], Duration::from_secs(30), at(0));
        agenda.look(at(0));
        agenda.found("all", Some((0..40).map(|n| repository(&format!("r{n}"))).collect()), at(0));
        let in_time = started(agenda.start(at(15))).len();
        assert!((5..=PER_REMOTE).contains(&in_time), "shifts spread them: {in_time}");
        let mut all = in_time;
        assert_eq!(all + started(agenda.start(at(30))).len(), PER_REMOTE);
        assert_eq!(
            agenda.next(),
            Some("1971-01-01T00:00:00Z".parse().unwrap()),
            "those in line are not due by the clock"
        );
        all = PER_REMOTE;
        while let Some(pair) = agenda.under_way.keys().next().cloned() {
            agenda.end(&pair);
            all += started(agenda.start(at(31))).len();
            assert!(agenda.under_way() <= PER_REMOTE);
        }
        assert_eq!(all, 40);
    }

    #[derive(Clone, Debug)]
    enum Happening {
        Passes(i64),
        Ends(usize),
        AskAll,
        AskPair(usize, i64),
        Reloads,
        Lost,
    }

    fn happening() -> impl Strategy<Value = Happening> {
        prop_oneof![
            (0..200_i64).prop_map(Happening::Passes),
            (0..8_usize).prop_map(Happening::Ends),
            Just(Happening::AskAll),
            (0..4_usize, 0..300_i64).prop_map(|(pair, after)| Happening::AskPair(pair, after)),
            Just(Happening::Reloads),
            Just(Happening::Lost),
        ]
    }

    proptest! {
        /// Whatever happens, no pair runs twice at a time, and whoever was asked for runs once everything has come to rest.
        #[test]
        fn nothing_overlaps_and_nothing_is_forgotten(happenings in prop::collection::vec(happening(), 1..60)) {
            let tables = || vec![timetable("a", &["x", "y"], "*/2 * * * *"), timetable("b", &["x"], "* * * * *")];
            let mut agenda = Agenda::new("host".into());
            let mut now = at(0);
            agenda.configure(tables(), Duration::from_secs(20), now);
            let mut under_way: BTreeSet<Pair> = BTreeSet::new();
            let mut asked: BTreeSet<Pair> = BTreeSet::new();
            for happening in happenings {
                match happening {
                    Happening::Passes(seconds) => now += SignedDuration::from_secs(seconds),
                    Happening::Ends(nth) => {
                        let Some(pair) = under_way.iter().nth(nth).cloned() else { continue };
                        under_way.remove(&pair);
                        agenda.end(&pair);
                    }
                    Happening::AskAll => {
                        agenda.ask_all(now);
                        asked.extend(agenda.pairs());
                    }
                    Happening::AskPair(nth, after) => {
                        let Some(pair) = agenda.pairs().get(nth).cloned() else { continue };
                        agenda.ask_pair(&pair, now + SignedDuration::from_secs(after));
                        asked.insert(pair);
                    }
                    Happening::Reloads => {
                        agenda.configure(tables(), Duration::from_secs(20), now);
                        // Everything runs after a reload.
                        asked.clear();
                    }
                    Happening::Lost => {
                        for job in agenda.look(now) {
                            agenda.found(&job, None, now);
                        }
                    }
                }
                for job in agenda.look(now) {
                    agenda.found(&job, Some(vec![repository("one"), repository("two")]), now);
                }
                for pair in started(agenda.start(now)) {
                    asked.remove(&pair);
                    prop_assert!(under_way.insert(pair), "started twice");
                }
                let next = agenda.next();
                prop_assert!(next.is_none_or(|next| next > now), "{next:?} is not later than {now}");
            }
            let end = now + SignedDuration::from_secs(600);
            for _ in 0..3 {
                under_way.iter().for_each(|pair| agenda.end(pair));
                under_way.clear();
                for pair in started(agenda.start(end)) {
                    asked.remove(&pair);
                    under_way.insert(pair);
                }
            }
            prop_assert!(asked.is_empty(), "{asked:?}");
        }
    }
}
