//! SPDY as clients of exec and port-forward speak it.

use super::over_a_connection;
use crate::Target;

pub const SPDY: Target = Target::new("spdy", run, begin)
    .bytes()
    // a header's block is unpacked up to its bound, and there are windows of zlib
    .worth(2048);

/// A stream is opened with empty headers packed as draft 3.1 says, sent to, and reset; then a ping.
fn begin() -> Vec<Vec<u8>> {
    use std::io::Write;
    let mut frames = Vec::new();
    let mut block = 1u32.to_be_bytes().to_vec();
    for text in ["streamtype", "stdin"] {
        block.extend((text.len() as u32).to_be_bytes());
        block.extend(text.as_bytes());
    }
    let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(&block).unwrap();
    let packed = packer.finish().unwrap();
    let control = |kind: u16, flags: u8, body: &[u8]| {
        let mut frame = (0x8003u16).to_be_bytes().to_vec();
        frame.extend(kind.to_be_bytes());
        frame.extend((u32::from(flags) << 24 | body.len() as u32).to_be_bytes());
        frame.extend(body);
        frame
    };
    let syn = [&1u32.to_be_bytes()[..], &[0; 6], &packed].concat();
    frames.extend(control(1, 0, &syn));
    frames.extend([&1u32.to_be_bytes()[..], &[1, 0, 0, 5], b"hello"].concat());
    frames.extend(control(3, 0, &[0, 0, 0, 1, 0, 0, 0, 5]));
    frames.extend(control(6, 0, &[0, 0, 0, 9]));
    let only = control(6, 0, &[0, 0, 0, 9]);
    vec![frames, only]
}

fn run(data: &[u8]) {
    over_a_connection(data, async |far| {
        let mut connection = skiff_nodeagent::stream::spdy::serve(far);
        let mut streams = Vec::new();
        while let Some(mut stream) = connection.recv().await {
            streams.push(tokio::spawn(async move {
                while stream.inbound.recv().await.is_some() {}
            }));
        }
        for stream in streams {
            stream.await.unwrap();
        }
    });
}
