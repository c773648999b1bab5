//! The verb `serve`: any key, commands by `bash -c`, and `:source BYTES` and `:sink` inside the process.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use peers::{Failure, Options, PIECE};
use russh::keys::load_secret_key;
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Server, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::{ChildStdin, Command};

struct Shop;

impl Server for Shop {
    type Handler = Visitor;

    fn new_client(&mut self, _: Option<SocketAddr>) -> Visitor {
        Visitor { channels: HashMap::new() }
    }
}

/// One connection, with the channels on which no command runs yet.
struct Visitor {
    channels: HashMap<ChannelId, Channel<Msg>>,
}

impl Handler for Visitor {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, _: &str, _: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let Some(channel) = self.channels.remove(&id) else {
            return session.channel_failure(id);
        };
        session.channel_success(id)?;
        let command = String::from_utf8_lossy(command).into_owned();
        tokio::spawn(async move {
            let (reader, writer) = channel.split();
            let status = answer(&command, reader, &writer).await.unwrap_or_else(|error| {
                eprintln!("russh_peer: {command}: {error}");
                255
            });
            let _ = writer.eof().await;
            let _ = writer.exit_status(status).await;
            let _ = writer.close().await;
        });
        Ok(())
    }
}

type Writer = ChannelWriteHalf<Msg>;

async fn answer(command: &str, reader: ChannelReadHalf, writer: &Writer) -> Result<u32, Failure> {
    if let Some(bytes) = command.strip_prefix(":source ") {
        return source(bytes.parse()?, writer).await;
    }
    if command == ":sink" {
        return sink(reader).await;
    }
    run(command, reader, writer).await
}

async fn source(bytes: u64, writer: &Writer) -> Result<u32, Failure> {
    let piece = Bytes::from_static(&[0; PIECE]);
    let mut left = bytes;
    while left > 0 {
        let now = left.min(PIECE as u64);
        writer.data_bytes(piece.slice(..now as usize)).await?;
        left -= now;
    }
    Ok(0)
}

async fn sink(mut reader: ChannelReadHalf) -> Result<u32, Failure> {
    while let Some(message) = reader.wait().await {
        if matches!(message, ChannelMsg::Eof) {
            return Ok(0);
        }
    }
    Err("no end of input".into())
}

/// The channel's data into the command's input, until the end of either.
async fn feed(mut reader: ChannelReadHalf, stdin: ChildStdin) {
    let mut stdin = Some(stdin);
    while let Some(message) = reader.wait().await {
        match (message, &mut stdin) {
            (ChannelMsg::Data { data }, Some(input)) => {
                let written = input.write_all(&data).await;
                if written.is_err() {
                    stdin = None;
                }
            }
            (ChannelMsg::Eof, _) => stdin = None,
            _ => {}
        }
    }
}

/// One stream of the command's output onto the channel.
async fn pass(mut from: impl AsyncRead + Unpin, stream: Option<u32>, writer: &Writer) -> Result<(), Failure> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(PIECE);
        if from.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        let piece = buffer.split().freeze();
        match stream {
            None => writer.data_bytes(piece).await?,
            Some(number) => writer.extended_data_bytes(number, piece).await?,
        }
    }
}

async fn run(command: &str, reader: ChannelReadHalf, writer: &Writer) -> Result<u32, Failure> {
    let mut child = Command::new("bash")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err("a pipe is missing".into());
    };
    let feeder = tokio::spawn(feed(reader, stdin));
    let (out, err) = tokio::join!(pass(stdout, None, writer), pass(stderr, Some(1), writer));
    let status = child.wait().await?;
    feeder.abort();
    out?;
    err?;
    Ok(status.code().map_or(255, |code| code as u32))
}

pub(crate) async fn serve(options: &Options) -> Result<(), Failure> {
    let config = Config {
        keys: vec![load_secret_key(&options.key, None)?],
        preferred: crate::preferred(options)?,
        auth_rejection_time_initial: Some(Duration::ZERO),
        inactivity_timeout: None,
        nodelay: true,
        ..Config::default()
    };
    let listener = TcpListener::bind((options.host.as_str(), options.port)).await?;
    println!("ready");
    let mut shop = Shop;
    let server = shop.run_on_socket(Arc::new(config), &listener);
    tokio::select! {
        ended = server => ended?,
        // Until the harness ends it, or its input.
        read = async { tokio::io::stdin().read_to_end(&mut Vec::new()).await } => { read?; }
    }
    Ok(())
}
