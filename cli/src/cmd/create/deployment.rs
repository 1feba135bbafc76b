//! `create deployment`.
//! Invariant: a container is called after its image.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/create/create_deployment.go`.

use super::GENERATOR;
use crate::command::{Command, verb};
use crate::context::With;
use crate::error::{Result, bail};
use crate::flags::{Csv, Listed};
use crate::generate;
use serde_json::{Value, json};

pub static COMMAND: Command = Command {
    name: "deployment",
    aliases: &["deploy"],
    usage: "NAME --image=image -- [COMMAND] [args...]",
    short: "Create a deployment with the specified name",
    long: "Create a deployment of one or several images.",
    examples: "
      # Of one image
      kubectl create deployment my-dep --image=busybox
      # With a command
      kubectl create deployment my-dep --image=busybox -- date
      # Three pods
      kubectl create deployment my-dep --image=nginx --replicas=3
      # With a port
      kubectl create deployment my-dep --image=busybox --port=5701",
    required: &["image"],
    run: verb!(run: Flags),
    ..GENERATOR
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// The image to run; with several, the pod has several containers
    #[arg(long)]
    image: Vec<Csv>,
    /// The port that the container listens on
    #[arg(long, default_value = "-1")]
    port: i32,
    /// How many pods to run
    #[arg(long, short, default_value = "1")]
    replicas: i32,
}

/// A container's name, from its image: the last part of its path; one with `_` or `.` gets others for them and a random end.
fn container_name(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    let base = last.split([':', '@']).next().unwrap_or(last);
    match base.contains(['_', '.']) {
        true => format!("{}-{}", base.replace(['_', '.'], "-"), generate::suffix(5)),
        false => base.to_string(),
    }
}

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    let name = generate::name(&ctx)?;
    let (images, command) = (f.image.list(), generate::after_dash(&ctx));
    if images.len() > 1 && !command.is_empty() {
        bail!("cannot specify multiple --image options and command");
    }
    let mut containers: Vec<Value> = Vec::new();
    for image in &images {
        let mut c = json!({"name": container_name(image), "image": image, "resources": {}});
        if !command.is_empty() {
            c["command"] = json!(command);
        }
        containers.push(c);
    }
    if f.port >= 0
        && let Some(c) = containers.first_mut()
    {
        c["ports"] = json!([{"containerPort": f.port}]);
    }
    let kind = generate::kind("apps", "v1", "deployments", "Deployment", true);
    let mut object = generate::object(&ctx, &kind, &name)?;
    let labels = json!({"app": name});
    object["metadata"]["labels"] = labels.clone();
    object["spec"] = json!({"replicas": f.replicas, "selector": {"matchLabels": labels}, "strategy": {}, "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}}});
    object["status"] = json!({});
    generate::create(&ctx, &kind, object, "failed to create deployment:").await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_called_after_their_images() {
        for (image, want) in [
            ("nginx", "nginx"),
            ("a.b/c/Nginx:1.2", "Nginx"),
            ("a b", "a b"),
            ("r:5000/x@sha256:1", "x"),
        ] {
            assert_eq!(container_name(image), want);
        }
        let name = container_name("a/x_y.z:1");
        assert!(name.starts_with("x-y-z-") && name.len() == 11, "{name}");
    }
}
