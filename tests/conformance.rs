//! Every provider passes the same suite.

mod support;

use std::sync::Arc;

use support::codearts::{ErrorForm, Quirks};
use support::codearts_subject::CodeArtsSubject;
use support::conformance::{Subject, run};
use support::git_http::{self, Manners};
use support::git_subject::{self, GitSubject};
use support::gitea_subject::GiteaSubject;
use support::github_subject::GithubSubject;
use support::gitlab_subject::{Address, GitlabSubject};
use support::memory::capabilities;
use support::memory_subject::MemorySubject;
use support::program::private_file;
use support::registry::Wants;
use support::registry_subject::{self, RegistrySubject};
use support::repository_subject::{self, RepositorySubject};
use support::vercel_subject::{self, VercelSubject};
use support::vers_subject::VersSubject;
use tagsyncd::config::SecretSource;
use tagsyncd::http::{HttpSettings, Pool, Transport};
use tagsyncd::provider::{
    Capabilities, Connection, Deletes, Lease, Moves, Provider, RemoteKeys as _, codearts, git, gitlab, oci, repository,
    vercel,
};
use tagsyncd::tag::TargetKind;

const NEVER: &str = "nothing is deleted here";

/// Runs the suite and fails with its whole report.
async fn conforms(subject: impl Subject) {
    let report = run(&subject).await;
    assert!(report.failed.is_empty(), "{report}");
    // A suite that skips everything proves nothing.
    assert!(report.held.len() > report.skipped.len(), "{report}");
}

#[tokio::test]
async fn memory_that_moves_in_place() {
    conforms(MemorySubject::new(|| capabilities(Moves::InPlace, Deletes::Yes, Lease::Server))).await;
}

#[tokio::test]
async fn memory_that_moves_by_recreation() {
    conforms(MemorySubject::new(|| capabilities(Moves::Recreate, Deletes::Yes, Lease::LookBefore))).await;
}

#[tokio::test]
async fn memory_that_never_deletes() {
    conforms(MemorySubject::new(|| capabilities(Moves::Never(NEVER), Deletes::Never(NEVER), Lease::LookBefore))).await;
}

#[tokio::test]
async fn memory_of_targets_that_are_no_git_objects() {
    for kind in [
        || Capabilities {
            target: TargetKind::Snapshot,
            ..capabilities(Moves::InPlace, Deletes::Yes, Lease::LookBefore)
        },
        || Capabilities {
            target: TargetKind::Digest,
            ..capabilities(Moves::InPlace, Deletes::Never(NEVER), Lease::LookBefore)
        },
    ] {
        conforms(MemorySubject::new(kind)).await;
    }
}

async fn connect_gitlab(address: Address) -> Arc<dyn Provider> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let token = folder.path().join("token");
    private_file(&token, &address.token);
    let url = address.url.parse().expect("the fake has a URL");
    let keys = gitlab::Keys::new(url, &address.project, Some(SecretSource::File(token)))
        .expect("the fake's project has a name");
    let settings = HttpSettings { timeout: std::time::Duration::from_secs(5), ..HttpSettings::default() };
    let connection = Connection {
        transport: Transport::new(&Arc::new(Pool::new()), settings),
        compare_annotations: address.compare_annotations,
        objects: None,
    };
    keys.connect(connection).await.expect("the token file was just written")
}

#[tokio::test]
async fn gitlab_at_the_root_and_below_a_path() {
    for root in ["", "/gitlab"] {
        conforms(GitlabSubject {
            capabilities: &gitlab::DESCRIPTOR.capabilities,
            root,
            connect: |address| Box::pin(connect_gitlab(address)),
        })
        .await;
    }
}

#[tokio::test]
async fn github_at_the_root_and_below_a_path() {
    for root in ["", "/api/v3"] {
        conforms(GithubSubject { root }).await;
    }
}

#[tokio::test]
async fn gitea_at_the_root_and_below_a_path() {
    for root in ["", "/gitea"] {
        conforms(GiteaSubject { root }).await;
    }
}

/// Connects with a proof whose secret is this text.
async fn connect_codearts(
    url: String,
    compare_annotations: bool,
    secret: &str,
    proof: impl FnOnce(SecretSource) -> codearts::Proof,
) -> Arc<dyn Provider> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("secret");
    private_file(&file, secret);
    let url = url.parse().expect("the fake has a URL");
    let keys = codearts::Keys::new(url, 7, proof(SecretSource::File(file))).expect("seven is a number");
    let settings = HttpSettings { timeout: std::time::Duration::from_secs(5), ..HttpSettings::default() };
    let transport = Transport::new(&Arc::new(Pool::new()), settings);
    keys.connect(Connection { transport, compare_annotations, objects: None }).await.expect("the file was just written")
}

fn codearts_with_token(root: &'static str, quirks: Quirks) -> CodeArtsSubject {
    CodeArtsSubject {
        capabilities: &codearts::DESCRIPTOR.capabilities,
        root,
        quirks,
        connect: |url, compare| Box::pin(connect_codearts(url, compare, "secret", codearts::Proof::Token)),
    }
}

#[tokio::test]
async fn codearts_at_the_root_and_below_a_path() {
    for root in ["", "/huawei"] {
        conforms(codearts_with_token(root, Quirks::default())).await;
    }
}

#[tokio::test]
async fn codearts_with_nested_and_terse_errors() {
    let quirks = Quirks { error_form: ErrorForm::Nested, terse: true, ..Quirks::default() };
    conforms(codearts_with_token("", quirks)).await;
}

#[tokio::test]
async fn codearts_that_fails_under_the_status_of_a_success() {
    conforms(codearts_with_token("", Quirks { error_form: ErrorForm::FailedUnder200, ..Quirks::default() })).await;
}

#[tokio::test]
async fn codearts_that_lists_commits() {
    conforms(codearts_with_token("", Quirks { lists_commits: true, ..Quirks::default() })).await;
}

#[tokio::test]
async fn codearts_with_an_access_key() {
    conforms(CodeArtsSubject {
        connect: |url, compare| {
            Box::pin(connect_codearts(url, compare, "SK", |secret_key| codearts::Proof::Signature {
                access_key: "AK".to_owned(),
                secret_key,
            }))
        },
        ..codearts_with_token("", Quirks::default())
    })
    .await;
}

/// How a provider is reached from a test, and a file with the secret of all fakes.
fn reach() -> (Connection, tempfile::TempDir, SecretSource) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("secret");
    private_file(&file, "secret");
    let settings = HttpSettings { timeout: std::time::Duration::from_secs(5), ..HttpSettings::default() };
    let connection = Connection {
        transport: Transport::new(&Arc::new(Pool::new()), settings),
        compare_annotations: false,
        objects: None,
    };
    (connection, folder, SecretSource::File(file))
}

async fn connect_registry(address: registry_subject::Address) -> Arc<dyn Provider> {
    let (connection, _folder, secret) = reach();
    let url = address.url.parse().expect("the fake has a URL");
    let keys = oci::Keys::new(url, &address.image).expect("the fake's image has a name").with_login("robot", secret);
    let keys = if address.deletes { keys.deleting() } else { keys };
    keys.connect(connection).await.expect("the password file was just written")
}

#[tokio::test]
async fn registries_with_tokens_and_with_logins_at_the_root_and_below_a_path() {
    for (root, wants, deletes) in
        [("", Wants::Token(None), true), ("/registry", Wants::Basic, true), ("", Wants::Token(None), false)]
    {
        conforms(RegistrySubject {
            capabilities: if deletes { &oci::DELETING } else { &oci::DESCRIPTOR.capabilities },
            root,
            wants,
            deletes,
            connect: |address| Box::pin(connect_registry(address)),
        })
        .await;
    }
}

async fn connect_vercel(address: vercel_subject::Address) -> Arc<dyn Provider> {
    use support::vercel::{IMAGE, PROJECT, REPOSITORY, TEAM};
    let (connection, _folder, token) = reach();
    let [url, registry] = [address.url, address.registry].map(|url| url.parse().expect("the fake has a URL"));
    let keys = vercel::Keys::new(url, registry, PROJECT, TEAM, REPOSITORY, IMAGE, token);
    keys.connect(connection).await.expect("the token file was just written")
}

#[tokio::test]
async fn vercel_with_its_registry() {
    conforms(VercelSubject {
        capabilities: &vercel::DESCRIPTOR.capabilities,
        connect: |address| Box::pin(connect_vercel(address)),
    })
    .await;
}

#[tokio::test]
async fn codearts_with_a_password() {
    conforms(CodeArtsSubject {
        connect: |url, compare| {
            let iam = url.parse().expect("the fake has a URL");
            Box::pin(connect_codearts(url, compare, "open sesame", |password| {
                codearts::Proof::Iam(codearts::Iam {
                    url: iam,
                    domain: "acme".to_owned(),
                    user: "robot".to_owned(),
                    password,
                    project: "cn-north-4".to_owned(),
                })
            }))
        },
        ..codearts_with_token("", Quirks::default())
    })
    .await;
}

async fn connect_git(address: git_subject::Address) -> Arc<dyn Provider> {
    let (connection, _folder, password) = reach();
    let url = address.url.parse().expect("the server has a URL");
    let keys = git::Keys::new(url).with_login(git_http::USER, password);
    let connection = Connection { objects: address.objects, ..connection };
    keys.connect(connection).await.expect("the password file was just written")
}

fn git_subject(options: &[&str], manners: Manners) -> GitSubject {
    let connect: git_subject::Connect = |address| Box::pin(connect_git(address));
    GitSubject::new(&git::DESCRIPTOR.capabilities, options, manners, connect)
}

#[tokio::test]
async fn git_at_the_root_and_below_a_path() {
    for path in ["/core.git", "/a/path/core"] {
        conforms(git_subject(&[], Manners { path: path.to_owned(), ..Manners::default() })).await;
    }
}

#[tokio::test]
async fn git_with_packed_bodies() {
    conforms(git_subject(&[], Manners { packs: true, ..Manners::default() })).await;
}

#[tokio::test]
async fn git_with_ids_by_sha_256() {
    conforms(git_subject(&["--object-format=sha256"], Manners::default())).await;
}

async fn connect_repository(address: repository_subject::Address) -> Arc<dyn Provider> {
    let (connection, _folder, _password) = reach();
    let connection = Connection { objects: address.objects, ..connection };
    repository::Keys::new(address.path).connect(connection).await.expect("nothing can go wrong so far")
}

#[tokio::test]
async fn repositories_on_this_host() {
    for options in [&[][..], &["--object-format=sha256"]] {
        let connect: repository_subject::Connect = |address| Box::pin(connect_repository(address));
        conforms(RepositorySubject::new(&repository::DESCRIPTOR.capabilities, options, connect)).await;
    }
}

#[tokio::test]
async fn vers_at_the_root_and_below_a_path() {
    for root in ["", "/vers"] {
        conforms(VersSubject { root }).await;
    }
}

#[tokio::test]
async fn the_suite_finds_a_provider_that_boasts() {
    let modest = || capabilities(Moves::Recreate, Deletes::Never(NEVER), Lease::LookBefore);
    let claimed = capabilities(Moves::InPlace, Deletes::Yes, Lease::LookBefore);
    let report = run(&MemorySubject::boasting(modest, claimed)).await;
    let failed: Vec<_> = report.failed.iter().map(|(behaviour, _)| *behaviour).collect();
    for behaviour in ["a tag is deleted, and no other", "a tag moves in place, or not at all"] {
        assert!(failed.contains(&behaviour), "{report}");
    }
}
