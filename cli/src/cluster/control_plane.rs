//! API server, controllers and scheduler in one process.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use ipnet::IpNet;
use serde_json::json;
use skiff_server::{
    Config, Data, Running,
    auth::{User, pki::Authority},
};
use skiff_watching::{api::Api, events::Events, informer::Informers};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::folders::Folders;

/// What runs unless `--controllers` says otherwise: as where kubeadm set the cluster up, those that machines join by are on, too.
const DEFAULT_CONTROLLERS: [&str; 3] = [
    "*",
    "bootstrap-signer-controller",
    "token-cleaner-controller",
];

/// How a control plane is to run.
pub struct Plan {
    pub server: Config,
    /// The scheduler is one of the names that these turn on.
    pub controllers: skiff_controllers::Options,
    /// Whether it is measured what nodes and pods use, where there are autoscalers.
    pub resource_metrics: bool,
}

impl Plan {
    /// The default plan over the folders of a cluster.
    pub fn new(folders: &Folders) -> Plan {
        let server = Config::new(Data::Folder(folders.store()), folders.pki());
        let controllers = skiff_controllers::Options {
            controllers: DEFAULT_CONTROLLERS.map(String::from).into(),
            allocate_node_cidrs: true,
            ..Default::default()
        };
        Plan {
            server,
            controllers,
            resource_metrics: true,
        }
    }
}

/// A control plane that runs.
pub struct ControlPlane {
    pub server: Running,
    informers: Informers,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

/// A part of the control plane: its rights are what its cluster role says.
fn component(name: &str) -> User {
    User::new(name, &["system:authenticated"])
}

/// Who a controller is.
pub fn service_account(name: &str) -> User {
    User::new(
        format!("system:serviceaccount:kube-system:{name}"),
        &[
            "system:serviceaccounts",
            "system:serviceaccounts:kube-system",
            "system:authenticated",
        ],
    )
}

/// What makes the tokens that are kept in secrets.
fn token_signer(server: &Running) -> skiff_controllers::TokenSigner {
    let tokens = server.app.tokens.clone();
    Arc::new(move |account, secret| {
        tokens
            .issue_legacy(&json!({"metadata": account}), secret)
            .map_err(Into::into)
    })
}

/// What the controllers sign certificate requests with.
pub fn signer(authority: Arc<Authority>) -> skiff_controllers::Signer {
    Arc::new(move |request, usages, seconds| {
        authority
            .sign_request(request, usages, seconds)
            .map_err(Into::into)
    })
}

/// Starts all of it; the server answers when this returns. What cannot be done as planned is not begun.
pub async fn start(mut plan: Plan) -> anyhow::Result<ControlPlane> {
    skiff_controllers::check(&plan.controllers)?;
    skiff_nodeagent::open_files::raise();
    let scheduler_wanted = skiff_controllers::enabled("kube-scheduler", &plan.controllers);
    plan.server.resource_metrics = plan.resource_metrics
        && skiff_controllers::enabled("horizontal-pod-autoscaler-controller", &plan.controllers);
    let server = skiff_server::start(plan.server).await?;
    plan.controllers
        .root_ca_pem
        .get_or_insert_with(|| server.pki.serving_ca.clone());
    plan.controllers
        .cluster_signing
        .get_or_insert_with(|| signer(server.pki.authority.clone()));
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    plan.controllers
        .token_signer
        .get_or_insert_with(|| token_signer(&server));
    let api = Api::new(
        server.client(component("system:kube-controller-manager")),
        "kube-controller-manager",
    );
    let app = server.app.clone();
    let accounts: skiff_controllers::Accounts = Arc::new(move |name| {
        Api::new(
            skiff_server::client(&app, service_account(name)),
            "kube-controller-manager",
        )
    });
    let events = Events::start(api.clone(), plan.controllers.clock.clone(), stop.clone());
    // one cache a kind, read by controllers and scheduler
    let informers = Informers::new(
        api.clone(),
        plan.controllers.clock.clone(),
        &events,
        stop.clone(),
    );
    server
        .app
        .metrics
        .tell_of(Arc::new(plan.controllers.queues.clone()));
    match skiff_controllers::start(
        api,
        accounts,
        informers.clone(),
        plan.controllers,
        stop.clone(),
    ) {
        Ok(controllers) => tasks.spawn(controllers),
        Err(error) => {
            server.stop().await;
            return Err(error.into());
        }
    };
    if scheduler_wanted {
        let informers = informers.clone();
        let api = Api::new(
            server.client(component("system:kube-scheduler")),
            "kube-scheduler",
        );
        let options = skiff_scheduler::Options::default();
        server.app.metrics.tell_of(options.figures.clone());
        tasks.spawn(skiff_scheduler::run(api, informers, options, stop.clone()));
    }
    Ok(ControlPlane {
        server,
        informers,
        tasks,
        stop,
    })
}

impl ControlPlane {
    /// Runs something else beside controllers and scheduler, with their caches, until they end.
    pub fn beside<W>(&mut self, work: impl FnOnce(Informers, CancellationToken) -> W)
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let work = work(self.informers.clone(), self.stop.clone());
        self.tasks.spawn(work);
    }

    /// Ends controllers and scheduler first, then the server.
    pub async fn end(mut self) {
        self.stop.cancel();
        super::end_all(&mut self.tasks).await;
        self.server.stop().await;
    }

    /// `https://…` of the first listener.
    pub fn url(&self) -> String {
        self.server
            .addresses
            .first()
            .map(|address| format!("https://{address}"))
            .unwrap_or_default()
    }

    /// Writes the admin context; returns its name. `instance`: of the cluster's folders.
    pub fn write_kubeconfig(
        &self,
        path: &std::path::Path,
        instance: &str,
    ) -> anyhow::Result<String> {
        let admin = self.server.pki.admin()?;
        let access = super::kubeconfig::Access {
            server: self.url(),
            instance,
            ca_pem: &self.server.pki.serving_ca,
            certificate_pem: &admin.certificate,
            key_pem: &admin.key,
        };
        super::kubeconfig::merge(path, &access)
    }
}

/// `IP:PORT` of `--listen`.
pub fn listen_address(text: &str) -> anyhow::Result<SocketAddr> {
    text.parse()
        .map_err(|_| anyhow::anyhow!("--listen takes IP:PORT, found {text:?}"))
}

pub fn network(flag: &str, text: &str) -> anyhow::Result<IpNet> {
    text.parse().map_err(|_| {
        anyhow::anyhow!("--{flag} takes a network such as 10.96.0.0/16, found {text:?}")
    })
}

/// Networks with commas between, none of which has to do with another. Bits past the prefix are dropped.
pub fn networks(flag: &str, text: &str) -> anyhow::Result<Vec<IpNet>> {
    let one = |part| Ok(network(flag, part)?.trunc());
    text.trim().split(',').map(one).collect()
}

/// Where a kubeconfig goes: the flag, else the usual place.
pub fn kubeconfig_path(flag: &str) -> PathBuf {
    if flag.is_empty() {
        super::kubeconfig::default_path()
    } else {
        flag.into()
    }
}
