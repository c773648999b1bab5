//! Every limit that holds against a peer, in one place.

use std::time::Duration;

/// What a peer may use of us. Exceeding one ends the connection, or refuses the one thing that
/// exceeded it, with [`Error::Limit`](crate::Error::Limit) naming the field.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// Channels open at once on one connection; OpenSSH allows 16384, no honest client needs 100.
    pub channels: usize,
    /// Bytes of answers waiting to leave because the peer does not read them.
    pub control_bytes: usize,
    /// Requests of the peer that wait for the application; more are refused.
    pub pending_requests: usize,
    /// Bytes kept of a stream that nobody reads while somebody waits for the command's other stream
    /// or its end.
    pub unread_stream: usize,
    /// How much all channels' windows may grow beyond their first 2 MiB.
    pub window_budget: u32,
    /// From the first byte to the end of authentication, as a server; OpenSSH gives 120 s.
    pub login_grace: Duration,
    /// From the first byte to the end of authentication, as a client.
    pub connect_timeout: Duration,
    /// Bytes a peer may send before it is authenticated.
    pub bytes_before_auth: u64,
    /// Failed attempts to authenticate, of every kind, before a server disconnects.
    pub auth_tries: u32,
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
    /// Unauthenticated connections of a listener.
    pub startups: usize,
    /// Unauthenticated connections of a listener from one address.
    pub startups_per_source: usize,
    /// Sessions open at once on one connection of a server.
    pub sessions: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            channels: 4096,
            control_bytes: 1024 * 1024,
            pending_requests: 64,
            unread_stream: 8 * 1024 * 1024,
            window_budget: 64 * 1024 * 1024,
            login_grace: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(30),
            bytes_before_auth: 2 * 1024 * 1024,
            auth_tries: 6,
            rekey_bytes: 1 << 30,
            rekey_interval: Duration::from_secs(3600),
            rekey_timeout: Duration::from_secs(60),
            request_timeout: Duration::from_secs(3600),
            linger: Duration::from_secs(2),
            startups: 100,
            startups_per_source: 16,
            sessions: 10,
        }
    }
}
