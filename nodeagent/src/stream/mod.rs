//! Streams through upgraded connections: SPDY/3.1 and WebSocket below, remote commands and port-forwarding above.
//!
//! Invariant: nothing here knows of TLS or of who asked; an upgraded connection is a pair of byte streams, so that a proxy before the node can
//! simply copy bytes.

pub mod forward;
pub mod remote;
pub mod spdy;
pub mod upgrade;
pub mod ws;

/// Bytes in both directions.
pub trait Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static {}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static> Io for T {}
