//! Watches over a WebSocket, as browsers follow them: each event is a message.

use std::time::Duration;

use futures::StreamExt;
use http::Request;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, handshake::client::generate_key};

use super::server::{ADMIN, Server};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn follow(
    server: &Server,
    accept: &str,
) -> impl futures::Stream<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + use<> {
    let request = Request::get(format!("wss://localhost{MAPS}?watch=1"))
        .header("host", "localhost")
        .header("authorization", format!("Bearer {ADMIN}"))
        .header("accept", accept)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", generate_key())
        .body(())
        .unwrap();
    let (client, _) = tokio_tungstenite::client_async(request, server.connect().await)
        .await
        .unwrap();
    client
}

#[tokio::test]
async fn events_come_as_messages() {
    let server = Server::start(&[]).await;
    let map = |name: &str| json!({"metadata": {"name": name}, "data": {"k": "a\nb"}});
    server.make(MAPS, &map("first")).await;
    let mut texts = Box::pin(follow(&server, "application/json").await);
    let mut frames =
        Box::pin(follow(&server, "application/vnd.kubernetes.protobuf;stream=watch").await);
    server.make(MAPS, &map("second")).await;
    for name in ["first", "second"] {
        let next = tokio::time::timeout(Duration::from_secs(20), texts.next());
        let Message::Text(text) = next.await.unwrap().unwrap().unwrap() else {
            panic!("no text");
        };
        let event: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(event["type"], "ADDED");
        assert_eq!(event["object"]["metadata"]["name"], name);
        let next = tokio::time::timeout(Duration::from_secs(20), frames.next());
        let Message::Binary(bytes) = next.await.unwrap().unwrap().unwrap() else {
            panic!("no bytes");
        };
        let holds = |part: &[u8]| bytes.windows(part.len()).any(|at| at == part);
        assert!(holds(b"ADDED") && holds(b"k8s\0") && holds(name.as_bytes()));
    }
    // the server's end ends the watch
    server.running.stop().await;
    let rest = tokio::time::timeout(Duration::from_secs(20), texts.collect::<Vec<_>>());
    assert!(
        !rest
            .await
            .unwrap()
            .iter()
            .any(|message| matches!(message, Ok(Message::Text(_))))
    );
}
