//! How the program ends: its exit statuses are OpenSSH's.

use super::support::output;

/// What an action says when it fails.
#[derive(Debug)]
pub(crate) struct Fail {
    pub(crate) status: u8,
    /// A line for standard error; empty when everything is said already.
    pub(crate) text: String,
}

pub(crate) type Outcome<T = ()> = Result<T, Fail>;

/// OpenSSH's `fatal`.
const FATAL: u8 = 255;

/// What cannot be done.
pub(crate) fn fatal(text: impl ToString) -> Fail {
    Fail { status: FATAL, text: text.to_string() }
}

/// What the user has to do otherwise.
pub(crate) fn error(text: impl ToString) -> Fail {
    Fail { status: 1, text: text.to_string() }
}

/// What was done and has a bad result, about which everything is said.
pub(crate) fn status(status: u8) -> Fail {
    Fail { status, text: String::new() }
}

/// The error with the name of what it is about.
pub(crate) fn about<E: ToString>(what: &str) -> impl FnOnce(E) -> Fail + use<'_, E> {
    move |error| fatal(format!("{what}: {}", error.to_string()))
}

impl<E: std::error::Error> From<E> for Fail {
    fn from(error: E) -> Self {
        fatal(error)
    }
}

/// Prints on standard output.
pub(crate) fn say(text: &str) -> Outcome {
    say_bytes(text.as_bytes())
}

/// Prints what need not be UTF-8.
pub(crate) fn say_bytes(bytes: &[u8]) -> Outcome {
    output::say_bytes(bytes).map_err(about("standard output"))
}
