//! A blocking, thread-safe SSH2 client and server library in paramiko's style.

mod agent;
mod auth;
mod authorized;
mod channel;
mod client;
mod config;
mod crypto;
mod editor;
mod engine;
mod error;
mod forward;
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
#[cfg(unix)]
mod mux;
mod packet;
mod pattern;
#[cfg(test)]
#[path = "../tests/peers/programs.rs"]
mod programs;
mod scp;
mod server;
mod sftp;
mod sys;
mod text;
mod transport;
mod wire;
mod x11;

pub use agent::{AddOptions, Agent, AgentError, AgentKey, AgentServer, AgentServerBuilder, Destination, Hop};
pub use auth::{
    AuthAnswer, AuthError, AuthInfo, AuthenticationMethods, HostbasedClient, InteractiveAnswer,
    InteractiveQuery, MethodAnswer, MethodLogin, MethodMessage, Permissions, Prompt,
};
pub use authorized::{AuthorizedKeys, BadLine, KeyLogin, UserAuthorities};
pub use channel::{Channel, ChannelStderr, Keystrokes, Poll, PtyRequest, Ready, Redirect, TimedRead, Waker};
pub use client::{
    Cancel, Command, HTTPProxy, HostAddressCheck, HostKeysChange, HostKeysUpdate, JumpHost, KnownHostsQuery,
    KnownHostsReason, Output, Process, ProcessStderr, ProcessStdin, ProcessStdout, SOCKSProxy, SOCKSVersion,
    SSHClient, SSHClientBuilder,
};
#[cfg(unix)]
pub use client::{ProxyCommand, X11Options};
pub use config::{ConfigError, ConfigQuery, ForwardRule, HostConfig, SSHConfig};
pub use crypto::bulk::{CipherState, CipherWay};
pub use crypto::secret::Secret;
pub use crypto::{CryptoError, Rank};
pub use editor::{Key, KeyAction, Line, LineEditorOptions};
pub use engine::{
    Closer, ExitStatus, Halves, Limits, MemoryStream, ReadHalf, Stream, WriteHalf, running_threads,
};
pub use error::{AuthAttempt, Error, Phase, Result};
pub use forward::{Forward, ForwardListener, ForwardRules, ForwardedConnection, relay};
pub use hostkeys::*;
pub use interface::{
    Answer, DirectAnswer, DirectRequest, ForwardedPlace, GatewayPorts, ListenAnswer, ListenOptions,
    ListenRequest, ServerInterface, SessionKind, SessionRequest, X11Answer, X11Displays, X11Request,
};
pub use kex::{Algorithms, KexAnswer, KexError, KexFinish, KexHash, KexOffer, KexSpec, Negotiated};
pub use key::{
    AllowedSigners, Argon2Kind, BadSignerLine, Certificate, CertificateBuilder, CertificateError,
    CertificateKind, CheckKey, CheckSignature, FingerprintHash, IssuedBy, KeyError, KeyFormat, KeyKind,
    KeySpec, OpensshParams, PKey, PpkParams, PpkVersion, PublicFormat, PublicKey, Revoked, RevokedKeys,
    RevokedKeysError, SignatureHash, Signer, SignerVerdict, SshSignature, SshSignatureError, SshfpRecord,
    TokenUse, parse_time,
};
#[cfg(unix)]
pub use mux::{
    ControlMaster, ControlMasterBuilder, Escape, Escapes, ForwardKind, ForwardRequest, Forwards, MasterEnd,
    MuxClient, MuxCommand, MuxSession,
};
pub use packet::{
    CipherSpec, CompressionSpec, CompressionState, IdentError, MacSpec, MacState, PacketError, StartCipher,
    StartCompression, StartMac, VersionLine,
};
pub use pattern::endpoint::Endpoint;
pub use pattern::glob::glob_matches;
pub use pattern::{address_list_matches, pattern_list_matches};
pub use scp::*;
#[cfg(unix)]
pub use server::{AgentSocket, FileService, TcpListeners, UserLogin, X11Display, child_entry};
pub use server::{
    ChannelTimeouts, ConnectionRules, HostbasedRules, LineEditor, LineEditorWriter, Listen, Peer, SSHServer,
    SSHServerBuilder, ServerHandle, Session, SessionEvent, SessionEvents,
};
pub use sftp::*;
pub use sys::traffic::{TrafficClasses, UnknownTrafficClass};
#[cfg(unix)]
pub use sys::user::Account;
pub use text::{ByteReader, Encoding, TextReader, TextWriter, Until};
pub use transport::{AuthMethod, Transport, TransportOptions};
pub use wire::Malformed;

/// The README's programs, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The programs of the chapter on SFTP, compiled.
#[cfg(doctest)]
#[doc = include_str!("../doc/sftp.md")]
struct SftpChapter;
