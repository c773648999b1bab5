//! The server, asked by raw packets.
