//! What a long pass is doing, on the last lines of a terminal. Elsewhere not one byte of it.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use console::{Term, measure_text_width, truncate_str};
use jiff::SignedDuration;
use tokio::time::{Instant, interval_at};

use crate::sync::{Progress, Step, UnderWay};
use crate::text::Printable;

/// Pairs that have a line of their own at once.
const MOST_LINES: usize = 8;
/// How often the lines are drawn; a pass that is shorter shows none.
const INTERVAL: Duration = Duration::from_millis(100);
/// How wide the bar of a pair is.
const BAR: usize = 20;
/// One after the other they show that the program is alive.
const SPINNER: [char; 4] = ['|', '/', '-', '\\'];

/// Standard error, where it is a terminal whose lines can be drawn anew; `None` elsewhere.
///
/// Whoever draws or writes holds the lock.
#[derive(Clone)]
pub(super) struct Screen(Option<Arc<Mutex<Lines>>>);

impl Screen {
    /// Nothing is ever drawn in pipes, on a terminal that is `dumb`, or when it is to be quiet.
    pub(super) fn new(quiet: bool) -> Self {
        let terminal = Term::buffered_stderr();
        let can_draw = !quiet && terminal.is_term() && !console::is_dumb();
        Self(can_draw.then(|| Arc::new(Mutex::new(Lines { terminal, shown: 0, is_gone: false }))))
    }

    /// Does this while no line is in its way; the lines come back when they are drawn next.
    pub(super) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        let mut lines = self.0.as_deref().map(lock);
        if let Some(lines) = &mut lines {
            lines.draw(&[]);
        }
        write()
    }

    /// Does the work, and shows meanwhile how far it has come.
    pub(super) async fn show<T>(&self, progress: &Progress, work: impl Future<Output = T>) -> T {
        let Some(lines) = &self.0 else { return work.await };
        let mut drawn = Drawn { lines, pairs: Vec::new(), drawings: 0 };
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

fn lock(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
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

/// The last lines of the terminal.
struct Lines {
    terminal: Term,
    /// How many of them are ours.
    shown: usize,
    /// Whether nothing could be written any more.
    is_gone: bool,
}

impl Lines {
    /// Puts these lines in the place of those before, all at once.
    fn draw(&mut self, lines: &[String]) {
        if self.is_gone {
            return;
        }
        let attempt = || {
            self.terminal.clear_last_lines(self.shown)?;
            lines.iter().try_for_each(|line| self.terminal.write_line(line))?;
            self.terminal.flush()
        };
        // Where nothing can be written, nothing is in the way; and what is not written is kept by the library.
        self.is_gone = attempt().is_err();
        self.shown = lines.len();
    }
}

/// The pairs whose lines are on the terminal now; they vanish with this.
struct Drawn<'a> {
    lines: &'a Mutex<Lines>,
    pairs: Vec<Line>,
    drawings: usize,
}

struct Line {
    of: Arc<UnderWay>,
    /// When its changes were first seen to be made, and how many were by then.
    applying: Option<(Instant, usize)>,
}

impl Drawn<'_> {
    fn draw(&mut self, progress: &Progress) {
        let under_way = progress.under_way();
        self.pairs.retain(|line| under_way.iter().any(|pair| Arc::ptr_eq(pair, &line.of)));
        for pair in &under_way {
            if self.pairs.len() < MOST_LINES && !self.pairs.iter().any(|line| Arc::ptr_eq(pair, &line.of)) {
                self.pairs.push(Line { of: Arc::clone(pair), applying: None });
            }
        }
        let mut lines = lock(self.lines);
        let (rows, columns) = lines.terminal.size();
        // A line that is as wide as the terminal would take two.
        let width = usize::from(columns).saturating_sub(1);
        let room = usize::from(rows).saturating_sub(2);
        let mut texts: Vec<String> = self.pairs.iter_mut().take(room).map(|line| line.text(width)).collect();
        let (pairs, ended) = progress.pairs();
        let hidden = under_way.len().saturating_sub(texts.len());
        let hidden = if hidden > 0 { format!(", {hidden} more under way") } else { String::new() };
        let spinner = SPINNER[self.drawings % SPINNER.len()];
        texts.push(fit(&format!("{spinner} {ended} of {pairs} done{hidden}"), width));
        lines.draw(&texts);
        self.drawings += 1;
    }
}

impl Drop for Drawn<'_> {
    fn drop(&mut self) {
        lock(self.lines).draw(&[]);
    }
}

impl Line {
    fn text(&mut self, width: usize) -> String {
        let pair = self.of.pair.to_string();
        let pair = Printable::new(&pair);
        match self.of.step() {
            Step::Reading => fit(&format!("  {pair}  reading the repository"), width),
            Step::Looking { requests } => {
                let plural = if requests == 1 { "" } else { "s" };
                fit(&format!("  {pair}  looking at the remote, {requests} request{plural}"), width)
            }
            Step::Applying { done, of } => {
                let (began, before) = *self.applying.get_or_insert_with(|| (Instant::now(), done));
                let (since, left) = (done.saturating_sub(before), of.saturating_sub(done));
                let progress = bar(done, of) + &rate(since, left, began.elapsed());
                // The bars stand below each other, at the right.
                let room = width.saturating_sub(measure_text_width(&progress));
                let pair = fit(&format!("  {pair} "), room);
                let gap = room - measure_text_width(&pair);
                fit(&format!("{pair}{:gap$}{progress}", ""), width)
            }
        }
    }
}

/// As much of a text as has room.
fn fit(text: &str, width: usize) -> String {
    truncate_str(text, width, "").into_owned()
}

fn bar(done: usize, of: usize) -> String {
    let filled = (BAR * done).checked_div(of).unwrap_or(BAR).min(BAR);
    let tip = if filled < BAR { ">" } else { "" };
    format!("[{:=<filled$}{tip:<rest$}] {done}/{of} ", "", rest = BAR - filled)
}

/// How fast it goes, and how long it takes if it goes on like that; nothing where little has happened yet.
fn rate(done: usize, left: usize, elapsed: Duration) -> String {
    let per_second = done as f64 / elapsed.as_secs_f64();
    if !per_second.is_finite() || per_second <= 0.1 {
        return String::new();
    }
    let left = SignedDuration::from_secs((left as f64 / per_second).ceil() as i64);
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _infallible = write!(text, "{per_second:.1}/s, {left:#} left");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_and_a_rate_show_how_far_it_has_come() {
        assert_eq!(bar(0, 40), "[>                   ] 0/40 ");
        assert_eq!(bar(30, 40), "[===============>    ] 30/40 ");
        assert_eq!(bar(40, 40), "[====================] 40/40 ");
        assert_eq!(bar(0, 0), "[====================] 0/0 ");
        assert_eq!(rate(0, 40, Duration::from_secs(1)), "");
        assert_eq!(rate(3, 40, Duration::ZERO), "");
        assert_eq!(rate(25, 1000, Duration::from_secs(2)), "12.5/s, 1m 20s left");
    }
}
