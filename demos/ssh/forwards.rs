//! What is forwarded: LocalForward, RemoteForward, DynamicForward, and what clients of a shared connection and
//! `~C` want.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use feramiko::{
    ControlMasterBuilder, Endpoint, Error, Forward, ForwardKind, ForwardListener, ForwardRequest,
    ForwardRule, Forwards, HostConfig, ListenOptions, Result, Transport,
};

use crate::Outcome;

/// The forwardings of a connection. Clones share them.
#[derive(Clone)]
pub(crate) struct Forwardings(Arc<Shared>);

struct Shared {
    transport: Transport,
    config: HostConfig,
    /// Taken for a few instructions.
    open: Mutex<Vec<(ForwardRequest, Forward)>>,
}

/// A rule as a request: where it names no host, GatewayPorts says who may connect here.
pub(crate) fn request(config: &HostConfig, kind: ForwardKind, rule: ForwardRule) -> ForwardRequest {
    let ForwardRule { mut listen, to, bind_given, .. } = rule;
    if let (ForwardKind::Local, false, Endpoint::Tcp { host, .. }) = (kind, bind_given, &mut listen)
        && config.is("GatewayPorts")
    {
        host.clear();
    }
    ForwardRequest { kind, listen, to }
}

/// Everything that the configuration wants forwarded.
pub(crate) fn wanted(config: &HostConfig) -> Vec<ForwardRequest> {
    let local = config.local_forwards().into_iter().chain(config.dynamic_forwards());
    let local = local.map(|rule| (ForwardKind::Local, rule));
    let remote = config.remote_forwards().into_iter().map(|rule| (ForwardKind::Remote, rule));
    local.chain(remote).map(|(kind, rule)| request(config, kind, rule)).collect()
}

impl Forwardings {
    pub(crate) fn new(transport: &Transport, config: &HostConfig) -> Self {
        let (transport, config) = (transport.clone(), config.clone());
        Self(Arc::new(Shared { transport, config, open: Mutex::default() }))
    }

    /// Opens what the configuration wants. What cannot be opened is told, and with ExitOnForwardFailure an
    /// error.
    pub(crate) fn open_all(&self) -> Outcome<()> {
        let (must, mut failed) = (self.0.config.is("ExitOnForwardFailure"), false);
        for request in wanted(&self.0.config) {
            let Err(error) = self.open(&request) else { continue };
            failed = true;
            let place = match &request.listen {
                Endpoint::Tcp { port, .. } => format!("port {port}"),
                Endpoint::Unix(path) => format!("path {}", path.escape_ascii()),
            };
            let label = if must { "Error" } else { "Warning" };
            match request.kind {
                ForwardKind::Local => {
                    log::error!(target: "ssh", "{error}");
                    log::error!(target: "ssh", "Could not request local forwarding.");
                }
                ForwardKind::Remote => {
                    log::debug!(target: "ssh", "{request}: {error}");
                    log::error!(target: "ssh", "{label}: remote port forwarding failed for listen {place}");
                }
            }
            if must {
                break;
            }
        }
        if failed && must {
            Err("a forwarding failed, and ExitOnForwardFailure is on".into())
        } else {
            Ok(())
        }
    }

    /// Tells a master which forwardings there are, and that it may have others opened.
    pub(crate) fn known_to(&self, builder: ControlMasterBuilder) -> ControlMasterBuilder {
        let open = self.open_ones();
        let told = open.iter().fold(builder, |builder, (request, forward)| {
            builder.forwarded(request.clone(), chosen(request, forward))
        });
        drop(open);
        told.forwards(self.clone())
    }

    fn open_ones(&self) -> MutexGuard<'_, Vec<(ForwardRequest, Forward)>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, request: &ForwardRequest) -> Result<Forward> {
        let (transport, config) = (&self.0.transport, &self.0.config);
        let options = ListenOptions {
            mask: config.bind_mask().unwrap_or_else(|| ListenOptions::default().mask),
            unlink: config.is("StreamLocalBindUnlink"),
            ..ListenOptions::default()
        };
        let listen = request.listen.clone();
        match (request.kind, request.to.clone()) {
            (ForwardKind::Local, Some(to)) => {
                let listener = ForwardListener::bind(&listen, &options)?;
                transport.forward_listener(listener, move |_| Some(to.clone()))
            }
            (ForwardKind::Local, None) => {
                transport.forward_socks_listener(ForwardListener::bind(&listen, &options)?)
            }
            (ForwardKind::Remote, Some(to)) => transport.forward_remote(listen, to),
            (ForwardKind::Remote, None) => {
                let config = config.clone();
                transport.forward_remote_socks(listen, move |to| config.permits_remote_open(to))
            }
        }
    }
}

/// The port that was chosen for a request that names none.
fn chosen(request: &ForwardRequest, forward: &Forward) -> Option<u16> {
    match request.listen {
        Endpoint::Tcp { port: 0, .. } => forward.port(),
        _ => None,
    }
}

impl Forwards for Forwardings {
    fn open(&self, request: &ForwardRequest) -> Result<Option<u16>> {
        let forward = self.start(request)?;
        let port = chosen(request, &forward);
        if let (ForwardKind::Remote, Some(port)) = (request.kind, port) {
            let to = request.to.as_ref().map_or_else(|| "socks".to_owned(), Endpoint::to_string);
            log::warn!(target: "ssh", "Allocated port {port} for remote forward to {to}");
        }
        self.open_ones().push((request.clone(), forward));
        Ok(port)
    }

    fn close(&self, request: &ForwardRequest) -> Result<()> {
        let mut open = self.open_ones();
        let at = open.iter().position(|(known, _)| known == request);
        let forward = at.map(|at| open.remove(at).1);
        // The server may take its time.
        drop(open);
        forward.ok_or(Error::Misuse("port not forwarded"))?.close()
    }
}
