//! What can be said about the units without systemd: they are well-formed, name what exists, and agree with each other.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use support::program::Program;
use tagsyncd::cli::ExitCode;

/// Directives that the files use, by section, with the version of systemd that brought them where that is later than 240.
///
/// From [systemd.directives(7)](https://www.freedesktop.org/software/systemd/man/latest/systemd.directives.html), 2026-11-21.
const DIRECTIVES: [(&str, &[(&str, u32)]); 5] = [
    ("Unit", &[("Description", 0), ("Documentation", 0), ("Wants", 0), ("After", 0), ("StartLimitIntervalSec", 0)]),
    (
        "Service",
        &[
            ("Type", 0),
            ("NotifyAccess", 0),
            ("ExecStart", 0),
            ("ExecReload", 0),
            ("WatchdogSec", 0),
            ("Restart", 0),
            ("RestartSec", 0),
            ("RestartPreventExitStatus", 0),
            ("TimeoutStartSec", 0),
            ("TimeoutStopSec", 0),
            ("KillMode", 0),
            ("DynamicUser", 0),
            ("User", 0),
            ("SupplementaryGroups", 0),
            ("UMask", 0),
            ("StateDirectory", 0),
            ("StateDirectoryMode", 0),
            ("ConfigurationDirectory", 0),
            ("LoadCredential", 247),
            ("LoadCredentialEncrypted", 250),
            ("MemoryMax", 0),
            ("TasksMax", 0),
            ("LimitCORE", 0),
            ("CapabilityBoundingSet", 0),
            ("AmbientCapabilities", 0),
            ("NoNewPrivileges", 0),
            ("RestrictSUIDSGID", 242),
            ("PrivateUsers", 0),
            ("ProtectSystem", 0),
            ("ProtectHome", 0),
            ("BindReadOnlyPaths", 0),
            ("PrivateTmp", 0),
            ("PrivateDevices", 0),
            ("PrivateIPC", 248),
            ("PrivateMounts", 0),
            ("ProtectProc", 247),
            ("ProcSubset", 247),
            ("RemoveIPC", 0),
            ("ProtectKernelTunables", 0),
            ("ProtectKernelModules", 0),
            ("ProtectKernelLogs", 244),
            ("ProtectControlGroups", 0),
            ("ProtectClock", 245),
            ("ProtectHostname", 242),
            ("RestrictNamespaces", 0),
            ("RestrictRealtime", 0),
            ("LockPersonality", 0),
            ("MemoryDenyWriteExecute", 0),
            ("SystemCallArchitectures", 0),
            ("SystemCallFilter", 0),
            ("SystemCallErrorNumber", 0),
            ("RestrictAddressFamilies", 0),
            ("IPAddressDeny", 0),
            ("IPAddressAllow", 0),
        ],
    ),
    ("Socket", &[("ListenStream", 0)]),
    (
        "Timer",
        &[
            ("OnCalendar", 0),
            ("Persistent", 0),
            ("RandomizedDelaySec", 0),
            ("FixedRandomDelay", 247),
            ("AccuracySec", 0),
        ],
    ),
    ("Install", &[("WantedBy", 0)]),
];

/// Debian 12 has 252, which is the oldest that the units are made for.
const OLDEST: u32 = 252;

/// A unit or drop-in: its directives in order, each with its section.
struct Unit {
    path: PathBuf,
    lines: Vec<(String, String, String)>,
}

impl Unit {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("the file is part of the package");
        let mut section = String::new();
        let mut lines = Vec::new();
        for line in text.lines() {
            // A directive that is offered as a comment has to be right, too.
            let offered =
                line.strip_prefix('#').filter(|rest| rest.starts_with(|first: char| first.is_ascii_uppercase()));
            let line = offered.filter(|rest| rest.contains('=')).unwrap_or(line);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name.to_owned();
                continue;
            }
            let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("{}: {line}", path.display()));
            lines.push((section.clone(), key.to_owned(), value.to_owned()));
        }
        Self { path: path.to_owned(), lines }
    }

    fn shipped(name: &str) -> Self {
        Self::read(&folder().join(name))
    }

    fn all(&self, key: &str) -> Vec<&str> {
        self.lines.iter().filter(|(_, name, _)| name == key).map(|(_, _, value)| value.as_str()).collect()
    }

    fn one(&self, key: &str) -> &str {
        let [value] = self.all(key)[..] else { panic!("{} has not one {key}", self.path.display()) };
        value
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder is part of the package")
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

fn units() -> Vec<Unit> {
    let units = files(&folder()).into_iter().chain(files(&folder().join("examples")));
    units.map(|path| Unit::read(&path)).collect()
}

#[test]
fn every_directive_exists_where_it_stands() {
    let known: BTreeMap<&str, BTreeMap<&str, u32>> =
        DIRECTIVES.iter().map(|(section, names)| (*section, names.iter().copied().collect())).collect();
    let mut used = BTreeSet::new();
    for unit in units() {
        for (section, key, _) in &unit.lines {
            let since = known.get(section.as_str()).and_then(|names| names.get(key.as_str()));
            let since = since.unwrap_or_else(|| panic!("{}: [{section}] {key}", unit.path.display()));
            assert!(*since <= OLDEST, "{}: {key} needs systemd {since}", unit.path.display());
            used.insert((section.clone(), key.clone()));
        }
    }
    for (section, names) in DIRECTIVES {
        for (name, _) in names {
            assert!(
                used.contains(&(section.to_owned(), (*name).to_owned())),
                "[{section}] {name} is not used any more"
            );
        }
    }
}

#[test]
fn what_is_started_is_understood() {
    let program = Program::new();
    for unit in ["tagsyncd.service", "tagsyncd-once.service"] {
        let unit = Unit::shipped(unit);
        let mut words = unit.one("ExecStart").split(' ');
        assert_eq!(words.next(), Some("/usr/bin/tagsyncd"));
        let arguments: Vec<&str> = words.chain(["--help"]).collect();
        program.run(&arguments).expect(0);
    }
    // A wrong option is seen this way.
    program.run(&["--snyc", "--help"]).expect(2);
}

#[test]
fn the_one_shot_has_the_daemons_sandbox() {
    let of_running = [
        "Type",
        "NotifyAccess",
        "ExecStart",
        "ExecReload",
        "WatchdogSec",
        "Restart",
        "RestartSec",
        "RestartPreventExitStatus",
        "TimeoutStartSec",
    ];
    let sandbox = |name: &str| -> Vec<(String, String)> {
        let lines = Unit::shipped(name)
            .lines
            .into_iter()
            .filter(|(section, key, _)| section == "Service" && !of_running.contains(&key.as_str()));
        lines.map(|(_, key, value)| (key, value)).collect()
    };
    assert_eq!(sandbox("tagsyncd.service"), sandbox("tagsyncd-once.service"));
    assert!(sandbox("tagsyncd.service").len() > 30);
}

#[test]
fn exit_codes_that_starting_again_does_not_mend_are_ours() {
    let codes = format!("{} {}", ExitCode::Usage as i32, ExitCode::Configuration as i32);
    assert_eq!(Unit::shipped("tagsyncd.service").one("RestartPreventExitStatus"), codes);
}

#[test]
fn examples_lead_to_what_is_shipped_and_are_explained() {
    let example = |name: &str| Unit::read(&folder().join("examples").join(name));
    let read = |name: &str| fs::read_to_string(folder().join(name)).expect("the file is part of the package");
    let group = example("repositories.conf").one("SupplementaryGroups").to_owned();
    assert!(read("sysusers.d/tagsyncd.conf").contains(&format!("\ng {group} ")), "{group}");
    let credentials = example("credentials.conf");
    for credential in [credentials.all("LoadCredential"), credentials.all("LoadCredentialEncrypted")].concat() {
        let (_, path) = credential.split_once(':').unwrap();
        let (directory, _) = path.rsplit_once('/').unwrap();
        assert!(read("tmpfiles.d/tagsyncd.conf").contains(&format!("\nd {directory} ")), "{directory}");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manual = fs::read_to_string(root.join("docs/operations.md")).unwrap();
    for path in files(&folder().join("examples")) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(manual.contains(&format!("`{name}`")), "docs/operations.md says nothing of {name}");
    }
    let configuration = fs::read_to_string(root.join("config/tagsyncd.toml")).unwrap();
    let state = format!("/var/lib/{}", Unit::shipped("tagsyncd.service").one("StateDirectory"));
    assert!(configuration.contains(&format!("\nstate = \"{state}\"")), "root has to find the service's state");
    let socket = Unit::shipped("tagsyncd.socket").one("ListenStream").to_owned();
    assert!(configuration.contains(&format!("listen = \"{socket}\"")), "{socket}");
}
