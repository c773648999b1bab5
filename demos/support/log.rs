//! The library's log on standard error or in a file, in the manner of `ssh -v`.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use log::{Level, LevelFilter, Log, Metadata, Record};

struct Output {
    file: Option<Mutex<File>>,
}

impl Log for Output {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let head = match record.level() {
            Level::Debug => "debug1: ",
            Level::Trace => "debug3: ",
            _ => "",
        };
        let line = format!("{head}{}\r\n", record.args());
        // A log that cannot be written is no reason to fail.
        let _ = match &self.file {
            Some(file) => file.lock().map_or(Ok(()), |mut file| file.write_all(line.replace('\r', "").as_bytes())),
            None => std::io::stderr().write_all(line.as_bytes()),
        };
    }

    fn flush(&self) {}
}

/// Starts logging: warnings, with `verbose` of 1 what is done, of 3 every packet.
pub(crate) fn start(verbose: usize, file: Option<&Path>) -> Result<(), String> {
    let file = match file {
        Some(path) => {
            let open = File::options().append(true).create(true).open(path);
            Some(Mutex::new(open.map_err(|error| format!("cannot open log {}: {error}", path.display()))?))
        }
        None => None,
    };
    let level = match verbose {
        0 => LevelFilter::Warn,
        1 | 2 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    log::set_boxed_logger(Box::new(Output { file })).map_err(|error| error.to_string())?;
    log::set_max_level(level);
    Ok(())
}
