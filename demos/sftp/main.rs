//! A file transfer program with the command line, the commands and the output of OpenSSH's sftp(1).

mod commands;
mod complete;
mod edit;
mod glob;
mod interrupt;
mod link;
mod listing;
mod messages;
mod paths;
mod session;
mod settings;
mod shell;
#[path = "../support/mod.rs"]
mod support;
mod transfer;
mod words;

use std::io::{self, IsTerminal};
use std::process::exit;

use log::LevelFilter;

use messages::{Fault, complain};
use session::Session;
use settings::{Settings, USAGE, Wrong};

/// What cannot even begin.
const FATAL: i32 = 255;

fn run(settings: &Settings) -> Result<i32, String> {
    let named = settings.connect.level();
    let level = match (settings.silent, settings.verbose, named) {
        (true, ..) => LevelFilter::Error,
        (false, 0, Some(level)) => level,
        (false, verbose, _) => support::log::level(verbose),
    };
    support::log::start(level, None).map_err(|error| error.to_string())?;
    let (client, link, told) = link::open(settings).map_err(|error| error.to_string())?;
    if !settings.manner.quiet {
        let told = [&messages::shown(&told), &b"\n"[..]].concat();
        // Nobody needs it.
        let _ = io::Write::write_all(&mut io::stderr(), &told);
    }
    let mut manner = settings.manner;
    manner.progress &= io::stderr().is_terminal();
    let session = Session::start(client.clone(), manner).map_err(|fault| match fault {
        Fault::Fatal(why) => why,
        Fault::Told => "Need cwd".to_owned(),
    })?;
    let outcome = shell::run(session, settings);
    client.close();
    drop(link);
    outcome
}

fn main() {
    let settings = match Settings::read(std::env::args_os().skip(1)) {
        Ok(settings) => settings,
        Err(Wrong::Usage(why)) => {
            let gap = if why.is_empty() { "" } else { "\n" };
            eprintln!("{why}{gap}{USAGE}");
            exit(1);
        }
        Err(Wrong::Fatal(why)) => {
            eprintln!("{why}");
            exit(FATAL);
        }
    };
    if settings.silent {
        messages::be_quiet();
    }
    let status = run(&settings).unwrap_or_else(|why| {
        complain(&[why.as_bytes()]);
        FATAL
    });
    exit(status);
}
