//! An SFTP server on standard input and output, with the options of sftp-server(8): what sshd(8) starts for
//! its subsystem.

mod support;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use feramiko::{LocalServer, SFTPServer};
use rustix::fs::Mode;
use support::args::Options;
use support::given::Given;
use support::log::{level_named, start, start_system};
use support::stdio;
use support::syslog::{Facility, SystemLog};

const USAGE: &str = "usage: sftp_server [-ehR] [-d start_directory] [-f log_facility] [-l log_level]
                   [-P denied_requests] [-p allowed_requests] [-u umask]
       sftp_server -Q requests
The log goes to the system's, where -f says (AUTH), and with -e to standard error.";

/// A directory as -d has it: `%d` is the home, `%u` the user's name, `%%` a percent sign.
fn expanded(directory: &str) -> Result<String, String> {
    let home = || std::env::home_dir().map(|home| home.to_string_lossy().into_owned());
    let user = || std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).ok();
    let mut path = String::new();
    let mut letters = directory.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            path.push(letter);
            continue;
        }
        let value = match letters.next() {
            Some('d') => home(),
            Some('u') => user(),
            Some('%') => Some("%".to_owned()),
            _ => return Err(format!("-d {directory}: only %d, %u and %% are known")),
        };
        path += &value.ok_or_else(|| format!("-d {directory}: nobody knows who this is"))?;
    }
    Ok(path)
}

fn names(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').filter(|name| !name.is_empty())
}

fn run() -> Result<(), String> {
    let options = Options { letters: "d:f:l:P:p:Q:u:cehR", names: &[] };
    let args = Given::from_env(options).map_err(|error| format!("{error}\n{USAGE}"))?;
    match args.last('Q') {
        Some("requests") => {
            SFTPServer::request_names().for_each(|name| println!("{name}"));
            return Ok(());
        }
        Some(_) => return Err("-Q: requests are all that can be asked for".to_owned()),
        None => {}
    }
    if args.has('h') {
        return Err(USAGE.to_owned());
    }
    // Operands mean nothing: `scp -D` gives some.
    let level = args.last('l').unwrap_or("ERROR");
    let level = level_named(level).ok_or_else(|| format!("-l {level}: no such level"))?;
    let facility = args.last('f').unwrap_or("AUTH");
    let facility = Facility::named(facility).ok_or_else(|| format!("-f {facility}: no such facility"))?;
    if args.has('e') {
        start(level, None).map_err(|error| format!("the log: {error}"))?;
    } else {
        start_system(level, SystemLog::new("sftp_server", facility));
    }
    if let Some(mask) = args.last('u') {
        let mask = u32::from_str_radix(mask, 8).ok().filter(|mask| *mask <= 0o777);
        rustix::process::umask(Mode::from_raw_mode(mask.ok_or("-u: an octal number up to 777")?));
    }
    let directory = args.last('d').map(expanded).transpose()?;
    let directory = directory.as_deref().unwrap_or(".");
    let local =
        LocalServer::starting_in(Path::new(directory)).map_err(|error| format!("{directory}: {error}"))?;
    let failed = |error: io::Error| error.to_string();
    let mut server = SFTPServer::new(local).read_only(args.has('R'));
    for list in args.all('P') {
        server = server.deny(names(list)).map_err(failed)?;
    }
    for list in args.all('p') {
        server = server.allow(names(list)).map_err(failed)?;
    }
    let (input, output) = (stdio::stdin().map_err(failed)?, stdio::stdout().map_err(failed)?);
    server.serve(input, output).map_err(failed)
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sftp_server: {error}");
            ExitCode::FAILURE
        }
    }
}
