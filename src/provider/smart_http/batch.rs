//! A push of many tags: carried out in as few requests as the server lets it be, with an answer for each tag.
//!
//! A server may refuse a push as a whole, because of one tag in it: a pre-receive hook does, the rules of a host do, and so
//! does one that cannot unpack. Nothing of it was done then, so the two halves are pushed on their own, and so on until the tag is found. That
//! costs requests, so there is a limit to it; what is not found out within it is left for the next pass.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::provider::{Fault, FaultKind};
use crate::text::excerpt;
use crate::wire::{Command, Fate, Object, ObjectId, Pack, Push, PushCapabilities, Pushed, Report, TagObjects};

use super::SmartHttp;

/// The most tag objects, in bytes, that one push carries.
const PACK_LIMIT: usize = 8 * 1024 * 1024;

/// How many pushes may be refused as a whole before the search for the reason ends.
const REFUSALS: usize = 64;

/// For how long it is searched for: a pass that is told to stop waits for it.
const SEARCH: Duration = Duration::from_secs(10);

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

/// What goes along with the tags of a push.
enum Freight {
    /// Their tag objects, for so many of the tags, from the first on.
    Tags(TagObjects),
    /// All that the server lacks.
    Objects(Vec<Object>),
}

impl SmartHttp {
    /// Pushes; the answers come in the order of the commands.
    pub(super) async fn push(&self, commands: &[Command]) -> Vec<Outcome> {
        if commands.is_empty() {
            return Vec::new();
        }
        let asked = if self.pushes.objects {
            self.endpoint.push_capabilities_and_tips().await
        } else {
            self.endpoint.known_push_capabilities().await.map(|capabilities| (capabilities, Vec::new()))
        };
        let (capabilities, mut tips) = match asked {
            Ok(asked) => asked,
            Err(fault) => return vec![Err(nothing_sent(fault)); commands.len()],
        };
        let mut outcomes: Vec<Option<Outcome>> = vec![None; commands.len()];
        // The first part is on top.
        let mut parts = sendable(commands, &capabilities);
        parts.reverse();
        // A search may take some time from its first refusal on, and in any case until it found one tag.
        let (mut began, mut found) = (None, false);
        let mut refusals = 0;
        let mut is_over = |found: bool| {
            refusals += 1;
            let began = *began.get_or_insert_with(Instant::now);
            (refusals > REFUSALS || found && began.elapsed() > SEARCH).then_some(refusals)
        };
        while let Some(part) = parts.pop() {
            let freight = match self.freight(&commands[part.clone()], &tips).await {
                Ok(freight) => freight,
                // A source that cannot be read now says nothing about any of them.
                Err(fault) if fault.kind == FaultKind::NotSent => {
                    let left = std::iter::once(part).chain(parts.drain(..));
                    left.for_each(|part| fill(&mut outcomes, part, &fault));
                    break;
                }
                // One that cannot be read does not keep the others here.
                Err(fault) if part.len() > 1 => {
                    if let Some(refusals) = is_over(found) {
                        let left = std::iter::once(part).chain(parts.drain(..));
                        left.for_each(|part| fill(&mut outcomes, part, &not_found_out(&fault, refusals)));
                        break;
                    }
                    parts.extend(halves(part));
                    continue;
                }
                Err(fault) => {
                    found = true;
                    fill(&mut outcomes, part, &fault);
                    continue;
                }
            };
            let fits = match &freight {
                Freight::Tags(tags) => part.start + fitting(&commands[part.clone()], tags.covered),
                Freight::Objects(_) => part.end,
            };
            if fits < part.end {
                parts.push(fits..part.end);
            }
            let part = part.start..fits;
            match self.push_part(&commands[part.clone()], freight, &capabilities).await {
                End::Answered(answers) => {
                    let done = commands[part.clone()].iter().zip(&answers).filter(|(_, answer)| answer.is_ok());
                    tips.extend(done.filter_map(|(command, _)| command.new));
                    outcomes[part].iter_mut().zip(answers).for_each(|(outcome, answer)| *outcome = Some(answer));
                }
                End::Refused(fault) if part.len() == 1 => {
                    found = true;
                    fill(&mut outcomes, part, &fault);
                }
                End::Refused(fault) => {
                    if let Some(refusals) = is_over(found) {
                        let left = std::iter::once(part).chain(parts.drain(..));
                        left.for_each(|part| fill(&mut outcomes, part, &not_found_out(&fault, refusals)));
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
        let unsendable = || {
            Err(Fault::new(FaultKind::Rejected, "the server lets no tag be deleted by a push")
                .hint("delete it on the remote by hand, or exclude the name by `tags`"))
        };
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(unsendable)).collect()
    }

    /// What the server needs for these tags. `tips` is what it has.
    async fn freight(&self, commands: &[Command], tips: &[ObjectId]) -> Result<Freight, Fault> {
        let ids: Vec<_> = commands.iter().filter_map(|command| command.new).collect();
        // What is read over a network may be there the next time.
        let kind = match &self.objects {
            Some(objects) if !objects.have_history() => FaultKind::NotSent,
            Some(_) | None => FaultKind::Rejected,
        };
        let unread = |reason| Fault::new(kind, format!("could not push the tag: {reason}"));
        match &self.objects {
            _ if ids.is_empty() => Ok(Freight::Tags(TagObjects::default())),
            None => Ok(Freight::Tags(TagObjects { objects: Vec::new(), covered: ids.len() })),
            Some(objects) if self.pushes.objects => {
                let lacking = objects.list_lacking(ids, tips.to_vec()).await.map_err(unread)?;
                Ok(Freight::Objects(lacking.objects))
            }
            Some(objects) => objects.read_tag_objects(ids, PACK_LIMIT).await.map(Freight::Tags).map_err(unread),
        }
    }

    async fn push_part(&self, commands: &[Command], freight: Freight, capabilities: &PushCapabilities) -> End {
        let pack = match (&freight, &self.objects) {
            (Freight::Tags(tags), _) => Pack::Tags(&tags.objects),
            (Freight::Objects(list), Some(source)) => Pack::Objects(source, list),
            // Without a source nothing was listed.
            (Freight::Objects(_), None) => Pack::Tags(&[]),
        };
        match self.endpoint.push(&Push { commands, pack }, capabilities).await {
            Ok(Pushed::Reported { report, cut }) => self.judge(commands, &report, cut).await,
            Ok(Pushed::Declined(fault)) => End::Refused(fault),
            Err(fault) => End::Failed(fault),
        }
    }

    async fn judge(&self, commands: &[Command], report: &Report, cut: Option<Fault>) -> End {
        let Some(unpacked) = report.unpacked() else {
            return End::Failed(cut.unwrap_or_else(unreported));
        };
        let remarks = report.remarks();
        if let Err(words) = unpacked {
            let fault = refused(words, remarks, commands.iter().all(brings));
            return match commands {
                [Command { new: Some(id), .. }] => End::Refused(self.explain(*id, fault).await),
                _ => End::Refused(fault),
            };
        }
        if cut.is_none()
            && let Some(words) = refused_as_one(commands, report)
        {
            return End::Refused(refused(words, remarks, false));
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

/// What a server says of a single ref, so that the same words for all of them are no refusal of the push as a whole
/// (2026-11-21, `builtin/receive-pack.c`; JGit's `BaseReceivePack` has the same for what it shares with it).
const OF_ONE_REF: [&str; 9] = [
    "hook declined",
    "missing necessary objects",
    "missing object(s)",
    "failed to update ref",
    "failed to delete",
    "reference already exists",
    "incorrect old value provided",
    "deletion prohibited",
    "deny updating a hidden ref",
];

/// The words with which a push was refused as a whole: the same for every tag that was not refused for a reason of its own. A
/// pre-receive hook declines all that are left by then, and so do the rules of hosts (GitHub: "push declined due to repository
/// rule violations").
fn refused_as_one<'a>(commands: &[Command], report: &'a Report) -> Option<&'a [u8]> {
    let mut shared: Option<&[u8]> = None;
    for command in commands {
        let Some(Fate::Refused(words)) = report.fate(&command.name) else { return None };
        if OF_ONE_REF.iter().any(|known| words == known.as_bytes()) {
            continue;
        }
        if shared.is_some_and(|before| before != words.as_slice()) {
            return None;
        }
        shared = Some(words);
    }
    shared
}

/// What can be pushed at all, in parts: a server that takes no deletions would refuse what goes with them, too.
fn sendable(commands: &[Command], capabilities: &PushCapabilities) -> Vec<Range<usize>> {
    let mut parts: Vec<Range<usize>> = Vec::new();
    for (at, _) in commands.iter().enumerate().filter(|(_, command)| capabilities.deletes || brings(command)) {
        match parts.last_mut() {
            Some(part) if part.end == at => part.end = at + 1,
            Some(_) | None => parts.push(at..at + 1),
        }
    }
    parts
}

/// The second half, and the first on top of it.
fn halves(part: Range<usize>) -> [Range<usize>; 2] {
    let middle = part.start + part.len() / 2;
    [middle..part.end, part.start..middle]
}

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

fn not_found_out(fault: &Fault, refusals: usize) -> Fault {
    let message = format!(
        "pushed together with others and refused as a whole, and after {refusals} such refusals not pushed alone any more: {fault}"
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
