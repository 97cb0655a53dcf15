//! The JSON Schema of the file, for editors. It is made from the fragments, so it knows the keys that the program knows.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::fragment::{DaemonKeys, JobKeys, RemoteKeys, RepositoryKeys};
use super::notify::NotifyKeys;
use super::repositories::NAME_RULE;
use crate::provider::{Descriptor, PROVIDERS};
use crate::tag::TargetKind;

/// The schema of a configuration file, its TOML taken as JSON.
pub fn schema() -> Schema {
    let settings = SchemaSettings::draft2020_12()
        // Taplo shows what a reference leads to, and not what is said beside it: the description of the key, its default.
        .with(|settings| settings.inline_subschemas = true)
        .with_transform(RecursiveTransform(forbid_null));
    settings.into_generator().into_root_schema_for::<File>()
}

/// The whole file, which is read table by table.
struct File;

impl JsonSchema for File {
    fn schema_name() -> Cow<'static, str> {
        "File".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let remotes = "Sets of tags behind an API. In every string of a remote, `{repository}` stands for the name of the repository.";
        json_schema!({
            "type": "object",
            "properties": {
                "daemon": generator.subschema_for::<DaemonKeys>(),
                "repository": named::<RepositoryKeys>(generator, "Local repositories."),
                "remote": named::<Remote>(generator, remotes),
                "job": named::<JobKeys>(generator, "What goes where."),
                "notify": generator.subschema_for::<NotifyKeys>(),
            },
            "required": ["job"],
            "additionalProperties": false,
        })
    }
}

/// Tables with names of their own.
fn named<T: JsonSchema>(generator: &mut SchemaGenerator, description: &str) -> Schema {
    json_schema!({
        "description": description,
        "type": "object",
        "minProperties": 1,
        "propertyNames": { "description": NAME_RULE, "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" },
        "additionalProperties": generator.subschema_for::<T>(),
    })
}

/// A remote: for each provider, the keys that all remotes share and its own.
struct Remote;

impl JsonSchema for Remote {
    fn schema_name() -> Cow<'static, str> {
        "Remote".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let of_providers: Vec<Schema> = PROVIDERS.iter().map(|descriptor| remote_of(descriptor, generator)).collect();
        json_schema!({ "oneOf": of_providers })
    }
}

fn remote_of(descriptor: &Descriptor, generator: &mut SchemaGenerator) -> Schema {
    let mut schema = RemoteKeys::json_schema(generator);
    let own = (descriptor.schema)(generator);
    for (keyword, own) in own.as_object().into_iter().flatten() {
        match (schema.get_mut(keyword), own) {
            (Some(Value::Object(common)), Value::Object(own)) => common.extend(own.clone()),
            (Some(Value::Array(common)), Value::Array(own)) => common.extend(own.iter().cloned()),
            // `type` and `additionalProperties` are the same on both sides.
            (Some(_), _) => {}
            (None, own) => {
                schema.insert(keyword.clone(), own.clone());
            }
        }
    }
    let takes_target = !matches!(descriptor.capabilities.target, TargetKind::Commit | TargetKind::Object);
    if let Some(Value::Object(properties)) = schema.get_mut("properties")
        && !takes_target
    {
        properties.remove("target");
    }
    if let Some(Value::Array(required)) = schema.get_mut("required")
        && takes_target
    {
        required.push("target".into());
    }
    schema.insert("title".to_owned(), descriptor.title.into());
    schema.insert("description".to_owned(), format!("One set of tags behind an API: {}.", descriptor.title).into());
    if let Some(Value::Object(provider)) = schema.pointer_mut("/properties/provider") {
        provider.insert("const".to_owned(), descriptor.name.into());
    }
    schema
}

/// TOML has no null: an optional key is left out.
fn forbid_null(schema: &mut Schema) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| choice["type"] != "null");
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            schema.remove("anyOf");
            // What is said about the key goes before what is said about its type.
            for (keyword, value) in only {
                if schema.get(&keyword).is_none() {
                    schema.insert(keyword, value);
                }
            }
        }
    }
}
