//! Lists of revoked keys, signatures of messages, who may make them, and who may log in: files that others write.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, UNIX_EPOCH};

use base64ct::{Base64, Encoding};

use super::Input;
use crate::auth::AuthAnswer;
use crate::authorized::{AuthorizedKeys, KeyLogin, UserAuthorities};
use crate::key::{AllowedSigners, IssuedBy, PublicKey, RevokedKeys, SshSignature};

/// A key that is asked about.
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHYkCMScBgImnT7HHiFCOj0zuxgtmtrc2qqkMPsexTo9";

/// A certificate that was signed by [`AUTHORITY`] for `me` and `backup`, for ever.
const CERTIFICATE: &str = concat!(
    "ssh-ed25519-cert-v01@openssh.com ",
    "AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAxQG9wZW5zc2guY29tAAAAIBe95tcqCPW0vJUd7RFayThNZN2bW3harqkn",
    "iQWC4xTxAAAAIDsLg/A2qzhf9CATyr3zOmiCMjP92r00aEenhb59tnqUAAAAAAAAAAcAAAABAAAAAm1lAAAAEAAA",
    "AAJtZQAAAAZiYWNrdXAAAAAAAAAAAP//////////AAAAAAAAAIIAAAAVcGVybWl0LVgxMS1mb3J3YXJkaW5nAAAA",
    "AAAAABdwZXJtaXQtYWdlbnQtZm9yd2FyZGluZwAAAAAAAAAWcGVybWl0LXBvcnQtZm9yd2FyZGluZwAAAAAAAAAK",
    "cGVybWl0LXB0eQAAAAAAAAAOcGVybWl0LXVzZXItcmMAAAAAAAAAAAAAADMAAAALc3NoLWVkMjU1MTkAAAAgAsPS",
    "+c7SvL+0Iu9H9W7j5dACtTnggVtiHhL6NBcrKSsAAABTAAAAC3NzaC1lZDI1NTE5AAAAQNONY5qwJoql8S92PuS+",
    "Mf5OV0ok4GPnmIa9VMMZlwgGsHJmRruzJh4CwJG05gWBXv0Sunc8Ok6UNUmSwc0S6AY=",
);
/// Of whoever signed it, in base64.
const AUTHORITY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIALD0vnO0ry/tCLvR/Vu4+XQArU54IFbYh4S+jQXKykr";

/// What is read is written so that it is read the same, and answers the same.
pub fn revoked_keys(data: &[u8]) {
    let mut input = Input(data);
    let list = match input.byte() % 3 {
        0 => RevokedKeys::from_bytes(input.0),
        1 => RevokedKeys::from_bytes(&[b"SSHKRL\n\0\0\0\0\x01", input.0].concat()),
        _ => {
            let mut list = RevokedKeys::new();
            list.revoke_specified(input.0, Some(IssuedBy::Anyone)).map(|list| list.clone())
        }
    };
    let Ok(list) = list else { return };
    let again = list.to_bytes().and_then(|bytes| RevokedKeys::from_bytes(&bytes));
    assert_eq!(again.as_ref(), Ok(&list));
    if let (Ok((key, _)), Ok(again)) = (PublicKey::from_line(KEY), again) {
        assert_eq!(list.check_key(&key), again.check_key(&key));
        assert_eq!(list.to_string(), again.to_string());
        for serial in [0, 1, u64::MAX] {
            let answer = list.check_certificate(&key, serial, b"me");
            assert_eq!(answer, again.check_certificate(&key, serial, b"me"));
        }
    }
}

/// A signature that is read comes back from its text, and nobody made it; a list of signers counts
/// each line at most once, and allows what it finds.
pub fn signatures(data: &[u8]) {
    let mut input = Input(data);
    let signature = match input.byte() % 3 {
        0 => SshSignature::from_armored(input.0),
        1 => {
            let text = Base64::encode_string(&[b"SSHSIG\0\0\0\x01", input.0].concat());
            let text = format!("-----BEGIN SSH SIGNATURE-----\n{text}\n-----END SSH SIGNATURE-----\n");
            SshSignature::from_armored(text)
        }
        _ => {
            signers(input.0);
            return;
        }
    };
    if let Ok(signature) = signature {
        assert_eq!(SshSignature::from_armored(signature.to_armored()).as_ref(), Ok(&signature));
        assert!(signature.verify(signature.namespace(), &b"a message that nobody signed"[..]).is_err());
    }
}

fn signers(text: &[u8]) {
    let list = AllowedSigners::parse(text);
    assert!(list.bad_lines().len() <= text.split(|byte| *byte == b'\n').count());
    let Ok((key, _)) = PublicKey::from_line(KEY) else { return };
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(1_600_000_000)).unwrap_or(UNIX_EPOCH);
    let allowed = list.check("me@example.org", "file", &key, time).is_allowed();
    let found = list.find_principals(&key, Some(b"file"), time);
    let matching = list.match_principals("me@example.org");
    assert!(!allowed || !found.is_empty() && !matching.is_empty());
}

/// Nobody gets in whose key, or whose certificate's authority, is not in the file.
pub fn authorized_keys(text: &[u8]) {
    let keys = AuthorizedKeys::parse(text);
    let lines = text.split(|byte| *byte == b'\n').count();
    assert!(keys.bad_lines().len() <= lines);
    assert!(keys.bad_lines().iter().all(|bad| (1..=lines).contains(&bad.line)));
    for (offered, wanted) in [(KEY, KEY.split(' ').nth(1)), (CERTIFICATE, Some(AUTHORITY))] {
        let (Ok((key, _)), Some(wanted)) = (PublicKey::from_line(offered), wanted) else { continue };
        let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
        let mut login = KeyLogin::new("me", &key, Some(address));
        login.now = UNIX_EPOCH.checked_add(Duration::from_secs(1_600_000_000)).unwrap_or(UNIX_EPOCH);
        let stands = text.windows(wanted.len()).any(|piece| piece == wanted.as_bytes());
        let answer = keys.check(&login);
        assert!(stands || answer == AuthAnswer::Refuse);
        assert_eq!(keys.check(&login), answer);
        let names = key.certificate().into_iter().flat_map(|certificate| certificate.principals());
        let named =
            names.into_iter().any(|name| text.windows(name.len()).any(|piece| piece == name.as_bytes()));
        let trusted = UserAuthorities::parse(format!("ssh-ed25519 {AUTHORITY}")).principals(text);
        assert!(trusted.bad_lines().len() <= lines);
        assert!(named || trusted.check(&login) == AuthAnswer::Refuse);
        let trusted = UserAuthorities::parse(text).check(&login);
        assert!(key.certificate().is_some() && stands || trusted == AuthAnswer::Refuse);
    }
}
