//! What the daemon costs with 1,000 repositories on one remote: memory, wake-ups, how evenly it asks.
//! `cargo bench --bench service` prints the figures; nothing fails on them.

#![expect(clippy::print_stdout, reason = "a bench prints")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use support::gitlab::{FakeGitlab, GitlabWorld, Project};
use support::program::Program;
use support::repository::SampleRepository;
use support::service::{Service, eventually};

const REPOSITORIES: usize = 1_000;
const TAGS: usize = 3;
const ROUNDS: usize = 100;

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let gitlab = many(folder.path());
    let program = Program::new();
    configure(&program, folder.path(), &gitlab, "0s");
    println!("{REPOSITORIES} repositories with {TAGS} tags each, one remote");

    let service = start(&program);
    let began = Instant::now();
    let wanted = |gitlab: &FakeGitlab| gitlab.writes().len() == REPOSITORIES * TAGS;
    while !wanted(&gitlab) {
        sleep(Duration::from_millis(100));
    }
    line("first round, everything created", format!("{:.1} s", began.elapsed().as_secs_f64()));
    settled(&gitlab);
    line("resident after it", mebibytes(&service));
    // Threads of reading that is over end by themselves.
    sleep(Duration::from_secs(12));
    let before = switches(&service);
    sleep(Duration::from_secs(20));
    let woken = switches(&service).into_iter().map(|(task, count)| count - before.get(&task).copied().unwrap_or(0));
    line("wake-ups of all threads in 20 s of idleness", woken.sum::<u64>());
    line("resident while idle", mebibytes(&service));

    println!("rounds over everything, all in sync");
    for round in 1..=ROUNDS {
        let began = Instant::now();
        let before = gitlab.server().record().total();
        service.signal("USR1");
        eventually("a round is over", || gitlab.server().record().total() >= before + REPOSITORIES);
        settled(&gitlab);
        if round == 1 || round % 10 == 0 {
            let requests = gitlab.server().record().total() - before;
            line(
                &format!("round {round}: {requests} requests, {:.2} s", began.elapsed().as_secs_f64()),
                mebibytes(&service),
            );
        }
        gitlab.server().forget();
    }
    drop(service);

    configure(&program, folder.path(), &gitlab, "30s");
    let service = start(&program);
    let (mut most, mut last, mut seconds) = (0, gitlab.server().record().total(), 0);
    let first = last;
    while last - first < REPOSITORIES {
        sleep(Duration::from_secs(1));
        let total = gitlab.server().record().total();
        (most, last, seconds) = (most.max(total - last), total, seconds + 1);
    }
    println!("a round spread by a jitter of 30 s");
    line(&format!("most requests in one of {seconds} seconds (evenly: {})", REPOSITORIES / 30), most);
    drop(service);
}

/// Nobody reads its log here, nor what it says to a service manager, and full pipes and sockets would stop it.
fn start(program: &Program) -> Service {
    Service::begin(program, |command| {
        command.stderr(Stdio::null()).env_remove("NOTIFY_SOCKET");
    })
}

fn line(what: &str, figure: impl std::fmt::Display) {
    println!("  {what:<64} {figure}");
}

/// Copies of one small repository, and a project for each.
fn many(folder: &Path) -> FakeGitlab {
    let sample = SampleRepository::init(&["--bare", "--template="]);
    let commit = sample.commit("one");
    for at in 0..TAGS {
        sample.tag(format!("v{at}"), &commit);
    }
    sample.git(&["pack-refs", "--all"]);
    let mut world = GitlabWorld::with_core();
    for at in 0..REPOSITORIES {
        let copied = std::process::Command::new("cp")
            .arg("-rl")
            .arg(sample.git_dir())
            .arg(folder.join(format!("r{at:03}.git")))
            .status();
        assert!(copied.is_ok_and(|status| status.success()), "repositories can be copied");
        world.projects.insert(100 + at as u64, Project::new(&format!("infra/r{at:03}")));
    }
    FakeGitlab::start(world)
}

fn configure(program: &Program, folder: &Path, gitlab: &FakeGitlab, jitter: &str) {
    program.configure(&format!(
        r#"
        [daemon]
        jitter = "{jitter}"
        schedule = "0 0 29 2 *"
        [repository.all]
        paths = ["{}/*.git"]
        [remote.gitlab]
        provider = "gitlab"
        url = "{}"
        project = "infra/{{repository}}"
        token = {{ file = "{}" }}
        [job.all]
        from = "all"
        to = ["gitlab"]
        policy = "mirror"
        "#,
        folder.display(),
        gitlab.url(),
        program.path("token").display(),
    ));
}

/// Waits until nothing has been asked for a while.
fn settled(gitlab: &FakeGitlab) {
    let mut last = usize::MAX;
    while last != gitlab.server().record().total() {
        last = gitlab.server().record().total();
        sleep(Duration::from_millis(300));
    }
}

fn mebibytes(service: &Service) -> String {
    let status = fs::read_to_string(format!("/proc/{}/status", service.id())).unwrap_or_default();
    let of = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(f64::NAN) / 1024.0
    };
    format!("{:.1} MiB ({:.1} anonymous)", of("VmRSS:"), of("RssAnon:"))
}

/// How often each of its threads went to sleep of its own accord.
fn switches(service: &Service) -> BTreeMap<OsString, u64> {
    let tasks = fs::read_dir(format!("/proc/{}/task", service.id())).into_iter().flatten().flatten();
    let of_task = |status: String| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    };
    tasks
        .filter_map(|task| Some((task.file_name(), of_task(fs::read_to_string(task.path().join("status")).ok()?))))
        .collect()
}
