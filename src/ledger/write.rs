//! From what happened to rows. Everything here runs inside the transaction that the writer has open.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use rusqlite::{Connection, Params, Statement, params};

use super::checksum::Checksum;
use super::fault::Failure;
use super::read::{self, DAY, IntentRow, PairRow};
use super::{
    APPROVED_UNDO, IntentId, Note, Notice, Outcome, Pair, ParkedEnd, ParkedSet, PassEnd, Pin, Record, RecordChange,
    Settlement, UNDO, Unsettled,
};
use crate::provider::Identity;
use crate::tag::{ProvenNames, Sighting, TagName};

/// How exactly the high-water mark remembers when it was passed; bounds the marks of a day to 1440 for each pair.
const MARK: i64 = 60 * 1_000_000;

/// How long a set that is parked no more is remembered.
const KEEP_ENDED: i64 = 7 * DAY;

/// The ledger, open for writing: the statements and counts that are worth keeping between transactions.
///
/// Valid as long as every transaction is committed; the writer begins another one after the first that is not.
pub(super) struct Book<'connection> {
    connection: &'connection Connection,
    statements: HashMap<&'static str, Statement<'connection>>,
    ids: HashMap<Pair, i64>,
    owned: HashMap<i64, i64>,
    /// Pairs that are known to have no agreement.
    unsettled: HashSet<Pair>,
}

impl<'connection> Book<'connection> {
    pub(super) fn new(connection: &'connection Connection) -> Self {
        let (statements, ids, owned, unsettled) = Default::default();
        Self { connection, statements, ids, owned, unsettled }
    }

    /// What the latest pass agreed on is not all that is remembered any more.
    pub(super) fn end_agreement(&mut self, pair: &Pair) -> Result<(), Failure> {
        if self.unsettled.contains(pair) {
            return Ok(());
        }
        let Pair { job, repository, remote } = pair;
        self.execute(
            "UPDATE passes SET agreement = NULL WHERE agreement IS NOT NULL
                 AND pair = (SELECT id FROM pairs WHERE job = ?1 AND repository = ?2 AND remote = ?3)",
            params![job, repository, remote],
        )?;
        self.unsettled.insert(pair.clone());
        Ok(())
    }

    pub(super) fn bind(
        &mut self,
        pair: &Pair,
        source: &str,
        identity: &Identity,
        now: Timestamp,
        void: bool,
    ) -> Result<(), Failure> {
        let id = self.id(pair)?;
        let former = self.row(pair)?;
        let mut row = PairRow {
            source: Some(source.to_owned()),
            identity: Some((identity.clone(), now)),
            bound: former.bound.or(Some(now)),
            exact_begun: former.exact_begun,
        };
        if void {
            row.exact_begun = None;
            row.bound = Some(now);
            self.execute("DELETE FROM records WHERE pair = ?1", [id])?;
            self.execute("DELETE FROM refusals WHERE pair = ?1", [id])?;
            self.execute("DELETE FROM parked WHERE pair = ?1", [id])?;
            self.execute("DELETE FROM pins WHERE pair = ?1", [id])?;
            self.execute("DELETE FROM absences WHERE pair = ?1", [id])?;
            self.execute("DELETE FROM marks WHERE pair = ?1", [id])?;
            self.execute("DELETE FROM digests WHERE pair = ?1", [id])?;
            self.execute("DELETE FROM names WHERE pair = ?1", [id])?;
            self.owned.insert(id, 0);
            if former.identity.is_some_and(|(bound, _)| bound.space != identity.space) {
                self.void_intents(id, pair, now)?;
            }
        }
        self.put_row(id, pair, &row)
    }

    /// Ends intents that nobody can resolve any more, because the tag space they were for is not behind the remote.
    fn void_intents(&mut self, id: i64, pair: &Pair, now: Timestamp) -> Result<(), Failure> {
        for open in read::intents(self.connection, id, pair)? {
            let detail = "the tag space was replaced before the outcome was known";
            self.append_history(id, &open, Outcome::Lost, Some(detail), now)?;
            self.execute("DELETE FROM intents WHERE id = ?1", [open.id])?;
        }
        Ok(())
    }

    pub(super) fn announce(&mut self, pair: &Pair, row: &IntentRow) -> Result<(), Failure> {
        let pair_id = self.id(pair)?;
        let IntentRow { id, time, run, intent } = row;
        self.execute(
            "INSERT INTO intents (id, pair, time, run, tag, remote_name, action, old, new, message, old_message, reason, checksum)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            params![
                id,
                pair_id,
                time.as_microsecond(),
                run,
                intent.tag.as_bytes(),
                intent.remote_name.as_bytes(),
                intent.action.word(),
                intent.old.as_ref().map(|value| value.to_record()),
                intent.new.as_ref().map(|value| value.to_record()),
                intent.message,
                intent.old_message,
                intent.reason,
                row.checksum(pair),
            ],
        )?;
        Ok(())
    }

    pub(super) fn settle(
        &mut self,
        pair: &Pair,
        IntentId(id): IntentId,
        settlement: &Settlement,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let pair_id = self.id(pair)?;
        let open = self.open_intent(id, pair_id, pair)?;
        let Settlement { outcome, record, keep_intent, detail, refusal } = settlement;
        let tag = &open.intent.tag;
        if *outcome != Outcome::NotSent {
            self.append_history(pair_id, &open, *outcome, detail.as_deref(), now)?;
        }
        self.change_record(pair_id, pair, tag, record, now)?;
        match (refusal, open.intent.new.as_ref().or(open.intent.old.as_ref())) {
            (Some(kind), Some(value)) => {
                self.execute(
                    "INSERT INTO refusals (pair, tag, value, kind, detail, first, last) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)
                     ON CONFLICT (pair, tag) DO UPDATE SET
                         first = iif(value = excluded.value, first, excluded.first),
                         value = excluded.value, kind = excluded.kind, detail = excluded.detail, last = excluded.last",
                    params![
                        pair_id,
                        tag.as_bytes(),
                        value.to_record(),
                        kind.word(),
                        detail.as_deref().unwrap_or_default(),
                        now.as_microsecond(),
                    ],
                )?;
            }
            (Some(_), None) => return Err(Failure::Misuse("a value that was refused".into())),
            (None, _) if matches!(outcome, Outcome::Done | Outcome::Already) => self.end_refusal(pair_id, tag)?,
            (None, _) => {}
        }
        // Only an undo may take effect on a pinned name without a person's release.
        if matches!(outcome, Outcome::Done | Outcome::Already)
            && ![UNDO, APPROVED_UNDO].contains(&open.intent.reason.as_str())
        {
            self.end_pin(pair_id, tag)?;
        }
        if !keep_intent {
            self.execute("DELETE FROM intents WHERE id = ?1", [id])?;
        }
        Ok(())
    }

    fn open_intent(&mut self, id: i64, pair_id: i64, pair: &Pair) -> Result<IntentRow, Failure> {
        let mut rows = self.statement(read::SELECT_INTENT)?.query([id, pair_id])?;
        match rows.next()? {
            Some(row) => read::intent(row, pair),
            None => Err(Failure::Misuse(format!("intent {id} of {pair}"))),
        }
    }

    fn append_history(
        &mut self,
        pair_id: i64,
        IntentRow { id, run, intent, .. }: &IntentRow,
        outcome: Outcome,
        detail: Option<&str>,
        now: Timestamp,
    ) -> Result<(), Failure> {
        self.execute(
            "INSERT INTO history (time, run, pair, intent, tag, remote_name, action, old, new, outcome, reason, detail, old_message)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            params![
                now.as_microsecond(),
                run,
                pair_id,
                id,
                intent.tag.as_bytes(),
                intent.remote_name.as_bytes(),
                intent.action.word(),
                intent.old.as_ref().map(|value| value.to_record()),
                intent.new.as_ref().map(|value| value.to_record()),
                outcome.word(),
                intent.reason,
                detail,
                intent.old_message,
            ],
        )?;
        Ok(())
    }

    pub(super) fn note(&mut self, pair: &Pair, notes: &[Note], now: Timestamp) -> Result<(), Failure> {
        let id = self.id(pair)?;
        for Note { tag, record } in notes {
            self.change_record(id, pair, tag, record, now)?;
            self.end_refusal(id, tag)?;
        }
        Ok(())
    }

    fn change_record(
        &mut self,
        id: i64,
        pair: &Pair,
        tag: &TagName,
        change: &RecordChange,
        now: Timestamp,
    ) -> Result<(), Failure> {
        match change {
            RecordChange::Keep => Ok(()),
            RecordChange::Put(record) => self.put_record(id, pair, tag, record),
            RecordChange::Drop => self.drop_record(id, tag, now),
        }
    }

    fn put_record(&mut self, id: i64, pair: &Pair, tag: &TagName, record: &Record) -> Result<(), Failure> {
        let owned = self.owned(id)?;
        let (tag, remote_name) = (tag.as_bytes(), record.remote_name.as_bytes());
        let (value, ownership) = (record.value.to_record(), record.ownership.word());
        let sum = read::record_checksum(Checksum::of("records", pair), tag, remote_name, &value, ownership);
        let columns = params![id, tag, remote_name, value, ownership, sum];
        let inserted = self.execute(
            "INSERT INTO records (pair, tag, remote_name, value, ownership, checksum) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT DO NOTHING",
            columns,
        )?;
        if inserted > 0 {
            self.owned.insert(id, owned.saturating_add(1));
        } else {
            self.execute(
                "UPDATE records SET remote_name = ?3, value = ?4, ownership = ?5, checksum = ?6 WHERE pair = ?1 AND tag = ?2",
                columns,
            )?;
        }
        Ok(())
    }

    /// Drops a record. How many there were before is kept: the most that were owned within a day is the most that were
    /// owned just before one of them went, or now.
    fn drop_record(&mut self, id: i64, tag: &TagName, now: Timestamp) -> Result<(), Failure> {
        let owned = self.owned(id)?;
        let dropped = self.execute("DELETE FROM records WHERE pair = ?1 AND tag = ?2", params![id, tag.as_bytes()])?;
        if dropped == 0 {
            return Ok(());
        }
        self.owned.insert(id, owned.saturating_sub(1));
        let now = now.as_microsecond();
        // Rounded up, so that a mark lasts a day at least.
        let time = now.div_euclid(MARK).saturating_add(1).saturating_mul(MARK);
        let marked = self.execute(
            "INSERT INTO marks (pair, time, owned) VALUES (?1, ?2, ?3)
             ON CONFLICT (pair, time) DO UPDATE SET owned = excluded.owned WHERE owned < excluded.owned",
            params![id, time, owned],
        )?;
        if marked > 0 {
            self.execute("DELETE FROM marks WHERE pair = ?1 AND time <= ?2", params![id, now.saturating_sub(DAY)])?;
        }
        Ok(())
    }

    fn end_refusal(&mut self, id: i64, tag: &TagName) -> Result<(), Failure> {
        self.execute("DELETE FROM refusals WHERE pair = ?1 AND tag = ?2", params![id, tag.as_bytes()])?;
        Ok(())
    }

    pub(super) fn park(&mut self, pair: &Pair, parked: &[ParkedSet], now: Timestamp) -> Result<(), Failure> {
        let id = self.id(pair)?;
        let now = now.as_microsecond();
        for known in read::parked(self.connection, id)? {
            let plan = &known.set.plan;
            if !parked.iter().any(|set| set.plan == *plan) {
                self.end_parked(id, plan, ParkedEnd::Changed, now)?;
            }
        }
        for ParkedSet { plan, by, changes, count } in parked {
            self.execute(
                "INSERT INTO parked (pair, plan, parked_by, changes, count, since) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (pair, plan) DO UPDATE SET
                     since = excluded.since, decision = NULL, decided = NULL, ending = NULL, ended = NULL
                 WHERE ended IS NOT NULL",
                params![id, plan, by.word(), changes, count, now],
            )?;
        }
        self.execute("DELETE FROM parked WHERE pair = ?1 AND ended < ?2", params![id, now.saturating_sub(KEEP_ENDED)])?;
        Ok(())
    }

    /// Whether all of these sets were approved; then their approvals are used up.
    pub(super) fn take_approvals(
        &mut self,
        pair: &Pair,
        approved: &[String],
        commanded: &[String],
        now: Timestamp,
    ) -> Result<bool, Failure> {
        let id = self.id(pair)?;
        let parked = read::parked(self.connection, id)?;
        let is_approved = |plan: &String| parked.iter().any(|known| known.set.plan == *plan && known.is_released(now));
        if !approved.iter().all(is_approved) {
            return Ok(false);
        }
        let mut taken = approved.iter().chain(commanded);
        taken.try_for_each(|plan| self.end_parked(id, plan, ParkedEnd::Released, now.as_microsecond()))?;
        Ok(true)
    }

    fn end_parked(&mut self, id: i64, plan: &str, ending: ParkedEnd, now: i64) -> Result<(), Failure> {
        self.execute(
            "UPDATE parked SET ending = ?3, ended = ?4 WHERE pair = ?1 AND plan = ?2 AND ended IS NULL",
            params![id, plan, ending.word(), now],
        )?;
        Ok(())
    }

    pub(super) fn pin(&mut self, pair: &Pair, pins: &[(TagName, Pin)]) -> Result<(), Failure> {
        let id = self.id(pair)?;
        for (tag, Pin { value, undone, since }) in pins {
            self.execute(
                "INSERT OR REPLACE INTO pins (pair, tag, value, undone, since) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    id,
                    tag.as_bytes(),
                    value.as_ref().map(|value| value.to_record()),
                    undone.to_string(),
                    since.as_microsecond(),
                ],
            )?;
        }
        Ok(())
    }

    pub(super) fn remember_notices(&mut self, notices: &[(Pair, Option<Notice>)]) -> Result<(), Failure> {
        for (pair, notice) in notices {
            let id = self.id(pair)?;
            match notice {
                Some(Notice { matter, since, told }) => self.execute(
                    "INSERT OR REPLACE INTO notices (pair, matter, since, told) VALUES (?1, ?2, ?3, ?4)",
                    params![id, matter.word(), since.as_microsecond(), told.as_microsecond()],
                )?,
                None => self.execute("DELETE FROM notices WHERE pair = ?1", [id])?,
            };
        }
        Ok(())
    }

    pub(super) fn unpin(&mut self, pair: &Pair, tags: &[TagName]) -> Result<(), Failure> {
        let id = self.id(pair)?;
        tags.iter().try_for_each(|tag| self.end_pin(id, tag))
    }

    fn end_pin(&mut self, id: i64, tag: &TagName) -> Result<(), Failure> {
        self.execute("DELETE FROM pins WHERE pair = ?1 AND tag = ?2", params![id, tag.as_bytes()])?;
        Ok(())
    }

    pub(super) fn remember(
        &mut self,
        pair: &Pair,
        seen: &[(TagName, Sighting)],
        forgotten: &[TagName],
    ) -> Result<(), Failure> {
        let id = self.id(pair)?;
        let sum = Checksum::of("digests", pair);
        for (name, Sighting { digest, confirmed }) in seen {
            let (name, digest, confirmed) = (name.as_bytes(), digest.to_string(), confirmed.as_microsecond());
            let sum = read::sighting_checksum(sum.clone(), name, &digest, confirmed);
            self.execute(
                "INSERT OR REPLACE INTO digests (pair, remote_name, digest, confirmed, checksum) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![id, name, digest, confirmed, sum],
            )?;
        }
        for name in forgotten {
            self.execute("DELETE FROM digests WHERE pair = ?1 AND remote_name = ?2", params![id, name.as_bytes()])?;
        }
        Ok(())
    }

    pub(super) fn remember_names(&mut self, pair: &Pair, names: Option<&ProvenNames>) -> Result<(), Failure> {
        let id = self.id(pair)?;
        match names {
            Some(ProvenNames { fingerprint, proven }) => {
                let proven = proven.as_microsecond();
                self.execute(
                    "INSERT OR REPLACE INTO names (pair, fingerprint, proven, checksum) VALUES (?1, ?2, ?3, ?4)",
                    params![id, fingerprint, proven, read::names_checksum(pair, fingerprint, proven)],
                )?
            }
            None => self.execute("DELETE FROM names WHERE pair = ?1", [id])?,
        };
        Ok(())
    }

    pub(super) fn note_absences(
        &mut self,
        pair: &Pair,
        absent: &[TagName],
        ended: &[TagName],
        now: Timestamp,
    ) -> Result<(), Failure> {
        let id = self.id(pair)?;
        for tag in ended {
            self.execute("DELETE FROM absences WHERE pair = ?1 AND tag = ?2", params![id, tag.as_bytes()])?;
        }
        let (sum, since) = (Checksum::of("absences", pair), now.as_microsecond());
        for tag in absent {
            let sum = read::absence_checksum(sum.clone(), tag.as_bytes(), since);
            self.execute(
                "INSERT OR REPLACE INTO absences (pair, tag, since, checksum) VALUES (?1, ?2, ?3, ?4)",
                params![id, tag.as_bytes(), since, sum],
            )?;
        }
        Ok(())
    }

    pub(super) fn end_pass(&mut self, pair: &Pair, end: &PassEnd, exact_begun: Option<String>) -> Result<(), Failure> {
        let id = self.id(pair)?;
        let row = self.row(pair)?;
        if exact_begun.is_some() && exact_begun != row.exact_begun {
            self.put_row(id, pair, &PairRow { exact_begun, ..row })?;
        }
        let PassEnd { began, ended, state, converged, error, counts, unsettled, agreement } = end;
        let ended = ended.as_microsecond();
        self.unsettled.remove(pair);
        self.execute(
            "INSERT INTO passes
                 (pair, began, ended, last_success, in_sync_since, state, converged, error, counts, agreement)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT (pair) DO UPDATE SET
                 began = excluded.began, ended = excluded.ended,
                 last_success = coalesce(excluded.last_success, last_success),
                 in_sync_since = iif(excluded.converged, coalesce(in_sync_since, excluded.in_sync_since), NULL),
                 state = excluded.state, converged = excluded.converged, error = excluded.error, counts = excluded.counts,
                 agreement = excluded.agreement",
            params![
                id,
                began.as_microsecond(),
                ended,
                error.is_none().then_some(ended),
                converged.then_some(ended),
                state,
                converged,
                error,
                counts,
                agreement,
            ],
        )?;
        if error.is_none() {
            self.put_unsettled(id, unsettled)?;
        }
        Ok(())
    }

    /// Replaces what keeps a pair from agreement; a name that was there before keeps its age.
    fn put_unsettled(&mut self, id: i64, unsettled: &[Unsettled]) -> Result<(), Failure> {
        let before = read::unsettled(self.connection, id)?;
        if before.is_empty() && unsettled.is_empty() {
            return Ok(());
        }
        let since: BTreeMap<&TagName, Timestamp> = before.iter().map(|known| (&known.tag, known.since)).collect();
        self.execute("DELETE FROM unsettled WHERE pair = ?1", params![id])?;
        for Unsettled { tag, matter, reason, since: now } in unsettled {
            let since = since.get(tag).unwrap_or(now).as_microsecond();
            self.execute(
                "INSERT OR REPLACE INTO unsettled (pair, tag, matter, reason, since) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![id, tag.as_bytes(), matter.word(), reason, since],
            )?;
        }
        Ok(())
    }

    /// How many records a pair has; counted once, then kept.
    fn owned(&mut self, id: i64) -> Result<i64, Failure> {
        if let Some(&owned) = self.owned.get(&id) {
            return Ok(owned);
        }
        let owned =
            self.connection.query_row("SELECT count(*) FROM records WHERE pair = ?1", [id], |row| row.get(0))?;
        self.owned.insert(id, owned);
        Ok(owned)
    }

    /// A pair's id; it gets one when it has none yet.
    fn id(&mut self, pair: &Pair) -> Result<i64, Failure> {
        if let Some(&id) = self.ids.get(pair) {
            return Ok(id);
        }
        let id = match read::pair_row(self.connection, pair)? {
            Some((id, _)) => id,
            None => {
                self.execute(
                    "INSERT INTO pairs (job, repository, remote, checksum) VALUES (?1, ?2, ?3, 0)",
                    params![pair.job, pair.repository, pair.remote],
                )?;
                let id = self.connection.last_insert_rowid();
                self.put_row(id, pair, &PairRow::default())?;
                id
            }
        };
        self.ids.insert(pair.clone(), id);
        Ok(id)
    }

    fn row(&self, pair: &Pair) -> Result<PairRow, Failure> {
        let found = read::pair_row(self.connection, pair)?;
        found.map(|(_, row)| row).ok_or(Failure::Corrupt("a pair that vanished"))
    }

    fn put_row(&mut self, id: i64, pair: &Pair, row: &PairRow) -> Result<(), Failure> {
        let identity = row.identity.as_ref();
        let access = identity.map(|(identity, _)| read::access_columns(&identity.access));
        self.execute(
            "UPDATE pairs SET source = ?2, space = ?3, access = ?4, access_found = ?5, access_needed = ?6, confirmed = ?7,
                 exact_begun = ?8, checksum = ?9, bound = ?10 WHERE id = ?1",
            params![
                id,
                row.source,
                identity.map(|(identity, _)| &identity.space),
                access.map(|(word, _, _)| word),
                access.and_then(|(_, found, _)| found),
                access.and_then(|(_, _, needed)| needed),
                identity.map(|(_, confirmed)| confirmed.as_microsecond()),
                row.exact_begun,
                row.checksum(id, pair),
                row.bound.map(Timestamp::as_microsecond),
            ],
        )?;
        Ok(())
    }

    fn execute(&mut self, sql: &'static str, parameters: impl Params) -> Result<usize, Failure> {
        Ok(self.statement(sql)?.execute(parameters)?)
    }

    /// A statement, prepared the first time it is asked for.
    fn statement(&mut self, sql: &'static str) -> Result<&mut Statement<'connection>, Failure> {
        use std::collections::hash_map::Entry;
        match self.statements.entry(sql) {
            Entry::Occupied(prepared) => Ok(prepared.into_mut()),
            Entry::Vacant(empty) => Ok(empty.insert(self.connection.prepare(sql)?)),
        }
    }
}
