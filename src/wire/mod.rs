//! The bytes of SSH: data types of RFC 4251 §5, read from and written to slices; patterns of names.
//!
//! Pure: knows no message, no key, no socket. Decoding borrows from the packet and allocates
//! nothing; no number from a peer is believed before it was held against the bytes that are left.

mod messages;
mod read;
mod types;
mod write;

pub(crate) use messages::messages;
pub use read::Malformed;
pub(crate) use read::{Decode, Reader};
pub(crate) use types::{
    Escaped, Hidden, Mpint, NAME_BYTES, NAME_LIST_BYTES, NAME_LIST_NAMES, NameList, Rest, is_own_name,
};
pub(crate) use write::{Encode, Writer, put_mpint, string_of};

#[cfg(test)]
mod tests;
