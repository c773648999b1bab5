"""AsyncSSH as a server; see peer.py for its argument."""

import asyncio
import os
import signal

import asyncssh

import asyncssh_offer
import asyncssh_own
import peer


class Server(asyncssh.SSHServer):
    def __init__(self, asked):
        self.asked = asked
        self.keys = {tuple(line.split()[:2]) for line in asked.get("authorized_keys", [])}

    def begin_auth(self, username):
        return True

    def password_auth_supported(self):
        return True

    def validate_password(self, username, password):
        return username == self.asked["user"] and password == self.asked.get("password")

    def public_key_auth_supported(self):
        return True

    def validate_public_key(self, username, key):
        return username == self.asked["user"] and tuple(
            key.export_public_key().decode().split()[:2]
        ) in self.keys

    def validate_host_based_user(self, username, client_host, client_username):
        return username == self.asked["user"] and client_username in self.asked["hostbased"]["users"]

    def kbdint_auth_supported(self):
        return True

    def get_kbdint_challenge(self, username, lang, submethods):
        self.username = username
        return "", "", "", [("Password: ", False)]

    def validate_kbdint_response(self, username, responses):
        return self.validate_password(username, responses[0] if responses else None)

    def connection_requested(self, dest_host, dest_port, orig_host, orig_port):
        return True

    def unix_connection_requested(self, dest_path):
        return True

    def server_requested(self, listen_host, listen_port):
        return True

    def unix_server_requested(self, listen_path):
        return True


async def run(process):
    command = ["/bin/sh", "-c", process.command] if process.command else ["/bin/sh"]
    pipe = asyncio.subprocess.PIPE
    env = {**os.environ, **{os.fsdecode(n): os.fsdecode(v) for n, v in process.env.items()}}
    child = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, stderr=pipe, env=env, start_new_session=True
    )
    feed = asyncio.ensure_future(copy(process.stdin, child.stdin, ends=True))
    await asyncio.gather(copy(child.stdout, process.stdout), copy(child.stderr, process.stderr))
    status = await child.wait()
    feed.cancel()
    if status >= 0:
        process.exit(status)
    else:
        process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))


async def copy(source, sink, ends=False):
    try:
        while piece := await source.read(1 << 16):
            sink.write(piece)
            await sink.drain()
    except (OSError, asyncssh.Error):
        pass
    if ends:
        sink.close()


async def main():
    asked = peer.spec()
    chosen = dict(
        server_host_keys=asked["host_keys"],
        server_factory=lambda: Server(asked),
        process_factory=run,
        encoding=None,
        sftp_factory=True,
        allow_scp=True,
        server_host_certs=asked.get("host_certificates", []),
        compression_algs=["zlib@openssh.com"] if asked.get("compression") else ["none"],
    )
    if asked.get("every"):
        chosen.update(asyncssh_offer.everything())
    for field, option in [
        ("kex", "kex_algs"),
        ("ciphers", "encryption_algs"),
        ("macs", "mac_algs"),
        ("signatures", "signature_algs"),
        ("rekey_bytes", "rekey_bytes"),
    ]:
        if asked.get(field):
            chosen[option] = asked[field]
    if own := asked.get("own_method"):
        asyncssh_own.register(own["name"], own["secret"])
    if asked.get("authorized"):
        chosen["authorized_client_keys"] = asyncssh.import_authorized_keys(asked["authorized"])
    if asked.get("hostbased"):
        chosen["known_client_hosts"] = asked["hostbased"]["known"].encode()
        chosen["trust_client_host"] = True
    if asked.get("announce"):
        chosen["send_server_host_keys"] = True
    if asked.get("reverse"):
        # It says that it is ready before it calls: whoever waits for the call may be the one who reads this.
        peer.listening(0)
        connection = await asyncssh.connect_reverse(*asked["reverse"], **chosen)
        return await connection.wait_closed()
    listener = await asyncssh.listen(asked.get("host", "127.0.0.1"), asked.get("port", 0), **chosen)
    peer.listening(listener.get_port())
    await listener.wait_closed()


asyncio.run(main())
