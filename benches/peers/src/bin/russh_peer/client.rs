//! The verbs of a client.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use peers::{Failure, Meter, OPENING_AT_ONCE, Options, PIECE, Verb, WARM_UP_PINGS};
use russh::client::{Config, Handle, Handler, Msg, connect};
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate, load_secret_key};
use russh::{Channel, ChannelMsg, Disconnect};
use tokio::io::AsyncReadExt;

struct Anybody;

impl Handler for Anybody {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

#[derive(Clone)]
struct Peer {
    options: Arc<Options>,
    config: Arc<Config>,
    key: Arc<PrivateKey>,
}

impl Peer {
    async fn connect(&self) -> Result<Handle<Anybody>, Failure> {
        let address = (self.options.host.as_str(), self.options.port);
        let mut session = connect(Arc::clone(&self.config), address, Anybody).await?;
        let key = PrivateKeyWithHashAlg::new(Arc::clone(&self.key), None);
        if !session.authenticate_publickey(&self.options.user, key).await?.success() {
            return Err("the key was refused".into());
        }
        Ok(session)
    }

    /// Connects `count` times, `parallel` at once; `work` gets each session.
    async fn spread<T, F>(
        &self,
        count: usize,
        parallel: usize,
        work: fn(Handle<Anybody>) -> F,
    ) -> Result<Vec<T>, Failure>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let workers: Vec<_> = (0..parallel)
            .map(|worker| {
                let (peer, share) = (self.clone(), count / parallel + usize::from(worker < count % parallel));
                tokio::spawn(async move {
                    let mut all = Vec::with_capacity(share);
                    for _ in 0..share {
                        all.push(work(peer.connect().await?).await?);
                    }
                    Ok::<_, Failure>(all)
                })
            })
            .collect();
        let mut all = Vec::with_capacity(count);
        for worker in workers {
            all.extend(worker.await??);
        }
        Ok(all)
    }
}

async fn open(session: &Handle<Anybody>, command: &str) -> Result<Channel<Msg>, Failure> {
    let channel = session.channel_open_session().await?;
    channel.exec(true, command).await?;
    Ok(channel)
}

/// Counts what comes until the channel is closed; a status other than 0, or none, is a failure.
async fn finish(channel: &mut Channel<Msg>) -> Result<u64, Failure> {
    let (mut total, mut status) = (0, None);
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::Data { data } => total += data.len() as u64,
            ChannelMsg::ExitStatus { exit_status } => status = Some(exit_status),
            ChannelMsg::Failure => return Err("the command was refused".into()),
            ChannelMsg::Close => break,
            _ => {}
        }
    }
    if status == Some(0) { Ok(total) } else { Err(format!("exit status {status:?}").into()) }
}

async fn leave(session: Handle<Anybody>) -> Result<(), Failure> {
    session.disconnect(Disconnect::ByApplication, "done", "en").await?;
    // The session's task has to send it and to end.
    let _ = session.await;
    Ok(())
}

async fn run_true(session: Handle<Anybody>) -> Result<(), Failure> {
    finish(&mut open(&session, "true").await?).await?;
    leave(session).await
}

async fn keep(session: Handle<Anybody>) -> Result<Handle<Anybody>, Failure> {
    Ok(session)
}

async fn down(session: &Handle<Anybody>, command: &str, bytes: u64) -> Result<(), Failure> {
    let meter = Meter::start();
    let total = finish(&mut open(session, command).await?).await?;
    if total != bytes {
        return Err(format!("{total} bytes came, {bytes} were expected").into());
    }
    meter.report(&format!("\"bytes\":{total}"));
    Ok(())
}

async fn up(session: &Handle<Anybody>, command: &str, bytes: u64) -> Result<(), Failure> {
    let meter = Meter::start();
    let mut channel = open(session, command).await?;
    let piece = Bytes::from_static(&[0; PIECE]);
    let mut left = bytes;
    while left > 0 {
        let now = left.min(PIECE as u64);
        channel.data_bytes(piece.slice(..now as usize)).await?;
        left -= now;
    }
    channel.eof().await?;
    finish(&mut channel).await?;
    meter.report(&format!("\"bytes\":{bytes}"));
    Ok(())
}

async fn execs(session: &Handle<Anybody>, count: usize) -> Result<(), Failure> {
    let meter = Meter::start();
    for _ in 0..count {
        finish(&mut open(session, "true").await?).await?;
    }
    meter.report(&format!("\"count\":{count}"));
    Ok(())
}

async fn echo(channel: &mut Channel<Msg>) -> Result<(), Failure> {
    channel.data_bytes(Bytes::from_static(b"x")).await?;
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::Data { data } if data.len() == 1 => return Ok(()),
            ChannelMsg::Success | ChannelMsg::WindowAdjusted { .. } => {}
            _ => break,
        }
    }
    Err("no echo".into())
}

async fn ping(session: &Handle<Anybody>, count: usize) -> Result<(), Failure> {
    let mut channel = open(session, "cat").await?;
    for _ in 0..WARM_UP_PINGS {
        echo(&mut channel).await?;
    }
    let meter = Meter::start();
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let sent = Instant::now();
        echo(&mut channel).await?;
        times.push(sent.elapsed());
    }
    meter.report(&peers::percentiles(times));
    channel.eof().await?;
    finish(&mut channel).await?;
    Ok(())
}

async fn connects(peer: &Peer, count: usize, parallel: usize) -> Result<(), Failure> {
    let meter = Meter::start();
    peer.spread(count, parallel, run_true).await?;
    meter.report(&format!("\"count\":{count}"));
    Ok(())
}

async fn idle(peer: &Peer, count: usize) -> Result<(), Failure> {
    let sessions = peer.spread(count, OPENING_AT_ONCE, keep).await?;
    println!("ready");
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    drop(sessions);
    Ok(())
}

pub(crate) async fn measure(options: Options, verb: Verb) -> Result<(), Failure> {
    let config = Config { preferred: crate::preferred(&options)?, nodelay: true, ..Config::default() };
    let key = load_secret_key(&options.key, None)?;
    let peer = Peer { options: Arc::new(options), config: Arc::new(config), key: Arc::new(key) };
    match verb {
        Verb::Connect { count, parallel } => return connects(&peer, count, parallel).await,
        Verb::Idle(count) => return idle(&peer, count).await,
        _ => {}
    }
    let session = peer.connect().await?;
    match verb {
        Verb::Down { command, bytes } => down(&session, &command, bytes).await?,
        Verb::Up { command, bytes } => up(&session, &command, bytes).await?,
        Verb::Execs(count) => execs(&session, count).await?,
        Verb::Ping(count) => ping(&session, count).await?,
        Verb::Stats(_) => return Err("russh has no SFTP of its own".into()),
        Verb::Connect { .. } | Verb::Idle(_) | Verb::Serve => {}
    }
    leave(session).await
}
