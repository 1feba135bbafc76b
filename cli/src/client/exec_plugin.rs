//! Programs that give credentials: the kubeconfig's `exec` users.
//! Invariant: an answer of another version or without credentials is an error that shows the plugin's install hint.
//! Behaviour follows `staging/src/k8s.io/client-go/plugin/pkg/client/auth/exec/exec.go`.

use super::Options;
use crate::error::{Error, Result, bail, message};
use crate::kubeconfig::Resolved;
use crate::typed::Read;
use serde_json::{Value, json};
use skiff_api::machinery::gojson::syntax_error;
use skiff_api::machinery::quote::GoQuoted;
use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// What a plugin gave.
#[derive(Debug, Default)]
pub struct Given {
    pub token: Option<String>,
    pub certificate: Option<(Vec<u8>, Vec<u8>)>,
}

/// Runs the plugin that the kubeconfig's `exec` describes.
///
/// # Errors
/// A plugin that cannot be run, fails, or answers what cannot be used.
pub fn run(exec: &Value, resolved: &Resolved, options: &Options) -> Result<Given> {
    let version = exec.text("apiVersion");
    if !matches!(
        version,
        "client.authentication.k8s.io/v1" | "client.authentication.k8s.io/v1beta1"
    ) {
        return Err(Error::msg(format!(
            "exec plugin: invalid apiVersion {version}",
            version = GoQuoted(&version)
        )));
    }
    let hint = match exec.text("installHint") {
        "" => String::new(),
        hint => format!("\n\n{hint}"),
    };
    answer(exec, resolved, options)
        .and_then(|said| given(&said, version))
        .map_err(|why| Error::msg(format!("getting credentials: {why}{hint}")))
}

/// What the plugin writes.
fn answer(exec: &Value, resolved: &Resolved, options: &Options) -> Result<Vec<u8>> {
    let command = exec.text("command");
    let is_terminal = std::io::stdin().is_terminal();
    let interactive = match (
        exec.text("interactiveMode"),
        unavailable(options, is_terminal),
    ) {
        ("Never", _) => false,
        ("Always", Some(why)) => bail!("exec plugin cannot support interactive mode: {why}"),
        (_, why) => why.is_none(),
    };
    let program = options.policy.allowed(command)?;
    let mut info = json!({"kind": "ExecCredential", "apiVersion": exec.text("apiVersion"), "spec": {"interactive": interactive}});
    if exec.flag("provideClusterInfo") {
        let mut about = resolved.cluster.clone();
        about["server"] = json!(resolved.server);
        info["spec"]["cluster"] = about;
    }
    let mut process = Command::new(program);
    process.arg0(command);
    process.args(exec.list("args").iter().filter_map(Value::as_str));
    for pair in exec.list("env") {
        process.env(pair.text("name"), pair.text("value"));
    }
    process
        .env("KUBERNETES_EXEC_INFO", info.to_string())
        .stderr(Stdio::inherit());
    process.stdin(if interactive {
        Stdio::inherit()
    } else {
        Stdio::null()
    });
    let output = process.output().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => message!("exec: executable {command} not found"),
        _ => message!("exec: {e}"),
    })?;
    if !output.status.success() {
        let code = output.status.code().unwrap_or(-1);
        bail!("exec: executable {command} failed with exit code {code}");
    }
    Ok(output.stdout)
}

/// The credentials in what a plugin wrote.
fn given(said: &[u8], version: &str) -> Result<Given> {
    let answer: Value = serde_json::from_slice(said).map_err(|e| {
        let why = syntax_error(said).unwrap_or_else(|| e.to_string());
        message!("decoding stdout: couldn't get version/kind; json parse error: {why}")
    })?;
    if *answer.at("apiVersion") != version {
        bail!(
            "exec plugin is configured to use API version {version}, plugin returned version {}",
            answer.text("apiVersion")
        );
    }
    let status = |f: &str| {
        let text = answer.at("status").text(f);
        Some(text.to_string()).filter(|text| !text.is_empty())
    };
    let certificate = match (status("clientCertificateData"), status("clientKeyData")) {
        (Some(c), Some(k)) => Some((c.into_bytes(), k.into_bytes())),
        (None, None) => None,
        _ => bail!("exec plugin returned only certificate or key, not both"),
    };
    let token = status("token");
    if token.is_none() && certificate.is_none() {
        bail!("exec plugin didn't return a token or cert/key pair");
    }
    Ok(Given { token, certificate })
}

/// Why nobody can be asked for anything.
fn unavailable(options: &Options, is_terminal: bool) -> Option<&'static str> {
    match (is_terminal, options.stdin_in_use) {
        (false, _) => Some("standard input is not a terminal"),
        (true, true) => {
            Some("standard input is unavailable: used by stdin resource manifest reader")
        }
        (true, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kuberc::Policy;

    fn options(stdin_in_use: bool) -> Options {
        Options {
            stdin_in_use,
            ..Options::new(Policy::allow_all())
        }
    }

    fn tried(exec: &Value) -> Result<Given> {
        run(exec, &Resolved::default(), &options(false))
    }

    #[test]
    fn who_needs_somebody_to_ask_is_told_that_there_is_nobody() {
        assert_eq!(unavailable(&options(false), true), None);
        let why = unavailable(&options(true), true).unwrap();
        assert!(
            why.ends_with("used by stdin resource manifest reader"),
            "{why}"
        );
        let why = unavailable(&options(true), false).unwrap();
        assert_eq!(why, "standard input is not a terminal");
    }

    #[test]
    fn plugins_are_run_and_their_answers_checked() {
        let exec = |script: &str| json!({"command": "sh", "args": ["-c", script], "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never", "env": [{"name": "T", "value": "tok"}]});
        let good = r#"printf '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"%s"}}' $T"#;
        assert_eq!(tried(&exec(good)).unwrap().token.as_deref(), Some("tok"));
        assert!(
            tried(&exec("exit 3"))
                .unwrap_err()
                .to_string()
                .contains("failed with exit code 3")
        );
        let empty = r#"echo '{"apiVersion":"client.authentication.k8s.io/v1","status":{}}'"#;
        assert!(
            tried(&exec(empty))
                .unwrap_err()
                .to_string()
                .contains("didn't return a token")
        );
        assert!(
            tried(&json!({"command": "nosuch-plugin", "apiVersion": "client.authentication.k8s.io/v1"}))
                .unwrap_err()
                .to_string()
                .contains("not found")
        );
    }
}
