//! known_hosts as OpenSSH understands it: which lines ssh-keygen finds, whom ssh trusts, and what both
//! ends learn from each other.

mod given;
#[path = "hostkeys/lines.rs"]
mod lines;
mod peers;
#[path = "hostkeys/proofs.rs"]
mod proofs;
#[path = "hostkeys/updates.rs"]
mod updates;
#[path = "hostkeys/verdicts.rs"]
mod verdicts;
