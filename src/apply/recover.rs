//! Settles what a crash, a lost answer or a power cut left open, before anything is planned.

use std::sync::Arc;

use super::Writer;
use super::write::{done, ended};
use crate::ledger::{Action, Intent, IntentId, Outcome, Ownership, RecordChange};
use crate::provider::{Fault, NewTag};

/// Looks at each tag whose write has no known end, once, and settles it. A gap that a move left open is closed.
///
/// An error means that the remote could not be read; then nothing may be planned for it either.
pub async fn recover(writer: &Arc<Writer>, intents: Vec<(IntentId, Intent)>) -> Result<(), Fault> {
    for (id, intent) in intents {
        let there = writer.provider.get_tag(&intent.remote_name).await?;
        let value = there.as_ref().map(|tag| tag.value.as_ref());
        let tag = |value: &Option<crate::tag::Value>, message: &Option<String>| {
            value.clone().map(|value| NewTag { name: intent.remote_name.clone(), value, message: message.clone() })
        };
        let (new, old) = (tag(&intent.new, &intent.message), tag(&intent.old, &intent.old_message));
        let settlement = match (intent.action, new, old) {
            (Action::Create | Action::Move, Some(new), _) if value == Some(Ok(&new.value)) => {
                done(&new, Ownership::Created)
            }
            (Action::Delete, _, _) if there.is_none() => ended(Outcome::Done, RecordChange::Drop),
            // The gap between the two halves of a move: finished here, never read as a deletion.
            (Action::Move, Some(new), Some(old)) if there.is_none() => writer.close_gap(&new, &old).await,
            // It never took effect, or somebody has written since: the plan will judge what is there now.
            (Action::Create | Action::Move | Action::Delete, _, _) => ended(Outcome::NotSent, RecordChange::Keep),
        };
        tracing::info!(
            pair = %writer.pair, tag = %intent.tag, action = intent.action.word(), outcome = settlement.outcome.word(),
            "Settled an interrupted write.",
        );
        if let Err(reason) = writer.settle(id, settlement).await {
            tracing::warn!(pair = %writer.pair, tag = %intent.tag, reason, "An interrupted write could not be settled.");
        }
    }
    Ok(())
}
