//! The sharing of a connection: clients of a master, and masters.

use crate::mux::doors;

/// What a client says to a master of ours.
pub fn mux_master(data: &[u8]) {
    // Without threads there is no connection to share.
    let _ = doors::master(data);
}

/// What a master says to a client of ours.
pub fn mux_client(data: &[u8]) {
    doors::client(data);
}
