//! OpenSSH's sshd and ours over the same files: lines of authorized_keys, certificates, lists of principals and
//! of revoked keys must be judged alike, for the same reasons, and have the same effect.

#![cfg(unix)]

#[path = "logins/authorities.rs"]
mod authorities;
#[path = "logins/certificates.rs"]
mod certificates;
#[path = "logins/effects.rs"]
mod effects;
mod given;
#[path = "logins/judges.rs"]
mod judges;
#[path = "logins/lines.rs"]
mod lines;
#[path = "logins/makers.rs"]
mod makers;
mod peers;
#[path = "logins/principals.rs"]
mod principals;
#[path = "logins/revoked.rs"]
mod revoked;
