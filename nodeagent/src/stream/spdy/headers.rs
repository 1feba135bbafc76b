//! Header blocks of SPDY/3: names and values with their lengths, compressed with a dictionary that both sides know.
//!
//! Invariant: one packer and one unpacker a connection, used for every block in its order, because the state goes on from block to block.
//! Follows the SPDY protocol, draft 3.1, section 2.6.10.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::{Error, Headers, MAX_CONTROL};

/// Compresses header blocks; the state goes on from block to block.
pub struct Packer(Compress);

impl Packer {
    pub fn new() -> Result<Self, Error> {
        let mut compress = Compress::new(Compression::best(), true);
        compress
            .set_dictionary(&DICTIONARY)
            .map_err(|error| Error::Headers(error.to_string()))?;
        Ok(Self(compress))
    }

    pub fn pack(&mut self, headers: &Headers) -> Result<Vec<u8>, Error> {
        let mut plain = BytesMut::new();
        plain.put_u32(headers.len() as u32);
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            plain.put_u32(text.len() as u32);
            plain.put_slice(text.as_bytes());
        }
        let mut packed = Vec::with_capacity(plain.len() + 256);
        let begin = self.0.total_in();
        loop {
            let done = (self.0.total_in() - begin) as usize;
            let room = packed.capacity() - packed.len();
            let status = self
                .0
                .compress_vec(&plain[done..], &mut packed, FlushCompress::Sync)
                .map_err(|error| Error::Headers(error.to_string()))?;
            let all_in = (self.0.total_in() - begin) as usize == plain.len();
            if all_in
                && (packed.len() < packed.capacity() || room == 0 && status == Status::BufError)
            {
                return Ok(packed);
            }
            packed.reserve(256);
        }
    }
}

/// Decompresses header blocks.
pub struct Unpacker(Decompress);

impl Default for Unpacker {
    fn default() -> Self {
        Self::new()
    }
}

impl Unpacker {
    pub fn new() -> Self {
        Self(Decompress::new(true))
    }

    pub fn unpack(&mut self, packed: &[u8]) -> Result<Headers, Error> {
        let failed = |error: flate2::DecompressError| Error::Headers(error.to_string());
        let mut plain = Vec::with_capacity(1024);
        let begin = self.0.total_in();
        loop {
            let done = (self.0.total_in() - begin) as usize;
            if plain.len() > MAX_CONTROL {
                return Err(Error::TooLarge(plain.len()));
            }
            let have = plain.len();
            let status = self
                .0
                .decompress_vec(&packed[done..], &mut plain, FlushDecompress::Sync);
            match status {
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&DICTIONARY).map_err(failed)?;
                    continue;
                }
                Err(error) => return Err(failed(error)),
                Ok(_) => {}
            }
            if (self.0.total_in() - begin) as usize == packed.len()
                && plain.len() < plain.capacity()
            {
                return parse(Bytes::from(plain));
            }
            let read = (self.0.total_in() - begin) as usize - done;
            if read == 0 && plain.len() == have && have < plain.capacity() {
                return Err(Error::Headers(
                    "bytes after the end of the stream".to_owned(),
                ));
            }
            plain.reserve(1024);
        }
    }
}

fn parse(mut plain: Bytes) -> Result<Headers, Error> {
    let short = || Error::Headers("block too short".to_owned());
    let count = plain.try_get_u32().map_err(|_| short())?;
    let mut text = || -> Result<String, Error> {
        let length = plain.try_get_u32().map_err(|_| short())? as usize;
        if plain.len() < length {
            return Err(short());
        }
        Ok(String::from_utf8_lossy(&plain.split_to(length)).into_owned())
    };
    (0..count)
        .map(|_| Ok((text()?.to_ascii_lowercase(), text()?)))
        .collect()
}

/// The words that SPDY/3 fills its compressors with beforehand. Words with their length before them, then plain text.
static DICTIONARY: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
    const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow authorization \
        cache-control connection content-base content-encoding content-language content-length content-location content-md5 content-range content-type \
        date etag expect expires from host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards \
        pragma proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade user-agent vary via warning \
        www-authenticate method get status 200~OK version HTTP/1.1 url public set-cookie keep-alive origin";
    const REST: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative \
        Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not \
        Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, \
        GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,\
        deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";
    let mut all = Vec::with_capacity(1423);
    for word in WORDS.split_whitespace().map(|word| word.replace('~', " ")) {
        all.put_u32(word.len() as u32);
        all.put_slice(word.as_bytes());
    }
    all.put_slice(REST.as_bytes());
    all
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dictionary_is_the_standards() {
        let mut adler = (1u32, 0u32);
        for byte in DICTIONARY.iter() {
            adler.0 = (adler.0 + u32::from(*byte)) % 65521;
            adler.1 = (adler.1 + adler.0) % 65521;
        }
        // What every SPDY/3 zlib stream names as its dictionary.
        assert_eq!(
            (DICTIONARY.len(), (adler.1 << 16) | adler.0),
            (1423, 0xe3c6_a7c2)
        );
    }

    #[test]
    fn bytes_after_the_end_of_a_stream_are_refused() {
        use std::io::Write;
        let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(&[0; 4]).unwrap();
        let ended = packer.finish().unwrap();
        assert_eq!(Unpacker::new().unpack(&ended).unwrap(), Vec::new());
        let more = [&ended[..], b"more"].concat();
        assert!(Unpacker::new().unpack(&more).is_err());
    }

    #[test]
    fn headers_survive_packing_one_block_after_the_other() {
        let (mut packer, mut unpacker) = (Packer::new().unwrap(), Unpacker::new());
        for round in 0..3 {
            let headers = vec![
                ("streamtype".to_owned(), "stdin".to_owned()),
                ("x".to_owned(), "y".repeat(round * 4000)),
            ];
            assert_eq!(
                unpacker.unpack(&packer.pack(&headers).unwrap()).unwrap(),
                headers
            );
        }
    }
}
