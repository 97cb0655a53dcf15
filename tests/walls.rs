//! The walls of the house: which room may know which. The arrows of the architecture, as a test.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A room and the rooms that it may name.
const ROOMS: [(&str, &[&str]); 12] = [
    ("text", &[]),
    ("tag", &["text"]),
    ("http", &["config", "provider", "text"]),
    ("provider", &["config", "http", "tag", "text"]),
    ("config", &["http", "plan", "provider", "tag", "text"]),
    ("source", &["tag", "text"]),
    ("ledger", &["provider", "tag", "text"]),
    ("plan", &["ledger", "provider", "tag"]),
    ("apply", &["ledger", "plan", "provider", "source", "tag"]),
    ("report", &["apply", "ledger", "plan", "tag", "text"]),
    ("sync", &["apply", "config", "http", "ledger", "plan", "provider", "report", "source", "tag", "text"]),
    ("cli", &["config", "http", "ledger", "provider", "report", "sync", "text"]),
];

/// A crate that only some rooms may use.
const CRATES: [(&str, &[&str]); 4] =
    [("reqwest", &["http"]), ("rusqlite", &["ledger"]), ("gix", &["source", "tag"]), ("clap", &["cli"])];

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
        if inside.ends_with("tests.rs") {
            continue;
        }
        rooms.entry(room).or_default().push((inside, code));
    }
    rooms
}

/// The words that follow `prefix::` anywhere, also behind `use prefix::{a, b}`.
fn named<'a>(code: &'a str, prefix: &str) -> Vec<&'a str> {
    code.match_indices(prefix)
        .map(|(at, _)| &code[at + prefix.len()..])
        .map(|rest| {
            rest.split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
                .next()
                .unwrap_or_default()
        })
        .filter(|word| !word.is_empty())
        .collect()
}

#[test]
fn every_room_knows_only_what_it_may() {
    let rooms = sources();
    let listed: Vec<_> = ROOMS.iter().map(|(room, _)| *room).collect();
    for (room, files) in &rooms {
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| name == room) else {
            panic!("`{room}` is a new room: add it to the list with what it may know; known are {listed:?}");
        };
        for (file, code) in files {
            for word in named(code, "crate::") {
                let known = word == room || allowed.contains(&word);
                assert!(known, "{} names crate::{word}, which `{room}` may not know", file.display());
            }
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
