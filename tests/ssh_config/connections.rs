//! What a connection makes of what it is told.
