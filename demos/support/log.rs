//! Shows what the library logs, on standard error, in a file or in the system's log, in the manner of `ssh -v`.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::OnceLock;

use log::{Level, LevelFilter, Log, Metadata, Record};

#[cfg(unix)]
use super::syslog::SystemLog;

/// How much is shown after so many `-v`.
pub(crate) fn level(verbose: usize) -> LevelFilter {
    match verbose {
        0 => LevelFilter::Warn,
        1 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    }
}

/// How much is shown at a `LogLevel` of ssh_config(5); `None` if there is no such level.
pub(crate) fn level_named(name: &str) -> Option<LevelFilter> {
    const LEVELS: &[(&str, LevelFilter)] = &[
        ("SILENT", LevelFilter::Off),
        ("QUIET", LevelFilter::Off),
        ("FATAL", LevelFilter::Error),
        ("ERROR", LevelFilter::Error),
        ("INFO", LevelFilter::Warn),
        ("VERBOSE", LevelFilter::Info),
        ("DEBUG", LevelFilter::Debug),
        ("DEBUG1", LevelFilter::Debug),
        ("DEBUG2", LevelFilter::Trace),
        ("DEBUG3", LevelFilter::Trace),
    ];
    LEVELS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, level)| *level)
}

/// For its owner alone: a password that was typed as a user's name is in it.
fn opened(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.create(true).append(true).open(path)
}

/// Starts showing: at the end of `file`, or on standard error. The first call counts.
pub(crate) fn start(level: LevelFilter, file: Option<&Path>) -> io::Result<()> {
    let place = file.map(opened).transpose()?.map_or(Place::Errors, Place::File);
    begin(level, place);
    Ok(())
}

/// Starts sending to the system's log. The first call counts.
#[cfg(unix)]
pub(crate) fn start_system(level: LevelFilter, system: SystemLog) {
    begin(level, Place::System(system));
}

fn begin(level: LevelFilter, place: Place) {
    if log::set_logger(LINES.get_or_init(|| Lines { place })).is_ok() {
        log::set_max_level(level);
    }
}

/// Whether it has started: what is wrong then is a line of the log, and shown if the level lets it.
pub(crate) fn started() -> bool {
    LINES.get().is_some()
}

static LINES: OnceLock<Lines> = OnceLock::new();

struct Lines {
    place: Place,
}

enum Place {
    Errors,
    File(File),
    #[cfg(unix)]
    System(SystemLog),
}

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // One write for each line, so that lines of several threads stay whole. A log that cannot
        // be written is no reason to stop.
        let text = record.args().to_string();
        let _ = match &self.place {
            #[cfg(unix)]
            Place::System(system) => system.send(record.level(), &line(record.level(), &text, "")),
            Place::File(file) => (&*file).write_all(line(record.level(), &text, "\n").as_bytes()),
            Place::Errors => {
                // A terminal in raw mode does not go back to the first column by itself.
                let end = if io::stderr().is_terminal() { "\r\n" } else { "\n" };
                io::stderr().write_all(line(record.level(), &text, end).as_bytes())
            }
        };
    }

    fn flush(&self) {}
}

/// A line of the log. What is no printable text is shown escaped: a peer's words may be in it.
fn line(level: Level, text: &str, end: &str) -> String {
    let label = match level {
        Level::Error | Level::Warn | Level::Info => "",
        Level::Debug => "debug1: ",
        Level::Trace => "debug2: ",
    };
    let mut line = String::from(label);
    for letter in text.chars() {
        if letter.is_control() && letter != '\t' {
            line.extend(letter.escape_default());
        } else {
            line.push(letter);
        }
    }
    line + end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_labelled_and_escaped() {
        assert_eq!(line(Level::Warn, "careful", "\n"), "careful\n");
        assert_eq!(line(Level::Debug, "NEWKEYS sent", "\r\n"), "debug1: NEWKEYS sent\r\n");
        assert_eq!(line(Level::Trace, "é\x1b[2J\n", "\n"), "debug2: é\\u{1b}[2J\\n\n");
    }

    #[test]
    fn levels() {
        assert_eq!(level(0), LevelFilter::Warn);
        assert_eq!(level(1), LevelFilter::Debug);
        assert_eq!(level(9), LevelFilter::Trace);
        assert_eq!(level_named("debug3"), Some(LevelFilter::Trace));
        assert_eq!(level_named("Quiet"), Some(LevelFilter::Off));
        assert_eq!(level_named("LOUD"), None);
    }

    #[test]
    fn a_file_gets_the_lines() {
        let path = std::env::temp_dir().join(format!("feramiko-log-{}", std::process::id()));
        start(LevelFilter::Debug, Some(&path)).unwrap();
        log::debug!("shown");
        log::trace!("not shown");
        log::error!("as it is");
        let written = std::fs::read_to_string(&path).unwrap();
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
            assert_eq!(mode & 0o777, 0o600);
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(written, "debug1: shown\nas it is\n");
        assert!(start(LevelFilter::Off, Some(Path::new("/no/such/dir/log"))).is_err());
    }
}
