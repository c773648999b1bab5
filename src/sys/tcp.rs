//! Socket options that std lacks.

use std::os::fd::AsFd;

/// Acknowledge at once what was received, until the system thinks otherwise. Without it a peer that
/// has Nagle's algorithm on waits some 40 ms per small packet.
pub(crate) fn quick_ack(socket: impl AsFd) {
    #[cfg(target_os = "linux")]
    {
        // A hint only; that it may fail changes nothing but the speed.
        let _ = rustix::net::sockopt::set_tcp_quickack(socket, true);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = socket;
}
