//! Our agent on a socket of its own, in the test's process.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use feramiko::{AgentServer, AgentServerBuilder};

use crate::peers::Folder;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tries until it is so.
pub(crate) fn soon(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) struct Ours {
    pub(crate) server: AgentServer,
    pub(crate) folder: Folder,
}

impl Ours {
    pub(crate) fn start(builder: AgentServerBuilder) -> Self {
        let (server, folder) = (builder.build(), Folder::new());
        let listener = AgentServer::listen(folder.file("agent")).unwrap();
        let (agent, clock) = (server.clone(), server.clone());
        std::thread::spawn(move || clock.expire_keys());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, agent) = (stream.unwrap(), agent.clone());
                std::thread::spawn(move || agent.serve_connection(stream));
            }
        });
        Self { server, folder }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.file("agent")
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.server.close();
    }
}
