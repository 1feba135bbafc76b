//! A control plane under measurement: the built program in a folder of its own, ended when it is dropped; or, so that another API server is measured by the
//! same client, one that runs already.

use std::{
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use super::client::Client;

/// The program that is measured: the one built with the bench, or another build named by `SKIFF_PROGRAM`, so that two are compared on one machine.
pub fn built() -> std::ffi::OsString {
    std::env::var_os("SKIFF_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_skiff").into())
}
const TOKEN: &str = "bench-token";

/// A server that runs already, as `BENCH_SERVER` names it: `PORT TOKEN PID …`, the processes whose CPU counts. The token's user may do all.
struct Running {
    port: u16,
    token: String,
    pids: Vec<u32>,
}

impl Running {
    fn named() -> anyhow::Result<Option<Running>> {
        let Ok(text) = std::env::var("BENCH_SERVER") else {
            return Ok(None);
        };
        let mut words = text.split_whitespace();
        let mut word = || words.next().context("BENCH_SERVER is `PORT TOKEN PID …`");
        let (port, token) = (word()?.parse()?, word()?.to_owned());
        let pids: Result<_, _> = words.map(str::parse).collect();
        Ok(Some(Running {
            port,
            token,
            pids: pids?,
        }))
    }
}

pub struct Program {
    /// None of one that ran already.
    child: Option<Child>,
    pids: Vec<u32>,
    token: String,
    pub port: u16,
    /// From the start of the process to the first 200 of `/readyz`.
    pub ready_after: Duration,
    pub folder: PathBuf,
}

impl Program {
    /// `skiff server` with `extra` flags over `folder`, once it is ready.
    pub fn server(folder: PathBuf, extra: &[&str]) -> anyhow::Result<Program> {
        if let Some(Running { port, token, pids }) = Running::named()? {
            return Ok(Program {
                child: None,
                pids,
                token,
                port,
                ready_after: Duration::ZERO,
                folder,
            });
        }
        std::fs::create_dir_all(&folder)?;
        let tokens = folder.join("tokens.csv");
        std::fs::write(&tokens, format!("{TOKEN},bench,u-bench,system:masters\n"))?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let begun = Instant::now();
        let child = Command::new(built())
            .args(["server", "--data-dir"])
            .arg(folder.join("data"))
            .args(["--secure-port", &port.to_string(), "--token-auth-file"])
            .arg(&tokens)
            .arg("--kubeconfig")
            .arg(folder.join("kubeconfig"))
            .args(extra)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("log"))?)
            .spawn()
            .context("cannot start the program")?;
        let mut program = Program {
            pids: vec![child.id()],
            child: Some(child),
            token: TOKEN.to_owned(),
            port,
            ready_after: Duration::ZERO,
            folder,
        };
        program.wait_ready(begun)?;
        Ok(program)
    }

    fn wait_ready(&mut self, begun: Instant) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            while begun.elapsed() < Duration::from_secs(60) {
                if let Some(child) = &mut self.child
                    && let Some(status) = child.try_wait()?
                {
                    bail!(
                        "the program ended with {status}; see {}",
                        self.folder.join("log").display()
                    );
                }
                if let Ok(mut client) = self.client().await
                    && client
                        .get("/readyz")
                        .await
                        .is_ok_and(|(status, _)| status == 200)
                {
                    self.ready_after = begun.elapsed();
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            bail!("not ready within a minute")
        })
    }

    pub async fn client(&self) -> anyhow::Result<Client> {
        Client::connect(self.port, &self.token).await
    }

    /// The account that pods run as, which a controller would make.
    pub async fn account(&self) -> anyhow::Result<()> {
        let account =
            r#"{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default"}}"#;
        let made = self
            .client()
            .await?
            .create("/api/v1/namespaces/default/serviceaccounts", account)
            .await;
        match made {
            Err(error) if !error.to_string().contains("AlreadyExists") => Err(error),
            _ => Ok(()),
        }
    }

    /// Resident memory in MB.
    pub fn resident(&self) -> anyhow::Result<f64> {
        self.megabytes("VmRSS:")
    }

    /// Of the resident memory what is not pages of files, in MB: the same for every way in which the program was built.
    #[allow(dead_code, reason = "a test holds it to its bound, no bench shows it")]
    pub fn anonymous(&self) -> anyhow::Result<f64> {
        self.megabytes("RssAnon:")
    }

    fn megabytes(&self, field: &str) -> anyhow::Result<f64> {
        let mut sum = 0.0;
        for pid in &self.pids {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            let line = line.with_context(|| format!("no {field}"))?;
            sum += line.trim().trim_end_matches("kB").trim().parse::<f64>()?;
        }
        Ok(sum / 1e3)
    }

    /// CPU time of all its threads since its start, user's and system's, to a hundredth of a second.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        let mut ticks = 0;
        for pid in &self.pids {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
            // after the name in parentheses, which may hold spaces: fields 14 and 15 of proc(5)
            let (_, rest) = stat.rsplit_once(')').context("no name in stat")?;
            let fields: Vec<&str> = rest.split_whitespace().collect();
            ticks += fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        }
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Waits until it does nothing of itself any more: what was written is carried on for a while. After half a minute it is as it is.
    pub fn settle(&self) -> anyhow::Result<()> {
        const LOOK: Duration = Duration::from_millis(500);
        let mut before = self.cpu()?;
        for _ in 0..60 {
            std::thread::sleep(LOOK);
            let now = self.cpu()?;
            if now.saturating_sub(before) < LOOK / 20 {
                break;
            }
            before = now;
        }
        Ok(())
    }

    /// Ends it as Ctrl-C does and waits; one that ran already goes on.
    pub fn end(mut self) -> anyhow::Result<()> {
        if let Some(child) = &mut self.child {
            Command::new("kill")
                .args(["-INT", &child.id().to_string()])
                .status()?;
            child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
