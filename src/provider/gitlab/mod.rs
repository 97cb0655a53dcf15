//! GitLab: a stand-in that reads the keys, until the provider itself takes this place.

use super::*;
use crate::config::{SecretSource, Spanned};
use serde::Deserialize;

/// The stand-in's descriptor.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "gitlab",
    title: "GitLab",
    capabilities: Capabilities {
        target: crate::tag::TargetKind::Commit,
        moves: Moves::Recreate,
        deletes: Deletes::Yes,
        annotations: Annotations::Message,
        lease: Lease::LookBefore,
        create_refuses_existing: true,
        names: NameRules { summary: "", refuses: |_| None, are_refs: true },
    },
    read,
};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    url: Option<Spanned<String>>,
    project: Option<Spanned<String>>,
    token: Option<SecretSource>,
}

#[derive(Debug)]
struct GitLab {
    url: url::Url,
    project: String,
    token: SecretSource,
}

fn read(table: Table, problems: &mut Problems) -> Option<Arc<dyn RemoteKeys>> {
    let (span, allow_http) = (table.span(), table.allow_http());
    let keys: Keys = table.read(problems);
    let url = problems.base_url(keys.url.as_ref(), "https://gitlab.com", allow_http);
    let project = problems.required(span.clone(), "project", keys.project, Some("`group/project` or its number"));
    let token = problems.required(span, "token", keys.token, Some("`{ file = … }` or `{ credential = … }`"));
    Some(Arc::new(GitLab { url: url?, project: project?.into_inner(), token: token? }))
}

#[async_trait]
impl RemoteKeys for GitLab {
    fn describe(&self) -> String {
        format!("{} {}", self.url.as_str().trim_end_matches('/'), self.project)
    }

    fn allows_loss(&self, _: &TagName) -> bool {
        false
    }

    async fn connect(&self, _: Connection) -> Result<Arc<dyn Provider>, Fault> {
        Err(Fault::new(FaultKind::Unsupported, format!("not there yet: {}", self.token)))
    }
}
