//! `skiff up`: a whole cluster in one process.
//! Invariant: whatever it started ends with it within seconds, and the state stays for the next `up`.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, bail};
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::{
        self, control_plane,
        control_plane::{ControlPlane, Plan},
        demo, folders,
        folders::{Folders, Record},
        nodes,
        story::Story,
    },
    command::{Command, Run},
    flags::{Flag, Parsed},
};
use skiff_watching::api::Api;

pub const DATA_DIR: Flag = Flag::str(
    "data-dir",
    '\0',
    "",
    "Where the cluster's state is; by default /var/lib/skiff for root, else $XDG_DATA_HOME/skiff",
);

const FLAGS: &[Flag] = &[
    DATA_DIR,
    Flag::str(
        "listen",
        '\0',
        "127.0.0.1:6443",
        "Address of the API server; port 0 picks a free one",
    ),
    Flag::str(
        "kubeconfig",
        '\0',
        "",
        "The file that the admin context 'skiff' is written into; by default $KUBECONFIG or ~/.kube/config",
    ),
    Flag::int(
        "nodes",
        '\0',
        "1",
        "How many real nodes, each in a network namespace of its own",
    ),
    Flag::optional(
        "simulate",
        "1",
        "This many simulated nodes instead: no root, no containers; pods become ready at once",
    ),
    Flag::duration(
        "node-monitor-period",
        '\0',
        "5s",
        "How often nodes are looked at",
    ),
    Flag::duration(
        "node-monitor-grace-period",
        '\0',
        "50s",
        "How long a node may be silent before it is taken for lost",
    ),
    Flag::bool(
        "demo",
        '\0',
        false,
        "Deploy a small shop and wait until it answers",
    ),
    Flag::bool(
        "detach",
        '\0',
        false,
        "Return when the cluster is ready; 'skiff status' and 'skiff down' find it again by its data folder",
    ),
];

pub static COMMAND: Command = Command {
    name: "up",
    usage: "[--nodes N | --simulate[=N]] [--demo] [--detach]",
    short: "Start a whole cluster in this process",
    long: "Starts a cluster: API server, controllers, scheduler and nodes that run real containers, with a pod network, services and DNS. \
           Needs root for real nodes, and nothing else. Ctrl-C ends everything; the state stays in the data folder and the next 'skiff up' brings the same cluster back.",
    examples: "# A cluster of one node with a shop to look at\nskiff up --demo\n# Three nodes\nskiff up --nodes 3\n# No root, no containers: a hundred simulated nodes\nskiff up --simulate=100",
    flags: &[FLAGS],
    run: Run::Raw(run),
    ..Command::NEW
};

fn run(args: Vec<String>) -> i32 {
    match cluster::parsed("up", &COMMAND, &args) {
        Err(code) => code,
        Ok(flags) if flags.bool("detach") => cluster::run(detached(args, flags)),
        Ok(flags) => cluster::run(up(flags)),
    }
}

/// What the flags ask for.
struct Wish {
    folders: Folders,
    listen: SocketAddr,
    simulated: bool,
    names: Vec<String>,
    demo: bool,
}

fn wish(flags: &Parsed) -> anyhow::Result<Wish> {
    let simulated = flags.changed("simulate");
    if simulated && flags.changed("nodes") {
        bail!("--nodes and --simulate exclude each other: real nodes or simulated ones");
    }
    let text = flags.str(if simulated { "simulate" } else { "nodes" });
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
    Ok(Wish {
        folders: Folders::at(flags.str("data-dir"))?,
        listen: control_plane::listen_address(flags.str("listen"))?,
        simulated,
        names: nodes::names(count),
        demo: flags.bool("demo"),
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

async fn up(flags: Parsed) -> anyhow::Result<()> {
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
    plan.controllers.node_monitor_period =
        Duration::from_secs_f64(flags.duration("node-monitor-period"));
    plan.controllers.node_monitor_grace_period =
        Duration::from_secs_f64(flags.duration("node-monitor-grace-period"));
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
    let kubeconfig = control_plane::kubeconfig_path(flags.str("kubeconfig"));
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
    demo::dns_service(&api, nodes::CLUSTER_DNS).await?;
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
    let real = nodes::start_real(
        &plane.server,
        &wish.folders,
        network,
        &wish.names,
        port,
        service_cidr,
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
            demo::apply(&api, demo::SHOP, "default").await?;
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
        started: jiff::Timestamp::now().to_string(),
        url,
    })?;
    stop.cancelled().await;
    Ok(())
}

/// Starts the same command in the background and waits until it is ready.
async fn detached(args: Vec<String>, flags: Parsed) -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt;
    let wish = wish(&flags)?;
    drop(wish.folders.hold()?);
    wish.folders.remove_record();
    let log = std::fs::File::create(wish.folders.log())
        .with_context(|| format!("cannot write {}", wish.folders.log().display()))?;
    let args: Vec<String> = args
        .into_iter()
        .filter(|arg| arg != "--detach" && arg != "--detach=true")
        .collect();
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

/// For `status` and `down`.
pub fn folders_of(flags: &Parsed) -> anyhow::Result<Folders> {
    folders::Folders::at(flags.str("data-dir"))
}
