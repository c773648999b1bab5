//! Every limit that holds against a peer, in one place.

use std::time::Duration;

use super::{flow, login, slot};
use crate::auth::{ClientLimits, ServerLimits};
use crate::{kex, key, packet, wire};

/// What a peer may use of us. Fields can be set; what the formats fix are constants. Exceeding one ends
/// the connection, or refuses the one thing that exceeded it, with [`Error::Limit`](crate::Error::Limit) naming the field.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// Channels open at once on one connection; OpenSSH allows 16384, no honest client needs 100.
    pub channels: usize,
    /// Bytes of answers, and of their places in the queue, waiting to leave because the peer does not
    /// read them.
    pub control_bytes: usize,
    /// Requests of the peer that wait for the application; more are refused.
    pub pending_requests: usize,
    /// Answers to the peer, on one channel or of the connection, that wait for an earlier one because
    /// the application still thinks about that.
    pub owed_answers: usize,
    /// Requests of ours on one channel that wait for the peer; more are an error of the caller's.
    pub unanswered_requests: usize,
    /// Bytes kept of a stream that nobody reads while somebody waits for the command's other stream
    /// or its end.
    pub unread_stream: usize,
    /// How much all channels' windows may grow beyond their first 2 MiB.
    pub window_budget: u32,
    /// From the first byte to the end of authentication, as a server; OpenSSH gives 120 s.
    pub login_grace: Duration,
    /// For connecting and the first keys, as a client.
    pub connect_timeout: Duration,
    /// From the first keys to the end of authentication, as a client, without the time in which somebody is asked;
    /// agents may ask as long as OpenSSH's servers wait.
    pub auth_timeout: Duration,
    /// Bytes a client may send before it is authenticated.
    pub bytes_before_auth: u64,
    /// Bytes a server may send before we are authenticated: its banners and prompts count.
    pub client_bytes_before_auth: u64,
    /// Failed attempts to authenticate, of every kind, before a server disconnects.
    pub auth_tries: u32,
    /// Requests to authenticate, also those that do not fail (asking whether a key would do, one of
    /// several factors), before a server disconnects.
    pub auth_requests: u32,
    /// The least time before a server refuses an attempt; a jitter that depends on the user comes on
    /// top, and whoever takes longer is delayed to a multiple, as OpenSSH does, so that the time
    /// tells nothing. OpenSSH's figure.
    pub failure_delay: Duration,
    /// Bytes of a user name a server looks at.
    pub user_name_bytes: usize,
    /// Bytes of a password or an answer a server looks at; odd input must not reach `crypt`.
    pub password_bytes: usize,
    /// Attempts of a client, also after partial successes: a server may offer more for ever.
    pub client_attempts: u32,
    /// Prompts of one round of keyboard-interactive that a client shows; OpenSSH's figure.
    pub prompts: u32,
    /// Rounds of one keyboard-interactive attempt, or one by a method of your own, in both roles.
    pub prompt_rounds: u32,
    /// Banners a client takes.
    pub banners: u32,
    /// Bytes of all banners together that are passed on, as much as one packet can hold; the rest is dropped.
    pub banner_bytes: usize,
    /// New keys after that many bytes in one direction.
    pub rekey_bytes: u64,
    /// New keys after that time.
    pub rekey_interval: Duration,
    /// A key exchange that takes longer ends the connection.
    pub rekey_timeout: Duration,
    /// Time for a blocking call (open, request) to be answered.
    pub request_timeout: Duration,
    /// Time for the last bytes to leave after the last handle was dropped.
    pub linger: Duration,
    /// Unauthenticated connections of a listener from which on some are refused at random: the first
    /// of three figures of OpenSSH's `MaxStartups`.
    pub startups_begin: usize,
    /// How many of a hundred are refused there; the share grows until `startups`.
    pub startups_refused_percent: u32,
    /// Unauthenticated connections of a listener at which all more are refused.
    pub startups: usize,
    /// Unauthenticated connections of a listener from one address.
    pub startups_per_source: usize,
    /// Connections forwarded at once, of one kind on one connection of a server, or of one forwarding of a
    /// client: each takes two threads and two windows.
    pub forwarded: usize,
    /// Forwardings that listen at once on one connection of a server: each takes a thread.
    pub listeners: usize,
    /// Sessions at once on one connection of a server, also those whose channel is closed and which run on.
    pub sessions: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            channels: 4096,
            control_bytes: 1024 * 1024,
            pending_requests: 64,
            owed_answers: 4096,
            unanswered_requests: 64,
            unread_stream: 8 * 1024 * 1024,
            window_budget: 64 * 1024 * 1024,
            login_grace: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(30),
            auth_timeout: Duration::from_secs(120),
            bytes_before_auth: 2 * 1024 * 1024,
            client_bytes_before_auth: 16 * 1024 * 1024,
            auth_tries: 6,
            auth_requests: 20,
            failure_delay: Duration::from_millis(5),
            user_name_bytes: 1024,
            password_bytes: 1024,
            client_attempts: 64,
            prompts: 100,
            prompt_rounds: 20,
            banners: 1024,
            banner_bytes: 256 * 1024,
            rekey_bytes: 1 << 30,
            rekey_interval: Duration::from_secs(3600),
            rekey_timeout: Duration::from_secs(60),
            request_timeout: Duration::from_secs(3600),
            linger: Duration::from_secs(2),
            startups_begin: 10,
            startups_refused_percent: 30,
            startups: 100,
            startups_per_source: 16,
            forwarded: 2048,
            listeners: 128,
            sessions: 10,
        }
    }
}

impl Limits {
    /// The largest packet, sealed or inflated, RFC 4253 §6.1 asks for 35000; OpenSSH's figure.
    pub const PACKET_BYTES: usize = packet::MAX_PACKET;
    /// The longest version line, RFC 4253 §4.2.
    pub const VERSION_BYTES: usize = packet::MAX_LINE;
    /// Lines that a client takes before a server's version line; OpenSSH's figure.
    pub const LINES_BEFORE_VERSION: usize = packet::MAX_PRE_LINES;
    /// Bytes of those lines together.
    pub const BYTES_BEFORE_VERSION: usize = packet::MAX_PRE_BYTES;
    /// The longest list of algorithm names.
    pub const NAME_LIST_BYTES: usize = wire::NAME_LIST_BYTES;
    /// Names in such a list.
    pub const NAME_LIST_NAMES: usize = wire::NAME_LIST_NAMES;
    /// The longest name of an algorithm, RFC 4251 §6.
    pub const NAME_BYTES: usize = wire::NAME_BYTES;
    /// The smallest Diffie-Hellman group, in bits, RFC 8270.
    pub const DH_BITS_MIN: u32 = kex::MIN_BITS;
    /// The largest: more is only work.
    pub const DH_BITS_MAX: u32 = kex::MAX_BITS;
    /// The smallest RSA key, in bits, unless [`Algorithms::required_rsa_size`](crate::Algorithms::required_rsa_size)
    /// says otherwise.
    pub const RSA_BITS_MIN: usize = key::RSA_MIN;
    /// The smallest RSA key that can be allowed; OpenSSH's figure.
    pub const RSA_BITS_FLOOR: usize = key::RSA_FLOOR;
    /// The largest RSA key, in bits; OpenSSH's figure.
    pub const RSA_BITS_MAX: usize = key::RSA_MAX;
    /// The window a channel starts with, in bytes; OpenSSH's and paramiko's figure.
    pub const WINDOW: u32 = flow::WINDOW;
    /// The largest window a channel grows to.
    pub const WINDOW_MAX: u32 = flow::WINDOW_LONG;
    /// The largest data packet that a peer may send on a channel.
    pub const DATA_BYTES: u32 = flow::MAX_PACKET;
    /// What a channel queues to be sent before a write waits.
    pub const SEND_BUFFER: usize = slot::SEND_BUFFER;
    /// Packets that are kept while keys are exchanged anew before somebody is authenticated.
    pub const PACKETS_IN_KEX: usize = login::HELD_BACK;
    /// Extensions of one EXT_INFO, RFC 8308.
    pub const EXTENSIONS: u32 = login::EXTENSIONS;

    /// What authenticating as a client is held to.
    pub(crate) fn auth_client(&self) -> ClientLimits {
        ClientLimits {
            attempts: self.client_attempts,
            prompts: self.prompts,
            rounds: self.prompt_rounds,
            banners: self.banners,
            banner_bytes: self.banner_bytes,
        }
    }

    /// What clients of a server are held to.
    pub(crate) fn auth_server(&self) -> ServerLimits {
        ServerLimits {
            tries: self.auth_tries,
            requests: self.auth_requests,
            rounds: self.prompt_rounds,
            user_bytes: self.user_name_bytes,
            password_bytes: self.password_bytes,
        }
    }
}
