//! What tests start from.

#![allow(dead_code, reason = "no test uses everything")]

pub(crate) mod faulty;

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use feramiko::{
    Answer, AuthAnswer, AutoAddPolicy, Channel, Error, ExitStatus, HostKeys, KeyKind, PKey, SSHClient,
    SSHClientBuilder, Secret, ServerInterface, Session, SessionRequest,
};

/// A client that looks at nothing of the user's and trusts whom it meets.
pub(crate) fn client() -> SSHClientBuilder {
    SSHClient::builder()
        .no_ssh_config()
        .no_agent()
        .no_default_keys()
        .host_keys(HostKeys::new())
        .missing_host_key(AutoAddPolicy)
}

/// A host key of its own.
pub(crate) fn host_key() -> PKey {
    PKey::generate(KeyKind::Ed25519).expect("OpenSSL makes keys")
}

/// Ends the process if it is not dropped in time: a test that hangs would wait for ever, and the tests
/// beside it with it.
#[derive(Debug)]
#[must_use]
pub(crate) struct Watch(#[allow(dead_code, reason = "its end is what counts")] Sender<()>);

/// Watches the test that holds it.
pub(crate) fn within(seconds: u64) -> Watch {
    watch(thread::current().name().unwrap_or("a test"), seconds)
}

/// Watches what is called `test`.
pub(crate) fn watch(test: &str, seconds: u64) -> Watch {
    let (test, (watch, ended)) = (test.to_owned(), channel());
    thread::spawn(move || {
        if ended.recv_timeout(Duration::from_secs(seconds)) == Err(RecvTimeoutError::Timeout) {
            // Past the harness, which shows nothing of a test before its end.
            let _ = writeln!(io::stderr(), "{test} hangs: not done after {seconds} s; {}", threads());
            std::process::exit(101);
        }
    });
    Watch(watch)
}

/// How many threads the library runs; and, where the system tells, what each of the process waits for.
fn threads() -> String {
    let mut text = format!("threads of the library: {}", feramiko::running_threads());
    for entry in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let told = |what| std::fs::read_to_string(entry.path().join(what)).unwrap_or_default();
        text += &format!("\n  {} waits in {}", told("comm").trim(), told("wchan"));
    }
    text
}

/// Lets in whoever knows `foo`, and echoes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Echo;

impl Echo {
    pub(crate) const STATUS: ExitStatus = ExitStatus::Code(3);
}

impl ServerInterface for Echo {
    fn check_auth_password(&self, _: &str, password: &Secret) -> AuthAnswer {
        AuthAnswer::when(password.matches("foo"))
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        Answer::Yes
    }

    fn session(&self, session: Session) -> io::Result<ExitStatus> {
        io::copy(&mut session.channel(), &mut session.channel())?;
        Ok(Self::STATUS)
    }
}

/// Sends `data` through a command that echoes, while reading it back.
pub(crate) fn echoed(channel: &Channel, data: &[u8]) -> feramiko::Result<Vec<u8>> {
    let back = thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let written = { channel }.write_all(data);
            channel.shutdown(Shutdown::Write);
            written
        });
        let mut back = Vec::new();
        let read = { channel }.read_to_end(&mut back);
        if read.is_err() {
            // Nobody takes what is still to be written.
            channel.close();
        }
        let written = writing.join().expect("it does not panic");
        read.and(written).map(|()| back)
    });
    back.map_err(|error| match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => panic!("a channel's error is ours: {error}"),
    })
}
