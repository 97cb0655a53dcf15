//! Where results and errors go, and the one place that renders errors.

use std::fmt;
use std::io::{self, Write as _};

use anstyle::Style;

use super::progress::Screen;
use super::{ExitCode, Format};
use crate::report::style::{self, FAILED, HEADING, paint};
use crate::text::{Printable, write_json};

/// Why a command could not do its work.
#[derive(Debug)]
pub(super) struct Failure {
    code: ExitCode,
    message: String,
    hints: Vec<String>,
}

impl Failure {
    pub(super) fn new(code: ExitCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hints: Vec::new() }
    }

    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(ExitCode::Usage, message)
    }

    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// Standard output for results, standard error for the rest.
///
/// Texts come styled. Each of the two streams keeps or drops the styles according to the process's colour choice.
pub(super) struct Output {
    pub(super) format: Format,
    /// Where long work shows how far it has come.
    pub(super) screen: Screen,
}

impl Output {
    pub(super) fn new(format: Format, screen: Screen) -> Self {
        Self { format, screen }
    }

    /// Writes a result: as text or as one line of JSON.
    pub(super) fn result(&self, json: &impl serde::Serialize, text: impl fmt::Display) -> Result<(), Failure> {
        match self.format {
            Format::Human => write(anstream::stdout().lock(), text.to_string().as_bytes()),
            Format::Json => {
                let mut stdout = io::BufWriter::new(io::stdout().lock());
                match write_json(&mut stdout, json) {
                    Err(fault) if !fault.is_io() => {
                        let message = format!("the result could not be written as JSON: {fault}");
                        Err(Failure::new(ExitCode::Bug, message))
                    }
                    Err(fault) => written(Err(fault.into())),
                    Ok(()) => write(stdout, b"\n"),
                }
            }
        }
    }

    /// Writes a result that is what it is in every format.
    pub(super) fn bytes(&self, shown: &[u8]) -> Result<ExitCode, Failure> {
        write(io::stdout().lock(), shown)?;
        Ok(ExitCode::Done)
    }

    /// Says something beside the result.
    pub(super) fn remark(&self, remark: impl fmt::Display) {
        say(HEADING, remark);
    }

    /// Renders a failure: what happened, then what to do.
    pub(super) fn fail(&self, failure: &Failure) -> ExitCode {
        let Failure { code, message, hints } = failure;
        let mut shown = String::new();
        for line in message.lines() {
            shown.push_str(&Printable::new(line).to_string());
            shown.push('\n');
        }
        for hint in hints {
            shown.push_str(&format!("{} {}\n", style::hint(), Printable::new(hint)));
        }
        say(FAILED, shown.trim_end());
        *code
    }
}

fn say(style: Style, what: impl fmt::Display) {
    let line = format!("{} {what}\n", paint(style, "tagsyncd:"));
    // With standard error closed there is nobody left to tell.
    let _nobody_listens = anstream::stderr().lock().write_all(line.as_bytes());
}

fn write(mut stdout: impl io::Write, shown: &[u8]) -> Result<(), Failure> {
    written(stdout.write_all(shown).and_then(|()| stdout.flush()))
}

fn written(outcome: io::Result<()>) -> Result<(), Failure> {
    match outcome {
        // A reader that has seen enough, like `head`, is no failure of ours.
        Err(fault) if fault.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(ExitCode::Failed, format!("standard output could not be written: {fault}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
