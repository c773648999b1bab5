//! A blocking, thread-safe SSH2 client and server library in paramiko's style.

mod agent;
mod auth;
mod channel;
mod client;
mod crypto;
mod engine;
mod error;
#[cfg(fuzzing)]
pub mod fuzz;
#[cfg(all(test, not(fuzzing)))]
#[allow(unreachable_pub, reason = "public for the fuzzer only")]
mod fuzz;
mod hostkeys;
mod interface;
mod kex;
mod key;
mod msg;
mod packet;
mod server;
mod sys;
mod transport;
mod wire;

pub use agent::{AddOptions, Agent, AgentError, AgentKey, AgentServer, AgentServerBuilder, Destination, Hop};
pub use auth::{AuthAnswer, AuthError, AuthInfo, InteractiveAnswer, InteractiveQuery, Prompt};
pub use channel::{Channel, ChannelStderr, Poll, PtyRequest, Ready, Waker};
pub use client::{
    Cancel, Command, Output, Process, ProcessStderr, ProcessStdin, ProcessStdout, ProxyCommand, SSHClient,
    SSHClientBuilder,
};
pub use crypto::secret::Secret;
pub use crypto::{CryptoError, Rank};
pub use engine::{
    Closer, ExitStatus, Halves, Limits, MemoryStream, ReadHalf, Stream, WriteHalf, running_threads,
};
pub use error::{AuthAttempt, Error, Phase, Result};
pub use hostkeys::*;
pub use interface::{Answer, ServerInterface, SessionKind, SessionRequest};
pub use kex::{Algorithms, KexError, Negotiated};
pub use key::{KeyError, KeyKind, PKey, PublicKey, Signer};
pub use packet::{IdentError, PacketError};
pub use server::{
    Listen, Peer, SSHServer, SSHServerBuilder, ServerHandle, Session, SessionEvent, SessionEvents,
    child_entry,
};
pub use transport::{Transport, TransportOptions};
pub use wire::Malformed;

/// The README's programs, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
