//! What std lacks of the system, by safe crates (being written).
pub(crate) mod file;
pub(crate) mod socket;
pub(crate) mod tcp;
pub(crate) mod user;
