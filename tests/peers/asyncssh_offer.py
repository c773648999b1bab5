"""All that AsyncSSH has, which it does not offer by itself; see peer.py for the specification."""

from asyncssh.compression import get_compression_algs
from asyncssh.encryption import get_encryption_algs
from asyncssh.kex import get_kex_algs
from asyncssh.mac import get_mac_algs


def everything():
    """The options by which a client or a server offers all of it."""
    every = dict(
        kex_algs=get_kex_algs(),
        encryption_algs=get_encryption_algs(),
        mac_algs=get_mac_algs(),
        compression_algs=get_compression_algs(),
    )
    return {option: [name.decode() for name in names] for option, names in every.items()}
