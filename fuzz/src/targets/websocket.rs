//! WebSockets as clients of exec and port-forward speak them: the first byte chooses the framing.

use skiff_nodeagent::stream::ws::{self, Framing};

use super::over_a_connection;
use crate::Target;

pub const WEBSOCKET: Target = Target::new("websocket", run, begin).bytes();

fn begin() -> Vec<Vec<u8>> {
    let mask = [1u8, 2, 3, 4];
    let frame = |kind: u8, body: &[u8]| {
        let masked = body
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask);
        [0x80 | kind, 0x80 | body.len() as u8]
            .into_iter()
            .chain(mask)
            .chain(masked)
            .collect::<Vec<u8>>()
    };
    let mut all = Vec::new();
    for framing in 0..3 {
        let frames = [
            vec![framing],
            frame(2, b"\0hello"),
            frame(1, b"0aGk="),
            frame(9, b"x"),
            frame(2, b"\xff\0"),
            frame(2, b"\x04{\"Width\":3}"),
            frame(8, b"\x03\xe8"),
        ];
        all.push(frames.concat());
    }
    all
}

fn run(data: &[u8]) {
    let Some((first, data)) = data.split_first() else {
        return;
    };
    let framing = match first % 3 {
        0 => Framing::Binary,
        1 => Framing::BinaryWithClose,
        _ => Framing::Base64,
    };
    over_a_connection(data, async |far| {
        let mut channels = ws::serve(far, framing).await;
        while channels.inbound.recv().await.is_some() {}
    });
}
