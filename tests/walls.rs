//! The walls of the house: which room may know which. The arrows of the architecture, as a test.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A room and the rooms that it may name. `provider` names `config` for the vocabulary in which each provider reads its own
/// keys: tables, problems, sources of secrets.
const ROOMS: [(&str, &[&str]); 15] = [
    ("text", &[]),
    ("schedule", &["text"]),
    ("tag", &["text"]),
    ("http", &["text"]),
    ("wire", &["http", "tag", "text"]),
    ("provider", &["config", "http", "source", "tag", "text", "wire"]),
    ("config", &["http", "plan", "provider", "schedule", "tag", "text"]),
    // `provider` for a remote that tags come from, `wire` for the trait through which a push takes its objects.
    ("source", &["tag", "text", "wire"]),
    ("ledger", &["provider", "tag"]),
    ("plan", &["ledger", "provider", "tag"]),
    ("apply", &["ledger", "plan", "provider", "source", "tag"]),
    ("report", &["apply", "http", "ledger", "plan", "tag", "text"]),
    ("sync", &["apply", "config", "http", "ledger", "plan", "provider", "report", "source", "tag", "text", "wire"]),
    ("service", &["config", "http", "ledger", "report", "schedule", "source", "sync", "tag", "text"]),
    ("cli", &["config", "http", "ledger", "provider", "report", "schedule", "service", "sync", "tag", "text"]),
];

/// A crate that only some rooms may use.
const CRATES: [(&str, &[&str]); 14] = [
    ("reqwest", &["http"]),
    ("rusqlite", &["ledger"]),
    // `wire` takes ids and checksums from it, and no repository.
    ("gix", &["source", "tag", "wire"]),
    ("flate2", &["wire"]),
    ("cron", &["schedule"]),
    ("chrono", &["schedule"]),
    ("clap", &["cli"]),
    ("anstyle", &["cli", "report"]),
    ("anstream", &["cli"]),
    ("console", &["cli"]),
    ("axum", &["service"]),
    ("hyper", &["service"]),
    ("maud", &["service"]),
    ("prometheus_client", &["service"]),
];

fn sources() -> BTreeMap<String, Vec<(PathBuf, String)>> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("the folder is part of the package") {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    let mut rooms: BTreeMap<String, Vec<(PathBuf, String)>> = BTreeMap::new();
    for file in files {
        let inside = file.strip_prefix(&root).expect("walked from there").to_path_buf();
        let first = inside.components().next().expect("a file has a name").as_os_str().to_string_lossy().into_owned();
        let room = first.trim_end_matches(".rs").to_owned();
        if room == "main" || room == "lib" {
            continue;
        }
        let text = fs::read_to_string(&file).expect("sources are text");
        // Tests may look behind walls; documentation may point at anything.
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let code: String =
            code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        if inside.iter().any(|part| part == "tests" || part == "tests.rs") {
            continue;
        }
        let code = absolute(code, &inside);
        rooms.entry(room).or_default().push((inside, code));
    }
    rooms
}

/// Code with its ways up written from the top: `super::super::x` in `provider/gitlab/list.rs` is `crate::provider::x`.
fn absolute(mut code: String, file: &Path) -> String {
    let module: Vec<_> = file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let module = module.strip_suffix(&["mod".to_owned()]).unwrap_or(&module);
    for up in (1..=module.len()).rev() {
        let above: String = module[..module.len() - up].iter().map(|part| format!("{part}::")).collect();
        code = code.replace(&"super::".repeat(up), &format!("crate::{above}"));
    }
    code
}

/// The words that follow `prefix` anywhere, also as `prefix{one, two::{…}}`.
fn named<'a>(code: &'a str, prefix: &str) -> Vec<&'a str> {
    code.match_indices(prefix).flat_map(|(at, _)| heads(&code[at + prefix.len()..])).collect()
}

/// The first words of a path, or of all paths in a group.
fn heads<'a>(text: &'a str) -> Vec<&'a str> {
    let word = |text: &'a str| -> &'a str {
        let text = text.trim_start();
        text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_').next().unwrap_or_default()
    };
    let Some(group) = text.strip_prefix('{') else { return vec![word(text)] };
    let mut depth = 0;
    let mut begin = 0;
    let mut heads = Vec::new();
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                heads.push(word(&group[begin..at]));
                begin = at + 1;
                if character == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

#[test]
fn groups_and_ways_up_are_seen_through() {
    let named_in = |file: &str, code: &str| {
        let code = absolute(code.to_owned(), Path::new(file));
        named(&code, "crate::").into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        named_in("plan/draw.rs", "use crate::{\n    apply::{A, B},\n    tag, text::x,\n};"),
        ["apply", "tag", "text"]
    );
    assert_eq!(
        named_in("provider/gitlab/list.rs", "super::super::super::plan::x; super::super::Fault"),
        ["plan", "provider"]
    );
    assert_eq!(named_in("provider/mod.rs", "use super::{plan, http};"), ["plan", "http"]);
    assert_eq!(named_in("sync.rs", "super::plan::x"), ["plan"]);
}

#[test]
fn every_room_knows_only_what_it_may() {
    let rooms = sources();
    let listed: Vec<_> = ROOMS.iter().map(|(room, _)| *room).collect();
    for (room, files) in &rooms {
        let mut used = BTreeSet::new();
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| name == room) else {
            panic!("`{room}` is a new room: add it to the list with what it may know; known are {listed:?}");
        };
        for (file, code) in files {
            for word in named(code, "crate::") {
                let known = word == room || allowed.contains(&word);
                assert!(known, "{} names crate::{word}, which `{room}` may not know", file.display());
                used.insert(word);
            }
        }
        for arrow in *allowed {
            assert!(used.contains(arrow), "`{room}` may know `{arrow}` and does not: take the arrow off the list");
        }
    }
    assert_eq!(rooms.len(), ROOMS.len(), "every listed room exists: {listed:?}");
}

#[test]
fn a_crate_stays_in_its_room() {
    for (room, files) in sources() {
        for (file, code) in files {
            for (name, users) in CRATES {
                let uses = code.match_indices(&format!("{name}::")).any(|(at, _)| {
                    // `gix::` must not be found in `other_gix::`.
                    !code[..at].ends_with(|character: char| character.is_ascii_alphanumeric() || character == '_')
                });
                assert!(
                    !uses || users.contains(&room.as_str()),
                    "{} uses {name}, which only {users:?} may",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn only_apply_calls_the_writes_of_a_provider() {
    for (room, files) in sources() {
        if room == "apply" || room == "provider" {
            continue;
        }
        for (file, code) in files {
            for write in [".create_tag(", ".delete_tag(", ".move_tag(", ".apply_batch("] {
                assert!(!code.contains(write), "{} calls {write}", file.display());
            }
        }
    }
}

#[test]
fn planning_looks_at_no_clock_file_or_network() {
    for (file, code) in &sources()["plan"] {
        for impure in ["std::fs", "std::env", "std::time", "Timestamp::now", "tokio", "tracing", "std::net", "rusqlite"]
        {
            assert!(!code.contains(impure), "{} is to be pure and uses {impure}", file.display());
        }
    }
}

#[test]
fn one_provider_does_not_know_another() {
    let names: Vec<&str> = tagsyncd::provider::PROVIDERS.iter().map(|descriptor| descriptor.name).collect();
    for (file, code) in &sources()["provider"] {
        let own =
            file.components().nth(1).map(|part| part.as_os_str().to_string_lossy().into_owned()).unwrap_or_default();
        for word in named(code, "provider::") {
            let other = names.contains(&word) && own.trim_end_matches(".rs") != word;
            assert!(!other, "{} knows the provider {word}", file.display());
        }
    }
}
