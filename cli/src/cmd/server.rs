//! `skiff server`: the control plane alone.
//! Invariant: a flag that kube-apiserver or kube-controller-manager has too means the same; one that has no meaning here is refused.

mod audit;

use anyhow::Context;
use skiff_controllers::horizontalpodautoscaler;
use skiff_server::auth::pki::Authority;
use std::{net::SocketAddr, sync::Arc};

use super::{
    server_access::Access,
    up::{period, time},
};
use crate::{
    cluster::{
        self,
        control_plane::{self, Plan},
        folders::Folders,
        story::Story,
    },
    command::{Command, raw},
    flags::{Csv, Line, Listed, Refused},
};

const NO_ETCD: &str = "the state is in --data-dir; an etcd cluster cannot be used yet";

pub static COMMAND: Command = Command {
    name: "server",
    short: "Run a control plane: API server, controllers, scheduler",
    long: "Runs the control plane without nodes. Flags that kube-apiserver or kube-controller-manager have bear their names and forms.",
    examples: "# A control plane for tests, on a free port\nskiff server --data-dir /tmp/one --secure-port 0 --kubeconfig /tmp/one.kubeconfig\n# The API alone\nskiff server --controllers=-*",
    refused: &[
        Refused::value("etcd-servers", NO_ETCD),
        Refused::value("etcd-cafile", NO_ETCD),
        Refused::value(
            "authorization-policy-file",
            "the authorizer ABAC is not there; RBAC is",
        ),
        Refused::value(
            "feature-gates",
            "there are no feature gates: what v1.36 has on by default is on",
        ),
        Refused::value(
            "runtime-config",
            "the API versions that are on by default are served",
        ),
    ],
    run: raw!(run: Flags),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    #[command(flatten)]
    data: super::up::DataDir,
    /// Port to serve HTTPS on; 0 picks a free one
    #[arg(long, default_value = "6443")]
    secure_port: i64,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    bind_address: String,
    /// Address by which pods and nodes reach this server; by default the one it listens on
    #[arg(long)]
    advertise_address: String,
    /// Folder of certificates and keys; made on first start, by default in the data folder
    #[arg(long)]
    cert_dir: String,
    /// Certificate to serve with
    #[arg(long)]
    tls_cert_file: String,
    /// Its key
    #[arg(long)]
    tls_private_key_file: String,
    /// CSV file of static tokens
    #[arg(long)]
    token_auth_file: String,
    /// Certificate authorities whose client certificates are believed
    #[arg(long)]
    client_ca_file: String,
    #[command(flatten)]
    access: Access,
    /// Admission plugins to turn on besides the default ones
    #[arg(long)]
    enable_admission_plugins: Vec<Csv>,
    /// Admission plugins to turn off
    #[arg(long)]
    disable_admission_plugins: Vec<Csv>,
    /// File that configures admission plugins (PodSecurity)
    #[arg(long)]
    admission_control_config_file: String,
    /// Network of cluster IPs, or two with a comma between, one of each family: services are of the first one's unless they want otherwise
    #[arg(long, default_value = "10.96.0.0/16")]
    service_cluster_ip_range: String,
    /// Public key that service-account tokens are checked with; may be repeated
    #[arg(long)]
    service_account_key_file: Vec<String>,
    /// Private key that signs service-account tokens
    #[arg(long)]
    service_account_signing_key_file: String,
    /// Issuer of service-account tokens
    #[arg(long, default_value = "https://kubernetes.default.svc.cluster.local")]
    service_account_issuer: String,
    /// Where others find the keys of service-account tokens, if not at this server (https)
    #[arg(long, default_value = "")]
    service_account_jwks_uri: String,
    /// Believe bootstrap tokens (secrets in kube-system)
    #[arg(long, default_value = "true")]
    enable_bootstrap_token_auth: bool,
    /// How many requests that read are answered at once; with priority and fairness, its sum with the next is shared out among priority levels. 0 is no limit without
    #[arg(long, default_value = "400")]
    max_requests_inflight: i64,
    /// How many requests that write are answered at once, as with the one before
    #[arg(long, default_value = "200")]
    max_mutating_requests_inflight: i64,
    /// Queue and dispatch requests by FlowSchemas and PriorityLevelConfigurations, instead of counting them
    #[arg(long, default_value = "true")]
    enable_priority_and_fairness: bool,
    /// How long a request may take that is no watch and no stream
    #[arg(long, default_value = "1m0s")]
    request_timeout: f64,
    /// How long events are kept after they were written last; 0 for ever
    #[arg(long, default_value = "1h0m0s")]
    event_ttl: f64,
    /// Allow privileged containers
    #[arg(long, default_value = "true")]
    allow_privileged: bool,
    /// Certificate of the authority that signs certificate requests; by default the cluster's own
    #[arg(long)]
    cluster_signing_cert_file: String,
    /// Its key
    #[arg(long)]
    cluster_signing_key_file: String,
    /// How long signed certificates are valid at most
    #[arg(long, default_value = "8760h")]
    cluster_signing_duration: f64,
    /// Give nodes pod networks
    #[arg(long)]
    allocate_node_cidrs: bool,
    /// Network that pod networks are cut from, or two with a comma between, one of each family
    #[arg(long, default_value = "10.244.0.0/16")]
    cluster_cidr: String,
    /// How long the mask of a node's pod network is, in a cluster with one; by default 24 of IPv4 and 64 of IPv6
    #[arg(long, default_value = "0")]
    node_cidr_mask_size: i64,
    /// How long the mask of a node's IPv4 pod network is; by default 24
    #[arg(long, default_value = "0")]
    node_cidr_mask_size_ipv4: i64,
    /// How long the mask of a node's IPv6 pod network is; by default 64
    #[arg(long, default_value = "0")]
    node_cidr_mask_size_ipv6: i64,
    /// How often nodes are looked at
    #[arg(long, default_value = "5s")]
    node_monitor_period: f64,
    /// How long a node may be silent
    #[arg(long, default_value = "50s")]
    node_monitor_grace_period: f64,
    /// How many ended pods may be kept; 0 for any number
    #[arg(long, default_value = "12500")]
    terminated_pod_gc_threshold: i64,
    /// How often autoscalers are looked at
    #[arg(long, default_value = "15s")]
    horizontal_pod_autoscaler_sync_period: f64,
    /// For how long the highest recommendation holds
    #[arg(long, default_value = "5m")]
    horizontal_pod_autoscaler_downscale_stabilization: f64,
    /// For how long a new pod's cpu says little
    #[arg(long, default_value = "5m")]
    horizontal_pod_autoscaler_cpu_initialization_period: f64,
    /// For how long a new pod may not have been ready yet
    #[arg(long, default_value = "30s")]
    horizontal_pod_autoscaler_initial_readiness_delay: f64,
    /// Measure what nodes and pods use, and serve it as metrics.k8s.io as long as no APIService says who else does; only where autoscalers are looked after
    #[arg(long, default_value = "false")]
    resource_metrics: bool,
    /// Controllers to run: '*' all that are on by default, 'name', '-name', '-*' none; the scheduler is one of the names
    #[arg(long)]
    controllers: Vec<Csv>,
    /// Write the admin context into this file
    #[arg(long)]
    kubeconfig: String,
    /// File that says what is encrypted on disk: an EncryptionConfiguration of apiserver.config.k8s.io/v1
    #[arg(long)]
    encryption_provider_config: String,
    /// Follow changes of that file
    #[arg(long)]
    encryption_provider_config_automatic_reload: bool,
    #[command(flatten)]
    audit: audit::Flags,
}

fn run(flags: Flags, line: Line) -> i32 {
    cluster::run_alone("server", &line, serve(flags))
}

fn plan(flags: &Flags, folders: &Folders) -> anyhow::Result<Plan> {
    let mut plan = Plan::new(folders);
    let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let path = |text: &String| given(text).map(std::path::PathBuf::from);
    let server = &mut plan.server;
    let ip = flags
        .bind_address
        .parse()
        .context("--bind-address takes an IP address")?;
    let port = u16::try_from(flags.secure_port).context("--secure-port takes a port")?;
    server.listen = vec![SocketAddr::new(ip, port)];
    if let Some(ip) = given(&flags.advertise_address).map(|text| text.parse()) {
        server.advertise = vec![SocketAddr::new(
            ip.context("--advertise-address takes an IP address")?,
            port,
        )];
    }
    if let Some(folder) = path(&flags.cert_dir) {
        server.cert_dir = folder;
    }
    server.given.client_ca_file = path(&flags.client_ca_file);
    server.given.tls_cert_file = path(&flags.tls_cert_file);
    server.given.tls_private_key_file = path(&flags.tls_private_key_file);
    server.token_file = path(&flags.token_auth_file);
    server.service_account_key_files = flags
        .service_account_key_file
        .iter()
        .map(Into::into)
        .collect();
    server.service_account_signing_key_file = path(&flags.service_account_signing_key_file);
    server.service_account_issuer = flags.service_account_issuer.clone();
    server.service_ranges = flags.service_cluster_ip_range.parse()?;
    server.service_account_jwks_uri = jwks_uri(&flags.service_account_jwks_uri)?;
    server.authorization = flags.access.authorization()?;
    server.authentication = flags.access.authentication()?;
    server.bootstrap_tokens = flags.enable_bootstrap_token_auth;
    let limit = |name: &str, limit: i64| {
        usize::try_from(limit).with_context(|| format!("--{name} can not be negative value"))
    };
    server.limits = skiff_server::Limits {
        reading: limit("max-requests-inflight", flags.max_requests_inflight)?,
        mutating: limit(
            "max-mutating-requests-inflight",
            flags.max_mutating_requests_inflight,
        )?,
    };
    server.priority_and_fairness = flags.enable_priority_and_fairness;
    server.request_timeout = crate::flags::seconds(flags.request_timeout);
    anyhow::ensure!(
        !server.request_timeout.is_zero(),
        "--request-timeout can not be negative value"
    );
    anyhow::ensure!(
        flags.allow_privileged,
        "--allow-privileged=false is not supported: pods are not refused for what their containers may do"
    );
    server.event_ttl = time("event-ttl", flags.event_ttl)?;
    server.audit = flags.audit.options()?;
    server.encryption = skiff_server::encryption::Options {
        file: path(&flags.encryption_provider_config),
        reload: flags.encryption_provider_config_automatic_reload,
    };
    server.admission.enable = flags.enable_admission_plugins.list();
    server.admission.disable = flags.disable_admission_plugins.list();
    server.admission.configuration = path(&flags.admission_control_config_file);
    plan.resource_metrics = flags.resource_metrics;
    controllers(flags, &mut plan)?;
    Ok(plan)
}

/// The flag's value, which others are to trust: nothing, or an address by https.
fn jwks_uri(given: &str) -> anyhow::Result<Option<String>> {
    if given.is_empty() {
        return Ok(None);
    }
    let uri = skiff_api::machinery::url::parse::parse(given).map_err(|error| {
        anyhow::anyhow!("service-account-jwks-uri must be a valid URL: {error}")
    })?;
    anyhow::ensure!(
        uri.scheme == "https",
        "service-account-jwks-uri requires https scheme, parsed as: {given}"
    );
    Ok(Some(given.to_string()))
}

fn controllers(flags: &Flags, plan: &mut Plan) -> anyhow::Result<()> {
    let options = &mut plan.controllers;
    options.allocate_node_cidrs = flags.allocate_node_cidrs;
    options.cluster_cidrs = control_plane::networks("cluster-cidr", &flags.cluster_cidr)?;
    options.service_cidrs = plan.server.service_ranges.iter().collect();
    let mask = |name: &str, length: i64| match length {
        0 => Ok(None),
        length => u8::try_from(length)
            .map(Some)
            .with_context(|| format!("--{name} takes a mask's length")),
    };
    options.node_cidr_mask_sizes = skiff_controllers::NodeMaskSizes {
        any: mask("node-cidr-mask-size", flags.node_cidr_mask_size)?,
        ipv4: mask("node-cidr-mask-size-ipv4", flags.node_cidr_mask_size_ipv4)?,
        ipv6: mask("node-cidr-mask-size-ipv6", flags.node_cidr_mask_size_ipv6)?,
    };
    options.node_monitor_period = period("node-monitor-period", flags.node_monitor_period)?;
    options.node_monitor_grace_period =
        period("node-monitor-grace-period", flags.node_monitor_grace_period)?;
    options.terminated_pod_gc_threshold = i32::try_from(flags.terminated_pod_gc_threshold)
        .context("--terminated-pod-gc-threshold takes a number")?;
    options.horizontal_pod_autoscaler = autoscaling(flags)?;
    let (cert, key) = (
        flags.cluster_signing_cert_file.as_str(),
        flags.cluster_signing_key_file.as_str(),
    );
    anyhow::ensure!(
        cert.is_empty() == key.is_empty(),
        "--cluster-signing-cert-file and --cluster-signing-key-file are to be given together"
    );
    if !cert.is_empty() {
        let read = |path: &str| {
            std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
        };
        let authority = Authority::signing(&read(cert)?, &read(key)?, plan.server.clock.shared())
            .with_context(|| format!("cannot sign with {cert}"))?;
        options.cluster_signing = Some(control_plane::signer(Arc::new(authority)));
    }
    options.cluster_signing_duration =
        period("cluster-signing-duration", flags.cluster_signing_duration)?;
    // given without a name, it is none of them
    if !flags.controllers.is_empty() {
        plan.controllers.controllers = flags
            .controllers
            .list()
            .into_iter()
            .filter(|name| !name.is_empty())
            .collect();
    }
    Ok(())
}

fn autoscaling(flags: &Flags) -> anyhow::Result<horizontalpodautoscaler::Options> {
    // no time at all means that the last recommendation counts, and a pod's first usage
    Ok(horizontalpodautoscaler::Options {
        sync_period: period(
            "horizontal-pod-autoscaler-sync-period",
            flags.horizontal_pod_autoscaler_sync_period,
        )?,
        downscale_stabilization: time(
            "horizontal-pod-autoscaler-downscale-stabilization",
            flags.horizontal_pod_autoscaler_downscale_stabilization,
        )?,
        cpu_initialization_period: time(
            "horizontal-pod-autoscaler-cpu-initialization-period",
            flags.horizontal_pod_autoscaler_cpu_initialization_period,
        )?,
        initial_readiness_delay: time(
            "horizontal-pod-autoscaler-initial-readiness-delay",
            flags.horizontal_pod_autoscaler_initial_readiness_delay,
        )?,
        ..Default::default()
    })
}

async fn serve(flags: Flags) -> anyhow::Result<()> {
    let stop = cluster::until_told()?;
    let folders = flags.data.folders()?;
    let plan = plan(&flags, &folders)?;
    let _held = folders.hold()?;
    let story = Story::begin();
    let plane = control_plane::start(plan).await?;
    if !flags.kubeconfig.is_empty() {
        plane.write_kubeconfig(flags.kubeconfig.as_ref(), &folders.instance)?;
    }
    cluster::memory::settle();
    tellln!("Serving on {} after {:.0} ms", plane.url(), story.total());
    stop.cancelled().await;
    plane.end().await;
    Ok(())
}
