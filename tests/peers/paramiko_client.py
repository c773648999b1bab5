"""paramiko as a client; see peer.py for its argument."""

import hashlib
import os
import socket
import threading

import paramiko

import paramiko_offer
import peer

signals = {}


def note_exit_signals():
    """paramiko passes exit-signal over; here it is noted for each channel."""
    handle = paramiko.Channel._handle_request

    def noting(channel, message):
        start = message.packet.tell()
        if message.get_text() == "exit-signal":
            message.get_boolean()
            signals[channel.chanid] = message.get_text()
        message.packet.seek(start)
        handle(channel, message)

    paramiko.Transport._channel_handler_table = {
        number: noting if handler is handle else handler
        for number, handler in paramiko.Transport._channel_handler_table.items()
    }


class Transport(paramiko.Transport):
    """Remembers the name of each key exchange, which paramiko forgets when it is over."""

    def __init__(self, *args):
        self.exchanges = []
        super().__init__(*args)

    def _activate_outbound(self):
        kind = type(self.kex_engine)
        self.exchanges.append(next(name for name in self._preferred_kex if self._kex_info[name] is kind))
        super()._activate_outbound()


def connect(asked):
    sock = socket.create_connection((asked["host"], asked["port"]), timeout=30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport = Transport(sock)
    paramiko_offer.choose(transport, asked)
    transport.start_client(timeout=30)
    shown = transport.get_remote_server_key()
    if asked.get("host_key") and asked["host_key"].split()[:2] != [shown.get_name(), shown.get_base64()]:
        raise paramiko.SSHException("the server shows another host key")
    log_in(transport, asked)
    return transport


def log_in(transport, asked):
    if asked.get("key"):
        key = paramiko.PKey.from_path(asked["key"], asked.get("passphrase"))
        if asked.get("certificate"):
            key.load_certificate(asked["certificate"])
        left = transport.auth_publickey(asked["user"], key)
    elif asked.get("agent"):
        os.environ["SSH_AUTH_SOCK"] = asked["agent"]
        left = transport.auth_publickey(asked["user"], paramiko.Agent().get_keys()[0])
    elif asked.get("interactive"):
        left = transport.auth_interactive(
            asked["user"], lambda title, text, prompts: [asked["password"] for _ in prompts]
        )
    elif "password" in asked:
        left = transport.auth_password(asked["user"], asked["password"], fallback=False)
    else:
        left = transport.auth_none(asked["user"])
    if left:
        raise paramiko.AuthenticationException(f"the server wants more: {left}")


def session(transport, command, asked):
    channel = transport.open_session(timeout=30)
    for name, value in asked.get("env", {}).items():
        channel.set_environment_variable(name, value)
    if asked.get("pty"):
        channel.get_pty("xterm", 80, 24)
    channel.exec_command(command)
    return channel


def read_all(receive, keep):
    while True:
        piece = receive(1 << 16)
        if not piece:
            return
        keep(piece)


def finish(channel, send=()):
    """Sends, reads both streams to their ends; returns them and how the command ended."""
    out, err = bytearray(), bytearray()
    threads = [
        threading.Thread(target=read_all, args=(channel.recv, out.extend)),
        threading.Thread(target=read_all, args=(channel.recv_stderr, err.extend)),
    ]
    for thread in threads:
        thread.start()
    for piece in send:
        channel.sendall(piece)
    channel.shutdown_write()
    for thread in threads:
        thread.join()
    status = channel.recv_exit_status()
    signal = signals.get(channel.chanid)
    return bytes(out), bytes(err), None if status == -1 else status, signal


def exec_(transport, asked):
    channel = session(transport, asked["command"], asked)
    out, err, status, signal = finish(channel, [asked.get("stdin", "").encode()])
    return dict(stdout=peer.text(out), stderr=peer.text(err), exit=status, signal=signal)


def shell(transport, asked):
    channel = transport.open_session(timeout=30)
    channel.get_pty("xterm", 80, 24)
    channel.invoke_shell()
    channel.settimeout(30)
    out = bytearray()
    channel.sendall(b"stty size\n")
    while b"24 80" not in out:
        out += channel.recv(1 << 16) or b"24 80 never came"
    channel.resize_pty(132, 50)
    # A server may pass on a line and a new size in either order.
    while b"50 132" not in out:
        channel.sendall(b"stty size\n")
        out += channel.recv(1 << 16) or b"50 132 never came"
    channel.sendall(b"exit 5\n")
    read_all(channel.recv, out.extend)
    return dict(stdout=peer.text(bytes(out)), exit=channel.recv_exit_status())


def down(transport, asked):
    channel = session(transport, peer.down_command(asked), asked)
    digest, count = hashlib.sha256(), 0
    while piece := channel.recv(1 << 16):
        digest.update(piece)
        count += len(piece)
    digest = digest.hexdigest()
    ok = count == asked["bytes"] and digest == peer.pattern_digest(asked["bytes"])
    return dict(bytes=count, sha256=digest, ok=ok, exit=channel.recv_exit_status())


def up(transport, asked):
    channel = session(transport, peer.up_command(asked), asked)
    out, _, status, _ = finish(channel, peer.pattern(asked["bytes"]))
    digest = peer.text(out).split()[0]
    return dict(bytes=asked["bytes"], sha256=digest, ok=digest == peer.pattern_digest(asked["bytes"]), exit=status)


def echo(transport, asked):
    channel = session(transport, "cat", asked)
    data = peer.mixed(asked["bytes"])
    out, _, status, _ = finish(channel, [data])
    return dict(bytes=len(out), ok=out == data, exit=status)


def channels(transport, asked):
    command = asked.get("command", "cat")
    opened = [session(transport, command, asked) for _ in range(asked["count"])]
    ended = [finish(channel, [f"channel {i}".encode()]) for i, channel in enumerate(opened)]
    return dict(stdout=[peer.text(out) for out, _, _, _ in ended], exit=[status for _, _, status, _ in ended])


def sftp(transport, asked):
    client = paramiko.SFTPClient.from_transport(transport)
    with client.open(asked["path"], "wb") as file:
        file.set_pipelined(True)
        for piece in peer.pattern(asked["bytes"]):
            file.write(piece)
    digest = hashlib.sha256()
    with client.open(asked["path"], "rb") as file:
        file.prefetch()
        while piece := file.read(1 << 16):
            digest.update(piece)
    size = client.stat(asked["path"]).st_size
    client.remove(asked["path"])
    digest = digest.hexdigest()
    return dict(bytes=size, sha256=digest, ok=digest == peer.pattern_digest(asked["bytes"]))


def files(transport, asked):
    """A round of all operations in the folder `path`; `failed` lists what came out otherwise."""
    client = paramiko.SFTPClient.from_transport(transport)
    failed = []

    def expect(what, found, expected):
        if found != expected:
            failed.append(f"{what}: {found!r}, not {expected!r}")

    def refused(what, kind, call, *args):
        try:
            call(*args)
            failed.append(f"{what} was not refused")
        except kind:
            pass

    client.chdir(asked["path"])
    expect("normalize", client.normalize("."), client.getcwd())
    client.mkdir("folder", 0o750)
    refused("mkdir", OSError, client.mkdir, "folder")
    names = ["a b", "n\nl", "\u00fc", "'\"", "plain"]
    for name in names:
        with client.open(f"folder/{name}", "w") as file:
            file.write(name * 3)
    expect("listdir", sorted(client.listdir("folder")), sorted(names))
    expect("listdir_iter", sorted(it.filename for it in client.listdir_iter("folder")), sorted(names))
    sizes = {it.filename: it.st_size for it in client.listdir_attr("folder")}
    expect("sizes", sizes, {name: 3 * len(name.encode()) for name in names})
    with client.open("folder/plain", "a") as file:
        file.write(b"+")
    with client.open("folder/plain", "r+") as file:
        file.seek(2)
        file.write(b"AIN")
        file.seek(0)
        expect("r+", file.read(), b"plAINplainplain+")
        expect("readv", list(file.readv([(0, 2), (14, 9)])), [b"pl", b"n+"])
        expect("check", file.check("sha1").hex(), hashlib.sha1(b"plAINplainplain+").hexdigest())
        file.truncate(7)
        expect("stat of a handle", file.stat().st_size, 7)
    refused("x", OSError, client.open, "folder/plain", "x")
    client.chmod("folder/plain", 0o640)
    client.utime("folder/plain", (5, 7))
    found = client.stat("folder/plain")
    expect("stat", (found.st_size, found.st_mode & 0o7777, found.st_atime, found.st_mtime), (7, 0o640, 5, 7))
    client.truncate("folder/plain", 3)
    expect("truncate", client.stat("folder/plain").st_size, 3)
    client.chown("folder/plain", found.st_uid, found.st_gid)
    refused("rename", OSError, client.rename, "folder/plain", "folder/a b")
    client.rename("folder/plain", "folder/new")
    client.posix_rename("folder/new", "folder/a b")
    refused("stat", FileNotFoundError, client.stat, "folder/new")
    client.symlink("a b", "folder/link")
    expect("readlink", client.readlink("folder/link"), "a b")
    expect("links", (client.stat("folder/link").st_size, client.lstat("folder/link").st_size), (3, 3))
    client.remove("folder/link")
    refused("rmdir", OSError, client.rmdir, "folder")
    for name in client.listdir("folder"):
        client.remove(f"folder/{name}")
    client.rmdir("folder")
    expect("the end", client.listdir(), [])
    return dict(failed=failed)


def tunnel(transport, asked):
    channel = transport.open_channel("direct-tcpip", tuple(asked["to"]), ("127.0.0.1", 1), timeout=30)
    channel.sendall(asked.get("stdin", "").encode())
    channel.shutdown_write()
    out = bytearray()
    read_all(channel.recv, out.extend)
    return dict(stdout=peer.text(out))


ACTIONS = {"exec": exec_, "down": down, "up": up, "echo": echo, "channels": channels, "sftp": sftp, "tunnel": tunnel,
           "shell": shell, "files": files}


def main(asked):
    signals.clear()
    transport = connect(asked)
    done = ACTIONS[asked.get("action", "exec")](transport, asked)
    peer.answer(
        kex=transport.exchanges[0],
        host_key_type=transport.get_remote_server_key().get_name(),
        cipher=transport.local_cipher,
        mac=transport.local_mac,
        compression=transport.local_compression,
        exchanges=len(transport.exchanges),
        peer=transport.remote_version,
        **done,
    )
    transport.close()


note_exit_signals()
peer.each(main)
