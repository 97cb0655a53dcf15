//! A time zone by its name: the system's rules, else those inside the program.

use std::path::{Path, PathBuf};

use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::near::nearest;
use crate::text::Printable;

/// Where systems keep the rules; `$TZDIR` comes before.
const DIRECTORIES: [&str; 3] = ["/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/etc/zoneinfo"];

/// A time zone and where its rules come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Its IANA name, as written.
    pub name: String,
    /// The rules.
    pub time_zone: TimeZone,
    /// Whose they are.
    pub data: ZoneData,
}

/// Whose rules a time zone has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZoneData {
    /// The system's, which are renewed with it.
    System(PathBuf),
    /// Those inside the program, as old as the program.
    Bundled,
}

/// There is no time zone of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ZoneFault {
    /// Which.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

/// Finds a time zone by its IANA name.
pub fn find_time_zone(name: &str) -> Result<Zone, ZoneFault> {
    // It has no rules, so no directory of hundreds of files has to be walked.
    if name == "UTC" {
        return Ok(Zone { name: name.to_owned(), time_zone: TimeZone::UTC, data: ZoneData::Bundled });
    }
    let chosen = std::env::var_os("TZDIR").map(PathBuf::from);
    find_in(name, chosen.into_iter().chain(DIRECTORIES.map(PathBuf::from)))
}

/// Also a system that has data may lack a name: old data, or a part of it in a container.
fn find_in(name: &str, directories: impl Iterator<Item = PathBuf>) -> Result<Zone, ZoneFault> {
    let system = directories.filter_map(|path| Some((TimeZoneDatabase::from_dir(&path).ok()?, path))).next();
    if let Some((database, path)) = system
        && let Some(time_zone) = try_find(&database, name)
    {
        return Ok(Zone { name: name.to_owned(), time_zone, data: ZoneData::System(path) });
    }
    let bundled = TimeZoneDatabase::bundled();
    if let Some(time_zone) = try_find(&bundled, name) {
        return Ok(Zone { name: name.to_owned(), time_zone, data: ZoneData::Bundled });
    }
    let known: Vec<String> = bundled.available().map(|name| name.to_string()).collect();
    // A word close to a name is a name in the wrong spelling. Anything else might be a secret in the wrong place.
    Err(match nearest(name, known.iter().map(String::as_str)) {
        Some(meant) => ZoneFault {
            message: format!("there is no time zone `{}`", Printable::new(name)),
            hint: format!("did you mean `{meant}`?"),
        },
        None => ZoneFault {
            message: "there is no time zone of this name".into(),
            hint: "write an IANA name, like `Europe/Berlin`, or `UTC`".into(),
        },
    })
}

/// `Etc/Unknown` is in the databases, and is the name for having none.
fn try_find(database: &TimeZoneDatabase, name: &str) -> Option<TimeZone> {
    database.get(name).ok().filter(|zone| !zone.is_unknown())
}

impl std::fmt::Display for ZoneData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::System(path) => {
                write!(f, "the system's data in {}", Printable::new(Path::as_os_str(path).as_encoded_bytes()))
            }
            Self::Bundled => f.write_str("the data inside the program"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(name: &str, directories: &[&Path]) -> Result<Zone, ZoneFault> {
        find_in(name, directories.iter().map(|path| path.to_path_buf()))
    }

    #[test]
    fn the_system_goes_first_and_the_program_knows_the_rest() {
        let system = tempfile::tempdir().unwrap();
        let berlin = {
            // The smallest file of the right form: version 1, nothing but one kind of local time, two hours east.
            let mut file = b"TZif\0".to_vec();
            file.extend([0; 15]);
            for count in [0_u32, 0, 0, 0, 1, 4] {
                file.extend(count.to_be_bytes());
            }
            file.extend(7200_i32.to_be_bytes());
            file.extend([0, 0]);
            file.extend(b"XST\0");
            file
        };
        std::fs::create_dir(system.path().join("Europe")).unwrap();
        std::fs::write(system.path().join("Europe/Berlin"), berlin).unwrap();
        let missing = system.path().join("missing");
        let directories = [missing.as_path(), system.path()];
        let data = |name: &str| find(name, &directories).map(|zone| zone.data);
        assert_eq!(data("Europe/Berlin"), Ok(ZoneData::System(system.path().to_owned())));
        assert_eq!(data("Asia/Shanghai"), Ok(ZoneData::Bundled));
        assert_eq!(find("Europe/Berlin", &[]).unwrap().data, ZoneData::Bundled);
        assert!(find("UTC", &[]).is_ok());
    }

    #[test]
    fn an_unknown_name_has_a_neighbour_or_an_example() {
        let fault = |name: &str| find(name, &[]).unwrap_err();
        assert_eq!(fault("Europe/Berlni").hint, "did you mean `Europe/Berlin`?");
        assert_eq!(fault("Europe/Berlni").message, "there is no time zone `Europe/Berlni`");
        for name in ["", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "Etc/Unknown", "a\u{1b}[31m\0"] {
            let ZoneFault { message, hint } = fault(name);
            assert_eq!(message, "there is no time zone of this name", "{name}");
            assert!(hint.contains("Europe/Berlin"), "{name}");
        }
    }
}
