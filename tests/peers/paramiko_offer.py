"""What paramiko offers, in both roles; see peer.py for the specification."""


def choose(transport, asked):
    """Has a transport offer what is asked for, and nothing else."""
    options = transport.get_security_options()
    if asked.get("every"):
        options.kex = tuple(transport._kex_info)
        options.ciphers = tuple(transport._cipher_info)
        options.digests = tuple(transport._mac_info)
        options.compression = tuple(transport._compression_info)
    for field, option in [
        ("kex", "kex"),
        ("ciphers", "ciphers"),
        ("macs", "digests"),
        ("host_key_algorithms", "key_types"),
    ]:
        if asked.get(field):
            setattr(options, option, asked[field])
    if asked.get("signatures"):
        transport._preferred_pubkeys = tuple(asked["signatures"])
    if asked.get("compression"):
        options.compression = ["zlib@openssh.com"]
    if asked.get("rekey_bytes"):
        transport.packetizer.REKEY_BYTES = asked["rekey_bytes"]
