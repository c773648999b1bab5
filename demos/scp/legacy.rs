//! `-O`: the old protocol, and `-R`, with which one host's own scp copies to the other.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::path::{Path, PathBuf};

use feramiko::{Channel, Error, SSHClient};

use crate::links::Links;
use crate::place::Remote;
use crate::{Outcome, failed};

/// How much is passed on at a time.
const PIECE: usize = 128 * 1024;

/// Says what failed of a copy; whether nothing did.
fn told(outcome: Result<(), Error>) -> bool {
    match outcome {
        Ok(()) => return true,
        Err(Error::Scp(error)) => {
            error.failures.iter().for_each(failed);
            let more = error.count.saturating_sub(error.failures.len() as u64);
            if more > 0 {
                failed(format_args!("{more} more failures"));
            }
        }
        Err(error) => failed(error),
    }
    false
}

pub(crate) fn get(links: &mut Links, source: &Remote, target: &Path, several: bool) -> Outcome<bool> {
    Ok(told(links.scp(source)?.into_directory(several).get(&source.path, target)))
}

pub(crate) fn put(links: &mut Links, sources: &[PathBuf], target: &Remote, several: bool) -> Outcome<bool> {
    Ok(told(links.scp(target)?.into_directory(several).put_all(sources, &target.path)))
}

/// The words that scp starts an scp with on a host, for a path that its shell reads.
fn command(links: &Links, role: &str, path: &[u8], directory: bool) -> Vec<u8> {
    let settings = &links.settings;
    let mut line = b"scp".to_vec();
    for (given, letter) in [(settings.recursive, " -r"), (settings.preserve, " -p"), (directory, " -d")] {
        line.extend_from_slice(if given { letter.as_bytes() } else { b"" });
    }
    line.extend_from_slice(format!(" {role} ").as_bytes());
    line.extend_from_slice(if path.starts_with(b"-") { b"-- " } else { b"" });
    line.extend_from_slice(if path.is_empty() { b"." } else { path });
    line
}

fn start(client: &SSHClient, command: &[u8]) -> Result<Channel, Error> {
    let channel = client.open_session()?;
    channel.exec_command(command)?;
    Ok(channel)
}

/// From one host to the other through this one: each side's words go to the other.
pub(crate) fn through(links: &mut Links, source: &Remote, target: &Remote, several: bool) -> Outcome<bool> {
    if links.settings.program.is_some() {
        return Err("-S is not built for -3 with -O".into());
    }
    let from = start(&links.client(source)?, &command(links, "-f", &source.path, false))?;
    let to = start(&links.client(target)?, &command(links, "-t", &target.path, several))?;
    std::thread::scope(|scope| {
        for (one, other) in [(&from, &to), (&to, &from)] {
            scope.spawn(move || {
                pump(one, other);
                other.shutdown(Shutdown::Write);
            });
            scope.spawn(move || pump(one.stderr(), io::stderr()));
        }
    });
    let (from, to) = (from.wait_exit(None)?, to.wait_exit(None)?);
    Ok(from.success() && to.success())
}

/// `-R`: the source's host copies.
pub(crate) fn direct(links: &mut Links, source: &Remote, target: &Remote) -> Outcome<bool> {
    if target.port.is_some_and(|port| port != 22) {
        return Err("target port not supported with two remote hosts and the -R option".into());
    }
    let settings = &links.settings;
    let mut line = b"scp".to_vec();
    for (given, letter) in [(settings.recursive, " -r"), (settings.preserve, " -p"), (settings.legacy, " -O")]
    {
        line.extend_from_slice(if given { letter.as_bytes() } else { b"" });
    }
    line.push(b' ');
    line.extend_from_slice(&source.path);
    line.extend_from_slice(format!(" {}:", target.destination()).as_bytes());
    line.extend_from_slice(&target.path);
    let channel = start(&links.client(source)?, &line)?;
    channel.shutdown(Shutdown::Write);
    std::thread::scope(|scope| {
        scope.spawn(|| pump(channel.stderr(), io::stderr()));
        pump(&channel, io::stdout());
    });
    Ok(channel.wait_exit(None)?.success())
}

/// Copies until the end, or until nobody takes it.
fn pump(mut from: impl Read, mut to: impl Write) {
    let mut piece = vec![0; PIECE];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        if to.write_all(&piece[..count]).is_err() {
            return;
        }
    }
}
