//! Clients of our master that keep to no protocol.
