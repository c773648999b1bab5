"""paramiko behind bench_peer's command line. Client only."""

import socket
import threading
import time

import paramiko
from command_line import PIECE, WARM_UP_PINGS, Meter, arguments, percentiles


def connect(asked):
    sock = socket.create_connection((asked.host, asked.port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport = paramiko.Transport(sock, default_window_size=2**21, default_max_packet_size=2**15)
    options = transport.get_security_options()
    if asked.cipher:
        options.ciphers = [asked.cipher]
    if asked.mac:
        options.digests = [asked.mac]
    if asked.kex:
        options.kex = [name for name in options.kex if name.startswith(asked.kex)]
    transport.start_client(timeout=30)
    transport.auth_publickey(asked.user, paramiko.Ed25519Key.from_private_key_file(asked.key))
    return transport


def start(transport, command):
    channel = transport.open_session()
    channel.exec_command(command)
    return channel


def succeed(channel):
    status = channel.recv_exit_status()
    channel.close()
    if status:
        raise SystemExit(f"exit status {status}")


def down(asked, command, size):
    transport = connect(asked)
    meter = Meter()
    channel, total = start(transport, command), 0
    while piece := channel.recv(PIECE):
        total += len(piece)
    if total != int(size):
        raise SystemExit(f"{total} bytes came, {size} were expected")
    succeed(channel)
    meter.report(bytes=total)
    transport.close()


def up(asked, size, command="cat >/dev/null"):
    transport = connect(asked)
    meter = Meter()
    channel = start(transport, command)
    piece, left = bytes(PIECE), int(size)
    while left:
        channel.sendall(piece[: min(left, PIECE)])
        left -= min(left, PIECE)
    channel.shutdown_write()
    succeed(channel)
    meter.report(bytes=int(size))
    transport.close()


def once(asked, count):
    for _ in range(count):
        transport = connect(asked)
        succeed(start(transport, "true"))
        transport.close()


def connects(asked, count, parallel):
    meter, count, parallel = Meter(), int(count), int(parallel)
    workers = [threading.Thread(target=once, args=(asked, count // parallel)) for _ in range(parallel)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    meter.report(count=count // parallel * parallel)


def execs(asked, count):
    transport = connect(asked)
    meter = Meter()
    for _ in range(int(count)):
        succeed(start(transport, "true"))
    meter.report(count=int(count))
    transport.close()


def ping(asked, count):
    transport = connect(asked)
    channel = start(transport, "cat")

    def echo():
        sent = time.perf_counter()
        channel.sendall(b"x")
        if channel.recv(1) != b"x":
            raise SystemExit("no echo")
        return time.perf_counter() - sent

    for _ in range(WARM_UP_PINGS):
        echo()
    meter = Meter()
    meter.report(**percentiles([echo() for _ in range(int(count))]))
    transport.close()


VERBS = {"down": down, "up": up, "connect": connects, "execs": execs, "ping": ping}

if __name__ == "__main__":
    asked = arguments()
    VERBS[asked.verb](asked, *asked.words)
