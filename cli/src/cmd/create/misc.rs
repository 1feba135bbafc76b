//! `create namespace`, `serviceaccount`, `quota`, `poddisruptionbudget`, `priorityclass`.
//! Invariant: each makes one object from a handful of flags.
//! Behaviour follows the files of the same names in `staging/src/k8s.io/kubectl/pkg/cmd/create`.

use super::GENERATOR;
use crate::command::{Command, verb};
use crate::context::With;
use crate::error::{Result, bail, message};
use crate::generate;
use serde_json::json;

pub static NAMESPACE: Command = Command {
    name: "namespace",
    aliases: &["ns"],
    usage: "NAME [--dry-run=server|client|none]",
    short: "Create a namespace with the specified name",
    examples: "
      # A namespace
      kubectl create namespace my-namespace",
    run: verb!(namespace: ()),
    ..GENERATOR
};

pub static SERVICEACCOUNT: Command = Command {
    name: "serviceaccount",
    aliases: &["sa"],
    usage: "NAME [--dry-run=server|client|none]",
    short: "Create a service account with the specified name",
    examples: "
      # A service account
      kubectl create serviceaccount my-service-account",
    run: verb!(service_account: ()),
    ..GENERATOR
};

pub static QUOTA: Command = Command {
    name: "quota",
    aliases: &["resourcequota"],
    usage: "NAME [--hard=key1=value1,key2=value2] [--scopes=Scope1,Scope2] [--dry-run=server|client|none]",
    short: "Create a quota with the specified name",
    long: "Create a resource quota: limits on what a namespace may hold, optionally only within some scopes.",
    examples: "
      # Limits on several resources
      kubectl create quota my-quota --hard=cpu=1,memory=1G,pods=2,services=3
      # Within a scope
      kubectl create quota best-effort --hard=pods=100 --scopes=BestEffort",
    run: verb!(quota: Quota),
    ..GENERATOR
};

pub static PDB: Command = Command {
    name: "poddisruptionbudget",
    aliases: &["pdb"],
    usage: "NAME --selector=SELECTOR --min-available=N [--dry-run=server|client|none]",
    short: "Create a pod disruption budget with the specified name",
    long: "Create a budget for how many of some pods may be taken away at once.",
    examples: "
      # At least one must stay
      kubectl create poddisruptionbudget my-pdb --selector=app=rails --min-available=1
      # At least half of them
      kubectl create pdb my-pdb --selector=app=nginx --min-available=50%",
    run: verb!(pdb: Budget),
    ..GENERATOR
};

pub static PRIORITYCLASS: Command = Command {
    name: "priorityclass",
    aliases: &["pc"],
    usage: "NAME --value=VALUE --global-default=BOOL [--dry-run=server|client|none]",
    short: "Create a priority class with the specified name",
    long: "Create a priority class: a number that pods may have as their priority, and what it is for.",
    examples: "
      # A class
      kubectl create priorityclass high-priority --value=1000 --description=\"high priority\"
      # The class of pods that name none
      kubectl create priorityclass default-priority --value=1000 --global-default=true
      # Without preempting others
      kubectl create priorityclass high-priority --value=1000 --preemption-policy=\"Never\"",
    run: verb!(priority_class: PriorityClass),
    ..GENERATOR
};

#[derive(clap::Args)]
#[group(skip)]
struct PriorityClass {
    /// The priority
    #[arg(long)]
    value: i32,
    /// Whether pods that name no class get this one
    #[arg(long)]
    global_default: bool,
    /// When this class should be used
    #[arg(long)]
    description: String,
    /// Whether pods of this class preempt others: PreemptLowerPriority or Never
    #[arg(long, default_value = "PreemptLowerPriority")]
    preemption_policy: String,
}

#[derive(clap::Args)]
#[group(skip)]
struct Budget {
    /// How many pods, or what share of them, must stay
    #[arg(long)]
    min_available: String,
    /// How many pods, or what share of them, may be gone
    #[arg(long)]
    max_unavailable: String,
    /// The pods' labels (KEY=VALUE,…)
    #[arg(long)]
    selector: String,
}

#[derive(clap::Args)]
#[group(skip)]
struct Quota {
    /// The limits (RESOURCE=QUANTITY,…)
    #[arg(long)]
    hard: String,
    /// The scopes that an object must fit to count (SCOPE,…)
    #[arg(long)]
    scopes: String,
}

async fn namespace(ctx: With<()>) -> Result<()> {
    let kind = generate::kind("", "v1", "namespaces", "Namespace", false);
    let mut object = generate::object(&ctx, &kind, &generate::name(&ctx)?)?;
    object["spec"] = json!({});
    object["status"] = json!({});
    generate::create(&ctx, &kind, object, "").await
}

async fn service_account(ctx: With<()>) -> Result<()> {
    let kind = generate::kind("", "v1", "serviceaccounts", "ServiceAccount", true);
    let object = generate::object(&ctx, &kind, &generate::name(&ctx)?)?;
    generate::create(&ctx, &kind, object, "failed to create serviceaccount:").await
}

async fn quota(ctx: With<Quota>) -> Result<()> {
    let f = ctx.flags();
    let kind = generate::kind("", "v1", "resourcequotas", "ResourceQuota", true);
    let mut object = generate::object(&ctx, &kind, &generate::name(&ctx)?)?;
    object["spec"] = json!({});
    for part in f.hard.split(',').filter(|p| !p.is_empty()) {
        object["spec"]["hard"][resource_pair(part)?.0] = json!(resource_pair(part)?.1);
    }
    let scopes: Vec<&str> = f.scopes.split(',').collect();
    if !f.scopes.is_empty() {
        if scopes.contains(&"") {
            bail!("invalid resource quota scope \"\"");
        }
        object["spec"]["scopes"] = json!(scopes);
    }
    object["status"] = json!({});
    generate::create(&ctx, &kind, object, "failed to create quota:").await
}

fn resource_pair(part: &str) -> Result<(&str, &str)> {
    let (name, amount) = part
        .split_once('=')
        .filter(|(_, a)| !a.contains('='))
        .ok_or_else(|| message!("Invalid argument syntax {part}, expected <resource>=<value>"))?;
    if crate::describe::quantity::parse(amount).is_none() {
        bail!(
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        );
    }
    Ok((name, amount))
}

async fn pdb(ctx: With<Budget>) -> Result<()> {
    let f = ctx.flags();
    let name = generate::name(&ctx)?;
    let (min, max, selector) = (
        f.min_available.as_str(),
        f.max_unavailable.as_str(),
        f.selector.as_str(),
    );
    if selector.is_empty() {
        bail!("a selector must be specified");
    }
    match (min.is_empty(), max.is_empty()) {
        (true, true) => {
            bail!("one of min-available or max-unavailable must be specified");
        }
        (false, false) => {
            bail!("min-available and max-unavailable cannot be both specified");
        }
        _ => {}
    }
    let ok = |t: &str| t.strip_suffix('%').unwrap_or(t).parse::<u32>().is_ok();
    for (text, flag) in [(min, "min-available"), (max, "max-unavailable")] {
        if !text.is_empty() && !ok(text) {
            bail!("invalid format specified for {flag}");
        }
    }
    let kind = generate::kind(
        "policy",
        "v1",
        "poddisruptionbudgets",
        "PodDisruptionBudget",
        true,
    );
    let mut object = generate::object(&ctx, &kind, &name)?;
    object["spec"] = json!({"selector": generate::label_selector(selector)?});
    for (text, field) in [(min, "minAvailable"), (max, "maxUnavailable")] {
        if !text.is_empty() {
            object["spec"][field] = generate::int_or_string(text);
        }
    }
    object["status"] = json!({"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0});
    generate::create(
        &ctx,
        &kind,
        object,
        "failed to create poddisruptionbudgets:",
    )
    .await
}

async fn priority_class(ctx: With<PriorityClass>) -> Result<()> {
    let f = ctx.flags();
    let kind = generate::kind(
        "scheduling.k8s.io",
        "v1",
        "priorityclasses",
        "PriorityClass",
        false,
    );
    let mut object = generate::object(&ctx, &kind, &generate::name(&ctx)?)?;
    object["value"] = json!(f.value);
    if f.global_default {
        object["globalDefault"] = json!(true);
    }
    if !f.description.is_empty() {
        object["description"] = json!(f.description);
    }
    object["preemptionPolicy"] = json!(f.preemption_policy);
    generate::create(&ctx, &kind, object, "failed to create priorityclass:").await
}
