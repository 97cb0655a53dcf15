//! A push of many tags: carried out in as few requests as the server lets it be, with an answer for each tag.
//!
//! A server may refuse a push as a whole, because of one tag in it: a pre-receive hook does, and so does one that cannot
//! unpack. Nothing of it was done then, so the two halves are pushed on their own, and so on until the tag is found. That
//! costs requests, so there is a limit to it; what is not found out within it is left for the next pass.

use std::ops::Range;

use crate::provider::{Fault, FaultKind};
use crate::text::excerpt;
use crate::wire::{Command, Fate, ObjectId, Push, PushCapabilities, Pushed, TagObjects};

use super::SmartHttp;

/// The most tag objects, in bytes, that one push carries.
const PACK_LIMIT: usize = 8 * 1024 * 1024;

/// How many pushes may be refused as a whole before the search for the reason ends.
const REFUSALS: usize = 64;

/// How much of a server's text an error shows.
const EXCERPT: usize = 300;

type Outcome = Result<(), Fault>;

/// What a push came to.
enum End {
    /// Each tag has its own answer.
    Answered(Vec<Outcome>),
    /// Nothing of it was done, because of some of the tags, or all.
    Refused(Fault),
    /// There is no answer; nothing more should be sent for now.
    Failed(Fault),
}

impl SmartHttp {
    /// Pushes; the answers come in the order of the commands.
    pub(super) async fn push(&self, commands: &[Command]) -> Vec<Outcome> {
        if commands.is_empty() {
            return Vec::new();
        }
        let capabilities = match self.endpoint.known_push_capabilities().await {
            Ok(capabilities) => capabilities,
            Err(fault) => return vec![Err(nothing_sent(fault)); commands.len()],
        };
        let mut outcomes: Vec<Option<Outcome>> = vec![None; commands.len()];
        let halves = |part: Range<usize>| {
            let middle = part.start + part.len() / 2;
            // The first part is on top.
            [middle..part.end, part.start..middle]
        };
        let mut parts: Vec<Range<usize>> = std::iter::once(0..commands.len()).collect();
        let mut refusals = 0;
        while let Some(part) = parts.pop() {
            let objects = match self.tag_objects(&commands[part.clone()]).await {
                Ok(objects) => objects,
                // One that cannot be read does not keep the others here.
                Err(_) if part.len() > 1 => {
                    parts.extend(halves(part));
                    continue;
                }
                Err(fault) => {
                    fill(&mut outcomes, part, &fault);
                    continue;
                }
            };
            let fits = part.start + fitting(&commands[part.clone()], objects.covered);
            if fits < part.end {
                parts.push(fits..part.end);
            }
            let part = part.start..fits;
            match self.push_part(&commands[part.clone()], &objects, &capabilities).await {
                End::Answered(answers) => {
                    outcomes[part].iter_mut().zip(answers).for_each(|(outcome, answer)| *outcome = Some(answer));
                }
                End::Refused(fault) if part.len() == 1 => fill(&mut outcomes, part, &fault),
                End::Refused(fault) => {
                    refusals += 1;
                    if refusals > REFUSALS {
                        let left = std::iter::once(part).chain(parts.drain(..));
                        left.for_each(|part| fill(&mut outcomes, part, &not_found_out(&fault)));
                        break;
                    }
                    parts.extend(halves(part));
                }
                End::Failed(fault) => {
                    fill(&mut outcomes, part, &fault);
                    let after =
                        Fault { kind: FaultKind::NotSent, message: format!("not sent after: {fault}"), ..fault };
                    parts.drain(..).for_each(|part| fill(&mut outcomes, part, &after));
                }
            }
        }
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| Err(unreported()))).collect()
    }

    async fn tag_objects(&self, commands: &[Command]) -> Result<TagObjects, Fault> {
        let ids: Vec<_> = commands.iter().filter_map(|command| command.new).collect();
        match &self.objects {
            _ if ids.is_empty() => Ok(TagObjects::default()),
            None => Ok(TagObjects { objects: Vec::new(), covered: ids.len() }),
            Some(objects) => {
                let read = objects.read_tag_objects(ids, PACK_LIMIT).await;
                read.map_err(|reason| Fault::new(FaultKind::Rejected, format!("could not push the tag: {reason}")))
            }
        }
    }

    async fn push_part(&self, commands: &[Command], objects: &TagObjects, capabilities: &PushCapabilities) -> End {
        if !capabilities.deletes && commands.iter().any(|command| command.new.is_none()) {
            // Such a push would be refused as a whole; the others need not suffer.
            return End::Refused(
                Fault::new(FaultKind::Rejected, "the server lets no tag be deleted by a push")
                    .hint("delete it on the remote by hand, or exclude the name by `tags`"),
            );
        }
        let push = Push { commands, objects: &objects.objects };
        match self.endpoint.push(&push, capabilities).await {
            Ok(pushed) => self.judge(commands, &pushed).await,
            // One that is too large for a proxy, or for the server.
            Err(fault) if fault.kind == FaultKind::Rejected => End::Refused(fault),
            Err(fault) => End::Failed(fault),
        }
    }

    async fn judge(&self, commands: &[Command], pushed: &Pushed) -> End {
        let Pushed { report, cut } = pushed;
        let declined = |command: &Command| matches!(report.fate(&command.name), Some(Fate::Refused(words)) if words == PRE_RECEIVE);
        let Some(unpacked) = report.unpacked() else {
            return End::Failed(cut.clone().unwrap_or_else(unreported));
        };
        let remarks = report.remarks();
        if let Err(words) = unpacked {
            let fault = refused(words, remarks, commands.iter().all(brings));
            return match commands {
                [Command { new: Some(id), .. }] => End::Refused(self.explain(*id, fault).await),
                _ => End::Refused(fault),
            };
        }
        // The hook before all refs declines every one that is left by then, and nothing is done.
        let done = |command: &Command| matches!(report.fate(&command.name), Some(Fate::Done | Fate::Rewritten));
        if cut.is_none() && commands.iter().any(declined) && !commands.iter().any(done) {
            return End::Refused(refused(PRE_RECEIVE, remarks, false));
        }
        // What hooks print is not said to be about this tag or that; alone, it must be.
        let refusals = commands.iter().filter(|command| matches!(report.fate(&command.name), Some(Fate::Refused(_))));
        let remarks = if refusals.count() == 1 { remarks } else { b"" };
        let answer = |command: &Command| match report.fate(&command.name) {
            Some(Fate::Done) => Ok(()),
            Some(Fate::Refused(words)) => Err(refused(words, remarks, brings(command))),
            Some(Fate::Rewritten) => {
                Err(Fault::new(FaultKind::Ambiguous, "a hook on the server made something else of the push"))
            }
            None => Err(cut.clone().map_or_else(unreported, |fault| Fault { kind: FaultKind::Ambiguous, ..fault })),
        };
        End::Answered(commands.iter().map(answer).collect())
    }

    /// A pack that cannot be unpacked may only lack what it leads to, where the server checks that much.
    async fn explain(&self, id: ObjectId, fault: Fault) -> Fault {
        match self.has_target(&crate::tag::Target::Object(id.into())).await {
            Ok(false) => Fault { kind: FaultKind::TargetMissing, ..fault },
            Ok(true) | Err(_) => fault,
        }
    }
}

fn fill(outcomes: &mut [Option<Outcome>], part: Range<usize>, fault: &Fault) {
    outcomes[part].iter_mut().for_each(|outcome| *outcome = Some(Err(fault.clone())));
}

/// How many commands, from the first on, have their tag objects among so many ids.
fn fitting(commands: &[Command], covered: usize) -> usize {
    let mut left = covered;
    let fits = commands.iter().take_while(|command| {
        let fits = command.new.is_none() || left > 0;
        left = left.saturating_sub(usize::from(command.new.is_some()));
        fits
    });
    fits.count()
}

/// What `receive-pack` says of every ref when the hook before all of them refuses (2026-11-21, `builtin/receive-pack.c`).
const PRE_RECEIVE: &[u8] = b"pre-receive hook declined";

/// Whether it brings something that may lack its end; a deletion does not.
fn brings(command: &Command) -> bool {
    command.new.is_some()
}

fn refused(words: &[u8], remarks: &[u8], may_lack: bool) -> Fault {
    let lower = String::from_utf8_lossy(words).to_ascii_lowercase();
    // git: "missing necessary objects"; JGit: "missing object(s)" (2026-11-21, their sources).
    let missing = may_lack && (lower.contains("missing necessary objects") || lower.starts_with("missing object"));
    let kind = if missing { FaultKind::TargetMissing } else { FaultKind::Rejected };
    let mut message = format!("the server refused it: {}", excerpt(words, EXCERPT));
    let said =
        remarks.rsplit(|byte| matches!(byte, b'\n' | b'\r')).map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let mut said: Vec<_> = said.take(3).collect();
    said.reverse();
    if !said.is_empty() {
        message += &format!(" (it says: {})", excerpt(&said.join(b"; ".as_slice()), EXCERPT));
    }
    Fault::new(kind, message)
}

pub(super) fn unreported() -> Fault {
    Fault::new(FaultKind::Ambiguous, "the server did not say what became of it")
}

/// A question in front of a push that has no answer: nothing was sent, whatever the answer would have been.
fn nothing_sent(fault: Fault) -> Fault {
    let kind = match fault.kind {
        FaultKind::Ambiguous | FaultKind::Unreadable => FaultKind::NotSent,
        other => other,
    };
    Fault { kind, ..fault }
}

fn not_found_out(fault: &Fault) -> Fault {
    let message = format!(
        "pushed together with others and refused as a whole, and after {REFUSALS} such refusals not pushed alone any more: {fault}"
    );
    Fault { kind: FaultKind::NotSent, message, ..fault.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_brings_something_can_lack_its_end() {
        for words in ["missing necessary objects", "missing object(s)"] {
            assert_eq!(refused(words.as_bytes(), b"", true).kind, FaultKind::TargetMissing);
            assert_eq!(refused(words.as_bytes(), b"", false).kind, FaultKind::Rejected);
        }
        assert_eq!(refused(b"hook declined", b"", true).kind, FaultKind::Rejected);
    }
}
