//! zstd as layers have it: any number of frames one after another, with frames between them that are to be passed over.
//!
//! Invariant: what follows a frame and is no frame is an error, not an end. Follows RFC 8878, section 3.1.

use std::io::{self, BufRead, BufReader, Read};

use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

/// What zstd's own tools accept: 128 MiB of history.
const LARGEST_WINDOW: u64 = 1 << 27;

/// The plain bytes of a stream of frames.
pub struct Frames<R> {
    raw: BufReader<R>,
    decoder: FrameDecoder,
    within: bool,
}

fn broken(error: FrameDecoderError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("zstd: {error}"))
}

impl<R: Read> Frames<R> {
    pub fn new(raw: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(LARGEST_WINDOW);
        Self {
            raw: BufReader::new(raw),
            decoder,
            within: false,
        }
    }

    /// Goes to the next frame with content; `false` when there is none.
    fn enter(&mut self) -> io::Result<bool> {
        while !self.raw.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.raw) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let passed =
                        io::copy(&mut self.raw.by_ref().take(length.into()), &mut io::sink())?;
                    if passed < u64::from(length) {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(broken(error)),
            }
        }
        Ok(false)
    }
}

impl<R: Read> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.within && !self.enter()? {
                return Ok(0);
            }
            self.within = true;
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.raw, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(broken)?;
            }
            let read = self.decoder.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            self.within = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        Frames::new(bytes).read_to_end(&mut plain).map(|_| plain)
    }

    #[test]
    fn frames_follow_one_another_and_some_are_passed_over() {
        let text: Vec<u8> = (0..300_000_u32)
            .flat_map(|n| n.to_string().into_bytes())
            .collect();
        let frame = compress_to_vec(&text[..], CompressionLevel::Fastest);
        let passed: Vec<u8> = [
            &0x184D_2A50_u32.to_le_bytes()[..],
            &5_u32.to_le_bytes()[..],
            b"table",
        ]
        .concat();
        let whole = [
            &frame[..],
            &passed,
            &compress_to_vec(&b"end"[..], CompressionLevel::Fastest),
            &passed,
        ]
        .concat();
        assert_eq!(read(&whole).unwrap(), [&text[..], b"end"].concat());
        assert!(read(b"").unwrap().is_empty());
        for broken in [
            &frame[..frame.len() - 9],
            &whole[..whole.len() - 1],
            &[&frame[..], b"other"].concat(),
        ] {
            assert!(read(broken).is_err());
        }
    }
}
