//! Settles what a crash, a lost answer or a power cut left open, before anything is planned.

use std::sync::Arc;

use super::write::{done, ended};
use super::{Applied, Writer};
use crate::ledger::{Action, Intent, IntentId, Outcome, Ownership, RecordChange, Settlement};
use crate::provider::{Fault, NewTag};
use crate::tag::{RemoteTag, Value};

/// Looks at each tag whose write has no known end, once, and settles it. A gap that a move left open is closed.
///
/// Gives the writes that turned out to have had an effect. An error means that the remote could not be read; then nothing may
/// be planned for it either.
pub async fn recover(writer: &Arc<Writer>, intents: Vec<(IntentId, Intent)>) -> Result<Vec<Applied>, Fault> {
    let mut recovered = Vec::new();
    // What went together in one request is looked at together, too.
    let all = if intents.len() > 1 && writer.provider.changes_at_once() > 1 {
        Some(writer.provider.list_tags().await?)
    } else {
        None
    };
    let mut settlements = Vec::with_capacity(intents.len());
    for (id, intent) in intents {
        let alone;
        let there = match &all {
            Some(all) => all.get(&intent.remote_name),
            None => {
                alone = writer.provider.get_tag(&intent.remote_name).await?;
                alone.as_ref()
            }
        };
        let settlement = judge(writer, &intent, there).await;
        tracing::info!(
            tag = %intent.tag, action = intent.action.word(), outcome = settlement.outcome.word(),
            "Settled an interrupted write.",
        );
        if settlement.outcome != Outcome::NotSent {
            let detail = settlement.detail.clone().unwrap_or_else(|| "settled after an interruption".to_owned());
            recovered.push(Applied::of_intent(intent, settlement.outcome, detail));
        }
        settlements.push((id, settlement));
    }
    writer.settle_all(settlements).await;
    Ok(recovered)
}

async fn judge(writer: &Arc<Writer>, intent: &Intent, there: Option<&RemoteTag>) -> Settlement {
    let tag = |value: &Option<Value>, message: &Option<String>| {
        value.clone().map(|value| NewTag {
            name: intent.remote_name.clone(),
            value,
            message: message.clone(),
            tag_id: None,
        })
    };
    let (new, old) = (tag(&intent.new, &intent.message), tag(&intent.old, &intent.old_message));
    match (intent.action, new, old) {
        (Action::Create | Action::Move, Some(new), _)
            if there.is_some_and(|there| there.value.as_ref() == Ok(&new.value)) =>
        {
            done(&new, Ownership::Created)
        }
        (Action::Delete, _, _) if there.is_none() => ended(Outcome::Done, RecordChange::Drop),
        // The gap between the two halves of a move: finished here, never read as a deletion.
        (Action::Move, Some(new), Some(old)) if there.is_none() => writer.close_gap(&new, &old).await,
        // It never took effect, or somebody has written since: the plan will judge what is there now.
        (Action::Create | Action::Move | Action::Delete, _, _) => ended(Outcome::NotSent, RecordChange::Keep),
    }
}
