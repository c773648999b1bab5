//! User authentication (being written).
