//! `create token`: asks for a token of a service account.
//! Invariant: the token goes to standard output and nowhere else.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/create/create_token.go`.

use crate::client::{Call, segment};
use crate::command::{Command, verb};
use crate::complete::Words;
use crate::context::With;
use crate::error::{Error, Result, bail, message};
use crate::print::{self, Printer, order::Order};
use crate::resource::helper;
use crate::typed::Read;
use serde_json::json;
use std::io::IsTerminal;

pub static COMMAND: Command = Command {
    name: "token",
    usage: "SERVICE_ACCOUNT_NAME",
    short: "Request a service account token",
    long: "Ask for a token of a service account, and print it.",
    examples: "
      # A token of the server's default lifetime
      kubectl create token myapp
      # For ten minutes
      kubectl create token myapp --duration 10m
      # For another audience
      kubectl create token myapp --audience https://example.com
      # That ends when a secret is deleted
      kubectl create token myapp --bound-object-kind Secret --bound-object-name mysecret",
    flags: &[print::FLAGS],
    run: verb!(run: Flags),
    words: Some(Words::Names("serviceaccount")),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// Whom the token is for; may be repeated
    #[arg(long)]
    audience: Vec<String>,
    /// How long it shall be good for; 0 leaves it to the server
    #[arg(long)]
    duration: f64,
    /// The kind of the object that it ends with: Node, Pod or Secret
    #[arg(long)]
    bound_object_kind: String,
    /// The name of that object
    #[arg(long)]
    bound_object_name: String,
    /// The uid of that object
    #[arg(long)]
    bound_object_uid: String,
}

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    let name = crate::generate::one_name(&ctx)?;
    let namespace = ctx.namespace()?.0;
    ctx.client()?;
    let (kind, object, uid, duration) = (
        f.bound_object_kind.as_str(),
        f.bound_object_name.as_str(),
        f.bound_object_uid.as_str(),
        f.duration,
    );
    if duration < 0.0 {
        bail!("--duration must be greater than or equal to 0");
    }
    if duration.fract() != 0.0 {
        bail!("--duration cannot be expressed in units less than seconds");
    }
    if f.audience.iter().any(String::is_empty) {
        bail!("--audience must not be an empty string");
    }
    let mut request = json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": {}, "spec": {"audiences": f.audience}});
    if duration > 0.0 {
        request["spec"]["expirationSeconds"] = json!(duration as i64);
    }
    match (kind.is_empty(), object.is_empty()) {
        (true, false) => {
            bail!("--bound-object-name can only be set if --bound-object-kind is provided");
        }
        (true, true) if !uid.is_empty() => {
            bail!("--bound-object-uid can only be set if --bound-object-kind is provided");
        }
        (true, true) => {}
        (false, _) if !["Node", "Pod", "Secret"].contains(&kind) => {
            bail!("supported --bound-object-kind values are Node, Pod, Secret");
        }
        (false, true) => {
            bail!("--bound-object-name is required if --bound-object-kind is provided");
        }
        (false, false) => {
            request["spec"]["boundObjectRef"] =
                json!({"kind": kind, "apiVersion": "v1", "name": object, "uid": uid})
        }
    }
    helper::placed(&namespace)
        .and_then(|()| helper::named(&name))
        .map_err(|why| message!("failed to create token: {why}"))?;
    let path = format!(
        "/api/v1/namespaces/{}/serviceaccounts/{}/token",
        segment(&namespace),
        segment(&name)
    );
    let answer = ctx
        .client()?
        .json(&Call::with(http::Method::POST, path, &request))
        .await
        .map_err(|e| match e {
            Error::Status(_) | Error::Connection { .. } => message!("failed to create token: {e}"),
            other => other,
        })?;
    if ctx.output().is_empty() {
        let token = answer
            .at("status")
            .text_ptr("token")
            .filter(|t| !t.is_empty())
            .ok_or_else(|| Error::msg("failed to create token: no token in server response"))?;
        let end = if std::io::stdout().is_terminal() {
            "\n"
        } else {
            ""
        };
        return print::put(&format!("{token}{end}"));
    }
    Printer::new(&ctx, "")?.ordered(Order::Typed).print(&answer)
}
