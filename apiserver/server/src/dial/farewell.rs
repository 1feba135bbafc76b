//! TLS connections that may end without a farewell (`close_notify`), as many servers end them.
//!
//! Invariant: the end of the connection is an end, as it is to Go; whether what came was all of it is for who knows its length. Follows `crypto/tls/conn.go`
//! of Go (readRecordOrCCS).

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub struct WithoutFarewell<S>(pub S);

impl<S: AsyncRead + Unpin> AsyncRead for WithoutFarewell<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.0).poll_read(cx, buffer) {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Poll::Ready(Ok(()))
            }
            read => read,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WithoutFarewell<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    /// Gives a few bytes, and ends in the middle of something.
    struct Cut(&'static [u8]);

    impl AsyncRead for Cut {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if self.0.is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            buffer.put_slice(self.0);
            self.0 = &[];
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn an_end_is_an_end() {
        let mut read = Vec::new();
        let stream = &mut WithoutFarewell(Cut(b"all"));
        stream.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"all");
    }
}
