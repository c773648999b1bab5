//! What an SFTP server may do to our client: rows C53 to C58 of the security notes, byte by byte.

#![cfg(unix)]

#[path = "hostile_sftp/answers.rs"]
mod answers;
#[path = "hostile_sftp/cancels.rs"]
mod cancels;
#[path = "hostile_sftp/cuts.rs"]
mod cuts;
#[path = "hostile_sftp/data.rs"]
mod data;
#[path = "hostile_sftp/names.rs"]
mod names;
mod peers;
#[path = "hostile_sftp/start.rs"]
mod start;
#[path = "hostile_sftp/threads.rs"]
mod threads;
mod watch;
#[path = "hostile_sftp/wire.rs"]
mod wire;
