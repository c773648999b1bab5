"""paramiko as a server; see peer.py for its argument."""

import fcntl
import os
import pty
import socket
import struct
import subprocess
import termios
import threading
import signal as signals

import paramiko
from paramiko.common import cMSG_CHANNEL_REQUEST

import paramiko_offer
import peer
from paramiko_files import Files


class Server(paramiko.ServerInterface):
    def __init__(self, asked):
        self.asked = asked
        self.keys = {tuple(line.split()[:2]) for line in asked.get("authorized_keys", [])}
        self.env = {}
        self.size = None

    def get_allowed_auths(self, username):
        return "publickey,password,keyboard-interactive"

    def _password(self, username, password):
        right = username == self.asked["user"] and password == self.asked.get("password")
        return paramiko.AUTH_SUCCESSFUL if right else paramiko.AUTH_FAILED

    def check_auth_password(self, username, password):
        return self._password(username, password)

    def check_auth_interactive(self, username, submethods):
        self.username = username
        query = paramiko.InteractiveQuery("", "")
        query.add_prompt("Password: ", False)
        return query

    def check_auth_interactive_response(self, responses):
        return self._password(self.username, responses[0] if responses else None)

    def check_auth_publickey(self, username, key):
        known = username == self.asked["user"] and (key.get_name(), key.get_base64()) in self.keys
        return paramiko.AUTH_SUCCESSFUL if known else paramiko.AUTH_FAILED

    def check_channel_request(self, kind, chanid):
        return paramiko.OPEN_SUCCEEDED if kind == "session" else paramiko.OPEN_FAILED_UNKNOWN_CHANNEL_TYPE

    def check_channel_env_request(self, channel, name, value):
        self.env.setdefault(channel.chanid, {})[os.fsdecode(name)] = os.fsdecode(value)
        return True

    def check_channel_pty_request(self, channel, term, width, height, pixelwidth, pixelheight, modes):
        self.env.setdefault(channel.chanid, {})["TERM"] = os.fsdecode(term)
        self.size = (height, width, pixelwidth, pixelheight)
        return True

    def check_channel_shell_request(self, channel):
        return self.start(channel, ["/bin/sh"])

    def check_channel_exec_request(self, channel, command):
        return self.start(channel, ["/bin/sh", "-c", command])

    def start(self, channel, command):
        env = {**os.environ, **self.env.get(channel.chanid, {})}
        run = run_piped if self.size is None else run_on_terminal
        threading.Thread(target=run, args=(channel, command, env, self.size), daemon=True).start()
        return True

    def check_channel_direct_tcpip_request(self, chanid, origin, destination):
        try:
            sock = socket.create_connection(destination, timeout=10)
        except OSError:
            return paramiko.OPEN_FAILED_CONNECT_FAILED
        sock.settimeout(None)
        threading.Thread(target=self.tunnel, args=(chanid, sock), daemon=True).start()
        return paramiko.OPEN_SUCCEEDED

    def tunnel(self, chanid, sock):
        while (channel := self.transport._channels.get(chanid)) is None or channel.remote_chanid is None:
            threading.Event().wait(0.01)
        end_input = lambda: sock.shutdown(socket.SHUT_WR)
        inward = threading.Thread(target=copy, args=(channel.recv, sock.sendall, end_input))
        inward.start()
        copy(sock.recv, channel.sendall)
        channel.shutdown_write()
        inward.join()
        sock.close()
        channel.close()


def copy(read, write, done=lambda: None):
    """Copies to the end, then calls `done`; either side may go away at any time."""
    try:
        while piece := read(1 << 16):
            write(piece)
    except OSError:
        pass
    try:
        done()
    except OSError:
        pass


def run_piped(channel, command, env, _):
    pipe = subprocess.PIPE
    child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=env, start_new_session=True)

    def feed(piece):
        child.stdin.write(piece)
        child.stdin.flush()

    threading.Thread(target=copy, args=(channel.recv, feed, child.stdin.close), daemon=True).start()
    errors = threading.Thread(target=copy, args=(child.stderr.read1, channel.sendall_stderr))
    errors.start()
    copy(child.stdout.read1, channel.sendall)
    errors.join()
    end(channel, child.wait())


def run_on_terminal(channel, command, env, size):
    near, far = pty.openpty()
    fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", *size))
    child = subprocess.Popen(command, stdin=far, stdout=far, stderr=far, env=env, start_new_session=True)
    os.close(far)
    feed = threading.Thread(target=copy, args=(channel.recv, lambda piece: os.write(near, piece)), daemon=True)
    feed.start()
    copy(lambda size: os.read(near, size), channel.sendall)
    end(channel, child.wait())


def end(channel, status):
    try:
        if status >= 0:
            channel.send_exit_status(status)
        else:
            send_exit_signal(channel, signals.Signals(-status).name.removeprefix("SIG"))
        channel.shutdown_write()
    except OSError:
        pass
    channel.close()


def send_exit_signal(channel, name):
    """RFC 4254, section 6.10; paramiko has no method for it."""
    message = paramiko.Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string("exit-signal")
    message.add_boolean(False)
    message.add_string(name)
    message.add_boolean(False)
    message.add_string("")
    message.add_string("")
    channel.transport._send_user_message(message)


def serve(sock, asked, host_keys):
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport = paramiko.Transport(sock)
    try:
        for key in host_keys:
            transport.add_server_key(key)
        paramiko_offer.choose(transport, asked)
        transport.set_subsystem_handler("sftp", paramiko.SFTPServer, Files)
        server = Server(asked)
        server.transport = transport
        transport.start_server(server=server)
        # Channels that nobody accepts are closed by nobody: the list keeps them.
        accepted = []
        while transport.is_active():
            if channel := transport.accept(1):
                accepted.append(channel)
    except (paramiko.SSHException, OSError, EOFError):
        pass
    finally:
        transport.close()


def main():
    asked = peer.spec()
    # Without primes it has no group exchange.
    paramiko.Transport.load_server_moduli()
    host_keys = [paramiko.PKey.from_path(path) for path in asked["host_keys"]]
    listener = socket.create_server((asked.get("host", "127.0.0.1"), asked.get("port", 0)), backlog=128)
    peer.listening(listener.getsockname()[1])
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve, args=(sock, asked, host_keys), daemon=True).start()


main()
