//! `skiff up`: a whole cluster in one process.
//! Invariant: whatever it started ends with it within seconds, and the state stays for the next `up`.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, bail};
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::{
        self, control_plane,
        control_plane::{ControlPlane, Plan},
        demo,
        folders::{Folders, Record},
        nodes, objects,
        story::Story,
    },
    command::{Command, raw},
    flags::Line,
};
use skiff_watching::api::Api;

pub static COMMAND: Command = Command {
    name: "up",
    usage: "[--nodes N | --simulate[=N]] [--demo] [--detach]",
    short: "Start a whole cluster in this process",
    long: "Starts a cluster: API server, controllers, scheduler and nodes that run real containers, with a pod network, services, DNS and Ingresses. \
           Needs root for real nodes, and nothing else. Ctrl-C ends everything; the state stays in the data folder and the next 'skiff up' brings the same cluster back.",
    examples: "# A cluster of one node with a shop to look at\nskiff up --demo\n# Three nodes\nskiff up --nodes 3\n# No root, no containers: a hundred simulated nodes\nskiff up --simulate=100",
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
    /// For how long a real node counts as alive after a heartbeat; it sends four in that time
    #[arg(long, default_value = "40s")]
    node_lease_duration: f64,
    /// How often autoscalers are looked at
    #[arg(long, default_value = "15s")]
    horizontal_pod_autoscaler_sync_period: f64,
    /// How long events are kept after they were written last; 0 for ever
    #[arg(long, default_value = "1h0m0s")]
    event_ttl: f64,
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

/// What the flags ask for.
struct Wish {
    folders: Folders,
    listen: SocketAddr,
    simulated: bool,
    names: Vec<String>,
    ingress: IngressFlags,
    lease_duration: Duration,
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
    // a Lease says it in whole seconds
    if flags.node_lease_duration < 4.0 {
        bail!("--node-lease-duration is 4s at least");
    }
    Ok(Wish {
        folders: flags.data.folders()?,
        listen: control_plane::listen_address(&flags.listen)?,
        simulated,
        names: nodes::names(count),
        ingress: flags.ingress,
        lease_duration: Duration::from_secs_f64(flags.node_lease_duration),
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
    let mut story = Story::begin();
    println!(
        "Starting a cluster of {} {}node{} in {}",
        wish.names.len(),
        if wish.simulated { "simulated " } else { "" },
        if wish.names.len() == 1 { "" } else { "s" },
        wish.folders.data.display()
    );
    let mut plan = Plan::new(&wish.folders);
    plan.server.listen = vec![wish.listen];
    plan.server.event_ttl = crate::flags::seconds(flags.event_ttl);
    plan.controllers.node_monitor_period = Duration::from_secs_f64(flags.node_monitor_period);
    plan.controllers.node_monitor_grace_period =
        Duration::from_secs_f64(flags.node_monitor_grace_period);
    plan.controllers.horizontal_pod_autoscaler.sync_period =
        Duration::from_secs_f64(flags.horizontal_pod_autoscaler_sync_period);
    let cluster_cidr = *plan
        .controllers
        .cluster_cidrs
        .first()
        .context("no cluster network")?;
    let service_cidr = plan.server.service_cidr;
    let network = if wish.simulated {
        None
    } else {
        let network = nodes::network(&wish.folders, cluster_cidr, service_cidr)
            .await
            .context("cannot make the cluster's network")?;
        let gateway = network.gateway().await;
        plan.server
            .listen
            .push((gateway, wish.listen.port()).into());
        plan.server.behind = Some(skiff_server::Behind {
            interface: network.bridge().await,
            networks: vec![cluster_cidr, service_cidr],
        });
        story.step("network of the nodes");
        Some(network)
    };
    plan.server.advertise_listener = if network.is_some() { 1 } else { 0 };
    let plane = control_plane::start(plan).await?;
    story.step(format!(
        "API server, controllers, scheduler on {}",
        plane.url()
    ));
    let kubeconfig = control_plane::kubeconfig_path(&flags.kubeconfig);
    plane.write_kubeconfig(&kubeconfig)?;
    let running = start_nodes(&wish, &plane, network, cluster_cidr, service_cidr).await;
    let (nodes, node_ip) = match running {
        Ok(started) => started,
        Err(error) => {
            plane.end().await;
            return Err(error);
        }
    };
    let outcome = live(&wish, &plane, &mut story, &kubeconfig, node_ip, &stop).await;
    println!("\nStopping");
    nodes.end().await;
    plane.end().await;
    wish.folders.remove_record();
    outcome
}

async fn start_nodes(
    wish: &Wish,
    plane: &ControlPlane,
    network: Option<skiff_nodeagent::network::cluster::ClusterNetwork>,
    cluster_cidr: ipnet::IpNet,
    service_cidr: ipnet::IpNet,
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
    tokio::try_join!(
        objects::dns_service(&api, nodes::CLUSTER_DNS),
        objects::policy_reader(&api),
        ingress
    )?;
    let Some(network) = network else {
        return Ok((
            Nodes::Simulated(nodes::start_simulated(
                &plane.server,
                &wish.folders,
                &wish.names,
                cluster_cidr,
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
        service_cidr,
        ingress: wish.ingress.ingress,
        access_log: wish.ingress.ingress_access_log,
        lease_duration: wish.lease_duration,
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

/// From started to told to stop.
async fn live(
    wish: &Wish,
    plane: &ControlPlane,
    story: &mut Story,
    kubeconfig: &std::path::Path,
    node_ip: Option<String>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let api = Api::new(
        plane
            .server
            .client(skiff_server::auth::User::new("skiff", &["system:masters"])),
        "skiff",
    );
    let work = async {
        demo::wait_for_nodes(&api, &wish.names).await?;
        story.step(format!(
            "{} of {} nodes ready",
            wish.names.len(),
            wish.names.len()
        ));
        let mut url = None;
        if wish.demo {
            objects::apply(&api, demo::SHOP, "default").await?;
            demo::wait_for_shop(&api).await?;
            story.step("the shop: front (3 pods) and stock (1 pod) ready");
            if let Some(ip) = &node_ip {
                let found = demo::shop_url(&api, ip).await?;
                demo::answers(&found).await?;
                story.step(format!("{found} answers"));
                url = Some(found);
            }
        }
        Ok::<_, anyhow::Error>(url)
    };
    let url = tokio::select! {
        done = work => done?,
        () = stop.cancelled() => return Ok(()),
    };
    println!(
        "Ready after {:.0} ms. Context \"skiff\" is in {}",
        story.total(),
        kubeconfig.display()
    );
    println!(
        "\nTry:\n  skiff get pods -A -o wide\n  skiff create deployment web --image=skiff.local/shop:v1 --replicas=2\n  {}",
        match &url {
            Some(url) => format!("curl {url}"),
            None => "skiff get events -A".into(),
        }
    );
    println!("Ctrl-C ends it.");
    cluster::memory::settle();
    wish.folders.write_record(&Record {
        pid: std::process::id(),
        server: plane.url(),
        kubeconfig: kubeconfig.to_path_buf(),
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
    use std::os::unix::process::CommandExt;
    let wish = wish(&flags)?;
    drop(wish.folders.hold()?);
    wish.folders.remove_record();
    let log = std::fs::File::create(wish.folders.log())
        .with_context(|| format!("cannot write {}", wish.folders.log().display()))?;
    let args = words
        .iter()
        .filter(|word| *word != "--detach" && *word != "--detach=true");
    let mut command = std::process::Command::new("/proc/self/exe");
    command
        .arg0("skiff")
        .arg("up")
        .args(args)
        .stdin(std::process::Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0);
    let mut child = command.spawn().context("cannot start in the background")?;
    loop {
        let said = || std::fs::read_to_string(wish.folders.log()).unwrap_or_default();
        if let Some(status) = child.try_wait()? {
            eprint!("{}", said());
            bail!("the cluster did not start ({status})");
        }
        if wish
            .folders
            .record()
            .is_some_and(|record| record.pid == child.id())
        {
            print!(
                "{}",
                said().replace("Ctrl-C ends it.", "`skiff down` ends it.")
            );
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
