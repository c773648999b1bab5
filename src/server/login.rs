//! Letting a client in: the server's side of authentication, on the serving thread.

use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::{Config, ConnectionRules, Peer};
use crate::auth::{AuthAnswer, AuthInfo, AuthServer, HostbasedClient, MethodLogin, Question, ServerAction};
use crate::engine::Login;
use crate::error::{Error, Result, reason};
use crate::interface::ServerInterface;
use crate::key::{PublicKey, RevokedKeys};
use crate::msg::auth::UserauthBanner;
use crate::wire::{Encode, Escaped};

/// Authenticates the client; who it is, and what holds for the connection.
pub(super) fn authenticate<I: ServerInterface>(
    login: &mut Login,
    config: &Config,
    interface: &Arc<I>,
    peer: &Peer,
) -> Result<(AuthInfo, ConnectionRules)> {
    let session_id = login.kex.session_id().to_vec();
    let host_key = login.kex.host_key().map(|key| key.blob().to_vec()).unwrap_or_default();
    let taken = &config.algorithms.public_keys;
    let mut machine = AuthServer::new(&session_id, &host_key, taken, config.rules.limits.auth_server());
    machine.require_rsa(config.algorithms.rsa_bits);
    machine.take_own_keys(config.algorithms.own_keys());
    let mut delay = config.rules.limits.failure_delay;
    let (mut rules, mut asked_for) = (config.rules.clone(), None);
    loop {
        login.awaits_method = machine.awaits_method();
        let payload = login.receive()?;
        let asked = Instant::now();
        if payload.first() == Some(&50) {
            // A name that is none gets the methods that nobody in particular has: it looks like any other.
            let user = machine.user_of(&payload).unwrap_or_default();
            delay = config.delays.of(&user, config.rules.limits.failure_delay);
            machine.set_methods(interface.allowed_auths(&user));
            machine.require(interface.authentication_methods(&user));
            if asked_for.as_ref() != Some(&user) {
                rules = interface.connection_rules(&user, config.rules.clone());
                machine.set_limits(rules.limits.auth_server());
                let users = rules.public_keys.as_deref().unwrap_or(taken);
                let hosts = rules.host_keys.as_deref().unwrap_or_else(|| config.algorithms.hostbased());
                machine.set_algorithms(users, hosts);
                let authorities = rules.ca_signatures.as_deref();
                machine.take_authorities(authorities.unwrap_or_else(|| config.algorithms.ca_signatures()));
                // Said once, and known only now: it may be one for this user.
                if asked_for.replace(user).is_none()
                    && let Some(text) = interface.banner()
                {
                    login
                        .queue(&UserauthBanner { text: Escaped(text.as_bytes()), language: b"" }.to_vec())?;
                }
            }
        }
        let mut actions = machine.feed(&payload)?;
        while !actions.is_empty() {
            for action in std::mem::take(&mut actions) {
                match action {
                    ServerAction::Send(payload) => login.queue(&payload)?,
                    ServerAction::Ask(question) => {
                        let lists = config.revoked_keys.iter().chain(&rules.revoked_keys);
                        actions = match question.key() {
                            Some(key) if is_revoked(key, lists, peer) => machine.answer(AuthAnswer::Refuse),
                            _ => ask(&mut machine, &**interface, peer, &session_id, question),
                        };
                    }
                    ServerAction::Refuse(payload) => {
                        refuse_after(delay, asked);
                        login.queue(&payload)?;
                    }
                    ServerAction::TooMany => {
                        refuse_after(delay, asked);
                        return Err(Error::Protocol {
                            code: reason::NO_MORE_AUTH_METHODS,
                            text: "Too many authentication failures".to_owned(),
                        });
                    }
                    ServerAction::Success(info, payload) => {
                        login.queue(&payload)?;
                        login.flush()?;
                        return Ok((info, rules));
                    }
                }
            }
        }
        login.flush()?;
    }
}

/// How long a refusal takes for each user: always the same for one, so that trying again tells
/// nothing, and not to be foretold, so that the jitter cannot be taken off.
#[derive(Debug)]
pub(super) struct Delays(RandomState);

impl Delays {
    pub(super) fn new() -> Self {
        Self(RandomState::new())
    }

    /// Between once and twice the least.
    fn of(&self, user: &str, least: Duration) -> Duration {
        let share = self.0.hash_one(user) % 1024;
        least.saturating_add(least.mul_f64(share as f64 / 1024.0))
    }
}

/// Waits until `delay` after the request. What took longer waits for twice the delay, or four times:
/// the time tells only its order of magnitude, as with OpenSSH.
fn refuse_after(delay: Duration, asked: Instant) {
    let mut until = delay;
    while !until.is_zero() && until < asked.elapsed() {
        until = until.saturating_mul(2);
    }
    std::thread::sleep(until.saturating_sub(asked.elapsed()));
}

/// Whether a list has the key, its certificate or its authority. One that cannot be read has every key.
fn is_revoked<'a>(key: &PublicKey, lists: impl Iterator<Item = &'a PathBuf>, peer: &Peer) -> bool {
    lists.into_iter().any(|path| match RevokedKeys::from_file(path).map(|list| list.check_key(key)) {
        Ok(None) => false,
        Ok(Some(revoked)) => {
            log::error!(target: "feramiko::auth", "{}: {}: {revoked}", peer.source, key.fingerprint());
            true
        }
        Err(error) => {
            log::error!(target: "feramiko::auth", "all keys count as revoked: {error}");
            true
        }
    })
}

/// Asks the application.
fn ask(
    machine: &mut AuthServer,
    interface: &impl ServerInterface,
    peer: &Peer,
    session_id: &[u8],
    question: Question,
) -> Vec<ServerAction> {
    let answer = match question {
        Question::None { user } => interface.check_auth_none(&user),
        Question::Password { user, password } => interface.check_auth_password(&user, &password),
        Question::ChangePassword { user, old, new } => {
            interface.check_auth_password_change(&user, &old, &new)
        }
        Question::PublicKey { user, key } => interface.check_auth_publickey(&user, &key),
        Question::Certificate { user, key } => certificate(interface, peer, &user, &key),
        Question::Hostbased { user, client } => hostbased(interface, peer, &user, &client),
        Question::Interactive { user } => {
            return machine.interactive_answer(interface.check_auth_interactive(&user));
        }
        Question::InteractiveResponse { user, answers } => {
            return machine.interactive_answer(interface.check_auth_interactive_response(&user, &answers));
        }
        Question::Method { user, method, fields } => {
            let login = MethodLogin { method, user: &user, session_id };
            return machine.method_answer(interface.check_auth_method(&login, &fields));
        }
        Question::MethodResponse { user, method, message } => {
            let login = MethodLogin { method, user: &user, session_id };
            return machine.method_answer(interface.check_auth_method_response(&login, &message));
        }
    };
    let answer: AuthAnswer = answer;
    machine.answer(answer)
}

/// Whether the certificate is good for now and for where the client is; only then the application says
/// whether it lets this user in.
fn certificate(interface: &impl ServerInterface, peer: &Peer, user: &str, key: &PublicKey) -> AuthAnswer {
    let address = peer.addresses.map(|(peer, _)| peer.ip());
    match key.certificate().map(|certificate| certificate.check_user(SystemTime::now(), address)) {
        Some(Ok(())) => interface.check_auth_certificate(user, key),
        Some(Err(error)) => {
            // As OpenSSH does: who runs the server will be asked, and the client is not told.
            log::error!(target: "feramiko::auth", "{}: {}: {error}", peer.source, key.fingerprint());
            AuthAnswer::Refuse
        }
        None => AuthAnswer::Refuse,
    }
}

/// A host's certificate must be good for now and for that host; only then the application says whether
/// it believes the host.
fn hostbased(
    interface: &impl ServerInterface,
    peer: &Peer,
    user: &str,
    client: &HostbasedClient,
) -> AuthAnswer {
    let certificate = client.key.certificate();
    match certificate.map(|certificate| certificate.check_host(SystemTime::now(), &client.host)) {
        None | Some(Ok(())) => interface.check_auth_hostbased(user, client),
        Some(Err(error)) => {
            log::info!(target: "feramiko::auth", "{}: host {}: {error}", peer.source, client.host);
            AuthAnswer::Refuse
        }
    }
}
