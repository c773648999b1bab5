"""An SFTP server on standard streams whose one directory, /d, lists what is no name of a file there."""

import struct
import sys

NAMES = [b"../evil", b"ok", b"a/b", b"/tmp/evil", b""]
FILE = struct.pack(">II", 4, 0o100644)
DIRECTORY = struct.pack(">II", 4, 0o40755)


def string(data):
    return struct.pack(">I", len(data)) + data


def send(kind, body):
    sys.stdout.buffer.write(struct.pack(">IB", len(body) + 1, kind) + body)
    sys.stdout.buffer.flush()


def main():
    listed = False
    while len(head := sys.stdin.buffer.read(4)) == 4:
        packet = sys.stdin.buffer.read(struct.unpack(">I", head)[0])
        kind, number = packet[0], packet[1:5]
        if kind == 1:
            send(2, struct.pack(">I", 3))
            continue
        length = struct.unpack(">I", packet[5:9])[0]
        path = packet[9 : 9 + length].rstrip(b"/")
        status = lambda code: send(101, number + struct.pack(">I", code) + string(b"") + string(b""))
        if kind == 16:
            send(104, number + struct.pack(">I", 1) + string(b"/d") + string(b"") + struct.pack(">I", 0))
        elif kind == 11:
            listed = False
            send(102, number + string(b"dir"))
        elif kind == 12 and not listed:
            listed = True
            rows = b"".join(string(name) * 2 + FILE for name in NAMES)
            send(104, number + struct.pack(">I", len(NAMES)) + rows)
        elif kind in (7, 17):
            send(105, number + (DIRECTORY if path == b"/d" else FILE))
        elif kind == 3:
            send(102, number + string(b"file"))
        else:
            status(1 if kind in (5, 12) else 0)


main()
