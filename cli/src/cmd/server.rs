//! `skiff server`: the control plane alone.
//! Invariant: a flag that kube-apiserver or kube-controller-manager has too means the same; one that has no meaning here is refused.

use anyhow::Context;
use skiff_server::auth::pki::Authority;
use std::{net::SocketAddr, sync::Arc, time::Duration};

use crate::{
    cluster::{
        self,
        control_plane::{self, Plan},
        folders::Folders,
        story::Story,
    },
    command::{Command, Run},
    flags::{Flag, Parsed},
};

const NO_ETCD: &str = "the state is in --data-dir; an etcd cluster cannot be used yet";

const FLAGS: &[Flag] = &[
    super::up::DATA_DIR,
    Flag::int(
        "secure-port",
        '\0',
        "6443",
        "Port to serve HTTPS on; 0 picks a free one",
    ),
    Flag::str("bind-address", '\0', "127.0.0.1", "Address to listen on"),
    Flag::str(
        "advertise-address",
        '\0',
        "",
        "Address by which pods and nodes reach this server; by default the one it listens on",
    ),
    Flag::str(
        "cert-dir",
        '\0',
        "",
        "Folder of certificates and keys; made on first start, by default in the data folder",
    ),
    Flag::str("tls-cert-file", '\0', "", "Certificate to serve with"),
    Flag::str("tls-private-key-file", '\0', "", "Its key"),
    Flag::str("token-auth-file", '\0', "", "CSV file of static tokens"),
    Flag::str(
        "client-ca-file",
        '\0',
        "",
        "Certificate authorities whose client certificates are believed",
    ),
    Flag::slice(
        "authorization-mode",
        '\0',
        "Authorizers in order: Node, RBAC, AlwaysAllow, AlwaysDeny (default Node,RBAC)",
    ),
    Flag::slice(
        "enable-admission-plugins",
        '\0',
        "Admission plugins to turn on besides the default ones",
    ),
    Flag::slice(
        "disable-admission-plugins",
        '\0',
        "Admission plugins to turn off",
    ),
    Flag::str(
        "service-cluster-ip-range",
        '\0',
        "10.96.0.0/16",
        "Network of cluster IPs",
    ),
    Flag::array(
        "service-account-key-file",
        '\0',
        "Public key that service-account tokens are checked with; may be repeated",
    ),
    Flag::str(
        "service-account-signing-key-file",
        '\0',
        "",
        "Private key that signs service-account tokens",
    ),
    Flag::str(
        "service-account-issuer",
        '\0',
        "https://kubernetes.default.svc.cluster.local",
        "Issuer of service-account tokens",
    ),
    Flag::bool(
        "enable-bootstrap-token-auth",
        '\0',
        true,
        "Believe bootstrap tokens (secrets in kube-system)",
    ),
    Flag::bool(
        "anonymous-auth",
        '\0',
        true,
        "Take requests without credentials for system:anonymous; never with the authorizer AlwaysAllow",
    ),
    Flag::int(
        "max-requests-inflight",
        '\0',
        "400",
        "How many requests that read are answered at once; 0 is no limit",
    ),
    Flag::int(
        "max-mutating-requests-inflight",
        '\0',
        "200",
        "How many requests that write are answered at once; 0 is no limit",
    ),
    Flag::duration(
        "request-timeout",
        '\0',
        "1m0s",
        "How long a request may take that is no watch and no stream",
    ),
    Flag::bool(
        "allow-privileged",
        '\0',
        true,
        "Allow privileged containers",
    ),
    Flag::str(
        "cluster-signing-cert-file",
        '\0',
        "",
        "Certificate of the authority that signs certificate requests; by default the cluster's own",
    ),
    Flag::str("cluster-signing-key-file", '\0', "", "Its key"),
    Flag::duration(
        "cluster-signing-duration",
        '\0',
        "8760h",
        "How long signed certificates are valid at most",
    ),
    Flag::bool(
        "allocate-node-cidrs",
        '\0',
        false,
        "Give nodes pod networks",
    ),
    Flag::str(
        "cluster-cidr",
        '\0',
        "10.244.0.0/16",
        "Network that pod networks are cut from",
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
        "How long a node may be silent",
    ),
    Flag::int(
        "terminated-pod-gc-threshold",
        '\0',
        "12500",
        "How many ended pods may be kept; 0 for any number",
    ),
    Flag::duration(
        "horizontal-pod-autoscaler-sync-period",
        '\0',
        "15s",
        "How often autoscalers are looked at",
    ),
    Flag::duration(
        "horizontal-pod-autoscaler-downscale-stabilization",
        '\0',
        "5m",
        "For how long the highest recommendation holds",
    ),
    Flag::duration(
        "horizontal-pod-autoscaler-cpu-initialization-period",
        '\0',
        "5m",
        "For how long a new pod's cpu says little",
    ),
    Flag::duration(
        "horizontal-pod-autoscaler-initial-readiness-delay",
        '\0',
        "30s",
        "For how long a new pod may not have been ready yet",
    ),
    Flag::slice(
        "controllers",
        '\0',
        "Controllers to run: '*' all that are on by default, 'name', '-name', '-*' none; the scheduler is one of the names",
    ),
    Flag::str(
        "kubeconfig",
        '\0',
        "",
        "Write the admin context into this file",
    ),
    Flag::slice("etcd-servers", '\0', "Where an etcd cluster is").refused(NO_ETCD),
    Flag::str("etcd-cafile", '\0', "", "Authority of the etcd cluster").refused(NO_ETCD),
    Flag::str("audit-log-path", '\0', "", "File of the audit log")
        .refused("there is no audit log yet"),
    Flag::str("audit-policy-file", '\0', "", "Policy of the audit log")
        .refused("there is no audit log yet"),
    Flag::str(
        "encryption-provider-config",
        '\0',
        "",
        "Encryption of stored objects",
    )
    .refused("stored objects are not encrypted"),
    Flag::str("oidc-issuer-url", '\0', "", "OpenID issuer")
        .refused("OpenID tokens are not believed yet"),
    Flag::slice("feature-gates", '\0', "Feature gates")
        .refused("there are no feature gates: what v1.36 has on by default is on"),
    Flag::slice("runtime-config", '\0', "API versions to turn on or off")
        .refused("the API versions that are on by default are served"),
];

pub static COMMAND: Command = Command {
    name: "server",
    short: "Run a control plane: API server, controllers, scheduler",
    long: "Runs the control plane without nodes. Flags that kube-apiserver or kube-controller-manager have bear their names and forms.",
    examples: "# A control plane for tests, on a free port\nskiff server --data-dir /tmp/one --secure-port 0 --kubeconfig /tmp/one.kubeconfig\n# The API alone\nskiff server --controllers=-*",
    flags: &[FLAGS],
    run: Run::Raw(run),
    ..Command::NEW
};

fn run(args: Vec<String>) -> i32 {
    match cluster::parsed("server", &COMMAND, &args) {
        Err(code) => code,
        Ok(flags) => cluster::run(serve(flags)),
    }
}

fn plan(flags: &Parsed, folders: &Folders) -> anyhow::Result<Plan> {
    let mut plan = Plan::new(folders);
    let path = |name: &str| {
        Some(flags.str(name))
            .filter(|text| !text.is_empty())
            .map(Into::into)
    };
    let server = &mut plan.server;
    let ip = flags
        .str("bind-address")
        .parse()
        .context("--bind-address takes an IP address")?;
    let port = u16::try_from(flags.int("secure-port")).context("--secure-port takes a port")?;
    server.listen = vec![SocketAddr::new(ip, port)];
    if let Some(ip) = path("advertise-address").map(|text: String| text.parse()) {
        server.advertise = vec![SocketAddr::new(
            ip.context("--advertise-address takes an IP address")?,
            port,
        )];
    }
    if let Some(folder) = path("cert-dir") {
        server.cert_dir = std::path::PathBuf::from(folder);
    }
    server.given.client_ca_file = path("client-ca-file").map(|p: String| p.into());
    server.given.tls_cert_file = path("tls-cert-file").map(|p: String| p.into());
    server.given.tls_private_key_file = path("tls-private-key-file").map(|p: String| p.into());
    server.token_file = path("token-auth-file").map(|p: String| p.into());
    server.service_account_key_files = flags
        .list("service-account-key-file")
        .into_iter()
        .map(Into::into)
        .collect();
    server.service_account_signing_key_file =
        path("service-account-signing-key-file").map(|p: String| p.into());
    server.service_account_issuer = flags.str("service-account-issuer").into();
    server.service_cidr = control_plane::network(
        "service-cluster-ip-range",
        flags.str("service-cluster-ip-range"),
    )?;
    let modes = flags.list("authorization-mode");
    if !modes.is_empty() {
        server.authorization_modes = modes;
    }
    server.bootstrap_tokens = flags.bool("enable-bootstrap-token-auth");
    server.anonymous = flags.bool("anonymous-auth");
    let limit = |name: &str| {
        usize::try_from(flags.int(name))
            .with_context(|| format!("--{name} can not be negative value"))
    };
    server.limits = skiff_server::Limits {
        reading: limit("max-requests-inflight")?,
        mutating: limit("max-mutating-requests-inflight")?,
    };
    server.request_timeout = crate::flags::seconds(flags.duration("request-timeout"));
    anyhow::ensure!(
        !server.request_timeout.is_zero(),
        "--request-timeout can not be negative value"
    );
    anyhow::ensure!(
        flags.bool("allow-privileged"),
        "--allow-privileged=false is not supported: pods are not refused for what their containers may do"
    );
    server.admission.enable = flags.list("enable-admission-plugins");
    server.admission.disable = flags.list("disable-admission-plugins");
    controllers(flags, &mut plan)?;
    Ok(plan)
}

fn controllers(flags: &Parsed, plan: &mut Plan) -> anyhow::Result<()> {
    let options = &mut plan.controllers;
    options.allocate_node_cidrs = flags.bool("allocate-node-cidrs");
    options.cluster_cidrs = vec![control_plane::network(
        "cluster-cidr",
        flags.str("cluster-cidr"),
    )?];
    options.node_monitor_period = Duration::from_secs_f64(flags.duration("node-monitor-period"));
    options.node_monitor_grace_period =
        Duration::from_secs_f64(flags.duration("node-monitor-grace-period"));
    options.terminated_pod_gc_threshold =
        i32::try_from(flags.int("terminated-pod-gc-threshold"))
            .context("--terminated-pod-gc-threshold takes a number")?;
    let period = |name: &str| {
        Duration::from_secs_f64(flags.duration(&format!("horizontal-pod-autoscaler-{name}")))
    };
    options.horizontal_pod_autoscaler = skiff_controllers::horizontalpodautoscaler::Options {
        sync_period: period("sync-period"),
        downscale_stabilization: period("downscale-stabilization"),
        cpu_initialization_period: period("cpu-initialization-period"),
        initial_readiness_delay: period("initial-readiness-delay"),
        ..Default::default()
    };
    let (cert, key) = (
        flags.str("cluster-signing-cert-file"),
        flags.str("cluster-signing-key-file"),
    );
    anyhow::ensure!(
        cert.is_empty() == key.is_empty(),
        "--cluster-signing-cert-file and --cluster-signing-key-file are to be given together"
    );
    if !cert.is_empty() {
        let read = |path: &str| {
            std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
        };
        let authority = Authority::signing(&read(cert)?, &read(key)?, plan.server.clock.clone())
            .with_context(|| format!("cannot sign with {cert}"))?;
        options.cluster_signing = Some(control_plane::signer(Arc::new(authority)));
    }
    options.cluster_signing_duration =
        Duration::from_secs_f64(flags.duration("cluster-signing-duration"));
    // given without a name, it is none of them
    if flags.changed("controllers") {
        plan.controllers.controllers = flags
            .list("controllers")
            .into_iter()
            .filter(|name| !name.is_empty())
            .collect();
    }
    Ok(())
}

async fn serve(flags: Parsed) -> anyhow::Result<()> {
    let stop = cluster::until_told()?;
    let folders = Folders::at(flags.str("data-dir"))?;
    let plan = plan(&flags, &folders)?;
    let _held = folders.hold()?;
    let story = Story::begin();
    let plane = control_plane::start(plan).await?;
    if !flags.str("kubeconfig").is_empty() {
        plane.write_kubeconfig(flags.str("kubeconfig").as_ref())?;
    }
    cluster::memory::settle();
    println!("Serving on {} after {:.0} ms", plane.url(), story.total());
    stop.cancelled().await;
    plane.end().await;
    Ok(())
}
