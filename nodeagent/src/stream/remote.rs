//! Remote commands: exec and attach, whatever they come through.
//!
//! Invariant: the error channel is written once, last, after all output.
//! Follows `staging/src/k8s.io/streaming/pkg/cri/remotecommand` and `pkg/kubelet/server/remotecommand`.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Io, spdy,
    ws::{self, Framing, Inbound},
};
use crate::{
    outcome,
    runtime::{self, ExecSpec, Streams},
    time,
};
use skiff_api::machinery::quote::GoQuoted;

/// The versions of the protocol, by name; the newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// No exit code: errors are plain text. `channel.k8s.io` and versions 2 and 3.
    Text { resize: bool },
    /// The error channel carries a `Status`.
    Status,
}

/// The protocols that SPDY clients may ask for.
pub const SPDY: [(&str, Version); 4] = [
    ("v4.channel.k8s.io", Version::Status),
    ("v3.channel.k8s.io", Version::Text { resize: true }),
    ("v2.channel.k8s.io", Version::Text { resize: false }),
    ("channel.k8s.io", Version::Text { resize: false }),
];

/// The protocols that WebSocket clients may ask for.
pub const WEBSOCKET: [(&str, Version, Framing); 5] = [
    (
        "v5.channel.k8s.io",
        Version::Status,
        Framing::BinaryWithClose,
    ),
    ("v4.channel.k8s.io", Version::Status, Framing::Binary),
    ("v4.base64.channel.k8s.io", Version::Status, Framing::Base64),
    (
        "channel.k8s.io",
        Version::Text { resize: true },
        Framing::Binary,
    ),
    (
        "base64.channel.k8s.io",
        Version::Text { resize: true },
        Framing::Base64,
    ),
];

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;

/// Where output goes.
enum Outlets {
    WebSocket(mpsc::Sender<(u8, Bytes)>),
    Spdy(HashMap<u8, spdy::Outlet>),
}

impl Outlets {
    async fn write(&self, channel: u8, data: Bytes) -> std::io::Result<()> {
        match self {
            Self::WebSocket(sender) => sender
                .send((channel, data))
                .await
                .map_err(|_| std::io::ErrorKind::BrokenPipe.into()),
            Self::Spdy(streams) => match streams.get(&channel) {
                Some(stream) => stream.send(data).await,
                None => Ok(()),
            },
        }
    }

    async fn close(&self) {
        if let Self::Spdy(streams) = self {
            for stream in streams.values() {
                // A connection that is gone needs no closing.
                outcome::nobody_may_wait(stream.close().await);
            }
        }
    }
}

/// A client with its channels.
pub struct Session {
    version: Version,
    stdin: mpsc::Receiver<Bytes>,
    resize: mpsc::Receiver<(u16, u16)>,
    outlets: Outlets,
    /// Ends when the client is gone.
    gone: mpsc::Receiver<()>,
    /// What reads from the client; ends with the session.
    _reader: AbortOnDropHandle<()>,
}

/// Takes a WebSocket client.
pub async fn websocket(
    io: impl Io,
    version: Version,
    framing: Framing,
    spec: &ExecSpec,
) -> Session {
    let ws::Channels {
        mut inbound,
        outbound,
    } = ws::serve(io, framing).await;
    let (stdin_sender, stdin) = mpsc::channel(64);
    let (resize_sender, resize) = mpsc::channel(8);
    let (alive, gone) = mpsc::channel(1);
    let reader = skiff_watching::task::spawn(async move {
        let mut stdin = Some(stdin_sender);
        while let Some(message) = inbound.recv().await {
            match message {
                Inbound::Data(STDIN, data) => {
                    if let Some(sender) = stdin.as_ref().filter(|_| !data.is_empty())
                        && sender.send(data).await.is_err()
                    {
                        stdin = None;
                    }
                }
                Inbound::Close(STDIN) => stdin = None,
                Inbound::Data(RESIZE, data) => forward_size(&data, &resize_sender).await,
                Inbound::Data(..) | Inbound::Close(_) => {}
            }
        }
        drop(alive);
    });
    let outlets = Outlets::WebSocket(outbound);
    // An empty message tells the client that all is set up.
    let first = if spec.stdout {
        STDOUT
    } else if spec.stderr && !spec.tty {
        STDERR
    } else {
        ERROR
    };
    if outlets.write(first, Bytes::new()).await.is_err() {
        tracing::debug!("client left before its command began");
    }
    Session {
        version,
        stdin,
        resize,
        outlets,
        gone,
        _reader: AbortOnDropHandle::new(reader),
    }
}

async fn forward_size(data: &[u8], sizes: &mpsc::Sender<(u16, u16)>) {
    if let Ok(size) = serde_json::from_slice::<Value>(data) {
        let number = |key: &str| {
            size.get(key)
                .or_else(|| size.get(key.to_ascii_lowercase()))
                .and_then(Value::as_u64)
                .and_then(|n| u16::try_from(n).ok())
        };
        if let (Some(columns), Some(rows)) = (number("Width"), number("Height")) {
            outcome::nobody_may_wait(sizes.send((columns, rows)).await);
        }
    }
}

/// Why an SPDY client has no session.
#[derive(thiserror::Error, Debug)]
pub enum NotOpen {
    #[error("the client left before its streams were open")]
    Left,
    #[error("invalid stream type {}", GoQuoted(.0.as_deref().unwrap_or_default()))]
    StreamType(Option<String>),
    #[error("timed out waiting for client to create streams")]
    TimedOut,
}

/// Takes an SPDY client: waits until it has opened the streams that it asked for.
pub async fn spdy(io: impl Io, version: Version, spec: &ExecSpec) -> Result<Session, NotOpen> {
    let mut streams = spdy::serve(io);
    let resizes = spec.tty && version != (Version::Text { resize: false });
    let wanted = 1 + [spec.stdin, spec.stdout, spec.stderr && !spec.tty, resizes]
        .iter()
        .filter(|wanted| **wanted)
        .count();
    let (stdin_sender, mut stdin) = mpsc::channel(1);
    drop(stdin_sender);
    let (resize_sender, resize) = mpsc::channel(8);
    let mut outlets = HashMap::new();
    let collect = async {
        for _ in 0..wanted {
            let stream = streams.recv().await.ok_or(NotOpen::Left)?;
            match stream.header("streamtype") {
                Some("stdin") => stdin = stream.inbound,
                Some("stdout") => _ = outlets.insert(STDOUT, stream.out),
                Some("stderr") => _ = outlets.insert(STDERR, stream.out),
                Some("error") => _ = outlets.insert(ERROR, stream.out),
                Some("resize") => {
                    _ = skiff_watching::task::spawn(forward_sizes(
                        stream.inbound,
                        resize_sender.clone(),
                    ))
                }
                other => return Err(NotOpen::StreamType(other.map(str::to_owned))),
            }
        }
        Ok(())
    };
    time::timeout(Duration::from_secs(30), collect)
        .await
        .ok_or(NotOpen::TimedOut)??;
    let (alive, gone) = mpsc::channel(1);
    let reader = skiff_watching::task::spawn(async move {
        while streams.recv().await.is_some() {}
        drop(alive);
    });
    Ok(Session {
        version,
        stdin,
        resize,
        outlets: Outlets::Spdy(outlets),
        gone,
        _reader: AbortOnDropHandle::new(reader),
    })
}

async fn forward_sizes(mut inbound: mpsc::Receiver<Bytes>, sizes: mpsc::Sender<(u16, u16)>) {
    let mut pending = Vec::new();
    while let Some(data) = inbound.recv().await {
        pending.extend_from_slice(&data);
        while let Some(end) = pending.iter().position(|byte| *byte == b'}') {
            let one: Vec<u8> = pending.drain(..=end).collect();
            forward_size(&one, &sizes).await;
        }
    }
}

/// What becomes of a session: the exit code, or why there is none.
pub type Exit = Result<i32, runtime::Error>;

/// When a session ends, if the client stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    WithProcess,
    /// Or with what the client had to say: who detaches says no more.
    WithInput,
}

/// What a process answered to the last of its input is to come within.
const LAST_OUTPUT: Duration = Duration::from_millis(100);

impl Session {
    /// Joins the client to the process until that is over or the client leaves. `command`: for the message about an exit code.
    pub async fn join(
        self,
        started: Result<Streams, runtime::Error>,
        command: &[String],
        ends: Ends,
    ) {
        let Session {
            version,
            stdin,
            resize,
            outlets,
            mut gone,
            _reader,
        } = self;
        let exit = match started {
            Ok(streams) => tokio::select! {
                exit = copy(streams, stdin, resize, &outlets, ends) => exit,
                _ = gone.recv() => return,
            },
            Err(error) => Err(error),
        };
        if let Some(text) = last_words(version, &exit, command) {
            outcome::nobody_may_wait(outlets.write(ERROR, Bytes::from(text)).await);
        }
        outlets.close().await;
        if matches!(outlets, Outlets::Spdy(_)) {
            // The client closes when it has read all; one that does not is closed.
            time::timeout(Duration::from_secs(5), gone.recv()).await;
        }
    }
}

async fn copy(
    streams: Streams,
    mut stdin: mpsc::Receiver<Bytes>,
    mut sizes: mpsc::Receiver<(u16, u16)>,
    outlets: &Outlets,
    ends: Ends,
) -> Exit {
    let Streams {
        stdin: into,
        stdout,
        stderr,
        resize,
        exit,
    } = streams;
    // Whether the client has said all.
    let input = async {
        let Some(mut into) = into else { return false };
        while let Some(data) = stdin.recv().await {
            if into.write_all(&data).await.is_err() || into.flush().await.is_err() {
                return false;
            }
        }
        // The process sees the end of its input.
        outcome::may_be_broken_off(into.shutdown().await);
        true
    };
    let window = async {
        let Some(resize) = resize else { return };
        while let Some(size) = sizes.recv().await {
            if resize.send(size).await.is_err() {
                return;
            }
        }
    };
    let output = async {
        tokio::join!(
            drain(stdout, STDOUT, outlets),
            drain(stderr, STDERR, outlets),
            exit
        )
        .2
    };
    let mut output = std::pin::pin!(output);
    let (mut input, mut window) = (std::pin::pin!(input), std::pin::pin!(window));
    let (mut heard, mut sized) = (false, false);
    loop {
        tokio::select! {
            exit = &mut output => return exit,
            all = &mut input, if !heard => {
                if all && ends == Ends::WithInput {
                    return time::timeout(LAST_OUTPUT, output).await.unwrap_or(Ok(0));
                }
                heard = true;
            }
            () = &mut window, if !sized => sized = true,
        }
    }
}

async fn drain(reader: Option<runtime::Reader>, channel: u8, outlets: &Outlets) {
    let Some(mut reader) = reader else { return };
    let mut buffer = vec![0; 32 * 1024];
    while let Ok(count) = reader.read(&mut buffer).await {
        if count == 0
            || outlets
                .write(channel, Bytes::copy_from_slice(&buffer[..count]))
                .await
                .is_err()
        {
            return;
        }
    }
}

/// What the error channel says at the end.
fn last_words(version: Version, exit: &Exit, command: &[String]) -> Option<String> {
    let command = format!("[{}]", command.join(" "));
    let failure = match exit {
        Ok(0) => None,
        Ok(code) => Some((
            format!(
                "command terminated with non-zero exit code: error executing command {command}, exit code {code}"
            ),
            json!({"reason": "NonZeroExitCode", "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]}}),
        )),
        Err(error) => {
            let message =
                format!("Internal error occurred: error executing command in container: {error}");
            let cause =
                json!([{"message": format!("error executing command in container: {error}")}]);
            Some((
                message,
                json!({"reason": "InternalError", "details": {"causes": cause}, "code": 500}),
            ))
        }
    };
    match (version, failure) {
        (Version::Text { .. }, failure) => failure.map(|(message, _)| message),
        (Version::Status, None) => Some(json!({"metadata": {}, "status": "Success"}).to_string()),
        (Version::Status, Some((message, mut status))) => {
            status["metadata"] = json!({});
            status["status"] = "Failure".into();
            status["message"] = message.into();
            Some(status.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::{
        super::spdy::tests::{Client, Seen},
        *,
    };

    /// A process that answers what it is told, in capitals.
    fn shouting(code: i32) -> Streams {
        let (stdin, mut inside) = tokio::io::duplex(1024);
        let (mut outside, stdout) = tokio::io::duplex(1024);
        let exit = async move {
            let mut text = String::new();
            inside.read_to_string(&mut text).await.unwrap();
            outside
                .write_all(text.to_uppercase().as_bytes())
                .await
                .unwrap();
            drop(outside);
            Ok(code)
        };
        Streams {
            stdin: Some(Box::pin(stdin)),
            stdout: Some(Box::pin(stdout)),
            stderr: None,
            resize: None,
            exit: exit.boxed(),
        }
    }

    #[tokio::test]
    async fn over_spdy() {
        let (near, far) = tokio::io::duplex(1 << 16);
        let spec = ExecSpec {
            stdin: true,
            stdout: true,
            ..Default::default()
        };
        let server = skiff_watching::task::spawn(async move {
            spdy(far, Version::Status, &spec)
                .await
                .unwrap()
                .join(Ok(shouting(3)), &["sh".into()], Ends::WithProcess)
                .await
        });
        let mut client = Client::new(near);
        client.open(1, &[("streamtype", "error")]).await;
        client.open(3, &[("streamtype", "stdin")]).await;
        client.open(5, &[("streamtype", "stdout")]).await;
        client.send(3, b"quiet", true).await;
        let mut got = HashMap::<u32, Vec<u8>>::new();
        while let Some(seen) = client.next().await {
            if let Seen::Data(id, _, data) = seen {
                got.entry(id).or_default().extend(data);
            }
            if got.contains_key(&1) && got.get(&5).is_some_and(|data| data == b"QUIET") {
                break;
            }
        }
        let status: Value = serde_json::from_slice(&got[&1]).unwrap();
        assert_eq!(
            status["details"]["causes"][0],
            json!({"reason": "ExitCode", "message": "3"})
        );
        drop(client);
        server.await.unwrap();
    }

    #[tokio::test]
    async fn over_a_websocket() {
        use futures::{SinkExt, StreamExt};
        use tokio_tungstenite::{
            WebSocketStream,
            tungstenite::{Message, protocol::Role},
        };
        let (near, far) = tokio::io::duplex(1 << 16);
        let spec = ExecSpec {
            stdin: true,
            stdout: true,
            ..Default::default()
        };
        let server = skiff_watching::task::spawn(async move {
            let session = websocket(far, Version::Status, Framing::BinaryWithClose, &spec).await;
            session.join(Ok(shouting(0)), &[], Ends::WithProcess).await;
        });
        let mut client = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
        client
            .send(Message::Binary(Bytes::from_static(b"\0hush")))
            .await
            .unwrap();
        client
            .send(Message::Binary(Bytes::from_static(&[255, 0])))
            .await
            .unwrap();
        let mut got = Vec::new();
        while let Some(Ok(Message::Binary(data))) = client.next().await {
            got.push(data);
        }
        assert_eq!(
            got,
            [
                &b"\x01"[..],
                b"\x01HUSH",
                b"\x03{\"metadata\":{},\"status\":\"Success\"}"
            ]
        );
        server.await.unwrap();
    }

    /// Who is attached to a process that reads on, and has no more to say, sees what it answered, and leaves.
    #[tokio::test]
    async fn a_session_that_ends_with_its_input() {
        let (near, far) = tokio::io::duplex(1 << 16);
        let spec = ExecSpec {
            stdin: true,
            stdout: true,
            ..Default::default()
        };
        let server = skiff_watching::task::spawn(async move {
            let (stdin, mut inside) = tokio::io::duplex(1024);
            let (mut outside, stdout) = tokio::io::duplex(1024);
            let _process = AbortOnDropHandle::new(skiff_watching::task::spawn(async move {
                let mut heard = [0; 4];
                inside.read_exact(&mut heard).await.unwrap();
                outside.write_all(b"echo").await.unwrap();
                std::future::pending::<()>().await;
            }));
            let streams = Streams {
                stdin: Some(Box::pin(stdin)),
                stdout: Some(Box::pin(stdout)),
                stderr: None,
                resize: None,
                exit: std::future::pending().boxed(),
            };
            let session = spdy(far, Version::Status, &spec).await.unwrap();
            session.join(Ok(streams), &[], Ends::WithInput).await
        });
        let mut client = Client::new(near);
        client.open(1, &[("streamtype", "error")]).await;
        client.open(3, &[("streamtype", "stdin")]).await;
        client.open(5, &[("streamtype", "stdout")]).await;
        client.send(3, b"echo", true).await;
        let mut got = HashMap::<u32, Vec<u8>>::new();
        while let Some(seen) = client.next().await {
            if let Seen::Data(id, _, data) = seen {
                got.entry(id).or_default().extend(data);
            }
            if got.contains_key(&1) {
                break;
            }
        }
        assert_eq!(got[&5], b"echo");
        assert_eq!(got[&1], br#"{"metadata":{},"status":"Success"}"#);
        drop(client);
        server.await.unwrap();
    }
}
