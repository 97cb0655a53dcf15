//! What a long pass is doing, on the last lines of a terminal. Elsewhere not one byte of it.

use std::io::{self, Write};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use tokio::time::{Instant, interval_at};

use crate::sync::{Progress, Step, UnderWay};
use crate::text::Printable;

/// Pairs that have a line of their own at once.
const MOST_LINES: usize = 8;
/// How often the lines are drawn; a pass that is shorter shows none.
const INTERVAL: Duration = Duration::from_millis(100);

const TOTAL: &str = "{spinner} {wide_msg}";
const LOOKING: &str = "  {wide_msg}";
const APPLYING: &str = "  {wide_msg} [{bar:20}] {pos}/{len} {rate}";

/// Standard error, where it is a terminal whose lines can be drawn anew; `None` elsewhere.
///
/// Whoever draws or writes holds the lock. The library has a way to step aside, too, but that one panics once the terminal is
/// gone.
#[derive(Clone)]
pub(super) struct Screen(Option<Arc<Mutex<MultiProgress>>>);

impl Screen {
    /// Nothing is ever drawn in pipes, on a terminal that is `dumb`, or when it is to be quiet.
    pub(super) fn new(quiet: bool) -> Self {
        let lines = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        Self((!quiet && !lines.is_hidden()).then(|| Arc::new(Mutex::new(lines))))
    }

    /// Does this while no line is in its way; the lines come back when they are drawn next.
    pub(super) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        let lines = self.0.as_deref().map(lock);
        if let Some(lines) = &lines {
            clear(lines);
        }
        write()
    }

    /// Does the work, and shows meanwhile how far it has come.
    pub(super) async fn show<T>(&self, progress: &Progress, work: impl Future<Output = T>) -> T {
        let Some(lines) = &self.0 else { return work.await };
        let mut drawn = Drawn::new(lines);
        let mut ticks = interval_at(Instant::now() + INTERVAL, INTERVAL);
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = ticks.tick() => drawn.draw(progress),
            }
        }
    }
}

fn lock(lines: &Mutex<MultiProgress>) -> MutexGuard<'_, MultiProgress> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

fn clear(lines: &MultiProgress) {
    // Where nothing can be written, nothing is in the way.
    let _terminal_is_gone = lines.clear();
}

/// Standard error for logs, whose lines must not end up among those of the progress.
pub(super) struct LogWriter(pub(super) Screen);

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.aside(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The lines that are on the terminal now; they vanish with this.
struct Drawn<'a> {
    lines: &'a Mutex<MultiProgress>,
    total: ProgressBar,
    pairs: Vec<Line>,
}

struct Line {
    of: Arc<UnderWay>,
    applying: bool,
    bar: ProgressBar,
}

impl<'a> Drawn<'a> {
    fn new(lines: &'a Mutex<MultiProgress>) -> Self {
        let total = lock(lines).add(ProgressBar::no_length().with_style(style(TOTAL)));
        Self { lines, total, pairs: Vec::new() }
    }

    fn draw(&mut self, progress: &Progress) {
        let lines = lock(self.lines);
        let under_way = progress.under_way();
        for ended in self.pairs.extract_if(.., |line| !under_way.iter().any(|pair| Arc::ptr_eq(pair, &line.of))) {
            lines.remove(&ended.bar);
        }
        for pair in &under_way {
            if self.pairs.len() < MOST_LINES && !self.pairs.iter().any(|line| Arc::ptr_eq(pair, &line.of)) {
                let bar = ProgressBar::no_length().with_style(style(LOOKING));
                let bar = lines.insert_before(&self.total, bar);
                self.pairs.push(Line { of: Arc::clone(pair), applying: false, bar });
            }
        }
        for line in &mut self.pairs {
            line.draw();
        }
        let (pairs, ended) = progress.pairs();
        let hidden = under_way.len() - self.pairs.len();
        let hidden = if hidden > 0 { format!(", {hidden} more under way") } else { String::new() };
        self.total.set_message(format!("{ended} of {pairs} done{hidden}"));
        self.total.tick();
    }
}

impl Drop for Drawn<'_> {
    fn drop(&mut self) {
        let lines = lock(self.lines);
        for bar in self.pairs.iter().map(|line| &line.bar).chain([&self.total]) {
            lines.remove(bar);
        }
        clear(&lines);
    }
}

impl Line {
    fn draw(&mut self) {
        let pair = self.of.pair.to_string();
        let pair = Printable::new(&pair);
        match self.of.step() {
            Step::Reading => self.bar.set_message(format!("{pair}  reading the repository")),
            Step::Looking { requests } => {
                let plural = if requests == 1 { "" } else { "s" };
                self.bar.set_message(format!("{pair}  looking at the remote, {requests} request{plural}"));
            }
            Step::Applying { done, of } => {
                if self.applying {
                    self.bar.set_position(done as u64);
                } else {
                    // The rate begins here; what was done before the first look counts from the second.
                    self.applying = true;
                    self.bar.set_style(style(APPLYING));
                    self.bar.set_message(pair.to_string());
                    self.bar.set_length(of as u64);
                    self.bar.reset_eta();
                }
            }
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // A template that cannot be read would be found by the test below, and is no reason to give up on a pass.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ").with_key("rate", |state: &ProgressState, text: &mut dyn std::fmt::Write| {
        let (rate, left) = (state.per_sec(), HumanDuration(state.eta()));
        // Writing to a string cannot fail.
        let _infallible = if rate > 0.1 { write!(text, "{rate:.1}/s, {left:#} left") } else { Ok(()) };
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_can_be_read() {
        for template in [TOTAL, LOOKING, APPLYING] {
            ProgressStyle::with_template(template).unwrap();
        }
    }
}
