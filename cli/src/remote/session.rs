//! A session with a container: exec and attach.
//! Invariant: what the container writes is written at once, and its exit status becomes this program's.
//! Behaviour follows `staging/src/k8s.io/client-go/tools/remotecommand/websocket.go` and the protocol `v5.channel.k8s.io`.

use super::detach::Detach;
use super::terminal::{self, Raw};
use super::write_bytes;
use crate::client::{query, segment};
use crate::context::Ctx;
use crate::error::{Error, Result};
use crate::typed::Read;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::io::Write;
use tokio::io::AsyncReadExt;
use tokio_tungstenite::tungstenite::Message;

/// What kind of session.
pub struct Request {
    pub container: String,
    pub stdin: bool,
    pub tty: bool,
    /// The command to start; none attaches to what runs.
    pub command: Option<Vec<String>>,
    /// The keys that leave the session; none for a session that is not left.
    pub detach: Vec<u8>,
}

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// Where what a session reads and writes comes from and goes to.
pub enum Ends {
    /// This program's own standard streams.
    Terminal,
    /// Bytes to send, and where to put what comes back; without a place it goes to this program's standard output.
    Pipes {
        input: Option<tokio::sync::mpsc::Receiver<Vec<u8>>>,
        output: Option<Output>,
        stderr: Stderr,
    },
}

/// Where a session's output goes.
pub type Output = tokio::sync::mpsc::UnboundedSender<Vec<u8>>;

/// Where a session's standard error goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stderr {
    /// This program's.
    Own,
    /// This program's standard output.
    Output,
    Dropped,
}

/// Runs a session on the terminal until it ends; tells whether anything was heard.
///
/// # Errors
/// The server's refusal; the command's failure, with its exit status.
pub async fn run(ctx: &Ctx, namespace: &str, pod: &str, request: &Request) -> Result<bool> {
    run_between(ctx, namespace, pod, request, Ends::Terminal).await
}

/// Runs a session between two ends until it ends.
///
/// # Errors
/// As `run`.
pub async fn run_between(
    ctx: &Ctx,
    namespace: &str,
    pod: &str,
    request: &Request,
    ends: Ends,
) -> Result<bool> {
    let verb = if request.command.is_some() {
        "exec"
    } else {
        "attach"
    };
    let mut pairs: Vec<(&str, &str)> = request
        .command
        .iter()
        .flatten()
        .map(|c| ("command", c.as_str()))
        .collect();
    if !request.container.is_empty() {
        pairs.push(("container", &request.container));
    }
    if !request.tty {
        pairs.push(("stderr", "true"));
    }
    if request.stdin {
        pairs.push(("stdin", "true"));
    }
    pairs.push(("stdout", "true"));
    if request.tty {
        pairs.push(("tty", "true"));
    }
    let path = format!(
        "/api/v1/namespaces/{}/pods/{}/{verb}{}",
        segment(namespace),
        segment(pod),
        query(&pairs)
    );
    let socket = ctx
        .client()?
        .websocket(&path, "v5.channel.k8s.io, v4.channel.k8s.io")
        .await?;
    let raw = if request.tty { Raw::enter() } else { None };
    let result = converse(socket, request, ends).await;
    drop(raw);
    result
}

/// Reads standard input on a thread of its own: it cannot be waited for otherwise without taking the terminal away from others.
fn input() -> tokio::sync::mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = tokio::sync::mpsc::channel(16);
    tokio::task::spawn_local(async move {
        let mut stdin = tokio::io::stdin();
        let mut buffer = vec![0; 32 * 1024];
        while let Ok(n) = stdin.read(&mut buffer).await {
            if n == 0 || sender.send(buffer[..n].to_vec()).await.is_err() {
                break;
            }
        }
    });
    receiver
}

fn framed(channel: u8, data: &[u8]) -> Message {
    let mut out = Vec::with_capacity(data.len() + 1);
    out.push(channel);
    out.extend_from_slice(data);
    Message::Binary(out.into())
}

fn resize() -> Option<Message> {
    let (width, height) = terminal::size()?;
    Some(framed(
        RESIZE,
        json!({"Width": width, "Height": height})
            .to_string()
            .as_bytes(),
    ))
}

async fn converse(
    socket: crate::client::ws::Socket,
    request: &Request,
    ends: Ends,
) -> Result<bool> {
    let broken = |e: tokio_tungstenite::tungstenite::Error| {
        Error::msg(format!("error reading from error stream: {e}"))
    };
    let (mut to, mut from) = socket.split();
    let (mut keys, output, stderr) = match ends {
        Ends::Terminal => (
            if request.stdin { Some(input()) } else { None },
            None,
            Stderr::Own,
        ),
        Ends::Pipes {
            input,
            output,
            stderr,
        } => (input, output, stderr),
    };
    let mut detach = Detach::at(&request.detach);
    let mut winch = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::window_change())?;
    if let Some(m) = resize().filter(|_| request.tty) {
        to.send(m).await.map_err(broken)?;
    }
    let mut heard = false;
    loop {
        tokio::select! {
            message = from.next() => match message {
                None | Some(Ok(Message::Close(_))) => return Ok(heard),
                Some(Err(e)) => return Err(broken(e)),
                Some(Ok(Message::Binary(data))) => {
                    heard |= data.len() > 1 && matches!(data.first(), Some(&(STDOUT | STDERR)));
                    if let Some(result) = receive(&data, output.as_ref(), stderr)? {
                        return result.map(|()| heard);
                    }
                }
                Some(Ok(_)) => {}
            },
            typed = async { match keys.as_mut() { Some(k) => k.recv().await, None => std::future::pending().await } } => match typed {
                Some(data) => match detach.pass(&data) {
                    Some(data) => to.send(framed(STDIN, &data)).await.map_err(broken)?,
                    // The connection is closed; what runs goes on.
                    None => return Ok(heard),
                },
                None => {
                    keys = None;
                    to.send(Message::Binary(vec![CLOSE, STDIN].into())).await.map_err(broken)?;
                }
            },
            _ = winch.recv(), if request.tty => if let Some(m) = resize() { to.send(m).await.map_err(broken)? },
        }
    }
}

/// Takes one message; gives the session's result if it is over.
fn receive(data: &[u8], output: Option<&Output>, stderr: Stderr) -> Result<Option<Result<()>>> {
    let Some((channel, body)) = data.split_first() else {
        return Ok(None);
    };
    match *channel {
        STDOUT => match output {
            Some(to) => to
                .send(body.to_vec())
                .map_err(|_| Error::msg("what reads the command's output is gone"))?,
            None => write_bytes(body)?,
        },
        STDERR if stderr == Stderr::Dropped => {}
        STDERR if stderr == Stderr::Output => write_bytes(body)?,
        STDERR => {
            let mut err = std::io::stderr().lock();
            err.write_all(body)?;
            err.flush()?;
        }
        ERROR => return Ok(Some(outcome(body))),
        _ => {}
    }
    Ok(None)
}

/// The result that the error channel tells.
fn outcome(body: &[u8]) -> Result<()> {
    let Ok(status) = serde_json::from_slice::<Value>(body) else {
        let text = String::from_utf8_lossy(body).into_owned();
        return if text.trim().is_empty() {
            Ok(())
        } else {
            Err(Error::msg(text))
        };
    };
    if status.text("status") == "Success" {
        return Ok(());
    }
    if status.text("reason") == "NonZeroExitCode" {
        let cause = status
            .at("details")
            .list("causes")
            .iter()
            .find(|c| c.text("reason") == "ExitCode");
        let code = cause
            .and_then(|c| c.text_ptr("message"))
            .and_then(|m| m.parse().ok())
            .unwrap_or(1);
        return Err(Error::Plain(
            format!("command terminated with exit code {code}"),
            code,
        ));
    }
    Err(Error::msg(
        format!(
            "Internal error occurred: {}",
            crate::error::status_message(&status)
        )
        .replace(
            "Internal error occurred: Internal error occurred: ",
            "Internal error occurred: ",
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_statuses_come_through() {
        let e = outcome(br#"{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#).unwrap_err();
        assert_eq!(
            crate::error::told(&e),
            ("command terminated with exit code 3".to_string(), 3)
        );
        assert!(outcome(br#"{"status":"Success"}"#).is_ok());
    }
}
