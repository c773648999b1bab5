//! Forwarded connections: ports and UNIX sockets, from here to there and back, and SOCKS.
//!
//! `message`, `socks` and `rules` are pure. `listen` accepts, `dial` connects, `relay` joins a channel and a
//! stream; `local` and `remote` are the client's calls. What a server is asked and does stands in `server/`.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::arithmetic_side_effects
    )
)]

pub(crate) mod dial;
pub(crate) mod listen;
pub(crate) mod local;
pub(crate) mod message;
pub(crate) mod relay;
mod remote;
pub(crate) mod rules;
pub(crate) mod socks;

pub use listen::ForwardListener;
pub use local::Forward;
pub use relay::relay;
pub use remote::ForwardedConnection;
pub use rules::ForwardRules;
