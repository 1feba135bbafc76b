//! `skiff up`: a whole cluster in one process.
//! Invariant: whatever it started ends with it within seconds, and the state stays for the next `up`.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, bail};
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::{
        self,
        background::{self, Outlives},
        control_plane,
        control_plane::{ControlPlane, Plan},
        demo,
        folders::{Folders, Record},
        left,
        networks::{self, Networks},
        nodes, objects,
        story::Story,
        volumes,
    },
    command::{Command, raw},
    flags::{self, Line},
};
use skiff_nodeagent::network::cluster::ClusterNetwork;
use skiff_watching::api::Api;

pub static COMMAND: Command = Command {
    name: "up",
    usage: "[--nodes N | --simulate[=N]] [--demo] [--detach]",
    short: "Start a whole cluster in this process",
    long: "Starts a cluster: API server, controllers, scheduler and nodes that run real containers, with a pod network, services, DNS and Ingresses. \
           Needs root for real nodes, and nothing else. Ctrl-C ends everything; the state stays in the data folder and the next 'skiff up' brings the same cluster back.",
    examples: "# A cluster of one node with a shop to look at\nskiff up --demo\n# Three nodes\nskiff up --nodes 3\n# No root, no containers: a hundred simulated nodes\nskiff up --simulate=100\n# Pods and services with addresses of IPv4 and IPv6\nskiff up --ip-family dual",
    run: raw!(run: Flags),
    ..Command::NEW
};

/// The flag that says which cluster of this machine is meant.
#[derive(clap::Args)]
#[group(skip)]
pub struct DataDir {
    /// Where the cluster's state is; by default /var/lib/skiff for root, else $XDG_DATA_HOME/skiff
    #[arg(long)]
    pub data_dir: String,
}

impl DataDir {
    /// The cluster's folders.
    ///
    /// # Errors
    /// There is no place for them.
    pub fn folders(&self) -> anyhow::Result<Folders> {
        Folders::at(&self.data_dir)
    }
}

/// The last line that says that the cluster is ready.
const ENDS: &str = "Ctrl-C ends it.";
/// For how long a node's Lease holds, unless a flag says otherwise.
const LEASE: Duration = Duration::from_secs(40);

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    #[command(flatten)]
    data: DataDir,
    /// Address of the API server; port 0 picks a free one
    #[arg(long, default_value = "127.0.0.1:6443")]
    listen: String,
    /// The file that the admin context 'skiff' is written into; by default $KUBECONFIG or ~/.kube/config
    #[arg(long)]
    kubeconfig: String,
    /// How many real nodes, each in a network namespace of its own
    #[arg(long, value_name = "1")]
    nodes: Option<i64>,
    /// This many simulated nodes instead: no root, no containers; pods become ready at once
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "1")]
    simulate: Option<String>,
    /// How often nodes are looked at
    #[arg(long, default_value = "5s")]
    node_monitor_period: f64,
    /// How long a node may be silent before it is taken for lost
    #[arg(long, default_value = "50s")]
    node_monitor_grace_period: f64,
    /// A real node renews its Lease four times in this time, which the Lease says; by default 40s, or the grace period where that is shorter
    #[arg(long, value_name = "40s")]
    node_lease_duration: Option<f64>,
    /// How often autoscalers are looked at
    #[arg(long, default_value = "15s")]
    horizontal_pod_autoscaler_sync_period: f64,
    /// How long events are kept after they were written last; 0 for ever
    #[arg(long, default_value = "1h0m0s")]
    event_ttl: f64,
    #[command(flatten)]
    networks: networks::Flags,
    #[command(flatten)]
    ingress: IngressFlags,
    /// Deploy a small shop and wait until it answers
    #[arg(long)]
    demo: bool,
    /// Return when the cluster is ready; 'skiff status' and 'skiff down' find it again by its data folder
    #[arg(long)]
    detach: bool,
}

fn run(flags: Flags, line: Line) -> i32 {
    if flags.detach {
        cluster::run_alone("up", &line, detached(&line.words, flags))
    } else {
        cluster::run_alone("up", &line, up(flags))
    }
}

/// The flags about Ingresses.
#[derive(clap::Args, Clone, Copy)]
#[group(skip)]
pub struct IngressFlags {
    /// Serve Ingresses at ports 80 and 443 of each node
    #[arg(long, default_value = "true")]
    pub ingress: bool,
    /// Write a line for each request to an Ingress into ingress/access.log of the node's folder
    #[arg(long, default_value = "true")]
    pub ingress_access_log: bool,
}

/// How long something takes by a flag, which must be more than nothing: what is done at once again and again leaves no time for anything else.
///
/// # Errors
/// It is not.
pub fn period(flag: &str, seconds: f64) -> anyhow::Result<Duration> {
    let period = flags::seconds(seconds);
    if period.is_zero() {
        bail!("--{flag} must be greater than 0");
    }
    Ok(period)
}

/// How long something takes by a flag; it may be no time at all.
///
/// # Errors
/// It is negative.
pub fn time(flag: &str, seconds: f64) -> anyhow::Result<Duration> {
    if seconds < 0.0 {
        bail!("--{flag} can not be negative value");
    }
    Ok(flags::seconds(seconds))
}

/// How nodes are watched over.
#[derive(Debug, PartialEq, Eq)]
struct Heartbeats {
    look: Duration,
    grace: Duration,
    lease: Duration,
}

impl Heartbeats {
    fn of(flags: &Flags) -> anyhow::Result<Heartbeats> {
        let look = period("node-monitor-period", flags.node_monitor_period)?;
        let grace = period("node-monitor-grace-period", flags.node_monitor_grace_period)?;
        let lease = match flags.node_lease_duration {
            None => LEASE.min(grace),
            Some(seconds) => period("node-lease-duration", seconds)?,
        };
        if flags.node_lease_duration.is_some() && lease < Duration::from_secs(1) {
            bail!("--node-lease-duration is 1s at least: a Lease says it in whole seconds");
        }
        if lease > grace {
            bail!(
                "--node-lease-duration={lease:?} is longer than --node-monitor-grace-period={grace:?}: nodes would be taken for lost between two heartbeats"
            );
        }
        Ok(Heartbeats { look, grace, lease })
    }
}

/// What the flags ask for.
struct Wish {
    folders: Folders,
    listen: SocketAddr,
    simulated: bool,
    names: Vec<String>,
    networks: Networks,
    /// What says so.
    network_flags: networks::Flags,
    ingress: IngressFlags,
    heartbeats: Heartbeats,
    autoscalers: Duration,
    event_ttl: Duration,
    demo: bool,
}

fn wish(flags: &Flags) -> anyhow::Result<Wish> {
    let simulated = flags.simulate.is_some();
    if simulated && flags.nodes.is_some() {
        bail!("--nodes and --simulate exclude each other: real nodes or simulated ones");
    }
    let real = || flags.nodes.unwrap_or(1).to_string();
    let text = flags.simulate.clone().unwrap_or_else(real);
    let count: usize = text
        .parse()
        .ok()
        .filter(|n| (1..=5000).contains(n))
        .with_context(|| format!("a cluster has 1 to 5000 nodes, found {text:?}"))?;
    if !simulated && !nix::unistd::geteuid().is_root() {
        bail!(
            "real nodes need root (namespaces, cgroups, overlayfs, a bridge); run as root, or `skiff up --simulate` for nodes without containers"
        );
    }
    let folders = flags.data.folders()?;
    let network_flags = flags.networks.clone().or_kept(&folders)?;
    let networks = Networks::of(&network_flags)?;
    Ok(Wish {
        folders,
        listen: control_plane::listen_address(&flags.listen)?,
        simulated,
        names: nodes::names(count),
        networks,
        network_flags,
        ingress: flags.ingress,
        heartbeats: Heartbeats::of(flags)?,
        autoscalers: period(
            "horizontal-pod-autoscaler-sync-period",
            flags.horizontal_pod_autoscaler_sync_period,
        )?,
        event_ttl: time("event-ttl", flags.event_ttl)?,
        demo: flags.demo,
    })
}

enum Nodes {
    Real(Box<nodes::RealNodes>),
    Simulated(nodes::SimulatedNodes),
}

impl Nodes {
    async fn end(self) {
        match self {
            Nodes::Real(real) => real.end().await,
            Nodes::Simulated(simulated) => simulated.end().await,
        }
    }
}

async fn up(flags: Flags) -> anyhow::Result<()> {
    let stop = cluster::until_told()?;
    let wish = wish(&flags)?;
    let _held = wish.folders.hold()?;
    wish.folders.remove_record();
    let takes_up = left::is_left(&wish.folders);
    let done = run_cluster(&flags, &wish, &stop).await;
    // what is taken up from an earlier run goes on; what was made for a start that failed does not stay
    if done.is_err()
        && !takes_up
        && left::is_left(&wish.folders)
        && let Err(error) = left::clear(&wish.folders).await
    {
        eprintln!("warning: {error:#}");
    }
    done
}

/// From the folders' being held to all being ended that was started.
async fn run_cluster(flags: &Flags, wish: &Wish, stop: &CancellationToken) -> anyhow::Result<()> {
    wish.network_flags.keep(&wish.folders)?;
    let mut story = Story::begin();
    tellln!(
        "Starting a cluster of {} {}node{} in {}",
        wish.names.len(),
        if wish.simulated { "simulated " } else { "" },
        if wish.names.len() == 1 { "" } else { "s" },
        wish.folders.data.display()
    );
    let mut plan = plan(wish);
    let network = match wish.simulated {
        true => None,
        false => Some(network(wish, &mut plan).await?),
    };
    if network.is_some() {
        story.step("network of the nodes");
    }
    // pods and nodes reach it by the last of these
    plan.server.advertise_listener = plan.server.listen.len() - 1;
    let mut plane = control_plane::start(plan).await?;
    story.step(format!(
        "API server, controllers, scheduler on {}",
        plane.url()
    ));
    let outcome = with_nodes(flags, wish, &mut plane, network, story, stop).await;
    plane.end().await;
    wish.folders.remove_record();
    outcome
}

/// What the control plane is to be, as far as no network has to be made for it.
fn plan(wish: &Wish) -> Plan {
    let mut plan = Plan::new(&wish.folders);
    plan.server.listen = vec![wish.listen];
    if wish.simulated && !wish.networks.leads_to(wish.listen.ip()) {
        plan.server.listen.push(wish.networks.loopback());
    }
    plan.server.event_ttl = wish.event_ttl;
    plan.controllers.node_monitor_period = wish.heartbeats.look;
    plan.controllers.node_monitor_grace_period = wish.heartbeats.grace;
    plan.controllers.horizontal_pod_autoscaler.sync_period = wish.autoscalers;
    plan.server.service_ranges = wish.networks.services;
    plan.controllers.service_cidrs = wish.networks.services.iter().collect();
    plan.controllers.cluster_cidrs = wish.networks.pods.clone();
    plan
}

/// Makes the network of the nodes, on which the server is to listen, too.
async fn network(wish: &Wish, plan: &mut Plan) -> anyhow::Result<ClusterNetwork> {
    let services: Vec<_> = wish.networks.services.iter().collect();
    let network = nodes::network(&wish.folders, &wish.networks.pods, &services)
        .await
        .context("cannot make the cluster's network")?;
    let port = wish.listen.port();
    let listen = &mut plan.server.listen;
    listen.push((network.gateway().await, port).into());
    // nodes have addresses of IPv4 in any case; pods may have none
    let gateways = network.gateways().await;
    if !gateways.first().is_some_and(IpAddr::is_ipv4) {
        let others = gateways.iter().filter(|ip| wish.networks.leads_to(**ip));
        listen.extend(others.map(|ip| SocketAddr::new(*ip, port)));
    }
    plan.server.behind = Some(skiff_server::Behind {
        interface: network.bridge().await,
        networks: wish.networks.all(),
    });
    Ok(network)
}

/// From a control plane that runs to nodes that have ended.
async fn with_nodes(
    flags: &Flags,
    wish: &Wish,
    plane: &mut ControlPlane,
    network: Option<ClusterNetwork>,
    mut story: Story,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let kubeconfig = control_plane::kubeconfig_path(&flags.kubeconfig);
    let context = plane
        .write_kubeconfig(&kubeconfig, &wish.folders.instance)
        .context("choose another kubeconfig with --kubeconfig")?;
    let (nodes, node_ip) = start_nodes(wish, plane, network).await?;
    let provisioner = Api::new(plane.server.client(volumes::user()), "skiff");
    plane.beside(|informers, stop| {
        volumes::provide(provisioner, informers, wish.folders.volumes(), stop)
    });
    let known = Known {
        kubeconfig,
        context,
        node_ip,
    };
    let outcome = live(wish, plane, &mut story, known, stop).await;
    tellln!("\nStopping");
    nodes.end().await;
    outcome
}

async fn start_nodes(
    wish: &Wish,
    plane: &ControlPlane,
    network: Option<ClusterNetwork>,
) -> anyhow::Result<(Nodes, Option<String>)> {
    let api = Api::new(
        plane
            .server
            .client(skiff_server::auth::User::new("skiff", &["system:masters"])),
        "skiff",
    );
    let serves_ingresses = wish.ingress.ingress && network.is_some();
    let ingress = async {
        match serves_ingresses {
            true => cluster::ingress::prepare(&api).await,
            false => Ok(()),
        }
    };
    let dns = wish.networks.dns()?;
    tokio::try_join!(
        objects::dns_service(&api, &dns),
        objects::policy_reader(&api),
        volumes::prepare(&api),
        ingress
    )?;
    let Some(network) = network else {
        return Ok((
            Nodes::Simulated(nodes::start_simulated(
                &plane.server,
                &wish.folders,
                &wish.names,
                &wish.networks.pods,
            )?),
            None,
        ));
    };
    let port = plane
        .server
        .addresses
        .first()
        .map_or(6443, |address| address.port());
    let wanted = nodes::Wanted {
        service_cidrs: wish.networks.services.iter().collect(),
        dns,
        ingress: wish.ingress.ingress,
        access_log: wish.ingress.ingress_access_log,
        lease_duration: wish.heartbeats.lease,
    };
    let real = nodes::start_real(
        &plane.server,
        &wish.folders,
        network,
        &wish.names,
        port,
        &wanted,
    )
    .await?;
    let ip = real.first_ip();
    Ok((Nodes::Real(Box::new(real)), ip))
}

/// What is known of a cluster once it is started.
struct Known {
    kubeconfig: PathBuf,
    context: String,
    /// Of the first node that has one.
    node_ip: Option<String>,
}

/// Waits for the nodes, and brings up the shop if there is to be one; where that answers.
async fn until_ready(
    wish: &Wish,
    api: &Api,
    story: &mut Story,
    node_ip: Option<&str>,
) -> anyhow::Result<Option<String>> {
    demo::wait_for_nodes(api, &wish.names).await?;
    let count = wish.names.len();
    story.step(format!("{count} of {count} nodes ready"));
    if !wish.demo {
        return Ok(None);
    }
    objects::apply(api, demo::SHOP, "default").await?;
    demo::wait_for_shop(api).await?;
    story.step("the shop: front (3 pods) and stock (1 pod) ready");
    let Some(ip) = node_ip else { return Ok(None) };
    let url = demo::shop_url(api, ip).await?;
    demo::answers(&url).await?;
    story.step(format!("{url} answers"));
    Ok(Some(url))
}

/// From started to told to stop.
async fn live(
    wish: &Wish,
    plane: &ControlPlane,
    story: &mut Story,
    known: Known,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let api = Api::new(
        plane
            .server
            .client(skiff_server::auth::User::new("skiff", &["system:masters"])),
        "skiff",
    );
    let url = tokio::select! {
        done = until_ready(wish, &api, story, known.node_ip.as_deref()) => done?,
        () = stop.cancelled() => return Ok(()),
    };
    tellln!(
        "Ready after {:.0} ms. Context {:?} is in {}",
        story.total(),
        known.context,
        known.kubeconfig.display()
    );
    tellln!(
        "\nTry:\n  skiff get pods -A -o wide\n  skiff create deployment web --image=skiff.local/shop:v1 --replicas=2\n  {}",
        match &url {
            Some(url) => format!("curl {url}"),
            None => "skiff get events -A".into(),
        }
    );
    tellln!("{ENDS}");
    cluster::memory::settle();
    wish.folders.write_record(&Record {
        pid: std::process::id(),
        server: plane.url(),
        kubeconfig: known.kubeconfig,
        context: known.context,
        nodes: wish.names.clone(),
        simulated: wish.simulated,
        started: crate::print::age::now().to_string(),
        url,
    })?;
    stop.cancelled().await;
    Ok(())
}

/// Starts the same command in the background and waits until it is ready.
async fn detached(words: &[String], flags: Flags) -> anyhow::Result<()> {
    let wish = wish(&flags)?;
    let args = words
        .iter()
        .filter(|word| *word != "--detach" && *word != "--detach=true");
    let mut child = background::start(&wish.folders, args, Outlives::Us)?;
    background::wait_until_ready(&wish.folders, &mut child)
        .await
        .inspect_err(|_| eprint!("{}", background::said(&wish.folders)))?;
    let said = background::said(&wish.folders);
    print!("{}", said.replace(ENDS, "`skiff down` ends it."));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Flags {
        let words: Vec<String> = line.split_whitespace().map(String::from).collect();
        let command = flags::group::<Flags>(clap::Command::new("up")).mut_args(flags::as_pflag);
        let line = flags::read(&words, command).map_err(|why| why.to_string());
        line.unwrap().flags()
    }

    #[test]
    fn leases_hold_no_longer_than_nodes_may_be_silent() {
        let lease = |line: &str| {
            let heartbeats = Heartbeats::of(&read(line));
            heartbeats
                .map(|of| of.lease.as_secs_f64())
                .map_err(|error| error.to_string())
        };
        for (line, wanted) in [
            ("", 40.0),
            ("--node-monitor-grace-period=12s", 12.0),
            ("--node-monitor-grace-period=2h", 40.0),
            ("--node-lease-duration=10s", 10.0),
            (
                "--node-lease-duration=8s --node-monitor-grace-period=8s",
                8.0,
            ),
        ] {
            assert_eq!(lease(line), Ok(wanted), "{line}");
        }
        for (line, named) in [
            ("--node-lease-duration=1m", "is longer than"),
            ("--node-lease-duration=500ms", "1s at least"),
            (
                "--node-lease-duration=-1s",
                "--node-lease-duration must be greater than 0",
            ),
            (
                "--node-monitor-period=0",
                "--node-monitor-period must be greater than 0",
            ),
            (
                "--node-monitor-grace-period=-3h",
                "--node-monitor-grace-period must be",
            ),
        ] {
            let error = lease(line).unwrap_err();
            assert!(error.contains(named), "{line}: {error}");
        }
    }

    #[test]
    fn durations_that_cannot_be() {
        assert_eq!(period("a", 1.5).unwrap(), Duration::from_millis(1500));
        for seconds in [0.0, -1.0, -1e300, 1e-12] {
            let error = period("a", seconds).unwrap_err().to_string();
            assert_eq!(error, "--a must be greater than 0");
        }
        assert_eq!(time("a", 0.0).unwrap(), Duration::ZERO);
        assert!(time("a", -0.5).is_err());
        // what no duration holds is for ever
        assert_eq!(time("a", 1e300).unwrap(), Duration::MAX);
    }
}
