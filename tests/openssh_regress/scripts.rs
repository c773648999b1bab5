//! What comes of each of OpenSSH's scripts with a program of ours.

/// What comes of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Passes,
    /// It does not, and why.
    Not(&'static str),
}

/// A script.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) name: &'static str,
    /// With our `ssh` and OpenSSH's server.
    pub(crate) client: Fate,
    /// With our `sshd` and OpenSSH's client.
    pub(crate) server: Fate,
    /// Whether it runs always.
    pub(crate) quick: bool,
}

/// The order is that of OpenSSH's own list.
#[rustfmt::skip]
pub(crate) const SCRIPTS: &[Script] = &[
    Script { name: "connect", client: Fate::Passes, server: Fate::Passes, quick: true },
    Script { name: "proxy-connect", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "connect-privsep", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "connect-uri", client: Fate::Passes, server: Fate::Passes, quick: true },
    Script { name: "proto-version", client: Fate::Passes, server: Fate::Passes, quick: true },
    Script { name: "proto-mismatch", client: Fate::Passes, server: Fate::Passes, quick: true },
    Script { name: "exit-status", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "exit-status-signal", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "envpass", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "transfer", client: Fate::Passes, server: Fate::Passes, quick: true },
    Script { name: "banner", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "rekey", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "dhgex", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "stderr-data", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "stderr-after-eof", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "broken-pipe", client: Fate::Passes, server: Fate::Passes, quick: true },
    Script { name: "try-ciphers", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "yes-head", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "login-timeout", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "agent", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "agent-getpeereid", client: Fate::Not("it skips itself without sudo"), server: Fate::Not("it skips itself without sudo"), quick: false },
    Script { name: "agent-timeout", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "agent-subprocess", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "key-options", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "scp", client: Fate::Passes, server: Fate::Passes, quick: true },
    Script { name: "scp3", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "scp-uri", client: Fate::Passes, server: Fate::Passes, quick: true },
    Script { name: "sftp", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "sftp-chroot", client: Fate::Passes, server: Fate::Passes, quick: true },
    Script { name: "sftp-cmds", client: Fate::Passes, server: Fate::Passes, quick: true },
    Script { name: "sftp-badcmds", client: Fate::Passes, server: Fate::Passes, quick: true },
    Script { name: "sftp-batch", client: Fate::Passes, server: Fate::Passes, quick: true },
    Script { name: "sftp-glob", client: Fate::Passes, server: Fate::Passes, quick: true },
    Script { name: "sftp-perm", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "sftp-uri", client: Fate::Passes, server: Fate::Passes, quick: true },
    Script { name: "reconfigure", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "dynamic-forward", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "forwarding", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "multiplex", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "reexec", client: Fate::Passes, server: Fate::Passes, quick: true },
    Script { name: "brokenkeys", client: Fate::Passes, server: Fate::Passes, quick: true },
    Script { name: "sshcfgparse", client: Fate::Passes, server: Fate::Passes, quick: true },
    Script { name: "cfgparse", client: Fate::Passes, server: Fate::Passes, quick: true },
    Script { name: "cfgmatch", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "cfgmatchlisten", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "percent", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "addrmatch", client: Fate::Passes, server: Fate::Passes, quick: true },
    Script { name: "localcommand", client: Fate::Passes, server: Fate::Passes, quick: true },
    Script { name: "forcecommand", client: Fate::Passes, server: Fate::Passes, quick: true },
    Script { name: "portnum", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "keytype", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "kextype", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "cert-hostkey", client: Fate::Not("ours refuses certificates of hosts without names in them, as OpenSSH does since 10.3"), server: Fate::Passes, quick: false },
    Script { name: "cert-userkey", client: Fate::Passes, server: Fate::Not("a certificate that names nobody lets nobody in, as with OpenSSH since 10.3"), quick: false },
    Script { name: "host-expand", client: Fate::Passes, server: Fate::Passes, quick: true },
    Script { name: "keys-command", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "forward-control", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "integrity", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "multipubkey", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "limit-keytype", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "hostkey-agent", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "hostkey-rotate", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "principals-command", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "cert-file", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "cfginclude", client: Fate::Passes, server: Fate::Passes, quick: true },
    Script { name: "servcfginclude", client: Fate::Passes, server: Fate::Passes, quick: true },
    Script { name: "allow-deny-users", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "authinfo", client: Fate::Passes, server: Fate::Passes, quick: true },
    Script { name: "knownhosts", client: Fate::Passes, server: Fate::Passes, quick: true },
    Script { name: "knownhosts-command", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "agent-restrict", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "hostbased", client: Fate::Not("it skips itself without a host that trusts it"), server: Fate::Not("it skips itself without a host that trusts it"), quick: false },
    Script { name: "channel-timeout", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "connection-timeout", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "putty-transfer", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "putty-ciphers", client: Fate::Passes, server: Fate::Passes, quick: false },
    Script { name: "putty-kex", client: Fate::Passes, server: Fate::Passes, quick: false },
];
