//! libssh2, by the ssh2 crate, behind `bench_peer`'s command line. Client only.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::Instant;

use peers::{Failure, Meter, OPENING_AT_ONCE, Options, PIECE, Verb, WARM_UP_PINGS, arguments, finish};
use ssh2::{Channel, DisconnectCode, MethodType, Session};

fn connect(options: &Options) -> Result<Session, Failure> {
    let stream = TcpStream::connect((options.host.as_str(), options.port))?;
    stream.set_nodelay(true)?;
    let mut session = Session::new()?;
    for (kinds, wanted) in [
        (&[MethodType::Kex][..], &options.kex),
        (&[MethodType::CryptCs, MethodType::CryptSc], &options.cipher),
        (&[MethodType::MacCs, MethodType::MacSc], &options.mac),
    ] {
        for kind in kinds {
            wanted.as_ref().map_or(Ok(()), |name| session.method_pref(*kind, name))?;
        }
    }
    session.set_tcp_stream(stream);
    session.handshake()?;
    session.userauth_pubkey_file(&options.user, None, Path::new(&options.key), None)?;
    Ok(session)
}

fn open(session: &Session, command: &str) -> Result<Channel, Failure> {
    let mut channel = session.channel_session()?;
    channel.exec(command)?;
    Ok(channel)
}

fn succeed(mut channel: Channel) -> Result<(), Failure> {
    channel.wait_eof()?;
    channel.close()?;
    channel.wait_close()?;
    match channel.exit_status()? {
        0 => Ok(()),
        status => Err(format!("exit status {status}").into()),
    }
}

fn leave(session: Session) -> Result<(), Failure> {
    Ok(session.disconnect(Some(DisconnectCode::ByApplication), "done", None)?)
}

fn down(options: &Options, command: &str, bytes: u64) -> Result<(), Failure> {
    let session = connect(options)?;
    let meter = Meter::start();
    let mut channel = open(&session, command)?;
    let (mut piece, mut total) = (vec![0; PIECE], 0);
    loop {
        match channel.read(&mut piece)? {
            0 => break,
            count => total += count as u64,
        }
    }
    if total != bytes {
        return Err(format!("{total} bytes came, {bytes} were expected").into());
    }
    succeed(channel)?;
    meter.report(&format!("\"bytes\":{total}"));
    leave(session)
}

fn up(options: &Options, command: &str, bytes: u64) -> Result<(), Failure> {
    let session = connect(options)?;
    let meter = Meter::start();
    let mut channel = open(&session, command)?;
    let piece = vec![0; PIECE];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(PIECE as u64);
        channel.write_all(&piece[..now as usize])?;
        left -= now;
    }
    channel.send_eof()?;
    succeed(channel)?;
    meter.report(&format!("\"bytes\":{bytes}"));
    leave(session)
}

/// Runs `work` on `parallel` threads, `count` times in all.
fn spread<T: Send>(
    count: usize,
    parallel: usize,
    work: impl Fn() -> Result<T, Failure> + Sync,
) -> Result<Vec<T>, Failure> {
    thread::scope(|scope| {
        let workers: Vec<_> = (0..parallel)
            .map(|worker| {
                let (work, share) = (&work, count / parallel + usize::from(worker < count % parallel));
                scope.spawn(move || (0..share).map(|_| work()).collect::<Result<Vec<T>, Failure>>())
            })
            .collect();
        let mut all = Vec::with_capacity(count);
        for worker in workers {
            all.extend(worker.join().map_err(|_| "a worker panicked")??);
        }
        Ok(all)
    })
}

fn connects(options: &Options, count: usize, parallel: usize) -> Result<(), Failure> {
    let meter = Meter::start();
    spread(count, parallel, || {
        let session = connect(options)?;
        succeed(open(&session, "true")?)?;
        leave(session)
    })?;
    meter.report(&format!("\"count\":{count}"));
    Ok(())
}

fn execs(options: &Options, count: usize) -> Result<(), Failure> {
    let session = connect(options)?;
    let meter = Meter::start();
    for _ in 0..count {
        succeed(open(&session, "true")?)?;
    }
    meter.report(&format!("\"count\":{count}"));
    leave(session)
}

fn stats(options: &Options, count: usize) -> Result<(), Failure> {
    let session = connect(options)?;
    let sftp = session.sftp()?;
    let here = Path::new(".");
    sftp.stat(here)?;
    let meter = Meter::start();
    for _ in 0..count {
        sftp.stat(here)?;
    }
    meter.report(&format!("\"count\":{count}"));
    leave(session)
}

fn ping(options: &Options, count: usize) -> Result<(), Failure> {
    let session = connect(options)?;
    let mut channel = open(&session, "cat")?;
    let mut byte = [0];
    let mut once = || {
        let sent = Instant::now();
        channel.write_all(b"x")?;
        channel.read_exact(&mut byte)?;
        Ok(sent.elapsed())
    };
    for _ in 0..WARM_UP_PINGS {
        once()?;
    }
    let meter = Meter::start();
    let times = (0..count).map(|_| once()).collect::<io::Result<Vec<_>>>()?;
    meter.report(&peers::percentiles(times));
    channel.send_eof()?;
    succeed(channel)?;
    leave(session)
}

fn idle(options: &Options, count: usize) -> Result<(), Failure> {
    let sessions = spread(count, OPENING_AT_ONCE, || connect(options))?;
    println!("ready");
    io::stdin().read_to_end(&mut Vec::new())?;
    sessions.into_iter().try_for_each(leave)
}

fn run() -> Result<(), Failure> {
    let (options, verb) = arguments()?;
    match verb {
        Verb::Down { command, bytes } => down(&options, &command, bytes),
        Verb::Up { command, bytes } => up(&options, &command, bytes),
        Verb::Connect { count, parallel } => connects(&options, count, parallel),
        Verb::Execs(count) => execs(&options, count),
        Verb::Stats(count) => stats(&options, count),
        Verb::Ping(count) => ping(&options, count),
        Verb::Idle(count) => idle(&options, count),
        Verb::Serve => Err("libssh2 has no server".into()),
    }
}

fn main() {
    finish("ssh2_peer", run());
}
