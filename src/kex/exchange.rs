//! The exchange itself, both sides, the first and every later one: RFC 4253 §7 and §8, RFC 4419,
//! RFC 8308 §2.1, draft-miller-sshm-strict-kex.

use std::sync::Arc;

use super::gex::{self, Moduli};
use super::method::{self, Offered, Shared};
use super::negotiate::{
    Agreed, EXT_INFO_CLIENT, EXT_INFO_SERVER, Negotiated, STRICT_CLIENT, STRICT_SERVER, negotiate,
};
use super::table::Kind;
use super::{Action, Algorithms, KexError, Role};
use crate::crypto::dh::Group;
use crate::crypto::rand;
use crate::key::PublicKey;
use crate::msg::kex::{
    KexDhInit, KexDhReply, KexEcdhInit, KexEcdhReply, KexGexGroup, KexGexInit, KexGexReply, KexGexRequest,
    KexGexRequestOld, KexInit, NewKeys,
};
use crate::packet::{Direction, KeySource, OpenKeys, Suite};
use crate::wire::{Encode, Mpint, NameList};

/// What stays the same over a connection's exchanges.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) role: Role,
    pub(crate) algorithms: Algorithms,
    /// Both version lines, without CR LF.
    pub(crate) our_ident: Vec<u8>,
    pub(crate) peer_ident: Vec<u8>,
    /// A server's keys.
    pub(crate) host_keys: Vec<PublicKey>,
    pub(crate) moduli: Arc<Moduli>,
}

/// What an exchange waits for.
enum State {
    Idle,
    /// The peer's KEXINIT.
    Init,
    /// Client: the server's group.
    Group,
    /// Client: the server's reply.
    Reply {
        offered: Offered,
        share: Vec<u8>,
    },
    /// Server: the client's wish for a group.
    GroupRequest,
    /// Server: the client's share.
    Share,
    /// Client: the application's verdict on the host key.
    Verdict(Secrets),
    /// Server: the signature.
    Signature {
        secrets: Secrets,
        share: Vec<u8>,
    },
    /// The peer's NEWKEYS.
    NewKeys(OpenKeys),
}

/// What a finished exchange leaves.
struct Secrets {
    shared: Shared,
    hash: Vec<u8>,
}

/// The parts of group exchange that enter the hash.
struct Gex {
    /// As they were sent: one number for the old request, three for the new one.
    request: Vec<u8>,
    group: Group,
}

/// The machine: lives as long as the connection.
pub(crate) struct Kex {
    setup: Setup,
    state: State,
    ours: Vec<u8>,
    theirs: Vec<u8>,
    agreed: Option<Agreed>,
    negotiated: Option<Negotiated>,
    gex: Option<Gex>,
    gex_request: Vec<u8>,
    session_id: Vec<u8>,
    host_key: Option<PublicKey>,
    /// The signature over the first exchange's hash.
    proof: Option<Vec<u8>>,
    strict: bool,
    peer_ext_info: bool,
    ignore_next: bool,
}

impl std::fmt::Debug for Kex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kex").field("negotiated", &self.negotiated).finish_non_exhaustive()
    }
}

impl Kex {
    pub(crate) fn new(setup: Setup) -> Self {
        Self {
            setup,
            state: State::Idle,
            ours: Vec::new(),
            theirs: Vec::new(),
            agreed: None,
            negotiated: None,
            gex: None,
            gex_request: Vec::new(),
            session_id: Vec::new(),
            host_key: None,
            proof: None,
            strict: false,
            peer_ext_info: false,
            ignore_next: false,
        }
    }

    /// Our KEXINIT. Markers stand in the first one only.
    pub(crate) fn kexinit(setup: &Setup, first: bool) -> Result<Vec<u8>, KexError> {
        let algorithms = &setup.algorithms;
        let mut kex = algorithms.kex.clone();
        if first {
            kex.extend(match setup.role {
                Role::Client => [EXT_INFO_CLIENT, STRICT_CLIENT],
                Role::Server => [EXT_INFO_SERVER, STRICT_SERVER],
            });
        }
        let host_keys: Vec<_> = match setup.role {
            Role::Client => algorithms.host_keys.clone(),
            Role::Server => {
                let ours = |name: &&&str| setup.host_keys.iter().any(|key| key.algorithms().contains(*name));
                algorithms.host_keys.iter().filter(ours).copied().collect()
            }
        };
        let [kex, host_keys] = [kex.join(","), host_keys.join(",")];
        let [ciphers, macs] = [algorithms.ciphers.join(","), algorithms.macs.join(",")];
        let compressions = algorithms.compressions.join(",");
        let none = NameList::from_joined("");
        Ok(KexInit {
            cookie: rand::array()?,
            kex: NameList::from_joined(&kex),
            host_key: NameList::from_joined(&host_keys),
            cipher_to_server: NameList::from_joined(&ciphers),
            cipher_to_client: NameList::from_joined(&ciphers),
            mac_to_server: NameList::from_joined(&macs),
            mac_to_client: NameList::from_joined(&macs),
            compression_to_server: NameList::from_joined(&compressions),
            compression_to_client: NameList::from_joined(&compressions),
            language_to_server: none,
            language_to_client: none,
            first_kex_packet_follows: false,
            reserved: 0,
        }
        .to_vec())
    }

    /// An exchange starts: our KEXINIT has left or is about to.
    pub(crate) fn begin(&mut self, our_kexinit: Vec<u8>) {
        self.ours = our_kexinit;
        self.state = State::Init;
    }

    /// Whether an exchange is under way.
    pub(crate) fn begun(&self) -> bool {
        !matches!(self.state, State::Idle)
    }

    pub(crate) fn session_id(&self) -> &[u8] {
        &self.session_id
    }

    /// Whether strict key exchange is in force.
    pub(crate) fn strict(&self) -> bool {
        self.strict
    }

    /// Whether the peer reads EXT_INFO.
    pub(crate) fn peer_wants_ext_info(&self) -> bool {
        self.peer_ext_info
    }

    pub(crate) fn negotiated(&self) -> Option<&Negotiated> {
        self.negotiated.as_ref()
    }

    /// The host key of the first exchange and the signature by which the server proved it.
    pub(crate) fn first_proof(&self) -> Option<(&PublicKey, &[u8])> {
        self.host_key.as_ref().zip(self.proof.as_deref())
    }

    /// The host key of the connection, once it was accepted.
    pub(crate) fn host_key(&self) -> Option<&PublicKey> {
        self.host_key.as_ref()
    }

    /// A message of the exchange from the peer: numbers 20, 21 and 30 to 49.
    pub(crate) fn feed(&mut self, payload: &[u8]) -> Result<Vec<Action>, KexError> {
        let number = payload.first().copied().unwrap_or(0);
        if self.ignore_next && (30..=49).contains(&number) {
            self.ignore_next = false;
            return Ok(Vec::new());
        }
        match (std::mem::replace(&mut self.state, State::Idle), number) {
            (State::Init, 20) => self.init(payload),
            (State::Group, 31) => self.group(payload),
            (State::Reply { offered, share }, 31 | 33) => self.reply(&offered, &share, payload),
            (State::GroupRequest, 30 | 34) => self.group_request(payload),
            (State::Share, 30 | 32) => self.share(payload),
            (State::NewKeys(keys), 21) => {
                NewKeys::decode_packet(payload)?;
                Ok(vec![Action::Install { keys, reset_sequence: self.strict }, Action::Finished])
            }
            (_, number) => Err(KexError::Unexpected(number)),
        }
    }

    fn init(&mut self, payload: &[u8]) -> Result<Vec<Action>, KexError> {
        let theirs = KexInit::decode_packet(payload)?;
        let ours_bytes = self.ours.clone();
        let ours = KexInit::decode_packet(&ours_bytes)?;
        let agreed = negotiate(self.setup.role, &self.setup.algorithms, &ours, &theirs)?;
        if self.session_id.is_empty() {
            let (strict, ext_info) = match self.setup.role {
                Role::Client => (STRICT_SERVER, EXT_INFO_SERVER),
                Role::Server => (STRICT_CLIENT, EXT_INFO_CLIENT),
            };
            self.strict = theirs.kex.contains(strict);
            // A server says so by sending it; only clients are asked first.
            self.peer_ext_info = theirs.kex.contains(ext_info);
        }
        self.theirs = payload.to_vec();
        self.ignore_next = agreed.ignore_guess;
        let kind = agreed.method.kind;
        self.agreed = Some(agreed);
        self.gex = None;
        match (self.setup.role, kind) {
            (Role::Server, Kind::GroupExchange) => self.state = State::GroupRequest,
            (Role::Server, _) => self.state = State::Share,
            (Role::Client, Kind::GroupExchange) => return Ok(self.ask_for_group()),
            (Role::Client, _) => return self.offer(),
        }
        Ok(Vec::new())
    }

    fn kind(&self) -> Result<Kind, KexError> {
        self.agreed.as_ref().map(|agreed| agreed.method.kind).ok_or(KexError::Unexpected(30))
    }

    /// The group that finite-field methods run in.
    fn dh_group(&self) -> Result<Option<Group>, KexError> {
        match self.kind()? {
            kind @ Kind::Group(_) => method::fixed_group(kind).map(Some),
            Kind::GroupExchange => Ok(self.gex.as_ref().map(|gex| gex.group.clone())),
            _ => Ok(None),
        }
    }

    // ---- client

    fn ask_for_group(&mut self) -> Vec<Action> {
        let strength = |suite: &Suite| suite.cipher.strength();
        let strengths =
            self.agreed.iter().flat_map(|agreed| [&agreed.to_server, &agreed.to_client].map(strength));
        let preferred = gex::preferred(strengths.max().unwrap_or_default(), &self.setup.peer_ident);
        let request = KexGexRequest { min: gex::MIN_BITS, preferred, max: gex::MAX_BITS };
        // In OpenSSH's words, as people look for them.
        log::debug!(
            target: "feramiko::kex",
            "SSH2_MSG_KEX_DH_GEX_REQUEST({}<{preferred}<{}) sent", gex::MIN_BITS, gex::MAX_BITS
        );
        let payload = request.to_vec();
        self.gex_request = payload.get(1..).unwrap_or_default().to_vec();
        self.state = State::Group;
        vec![Action::Send(payload)]
    }

    fn group(&mut self, payload: &[u8]) -> Result<Vec<Action>, KexError> {
        let message = KexGexGroup::decode_packet(payload)?;
        let group = gex::check(message.p, message.g)?;
        self.gex = Some(Gex { request: std::mem::take(&mut self.gex_request), group });
        self.offer()
    }

    fn offer(&mut self) -> Result<Vec<Action>, KexError> {
        let kind = self.kind()?;
        let (offered, share) = method::offer(kind, self.dh_group()?.as_ref())?;
        let payload = match kind {
            Kind::GroupExchange => {
                if let Some(gex) = &self.gex {
                    let (set, of) = gex::bits_set(&share, &gex.group);
                    log::debug!(target: "feramiko::kex", "bits set: {set}/{of}");
                }
                KexGexInit { e: Mpint::from_unsigned(&share) }.to_vec()
            }
            Kind::Group(_) => KexDhInit { e: Mpint::from_unsigned(&share) }.to_vec(),
            _ => KexEcdhInit { share: &share }.to_vec(),
        };
        self.state = State::Reply { offered, share };
        Ok(vec![Action::Send(payload)])
    }

    fn reply(
        &mut self,
        offered: &Offered,
        our_share: &[u8],
        payload: &[u8],
    ) -> Result<Vec<Action>, KexError> {
        let (host_key, share, signature) = match self.kind()? {
            Kind::GroupExchange => {
                let message = KexGexReply::decode_packet(payload)?;
                (message.host_key, message.f.magnitude(), message.signature)
            }
            Kind::Group(_) => {
                let message = KexDhReply::decode_packet(payload)?;
                (message.host_key, message.f.magnitude(), message.signature)
            }
            _ => {
                let message = KexEcdhReply::decode_packet(payload)?;
                (message.host_key, message.share, message.signature)
            }
        };
        let agreed = self.agreed.as_ref().ok_or(KexError::Unexpected(31))?;
        let shared = offered.finish(agreed.method.hash, share)?;
        let hash = self.exchange_hash(host_key, our_share, share, &shared)?;
        let own = self.setup.algorithms.own_keys();
        let key = PublicKey::from_any_blob(host_key, own).map_err(KexError::HostKey)?;
        if !key.algorithms().contains(&agreed.host_key) {
            return Err(KexError::HostKeyType);
        }
        // As with OpenSSH: nobody touches the token of a host.
        key.verify_use_sized(self.setup.algorithms.rsa_bits, agreed.host_key, &hash, signature)
            .map_err(KexError::HostKey)?;
        let secrets = Secrets { shared, hash };
        match &self.host_key {
            None => {
                self.proof = Some(signature.to_vec());
                self.state = State::Verdict(secrets);
                Ok(vec![Action::CheckHostKey(key)])
            }
            Some(known) if known.blob() == host_key => self.new_keys(secrets),
            Some(_) => Err(KexError::HostKeyChanged),
        }
    }

    /// The application trusts the key that `CheckHostKey` showed.
    pub(crate) fn host_key_accepted(&mut self, key: PublicKey) -> Result<Vec<Action>, KexError> {
        let State::Verdict(secrets) = std::mem::replace(&mut self.state, State::Idle) else {
            return Err(KexError::Unexpected(0));
        };
        self.host_key = Some(key);
        self.new_keys(secrets)
    }

    // ---- server

    fn group_request(&mut self, payload: &[u8]) -> Result<Vec<Action>, KexError> {
        let old = payload.first() == Some(&KexGexRequestOld::NUMBER);
        let (min, preferred, max) = if old {
            let bits = KexGexRequestOld::decode_packet(payload)?.bits;
            // The drafts' request names a wish only; it is met as well as can be.
            (gex::MIN_BITS, bits.clamp(gex::MIN_BITS, gex::MAX_BITS), gex::MAX_BITS)
        } else {
            let message = KexGexRequest::decode_packet(payload)?;
            if message.min > message.preferred || message.preferred > message.max {
                return Err(KexError::BadShare("group sizes in the wrong order"));
            }
            let clamp = |bits: u32| bits.clamp(gex::MIN_BITS, gex::MAX_BITS);
            if message.max < gex::MIN_BITS || message.min > gex::MAX_BITS {
                return Err(KexError::BadShare("no group of the size asked for"));
            }
            (message.min, clamp(message.preferred), message.max)
        };
        let pick = u32::from_be_bytes(rand::array()?);
        let group = self.setup.moduli.choose(min, preferred, max, pick)?;
        let reply =
            KexGexGroup { p: Mpint::from_unsigned(&group.p), g: Mpint::from_unsigned(&group.g) }.to_vec();
        let request = payload.get(1..).unwrap_or_default().to_vec();
        self.gex = Some(Gex { request, group });
        self.state = State::Share;
        Ok(vec![Action::Send(reply)])
    }

    fn share(&mut self, payload: &[u8]) -> Result<Vec<Action>, KexError> {
        let peer = match self.kind()? {
            Kind::GroupExchange => KexGexInit::decode_packet(payload)?.e.magnitude(),
            Kind::Group(_) => KexDhInit::decode_packet(payload)?.e.magnitude(),
            _ => KexEcdhInit::decode_packet(payload)?.share,
        };
        let agreed = self.agreed.as_ref().ok_or(KexError::Unexpected(30))?;
        let group = self.dh_group()?;
        let (share, shared) = method::answer(agreed.method.kind, agreed.method.hash, group.as_ref(), peer)?;
        let algorithm = agreed.host_key;
        let at = self.setup.host_keys.iter().position(|key| key.algorithms().contains(&algorithm));
        let host_key = at.ok_or(KexError::HostKeyType)?;
        let blob = self.setup.host_keys.get(host_key).map(|key| key.blob().to_vec()).unwrap_or_default();
        let hash = self.exchange_hash(&blob, peer, &share, &shared)?;
        let data = hash.clone();
        self.host_key = self.setup.host_keys.get(host_key).cloned();
        self.state = State::Signature { secrets: Secrets { shared, hash }, share };
        Ok(vec![Action::Sign { host_key, algorithm, data }])
    }

    /// The signature that `Sign` asked for.
    pub(crate) fn signed(&mut self, signature: Vec<u8>) -> Result<Vec<Action>, KexError> {
        let State::Signature { secrets, share } = std::mem::replace(&mut self.state, State::Idle) else {
            return Err(KexError::Unexpected(0));
        };
        let host_key = self.host_key.as_ref().map(|key| key.blob().to_vec()).unwrap_or_default();
        let signature = signature.as_slice();
        let f = Mpint::from_unsigned(&share);
        let reply = match self.kind()? {
            Kind::GroupExchange => KexGexReply { host_key: &host_key, f, signature }.to_vec(),
            Kind::Group(_) => KexDhReply { host_key: &host_key, f, signature }.to_vec(),
            _ => KexEcdhReply { host_key: &host_key, share: &share, signature }.to_vec(),
        };
        let mut actions = vec![Action::Send(reply)];
        actions.extend(self.new_keys(secrets)?);
        Ok(actions)
    }

    // ---- both

    /// RFC 4253 §8, RFC 4419 §3, RFC 5656 §4.
    fn exchange_hash(
        &self,
        host_key: &[u8],
        client_share: &[u8],
        server_share: &[u8],
        shared: &[u8],
    ) -> Result<Vec<u8>, KexError> {
        let agreed = self.agreed.as_ref().ok_or(KexError::Unexpected(0))?;
        let Setup { our_ident, peer_ident, .. } = &self.setup;
        let (client, server, client_init, server_init) = match self.setup.role {
            Role::Client => (our_ident, peer_ident, &self.ours, &self.theirs),
            Role::Server => (peer_ident, our_ident, &self.theirs, &self.ours),
        };
        let mut input = Vec::new();
        for part in [client, server, client_init, server_init] {
            part.as_slice().encode(&mut input);
        }
        host_key.encode(&mut input);
        if let Some(gex) = &self.gex {
            input.extend_from_slice(&gex.request);
            Mpint::from_unsigned(&gex.group.p).encode(&mut input);
            Mpint::from_unsigned(&gex.group.g).encode(&mut input);
        }
        for share in [client_share, server_share] {
            match agreed.method.kind {
                Kind::Group(_) | Kind::GroupExchange => Mpint::from_unsigned(share).encode(&mut input),
                _ => share.encode(&mut input),
            }
        }
        Ok(agreed.method.hash.digest(&[&input, shared])?.to_vec())
    }

    fn new_keys(&mut self, secrets: Secrets) -> Result<Vec<Action>, KexError> {
        let agreed = self.agreed.as_ref().ok_or(KexError::Unexpected(0))?;
        if self.session_id.is_empty() {
            self.session_id.clone_from(&secrets.hash);
        }
        let source = KeySource {
            alg: agreed.method.hash,
            secret: secrets.shared,
            exchange_hash: secrets.hash,
            session_id: self.session_id.clone(),
        };
        let (sending, receiving) = match self.setup.role {
            Role::Client => (agreed.to_server, agreed.to_client),
            Role::Server => (agreed.to_client, agreed.to_server),
        };
        let (out, back) = match self.setup.role {
            Role::Client => (Direction::ToServer, Direction::ToClient),
            Role::Server => (Direction::ToClient, Direction::ToServer),
        };
        let keys = sending.seal_keys(&source, out)?;
        self.state = State::NewKeys(receiving.open_keys(&source, back)?);
        self.negotiated = Some(agreed.public(self.strict));
        Ok(vec![Action::NewKeys { keys, reset_sequence: self.strict }])
    }
}
