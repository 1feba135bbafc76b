//! What a command's arguments and a flag's values may be: fixed words, objects and their types, pods with what is in them, names of the kubeconfig.
//! Invariant: whoever may not see objects, or has no server, gets no words and no error.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/util/completion/completion.go`.

use super::{Answer, DEFAULT, Directive, FILE_ENDINGS, NO_FILES, NO_SPACE, begun};
use crate::cmd::{api_resources, plugin, pods};
use crate::context::Ctx;
use crate::error::Result;
use crate::resource::builder::Builder;
use crate::typed::Read;
use serde_json::Value;

/// What the words are.
#[derive(Clone, Copy)]
pub enum Words {
    /// One of these.
    Fixed(&'static [&'static str]),
    /// Any of these, however the user began.
    Suggested(&'static [&'static str]),
    /// Files with one of these endings.
    Files(&'static [&'static str]),
    /// TYPE NAME… or TYPE/NAME…, of these types or of all.
    Objects {
        types: &'static [&'static str],
        several: bool,
    },
    /// One name of an object of this type.
    Names(&'static str),
    /// A pod, or what has pods.
    Pod,
    /// The same and then a container.
    PodAndContainer,
    /// The same and then a port of it.
    PodAndPort,
    /// A container of the pod that stands first.
    Container,
    /// A name of one of the kubeconfig's lists.
    Kubeconfig(&'static str),
    /// What can be copied from or to.
    Places,
}

impl Words {
    /// All types of the server, and their objects.
    pub const ANY: Words = Words::Objects {
        types: &[],
        several: true,
    };

    /// What can be scaled.
    pub const SCALED: Words = Words::Objects {
        types: &[
            "deployment",
            "replicaset",
            "replicationcontroller",
            "statefulset",
        ],
        several: true,
    };
    /// What is rolled out.
    pub const ROLLED: Words = Words::Objects {
        types: &["deployment", "daemonset", "statefulset"],
        several: true,
    };

    /// The words that begin as `last` does; `of_flag` where they are a flag's value.
    pub async fn answer(self, ctx: &Ctx, last: &str, of_flag: bool) -> Answer {
        let first = of_flag || ctx.args().is_empty();
        let fixed = |words: &[&str]| {
            words
                .iter()
                .filter(|w| w.starts_with(last))
                .map(|w| w.to_string())
                .collect()
        };
        match self {
            Words::Fixed(words) => {
                Answer::new(if first { fixed(words) } else { Vec::new() }, NO_FILES)
            }
            Words::Suggested(words) => {
                Answer::new(words.iter().map(|w| w.to_string()).collect(), NO_FILES)
            }
            Words::Files(endings) => Answer::new(
                endings.iter().map(|w| w.to_string()).collect(),
                FILE_ENDINGS,
            ),
            Words::Objects { types, several } => objects(ctx, types, several, last).await,
            Words::Names(kind) => Answer::new(
                if first {
                    names(ctx, kind, last).await
                } else {
                    Vec::new()
                },
                NO_FILES,
            ),
            Words::Kubeconfig(list) => Answer::new(
                if first {
                    entries(ctx, list, last)
                } else {
                    Vec::new()
                },
                NO_FILES,
            ),
            Words::Container => Answer::new(containers(ctx, last).await, NO_FILES),
            Words::Places => Answer::new(
                if first {
                    places(ctx, last).await
                } else {
                    Vec::new()
                },
                NO_SPACE,
            ),
            Words::Pod | Words::PodAndContainer | Words::PodAndPort if ctx.args().is_empty() => {
                pod(ctx, last).await
            }
            Words::PodAndContainer if ctx.args().len() == 1 => {
                Answer::new(containers(ctx, last).await, NO_FILES)
            }
            Words::PodAndPort if ctx.args().len() == 1 => {
                Answer::new(ports(ctx, last).await, NO_FILES)
            }
            Words::Pod | Words::PodAndContainer | Words::PodAndPort => {
                Answer::new(Vec::new(), NO_FILES)
            }
        }
    }
}

/// The values of flags that every command has.
pub fn of_global(flag: &str) -> Option<Words> {
    match flag {
        "namespace" => Some(Words::Names("namespace")),
        "context" => Some(Words::Kubeconfig("contexts")),
        "cluster" => Some(Words::Kubeconfig("clusters")),
        "user" => Some(Words::Kubeconfig("users")),
        _ => None,
    }
}

/// The values of flags that mean the same wherever they are.
pub fn of_shared(flag: &str) -> Option<Words> {
    match flag {
        "filename" => Some(Words::Files(&["json", "yaml", "yml"])),
        "subresource" => Some(Words::Suggested(&["status", "scale", "resize"])),
        _ => None,
    }
}

/// What is called `TYPE`, of the namespace in use.
async fn found(ctx: &Ctx, args: &[&str]) -> Result<Vec<Value>> {
    let args: Vec<String> = args.iter().map(|word| word.to_string()).collect();
    let mut builder = Builder::new(ctx)?.args(&args);
    (
        builder.selector,
        builder.field_selector,
        builder.all,
        builder.allow_empty_selector,
    ) = (None, None, false, true);
    builder.filenames.clear();
    builder.kustomize.clear();
    builder.subresource.clear();
    if builder.all_namespaces {
        (builder.all_namespaces, builder.namespace) = (false, ctx.namespace()?.0);
    }
    Ok(builder
        .find()
        .await?
        .infos
        .into_iter()
        .map(|info| info.object)
        .collect())
}

fn name(object: &Value) -> String {
    object.at("metadata").text("name").to_string()
}

async fn names(ctx: &Ctx, kind: &str, last: &str) -> Vec<String> {
    let all = found(ctx, &[kind]).await.unwrap_or_default();
    all.iter()
        .map(name)
        .filter(|name| name.starts_with(last))
        .collect()
}

/// The types that can be read; the last of several with commas between them is what is completed.
async fn types(ctx: &Ctx, allowed: &[&str], last: &str) -> Vec<String> {
    if !allowed.is_empty() {
        return allowed
            .iter()
            .filter(|t| t.starts_with(last))
            .map(|t| t.to_string())
            .collect();
    }
    let (before, last) = last.split_at(last.rfind(',').map_or(0, |comma| comma + 1));
    let all = match ctx.discovery() {
        Ok(discovery) => discovery
            .served()
            .await
            .map(|served| api_resources::readable(&served))
            .unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    all.iter()
        .filter(|t| t.starts_with(last))
        .map(|t| format!("{before}{t}"))
        .collect()
}

async fn objects(ctx: &Ctx, allowed: &[&str], several: bool, last: &str) -> Answer {
    let args = ctx.args();
    let mut answer = Answer::new(Vec::new(), NO_FILES);
    match (args.first(), last.split_once('/')) {
        (Some(kind), _) if !kind.contains('/') && (several || args.len() == 1) => {
            answer.words = names(ctx, kind, last).await;
            answer.words.retain(|word| !args[1..].contains(word));
        }
        (None, None) => answer.words = types(ctx, allowed, last).await,
        (Some(_), None) if several => {
            answer.words = types(ctx, allowed, last)
                .await
                .into_iter()
                .map(|t| t + "/")
                .collect();
            answer.directive |= NO_SPACE;
        }
        (first, Some((kind, last))) if several || first.is_none() => {
            answer.words = names(ctx, kind, last)
                .await
                .iter()
                .map(|name| format!("{kind}/{name}"))
                .collect();
            answer.words.retain(|word| !args.contains(word));
        }
        _ => {}
    }
    answer
}

/// The types whose objects have pods, or are some.
const WITH_PODS: &[&str] = &[
    "daemonsets",
    "deployments",
    "pods",
    "jobs",
    "replicasets",
    "replicationcontrollers",
    "services",
    "statefulsets",
];

async fn pod(ctx: &Ctx, last: &str) -> Answer {
    if let Some((kind, last)) = last.split_once('/') {
        return Answer::new(
            names(ctx, kind, last)
                .await
                .iter()
                .map(|name| format!("{kind}/{name}"))
                .collect(),
            NO_FILES,
        );
    }
    let mut words = names(ctx, "pod", last).await;
    let directive: Directive = if words.is_empty() {
        NO_FILES | NO_SPACE
    } else {
        NO_FILES
    };
    words.extend(
        WITH_PODS
            .iter()
            .filter(|kind| kind.starts_with(last))
            .map(|kind| format!("{kind}/")),
    );
    Answer::new(words, directive)
}

/// The pod that the first argument means.
async fn first_pod(ctx: &Ctx) -> Option<Value> {
    pods::find(ctx, ctx.args().first()?, 0.1).await.ok()
}

async fn containers(ctx: &Ctx, last: &str) -> Vec<String> {
    let Some(pod) = first_pod(ctx).await else {
        return Vec::new();
    };
    pods::names(&pod, &["initContainers", "containers"])
        .into_iter()
        .filter(|name| name.starts_with(last))
        .collect()
}

/// The ports of the first argument, behind what stands there of the local one.
async fn ports(ctx: &Ctx, last: &str) -> Vec<String> {
    let Some(word) = ctx.args().first() else {
        return Vec::new();
    };
    let listed = |of: &Value, field: &str| -> Vec<i64> {
        of.list("ports")
            .iter()
            .filter_map(|p| p[field].as_i64())
            .collect()
    };
    let numbers: Vec<i64> = match word.split_once('/') {
        Some(("service" | "services" | "svc", name)) => {
            let services = found(ctx, &["service", name]).await.unwrap_or_default();
            services
                .iter()
                .flat_map(|service| listed(service.at("spec"), "port"))
                .collect()
        }
        _ => {
            let pod = first_pod(ctx).await.unwrap_or_default();
            pod.at("spec")
                .list("containers")
                .iter()
                .flat_map(|c| listed(c, "containerPort"))
                .collect()
        }
    };
    let local = last.split(':').next().unwrap_or("");
    let shown = |port: &i64| {
        if local.is_empty() {
            format!("{port}:{port}")
        } else {
            format!("{local}:{port}")
        }
    };
    numbers
        .iter()
        .map(shown)
        .filter(|word| word.starts_with(last))
        .collect()
}

fn entries(ctx: &Ctx, list: &str, last: &str) -> Vec<String> {
    let Ok(config) = ctx.config() else {
        return Vec::new();
    };
    config
        .list(list)
        .iter()
        .map(|entry| entry.name.clone())
        .filter(|name| name.starts_with(last))
        .collect()
}

/// NAMESPACE/POD:PATH, POD:PATH, or a file of this machine.
async fn places(ctx: &Ctx, last: &str) -> Vec<String> {
    if last.starts_with(['/', '.', '~']) || last.contains(':') {
        return Vec::new();
    }
    if let Some((namespace, _)) = last.split_once('/') {
        let pods = names(&ctx.in_namespace(namespace), "pod", "").await;
        return pods
            .iter()
            .map(|pod| format!("{namespace}/{pod}:"))
            .filter(|word| word.starts_with(last))
            .collect();
    }
    let mut words: Vec<String> = names(ctx, "namespace", last)
        .await
        .iter()
        .map(|name| format!("{name}/"))
        .collect();
    words.extend(
        names(ctx, "pod", last)
            .await
            .iter()
            .map(|name| format!("{name}:")),
    );
    if last.is_empty() {
        words.extend(["./".to_string(), "/".to_string()]);
    } else if !words.is_empty() {
        words.extend(files(last));
    }
    words
}

fn files(last: &str) -> Vec<String> {
    let all = std::fs::read_dir(".").into_iter().flatten().flatten();
    let mut files: Vec<String> = all
        .map(|e| {
            e.file_name().to_string_lossy().into_owned() + if e.path().is_dir() { "/" } else { "" }
        })
        .collect();
    files.retain(|name| name.starts_with(last));
    files.sort();
    files
}

/// The plugins that stand on the path as verbs.
pub fn plugins(last: &str) -> Vec<String> {
    let mut names: Vec<String> = plugin::verbs();
    names.sort();
    names.dedup();
    names
        .iter()
        .filter_map(|name| {
            begun(
                name,
                &format!("The command {name} is a plugin installed by the user"),
                last,
            )
        })
        .collect()
}

/// What a plugin itself knows of its arguments: it has a program `kubectl_complete-NAME` for that.
pub fn of_plugin(before: &[String], last: &str) -> Option<Answer> {
    let (program, count) = plugin::completer(before)?;
    let mut command = std::process::Command::new(program);
    let Ok(output) = command
        .args(&before[count..])
        .arg(last)
        .stdin(std::process::Stdio::null())
        .output()
    else {
        return Some(Answer::default());
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let mut words: Vec<String> = said.lines().map(String::from).collect();
    let directive = words
        .last()
        .and_then(|line| line.strip_prefix(':'))
        .and_then(|number| number.parse().ok());
    if directive.is_some() {
        words.pop();
    }
    Some(Answer::new(words, directive.unwrap_or(DEFAULT)))
}
