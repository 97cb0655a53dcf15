//! How a message leaves: to a program, to a URL. And the heartbeat, which has none.

use std::io;
use std::pin::pin;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::Pace;
use crate::config::{Address, NotifySettings};
use crate::http::{Authorization, Client, HttpSettings, Pool, Transport};
use crate::text::{Printable, excerpt};

/// How long a program is still read from after its end: what it leaves in the background may hold its output for ever.
const LINGER: Duration = Duration::from_secs(1);

/// How much of what a program prints is logged, in bytes.
const OUTPUT: u64 = 4096;

/// How long a request may take.
const REQUEST: Duration = Duration::from_secs(15);

/// How much of an answer is read; nobody looks at it.
const ANSWER: usize = 64 * 1024;

/// How often something is sent before it is given up.
const TRIES: u32 = 5;

/// What it takes to send.
pub(super) struct Channels {
    settings: NotifySettings,
    /// Of its own: nothing that happens here closes a gate for a pass.
    pool: Arc<Pool>,
    pace: Pace,
    stop: CancellationToken,
}

impl Channels {
    pub(super) fn new(settings: &NotifySettings, pace: Pace, stop: CancellationToken) -> Self {
        Self { settings: settings.clone(), pool: Arc::new(Pool::new()), pace, stop }
    }

    /// Tells everybody, each in several tries. Gives whether somebody was told.
    pub(super) async fn tell(&self, message: &[u8]) -> bool {
        let command = async {
            let Some(command) = &self.settings.command else { return None };
            Some(self.persist("command", || run(command, message, self.pace.patience)).await)
        };
        let url = async {
            let Some(url) = &self.settings.url else { return None };
            Some(self.persist("url", || self.post(url, message)).await)
        };
        let (command, url) = tokio::join!(command, url);
        [command, url].contains(&Some(true))
    }

    /// Calls the heartbeat, in several tries. Gives whether that was heard; also where there is none.
    pub(super) async fn beat(&self) -> bool {
        match &self.settings.heartbeat {
            Some(address) => self.persist("heartbeat", || self.get(address)).await,
            None => true,
        }
    }

    async fn persist<F>(&self, key: &str, attempt: impl Fn() -> F) -> bool
    where
        F: Future<Output = Result<(), String>>,
    {
        let mut pause = self.pace.pause;
        for tried in 1..=TRIES {
            let Err(error) = attempt().await else { return true };
            if tried == TRIES || self.stop.is_cancelled() {
                tracing::error!(key, error, "A notification could not be delivered and is given up for now.");
                return false;
            }
            tracing::warn!(key, error, "A notification could not be delivered and is tried again.");
            // Stopping leaves time for one more try.
            self.stop.run_until_cancelled(tokio::time::sleep(pause)).await;
            pause *= 2;
        }
        false
    }

    async fn post(&self, address: &Address, message: &[u8]) -> Result<(), String> {
        let token = match &self.settings.token {
            Some(source) => Some(source.read().await.map_err(|fault| fault.message)?),
            None => None,
        };
        let (client, url) = self.connect(address, token.map(|token| Authorization::bearer(&token))).await?;
        let request = client.post_at("deliver a message", url).raw("application/json", message.to_vec());
        let reply = request.limit(ANSWER).send().await.map_err(|fault| fault.message)?;
        if reply.is_success() { Ok(()) } else { Err(reply.refusal(None).message) }
    }

    async fn get(&self, address: &Address) -> Result<(), String> {
        let (client, url) = self.connect(address, None).await?;
        let request = client.get_at("call the heartbeat", url).accept("*/*");
        let reply = request.limit(ANSWER).send().await.map_err(|fault| fault.message)?;
        if reply.is_success() { Ok(()) } else { Err(reply.refusal(None).message) }
    }

    async fn connect(
        &self,
        address: &Address,
        authorization: Option<Result<Authorization, crate::http::Fault>>,
    ) -> Result<(Client, url::Url), String> {
        let (url, secret) = address.read().await.map_err(|fault| fault.message)?;
        let settings = HttpSettings { timeout: REQUEST, ca_file: self.settings.ca_file.clone(), ..Default::default() };
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        // The path of a chat's address is what lets one in.
        let path_alone = if url.path().len() > 1 { url.path() } else { "" };
        let hidden = [&secret, &path.into(), &path_alone.to_owned().into()];
        let authorization = authorization.transpose().map_err(|fault| fault.message)?.unwrap_or_default();
        let transport = Transport::new(&self.pool, settings);
        let client = Client::new(&transport, url.clone(), authorization.hiding(&hidden)).await;
        Ok((client.map_err(|fault| fault.message)?, url))
    }
}

/// A program, with all that it started and that stays in its process group. Ends with this, unless it was let go.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)))
    }

    fn let_go(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // Nobody is left to be ended where this fails.
            let _gone = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// Starts the program with the message on its standard input, and logs what it says. What it says by its exit counts, also
/// when it leaves something running.
async fn run(words: &[String], message: &[u8], patience: Duration) -> Result<(), String> {
    let (program, arguments) = words.split_first().ok_or("the command is empty")?;
    let shown = Printable::new(program);
    let failed = |fault: io::Error| format!("{shown} could not be run: {fault}");
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        // It is waited for where nobody else does.
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let (input, output, complaints) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let group = Group::of(&child);
    let (mut said, mut complained) = (Vec::new(), Vec::new());
    let status;
    let feed = async {
        if let Some(mut input) = input {
            // A program that does not want to know more closes its end, which is no fault.
            let _closed = input.write_all(message).await;
        }
    };
    {
        let mut talk = pin!(async { tokio::join!(feed, read(output, &mut said), read(complaints, &mut complained)) });
        let exit = async {
            tokio::select! {
                _ = &mut talk => (child.wait().await, true),
                status = child.wait() => (status, false),
            }
        };
        let (exit, silent) = tokio::time::timeout(patience, exit)
            .await
            .map_err(|_| format!("{shown} did not finish within {} seconds", patience.as_secs()))?;
        group.let_go();
        status = exit.map_err(failed)?;
        if !silent {
            let _cut = tokio::time::timeout(LINGER, talk).await;
        }
    }
    said.append(&mut complained);
    let said = excerpt(&said, OUTPUT as usize);
    if !said.is_empty() {
        tracing::info!(command = %shown, output = said, "The program for notifications printed something.");
    }
    if status.success() { Ok(()) } else { Err(format!("{shown} failed ({status})")) }
}

/// The first part of what a program prints; then its pipe is closed.
async fn read(from: Option<impl AsyncRead + Unpin>, bytes: &mut Vec<u8>) {
    if let Some(from) = from {
        // What could be read before an error is as good as all of it: it goes to the log.
        let _cut = from.take(OUTPUT).read_to_end(bytes).await;
    }
}
