//! `port-forward`: local ports that lead to a pod's.
//! Invariant: one connection that fails does not end the others; a port that cannot be listened on ends the command.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/portforward` and the protocol `v4.channel.k8s.io` of `portforward` over WebSocket.

use super::pods;
use crate::client::{query, segment};
use crate::command::{Command, Run};
use crate::context::Ctx;
use crate::error::{Error, Result};
use crate::flags::Flag;
use crate::resource::Builder;
use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

pub static COMMAND: Command = Command {
    name: "port-forward",
    usage: "TYPE/NAME [options] [LOCAL_PORT:]REMOTE_PORT [...[LOCAL_PORT_N:]REMOTE_PORT_N]",
    short: "Forward one or more local ports to a pod",
    long: "Listen on local ports and lead connections to ports of a pod.\n\n Of a deployment, service or another kind that has several pods one is chosen. When that pod ends, so does the command.",
    examples: "
      # Ports 5000 and 6000, the same here and there
      kubectl port-forward pod/mypod 5000 6000
      # In a pod of a deployment
      kubectl port-forward deployment/mydeployment 5000 6000
      # A service's port by its name
      kubectl port-forward service/myservice 8443:https
      # Port 8888 here, on all addresses
      kubectl port-forward --address 0.0.0.0 pod/mypod 8888:5000
      # Any free port here
      kubectl port-forward pod/mypod :5000",
    flags: &[&[
        Flag::slice("address", '\0', "The addresses to listen on; by default localhost"),
        Flag::duration("pod-running-timeout", '\0', "1m0s", "How long to wait until a pod runs"),
    ]],
    run: Run::Verb(|ctx| Box::pin(run(ctx))),
    ..Command::NEW
};

async fn run(ctx: Ctx) -> Result<()> {
    let f = ctx.flags();
    let [word, ports @ ..] = ctx.args() else { return Err(Error::usage(ctx.path(), "TYPE/NAME and list of ports are required for port-forward")) };
    if ports.is_empty() {
        return Err(Error::usage(ctx.path(), "TYPE/NAME and list of ports are required for port-forward"));
    }
    let pod = pods::find(&ctx, word, f.duration("pod-running-timeout")).await?;
    let pairs = pairs(&ctx, word, ports, &pod).await?;
    let phase = pod["status"]["phase"].as_str().unwrap_or("");
    if phase != "Running" {
        return Err(Error::msg(format!("unable to forward port because pod is not running. Current status={phase}")));
    }
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or("").to_string();
    let (namespace, name) = (text("namespace"), text("name"));
    let given = f.list("address");
    let addresses: Vec<String> = if given.is_empty() { vec!["localhost".into()] } else { given };
    let mut tasks = tokio::task::JoinSet::new();
    for (local, remote) in pairs {
        for address in hosts(&addresses)? {
            let listener = match TcpListener::bind((address.as_str(), local)).await {
                Ok(l) => l,
                Err(e) if address == "::1" && addresses.iter().any(|a| a == "localhost") => {
                    if e.kind() == std::io::ErrorKind::AddrInUse {
                        eprintln!("Unable to listen on port {local}: {e}");
                    }
                    continue;
                }
                Err(e) => {
                    return Err(Error::msg(format!("unable to listen on any of the requested ports: [{{{local} {remote}}}]: {}", crate::error::go_io(&e))));
                }
            };
            let at = listener.local_addr()?;
            crate::print::put(&format!("Forwarding from {at} -> {remote}\n"))?;
            tasks.spawn_local(serve(ctx.clone(), listener, namespace.clone(), name.clone(), remote));
        }
    }
    tokio::select! {
        _ = tokio::signal::ctrl_c() => Ok(()),
        ended = tasks.join_next() => ended.and_then(std::result::Result::ok).unwrap_or(Ok(())),
    }
}

fn hosts(addresses: &[String]) -> Result<Vec<String>> {
    let mut out = Vec::new();
    for a in addresses {
        match a.as_str() {
            "localhost" => out.extend(["127.0.0.1".to_string(), "::1".to_string()]),
            ip if ip.parse::<std::net::IpAddr>().is_ok() => out.push(ip.into()),
            other => return Err(Error::msg(format!("{other} is not a valid IP"))),
        }
    }
    Ok(out)
}

/// Local and remote port of each word; names of ports, and a service's ports, become the container's.
async fn pairs(ctx: &Ctx, word: &str, ports: &[String], pod: &Value) -> Result<Vec<(u16, u16)>> {
    let service = if word.split('/').next().is_some_and(|t| matches!(t, "svc" | "service" | "services")) && word.contains('/') {
        Builder::new(ctx)?.args(&[word.to_string()]).find().await?.all()?.into_iter().next().map(|i| i.object)
    } else {
        None
    };
    let mut out = Vec::new();
    for text in ports {
        let (local, remote) = text.split_once(':').map_or((None, text.as_str()), |(l, r)| (Some(l), r));
        let target = match &service {
            Some(s) => service_port(s, pod, remote)?,
            None => container_port(pod, remote)?,
        };
        let bad = |t: &str| Error::msg(format!("error parsing local port '{t}': strconv.ParseUint: parsing {t:?}: invalid syntax"));
        let local = match local {
            None => remote.parse().unwrap_or(target),
            Some("") => 0,
            Some(t) => t.parse().map_err(|_| bad(t))?,
        };
        out.push((local, target));
    }
    Ok(out)
}

fn container_port(pod: &Value, word: &str) -> Result<u16> {
    if let Ok(n) = word.parse() {
        return Ok(n);
    }
    let all = ["containers", "initContainers"]
        .iter()
        .flat_map(|l| pod["spec"][*l].as_array().into_iter().flatten())
        .flat_map(|c| c["ports"].as_array().into_iter().flatten());
    all.filter(|p| p["name"] == word)
        .find_map(|p| p["containerPort"].as_u64())
        .and_then(|n| u16::try_from(n).ok())
        .ok_or_else(|| Error::msg(format!("Pod '{}' does not have a named port '{word}'", pod["metadata"]["name"].as_str().unwrap_or(""))))
}

fn service_port(service: &Value, pod: &Value, word: &str) -> Result<u16> {
    let number: Option<u64> = word.parse().ok();
    let entry = service["spec"]["ports"].as_array().into_iter().flatten().find(|p| match number {
        Some(n) => p["port"].as_u64() == Some(n),
        None => p["name"] == word,
    });
    let name = service["metadata"]["name"].as_str().unwrap_or("");
    let Some(entry) = entry else {
        return Err(Error::msg(match number {
            Some(_) => format!("Service {name} does not have a service port {word}"),
            None => format!("Service '{name}' does not have a named port '{word}'"),
        }));
    };
    if service["spec"]["clusterIP"] == "None" {
        return Ok(entry["port"].as_u64().and_then(|n| u16::try_from(n).ok()).unwrap_or(0));
    }
    match &entry["targetPort"] {
        Value::String(s) => container_port(pod, s),
        Value::Number(n) if n.as_u64() != Some(0) => Ok(n.as_u64().and_then(|n| u16::try_from(n).ok()).unwrap_or(0)),
        _ => Ok(entry["port"].as_u64().and_then(|n| u16::try_from(n).ok()).unwrap_or(0)),
    }
}

async fn serve(ctx: Ctx, listener: TcpListener, namespace: String, pod: String, remote: u16) -> Result<()> {
    let local = listener.local_addr()?.port();
    loop {
        let (stream, _) = listener.accept().await?;
        crate::print::put(&format!("Handling connection for {local}\n"))?;
        let (ctx, namespace, pod) = (ctx.clone(), namespace.clone(), pod.clone());
        tokio::task::spawn_local(async move {
            if let Err(e) = connection(&ctx, stream, &namespace, &pod, remote).await {
                eprintln!("error: an error occurred forwarding {local} -> {remote}: {e}");
            }
        });
    }
}

/// One connection: channel 0 carries data, channel 1 errors; each side's first message on a channel is the port, two bytes.
async fn connection(ctx: &Ctx, stream: TcpStream, namespace: &str, pod: &str, remote: u16) -> Result<()> {
    let port = remote.to_string();
    let path = format!("/api/v1/namespaces/{}/pods/{}/portforward{}", segment(namespace), segment(pod), query(&[("ports", &port)]));
    let socket = ctx.client()?.websocket(&path, "v4.channel.k8s.io").await?;
    let broken = |e: tokio_tungstenite::tungstenite::Error| Error::msg(e.to_string());
    let (mut to, mut from) = socket.split();
    let (mut read, mut write) = stream.into_split();
    let mut seen = [false; 2];
    let mut buffer = vec![0; 32 * 1024];
    let mut open = true;
    loop {
        tokio::select! {
            message = from.next() => match message {
                None | Some(Ok(Message::Close(_))) => return Ok(()),
                Some(Err(e)) => return Err(broken(e)),
                Some(Ok(Message::Binary(data))) => {
                    let Some((channel, body)) = data.split_first() else { continue };
                    let channel = usize::from(*channel);
                    if channel > 1 {
                        continue;
                    }
                    let body = if std::mem::replace(&mut seen[channel], true) { body } else { body.get(2..).unwrap_or_default() };
                    if channel == 1 && !body.is_empty() {
                        return Err(Error::msg(String::from_utf8_lossy(body).into_owned()));
                    }
                    if channel == 0 {
                        write.write_all(body).await?;
                    }
                }
                Some(Ok(_)) => {}
            },
            n = read.read(&mut buffer), if open => match n {
                Ok(n) if n > 0 => {
                    let mut frame = vec![0u8];
                    frame.extend_from_slice(&buffer[..n]);
                    to.send(Message::Binary(frame.into())).await.map_err(broken)?;
                }
                _ => {
                    open = false;
                    to.send(Message::Close(None)).await.map_err(broken)?;
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ports_are_found_by_name_and_number() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"ports": [{"name": "http", "containerPort": 8080}]}]}});
        let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"name": "web", "port": 80, "targetPort": "http"}, {"port": 81, "targetPort": 9}]}});
        assert_eq!(container_port(&pod, "http").unwrap(), 8080);
        assert_eq!(service_port(&service, &pod, "80").unwrap(), 8080);
        assert_eq!(service_port(&service, &pod, "web").unwrap(), 8080);
        assert_eq!(service_port(&service, &pod, "81").unwrap(), 9);
        assert!(service_port(&service, &pod, "82").is_err());
    }
}
