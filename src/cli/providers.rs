//! `tagsyncd providers`: what each kind of remote can do.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use super::ExitCode;
use super::output::{Failure, Output};
use crate::provider::{Capabilities, Deletes, Descriptor, Moves, PROVIDERS};

#[derive(Serialize, JsonSchema)]
pub(super) struct Row {
    /// What `provider` of a remote says.
    provider: &'static str,
    /// The product.
    title: &'static str,
    /// What its tags point at.
    target: String,
    /// How a tag gets another value.
    moves: String,
    /// Whether one tag can go without touching anything else.
    deletes: String,
    /// What becomes of an annotated tag.
    annotations: String,
    /// Whether a write can name the value that it expects to replace.
    lease: String,
    /// Which names it takes.
    names: &'static str,
    /// Why an operation is missing.
    remarks: Vec<&'static str>,
}

impl Row {
    fn new(descriptor: &Descriptor) -> Self {
        let Capabilities { target, moves, deletes, annotations, lease, create_refuses_existing: _, names } =
            &descriptor.capabilities;
        let mut remarks = Vec::new();
        if let Moves::Never(why) = moves {
            remarks.push(*why);
        }
        if let Deletes::Never(why) = deletes {
            remarks.push(*why);
        }
        Self {
            provider: descriptor.name,
            title: descriptor.title,
            target: target.to_string(),
            moves: moves.to_string(),
            deletes: deletes.to_string(),
            annotations: annotations.to_string(),
            lease: lease.to_string(),
            names: names.summary,
            remarks,
        }
    }
}

pub(super) fn providers(output: &Output) -> Result<ExitCode, Failure> {
    let rows: Vec<Row> = PROVIDERS.iter().copied().map(Row::new).collect();
    output.result(&rows, table(&rows))?;
    Ok(ExitCode::Done)
}

fn table(rows: &[Row]) -> String {
    let heads = ["provider", "targets", "moves", "deletes", "annotations", "lease"];
    let cells: Vec<[&str; 6]> = rows
        .iter()
        .map(|row| [row.provider, &row.target, &row.moves, &row.deletes, &row.annotations, &row.lease])
        .collect();
    let width = |column: usize| {
        cells.iter().map(|row| row[column].chars().count()).chain([heads[column].len()]).max().unwrap_or_default()
    };
    let mut table = String::new();
    for row in std::iter::once(&heads).chain(&cells) {
        let line: String =
            row.iter().enumerate().map(|(column, cell)| format!("{cell:width$}  ", width = width(column))).collect();
        table.push_str(line.trim_end());
        table.push('\n');
    }
    for row in rows {
        // Writing to a string cannot fail.
        let _infallible = writeln!(table, "\n{}: {}. Names: {}.", row.provider, row.title, row.names);
        for remark in &row.remarks {
            let _infallible = writeln!(table, "  {remark}");
        }
    }
    table
}
