//! The command line: the parser, and one file per command.
//!
//! Results go to standard output, everything else to standard error.

mod check;
mod daemon;
mod decide;
mod explain;
mod history;
mod log;
mod output;
mod progress;
mod providers;
mod schema;
mod status;
mod sync;
mod undo;

use std::ffi::OsString;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;

use anstream::ColorChoice;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

pub use crate::report::ExitCode;
pub use schema::schemas;

use crate::config::nearest;
use crate::ledger::Decision;
use log::LogFormat;
use output::{Failure, Output};
use progress::Screen;

/// Keeps git tags in agreement between repositories and remote tag APIs. Without a command it is a service: every job by its schedule.
#[derive(Debug, Parser)]
#[command(name = "tagsyncd", version, disable_help_subcommand = true, override_usage = USAGE, after_help = EXIT_CODES)]
struct CommandLine {
    /// One pass over all jobs or the named ones, then exit
    #[arg(long)]
    sync: bool,

    /// With --sync: show what would be done and write nothing, like `plan`
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    pass: PassOptions,

    /// With --sync: the jobs
    #[arg(value_name = "JOB")]
    jobs: Vec<String>,

    #[command(flatten)]
    common: Common,

    #[command(subcommand)]
    command: Option<Command>,
}

const EXIT_CODES: &str = "\
Exit codes, the first that applies: 78 configuration, 75 another instance holds the lock, 70 a bug, 2 usage, 1 something \
failed or could not be read, 3 something is held for a person, 4 pending or waiting (with --exit-code), 0 done.";

const USAGE: &str = "\
tagsyncd [OPTIONS]
       tagsyncd --sync [--dry-run] [OPTIONS] [JOB]...
       tagsyncd [OPTIONS] <COMMAND>";

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what --sync would do; writes nothing, neither remote nor ledger
    Plan {
        /// The jobs; all when none is named
        #[arg(value_name = "JOB")]
        jobs: Vec<String>,
        #[command(flatten)]
        pass: PassOptions,
    },
    /// Check the configuration; with --online also whether it would work
    Check(CheckOptions),
    /// Show how every pair stands: in sync since, lag, last attempt and success, what is held and waiting
    Status {
        /// The jobs; all when none is named
        #[arg(value_name = "JOB")]
        jobs: Vec<String>,
    },
    /// Show what each side has of a tag, which rules apply, what follows and why
    Explain(ExplainOptions),
    /// Show every change ever made: when, which run, which tag, old and new value, why
    History(HistoryOptions),
    /// Release exactly the changes that are parked under this id, once, to the next pass
    Approve {
        /// The id that `status`, `plan` and `--sync` show
        #[arg(value_name = "PLAN")]
        plan: String,
    },
    /// Keep the changes that are parked under this id held and quiet, until they change
    Dismiss {
        /// The id that `status`, `plan` and `--sync` show
        #[arg(value_name = "PLAN")]
        plan: String,
    },
    /// Put back what one run changed
    Undo(UndoOptions),
    /// Show what each kind of remote can do
    Providers,
    /// Print the JSON Schema of the configuration or of a command's output
    Schema {
        /// `config`, `sync`, `status`, `history`, `prune`, `explain`, `check`, `providers`, `notice` or `decision`
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

#[derive(Debug, Args)]
struct CheckOptions {
    /// Ask both sides of every pair; reads only
    #[arg(long)]
    online: bool,

    /// With --online: the jobs; all when none is named
    #[arg(value_name = "JOB", requires = "online")]
    jobs: Vec<String>,
}

#[derive(Debug, Args)]
struct HistoryOptions {
    /// Only this job
    #[arg(value_name = "JOB")]
    job: Option<String>,

    /// Only tags that match this pattern
    #[arg(long, value_name = "GLOB")]
    tag: Option<String>,

    /// Only what ended at this time or later: 2026-11-20T18:00:00Z, 2026-11-20, 24h or 30d
    #[arg(long, value_name = "TIME")]
    since: Option<String>,

    /// Only what this run changed
    #[arg(long, value_name = "ID")]
    run: Option<String>,

    /// Only so many of the latest; 0 for all
    #[arg(long, value_name = "NUMBER", default_value_t = 200)]
    limit: u32,

    /// Remove for good what is older: a date or an age of at least a day; what is removed cannot be undone any more
    #[arg(long, value_name = "TIME", conflicts_with_all = ["job", "tag", "since", "run", "limit"])]
    prune_before: Option<String>,
}

#[derive(Debug, Args)]
struct ExplainOptions {
    /// The job
    #[arg(value_name = "JOB")]
    job: String,

    /// The tag, by its name in the source
    #[arg(value_name = "TAG", allow_hyphen_values = true)]
    tag: OsString,

    /// Only this repository of the job
    #[arg(long, value_name = "NAME")]
    repository: Option<String>,

    /// Only this remote of the job
    #[arg(long, value_name = "NAME")]
    remote: Option<String>,

    /// Ask no remote: what it has is then unknown
    #[arg(long)]
    offline: bool,
}

#[derive(Debug, Args)]
struct UndoOptions {
    /// The run, as `history` shows it; its beginning is enough where only one begins so
    #[arg(value_name = "RUN")]
    run: String,

    /// Only tags that match this pattern
    #[arg(long, value_name = "GLOB")]
    tag: Option<String>,

    /// Show what would be put back and write nothing
    #[arg(long)]
    dry_run: bool,

    /// Release exactly the changes that a guard parked under this id
    #[arg(long, value_name = "PLAN")]
    approve: Vec<String>,
}

#[derive(Debug, Args)]
struct PassOptions {
    /// Exit with 4 when changes are pending or waiting
    #[arg(long)]
    exit_code: bool,

    /// Release exactly the changes that a guard parked under this id
    #[arg(long, value_name = "PLAN")]
    approve: Vec<String>,
}

impl PassOptions {
    fn is_given(&self) -> bool {
        let Self { exit_code, approve } = self;
        *exit_code || !approve.is_empty()
    }
}

#[derive(Debug, Args)]
struct Common {
    /// The configuration
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "TAGSYNCD_CONFIG",
        default_value = "/etc/tagsyncd/config.toml"
    )]
    config: PathBuf,

    /// How results are written
    #[arg(long, global = true, value_enum, default_value_t = Format::Human)]
    format: Format,

    /// When to use colour; `auto` is on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    color: Color,

    /// Where the ledger is kept
    #[arg(long, global = true, value_name = "DIR")]
    state: Option<PathBuf>,

    /// Say more: list every name, log every write; twice for every request
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,

    /// How logs are written; `auto` is the journal where standard error leads to it, else for people
    #[arg(long, global = true, value_enum, value_name = "FORM", env = "TAGSYNCD_LOG_FORMAT", default_value_t = LogFormat::Auto)]
    log_format: LogFormat,

    /// Log errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Color {
    // On a terminal, unless the environment speaks against it: `NO_COLOR`, `TERM=dumb`.
    Auto,
    // Whatever the environment says.
    Always,
    Never,
}

impl Color {
    /// What stands on a command line that could not be parsed, or that asks for help: as good as can be told.
    fn asked(arguments: &[OsString]) -> Self {
        let options =
            arguments.iter().take_while(|argument| *argument != "--").filter_map(|argument| argument.to_str());
        let mut asked = Self::Auto;
        let mut behind_option = false;
        for argument in options {
            let value = if behind_option { Some(argument) } else { argument.strip_prefix("--color=") };
            asked = value.and_then(|value| Self::from_str(value, false).ok()).unwrap_or(asked);
            behind_option = argument == "--color";
        }
        asked
    }

    /// Makes this the choice of the process, for results and errors of ours and of the parser.
    fn choose(self) {
        let choice = match self {
            Self::Auto => ColorChoice::Auto,
            Self::Always => ColorChoice::Always,
            Self::Never => ColorChoice::Never,
        };
        choice.write_global();
    }
}

/// Runs the program with these arguments, the program's name first.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let line = match CommandLine::try_parse_from(&arguments) {
        Ok(line) => line,
        Err(fault) => {
            Color::asked(&arguments).choose();
            // Help and version are results and go to standard output; clap knows which is which.
            let _closed_pipe = fault.print();
            return if fault.use_stderr() { ExitCode::Usage } else { ExitCode::Done };
        }
    };
    line.common.color.choose();
    let screen = Screen::new(line.common.quiet);
    let daemon = line.command.is_none() && !line.sync;
    log::start(&line.common, daemon, screen.clone());
    let output = Output::new(line.common.format, screen);
    // A panic is a bug, whatever it was about; the default hook has said where.
    let done = std::panic::catch_unwind(AssertUnwindSafe(|| dispatch(line, &output)));
    match done {
        Ok(Ok(code)) => code,
        Ok(Err(failure)) => output.fail(&failure),
        Err(_) => output.fail(
            &Failure::new(ExitCode::Bug, "this is a bug in tagsyncd; what was announced is settled by the next run")
                .hint("report it with the lines above"),
        ),
    }
}

fn dispatch(line: CommandLine, output: &Output) -> Result<ExitCode, Failure> {
    let CommandLine { sync, dry_run, pass, jobs, common, command } = line;
    match command {
        Some(_) if dry_run || pass.is_given() => Err(Failure::usage("options of a pass stand behind the command")
            .hint("`tagsyncd plan --exit-code`, `tagsyncd --sync --dry-run`")),
        Some(_) if sync => Err(Failure::usage("`--sync` takes jobs, not commands")
            .hint("a job that is called like a command is named after `--`: `tagsyncd --sync -- plan`")),
        Some(Command::Plan { jobs, pass }) => sync::plan(&common, &pass, &jobs, output),
        Some(Command::Check(options)) => check::check(&common, &options, output),
        Some(Command::Status { jobs }) => status::status(&common, &jobs, output),
        Some(Command::History(options)) => history::history(&common, &options, output),
        Some(Command::Explain(options)) => explain::explain(&common, &options, output),
        Some(Command::Approve { plan }) => decide::decide(&common, &plan, Decision::Approved, output),
        Some(Command::Dismiss { plan }) => decide::decide(&common, &plan, Decision::Dismissed, output),
        Some(Command::Undo(options)) => undo::undo(&common, &options, output),
        Some(Command::Providers) => providers::providers(output),
        Some(Command::Schema { name }) => schema::schema(&name, output),
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut CommandLine::command(), "tagsyncd", &mut script);
            output.bytes(&script)
        }
        Some(Command::Man) => {
            let mut page = Vec::new();
            let made = clap_mangen::Man::new(CommandLine::command()).render(&mut page);
            made.map_err(|fault| Failure::new(ExitCode::Bug, format!("the manual page could not be made: {fault}")))?;
            output.bytes(&page)
        }
        None if sync && dry_run => sync::plan(&common, &pass, &jobs, output),
        None if sync => sync::sync(&common, &pass, &jobs, output),
        None if dry_run || pass.is_given() => Err(Failure::usage("options of a pass need `--sync`")),
        None => match jobs.first() {
            None => daemon::daemon(&common, output),
            Some(word) => Err(no_command(word)),
        },
    }
}

fn no_command(word: &str) -> Failure {
    let failure = Failure::usage(format!("there is no command `{}`", crate::text::Printable::new(word)));
    let command = CommandLine::command();
    match nearest(word, command.get_subcommands().map(clap::Command::get_name)) {
        Some(meant) => failure.hint(format!("did you mean `{meant}`?")),
        None => failure.hint("`tagsyncd --help` lists the commands; jobs are named after `--sync`"),
    }
}
