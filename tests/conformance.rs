//! Every provider passes the same suite.

mod support;

use support::conformance::{Subject, run};
use support::memory::capabilities;
use support::memory_subject::MemorySubject;
use tagsyncd::provider::{Deletes, Lease, Moves};

const NEVER: &str = "nothing is deleted here";

/// Runs the suite and fails with its whole report.
async fn conforms(subject: impl Subject) {
    let report = run(&subject).await;
    assert!(report.failed.is_empty(), "{report}");
    // A suite that skips everything proves nothing.
    assert!(report.held.len() > report.skipped.len(), "{report}");
}

#[tokio::test]
async fn memory_that_moves_in_place() {
    conforms(MemorySubject::new(|| capabilities(Moves::InPlace, Deletes::Yes, Lease::Server))).await;
}

#[tokio::test]
async fn memory_that_moves_by_recreation() {
    conforms(MemorySubject::new(|| capabilities(Moves::Recreate, Deletes::Yes, Lease::LookBefore))).await;
}

#[tokio::test]
async fn memory_that_never_deletes() {
    conforms(MemorySubject::new(|| capabilities(Moves::Never(NEVER), Deletes::Never(NEVER), Lease::LookBefore))).await;
}

#[tokio::test]
async fn the_suite_finds_a_provider_that_boasts() {
    let modest = || capabilities(Moves::Recreate, Deletes::Never(NEVER), Lease::LookBefore);
    let claimed = capabilities(Moves::InPlace, Deletes::Yes, Lease::LookBefore);
    let report = run(&MemorySubject::boasting(modest, claimed)).await;
    let failed: Vec<_> = report.failed.iter().map(|(behaviour, _)| *behaviour).collect();
    for behaviour in ["a tag is deleted, and no other", "a tag moves in place, or not at all"] {
        assert!(failed.contains(&behaviour), "{report}");
    }
}
