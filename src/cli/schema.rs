//! The JSON Schemas of the configuration and of everything that `--format json` prints, as they are published; a test finds that they are what the types give.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};

use super::ExitCode;
use super::check::Checked;
use super::decide::Decided;
use super::history::{History, Pruned};
use super::output::{Failure, Output};
use super::providers::Row;
use crate::config::nearest;
use crate::report::status::Status;
use crate::report::{Explanations, Report};
use crate::service::notice::Message;
use crate::text::Printable;

/// The schemas as they are published, of which a test finds that they are what the types give: a service should not have in memory
/// what makes them.
const PUBLISHED: [(&str, &str); 10] = [
    ("config", include_str!("../../docs/schema/config.json")),
    ("sync", include_str!("../../docs/schema/sync.json")),
    ("status", include_str!("../../docs/schema/status.json")),
    ("history", include_str!("../../docs/schema/history.json")),
    ("prune", include_str!("../../docs/schema/prune.json")),
    ("explain", include_str!("../../docs/schema/explain.json")),
    ("check", include_str!("../../docs/schema/check.json")),
    ("providers", include_str!("../../docs/schema/providers.json")),
    ("notice", include_str!("../../docs/schema/notice.json")),
    ("decision", include_str!("../../docs/schema/decision.json")),
];

/// Prints the schema of this name.
pub(super) fn schema(name: &str, output: &Output) -> Result<ExitCode, Failure> {
    let Some((_, schema)) = PUBLISHED.iter().find(|(known, _)| *known == name) else {
        let names = PUBLISHED.map(|(known, _)| known);
        let failure = Failure::usage(format!("there is no schema `{}`", Printable::new(name)));
        return Err(match nearest(name, names) {
            Some(meant) => failure.hint(format!("did you mean `{meant}`?")),
            None => failure.hint(format!("the schemas are: {}", names.join(", "))),
        });
    };
    output.bytes(schema.as_bytes())
}

/// Each schema with its name.
///
/// Those of results are open: fields may be added to a result, never renamed.
pub fn schemas() -> Vec<(&'static str, Schema)> {
    let results = [
        ("sync", "What `tagsyncd --sync`, `plan` and `undo` print", result::<Report>()),
        ("status", "What `tagsyncd status` prints, and a daemon answers at `/status.json`", result::<Status>()),
        ("history", "What `tagsyncd history` prints", result::<History>()),
        ("prune", "What `tagsyncd history --prune-before` prints", result::<Pruned>()),
        ("explain", "What `tagsyncd explain` prints", result::<Explanations>()),
        ("check", "What `tagsyncd check` prints", result::<Checked>()),
        ("providers", "What `tagsyncd providers` prints", result::<Vec<Row>>()),
        ("notice", "What the daemon sends as `[notify]` says", result::<Message>()),
        ("decision", "What `tagsyncd approve` and `dismiss` print", result::<Decided>()),
    ];
    let configuration = ("config", "The configuration of tagsyncd", crate::config::schema());
    std::iter::once(configuration)
        .chain(results)
        .map(|(name, title, schema)| (name, identified(name, title, schema)))
        .collect()
}

fn result<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>()
}

fn identified(name: &str, title: &str, mut schema: Schema) -> Schema {
    schema.insert("$id".to_owned(), format!("urn:tagsyncd:{name}").into());
    schema.insert("title".to_owned(), title.into());
    schema
}
