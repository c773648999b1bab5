//! Lists of revoked keys, signatures of messages, and who may make them: files that others write.

use std::time::{Duration, UNIX_EPOCH};

use base64ct::{Base64, Encoding};

use super::Input;
use crate::key::{AllowedSigners, IssuedBy, PublicKey, RevokedKeys, SshSignature};

/// A key that is asked about.
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHYkCMScBgImnT7HHiFCOj0zuxgtmtrc2qqkMPsexTo9";

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
