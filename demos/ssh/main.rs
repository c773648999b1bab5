//! A client with the options of ssh(1); exit status as ssh's.
//!
//! Letters become lines of configuration (`options`), and what the configuration says is done here, in this
//! order: orders to a master (`-O`), the background (`-f`), a session over a connection that is shared, or one
//! over a connection of our own.

mod background;
mod connect;
mod forwards;
mod options;
mod query;
mod session;
mod sharing;
#[path = "../support/mod.rs"]
mod support;
mod typing;
mod x11;

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::process::exit;
use std::sync::Arc;
use std::time::Duration;

use background::Behind;
use feramiko::{Agent, ControlMaster, Error, HostConfig, MasterEnd, MuxCommand, SSHClient};
use forwards::Forwardings;
use options::Options;
use sharing::{Order, Sharing, Wanted};
use support::output::{complain, say};
use support::prompt::somebody_there;
use support::syslog::{Facility, SystemLog};

const USAGE: &str =
    "usage: ssh [-246AaCfGgMNnqsTtVvXxY] [-B interface] [-b address] [-c ciphers] [-D [address:]port]
           [-E log] [-e escape] [-F config] [-i identity] [-J destination] [-L forward] [-l user]
           [-m macs] [-O order] [-o option=value] [-P tag] [-p port] [-Q query] [-R forward]
           [-S path] [-W host:port] destination [command ...]
Not built: -I -K -k -w -y, and the options of the same meaning.
A host whose key has changed is refused, with StrictHostKeyChecking=no too.";
/// The exit status when it is not the command's.
const FAILED: i32 = 255;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn run() -> Outcome<i32> {
    let options = Options::from_env()?;
    if options.version {
        complain(format_args!("feramiko {}", env!("CARGO_PKG_VERSION")));
        return Ok(0);
    }
    if let Some(what) = &options.query {
        let lines = query::answer(what).ok_or_else(|| format!("Unsupported query \"{what}\""))?;
        lines.iter().try_for_each(say)?;
        return Ok(0);
    }
    // What is wrong with the files is told as the command line wants it.
    let config =
        options.lookup().inspect_err(|_| start_log(options.level().unwrap_or("INFO"), "USER", &options))?;
    if options.show {
        config.lines().iter().try_for_each(say)?;
        return Ok(0);
    }
    let said = |name| config.get(name).unwrap_or_default();
    start_log(&said("LogLevel"), &said("SyslogFacility"), &options);
    if let Some(word) = options.order.as_deref().filter(|word| *word != "proxy") {
        let path = config.control_path().ok_or("No ControlPath specified for \"-O\" command")?;
        let order = Order::named(word).ok_or("Invalid multiplex command.")?;
        sharing::order(&path, order, &forwards::wanted(&config))?;
        return Ok(0);
    }
    let command = command(&config, &options)?;
    built(&config)?;
    Program { config, options, command, behind: Behind::this() }.run()
}

/// Shows the log from now on. A log that cannot be written is no reason to stop.
fn start_log(level: &str, facility: &str, options: &Options) {
    let level = support::log::level_named(level).unwrap_or_else(|| support::log::level(0));
    if options.system_log {
        let facility = Facility::named(facility).unwrap_or(Facility::USER);
        support::log::start_system(level, SystemLog::new("ssh", facility));
    } else if let Err(error) = support::log::start(level, options.log_file.as_deref()) {
        complain(format_args!("ssh: the log: {error}"));
    }
}

fn is(config: &HostConfig, name: &str, value: &str) -> bool {
    config.get(name).as_deref() == Some(value)
}

/// The command of the line or of the file; empty for a shell.
fn command(config: &HostConfig, options: &Options) -> Outcome<Vec<u8>> {
    match (config.remote_command(), options.command.as_slice()) {
        (Some(_), [_, ..]) => Err("Cannot execute command-line and remote command.".into()),
        (Some(command), []) => Ok(command.as_bytes().to_vec()),
        (None, []) if is(config, "SessionType", "subsystem") => {
            Err(format!("You must specify a subsystem to invoke.\n{USAGE}").into())
        }
        (None, []) if config.is("ForkAfterAuthentication") && !is(config, "SessionType", "none") => {
            Err("Cannot fork into background without a command to execute.".into())
        }
        (None, command) => Ok(command.to_vec()),
    }
}

/// Refuses what is asked for and is not built: nobody is to rely on it.
fn built(config: &HostConfig) -> Outcome<()> {
    let wanted = [("Tunnel", "false"), ("GSSAPIDelegateCredentials", "no")];
    match wanted.iter().find(|(name, not)| config.is_said(name) && !is(config, name, not)) {
        Some((name, _)) => Err(format!("{name} is not built").into()),
        None => Ok(()),
    }
}

/// What is to be done with a host.
struct Program {
    config: HostConfig,
    options: Options,
    command: Vec<u8>,
    /// None in the foreground.
    behind: Option<Behind>,
}

impl Program {
    fn is(&self, name: &str, value: &str) -> bool {
        is(&self.config, name, value)
    }

    /// Whether there is neither a session nor `-W`.
    fn nothing(&self) -> bool {
        self.is("SessionType", "none") && self.config.stdio_forward().is_none()
    }

    /// Whether a connection of ours is held for others.
    fn shares(&self) -> bool {
        let shares = self.config.control_path().is_some() && !self.is("ControlMaster", "false");
        // One that is shared already is not ours to share.
        shares && self.options.order.is_none()
    }

    /// Whether one that others hold is looked for.
    fn looks(&self) -> bool {
        ["false", "auto", "autoask"].iter().any(|mode| self.is("ControlMaster", mode))
    }

    /// For how long a connection is held without anybody who uses it.
    fn persists(&self) -> Option<Option<Duration>> {
        self.config.control_persist().filter(|_| self.shares())
    }

    /// Whether somebody can be asked.
    fn here(&self) -> bool {
        self.behind.map_or_else(somebody_there, |behind| behind.asks)
    }

    fn run(&self) -> Outcome<i32> {
        let holds = self.behind.is_some_and(|behind| behind.holds);
        let asks = self.here();
        if self.behind.is_none() && self.config.is("ForkAfterAuthentication") {
            self.options.can_be_read_again()?;
            return Behind { asks, holds: false }.start();
        }
        if self.options.order.is_some() {
            return self.through_master();
        }
        if self.looks()
            && !holds
            && let Some(status) = self.over_shared()?
        {
            return Ok(status);
        }
        if self.persists().is_some() && self.behind.is_none() {
            self.options.can_be_read_again()?;
            let status = Behind { asks, holds: true }.start()?;
            if status != 0 || self.nothing() {
                return Ok(status);
            }
            return Ok(self.over_new()?.ok_or("the connection ended as soon as it was made")?);
        }
        self.over_own()
    }

    /// The process in the background tells that all is well.
    fn ready(&self) -> io::Result<()> {
        if self.behind.is_some() {
            background::ready()?;
            if self.nothing() || self.behind.is_some_and(|behind| behind.holds) {
                background::leave_outputs()?;
            }
        }
        Ok(())
    }

    // ---- over a connection that is shared

    /// `-O proxy`: the ordinary client, over a master that passes packets on. Ours does not, and has a session
    /// for us instead.
    fn through_master(&self) -> Outcome<i32> {
        let path = self.config.control_path().ok_or("No ControlPath specified for \"-O\" command")?;
        match SSHClient::over_master(path) {
            Ok(client) => self.use_connection(&client),
            Err(Error::MasterRefused { .. }) => Ok(self.over_shared()?.ok_or("the master is gone")?),
            Err(error) => Err(error.into()),
        }
    }

    /// Over a connection that somebody holds, if there is one.
    fn over_shared(&self) -> Outcome<Option<i32>> {
        self.over(&forwards::wanted(&self.config))
    }

    /// Over one that a process of ours holds, which forwards already.
    fn over_new(&self) -> Outcome<Option<i32>> {
        self.over(&[])
    }

    fn over(&self, forwards: &[feramiko::ForwardRequest]) -> Outcome<Option<i32>> {
        let there = self.config.control_path().filter(|path| path.exists());
        let Some(path) = there else { return Ok(None) };
        let command = &self.command;
        let mut command = match self.is("SessionType", "subsystem") {
            true => MuxCommand::subsystem(command),
            false => MuxCommand::new(command),
        };
        let session = !self.is("SessionType", "none");
        let tty = session && session::wants_terminal(&self.config, self.command.is_empty());
        if tty {
            command = command.tty(session::term());
            if let Some(character) = self.config.escape_char() {
                command = command.escape(character);
            }
        }
        if self.config.forward_agent().is_some() {
            command = command.forward_agent();
        }
        if x11::wanted(&self.config) {
            command = command.forward_x11();
        }
        for (name, value) in self.config.environment() {
            command = command.env(name.as_bytes(), value.as_bytes());
        }
        let wanted = Wanted {
            host: self.config.hostname(),
            command,
            tty,
            no_input: self.config.is("StdinNull"),
            forwards,
            streams: self.config.stdio_forward(),
            nothing: self.nothing(),
        };
        sharing::run(&path, &wanted, || self.ready())
    }

    // ---- over a connection of our own

    fn over_own(&self) -> Outcome<i32> {
        let client = connect::connect(&self.config, &self.options, self.here())?;
        self.warn_of_weakness(&client);
        if let Some(line) = self.config.local_command(None)? {
            std::process::Command::new(support::home::shell()).arg("-c").arg(line).status()?;
        }
        let status = self.use_connection(&client);
        client.close();
        status
    }

    /// As ssh does since 10.1.
    fn warn_of_weakness(&self, client: &SSHClient) {
        let weak = client.transport().negotiated().is_some_and(|agreed| !agreed.is_post_quantum());
        if weak && self.config.is("WarnWeakCrypto") {
            log::warn!(target: "ssh", "** WARNING: connection is not using a post-quantum key exchange algorithm.");
            log::warn!(target: "ssh", "** This session may be vulnerable to \"store now, decrypt later\" attacks.");
            log::warn!(target: "ssh", "** The server may need to be upgraded. See https://openssh.com/pq.html");
        }
    }

    /// Forwards, holds the connection for others, and runs what is to be run.
    fn use_connection(&self, client: &SSHClient) -> Outcome<i32> {
        let forwardings = Forwardings::new(client.transport(), &self.config);
        forwardings.open_all()?;
        let master = if self.shares() { self.hold(client, &forwardings)? } else { None };
        self.ready()?;
        let holds = self.behind.is_some_and(|behind| behind.holds);
        if holds && master.is_none() {
            // Somebody else was faster.
            return Ok(0);
        }
        if holds || self.nothing() {
            return self.wait(client, master, self.persists().flatten());
        }
        let status = match self.config.stdio_forward() {
            Some(to) => session::connect_streams(client, to).map(|()| 0)?,
            None => session::run(client, &self.config, &forwardings, &self.command)?,
        };
        if self.behind.is_some() {
            background::leave_outputs()?;
        }
        // As with ssh: connections that are forwarded go on.
        let goes_on = master.is_some() || self.config.stdio_forward().is_none();
        if let Some(master) = master {
            // However the connection ends, the session's status counts.
            let _ = master.wait(self.persists().unwrap_or(Some(Duration::ZERO)));
        }
        if goes_on {
            client.transport().wait_channels();
        }
        Ok(status)
    }

    /// Holds the connection for others, unless somebody else does already.
    fn hold(&self, client: &SSHClient, forwardings: &Forwardings) -> Outcome<Option<Arc<ControlMaster>>> {
        let Some(path) = self.config.control_path() else { return Ok(None) };
        let ask = ["ask", "autoask"].iter().any(|mode| self.is("ControlMaster", mode));
        let send_env = self.config.get_all("SendEnv");
        let mut builder = forwardings.known_to(ControlMaster::builder());
        if let Some(agent) = self.config.forward_agent().and_then(|socket| Agent::connect(socket).ok()) {
            builder = builder.forward_agent(&agent);
        }
        if let Some(interval) = self.config.keystroke_interval() {
            builder = builder.keystrokes(interval);
        }
        if x11::wanted(&self.config) {
            let config = self.config.clone();
            builder = builder.forward_x11(move |channel| channel.request_x11(&x11::settings(&config)?));
        }
        Sharing { path, ask, send_env }.hold(client, builder)
    }

    /// Waits for the end of the connection, or of what holds it.
    fn wait(
        &self,
        client: &SSHClient,
        master: Option<Arc<ControlMaster>>,
        persist: Option<Duration>,
    ) -> Outcome<i32> {
        if let Some(master) = master {
            let end = master.wait(persist);
            log::debug!(target: "ssh", "the master ends: {end:?}");
            client.transport().wait_channels();
            if end != MasterEnd::Closed {
                return Ok(0);
            }
        }
        let _ = client.transport().wait_closed(None);
        Err(client.transport().closed_by().map_or_else(|| "the connection was closed".into(), Into::into))
    }
}

fn main() {
    let code = run().unwrap_or_else(|error| {
        if support::log::started() {
            log::error!(target: "ssh", "ssh: {error}");
        } else {
            complain(format_args!("ssh: {error}"));
        }
        FAILED
    });
    exit(code);
}
