//! What a bug in one pass costs the others.

use std::sync::{Arc, Mutex};

use tagsyncd::config::load;
use tagsyncd::http::Pool;
use tagsyncd::report::{RemoteReport, State};
use tagsyncd::sync::{Grace, Mode, Progress, Purpose, Run, sync_repository};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_bug_in_the_pass_over_one_pair_lets_the_others_of_its_source_end_theirs() {
    let world = World::new("", "");
    world.tag("v1", 0);
    let file = world.program.path("config.toml");
    // A remote that fails before anybody is asked, so its pass is over before the other one's.
    let quick = "[remote.quick]\nprovider = \"gitlab\"\nproject = \"a/b\"\ntoken = { env = \"NOT_SET_ANYWHERE\" }\n";
    let text = std::fs::read_to_string(&file).unwrap();
    let changed = format!("{}\n{quick}", text.replace("to = [\"gitlab\"]", "to = [\"quick\", \"gitlab\"]"));
    assert!(changed.contains("to = [\"quick\""), "{text}");
    std::fs::write(&file, changed).unwrap();

    let settings = load(&file).expect("a good configuration");
    let heard: Arc<Mutex<Vec<(String, State)>>> = Arc::default();
    let listener = Arc::clone(&heard);
    let whole = tokio::spawn(async move {
        let run_settings = Run {
            id: uuid::Uuid::now_v7(),
            purpose: Purpose::Agree,
            pairs: None,
            mode: Mode::Plan(None),
            pool: Arc::new(Pool::new()),
            released: Vec::new(),
            grace: Grace::Keep,
            verbose: false,
            stop: tokio_util::sync::CancellationToken::new(),
            progress: Progress::default(),
            ended: Some(Arc::new(move |pair: &tagsyncd::ledger::Pair, report: &RemoteReport| {
                assert_ne!(pair.remote, "quick", "this is the bug");
                listener.lock().unwrap().push((pair.remote.clone(), report.state));
            })),
        };
        let job = &settings.jobs[0];
        let repositories = job.from.find().expect("there is one");
        sync_repository(job, &repositories[0], &run_settings).await
    });
    assert!(whole.await.is_err_and(|fault| fault.is_panic()), "whoever started it hears of the bug");
    assert_eq!(*heard.lock().unwrap(), [("gitlab".to_owned(), State::Pending)]);
}
