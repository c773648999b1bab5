//! Learning the further keys that a host announces: `UpdateHostKeys` of ssh_config(5), OpenSSH's
//! clientloop.c, client_input_hostkeys.
//!
//! Runs on a thread of its own, which lives from the announcement until known_hosts is changed.

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;

use super::hostcheck::Checker;
use crate::engine::{Core, RequestTaker, global_request};
use crate::error::{Error, Result};
use crate::hostkeys::{ANNOUNCE, HostKeys, HostNames, PROVE, UpdatePlan, encode_keys, proof, strings};
use crate::kex::Algorithms;
use crate::key::{PublicKey, RevokedKeys};
use crate::wire::Reader;

/// Time for a host to sign with all of its keys.
const PROOF_PATIENCE: Duration = Duration::from_secs(60);

/// The keys that a host has and known_hosts has not, and the other way.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostKeysChange {
    /// The host, as known_hosts is asked for it.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Keys to learn; the host has proven to hold them.
    pub new: Vec<PublicKey>,
    /// Keys to forget; the host does not announce them any more.
    pub old: Vec<PublicKey>,
}

/// What came of a host's announcement of its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostKeysUpdate {
    /// known_hosts was changed.
    Changed(HostKeysChange),
    /// known_hosts has just these keys.
    Unchanged,
    /// known_hosts was left alone, for this reason.
    Skipped(&'static str),
    /// The host did not prove what it announced, or the file could not be written.
    Failed(String),
}

/// Asks whether known_hosts is to be changed.
pub(super) type Ask = Box<dyn FnMut(&HostKeysChange) -> bool + Send>;

/// What came of it, once something did.
#[derive(Debug, Clone)]
pub(super) struct Updated {
    outcome: Arc<OnceLock<HostKeysUpdate>>,
    /// Disconnected when nothing more will come.
    done: Receiver<()>,
}

impl Updated {
    /// Nobody has asked for it.
    #[cfg(unix)]
    pub(super) fn unasked() -> Self {
        Self { outcome: Arc::default(), done: crossbeam_channel::bounded(0).1 }
    }

    pub(super) fn wait(&self, timeout: Duration) -> Option<HostKeysUpdate> {
        // Nothing is ever sent: it ends by the other side's end, or by the time.
        let _ = self.done.recv_timeout(timeout);
        self.outcome.get().cloned()
    }
}

struct Updater {
    keys: Arc<Mutex<HostKeys>>,
    host: String,
    port: u16,
    address: Option<String>,
    files: Vec<PathBuf>,
    revoked: Vec<PathBuf>,
    hash: bool,
    ask: Ask,
    outcome: Arc<OnceLock<HostKeysUpdate>>,
    _done: Sender<()>,
}

/// What is to be done about an announcement, after the key of the connection was judged.
pub(super) fn prepare(checker: Checker) -> (Option<RequestTaker>, Updated) {
    let (sender, done) = crossbeam_channel::bounded(0);
    let outcome = Arc::new(OnceLock::new());
    let updated = Updated { outcome: Arc::clone(&outcome), done };
    let Some(ask) = checker.options.update else { return (None, updated) };
    if !checker.may_update {
        let why = "the host was not known by a plain key under its own name in a file of the user's";
        // Nobody else has it yet.
        let _ = outcome.set(HostKeysUpdate::Skipped(why));
        return (None, updated);
    }
    let updater = Updater {
        keys: checker.keys,
        host: checker.host,
        port: checker.port,
        address: checker.address,
        files: checker.options.user_files,
        revoked: checker.options.revoked,
        hash: checker.options.hash,
        ask,
        outcome,
        _done: sender,
    };
    let take = Box::new(move |core: Arc<Core>, rest: Vec<u8>| updater.run(&core, &rest));
    (Some(RequestTaker { kind: ANNOUNCE, take }), updated)
}

impl Updater {
    fn run(mut self, core: &Arc<Core>, rest: &[u8]) {
        let outcome = self.update(core, rest);
        let outcome = outcome.unwrap_or_else(|error| HostKeysUpdate::Failed(error.to_string()));
        log::debug!(target: "feramiko::hostkeys", "{} port {}: further keys: {outcome:?}", self.host, self.port);
        // An announcement is taken once.
        let _ = self.outcome.set(outcome);
    }

    fn update(&mut self, core: &Arc<Core>, rest: &[u8]) -> Result<HostKeysUpdate> {
        let revoked =
            self.revoked.iter().map(RevokedKeys::from_file).collect::<std::result::Result<Vec<_>, _>>();
        let unreadable = |error| Error::io("reading the list of revoked keys", std::io::Error::other(error));
        let announced = usable(rest, &core.setup.algorithms, &revoked.map_err(unreadable)?)?;
        let Some(first) = self.files.first().filter(|_| !announced.is_empty()) else {
            return Ok(HostKeysUpdate::Unchanged);
        };
        let names = HostNames::new(&self.host, self.address.as_deref(), self.port)?;
        let known = HostKeys::load_all(&self.files)?;
        let plan = known.plan_update(&names, &announced, first);
        let (new, old) = match &plan {
            UpdatePlan::Nothing => return Ok(HostKeysUpdate::Unchanged),
            UpdatePlan::Not(why) => return Ok(HostKeysUpdate::Skipped(why)),
            UpdatePlan::Change { new, old } => (new.clone(), old.clone()),
        };
        prove(core, &new)?;
        let change = HostKeysChange { host: self.host.clone(), port: self.port, new, old };
        if !(self.ask)(&change) {
            return Ok(HostKeysUpdate::Skipped("it was declined"));
        }
        if !HostKeys::update_file(&self.files, &names, &announced, &plan, self.hash)? {
            return Ok(HostKeysUpdate::Skipped("known_hosts was changed by somebody else meanwhile"));
        }
        self.keys.lock().apply_update(&names, &change.new, &change.old, self.hash)?;
        Ok(HostKeysUpdate::Changed(change))
    }
}

/// The keys of an announcement that we could judge the host by.
fn usable(rest: &[u8], algorithms: &Algorithms, revoked: &[RevokedKeys]) -> Result<Vec<PublicKey>> {
    let mut keys = Vec::new();
    for blob in strings(rest).ok_or_else(|| Error::protocol("host keys that cannot be read"))? {
        let Ok(key) = PublicKey::from_any_blob(blob, algorithms.own_keys()) else { continue };
        let usable = key.certificate().is_none()
            && key.check_size(algorithms.rsa_bits).is_ok()
            && key.algorithms().iter().any(|name| algorithms.host_keys.contains(name))
            && !revoked.iter().any(|list| list.check_key(&key).is_some());
        if keys.contains(&key) {
            return Err(Error::protocol("a host key that is announced twice"));
        }
        if usable {
            keys.push(key);
        }
    }
    Ok(keys)
}

/// Has the host sign with each of the keys.
fn prove(core: &Arc<Core>, keys: &[PublicKey]) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let deadline = Instant::now().checked_add(PROOF_PATIENCE);
    let answer = global_request(core, PROVE, &encode_keys(keys), deadline)?;
    check_proofs(&core.session_id(), &core.setup.algorithms, keys, &answer)
}

/// One signature for each key, by an algorithm that we would have taken from the host in an exchange.
fn check_proofs(session_id: &[u8], algorithms: &Algorithms, keys: &[PublicKey], answer: &[u8]) -> Result<()> {
    let signatures = strings(answer).filter(|signatures| signatures.len() == keys.len());
    let signatures = signatures.ok_or_else(|| Error::protocol("not one proof for each host key"))?;
    for (key, blob) in keys.iter().zip(signatures) {
        let label = Reader::new(blob).string().unwrap_or_default();
        let mut offered = key.algorithms().iter().filter(|name| algorithms.host_keys.contains(name));
        let algorithm = offered
            .find(|name| algorithms.signature(name).is_some_and(|spec| spec.label.as_bytes() == label));
        let algorithm =
            algorithm.ok_or_else(|| Error::protocol("a proof by an algorithm that was not offered"))?;
        key.verify_use_sized(algorithms.rsa_bits, algorithm, &proof(session_id, key), blob)?;
    }
    Ok(())
}
