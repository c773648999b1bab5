"""AsyncSSH as a client; see peer.py for its argument."""

import asyncio
import contextlib
import hashlib
import os
import tempfile

import asyncssh
import asyncssh.connection

import asyncssh_offer
import asyncssh_own
import peer

exchanges = []
learned = None


def note_exchanges():
    """AsyncSSH forgets the name of a key exchange when it is over."""
    get_kex = asyncssh.connection.get_kex

    def noting(connection, name):
        exchanges.append(name.decode())
        return get_kex(connection, name)

    asyncssh.connection.get_kex = noting


class Client(asyncssh.SSHClient):
    def __init__(self, password):
        self.password = password

    def kbdint_auth_requested(self):
        return ""

    def kbdint_challenge_received(self, name, instructions, lang, prompts):
        return [self.password for _ in prompts]


def options(asked):
    chosen = dict(
        username=asked["user"],
        config=None,
        agent_path=asked.get("agent"),
        client_keys=[],
        known_hosts=None,
        login_timeout=30,
        compression_algs=["zlib@openssh.com"] if asked.get("compression") else ["none"],
    )
    if asked.get("every"):
        chosen.update(asyncssh_offer.everything())
    for field, option in [
        ("kex", "kex_algs"),
        ("ciphers", "encryption_algs"),
        ("macs", "mac_algs"),
        ("host_key_algorithms", "server_host_key_algs"),
        ("signatures", "signature_algs"),
        ("rekey_bytes", "rekey_bytes"),
    ]:
        if asked.get(field):
            chosen[option] = asked[field]
    if asked.get("host_key"):
        chosen["known_hosts"] = ([asyncssh.import_public_key(asked["host_key"])], [], [])
    if asked.get("known_hosts"):
        chosen["known_hosts"] = asked["known_hosts"].encode()
    if asked.get("key"):
        key = asyncssh.read_private_key(asked["key"], asked.get("passphrase"))
        chosen["client_keys"] = [(key, asked["certificate"]) if asked.get("certificate") else key]
        chosen["preferred_auth"] = "publickey"
    elif asked.get("agent"):
        del chosen["client_keys"]
        chosen["preferred_auth"] = "publickey"
    elif claim := asked.get("hostbased"):
        chosen["client_host_keys"] = [claim["key"]]
        chosen["client_host_certs"] = [claim["certificate"]] if claim.get("certificate") else []
        chosen["client_host"] = claim["host"]
        chosen["client_username"] = claim["user"]
        chosen["preferred_auth"] = "hostbased"
    elif asked.get("interactive"):
        chosen["client_factory"] = lambda: Client(asked["password"])
        chosen["preferred_auth"] = "keyboard-interactive"
    elif "password" in asked:
        chosen["password"] = asked["password"]
        chosen["preferred_auth"] = "password"
    if own := asked.get("own_method"):
        asyncssh_own.register(own["name"], own["secret"])
        chosen["preferred_auth"] = own["name"]
    if asked.get("action") == "learn":
        chosen["server_host_keys_handler"] = lambda *keys: learned.set_result(keys)
    return chosen


async def learn(connection, asked):
    added, removed, retained, revoked = [
        [" ".join(key.export_public_key().decode().split()[:2]) for key in keys]
        for keys in await asyncio.wait_for(learned, 20)
    ]
    return dict(added=added, removed=removed, retained=retained)


async def session(connection, command, asked):
    extra = dict(term_type="xterm", term_size=(80, 24)) if asked.get("pty") else {}
    return await connection.create_process(command, encoding=None, env=asked.get("env", {}), **extra)


async def send(process, pieces):
    try:
        for piece in pieces:
            process.stdin.write(piece)
            await process.stdin.drain()
        process.stdin.write_eof()
    except OSError:
        # The command may end without reading everything.
        pass


async def finish(process, pieces=()):
    """Sends, reads both streams to their ends; returns them and how the command ended."""
    _, out, err = await asyncio.gather(send(process, pieces), process.stdout.read(), process.stderr.read())
    await process.wait_closed()
    signal = process.exit_signal[0] if process.exit_signal else None
    status = process.exit_status
    return out, err, status if status is not None and status >= 0 else None, signal


async def exec_(connection, asked):
    process = await session(connection, asked["command"], asked)
    out, err, status, signal = await finish(process, [asked.get("stdin", "").encode()])
    return dict(stdout=peer.text(out), stderr=peer.text(err), exit=status, signal=signal)


async def shell(connection, asked):
    process = await connection.create_process(encoding=None, term_type="xterm", term_size=(80, 24))
    out = b""
    process.stdin.write(b"stty size\n")
    while b"24 80" not in out:
        out += await process.stdout.read(1 << 16) or b"24 80 never came"
    process.change_terminal_size(132, 50)
    # A server may pass on a line and a new size in either order.
    while b"50 132" not in out:
        process.stdin.write(b"stty size\n")
        out += await process.stdout.read(1 << 16) or b"50 132 never came"
    process.stdin.write(b"exit 5\n")
    out += await process.stdout.read()
    await process.wait_closed()
    return dict(stdout=peer.text(out), exit=process.exit_status)


async def talk(connection, asked):
    """Waits for a text, then types and perhaps resizes, step by step."""
    process = await connection.create_process(encoding=None, term_type="xterm", term_size=(80, 24))
    out = b""
    for wanted, typed, size in asked["steps"]:
        wanted = wanted.encode()
        while wanted not in out:
            if not (piece := await process.stdout.read(1 << 16)):
                raise EOFError(f"{wanted} did not come: {out}")
            out += piece
        out = out.split(wanted, 1)[1]
        if typed:
            process.stdin.write(typed.encode())
        if size:
            process.change_terminal_size(*size)
    await process.wait_closed()
    return dict(exit=process.exit_status)


async def down(connection, asked):
    process = await session(connection, peer.down_command(asked), asked)
    digest, count = hashlib.sha256(), 0
    while piece := await process.stdout.read(1 << 16):
        digest.update(piece)
        count += len(piece)
    await process.wait_closed()
    digest = digest.hexdigest()
    ok = count == asked["bytes"] and digest == peer.pattern_digest(asked["bytes"])
    return dict(bytes=count, sha256=digest, ok=ok, exit=process.exit_status)


async def up(connection, asked):
    process = await session(connection, peer.up_command(asked), asked)
    out, _, status, _ = await finish(process, peer.pattern(asked["bytes"]))
    digest = peer.text(out).split()[0]
    return dict(bytes=asked["bytes"], sha256=digest, ok=digest == peer.pattern_digest(asked["bytes"]), exit=status)


async def echo(connection, asked):
    process = await session(connection, "cat", asked)
    data = peer.mixed(asked["bytes"])
    out, _, status, _ = await finish(process, [data[i : i + 50_000] for i in range(0, len(data), 50_000)])
    return dict(bytes=len(out), ok=out == data, exit=status)


async def channels(connection, asked):
    command = asked.get("command", "cat")
    opened = [await session(connection, command, asked) for _ in range(asked["count"])]
    ended = await asyncio.gather(
        *(finish(process, [f"channel {i}".encode()]) for i, process in enumerate(opened))
    )
    return dict(stdout=[peer.text(out) for out, _, _, _ in ended], exit=[status for _, _, status, _ in ended])


async def sftp(connection, asked):
    async with connection.start_sftp_client() as client:
        async with client.open(asked["path"], "wb") as file:
            for piece in peer.pattern(asked["bytes"]):
                await file.write(piece)
        async with client.open(asked["path"], "rb") as file:
            data = await file.read()
        await client.remove(asked["path"])
    digest = hashlib.sha256(data).hexdigest()
    return dict(bytes=len(data), sha256=digest, ok=digest == peer.pattern_digest(asked["bytes"]))


async def files(connection, asked):
    """A round of all operations in the folder `path`; `failed` lists what came out otherwise."""
    failed = []

    def expect(what, found, expected):
        if found != expected:
            failed.append(f"{what}: {found!r}, not {expected!r}")

    async def refused(what, kind, call):
        try:
            await call
            failed.append(f"{what} was not refused")
        except kind:
            pass

    async with connection.start_sftp_client() as client:
        await client.chdir(asked["path"])
        expect("limits", (client.limits.max_read_len, client.limits.max_write_len), (261120, 261120))
        await client.makedirs("folder/deep/er")
        with tempfile.TemporaryDirectory() as local:
            for number in range(100):
                with open(f"{local}/{number:03}", "wb") as file:
                    file.write(bytes([number]) * number)
            with open(f"{local}/sparse", "wb") as file:
                file.write(b"begin")
                file.seek(5 << 20)
                file.write(b"end")
            await client.put(local, "folder/tree", recurse=True, preserve=True)
            expect("glob", len(await client.glob("folder/tree/0*")), 100)
            await client.get("folder/tree", f"{local}/back", recurse=True, preserve=True)
            for name in os.listdir(f"{local}/back"):
                with open(f"{local}/{name}", "rb") as one, open(f"{local}/back/{name}", "rb") as other:
                    expect(name, other.read() == one.read(), True)
                one, other = os.stat(f"{local}/{name}"), os.stat(f"{local}/back/{name}")
                expect(f"time of {name}", int(other.st_mtime), int(one.st_mtime))
        await client.remote_copy("folder/tree/sparse", "folder/copy")
        expect("remote_copy", await client.getsize("folder/copy"), (5 << 20) + 3)
        async with client.open("folder/file", "w+b") as file:
            await file.write(b"some text")
            await file.fsync()
            await file.seek(5)
            expect("read", await file.read(), b"text")
            await file.truncate(4)
            expect("stat of a handle", (await file.stat()).size, 4)
            expect("fstatvfs", (await file.statvfs()).blocks > 0, True)
        expect("statvfs", (await client.statvfs("folder")).namemax >= 14, True)
        await client.chmod("folder/file", 0o604)
        await client.utime("folder/file", (5, 7))
        found = await client.stat("folder/file")
        expect("stat", (found.permissions & 0o7777, found.atime, found.mtime), (0o604, 5, 7))
        await client.symlink("file", "folder/link")
        await client.utime("folder/link", (8, 9), follow_symlinks=False)
        expect("lsetstat", (await client.lstat("folder/link")).mtime, 9)
        expect("a link's target", (await client.stat("folder/link")).mtime, 7)
        expect("readlink", await client.readlink("folder/link"), "file")
        expect("realpath", await client.realpath("folder/link"), await client.realpath("folder/file"))
        await client.link("folder/file", "folder/hard")
        await refused("rename", asyncssh.SFTPError, client.rename("folder/hard", "folder/copy"))
        await client.posix_rename("folder/hard", "folder/copy")
        await refused("stat", asyncssh.SFTPNoSuchFile, client.stat("folder/none"))
        names = [it.filename async for it in client.scandir("folder")]
        expect("scandir", sorted(set(names) - {".", ".."}), ["copy", "deep", "file", "link", "tree"])
        await client.rmtree("folder")
        expect("exists", await client.exists("folder"), False)
    return dict(failed=failed)


async def tunnel(connection, asked):
    reader, writer = await connection.open_connection(*asked["to"])
    writer.write(asked.get("stdin", "").encode())
    writer.write_eof()
    return dict(stdout=peer.text(await reader.read()))


async def scp(connection, asked):
    there = (connection, asked["remote"])
    ends = (asked["local"], there) if asked["up"] else (there, asked["local"])
    await asyncssh.scp(*ends, recurse=True, preserve=True)
    return {}


ACTIONS = {
    "exec": exec_, "down": down, "up": up, "echo": echo, "channels": channels, "sftp": sftp, "tunnel": tunnel,
    "shell": shell, "learn": learn, "files": files, "scp": scp, "talk": talk,
}


@contextlib.asynccontextmanager
async def connected(asked):
    """The connection: to a server, or with reverse from the one that calls."""
    if not asked.get("reverse"):
        async with asyncssh.connect(asked["host"], asked["port"], **options(asked)) as connection:
            yield connection
        return
    called = asyncio.get_running_loop().create_future()
    listener = await asyncssh.listen_reverse(
        asked["host"], asked["port"], acceptor=called.set_result, **options(asked)
    )
    async with listener, await asyncio.wait_for(called, 60) as connection:
        yield connection


async def main(asked):
    global learned
    learned = asyncio.get_running_loop().create_future()
    exchanges.clear()
    async with connected(asked) as connection:
        done = await ACTIONS[asked.get("action", "exec")](connection, asked)
        info = connection.get_extra_info
        peer.answer(
            kex=exchanges[0],
            host_key_type=connection.get_server_host_key().get_algorithm(),
            cipher=info("send_cipher"),
            mac=info("send_mac"),
            compression=info("send_compression"),
            exchanges=len(exchanges),
            peer="SSH-2.0-" + info("server_version").removeprefix("SSH-2.0-"),
            **done,
        )


note_exchanges()
peer.each(lambda asked: asyncio.run(main(asked)))
