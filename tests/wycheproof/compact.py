#!/usr/bin/env python3
"""Writes the vectors of Project Wycheproof that fit SSH beside this file, from its JSON.

usage: compact.py FOLDER   (testvectors_v1 of https://github.com/C2SP/wycheproof)

A line is a key of the tests that follow ("key" and its fields), or a test: its number, v(alid),
i(nvalid) or a(cceptable), and its fields. Fields are in base64, "-" when empty.
"""

import base64
import json
import pathlib
import sys

# Of post-quantum tests, which are long, one in so many of those that are about nothing special.
FEW = 8


def field(text):
    if isinstance(text, int):
        text = f"{text:016x}"
    data = bytes.fromhex(text if len(text) % 2 == 0 else "0" + text)
    return base64.b64encode(data).decode() or "-"


def edwards(name, group):
    return ["publicKey.pk"], ["msg", "sig"], True


def ecdsa(name, group):
    return ["publicKey.uncompressed"], ["msg", "sig"], True


def rsa(name, group):
    return ["publicKey.modulus", "publicKey.publicExponent"], ["msg", "sig"], True


def agree(name, group):
    return [], ["public", "private", "shared"], True


def gcm(name, group):
    fits = group["ivSize"] == 96 and group["tagSize"] == 128 and group["keySize"] in (128, 256)
    return [], ["key", "iv", "aad", "msg", "ct", "tag"], fits


def chacha(name, group):
    return [], ["key", "iv", "aad", "msg", "ct", "tag"], group["ivSize"] == 96


def cbc(name, group):
    return [], ["key", "iv", "msg", "ct"], True


def pbes2(name, group):
    return [], ["password", "salt", "iterationCount", "iv", "msg", "ct"], True


def hmac(name, group):
    return [], ["key", "msg", "tag"], True


def decapsulate(name, group):
    return [], ["seed", "c", "K"], True


def encapsulate(name, group):
    return [], ["ek"], True


SETS = {
    "ed25519": edwards,
    "ed448": edwards,
    "ecdsa_secp256r1_sha256_p1363": ecdsa,
    "ecdsa_secp384r1_sha384_p1363": ecdsa,
    "ecdsa_secp521r1_sha512_p1363": ecdsa,
    "rsa_signature_2048_sha256": rsa,
    "rsa_signature_2048_sha512": rsa,
    "rsa_signature_3072_sha256": rsa,
    "rsa_signature_3072_sha512": rsa,
    "rsa_signature_4096_sha256": rsa,
    "rsa_signature_8192_sha512": rsa,
    "x25519": agree,
    "x448": agree,
    "ecdh_secp256r1_ecpoint": agree,
    "ecdh_secp384r1_ecpoint": agree,
    "ecdh_secp521r1_ecpoint": agree,
    "aes_gcm": gcm,
    "aes_cbc_pkcs5": cbc,
    "chacha20_poly1305": chacha,
    "pbes2_hmacsha1_aes_256": pbes2,
    "pbes2_hmacsha224_aes_256": pbes2,
    "pbes2_hmacsha256_aes_128": pbes2,
    "pbes2_hmacsha256_aes_192": pbes2,
    "pbes2_hmacsha256_aes_256": pbes2,
    "pbes2_hmacsha384_aes_256": pbes2,
    "pbes2_hmacsha512_aes_256": pbes2,
    "hmac_sha1": hmac,
    "hmac_sha256": hmac,
    "hmac_sha512": hmac,
    "mlkem_768": decapsulate,
    "mlkem_1024": decapsulate,
    "mlkem_768_encaps": encapsulate,
    "mlkem_1024_encaps": encapsulate,
}


def value(of, path):
    for name in path.split("."):
        of = of[name]
    return of


def lines(name, groups, shape):
    for group in groups:
        keys, fields, fits = shape(name, group)
        if not fits:
            continue
        if keys:
            yield " ".join(["key", *(field(value(group, path)) for path in keys)])
        for test in group["tests"]:
            if name.startswith("mlkem") and test["tcId"] % FEW and not test["flags"]:
                continue
            yield " ".join([str(test["tcId"]), test["result"][0], *(field(test.get(at, "")) for at in fields)])


def main():
    here = pathlib.Path(__file__).parent
    for name, shape in SETS.items():
        data = json.loads((pathlib.Path(sys.argv[1]) / f"{name}_test.json").read_text())
        (here / f"{name}.txt").write_text("\n".join(lines(name, data["testGroups"], shape)) + "\n")


main()
