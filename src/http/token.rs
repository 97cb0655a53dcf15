//! Tokens that end: obtained once for all who wait, kept for their life, renewed before its end.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::auth::Fingerprint;
use super::credentials::{Ask, Credentials};
use super::latest::Latest;
use super::{Authorization, Client, Fault, Reply};

/// The longest time for which a token is kept, whatever is said of it.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest time before its end from which on a token is renewed. A short one's tenth is less.
const MARGIN: Duration = Duration::from_secs(60);

/// What a token request brings.
#[derive(Clone, Debug)]
pub struct Token {
    authorization: Authorization,
    life: Duration,
    spent: Duration,
}

impl Token {
    /// `life` is the whole of it, from when it was issued, which is taken to be now.
    pub fn new(authorization: Authorization, life: Duration) -> Self {
        Self { authorization, life, spent: Duration::ZERO }
    }

    /// How much of its life is over already, where a server gives the same token more than once.
    #[must_use]
    pub fn spent(self, spent: Duration) -> Self {
        Self { spent, ..self }
    }

    /// As it goes with requests. `asked` is when it was asked for, so that it never seems to live longer than it does.
    fn from(self, asked: Instant) -> Authorization {
        let life = self.life.min(LONGEST);
        let left = life.saturating_sub(self.spent).saturating_sub(MARGIN.min(life / 10));
        self.authorization.until(asked + left)
    }
}

/// One token at a time. Whoever needs one while it is being obtained waits for that one.
#[derive(Debug, Default)]
pub(super) struct Kept {
    state: Mutex<State>,
    /// Held by whoever obtains.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    current: Option<Authorization>,
    /// Counts what was obtained or not.
    rounds: u64,
    /// Why the last round brought nothing.
    fault: Option<Fault>,
}

impl Kept {
    /// The token, if it is fresh and not the one that was `refused`; else what `obtain` brings. `obtain` runs for one of
    /// those who wait, and its outcome is everybody's, so that a refused password is sent once and not once for each.
    pub(super) async fn get(
        &self,
        refused: Option<&Authorization>,
        obtain: impl Future<Output = Result<Token, Fault>> + Send,
    ) -> Result<Authorization, Fault> {
        let fits = |current: &Authorization| refused.is_none_or(|refused| !current.is(refused));
        let before = {
            let state = self.state();
            match &state.current {
                Some(current) if fits(current) && !current.is_stale() => return Ok(current.clone()),
                Some(_) | None => state.rounds,
            }
        };
        let _turn = self.turn.lock().await;
        {
            let state = self.state();
            let shared = state.rounds > before;
            match (&state.fault, &state.current) {
                (Some(fault), _) if shared => return Err(fault.clone()),
                (_, Some(current)) if fits(current) && (shared || !current.is_stale()) => return Ok(current.clone()),
                _ => {}
            }
        }
        let asked = Instant::now();
        let outcome = obtain.await.map(|token| token.from(asked));
        let mut state = self.state();
        state.rounds += 1;
        state.current = outcome.as_ref().ok().cloned();
        state.fault = outcome.as_ref().err().cloned();
        outcome
    }

    /// Whether this is the token that is kept.
    pub(super) fn holds(&self, authorization: &Authorization) -> bool {
        self.state().current.as_ref().is_some_and(|current| current.is(authorization))
    }

    /// Drops the token, so that the next request obtains one.
    pub(super) fn forget(&self) {
        self.state().current = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Exchange = dyn Fn(Client) -> BoxFuture<'static, Result<Token, Fault>> + Send + Sync;

/// A token that another API gives for a password, as IAM services do.
pub struct ExchangedToken {
    client: Client,
    exchange: Box<Exchange>,
    kept: Arc<Kept>,
}

impl ExchangedToken {
    /// `exchange` asks for a token through `client`, whose credential is [`Authorization::unsent`] with the secrets of
    /// the request's body, so that they tell this credential from others and stand in no error.
    pub fn new<F>(client: Client, exchange: impl Fn(Client) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Token, Fault>> + Send + 'static,
    {
        let exchange: Box<Exchange> = Box::new(move |client| Box::pin(exchange(client)));
        Self { client, exchange, kept: Arc::default() }
    }

    /// Keeps the token beyond this client, for all clients with the same secrets and this name, until the configuration
    /// changes. The name says what the token is for, besides the secrets: whose it is, and its scope.
    #[must_use]
    pub fn shared(self, name: &str) -> Self {
        let shared: Arc<Latest<Kept>> = self.client.transport().remembered(&format!("{} {name}", self.client.base()));
        Self { kept: shared.of(self.client.credential().fingerprint()), ..self }
    }

    async fn token(&self, refused: Option<&Authorization>) -> Result<Authorization, Fault> {
        let hidden = self.client.credential().fixed();
        let exchange = (self.exchange)(self.client.clone());
        let obtain = async {
            let token = exchange.await?;
            Ok(Token { authorization: token.authorization.hiding_as(&hidden), ..token })
        };
        self.kept.get(refused, obtain).await
    }
}

impl fmt::Debug for ExchangedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExchangedToken").field("client", &self.client).finish_non_exhaustive()
    }
}

#[async_trait]
impl Credentials for ExchangedToken {
    fn fingerprint(&self) -> Option<Fingerprint> {
        self.client.credential().fingerprint()
    }

    async fn authorize(&self, _: &Ask<'_>) -> Result<Authorization, Fault> {
        self.token(None).await
    }

    fn is_behind(&self, _: &Authorization) -> bool {
        true
    }

    async fn renew(&self, _: &Ask<'_>, used: &Authorization, _: &Reply) -> Result<Option<Authorization>, Fault> {
        let renewed = self.token(Some(used)).await?;
        Ok((!renewed.says_the_same(used)).then_some(renewed))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures_util::future::join_all;

    use super::*;
    use crate::http::FaultKind;

    /// Obtains tokens of one life, each after a second, and counts them.
    struct Source {
        kept: Kept,
        obtained: AtomicU64,
        life: Duration,
    }

    impl Source {
        fn new(life: u64) -> Self {
            Self { kept: Kept::default(), obtained: AtomicU64::new(0), life: Duration::from_secs(life) }
        }

        async fn get(&self, refused: Option<&Authorization>) -> Authorization {
            let obtain = async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let at = self.obtained.fetch_add(1, Ordering::Relaxed);
                Ok(Token::new(Authorization::bearer(&format!("t{at}").into()).unwrap(), self.life))
            };
            self.kept.get(refused, obtain).await.unwrap()
        }

        fn obtained(&self) -> u64 {
            self.obtained.load(Ordering::Relaxed)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_renewed_before_its_end() {
        for (life, fresh) in [(60, 54), (300, 270), (600, 540), (3600, 3540), (86_400, 86_340), (u64::MAX, 86_340)] {
            let source = Source::new(life);
            source.get(None).await;
            // A second of its life is over when it arrives.
            tokio::time::sleep(Duration::from_secs(fresh - 1) - Duration::from_millis(1)).await;
            assert!(!source.get(None).await.is_stale());
            assert_eq!(source.obtained(), 1, "{life}");
            tokio::time::sleep(Duration::from_millis(1)).await;
            source.get(None).await;
            assert_eq!(source.obtained(), 2, "{life}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_gets_what_comes() {
        // Even when it is over on arrival: it is the newest that there is.
        for life in [300, 0] {
            let source = Source::new(life);
            let tokens = join_all((0..50).map(|_| source.get(None))).await;
            assert!(source.obtained() == 1 && tokens.iter().all(|token| token.is(&tokens[0])));
            let renewed = join_all((0..50).map(|_| source.get(Some(&tokens[0])))).await;
            assert!(source.obtained() == 2 && renewed.iter().all(|token| token.is(&renewed[0])));
        }
        // A refusal that comes late is of a token that is no longer there.
        let source = Source::new(300);
        let first = source.get(None).await;
        let second = source.get(Some(&first)).await;
        assert!(source.get(Some(&first)).await.is(&second) && source.obtained() == 2);
        assert!(source.kept.holds(&second) && !source.kept.holds(&first));
        source.kept.forget();
        assert!(!source.get(None).await.is(&second));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_shared_by_those_who_waited_for_it() {
        let (kept, tries) = (Kept::default(), AtomicU64::new(0));
        let get = || {
            kept.get(None, async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                tries.fetch_add(1, Ordering::Relaxed);
                Err(Fault::new(FaultKind::Unauthorized, "no"))
            })
        };
        for round in [1, 2] {
            assert!(join_all((0..50).map(|_| get())).await.iter().all(Result::is_err));
            assert_eq!(tries.load(Ordering::Relaxed), round);
        }
        // Whoever gives up while obtaining leaves it to the next.
        let waiting = async {
            assert!(tokio::time::timeout(Duration::from_millis(500), get()).await.is_err());
        };
        let (_, outcome) = tokio::join!(waiting, get());
        assert!(outcome.is_err() && tries.load(Ordering::Relaxed) == 3);
    }
}
