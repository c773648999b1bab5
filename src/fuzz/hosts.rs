//! Host keys that a server announces, against a known_hosts file that anybody may have written.

use std::path::Path;

use super::Input;
use crate::hostkeys::{HostKeyStatus, HostKeys, HostNames, UpdatePlan, encode_keys, strings};
use crate::key::PublicKey;

/// Two keys that are announced; the corpus has them in its files, too.
const KEYS: [&str; 2] = [
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHYkCMScBgImnT7HHiFCOj0zuxgtmtrc2qqkMPsexTo9",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICfjVOJNDcRocFhnVzeRhi4cy12n5MYcic16TaRYwLbQ",
];

/// What is read of an announcement is all of it; what is changed in a file is the host's plain lines and
/// nothing else, and is then what the host announced.
pub fn host_keys(data: &[u8]) {
    let mut input = Input(data);
    let kind = input.byte();
    if kind % 3 == 0 {
        if let Some(found) = strings(input.0) {
            let keys: Vec<_> = found.iter().filter_map(|blob| PublicKey::from_blob(blob).ok()).collect();
            if keys.len() == found.len() {
                assert_eq!(encode_keys(&keys), input.0);
            }
        }
        return;
    }
    let keys: Vec<_> =
        KEYS.iter().filter_map(|line| PublicKey::from_line(line).ok()).map(|(key, _)| key).collect();
    let address = (kind % 3 == 2).then_some("192.0.2.7");
    let Ok(names) = HostNames::new("host", address, 22) else { return };
    let first = Path::new("first");
    let before = HostKeys::parse_as(input.0, first);
    let UpdatePlan::Change { new, old } = before.plan_update(&names, &keys, first) else { return };
    let mut after = before.clone();
    assert!(after.apply_update(&names, &new, &old, kind >= 128).is_ok());
    assert_eq!(after.plan_update(&names, &keys, first), UpdatePlan::Nothing);
    let kept = |keys: &HostKeys| keys.iter().filter(|entry| entry.marker().is_some()).count();
    assert_eq!(kept(&after), kept(&before));
    for key in &old {
        assert_ne!(after.check("host", 22, key), HostKeyStatus::Known);
    }
    assert_eq!(HostKeys::parse_as(&after.to_text(), first).to_text(), after.to_text());
}
