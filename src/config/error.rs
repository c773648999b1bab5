//! Why a configuration cannot be used: the file, the line, what is wrong with it.

use std::fmt;
use std::io;
use std::path::Path;

use crate::wire::Escaped;

/// Why ssh_config files, or options that stand for their lines, are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file could not be read, or is not safe to read.
    File {
        /// The file.
        path: String,
        /// The kind of failure.
        kind: io::ErrorKind,
        /// What is wrong, in the system's words or ours.
        text: String,
    },
    /// A line is not understood, or may not say what it says.
    Line {
        /// The file; `command-line` for options that were given otherwise.
        file: String,
        /// The line's number, from 1; 0 for what stands in no file.
        line: u32,
        /// What is wrong.
        text: String,
    },
    /// What the lines say together cannot be done for this host.
    Host {
        /// The host as it was asked for.
        host: String,
        /// What is wrong.
        text: String,
    },
}

impl ConfigError {
    pub(super) fn file(path: &Path, error: &io::Error) -> Self {
        Self::File { path: path.display().to_string(), kind: error.kind(), text: error.to_string() }
    }

    pub(super) fn host(host: &str, text: impl Into<String>) -> Self {
        Self::Host { host: host.to_owned(), text: text.into() }
    }

    /// What is wrong, without where.
    #[must_use]
    pub fn text(&self) -> &str {
        let (Self::File { text, .. } | Self::Line { text, .. } | Self::Host { text, .. }) = self;
        text
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names and lines are whoever's who wrote the file.
        let text = Escaped(self.text().as_bytes());
        match self {
            Self::File { path, .. } => write!(f, "configuration file {}: {text}", Escaped(path.as_bytes())),
            Self::Line { file, line: 0, .. } => write!(f, "{}: {text}", Escaped(file.as_bytes())),
            Self::Line { file, line, .. } => write!(f, "{} line {line}: {text}", Escaped(file.as_bytes())),
            Self::Host { host, .. } => {
                write!(f, "configuration of {}: {text}", Escaped(host.as_bytes()))
            }
        }
    }
}

impl std::error::Error for ConfigError {}
