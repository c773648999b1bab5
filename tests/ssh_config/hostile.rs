//! Files that nobody should read.
