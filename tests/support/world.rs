//! A repository, a GitLab and the program between them.

use rusqlite::types::ValueRef;

use super::gitlab::{FakeGitlab, FakeTag, GitlabWorld};
use super::program::Program;
use super::repository::SampleRepository;

/// Renews the checksums of rows: two columns say which row it is, and those behind them are what the sum is over.
fn sign(ledger: &rusqlite::Connection, rows: &str, update: &str) {
    let mut statement = ledger.prepare(rows).expect("a table of the ledger");
    let columns = statement.column_count();
    let mut rows = statement.query([]).expect("a table of the ledger");
    while let Some(row) = rows.next().expect("a row") {
        let mut sum = crc32fast::Hasher::new();
        for at in 2..columns {
            let field = match row.get_ref(at).expect("a column") {
                ValueRef::Integer(number) => number.to_le_bytes().to_vec(),
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.to_vec(),
                ValueRef::Null | ValueRef::Real(_) => continue,
            };
            // With its length in front.
            sum.update(&(field.len() as u64).to_le_bytes());
            sum.update(&field);
        }
        let key = |at: usize| row.get::<_, rusqlite::types::Value>(at).expect("a column");
        ledger.execute(update, (key(0), key(1), i64::from(sum.finalize()))).expect("a table of the ledger");
    }
}

/// A repository, a GitLab and the program between them.
pub struct World {
    /// The source.
    pub repository: SampleRepository,
    /// The remote.
    pub gitlab: FakeGitlab,
    /// The binary.
    pub program: Program,
    /// Two commits that exist on both sides.
    pub commits: [String; 2],
}

impl World {
    /// Under `mirror`, with more lines for the job and the remote.
    pub fn new(job: &str, remote: &str) -> Self {
        let repository = SampleRepository::bare();
        let commits = [repository.commit("one"), repository.commit("two")];
        let gitlab = FakeGitlab::start(GitlabWorld::with_core());
        let program = Program::new();
        program.mirror(repository.path(), &gitlab.url(), job, remote);
        Self { repository, gitlab, program, commits }
    }

    /// Creates or moves a lightweight tag in the source.
    pub fn tag(&self, name: &str, commit: usize) {
        self.repository.tag(name, &self.commits[commit]);
    }

    /// Tags as `name -> commit`, as GitLab has them.
    pub fn far(&self) -> Vec<(String, String)> {
        let tags = self.gitlab.tags("infra/core");
        tags.into_iter().map(|(name, tag)| (name, tag.commit_id.unwrap_or_default())).collect()
    }

    /// Puts a tag on the remote, as somebody else would.
    pub fn put_far(&self, name: &str, tag: FakeTag) {
        self.gitlab.change(|world| world.project("infra/core").tags.insert(name.to_owned(), tag.clone()));
    }

    /// How many creates and deletes have reached the remote.
    pub fn writes(&self) -> usize {
        self.gitlab.writes().len()
    }

    /// Lets so many minutes pass for what the ledger remembers.
    pub fn age(&self, minutes: i64) {
        let ledger = rusqlite::Connection::open(self.program.path("state/ledger.db")).expect("the ledger is there");
        let by = minutes * 60_000_000;
        for sql in [
            "UPDATE history SET time = time - ?1",
            "UPDATE absences SET since = since - ?1",
            "UPDATE pairs SET bound = bound - ?1",
        ] {
            ledger.execute(sql, [by]).expect("a table of the ledger");
        }
        sign(
            &ledger,
            "SELECT pair, tag, 'absences', job, repository, remote, tag, since FROM absences JOIN pairs ON id = pair",
            "UPDATE absences SET checksum = ?3 WHERE pair = ?1 AND tag = ?2",
        );
        sign(
            &ledger,
            "SELECT id, id, 'pairs', job, repository, remote, id, 1, source, exact_begun IS NOT NULL, exact_begun,
                 bound, 1, space, access, access_found IS NOT NULL, access_found, access_needed IS NOT NULL,
                 access_needed, confirmed FROM pairs",
            "UPDATE pairs SET checksum = ?3 WHERE id = ?1 AND id = ?2",
        );
    }

    /// `v00`, `v01` and so on.
    pub fn tag_many(&self, count: usize) {
        for at in 0..count {
            self.tag(&format!("v{at:02}"), 0);
        }
    }
}
