//! The messages of SSH, declared once in RFC order, and the table of their numbers.
//!
//! Pure: knows bytes, not what they mean to anyone. Numbers 30–49 and 60–79 mean different things
//! to different methods; who expects them decodes them.

pub(crate) mod auth;
pub(crate) mod connection;
pub(crate) mod forwarding;
pub(crate) mod kex;
pub(crate) mod number;
pub(crate) mod transport;

#[cfg(test)]
mod tests;
