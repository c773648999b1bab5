"""What the four peers share: the specification they get, the data they send, the answer they print.

The specification is one JSON object, the first argument; a client also takes a list of them, which it
runs one after the other:

  host, port          where to connect, or to listen (port 0: any)
  user                who logs in; a server lets in nobody else
  password, key       how: the key is the path of a private key file
  passphrase          opens the key
  agent               instead of a key file: the path of the socket of an agent that has it
  certificate         the path of the key's certificate, which a client offers
  interactive         true: the password is given by keyboard-interactive
  kex, ciphers, macs, host_key_algorithms, signatures
                      lists of names; the peer offers these, in this order, and nothing else
  compression         true: only zlib@openssh.com is offered
  every               true: all key exchanges, ciphers, MACs and compressions that the peer has are offered
  rekey_bytes         a new key exchange after so many bytes; AsyncSSH counts what it sends only
  own_method          {name, secret}: the method of asyncssh_own.py under that name (AsyncSSH only)

for a client also

  hostbased           {key, certificate, host, user}: the host vouches for its user; certificate is a
                      path, or none
  host_key            the public key line that the server must show
  known_hosts         the text of a known_hosts file that the server must satisfy (AsyncSSH only)
  action              exec, down, up, echo, channels, sftp, files (a round of all operations of SFTP; failed
                      lists what came out otherwise), tunnel, learn (the further host keys that the
                      server proves; AsyncSSH only), scp (a tree `local`, `up` or down from
                      `remote`; AsyncSSH only), talk (a shell at a terminal; AsyncSSH only) or shell
                      (stty size, a resize to 132x50, stty size until it shows, exit 5)
  steps               of talk: a text to wait for, one to type then, a new size or null
  command             what exec runs; down, up, echo and channels have one of their own
  stdin               text that exec and tunnel send
  env                 variables to ask for, an object
  pty                 true: exec runs on a terminal (xterm, 80x24)
  bytes               how much down, up, echo (cat, there and back) and sftp move
  count               how many channels are open at once
  path                the file that sftp writes, reads and removes; the empty folder of files
  to                  [host, port] that tunnel connects to, from the server

  reverse             true: waits at host and port for a server that calls (AsyncSSH only)

for a server also

  reverse             [host, port] of a client that waits for the server's call (AsyncSSH only)
  host_keys           paths of private keys
  host_certificates   paths of certificates of them (AsyncSSH only)
  authorized_keys     public key lines
  authorized          the text of an authorized_keys file (AsyncSSH only)
  hostbased           {known, users}: the text of a known_hosts file, and who may come from there
                      (AsyncSSH only)
  announce            true: announces and proves its host keys; AsyncSSH only

A client prints one JSON object for each specification: what came of the action (stdout, stderr, exit, signal; bytes,
sha256, ok; exit is null when a signal ended the command) and what was agreed (kex, host_key_type,
cipher, mac, compression, peer, and exchanges, the number of key exchanges); or error. A server
prints "listening PORT", and ends when its standard input does.
"""

import hashlib
import json
import os
import sys
import threading
import traceback

LINE = b"feramiko\n"
CHUNK = LINE * 8192


def spec():
    return json.loads(sys.argv[1])


def answer(**fields):
    print(json.dumps(fields), flush=True)


def each(run):
    """Runs a client for each specification. The answer of one that fails is what went wrong, the trace goes to
    standard error; such a client may have left threads behind, which end with it."""
    asked, failed = spec(), False
    for one in asked if isinstance(asked, list) else [asked]:
        try:
            run(one)
        except Exception as error:
            failed = True
            traceback.print_exc()
            answer(error=f"{type(error).__name__}: {error}")
    if failed:
        sys.stdout.flush()
        os._exit(1)


def text(data):
    return data.decode("utf-8", "replace")


def pattern(size):
    """`size` bytes of data, piece by piece; what `yes feramiko | head -c size` prints."""
    while size > 0:
        piece = CHUNK[:size]
        size -= len(piece)
        yield piece


def mixed(size):
    """`size` bytes, of which half can be compressed and half cannot."""
    half = size // 2
    return os.urandom(half) + b"".join(pattern(size - half))


def pattern_digest(size):
    digest = hashlib.sha256()
    for piece in pattern(size):
        digest.update(piece)
    return digest.hexdigest()


def down_command(asked):
    return asked.get("command") or f"yes feramiko | head -c {asked['bytes']}"


def up_command(asked):
    return asked.get("command") or "sha256sum"


def listening(port):
    """Says that a server is ready, and ends it when whoever started it goes away."""
    print(f"listening {port}", flush=True)

    def watch():
        while os.read(0, 4096):
            pass
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()
