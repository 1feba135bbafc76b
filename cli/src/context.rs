//! What a running verb has at hand: its flags, the kubeconfig, the client and the list of what the server serves, each made when first asked for.
//! Invariant: a verb that asks for none of them opens no file and no socket.
//! Behaviour follows `staging/src/k8s.io/cli-runtime/pkg/genericclioptions/config_flags.go`.

use crate::client::Client;
use crate::command::{Command, Found};
use crate::discovery::Discovery;
use crate::error::{Error, Result, message};
use crate::flags::{Line, Listed, Modules};
use crate::kubeconfig::{Config, Overrides, Resolved};
use crate::kuberc::Policy;
use crate::{generate, print, resource};
use std::cell::OnceCell;
use std::ops::Deref;
use std::rc::Rc;

/// The flags that every command takes.
#[derive(Clone, clap::Args)]
#[group(skip)]
pub struct Global {
    /// The kubeconfig file to read, instead of $KUBECONFIG or ~/.kube/config
    #[arg(long)]
    pub kubeconfig: String,
    /// The file of preferences to read, instead of $KUBERC or ~/.kube/kuberc
    #[arg(long)]
    pub kuberc: String,
    /// Where answers of the server's discovery are kept
    #[arg(long, default_value = "~/.kube/cache")]
    pub cache_dir: String,
    /// Ask the server for its version first, and do nothing unless it is this program's
    #[arg(long)]
    pub match_server_version: bool,
    /// A file with the certificate to authenticate with
    #[arg(long)]
    pub client_certificate: Option<String>,
    /// A file with that certificate's key
    #[arg(long)]
    pub client_key: Option<String>,
    /// A bearer token to authenticate with
    #[arg(long)]
    pub token: Option<String>,
    /// Act as this user, or as this service account (system:serviceaccount:NAMESPACE:NAME)
    #[arg(long = "as")]
    pub as_user: Option<String>,
    /// Act with this uid
    #[arg(long)]
    pub as_uid: Option<String>,
    /// Act as a member of this group; may be repeated
    #[arg(long)]
    pub as_group: Vec<String>,
    /// Act with this extra attribute (KEY=VALUE); may be repeated
    #[arg(long)]
    pub as_user_extra: Vec<String>,
    /// User name for basic authentication
    #[arg(long)]
    pub username: Option<String>,
    /// Password for basic authentication
    #[arg(long)]
    pub password: Option<String>,
    /// Which cluster of the kubeconfig to use
    #[arg(long)]
    pub cluster: Option<String>,
    /// Which user of the kubeconfig to use
    // Other flags of this name are not of this one's type.
    #[arg(long, id = "global user")]
    pub user: Option<String>,
    /// The namespace that the command is about
    #[arg(long, short)]
    pub namespace: Option<String>,
    /// Which context of the kubeconfig to use
    #[arg(long)]
    pub context: String,
    /// Address and port of the API server
    #[arg(long, short)]
    pub server: Option<String>,
    /// The name that the server's certificate must bear, if it is not the address's
    #[arg(long)]
    pub tls_server_name: Option<String>,
    /// Do not check the server's certificate. Nothing then protects the connection from being read or changed
    #[arg(long)]
    pub insecure_skip_tls_verify: Option<bool>,
    /// A file with the certificate authority that the server's certificate must come from
    #[arg(long)]
    pub certificate_authority: Option<String>,
    /// How long a single request may take (1s, 2m, 3h); 0 means for ever
    #[arg(long, default_value = "0")]
    pub request_timeout: String,
    /// Ask the server for uncompressed answers
    #[arg(long = "disable-compression")]
    pub _disable_compression: bool,
    /// Exit with an error if the server sent a warning
    #[arg(long)]
    pub warnings_as_errors: bool,
    /// How much to log of requests and answers, from 0 to 10
    #[arg(long, short)]
    pub v: i64,
    /// How much to log of single files (FILE=LEVEL, separated by commas), whatever -v says
    #[arg(long, value_name = ":", value_parser = crate::flags::modules)]
    pub vmodule: Option<Modules>,
    /// Must be none: no profile of a run can be written
    #[arg(long = "profile", default_value = "none")]
    pub run_profile: String,
    /// Where a profile would go
    #[arg(long = "profile-output", default_value = "profile.pprof")]
    pub _profile_output: String,
    /// The longest that logs may wait; they are written at once
    #[arg(long = "log-flush-frequency", default_value = "5s")]
    pub _log_flush_frequency: f64,
}

/// The flags that helpers of several verbs look at. A verb that does not declare one has its default.
#[derive(Clone, clap::Args)]
#[group(skip)]
pub struct Shared {
    #[command(flatten)]
    pub print: print::Flags,
    #[command(flatten)]
    pub files: resource::Files,
    #[command(flatten)]
    pub selector: resource::Selecting,
    #[command(flatten)]
    pub field_selector: resource::SelectingFields,
    #[command(flatten)]
    pub chunks: resource::Chunks,
    #[command(flatten)]
    pub all: resource::All,
    #[command(flatten)]
    pub local: resource::Local,
    #[command(flatten)]
    pub all_namespaces: resource::AllNamespaces,
    #[command(flatten)]
    pub dry_run: resource::DryRunFlag,
    #[command(flatten)]
    pub save_config: generate::SaveConfig,
    #[command(flatten)]
    pub record: generate::Record,
    #[command(flatten)]
    pub deletion: crate::cmd::delete::Deletion,
    #[command(flatten)]
    pub session: crate::cmd::exec::Session,
    #[command(flatten)]
    pub detach: crate::cmd::attach::Detach,
    #[arg(long)]
    pub no_headers: bool,
    #[command(flatten)]
    pub line_endings: crate::cmd::edit::LineEndings,
    /// Nothing where the verb has no such flag.
    #[arg(long)]
    pub validate: Option<String>,
    /// Nothing where the verb has no such flag.
    #[arg(long)]
    pub field_manager: Option<String>,
}

struct Inner {
    line: Line,
    global: Global,
    shared: Shared,
    command: &'static Command,
    path: String,
    policy: Policy,
    config: OnceCell<Config>,
    resolved: OnceCell<Resolved>,
    client: OnceCell<Client>,
    discovery: OnceCell<Rc<Discovery>>,
    /// That an old form of `--dry-run` was told of.
    old_dry_run: std::sync::Once,
}

/// Cheap to clone; one a command line.
#[derive(Clone)]
pub struct Ctx(Rc<Inner>);

impl Ctx {
    /// `policy`: which programs may give credentials.
    pub fn new(line: Line, found: &Found, policy: Policy) -> Self {
        let global = line.flags();
        Self::of(line, global, found.command, found.path.clone(), policy)
    }

    fn of(
        line: Line,
        global: Global,
        command: &'static Command,
        path: String,
        policy: Policy,
    ) -> Self {
        Ctx(Rc::new(Inner {
            shared: line.flags(),
            line,
            global,
            command,
            path,
            policy,
            config: OnceCell::new(),
            resolved: OnceCell::new(),
            client: OnceCell::new(),
            discovery: OnceCell::new(),
            old_dry_run: std::sync::Once::new(),
        }))
    }

    /// The same command line for another namespace, sharing nothing that was made for this one.
    pub fn in_namespace(&self, namespace: &str) -> Self {
        let mut global = self.0.global.clone();
        global.namespace = Some(namespace.into());
        let inner = &self.0;
        Ctx::of(
            inner.line.clone(),
            global,
            inner.command,
            inner.path.clone(),
            inner.policy.clone(),
        )
    }

    /// Whether a flag of that name stood on the command line, if only with nothing.
    pub fn names(&self, flag: &str) -> bool {
        self.0.line.names(flag)
    }
    /// The same with the verb's own flags.
    pub fn with<F: clap::Args>(self) -> With<F> {
        With {
            flags: Rc::new(self.0.line.flags()),
            ctx: self,
        }
    }

    pub fn global(&self) -> &Global {
        &self.0.global
    }
    pub fn shared(&self) -> &Shared {
        &self.0.shared
    }
    pub fn args(&self) -> &[String] {
        &self.0.line.args
    }
    /// How many of the arguments stand before a `--`, if there is one.
    pub fn dash(&self) -> Option<usize> {
        self.0.line.dash
    }
    /// `--output`, empty where it is not given.
    pub fn output(&self) -> &str {
        &self.0.shared.print.output.output
    }
    /// What `--filename` names.
    pub fn filenames(&self) -> Vec<String> {
        self.0.shared.files.folders.filename.list()
    }
    pub fn recursive(&self) -> bool {
        self.0.shared.files.folders.recursive
    }
    /// Whether `-f` or `-k` name something.
    pub fn has_files(&self) -> bool {
        !self.filenames().is_empty() || !self.0.shared.files.kustomize.is_empty()
    }
    pub fn selector(&self) -> &str {
        &self.0.shared.selector.selector
    }
    pub fn field_selector(&self) -> &str {
        &self.0.shared.field_selector.field_selector
    }
    /// Whether `--all` is given.
    pub fn all(&self) -> bool {
        self.0.shared.all.all
    }
    /// Whether `--save-config` is given.
    pub fn saves_config(&self) -> bool {
        self.0.shared.save_config.save_config
    }
    /// Whether `--local` is given.
    pub fn local(&self) -> bool {
        self.0.shared.local.local
    }
    /// Whether `--show-managed-fields` is given.
    pub fn shows_managed_fields(&self) -> bool {
        self.0.shared.print.templates.managed.show_managed_fields
    }
    /// Who is said to manage the fields that are written.
    pub fn manager(&self) -> &str {
        self.0.shared.field_manager.as_deref().unwrap_or("kubectl")
    }
    pub fn deletion(&self) -> &crate::cmd::delete::Deletion {
        &self.0.shared.deletion
    }
    /// A mistake in how the verb was called; names the help to read.
    pub fn usage(&self, text: impl std::fmt::Display) -> Error {
        Error::usage(self.path(), text)
    }
    /// Says that there is nothing to show, of the namespace or of all.
    ///
    /// # Errors
    /// A kubeconfig that cannot be read.
    pub fn tell_none(&self, everywhere: bool) -> Result<()> {
        if everywhere {
            eprintln!("No resources found");
        } else {
            eprintln!("No resources found in {} namespace.", self.namespace()?.0);
        }
        Ok(())
    }
    /// For verbs that take no arguments.
    ///
    /// # Errors
    /// There are some: `what` they are, and all of them.
    pub fn takes_no_args(&self, what: &str) -> Result<()> {
        if self.args().is_empty() {
            return Ok(());
        }
        let found = format!("{what}: [{}]", self.args().join(" "));
        Err(self.usage(found))
    }
    /// The command as it was called, such as `kubectl rollout undo`.
    pub fn path(&self) -> &str {
        &self.0.path
    }
    /// The program's name: `kubectl` or `skiff`.
    pub fn program(&self) -> &str {
        self.0.path.split(' ').next().unwrap_or("kubectl")
    }

    /// The merged kubeconfig.
    pub fn config(&self) -> Result<&Config> {
        if let Some(c) = self.0.config.get() {
            return Ok(c);
        }
        let made = Config::load(&self.global().kubeconfig)?;
        Ok(self.0.config.get_or_init(|| made))
    }

    fn overrides(&self) -> Overrides {
        let f = self.global();
        let text = |given: &Option<String>| given.clone().filter(|text| !text.is_empty());
        Overrides {
            context: text(&Some(f.context.clone())),
            cluster: text(&f.cluster),
            user: text(&f.user),
            namespace: text(&f.namespace),
            server: text(&f.server),
            tls_server_name: text(&f.tls_server_name),
            insecure: f.insecure_skip_tls_verify,
            certificate_authority: text(&f.certificate_authority),
            client_certificate: text(&f.client_certificate),
            client_key: text(&f.client_key),
            token: text(&f.token),
            username: text(&f.username),
            password: text(&f.password),
            as_user: text(&f.as_user),
            as_uid: text(&f.as_uid),
            as_groups: f.as_group.clone(),
            as_extra: f.as_user_extra.clone(),
        }
    }

    /// Which server, as whom, in which namespace.
    pub fn resolved(&self) -> Result<&Resolved> {
        if let Some(r) = self.0.resolved.get() {
            return Ok(r);
        }
        let made = self.config()?.present()?.resolve(&self.overrides())?;
        Ok(self.0.resolved.get_or_init(|| made))
    }

    /// The namespace, and whether the command line named it.
    pub fn namespace(&self) -> Result<(String, bool)> {
        let over = self.overrides();
        if let Some(namespace) = over.namespace {
            return Ok((namespace, true));
        }
        Ok((self.config()?.present()?.namespace(&over)?, false))
    }

    pub fn client(&self) -> Result<&Client> {
        if let Some(c) = self.0.client.get() {
            return Ok(c);
        }
        let made = Client::new(self.resolved()?, &self.client_options()?)?;
        Ok(self.0.client.get_or_init(|| made))
    }

    /// Whether the command's own input comes by standard input.
    fn reads_stdin(&self) -> bool {
        let by_argument = self.0.command.reads_stdin && self.args().iter().any(|a| a == "-");
        by_argument || self.filenames().iter().any(|name| name == "-")
    }

    /// Refuses to write a profile of the run, which Go's programs can.
    ///
    /// # Errors
    /// A profile is asked for.
    pub fn check_profile(&self) -> Result<()> {
        match self.global().run_profile.as_str() {
            "none" => Ok(()),
            kind @ ("cpu" | "heap" | "goroutine" | "threadcreate" | "block" | "mutex") => {
                Err(message!(
                    "no profile {} can be written: leave --profile out",
                    crate::error::quote(kind)
                ))
            }
            other => Err(message!("unknown profile '{other}'")),
        }
    }

    fn client_options(&self) -> Result<crate::client::Options> {
        let text = self.global().request_timeout.as_str();
        let timeout = match text.parse::<u64>() {
            Ok(n) => n as f64,
            Err(_) => crate::flags::parse_duration(text)
                .map_err(|_| Error::msg("Invalid timeout value. Timeout must be a single integer in seconds, or an integer followed by a corresponding time unit (e.g. 1s | 2m | 3h)"))?,
        };
        Ok(crate::client::Options {
            timeout: (timeout > 0.0).then(|| crate::flags::seconds(timeout)),
            verbosity: self.global().v,
            modules: self.global().vmodule.clone().unwrap_or_default(),
            program: self.program().to_string(),
            command: self.path().to_string(),
            policy: self.0.policy.clone(),
            stdin_in_use: self.reads_stdin(),
            match_version: self.global().match_server_version,
        })
    }

    pub fn discovery(&self) -> Result<&Rc<Discovery>> {
        if let Some(d) = self.0.discovery.get() {
            return Ok(d);
        }
        let client = self.client()?.clone();
        let dir = match self.global().cache_dir.as_str() {
            "~/.kube/cache" => match std::env::var("KUBECACHEDIR") {
                Ok(d) if !d.is_empty() => d.into(),
                _ => crate::kubeconfig::home().join(".kube/cache"),
            },
            d => std::path::PathBuf::from(d),
        };
        Ok(self
            .0
            .discovery
            .get_or_init(|| Rc::new(Discovery::new(client, &dir))))
    }

    /// How many warnings the server has sent; 0 without a client.
    pub fn warnings(&self) -> usize {
        self.0.client.get().map_or(0, Client::warnings)
    }

    /// The dry-run strategy that `--dry-run` asks for; none for a verb without that flag.
    ///
    /// # Errors
    /// A value that is none of `none`, `server` and `client`.
    pub fn dry_run(&self) -> Result<DryRun> {
        match self.shared().dry_run.dry_run.as_str() {
            "none" => Ok(DryRun::None),
            "server" => Ok(DryRun::Server),
            "client" => Ok(DryRun::Client),
            // The flag without a value, and the booleans that it once took.
            "unchanged" => {
                self.0.old_dry_run.call_once(|| {
                    crate::client::klog(
                        'W',
                        "helpers.go:719",
                        "--dry-run is deprecated and can be replaced with --dry-run=client.",
                    )
                });
                Ok(DryRun::Client)
            }
            other => match crate::flags::parse_bool(other) {
                Ok(on) => {
                    let (new, meant, place) = if on {
                        ("client", DryRun::Client, "helpers.go:733")
                    } else {
                        ("none", DryRun::None, "helpers.go:736")
                    };
                    self.0.old_dry_run.call_once(|| {
                        crate::client::klog('W', place, &format!(
                            "--dry-run={other} is deprecated (boolean value) and can be replaced with --dry-run={new}."
                        ))
                    });
                    Ok(meant)
                }
                Err(_) => Err(message!(
                    r#"Invalid dry-run value ({other}). Must be "none", "server", or "client"."#
                )),
            },
        }
    }

    /// What an object's change is said to be caused by, where that is to be kept.
    pub fn change_cause(&self) -> Option<String> {
        let asked = self.shared().record.record.unwrap_or(false);
        asked.then(|| self.0.line.told(self.path()))
    }
}

/// A verb's command line with the flags that are the verb's own.
pub struct With<F> {
    ctx: Ctx,
    flags: Rc<F>,
}

impl<F> Clone for With<F> {
    fn clone(&self) -> Self {
        With {
            ctx: self.ctx.clone(),
            flags: self.flags.clone(),
        }
    }
}

impl<F> With<F> {
    pub fn flags(&self) -> &F {
        &self.flags
    }
}

impl<F> Deref for With<F> {
    type Target = Ctx;
    fn deref(&self) -> &Ctx {
        &self.ctx
    }
}

/// What is really done of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DryRun {
    None,
    /// The server goes through all but the writing.
    Server,
    /// Nothing is sent.
    Client,
}

impl DryRun {
    /// What the change's message ends with.
    pub fn suffix(self) -> &'static str {
        match self {
            DryRun::None => "",
            DryRun::Server => " (server dry run)",
            DryRun::Client => " (dry run)",
        }
    }
}
