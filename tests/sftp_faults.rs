//! Transfers that are cut off and gone on with, full disks, and files that are large, many or oddly named.

#![cfg(unix)]

#[path = "sftp_faults/cut.rs"]
mod cut;
#[path = "sftp_faults/disks.rs"]
mod disks;
mod given;
#[path = "sftp_faults/many.rs"]
mod many;
mod peers;
#[path = "sftp_faults/relay.rs"]
mod relay;
#[path = "sftp/servers.rs"]
mod servers;
#[path = "sftp_faults/sizes.rs"]
mod sizes;
#[path = "sftp_faults/stripes.rs"]
mod stripes;
mod watch;
