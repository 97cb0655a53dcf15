//! What a remote can be read for, and what may go from one remote to another: said when the file is read, not tag by tag.

use super::remote::RemoteSettings;
use crate::provider::{self, Annotations};
use crate::tag::{NameMapping, ResolveRule, TargetKind};

/// Why something does not go together, and what to do.
pub(super) type Refusal = (String, &'static str);

/// Whether tags of these kinds point at the same things: a commit is a git object.
pub(super) fn is_git(kind: TargetKind) -> bool {
    matches!(kind, TargetKind::Commit | TargetKind::Object)
}

/// What keeps a remote from being the side that tags come from.
pub(super) fn check_source(source: &RemoteSettings) -> Result<(), Refusal> {
    if source.provider.name == provider::repository::DESCRIPTOR.name {
        return Err((
            format!("`{}` is a repository on this host as a side that is written to", source.name),
            "write a `[repository.NAME]` with its `path`, and name that in `from`",
        ));
    }
    if source.mapping == NameMapping::default() {
        return Ok(());
    }
    Err((
        format!("`{}` has a mapping of names, and names are taken from a source as they are there", source.name),
        "give the source a `[remote.NAME]` of its own without `strip_prefix`, `replace` and `add_prefix`; those of the destination map its names",
    ))
}

/// What keeps a remote's tags from becoming tags of another one.
pub(super) fn check_pair(from: &RemoteSettings, to: &RemoteSettings) -> Result<(), Refusal> {
    let (here, there) = (from.capabilities(), to.capabilities());
    if !is_git(here.target) {
        if here.target != there.target {
            let (from, to) = (&from.name, &to.name);
            let message = format!(
                "tags of `{from}` point at {}, those of `{to}` at {}, and nothing leads from the one to the other",
                many(here.target),
                many(there.target)
            );
            return Err((message, "mirror between remotes of one kind; git tags can lead to others by `target`"));
        }
        if to.rule != ResolveRule::Itself {
            let message = format!(
                "`{}` has a `target`, which starts from a git tag, and tags of `{}` point at {}",
                to.name,
                from.name,
                many(here.target)
            );
            return Err((message, "give this job a `[remote.NAME]` of its own without `target`"));
        }
        return Ok(());
    }
    let unread = match &to.rule {
        ResolveRule::Trailer(_) => Some("the messages that `target` of `{to}` reads trailers from"),
        ResolveRule::Note(_) => Some("the notes that `target` of `{to}` reads"),
        ResolveRule::Itself | ResolveRule::Tag(_) => None,
    };
    if let Some(unread) = unread {
        let message = format!("a listing of `{}` does not bring {}", from.name, unread.replace("{to}", &to.name));
        return Err((message, "use `target = { tag = \"…\" }`, or read the tags from a repository on this host"));
    }
    if to.compare_annotations && here.annotations == Annotations::Whole {
        let message = format!(
            "`{}` compares messages, and over the git protocol a listing of `{}` does not bring them",
            to.name, from.name
        );
        return Err((message, "take `annotations` out, or read the source by its API; creates carry messages anyway"));
    }
    Ok(())
}

fn many(kind: TargetKind) -> String {
    format!("{kind}s")
}
