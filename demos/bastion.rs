//! A bastion: whoever holds a key of a list gets his session on the host behind it.
//! `bastion ADDRESS HOST_KEY AUTHORIZED_KEYS [user@]host[:port]`.

mod support;

use std::io;
use std::net::{IpAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;

use feramiko::{
    Answer, AuthAnswer, AuthorizedKeys, ExitStatus, KeyLogin, PKey, PtyRequest, PublicKey, SSHClient,
    SSHServer, ServerInterface, Session, SessionRequest,
};
use support::given::operands;
use support::output::end;

struct Bastion(SSHClient, Arc<AuthorizedKeys>, Option<IpAddr>);

impl ServerInterface for Bastion {
    fn check_auth_publickey(&self, user: &str, key: &PublicKey) -> AuthAnswer {
        self.1.check(&KeyLogin::new(user, key, self.2))
    }

    fn check_channel_pty_request(&self, _: &PtyRequest) -> Answer {
        Answer::Yes
    }

    fn check_channel_shell_request(&self, _: &SessionRequest) -> Answer {
        Answer::Yes
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        Answer::Yes
    }

    fn check_channel_subsystem_request(&self, _: &SessionRequest, _: &str) -> Answer {
        Answer::Yes
    }

    fn session(&self, session: Session) -> io::Result<ExitStatus> {
        session.hand_to(&self.0)
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let [address, key, users, inner] = <[String; 4]>::try_from(operands()?)
        .map_err(|_| "usage: bastion ADDRESS HOST_KEY AUTHORIZED_KEYS [user@]host[:port]")?;
    let (inner, users) = (SSHClient::connect(&inner)?, Arc::new(AuthorizedKeys::load(users)?));
    let _serving = SSHServer::builder()
        .host_key(PKey::from_file(key, None)?)
        .serve(TcpListener::bind(address)?, move |peer| {
            Bastion(inner.clone(), Arc::clone(&users), peer.addresses.map(|(peer, _)| peer.ip()))
        })?;
    loop {
        std::thread::park();
    }
}

fn main() -> ExitCode {
    end("bastion", run())
}
