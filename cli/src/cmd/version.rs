//! `version`: of this program and of the server.
//! Invariant: with --client no socket is opened.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/version/version.go`.

use std::sync::LazyLock;

use crate::client::Call;
use crate::command::{Command, verb};
use crate::context::With;
use crate::error::{Result, bail};
use crate::print::{self, json as layout};
use crate::typed::Read;
use serde_json::{Value, json};

pub static COMMAND: Command = Command {
    name: "version",
    usage: "[flags]",
    short: "Print the client and server version information",
    long: "Show the version of this program, and of the server that the context in use names.",
    examples: "
      # Both
      kubectl version
      # This program's alone
      kubectl version --client",
    run: verb!(run: Flags),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// Only this program's version
    #[arg(long)]
    client: bool,
    /// json or yaml
    #[arg(long, short)]
    output: String,
}

/// What stands first, and then the fields of what a server says of itself.
static ORDER: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let own = ["clientVersion", "kustomizeVersion", "serverVersion"];
    [&own, skiff_server::VERSION_FIELDS].concat()
});

/// The kustomize that kubectl 1.36 has in it, whose behaviour `kustomize` and `-k` follow.
const KUSTOMIZE: &str = "v5.8.1";

/// What this program says of itself: the Kubernetes version that it answers to.
pub fn own() -> Value {
    let arch = if cfg!(target_arch = "x86_64") {
        "amd64"
    } else if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        std::env::consts::ARCH
    };
    json!({"major": "1", "minor": "36", "gitVersion": "v1.36.2", "gitCommit": "", "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "rustc", "platform": format!("{}/{arch}", std::env::consts::OS)})
}

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    if !ctx.args().is_empty() {
        bail!("extra arguments: [{}]", ctx.args().join(" "));
    }
    if !matches!(f.output.as_str(), "" | "json" | "yaml") {
        bail!("--output must be 'yaml' or 'json'");
    }
    let mut info = json!({"clientVersion": own(), "kustomizeVersion": KUSTOMIZE});
    let mut failure = None;
    if !f.client {
        match ctx.client()?.json(&Call::get("/version")).await {
            Ok(v) => info["serverVersion"] = v,
            Err(e) => failure = Some(e),
        }
    }
    let git = |part: &str| info.at(part).text("gitVersion").to_string();
    let text = match f.output.as_str() {
        "json" => {
            layout::write(
                &info,
                layout::Style {
                    indent: 2,
                    order: crate::print::order::Order::Keys(&ORDER),
                },
            ) + "\n"
        }
        "yaml" => crate::yaml::write(&info) + "\n",
        _ => {
            let mut t = format!(
                "Client Version: {}\nKustomize Version: {KUSTOMIZE}\n",
                git("clientVersion"),
            );
            if ctx.program() == "skiff" {
                t += concat!("Skiff Version: v", env!("CARGO_PKG_VERSION"), "\n");
            }
            if info.get("serverVersion").is_some() {
                t += &format!("Server Version: {}\n", git("serverVersion"));
            }
            t
        }
    };
    print::put(&text)?;
    if let Some(e) = failure {
        return Err(e);
    }
    skew(&info);
    Ok(())
}

/// Warns if the two versions are too far apart to work together.
fn skew(info: &Value) {
    let minor = |part: &str| {
        info.at(part)
            .text_ptr("minor")
            .map(|m| m.trim_end_matches('+').to_string())
            .and_then(|m| m.parse::<i64>().ok())
    };
    if let (Some(c), Some(s)) = (minor("clientVersion"), minor("serverVersion"))
        && (c - s).abs() > 1
    {
        eprintln!(
            "Warning: version difference between client (1.{c}) and server (1.{s}) exceeds the supported minor version skew of +/-1"
        );
    }
}
