//! Random steps, against a few maps that do the same.

use super::processes::check_is_one_file;
use super::*;

#[derive(Clone, Debug)]
enum Step {
    Announce(u8, Action, bool),
    Settle(u8, Outcome, bool, bool),
    Note(u8, Option<u8>),
    EndPass(bool),
    Confirm,
    Reopen,
    Read,
}

fn step() -> impl Strategy<Value = Step> {
    let action = prop_oneof![Just(Action::Create), Just(Action::Move), Just(Action::Delete)];
    let outcome = prop_oneof![
        Just(Outcome::Done),
        Just(Outcome::Already),
        Just(Outcome::Rejected),
        Just(Outcome::NotSent),
        Just(Outcome::Restored),
        Just(Outcome::Lost),
    ];
    prop_oneof![
        4 => (0..6_u8, action, any::<bool>()).prop_map(|(tag, action, approved)| Step::Announce(tag, action, approved)),
        4 => (any::<u8>(), outcome, any::<bool>(), any::<bool>())
            .prop_map(|(which, outcome, keep, refuse)| Step::Settle(which, outcome, keep, refuse)),
        3 => (0..6_u8, proptest::option::of(0..3_u8)).prop_map(|(tag, value)| Step::Note(tag, value)),
        2 => any::<bool>().prop_map(Step::EndPass),
        1 => Just(Step::Confirm),
        1 => Just(Step::Reopen),
        1 => Just(Step::Read),
    ]
}

/// The ledger in a few maps: what the real one is held against.
#[derive(Default)]
struct Model {
    records: BTreeMap<TagName, Record>,
    intents: Vec<(IntentId, Intent)>,
    refusals: BTreeMap<TagName, Value>,
    used: std::collections::BTreeSet<(Action, IntentId)>,
    history: Vec<(TagName, Outcome)>,
    high_water: usize,
    /// What the latest pass agreed on, until something else is written.
    agreement: Option<String>,
}

impl Model {
    fn change(&mut self, tag: &TagName, change: &RecordChange) {
        match change {
            RecordChange::Keep => {}
            RecordChange::Put(record) => drop(self.records.insert(tag.clone(), record.clone())),
            RecordChange::Drop => drop(self.records.remove(tag)),
        }
        self.high_water = self.high_water.max(self.records.len());
    }

    fn settle(&mut self, at: usize, settlement: &Settlement) {
        let (id, intent) = self.intents[at].clone();
        let effect = matches!(settlement.outcome, Outcome::Done | Outcome::Restored | Outcome::Lost);
        if effect && intent.action != Action::Create && intent.reason != "approved" {
            self.used.insert((intent.action, id));
        }
        if settlement.outcome != Outcome::NotSent {
            self.history.push((intent.tag.clone(), settlement.outcome));
        }
        self.change(&intent.tag, &settlement.record);
        if settlement.refusal.is_some() {
            self.refusals.insert(intent.tag.clone(), intent.new.or(intent.old).unwrap());
        } else if matches!(settlement.outcome, Outcome::Done | Outcome::Already) {
            self.refusals.remove(&intent.tag);
        }
        if !settlement.keep_intent {
            self.intents.remove(at);
        }
    }

    fn count(&self, action: Action) -> u32 {
        let mut used = self.used.clone();
        used.extend(
            self.intents.iter().filter(|(_, open)| open.reason != "approved").map(|(id, open)| (open.action, *id)),
        );
        u32::try_from(used.iter().filter(|(used, _)| *used == action).count()).unwrap()
    }

    async fn check(&self, ledger: &SqliteLedger, now: Timestamp) {
        let read = ledger.read_pair(&pair(), now).await.unwrap();
        assert_eq!(read.records, self.records);
        assert_eq!(read.intents, self.intents);
        let refusals: BTreeMap<_, _> = read.refusals.into_iter().map(|(tag, refusal)| (tag, refusal.value)).collect();
        assert_eq!(refusals, self.refusals);
        assert_eq!((read.usage.deletes, read.usage.moves), (self.count(Action::Delete), self.count(Action::Move)));
        assert_eq!(usize::try_from(read.usage.high_water).unwrap(), self.high_water);
        let agreement = ledger.read_agreement(&pair()).await.unwrap();
        assert_eq!(agreement.map(|agreement| agreement.text), self.agreement);
        let history = ledger.read_history(&HistoryQuery::default()).await.unwrap();
        let history: Vec<_> = history.into_iter().map(|entry| (entry.tag, entry.outcome)).collect();
        assert_eq!(history, self.history);
    }
}

async fn follow(steps: Vec<Step>) {
    let state = State::new();
    let mut ledger = state.open();
    let mut model = Model::default();
    let identity = Identity { space: "1".into(), access: Access::Write };
    ledger.bind(&pair(), "source", &identity, at(0), false).await.unwrap();
    for (now, step) in steps.into_iter().enumerate() {
        let now = at(i64::try_from(now).unwrap());
        if !matches!(step, Step::Settle(..) | Step::Reopen | Step::Read) {
            model.agreement = None;
        }
        match step {
            Step::Announce(tag, action, approved) => {
                let tag = name([b't', 0xf0 + tag]);
                let reason = if approved { "approved" } else { "" }.to_owned();
                let intent = Intent { reason, ..intent(&tag, action) };
                let id = ledger.announce(&pair(), run(), &intent, now).await.unwrap();
                model.intents.push((id, intent));
            }
            Step::Settle(which, outcome, keep_intent, refuse) if !model.intents.is_empty() => {
                let at = usize::from(which) % model.intents.len();
                let (id, intent) = &model.intents[at];
                let record = match (outcome, &intent.new) {
                    (Outcome::Done | Outcome::Already, Some(_)) => RecordChange::Put(record(&intent.tag, 2)),
                    (Outcome::Done | Outcome::Already, None) => RecordChange::Drop,
                    _ => RecordChange::Keep,
                };
                let refusal = (refuse && outcome == Outcome::Rejected).then_some(RefusalKind::Policy);
                let settlement = Settlement { outcome, record, keep_intent, detail: None, refusal };
                ledger.settle(&pair(), *id, &settlement, now).await.unwrap();
                model.settle(at, &settlement);
                model.agreement = None;
            }
            Step::Settle(..) => {}
            Step::Note(tag, value) => {
                let tag = name([b't', 0xf0 + tag]);
                let note = value.map_or_else(|| forget(&tag), |value| put(&tag, u32::from(value)));
                ledger.note(&pair(), std::slice::from_ref(&note), now).await.unwrap();
                model.change(&tag, &note.record);
                model.refusals.remove(&tag);
            }
            Step::EndPass(agrees) => {
                model.agreement = agrees.then(|| format!("as of {now}"));
                let end = PassEnd { agreement: model.agreement.clone(), ..pass(now, true, None) };
                ledger.end_pass(&pair(), &end, None).await.unwrap();
                // What is written of another pair is no matter of this one.
                let other = Pair { remote: "other".into(), ..pair() };
                ledger.note(&other, &[put(&name("v1"), 1)], now).await.unwrap();
            }
            Step::Confirm => ledger.bind(&pair(), "source", &identity, now, false).await.unwrap(),
            Step::Reopen => {
                drop(ledger);
                ledger = state.open();
            }
            Step::Read => model.check(&ledger, now).await,
        }
    }
    model.check(&ledger, at(1000)).await;
    drop(ledger);
    check_is_one_file(&state);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_does_what_a_few_maps_do(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(follow(steps));
    }
}
