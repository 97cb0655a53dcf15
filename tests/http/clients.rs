//! Clients of the server, and the calls that most tests make.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tagsyncd::config::SecretSource;
use tagsyncd::http::{Authorization, Client, Fault, HttpSettings, Pool, Transport};
use tagsyncd::provider::gitlab::Keys;
use tagsyncd::provider::{Connection, Provider, RemoteKeys as _};
use tagsyncd::tag::{TagName, Target};

use crate::server::Server;

pub(crate) const COMMIT: &str = "2695effb5807a22ff3d138d593fd856244e155e7";
pub(crate) const CANARY: &str = "glpat-CANARY-0123456789";

pub(crate) fn transport(settings: HttpSettings) -> Transport {
    Transport::new(&Arc::new(Pool::new()), settings)
}

/// Short enough to wait for, long enough for a busy machine.
pub(crate) fn quick() -> HttpSettings {
    HttpSettings { timeout: Duration::from_secs(1), ..HttpSettings::default() }
}

pub(crate) async fn client_with(server: &Server, transport: &Transport) -> Client {
    let authorization = Authorization::bearer(&CANARY.to_owned().into()).unwrap();
    Client::new(transport, server.url.clone(), Some(authorization)).await.unwrap()
}

pub(crate) async fn client(server: &Server) -> Client {
    client_with(server, &transport(HttpSettings::default())).await
}

pub(crate) async fn read(client: &Client) -> Result<String, Fault> {
    let reply = client.get("read it", &["it"]).send().await?;
    if reply.status() == 200 { reply.json("a text") } else { Err(reply.refusal(None)) }
}

pub(crate) async fn write(client: &Client) -> Result<String, Fault> {
    let reply = client.post("write it", &["it"]).json(&[1])?.send().await?;
    if reply.status() == 200 { reply.json("a text") } else { Err(reply.refusal(None)) }
}

/// The last time in a text.
pub(crate) fn time_in(text: &str) -> Timestamp {
    let mut times = text.split([' ', ',', '(', ')']).filter_map(|word| word.parse().ok());
    times.next_back().unwrap()
}

pub(crate) fn seconds_until(time: Timestamp) -> i64 {
    time.duration_since(Timestamp::now()).as_secs()
}

pub(crate) async fn gitlab_with(server: &Server, transport: &Transport) -> Arc<dyn Provider> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, CANARY).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    #[derive(serde::Deserialize)]
    struct Written {
        token: SecretSource,
    }
    let written: Written = toml::from_str(&format!("token = {{ file = {:?} }}", file.to_str().unwrap())).unwrap();
    let keys = Keys::new(server.url.join("forge").unwrap(), "infra/core", Some(written.token)).unwrap();
    let connection = Connection { transport: transport.clone(), compare_annotations: true, objects: None };
    keys.connect(connection).await.unwrap()
}

pub(crate) async fn gitlab(server: &Server) -> Arc<dyn Provider> {
    gitlab_with(server, &transport(HttpSettings::default())).await
}

pub(crate) fn name(name: &str) -> TagName {
    TagName::new(name).unwrap()
}

pub(crate) fn target() -> Target {
    Target::Commit(COMMIT.parse().unwrap())
}
