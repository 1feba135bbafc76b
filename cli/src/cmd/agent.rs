//! `skiff agent`: this machine as a node of a cluster that runs elsewhere.
//! Invariant: containers and networks end with it; its certificates and what pods stored stay for the next start.

use std::{
    net::{IpAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::NodeAddress;
use skiff_nodeagent::{
    ApiConfig, Config,
    machine::{Clients, Ingress, RealNode},
    network::ns::Namespace,
};
use skiff_watching::client::Client;
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::{
        self, control_plane,
        folders::Folders,
        join::{self, Identity, Join, Token},
        left,
        story::Story,
    },
    cmd::up::IngressFlags,
    command::{Command, raw},
    flags::Line,
};

/// How often it is asked for the rights to serve Ingresses, which an administrator may give at any time.
const INGRESS_AGAIN: Duration = Duration::from_secs(60);

pub static COMMAND: Command = Command {
    name: "agent",
    usage: "--server URL --token TOKEN",
    short: "Make this machine a node of a cluster",
    long: "Joins a cluster as a node: runs its pods' containers, their network, services, DNS and, where the cluster lets it, Ingresses. Needs root, and nothing else. Ctrl-C ends it and its containers; \
           the next start goes on with the same certificates.",
    examples: "skiff agent --server https://10.0.0.1:6443 --token abcdef.0123456789abcdef",
    run: raw!(run: Flags),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    #[command(flatten)]
    data: super::up::DataDir,
    /// URL of the cluster's API server
    #[arg(long)]
    server: String,
    /// The token that 'skiff token create' printed; needed the first time
    #[arg(long)]
    token: String,
    /// The node's name; by default the machine's
    #[arg(long)]
    node_name: String,
    /// The address by which the cluster reaches this machine, or two with a comma between, one of each family; by default the one that leads to the server
    #[arg(long)]
    node_ip: String,
    /// Address of cluster DNS, or two with a comma between, one of each family
    #[arg(long, default_value = "10.96.0.10")]
    cluster_dns: String,
    /// Network of cluster IPs, or two with a comma between, as at the server
    #[arg(long, default_value = "10.96.0.0/16")]
    service_cluster_ip_range: String,
    #[command(flatten)]
    ingress: IngressFlags,
}

fn run(flags: Flags, line: Line) -> i32 {
    cluster::run_alone("agent", &line, serve(flags))
}

/// What the flags say.
struct Wish {
    folders: Folders,
    join: Join,
    /// The first is where it listens.
    ips: Vec<IpAddr>,
    dns: Vec<IpAddr>,
    service_cidrs: Vec<ipnet::IpNet>,
    ingress: IngressFlags,
}

fn wish(flags: &Flags) -> anyhow::Result<Wish> {
    if !nix::unistd::geteuid().is_root() {
        bail!("a node needs root (namespaces, cgroups, overlayfs, a bridge)");
    }
    let server = flags.server.trim_end_matches('/').to_string();
    if server.is_empty() {
        bail!("--server is needed: the URL of the cluster's API server");
    }
    let folders = flags.data.folders()?;
    let node = match flags.node_name.as_str() {
        "" => std::fs::read_to_string("/proc/sys/kernel/hostname")
            .context("cannot read the machine's name; use --node-name")?
            .trim()
            .to_lowercase(),
        given => given.into(),
    };
    let ips = match flags.node_ip.as_str() {
        "" => vec![leading_to(&server)?],
        given => addresses("node-ip", given)?,
    };
    let token = Some(flags.token.as_str())
        .filter(|text| !text.is_empty())
        .map(Token::parse)
        .transpose()?;
    Ok(Wish {
        join: Join {
            server,
            token,
            node,
            folder: folders.data.join("agent"),
        },
        folders,
        ips,
        dns: addresses("cluster-dns", &flags.cluster_dns)?,
        service_cidrs: flags
            .service_cluster_ip_range
            .split(',')
            .map(|text| control_plane::network("service-cluster-ip-range", text))
            .collect::<anyhow::Result<_>>()?,
        ingress: flags.ingress,
    })
}

/// An address, or one of each family.
fn addresses(flag: &str, text: &str) -> anyhow::Result<Vec<IpAddr>> {
    let wrong = || {
        format!(
            "--{flag} takes an IP address, or one of each family with a comma between, found {text:?}"
        )
    };
    let all = text.split(',').map(|part| part.trim().parse());
    let all: Vec<IpAddr> = all.collect::<Result<_, _>>().with_context(wrong)?;
    match all.as_slice() {
        [_] => Ok(all),
        [one, other] if one.is_ipv4() != other.is_ipv4() => Ok(all),
        _ => bail!(wrong()),
    }
}

/// This machine's address on the way to the server. Nothing is sent.
fn leading_to(server: &str) -> anyhow::Result<IpAddr> {
    let uri: http::Uri = server.parse().with_context(|| {
        format!("--server takes a URL such as https://10.0.0.1:6443, found {server:?}")
    })?;
    let host = uri
        .host()
        .with_context(|| format!("no host in {server:?}"))?;
    let to = (host.trim_matches(['[', ']']), uri.port_u16().unwrap_or(443));
    let from = |any: &str| {
        let socket = UdpSocket::bind(any)?;
        socket.connect(to)?;
        socket.local_addr()
    };
    let way = from("0.0.0.0:0").or_else(|_| from("[::]:0"));
    let way = way.with_context(|| format!("no way leads to {host}"))?;
    Ok(way.ip())
}

async fn serve(flags: Flags) -> anyhow::Result<()> {
    let stop = cluster::until_told()?;
    let wish = wish(&flags)?;
    let _held = wish.folders.hold()?;
    let mut story = Story::begin();
    tellln!("Joining {} as {}", wish.join.server, wish.join.node);
    let ca = wish.join.authority().await?;
    let mut node = None;
    let mut joined = false;
    // once for each set of certificates
    while !stop.is_cancelled() {
        let identity = wish.join.client_identity(&ca).await?;
        let client = join::client(&wish.join.server, &ca, &identity)?;
        let mut names = vec![wish.join.node.clone()];
        names.extend(wish.ips.iter().map(IpAddr::to_string));
        let serving = wish.join.serving_identity(&client, &names).await?;
        let machine = node.insert(machine(&wish, &ca, &serving)?);
        if !std::mem::replace(&mut joined, true) {
            story.step("certificates of this node");
            tellln!("Running. Ctrl-C ends it.");
        }
        let round = stop.child_token();
        renew_after(join::until_renewal(&[&identity, &serving]), round.clone());
        let clients = Clients {
            agent: client.clone(),
            proxy: client.clone(),
            ingress: skiff_watching::task::boxed(ingress(wish.join.clone(), ca.clone(), client)),
        };
        machine
            .clone()
            .run(clients, round)
            .await
            .context("the node agent ended")?;
    }
    tellln!("\nStopping");
    if let Some(node) = node {
        node.clear().await?;
    }
    left::take_away(&wish.folders)
}

/// Who serves Ingresses here, once the cluster lets it: until then it is asked again now and then.
async fn ingress(join: Join, ca: String, asking: Client) -> Client {
    let mut told = false;
    loop {
        let found = join.ingress_identity(&asking).await;
        match found.and_then(|identity| join::client(&join.server, &ca, &identity)) {
            Ok(client) => return client,
            Err(error) if !std::mem::replace(&mut told, true) => {
                tracing::warn!("Ingresses are not served here: {error:#}");
            }
            Err(error) => tracing::debug!("Ingresses are still not served here: {error:#}"),
        }
        tokio::time::sleep(INGRESS_AGAIN).await;
    }
}

/// Ends a round when the certificates should be asked for anew. Containers do not notice.
fn renew_after(time: Duration, round: CancellationToken) {
    skiff_watching::task::spawn(async move {
        tokio::select! {
            () = tokio::time::sleep(time) => round.cancel(),
            () = round.cancelled() => {}
        }
    });
}

fn machine(wish: &Wish, ca: &str, serving: &Identity) -> anyhow::Result<RealNode> {
    let name = &wish.join.node;
    let address = |kind: &str, text: String| NodeAddress {
        type_: kind.into(),
        address: text,
    };
    let mut agent = Config::new(name, wish.folders.node(name));
    let first = *wish.ips.first().context("the node has no address")?;
    let internal = wish.ips.iter();
    agent.addresses = internal
        .map(|ip| address("InternalIP", ip.to_string()))
        .chain([address("Hostname", name.clone())])
        .collect();
    agent.cluster_dns = wish.dns.clone();
    agent.api = Some(ApiConfig {
        listen: (first, 10250).into(),
        certificate: serving.certificate.clone().into_bytes(),
        key: serving.key.clone().into_bytes(),
        client_ca: ca.as_bytes().to_vec(),
    });
    Ok(RealNode {
        agent,
        node: Namespace::current()?,
        outside: Namespace::current()?,
        outside_runtime: tokio::runtime::Handle::current(),
        run_dir: wish.folders.run().join(name),
        data_dir: wish.folders.node(name),
        image_dir: wish.folders.images(),
        cgroup: wish.folders.cgroup(name),
        service_cidrs: wish.service_cidrs.clone(),
        ingress: wish.ingress.ingress.then_some(Ingress {
            addresses: wish.ips.clone(),
            access_log: wish.ingress.ingress_access_log,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_of_each_family() {
        let read = |text| addresses("node-ip", text).ok();
        let ips = |all: &[&str]| Some(all.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<_>>());
        for (text, want) in [
            ("10.0.0.1", ips(&["10.0.0.1"])),
            ("fd00::1", ips(&["fd00::1"])),
            ("10.0.0.1,fd00::1", ips(&["10.0.0.1", "fd00::1"])),
            ("fd00::1, 10.0.0.1", ips(&["fd00::1", "10.0.0.1"])),
            ("10.0.0.1,10.0.0.2", None),
            ("10.0.0.1,fd00::1,fd00::2", None),
            ("10.0.0.1,", None),
            ("here", None),
        ] {
            assert_eq!(read(text), want, "{text}");
        }
    }

    #[test]
    fn the_way_to_a_server() {
        let way = leading_to("https://127.0.0.1:6443").unwrap();
        assert!(way.is_loopback() && way.is_ipv4());
        assert!(leading_to("/").is_err());
    }
}
