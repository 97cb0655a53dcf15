//! Whether a repository keeps its refs and objects in a way that is read correctly here.

use std::path::Path;

use super::SourceFault;

/// The extensions that change nothing about how tags are read, or that the library below does handle.
///
/// It opens a repository with any other without a word: one with reftable storage shows no tags at all then, as if they
/// had all been deleted (2026-11-21, <https://github.com/GitoxideLabs/gitoxide/issues/3011>). So an extension has to be
/// known to be harmless before a repository counts as read. Meaning of each:
/// <https://git-scm.com/docs/git-config#Documentation/git-config.txt-extensions>.
const HARMLESS: [&str; 7] =
    ["noop", "noop-v1", "objectFormat", "partialClone", "preciousObjects", "relativeWorktrees", "worktreeConfig"];

/// Refuses a repository with an extension that is not known to be harmless.
pub(super) fn check(path: &Path, config: &gix::config::File) -> Result<(), SourceFault> {
    for section in config.sections_by_name("extensions").into_iter().flatten() {
        let subsection = section.header().subsection_name().map(ToString::to_string);
        for name in section.value_names() {
            let name = match &subsection {
                Some(subsection) => format!("{subsection}.{name}"),
                None => name.to_string(),
            };
            if name.eq_ignore_ascii_case("refStorage") {
                check_storage(path, &section.values(&name).iter().map(ToString::to_string).collect::<Vec<_>>())?;
            } else if !HARMLESS.iter().any(|harmless| harmless.eq_ignore_ascii_case(&name)) {
                return Err(SourceFault::new(
                    path,
                    format!("the extension `extensions.{name}` in its configuration is not supported"),
                    "its tags might be read wrongly; use a repository without this extension, for example a \
                     `git clone --mirror` of it",
                ));
            }
        }
    }
    Ok(())
}

fn check_storage(path: &Path, formats: &[String]) -> Result<(), SourceFault> {
    // A key without `=` has no value at all.
    if !formats.is_empty() && formats.iter().all(|format| format == "files") {
        return Ok(());
    }
    Err(SourceFault::new(
        path,
        format!("its refs are stored as `{}` (`extensions.refStorage`); only `files` can be read", formats.join(", ")),
        "convert it with `git refs migrate --ref-format=files`, or use a `git clone --mirror --ref-format=files` of it",
    ))
}
