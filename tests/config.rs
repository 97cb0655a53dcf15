//! Configuration files, good and bad, through the public interface.

use std::path::Path;
use std::time::Duration;

use tagsyncd::config::{ConfigFault, Repositories, SecretSource, Settings, load};
use tagsyncd::http::Rate;
use tagsyncd::plan::{Limits, Policy};
use tagsyncd::provider::PROVIDERS;
use tagsyncd::tag::TagName;

/// A complete file, to which a case adds what it is about.
const GOOD: &str = r#"
[repository.core]
path = "/srv/git/core.git"
[remote.gitlab]
provider = "gitlab"
project = "infra/core"
token = { file = "/etc/token" }
[job.core]
from = "core"
to = ["gitlab"]
policy = "mirror"
"#;

type Found = (usize, usize, String, Option<String>);

fn parse(text: &str) -> Result<Settings, ConfigFault> {
    Settings::parse(text, Path::new("config.toml"))
}

fn problems(text: &str) -> Vec<Found> {
    match parse(text) {
        Err(ConfigFault::Invalid { source, problems }) => problems
            .into_iter()
            .map(|problem| {
                let (line, column) = source.position(problem.span.start);
                (line, column, problem.message, problem.hint)
            })
            .collect(),
        Ok(_) => Vec::new(),
        Err(other) => panic!("{other}"),
    }
}

/// `GOOD` with a line changed, or with a line added below one.
fn with(line: &str, instead: &str) -> String {
    assert_eq!(GOOD.matches(line).count(), 1, "{line}");
    GOOD.replace(line, instead)
}

fn below(line: &str, added: &str) -> String {
    with(line, &format!("{line}\n{added}"))
}

#[track_caller]
fn expect(text: &str, expected: &[(usize, usize, &str, Option<&str>)]) {
    let expected: Vec<Found> = expected
        .iter()
        .map(|&(line, column, message, hint)| (line, column, message.to_owned(), hint.map(str::to_owned)))
        .collect();
    assert_eq!(problems(text), expected, "{text}");
}

const SECRET_HINT: &str = "say where it is kept: `{ file = \"/etc/tagsyncd/token\" }`, `{ credential = \"name\" }`, \
     `{ env = \"NAME\" }` or `{ command = [\"pass\", \"show\", \"name\"] }`; \
     if it was real, replace it, because copies of this file have it too";

const TOKEN: &str = "token = { file = \"/etc/token\" }";

#[test]
fn what_is_wrong_with_a_secret() {
    for (token, column, message, hint) in [
        ("token = \"x\"", 9, "a secret must not stand in the file", Some(SECRET_HINT)),
        ("token = 5", 9, "a secret must not stand in the file", Some(SECRET_HINT)),
        ("token = [\"x\"]", 9, "a secret must not stand in the file", Some(SECRET_HINT)),
        ("token = true", 9, "expected a table that says where the secret is kept, found `true` or `false`", None),
        ("token = { fil = \"/x\" }", 11, "unknown key `fil`", Some("did you mean `file`?")),
        (
            "token = { file = \"/x\", env = \"X\" }",
            9,
            "a secret has exactly one source",
            Some("one of `credential`, `file`, `env`, `command`"),
        ),
        ("token = {}", 9, "a secret has exactly one source", Some("one of `credential`, `file`, `env`, `command`")),
        ("token = { file = 5 }", 18, "expected a string, found a whole number", None),
        ("token = { file = \"x\" }", 9, "the path of a secret must be absolute", None),
        ("token = { credential = \"../x\" }", 9, "a credential's name is a plain file name", None),
        ("token = { credential = \"..\" }", 9, "a credential's name is a plain file name", None),
        ("token = { env = \"A=B\" }", 9, "this cannot be the name of an environment variable", None),
        ("token = { command = \"pass show x\" }", 21, "expected a list, found a string", None),
        (
            "token = { command = [] }",
            9,
            "a command is the program and its arguments, each a string",
            Some("`command = [\"pass\", \"show\", \"gitlab\"]`"),
        ),
    ] {
        expect(&with(TOKEN, token), &[(7, column, message, hint)]);
    }
}

#[test]
fn what_is_wrong_with_a_remote() {
    for (added, column, message, hint) in [
        ("timout = \"30s\"", 1, "unknown key `timout`", Some("did you mean `timeout`?")),
        ("projekt = \"x\"", 1, "unknown key `projekt`", Some("did you mean `project`?")),
        (
            "timeout = \"30\"",
            11,
            "not a duration",
            Some("whole numbers, each with its unit d, h, m, s or ms: \"30s\", \"5m\", \"1h30m\""),
        ),
        (
            "timeout = 30",
            11,
            "expected a duration in quotes, like \"30s\", \"5m\" or \"1h30m\", found a whole number",
            None,
        ),
        ("timeout = \"0s\"", 11, "a request needs some time", None),
        ("ca_file = \"ca.pem\"", 11, "the path must be absolute", None),
        ("concurrency = 0", 15, "expected a whole number from 1 to 64", None),
        ("concurrency = 65", 15, "expected a whole number from 1 to 64", None),
        ("concurrency = 1.5", 15, "expected a whole number, found a number with a fraction", None),
        ("rate = 0", 8, "`rate` is requests per second: above 0, and at least one a day", None),
        ("rate = -0.5", 8, "`rate` is requests per second: above 0, and at least one a day", None),
        ("rate = nan", 8, "`rate` is requests per second: above 0, and at least one a day", None),
        ("rate = 1e-300", 8, "`rate` is requests per second: above 0, and at least one a day", None),
        ("rate = inf", 8, "`rate` is requests per second: above 0, and at least one a day", None),
        ("rate = \"10/s\"", 8, "expected a number, found a string", None),
        ("allow_http = 1", 14, "expected `true` or `false`, found a whole number", None),
        ("annotations = \"mesage\"", 15, "unknown value `mesage`", Some("did you mean `message`?")),
        ("annotations = \"all\"", 15, "unknown value", Some("one of `ignore`, `message`")),
        ("replace = { \"\" = \"x\" }", 13, "an empty text cannot be replaced", None),
        ("replace = { a = 5 }", 17, "expected a string, found a whole number", None),
        ("replace = [\"a\"]", 11, "expected a table, found a list", None),
        ("target = { tag = \"sha-{commit}\" }", 10, "`target` serves remotes whose targets are not git objects", None),
        (
            "url = \"git.example.com\"",
            7,
            "this is not a full http or https URL",
            Some("write a full URL, like \"https://git.example.com\" or \"https://example.com/prefix\""),
        ),
        (
            "url = \"http://git.example.com\"",
            7,
            "plain HTTP would send the credential in the clear",
            Some("use https, or set `allow_http = true` on this remote if the network in between is trusted"),
        ),
        (
            "url = \"https://me:secret@example.com\"",
            7,
            "a URL must not carry a user or a password",
            Some("take them out; credentials have keys of their own, which read them from where secrets are kept"),
        ),
    ] {
        expect(&below("provider = \"gitlab\"", added), &[(6, column, message, hint)]);
    }
    let providers = PROVIDERS.iter().map(|descriptor| format!("`{}`", descriptor.name)).collect::<Vec<_>>().join(", ");
    let (one_of, meant) = (format!("one of {providers}"), format!("did you mean `gitlab`? Providers: {providers}"));
    for (provider, expected) in [
        ("provider = \"gitlob\"", (5, 12, "unknown provider `gitlob`", Some(meant.as_str()))),
        ("provider = \"svn\"", (5, 12, "unknown provider", Some(one_of.as_str()))),
        ("provider = 5", (5, 12, "expected a string, found a whole number", None)),
        ("", (4, 1, "`provider` is missing", Some(one_of.as_str()))),
        ("provder = \"gitlab\"", (5, 1, "unknown key `provder`", Some("did you mean `provider`?"))),
    ] {
        expect(&with("provider = \"gitlab\"", provider), &[expected]);
    }
    // Allowed, the same URL is no problem.
    expect(&below("provider = \"gitlab\"", "url = \"http://git.example.com\"\nallow_http = true"), &[]);
}

#[test]
fn what_is_wrong_with_a_job() {
    let policies = "`create-only` never moves or deletes, `mirror` moves and deletes what it made itself, \
                    `exact` also overwrites and deletes everything else";
    for (line, instead, problem) in [
        ("policy = \"mirror\"", "", (8, 1, "`policy` is missing", Some(policies))),
        (
            "policy = \"mirror\"",
            "policy = \"miror\"",
            (11, 10, "unknown value `miror`", Some("did you mean `mirror`?")),
        ),
        (
            "policy = \"mirror\"",
            "policy = \"push\"",
            (11, 10, "unknown value", Some("one of `create-only`, `mirror`, `exact`")),
        ),
        ("policy = \"mirror\"", "polcy = \"mirror\"", (11, 1, "unknown key `polcy`", Some("did you mean `policy`?"))),
        (
            "from = \"core\"",
            "",
            (8, 1, "`from` is missing", Some("`from` names a `[repository.NAME]` or a `[remote.NAME]`")),
        ),
        (
            "from = \"core\"",
            "from = \"cor\"",
            (9, 8, "there is no repository or remote `cor`", Some("did you mean `core`?")),
        ),
        (
            "from = \"core\"",
            "from = \"other\"",
            (9, 8, "there is no repository or remote `other`", Some("there is `core`, `gitlab`")),
        ),
        ("from = \"core\"", "from = \"gitlab\"", (10, 7, "`gitlab` is where the tags come from", None)),
        ("to = [\"gitlab\"]", "", (8, 1, "`to` is missing", Some("`to = [\"NAME\"]` lists `[remote.NAME]`s"))),
        (
            "to = [\"gitlab\"]",
            "to = []",
            (10, 6, "`to` is empty, so the job has nothing to do", Some("list at least one remote")),
        ),
        ("to = [\"gitlab\"]", "to = \"gitlab\"", (10, 6, "expected a list, found a string", None)),
        ("to = [\"gitlab\"]", "to = [5]", (10, 7, "expected a string, found a whole number", None)),
        (
            "to = [\"gitlab\"]",
            "to = [\"gitlab\", \"gitlub\"]",
            (10, 17, "there is no remote `gitlub`", Some("did you mean `gitlab`?")),
        ),
        (
            "to = [\"gitlab\"]",
            "to = [\"gitlab\", \"a b\"]",
            (10, 17, "there is no remote of this name", Some("there is `gitlab`")),
        ),
        ("to = [\"gitlab\"]", "to = [\"gitlab\", \"gitlab\"]", (10, 17, "`gitlab` is listed twice", None)),
        ("to = [\"gitlab\"]", "to = [\"core\"]", (10, 7, "`core` is where the tags come from", None)),
    ] {
        expect(&with(line, instead), &[problem]);
    }
    for (added, column, message, hint) in [
        ("tags = [\"v*\", \"v[\"]", 15, "not a pattern: unclosed character class; missing ']'", None),
        ("tags = \"v*\"", 8, "expected a list, found a string", None),
        ("immutable = [\"!\"]", 14, "not a pattern: the pattern is empty", None),
        ("protected = [5]", 14, "expected a string, found a whole number", None),
        (
            "semver = \"newest\"",
            10,
            "this is not a range of versions",
            Some("like \">=1.0.0\", \"^2\" or \">=1.2, <2\""),
        ),
        (
            "schedule = \"* * * *\"",
            13,
            "this is not a schedule",
            Some("5 fields as in crontab(5), like \"*/15 * * * *\", or 6 with seconds first, or \"@hourly\""),
        ),
        ("limits = 5", 10, "expected a table, found a whole number", None),
        ("limits = { deletes = -1 }", 22, "expected a whole number from 0 to 4294967295", None),
        ("limits = { moves_percent = 101 }", 28, "expected a whole number from 0 to 100", None),
        ("limits = { move = 5 }", 12, "unknown key `move`", Some("did you mean `moves`?")),
        ("hook_secret = \"x\"", 15, "a secret must not stand in the file", Some(SECRET_HINT)),
        (
            "retries = 5",
            1,
            "unknown key `retries`",
            Some(
                "the keys here are `from`, `to`, `policy`, `tags`, `semver`, `immutable`, `protected`, `limits`, \
                 `delete_grace`, `schedule`, `hook_secret`",
            ),
        ),
    ] {
        expect(&below("policy = \"mirror\"", added), &[(12, column, message, hint)]);
    }
}

#[test]
fn what_is_wrong_with_repositories_names_and_the_daemon() {
    let either = "one repository: `path = \"/srv/git/core.git\"`; many: `paths = [\"/srv/git/*.git\"]`";
    let path = "path = \"/srv/git/core.git\"";
    for (instead, problem) in [
        ("", (2, 1, "`path` is missing", Some(either))),
        ("path = \"core.git\"", (3, 8, "the path must be absolute", None)),
        (
            "path = \"/a\"\npaths = [\"/b/*\"]",
            (4, 9, "a repository has either `path` or `paths`", Some("make two tables of it")),
        ),
        ("paths = []", (3, 9, "`paths` is empty", Some("`paths = [\"/srv/git/*.git\"]`"))),
        ("paths = \"/srv/*\"", (3, 9, "expected a list, found a string", None)),
        ("paths = [\"/srv/**\"]", (3, 10, "`**` is not supported: write one `*` for each directory level", None)),
        (
            "paths = [\"/srv/*\"]",
            (
                10,
                7,
                "all repositories of `core` would share the tags of `gitlab`",
                Some("put `{repository}` into one of its strings, as in `project = \"infra/{repository}\"`"),
            ),
        ),
    ] {
        expect(&with(path, instead), &[problem]);
    }

    let names =
        "names begin with a letter or digit, go on with letters, digits, `.`, `_`, `-`, and have at most 64 characters";
    for (added, problem) in [
        (
            "[daemon]\nlisten = \"localhost:80\"",
            (
                2,
                10,
                "this is not an address to listen on",
                Some("write an IP address and a port, like \"127.0.0.1:9465\" or \"[::1]:9465\""),
            ),
        ),
        (
            "[daemon]\ntimezone = \" \"",
            (2, 12, "there is no time zone of this name", Some("write an IANA name, like `Europe/Berlin`, or `UTC`")),
        ),
        (
            "[daemon]\ntimezone = \"Europe/Berlni\"",
            (2, 12, "there is no time zone `Europe/Berlni`", Some("did you mean `Europe/Berlin`?")),
        ),
        ("[daemon]\nschedule = '*/15 24 * * *'", (2, 18, "hour: 24 is out of range", Some("0 to 23"))),
        (
            "[daemon]\nschedule = \"\\u002a * * * 8\"",
            (2, 12, "day of the week: 8 is out of range", Some("0 to 7, or a name from `sun` to `sat`")),
        ),
        (
            "[daemon]\nschedule = \"0 0 31 apr *\"",
            (
                2,
                17,
                "this never comes: no month that is chosen has such a day",
                Some("choose another month, or a day up to 28, which every month has"),
            ),
        ),
        ("[daemon]\nschedule = \"@houly\"", (2, 13, "there is no `@houly`", Some("did you mean `@hourly`?"))),
        (
            "[daemon]\njitter = \"25h\"",
            (
                2,
                10,
                "`jitter` is longer than a day",
                Some("it only spreads the load; another time of day belongs into `schedule`"),
            ),
        ),
        ("[daemon]\nstate = \"state\"", (2, 9, "the path must be absolute", None)),
        ("[daemon]\nshedule = \"@daily\"", (2, 1, "unknown key `shedule`", Some("did you mean `schedule`?"))),
        ("daemon = 5", (1, 10, "`[daemon]` is one table", None)),
        ("[jobs.core]", (1, 2, "unknown key `jobs`", Some("did you mean `job`?"))),
        (
            "[logging]",
            (
                1,
                2,
                "unknown key `logging`",
                Some("at the top there are `daemon`, `repository`, `remote`, `job`, `notify`"),
            ),
        ),
        ("[repository.\"a/b\"]\npath = \"/x\"", (1, 13, "this cannot be the name of a repository", Some(names))),
        (
            "[repository.gitlab]\npath = \"/x\"",
            (
                5,
                9,
                "`gitlab` is the name of a repository too",
                Some("`from` and `to` could mean either: rename one of them"),
            ),
        ),
        ("[remote]\nx = 5", (2, 5, "a remote is a table with a name: `[remote.NAME]`", None)),
    ] {
        expect(&format!("{added}\n{}", GOOD.trim_start()), &[problem]);
    }
    let nothing = (
        1,
        1,
        "there is no job, so there is nothing to do",
        Some("a job says what goes where: `[job.NAME]` with `from`, `to` and `policy`"),
    );
    expect("", &[nothing]);
    expect("[job]", &[nothing]);
    expect("[[job]]\nfrom = \"core\"", &[(1, 1, "a job is a table with a name: `[job.NAME]`", None)]);
}

#[test]
fn exact_refuses_a_remote_that_replaces() {
    let text =
        with("policy = \"mirror\"", "policy = \"exact\"").replace(TOKEN, &format!("{TOKEN}\nreplace.\"+\" = \"_\""));
    expect(
        &text,
        &[(
            11,
            7,
            "`exact` cannot serve `gitlab`, which has `replace`",
            Some("replaced names do not lead back to source names, so it cannot tell what is not ours; use `mirror`"),
        )],
    );
}

#[test]
fn a_remote_is_checked_though_no_job_uses_it_and_once_though_two_do() {
    let unused =
        format!("{GOOD}[remote.spare]\nprovider = \"gitlab\"\nproject = \"x\"\ntoken = {{ env = \"X\" }}\nrate = 0\n");
    expect(&unused, &[(16, 8, "`rate` is requests per second: above 0, and at least one a day", None)]);
    let second = "[repository.other]\npath = \"/srv/other\"\n[job.other]\nfrom = \"other\"\nto = [\"gitlab\"]\npolicy = \"mirror\"\n";
    let shared = format!("{}{second}", below("provider = \"gitlab\"", "rate = 0"));
    expect(&shared, &[(6, 8, "`rate` is requests per second: above 0, and at least one a day", None)]);
}

#[test]
fn all_problems_come_at_once_in_the_order_of_the_file() {
    let text = "[daemon]\ntimezon = \"UTC\" # a comment\n\n[remote.gitlab]\nprovider = \"gitlab\"\n\
                project = 5\ntoken = \"glpat-x\"\nconcurrency = 100\n\n[job.core]\n  from = \"core\"\nto = [\"gitlab\", \"é\", \"gitlub\"]\npolicy = \"miror\"\n";
    let shown = parse(text).unwrap_err().to_string();
    assert_eq!(
        shown,
        format!(
            "\
config.toml:2:1: unknown key `timezon`
    timezon = …
    hint: did you mean `timezone`?
config.toml:6:11: expected a string, found a whole number
    project = …
config.toml:7:9: a secret must not stand in the file
    token = …
    hint: {SECRET_HINT}
config.toml:8:15: expected a whole number from 1 to 64
    concurrency = 100
config.toml:11:10: there is no repository or remote `core`
    from = \"core\"
    hint: there is none in this file: add `[repository.NAME]`
config.toml:12:17: there is no remote of this name
    to = […, …, …]
    hint: there is `gitlab`
config.toml:12:22: there is no remote `gitlub`
    to = […, …, \"gitlub\"]
    hint: did you mean `gitlab`?
config.toml:13:10: unknown value `miror`
    policy = \"miror\"
    hint: did you mean `mirror`?
8 problems"
        )
    );
}

#[test]
fn all_faults_of_the_syntax_come_at_once_and_alone() {
    expect(
        "a = 1\na = 2\nb = x\n[c",
        &[
            (2, 1, "this is not TOML: duplicate key", None),
            (3, 5, "this is not TOML: string values must be quoted, expected literal string", None),
            (4, 3, "this is not TOML: unclosed table, expected `]`", None),
        ],
    );
}

/// Files with a secret where none belongs. Whatever is said about them, the secret is not repeated.
#[test]
fn no_message_repeats_a_secret() {
    let odd: Vec<String> = [
        "token = \"CANARY\"",
        "token = 'CANARY' # CANARY",
        "token = CANARY",
        "token = \"CANARY",
        "token = \"\"\"\nCANARY\nCANARY==\n",
        "token = \"\"\"\nCANARY\n\"\"\"",
        "token =\nCANARY",
        "token = \"x\\CANARY\"",
        "token \"CANARY\"",
        "token: CANARY",
        "token = [\"CANARY\", \"CANARY\"]",
        "token = [\n\"CANARY\",\nCANARY\n]",
        "token = { CANARY }",
        "token = { value = \"CANARY\" }",
        "token = { file = \"CANARY\" }",
        "token = { file = [\"CANARY\"] }",
        "token = { credential = \"CANARY/\" }",
        "token = { env = \"CANARY=CANARY\" }",
        "token = { command = \"pass CANARY\" }",
        "token = { command = [\"\", \"CANARY\"] }",
        "token = { file = \"/x\", env = \"CANARY\" }",
        "tokn = \"CANARY\"",
        "password = \"CANARY\"",
        "url = \"https://user:CANARY@example.com\"",
        "url = \"https://CANARY@example.com\"",
        "url = \"https://example.com/?private_token=CANARY\"",
        "url = \"https://example.com/#CANARY\"",
        "url = \"http://example.com/CANARY\"",
        "url = \"CANARY\"",
        "url = [\"CANARY\"]",
        "project = { x = \"CANARY\" }",
        "timeout = \"CANARY\"",
        "ca_file = \"CANARY\"",
        "rate = \"CANARY\"",
        "concurrency = \"CANARY\"",
        "allow_http = \"CANARY\"",
        "annotations = \"CANARY\"",
        "annotations = { message = \"CANARY\" }",
        "replace = \"CANARY\"",
        "replace = { \"\" = \"CANARY\" }",
        "target = \"CANARY\"",
        "strip_prefix = [\"CANARY\"]",
        "timout = 5 # CANARY",
        "x = { y = \"CANARY\", z = [\"CANARY\"] } # CANARY",
        "when = 2020-01-CANARY",
        "when = 0xCANARY",
    ]
    .iter()
    .map(|line| with(TOKEN, line))
    .chain(
        [
            "policy = \"CANARY\"",
            "policy = [\"CANARY\"]",
            "policy = { exact = \"CANARY\" }",
            "policy = { CANRY = \"CANARY\" }",
        ]
        .iter()
        .map(|line| with("policy = \"mirror\"", line)),
    )
    .chain(
        [
            "tags = \"CANARY\"",
            "tags = [\"CANARY[\"]",
            "semver = \"CANARY\"",
            "schedule = \"CANARY\"",
            "schedule = \"CANARY CANARY/2 1-CANARY CANARY-3 sunCANARY\"",
            "schedule = \"@CANARY\"",
            "delete_grace = \"CANARY\"",
            "hook_secret = \"CANARY\"",
            "limits = \"CANARY\"",
            "limits = { deletes = \"CANARY\" }",
        ]
        .iter()
        .map(|line| below("policy = \"mirror\"", line)),
    )
    .chain([
        with("provider = \"gitlab\"", "provider = \"CANARY\""),
        with("to = [\"gitlab\"]", "to = [\"gitlab\", \"CANARY CANARY\"]"),
        with("path = \"/srv/git/core.git\"", "path = \"CANARY\""),
        format!("token = \"CANARY\"{GOOD}"),
        format!("daemon = \"CANARY\"{GOOD}"),
        format!("[daemon]\nlisten = \"CANARY\"\ntimezone = \"CANARY\"\nstate = \"CANARY\"{GOOD}"),
        format!("remote.x = \"CANARY\"{GOOD}"),
    ])
    .collect();
    for text in &odd {
        let fault = parse(text).expect_err("every one of these is wrong");
        for shown in [fault.to_string(), format!("{fault:?}")] {
            assert!(!shown.contains("CANARY"), "{text}\nis answered by\n{shown}");
        }
    }
}

/// A slip of the fingers at any place of a file with a token in it neither panics nor brings the token out.
#[test]
fn no_slip_anywhere_brings_a_secret_out() {
    let text = below(TOKEN, "tokens = [\"CANARY\", { x = \"CANARY\" }] # CANARY\ntext = \"\"\"\nCANARY\n\"\"\"");
    let inside: Vec<_> = text.match_indices("CANARY").flat_map(|(at, word)| at + 1..at + word.len()).collect();
    for at in (0..=text.len()).filter(|at| !inside.contains(at)) {
        for slip in ["\"", "'", "\"\"\"", "=", "[", "]", "{", "}", "#", "\n", ",", ".", "\\", "x", "\u{0}", "é"] {
            let slipped = format!("{}{slip}{}", &text[..at], &text[at..]);
            let shown = parse(&slipped).expect_err("the unknown keys alone are wrong").to_string();
            assert!(!shown.contains("CANARY"), "{slipped}\nis answered by\n{shown}");
        }
    }
}

#[test]
fn nothing_printed_steers_a_terminal() {
    let shown = parse("\"a\\u001b[31m\" = 1\n\"\\u202e\" = 2\n").unwrap_err().to_string();
    assert!(shown.contains("unknown key `a\\u{1b}[31m`") && shown.contains("unknown key `\\u{202e}`"), "{shown}");
    assert!(shown.chars().all(|character| character == '\n' || !character.is_control()), "{shown:?}");
    assert!(!shown.contains('\u{202e}'), "{shown:?}");
}

#[test]
fn a_file_says_what_its_settings_are() {
    let settings = load(Path::new("config/examples/gitlab-mirror.toml")).unwrap();
    assert_eq!(settings.daemon.timezone.name, "Europe/Berlin");
    assert_eq!(settings.daemon.jitter, Duration::from_secs(30));
    assert_eq!(settings.daemon.listen, Some(([127, 0, 0, 1], 9465).into()));

    let [inside, public] = settings.jobs.as_slice() else { panic!("two jobs in the order of the file") };
    assert_eq!((inside.name.as_str(), inside.from.name(), inside.policy), ("inside", "core", Policy::Mirror));
    assert_eq!((inside.delete_grace, public.delete_grace), (Duration::from_secs(300), Duration::from_secs(60)));
    assert_eq!(
        (inside.limits, public.limits),
        (Limits::default(), Limits { deletes: 0, moves: 0, ..Limits::default() })
    );
    assert_eq!((inside.schedule.expression(), public.schedule.expression()), ("*/15 * * * *", "0 6 * * *"));
    assert_eq!(public.schedule.time_zone().iana_name(), Some("Europe/Berlin"));
    assert_eq!(public.hook_secret, Some(SecretSource::Credential("hook".into())));
    for (tag, in_scope) in [("v1.2.0", true), ("v0.9.0", false), ("1.2.0", false)] {
        let name = TagName::new(tag).unwrap();
        assert_eq!((public.selection.includes(&name), inside.selection.includes(&name)), (in_scope, true), "{tag}");
    }
    assert!(public.immutable.matches(&TagName::new("v1").unwrap()) && public.protected.is_empty());

    let remote = inside.to[0].for_repository("core").unwrap();
    assert_eq!((remote.name.as_str(), remote.provider.name, remote.compare_annotations), ("inside", "gitlab", false));
    assert_eq!(remote.keys.describe(), "https://git.example.com/gitlab infra/core");
    assert_eq!((remote.http.timeout, remote.http.concurrency), (Duration::from_secs(30), 8));
    assert_eq!((remote.http.rate, remote.http.allow_http), (Rate::per_second(10.0), false));
    assert_eq!(remote.http.ca_file.as_deref(), Some(Path::new("/etc/ssl/certs/example-ca.pem")));
    assert!(public.to[0].for_repository("core").unwrap().compare_annotations);
}

#[test]
fn a_remote_is_another_one_for_each_repository() {
    let settings = load(Path::new("config/examples/many-repositories.toml")).unwrap();
    let job = &settings.jobs[0];
    let Repositories::Many { name, patterns } = &job.from else { panic!("`paths` finds many") };
    assert_eq!((name.as_str(), patterns.len()), ("all", 2));
    for repository in ["core", "web"] {
        let remote = job.to[0].for_repository(repository).unwrap();
        assert_eq!(remote.keys.describe(), format!("https://gitlab.example.com mirrors/{repository}"));
    }
}

#[test]
fn names_are_mapped_in_the_order_of_the_file() {
    let text = below(TOKEN, "strip_prefix = \"v\"\nadd_prefix = \"r-\"\nreplace = { z = \"y\", a = \"b\", y = \"x\" }");
    let remote = parse(&text).unwrap().jobs[0].to[0].for_repository("core").unwrap();
    assert_eq!(remote.mapping.to_remote(&TagName::new("vzay").unwrap()).unwrap().to_string(), "r-xbx");
}

#[test]
fn the_annotated_default_is_good_and_so_is_everything_commented_out_in_it() {
    let text = std::fs::read_to_string("config/tagsyncd.toml").unwrap();
    let settings = load(Path::new("config/tagsyncd.toml")).unwrap();
    assert_eq!(settings.jobs[0].policy, Policy::CreateOnly);

    // A commented line that assigns something must be true to what the program accepts; of alternatives, one stays.
    let (mut keys, mut all) = (std::collections::HashSet::new(), String::new());
    for line in text.lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        let key = bare.split_once(" = ").map(|(key, _)| key).filter(|key| !key.contains(' '));
        if bare.starts_with('[') {
            keys.clear();
        }
        if bare.starts_with('[') || key.is_some_and(|key| keys.insert(key.to_owned())) {
            all.push_str(bare);
        }
        all.push('\n');
    }
    let settings = Settings::parse(&all, Path::new("all.toml")).unwrap();
    assert!(all.contains("\n[repository.all]\n") && settings.jobs[0].hook_secret.is_some(), "{all}");
    assert_eq!(settings.jobs[0].limits, Limits::default(), "the defaults in comments are the defaults");
    assert_eq!(settings.jobs[0].delete_grace, Duration::from_secs(60));
}

#[test]
fn every_key_stands_in_the_documentation_and_in_the_annotated_default() {
    let documentation = std::fs::read_to_string("docs/configuration.md").unwrap();
    let default = std::fs::read_to_string("config/tagsyncd.toml").unwrap();
    let file = format!("{GOOD}limits = {{}}\n[daemon]\n");
    for table in ["[daemon]", "[repository.core]", "[remote.gitlab]", "[job.core]", "limits = {"] {
        // The program itself says which keys there are, when none is near.
        let (_, _, _, hint) = problems(&file.replace(table, &format!("{table}\nqqqqqqqq = 1\n"))).remove(0);
        let hint = hint.unwrap();
        assert!(hint.starts_with("the keys here are `"), "{hint}");
        for key in hint.split('`').skip(1).step_by(2) {
            assert!(documentation.contains(&format!("`{key}`")), "{table} `{key}` is not in the documentation");
            assert!(default.contains(&format!("{key} = ")), "{table} `{key}` is not in the annotated default");
        }
    }
}

#[test]
fn a_file_that_is_no_text_or_not_there_is_unreadable() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("latin1"), b"a = 1\n# \xe9\n").unwrap();
    std::fs::write(at("large"), vec![b'\n'; (1 << 20) + 1]).unwrap();
    for (name, message) in [
        ("latin1", "is not UTF-8 text: line 2 has other bytes\n    hint: save it as UTF-8"),
        ("large", "is larger than 1024 KiB, so it is no configuration"),
        (
            "absent",
            "cannot be read: No such file or directory (os error 2)\n    \
             hint: name another file with `--config FILE` or `$TAGSYNCD_CONFIG`",
        ),
        (".", "cannot be read: it is not a regular file"),
    ] {
        let path = at(name);
        assert_eq!(load(&path).unwrap_err().to_string(), format!("{}: {message}", path.display()));
    }
}

/// Shapes that take a careless reader very long, very deep, or to an answer that nobody can read.
#[test]
fn a_hostile_file_is_answered() {
    let shapes: [(&str, String); 7] = [
        ("many unknown tables", (0..9_000).map(|at| format!("[a{at}]\n")).collect()),
        ("many unknown keys", (0..9_000).fold("[daemon]\n".into(), |text, at| text + &format!("k{at}=1\n"))),
        ("many wrong elements", below("policy = \"mirror\"", &format!("tags = [{}]", "1,".repeat(9_000)))),
        ("many unknown remotes", with("to = [\"gitlab\"]", &format!("to = [{}]", "\"a\",".repeat(9_000)))),
        ("a deep list", format!("a = {}", "[".repeat(1_000_000))),
        ("a deep table", format!("a{} = 1", ".a".repeat(500_000))),
        ("one long key", format!("{} = 1", "k".repeat(1_000_000))),
    ];
    for (shape, text) in shapes {
        let shown = parse(&text).expect_err(shape).to_string();
        assert!(shown.len() < 1 << 20, "{shape}: {} bytes are no answer", shown.len());
    }
}

#[test]
fn what_is_wrong_with_notifications() {
    let settings = parse(GOOD).unwrap().notify;
    assert_eq!(settings, tagsyncd::config::NotifySettings::default());
    let text =
        "[notify]\ncommand = [\"/bin/page\"]\nurl = { env = \"CHAT\" }\nheartbeat = \"https://example.com/a?b\"\n";
    let settings = parse(&format!("{GOOD}{text}")).unwrap().notify;
    assert_eq!(settings.repeat, Some(Duration::from_secs(86_400)));
    assert_eq!(settings.url, Some(tagsyncd::config::Address::Secret(SecretSource::Environment("CHAT".into()))));
    let silent = parse(&format!("{GOOD}[notify]\nrepeat = \"0s\"\n")).unwrap().notify;
    assert_eq!(silent.repeat, None);
    let form = "write a full URL, like \"https://git.example.com\" or \"https://example.com/prefix\"";
    for (line, column, message, hint) in [
        ("url = \"chat.example.com\"", 7, "this is not a full http or https URL", Some(form)),
        ("heartbeat = \"http://example.com/\"", 13, "plain HTTP would send it in the clear", Some("use https")),
        ("url = \"https://example.com/#a\"", 7, "an address that is called has no fragment", Some(form)),
        ("url = 5", 7, "expected a URL, or a table that says where it is kept, found a whole number", None),
        ("url = { fil = \"/x\" }", 9, "unknown key `fil`", Some("did you mean `file`?")),
        ("token = { env = \"X\" }", 9, "there is a `token` and no `url` to send it to", None),
        (
            "command = []",
            11,
            "a command is the program and its arguments, each a string",
            Some("`command = [\"/usr/local/bin/page\", \"--team\", \"release\"]`"),
        ),
        ("ca_file = \"ca.pem\"", 11, "the path must be absolute", None),
        ("urls = \"x\"", 1, "unknown key `urls`", Some("did you mean `url`?")),
    ] {
        expect(&format!("{GOOD}[notify]\n{line}\n"), &[(13, column, message, hint)]);
    }
}
