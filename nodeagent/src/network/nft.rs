//! The `nft` program, fed on standard input: every script is one transaction, all of it or nothing.
//!
//! Invariant: a machine without it, or whose kernel refuses it, is told apart from a script that failed (`Error::Unsupported` and `Error::Failed`).

use std::path::PathBuf;

use serde::Deserialize;

use super::{Error, failed, ns::Namespace};

/// Adds a line to a script.
macro_rules! line {
    ($script:expr, $($text:tt)*) => {{
        use std::fmt::Write;
        writeln!($script, $($text)*).expect("a string takes what is written")
    }};
}
pub(super) use line;

/// Folders looked through after `PATH`, which a service manager may have left without the `sbin` ones.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin"];

#[derive(Deserialize)]
struct Listing {
    nftables: Vec<Listed>,
}

/// One thing that nftables holds, as far as it is looked at here.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Listed {
    Table {
        name: String,
    },
    Chain {
        table: String,
        name: String,
        policy: Option<String>,
    },
    Rule {
        comment: Option<String>,
        handle: u64,
    },
    #[serde(untagged)]
    Other(serde::de::IgnoredAny),
}

/// The program, found.
#[derive(Clone, Debug)]
pub struct Nft {
    program: PathBuf,
}

impl Nft {
    /// Finds the program and tries it, and the kernel, with a table that is made and dropped in one transaction inside `ns`.
    pub async fn find(ns: &Namespace) -> Result<Self, Error> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = std::env::split_paths(&path)
            .chain(FOLDERS.iter().map(PathBuf::from))
            .map(|folder| folder.join("nft"))
            .find(|p| p.is_file())
            .ok_or_else(|| unsupported("the program nft is not installed (package nftables)"))?;
        let nft = Nft { program };
        let probe = "add table ip skiff-probe\nadd chain ip skiff-probe c { type nat hook postrouting priority 100; }\n\
             add map ip skiff-probe m { type ipv4_addr . inet_proto . inet_service : verdict; }\ndelete table ip skiff-probe\n";
        match nft.apply(ns, probe.to_owned()).await {
            Ok(()) => Ok(nft),
            Err(Error::Failed { reason, .. }) => {
                Err(unsupported(&format!("the kernel refuses them: {reason}")))
            }
            Err(e) => Err(e),
        }
    }

    /// Runs a script as one transaction inside `ns`.
    pub async fn apply(&self, ns: &Namespace, script: String) -> Result<(), Error> {
        self.run(ns, &["-f", "-"], script).await.map(|_| ())
    }

    /// What `nft -j list …` finds inside `ns`.
    pub async fn list(&self, ns: &Namespace, args: &[&str]) -> Result<Vec<Listed>, Error> {
        let args: Vec<_> = ["-j", "-a", "list"].iter().chain(args).copied().collect();
        let out = self.run(ns, &args, String::new()).await?;
        let listing: Listing =
            serde_json::from_slice(&out).map_err(|e| failed("read what nft lists", e))?;
        Ok(listing.nftables)
    }

    async fn run(&self, ns: &Namespace, args: &[&str], input: String) -> Result<Vec<u8>, Error> {
        let args = args.iter().map(|a| (*a).to_owned()).collect();
        let output = ns
            .output(self.program.clone(), args, input)
            .await
            .map_err(|e| failed("run nft", e))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let text = String::from_utf8_lossy(&output.stderr);
        // The first line says what is wrong; the rest quotes the script.
        Err(failed(
            "change nftables",
            text.lines().next().unwrap_or("nft gave no reason"),
        ))
    }
}

fn unsupported(hint: &str) -> Error {
    Error::Unsupported {
        what: "nftables".into(),
        hint: hint.into(),
    }
}
