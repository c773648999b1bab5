//! Key exchange (being written).
