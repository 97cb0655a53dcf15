//! Configuration in three stages: the file as written, problems, settings. And secrets.
//!
//! ```text
//! text ──> Table ──read──> fragments (keys as written, all optional) ──> Settings
//!             └────────────────────┴──> Problems, all of them, with places and hints
//! ```
//!
//! *Fragments* are plain serde structs: they say which keys there are and of which type. What must be there, what
//! excludes what, and which names must exist is checked on the way to [`Settings`], which holds nothing that still
//! could be wrong without touching a file or a network; only the rules of the time zone are looked up on the way.
//!
//! Nothing that is printed here shows a secret. Therefore the rule is the strict one: no text of a value is ever shown,
//! except names of jobs, repositories and remotes, words close to an expected word, and numbers out of range.

mod between;
mod document;
mod duration;
mod fragment;
mod notify;
mod place;
mod problem;
mod remote;
mod repositories;
mod resolve;
mod rings;
mod schema;
mod secret;
mod settings;
mod zone;

pub use crate::plan::Policy;
use crate::text::near;
pub(crate) use crate::text::near::nearest;
pub use document::Table;
pub use notify::{Address, NotifySettings};
pub use problem::{ConfigFault, Problem, Problems, Source};
pub use remote::{RemoteSettings, RemoteTemplate};
pub use repositories::{PathPattern, Place, Repositories, RepositoriesFault, Repository};
pub use schema::schema;
pub use secret::{SecretFault, SecretSource};
pub use settings::{DaemonSettings, JobSettings, Settings, load};
/// A value with its place in the file; what providers' keys are made of.
pub use toml::Spanned;
pub use zone::{Zone, ZoneData, ZoneFault, find_time_zone};
