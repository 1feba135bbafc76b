//! What a running verb has at hand: its flags, the kubeconfig, the client and the list of what the server serves, each made when first asked for.
//! Invariant: a verb that asks for none of them opens no file and no socket.
//! Behaviour follows `staging/src/k8s.io/cli-runtime/pkg/genericclioptions/config_flags.go`.

use crate::client::Client;
use crate::discovery::Discovery;
use crate::error::{Error, Result};
use crate::flags::{Flag, Parsed};
use crate::kubeconfig::{Config, Overrides, Resolved};
use std::cell::OnceCell;
use std::rc::Rc;

/// The flags that every command takes.
pub const GLOBAL: &[Flag] = &[
    Flag::str(
        "kubeconfig",
        '\0',
        "",
        "The kubeconfig file to read, instead of $KUBECONFIG or ~/.kube/config",
    ),
    Flag::str(
        "cache-dir",
        '\0',
        "~/.kube/cache",
        "Where answers of the server's discovery are kept",
    ),
    Flag::str(
        "client-certificate",
        '\0',
        "",
        "A file with the certificate to authenticate with",
    ),
    Flag::str("client-key", '\0', "", "A file with that certificate's key"),
    Flag::str("token", '\0', "", "A bearer token to authenticate with"),
    Flag::str(
        "as",
        '\0',
        "",
        "Act as this user, or as this service account (system:serviceaccount:NAMESPACE:NAME)",
    ),
    Flag::str("as-uid", '\0', "", "Act with this uid"),
    Flag::array(
        "as-group",
        '\0',
        "Act as a member of this group; may be repeated",
    ),
    Flag::array(
        "as-user-extra",
        '\0',
        "Act with this extra attribute (KEY=VALUE); may be repeated",
    ),
    Flag::str("username", '\0', "", "User name for basic authentication"),
    Flag::str("password", '\0', "", "Password for basic authentication"),
    Flag::str(
        "cluster",
        '\0',
        "",
        "Which cluster of the kubeconfig to use",
    ),
    Flag::str("user", '\0', "", "Which user of the kubeconfig to use"),
    Flag::str(
        "namespace",
        'n',
        "",
        "The namespace that the command is about",
    ),
    Flag::str(
        "context",
        '\0',
        "",
        "Which context of the kubeconfig to use",
    ),
    Flag::str("server", 's', "", "Address and port of the API server"),
    Flag::str(
        "tls-server-name",
        '\0',
        "",
        "The name that the server's certificate must bear, if it is not the address's",
    ),
    Flag::bool(
        "insecure-skip-tls-verify",
        '\0',
        false,
        "Do not check the server's certificate. Nothing then protects the connection from being read or changed",
    ),
    Flag::str(
        "certificate-authority",
        '\0',
        "",
        "A file with the certificate authority that the server's certificate must come from",
    ),
    Flag::str(
        "request-timeout",
        '\0',
        "0",
        "How long a single request may take (1s, 2m, 3h); 0 means for ever",
    ),
    Flag::bool(
        "disable-compression",
        '\0',
        false,
        "Ask the server for uncompressed answers",
    ),
    Flag::bool(
        "match-server-version",
        '\0',
        false,
        "Refuse to work with a server of another version",
    ),
    Flag::bool(
        "warnings-as-errors",
        '\0',
        false,
        "Exit with an error if the server sent a warning",
    ),
    Flag::str("profile", '\0', "none", "What to profile")
        .refused("only 'none' is known here; leave the flag out"),
    Flag::str(
        "profile-output",
        '\0',
        "profile.pprof",
        "Where to write the profile",
    )
    .refused("there is no profiler"),
    Flag::str("kuberc", '\0', "", "A file of preferences")
        .refused("preferences files are not read"),
    Flag::int(
        "v",
        'v',
        "0",
        "How much to log of requests and answers, from 0 to 10",
    ),
    Flag::str("vmodule", '\0', "", "Log levels by module")
        .refused("logs are not divided into modules"),
    Flag::duration(
        "log-flush-frequency",
        '\0',
        "5s",
        "The longest that logs may wait; they are written at once",
    ),
];

struct Inner {
    pub flags: Parsed,
    pub path: String,
    config: OnceCell<Config>,
    resolved: OnceCell<Resolved>,
    client: OnceCell<Client>,
    discovery: OnceCell<Rc<Discovery>>,
}

/// Cheap to clone; one a command line.
#[derive(Clone)]
pub struct Ctx(Rc<Inner>);

impl Ctx {
    pub fn new(flags: Parsed, path: String) -> Self {
        Ctx(Rc::new(Inner {
            flags,
            path,
            config: OnceCell::new(),
            resolved: OnceCell::new(),
            client: OnceCell::new(),
            discovery: OnceCell::new(),
        }))
    }

    /// The same command line with other flags, sharing nothing that was made for these.
    pub fn with_flags(&self, flags: Parsed) -> Self {
        Ctx::new(flags, self.0.path.clone())
    }

    pub fn flags(&self) -> &Parsed {
        &self.0.flags
    }
    pub fn args(&self) -> &[String] {
        &self.0.flags.args
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
        let made = Config::load(self.flags().str("kubeconfig"))?;
        Ok(self.0.config.get_or_init(|| made))
    }

    fn overrides(&self) -> Overrides {
        let f = self.flags();
        let text = |n: &str| {
            if f.changed(n) && !f.hides_global(n) {
                Some(f.str(n).to_string()).filter(|text| !text.is_empty())
            } else {
                None
            }
        };
        Overrides {
            context: text("context"),
            cluster: text("cluster"),
            user: text("user"),
            namespace: text("namespace"),
            server: text("server"),
            tls_server_name: text("tls-server-name"),
            insecure: if f.changed("insecure-skip-tls-verify") {
                Some(f.bool("insecure-skip-tls-verify"))
            } else {
                None
            },
            certificate_authority: text("certificate-authority"),
            client_certificate: text("client-certificate"),
            client_key: text("client-key"),
            token: text("token"),
            username: text("username"),
            password: text("password"),
            as_user: text("as"),
            as_uid: text("as-uid"),
            as_groups: f.list("as-group"),
            as_extra: f.list("as-user-extra"),
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
        if self.flags().changed("namespace") && !self.flags().str("namespace").is_empty() {
            return Ok((self.flags().str("namespace").to_string(), true));
        }
        let cluster = self.overrides().cluster;
        let config = self.config()?.present()?;
        let namespace = config.namespace(self.flags().str("context"))?;
        match cluster.filter(|name| config.get("clusters", name).is_none()) {
            Some(name) => Err(Error::msg(format!(
                "no server found for cluster {}",
                crate::error::quote(&name)
            ))),
            None => Ok((namespace, false)),
        }
    }

    pub fn client(&self) -> Result<&Client> {
        if let Some(c) = self.0.client.get() {
            return Ok(c);
        }
        let made = Client::new(self.resolved()?, &self.client_options()?)?;
        Ok(self.0.client.get_or_init(|| made))
    }

    fn client_options(&self) -> Result<crate::client::Options> {
        let text = self.flags().str("request-timeout");
        let timeout = match text.parse::<u64>() {
            Ok(n) => n as f64,
            Err(_) => crate::flags::parse_duration(text)
                .map_err(|_| Error::msg("Invalid timeout value. Timeout must be a single integer in seconds, or an integer followed by a corresponding time unit (e.g. 1s | 2m | 3h)"))?,
        };
        Ok(crate::client::Options {
            timeout: (timeout > 0.0).then(|| crate::flags::seconds(timeout)),
            verbosity: self.flags().int("v"),
            program: self.program().to_string(),
            command: self.path().to_string(),
        })
    }

    pub fn discovery(&self) -> Result<&Rc<Discovery>> {
        if let Some(d) = self.0.discovery.get() {
            return Ok(d);
        }
        let client = self.client()?.clone();
        let dir = match self.flags().str("cache-dir") {
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
        if !self.flags().declares("dry-run") {
            return Ok(DryRun::None);
        }
        let text = self.flags().str("dry-run");
        match text {
            "none" => Ok(DryRun::None),
            "server" => Ok(DryRun::Server),
            "client" => Ok(DryRun::Client),
            other => Err(Error::msg(format!(
                r#"Invalid dry-run value ({other}). Must be "none", "server", or "client"."#
            ))),
        }
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
