//! Standard output, notes and progress.

use super::exit::CliError;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// Jobs shorter than this show no progress bar.
const PATIENCE: Duration = Duration::from_millis(300);

/// Writes text to standard output at once.
pub fn write(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| CliError::write("standard output", &error))
}

/// Writes a value as one line of JSON, or indented for people.
pub fn write_json(value: &Value, pretty: bool) -> Result<(), CliError> {
    let text = if pretty { format!("{value:#}\n") } else { format!("{value}\n") };
    write(&text)
}

/// A line on standard error. Nobody listening there is no reason to stop.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Whether colours may be used on standard error.
pub fn colours(no_color: bool) -> bool {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !no_color && !plain && io::stderr().is_terminal()
}

/// A progress bar on standard error: only on a terminal and only for jobs that take a while.
pub struct Progress {
    bar: ProgressBar,
    begin: std::time::Instant,
    quiet: bool,
}

impl Progress {
    /// A bar over bytes.
    pub fn bytes(label: &'static str, quiet: bool) -> Self {
        Progress::new(label, quiet, "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
    }

    /// A bar over things that are counted.
    pub fn count(label: &'static str, quiet: bool) -> Self {
        Progress::new(label, quiet, "{msg} {wide_bar} {pos}/{len} {eta}")
    }

    fn new(label: &'static str, quiet: bool, template: &str) -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        bar.set_message(label);
        Progress { bar, begin: std::time::Instant::now(), quiet: quiet || !io::stderr().is_terminal() }
    }

    /// Shows how much is done.
    pub fn set(&self, done: u64, total: u64) {
        if self.quiet {
            return;
        }
        if self.bar.is_hidden() && self.begin.elapsed() > PATIENCE && done < total {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_length(total);
        self.bar.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl host::load::Progress for Progress {
    fn tensor(&self, done_bytes: u64, total_bytes: u64) {
        self.set(done_bytes, total_bytes);
    }
}
