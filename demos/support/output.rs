//! What programs say. A reader that has gone away ends a program as it ends others', by SIGPIPE; what
//! cannot be said on standard error is no reason to stop.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

/// Prints a line on standard output.
pub(crate) fn say(line: impl Display) -> io::Result<()> {
    say_bytes(format!("{line}\n").as_bytes())
}

/// Prints what need be no line and no text on standard output.
pub(crate) fn say_bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let said = out.write_all(bytes).and_then(|()| out.flush());
    #[cfg(unix)]
    if said.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGPIPE)?;
    }
    said
}

/// Prints a line on standard error.
pub(crate) fn complain(line: impl Display) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Shows a server's banner on standard error, unless told to be quiet; most end their last line themselves.
pub(crate) fn show_banner(text: &str) {
    if log::max_level() >= log::LevelFilter::Warn {
        complain(text.strip_suffix('\n').unwrap_or(text));
    }
}

/// Ends a program, and says what was wrong.
pub(crate) fn end(program: &str, outcome: Result<(), Box<dyn Error>>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("{program}: {error}"));
            ExitCode::FAILURE
        }
    }
}
