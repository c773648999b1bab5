//! What std lacks of the system, by safe crates (being written).
