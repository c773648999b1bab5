//! A blocking, thread-safe SSH2 client and server library in paramiko's style.

#![allow(dead_code, unused_imports, reason = "rooms are being filled")]

mod agent;
mod auth;
mod crypto;
mod hostkeys;
mod kex;
mod key;
mod msg;
mod packet;
mod sys;
mod wire;

pub use crypto::secret::Secret;
pub use crypto::{CryptoError, Rank};
pub use key::{KeyError, PKey, PublicKey};
pub use wire::Malformed;
