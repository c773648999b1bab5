//! Framing, encryption, integrity, compression of packets (being written).
