//! Vectors of others.

pub(crate) mod vectors;
mod wycheproof;
