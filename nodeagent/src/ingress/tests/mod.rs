//! The proxy as a whole.
