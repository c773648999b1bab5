//! ssh_config(5): what our `ssh -G` and OpenSSH's say of the same hosts by the same files and options; files that
//! nobody should read; what a connection makes of what it is told.

#![cfg(unix)]

#[path = "ssh_config/agreement.rs"]
mod agreement;
#[path = "ssh_config/connections.rs"]
mod connections;
mod given;
#[path = "ssh_config/hostile.rs"]
mod hostile;
mod peers;
