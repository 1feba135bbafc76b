//! What can be told of a failure without asking anybody: from its words, the command's flags, the kubeconfig and files.
//! Invariant: a rule that does not fit says nothing.

use super::{Mistake, between, nearest};
use crate::flags;
use crate::typed::Read;

/// All that the rules say.
pub fn notes(mistake: &Mistake) -> Vec<String> {
    let lines = RULES.iter().flat_map(|rule| rule(mistake));
    let words = WORDS.iter().filter(|(words, _)| {
        let mut all = words.split('…');
        all.all(|part| mistake.text.contains(part))
    });
    let mut notes: Vec<String> = lines.collect();
    notes.extend(words.flat_map(|(_, said)| said.lines().map(|line| fill(line, mistake))));
    // what has been told of a command is not told twice
    notes.retain(|note| {
        let command = note.rsplit(": ").next().unwrap_or(note);
        !note.is_empty() && !mistake.text.contains(command)
    });
    notes
}

type Rule = fn(&Mistake) -> Vec<String>;

const RULES: &[Rule] = &[
    flag,
    value,
    required,
    name,
    context,
    file,
    format,
    yaml,
    no_version,
    sub_command,
];

/// What is said of failures with certain words; `…` stands between several. `PROGRAM`, `NAMESPACE` and `OBJECT` are put in.
const WORDS: &[(&str, &str)] = &[
    (
        "The connection to the server … was refused",
        "is a cluster running there? PROGRAM status tells, PROGRAM up starts one",
    ),
    (
        "You must be logged in to the server",
        "the server does not know these credentials: PROGRAM config view --minify shows which are sent",
    ),
    (
        "is forbidden: User \"",
        "who you are: PROGRAM auth whoami\nwhat you may do: PROGRAM auth can-i --list -n NAMESPACE",
    ),
    (
        "exceeded quota",
        "what is used up: PROGRAM describe quota -n NAMESPACE",
    ),
    (
        "Error from server (AlreadyExists)",
        "to change what is there: PROGRAM apply -f FILE, or PROGRAM edit",
    ),
    (
        "Error from server (Conflict)",
        "it was changed since it was read: read it again and try once more",
    ),
    (
        "Apply failed with … conflict",
        "to take these fields over: --force-conflicts",
    ),
    (
        "field is immutable",
        "this field cannot change: PROGRAM replace --force -f FILE makes the object anew",
    ),
    (
        "may not change fields other than",
        "a pod's spec is fixed: change the template of what made it, or PROGRAM replace --force -f FILE",
    ),
    (
        "unknown authority",
        "the kubeconfig's certificate-authority is not the server's: PROGRAM config view --minify",
    ),
    (
        "no such host",
        "the server's name is not known: PROGRAM config view --minify shows the address",
    ),
    (
        "field label not supported",
        "most kinds can be chosen by metadata.name and metadata.namespace alone; by labels: -l KEY=VALUE",
    ),
    (
        "Metrics API not available",
        "PROGRAM up serves it, and PROGRAM server with --resource-metrics",
    ),
    (
        "timed out waiting for the condition on ",
        "what holds it up: PROGRAM why OBJECT -n NAMESPACE",
    ),
    (
        "ensure CRDs are installed first",
        "what is served: PROGRAM api-resources",
    ),
    (
        "unable to parse requirement",
        "selectors look like app=web, 'app in (a,b)', app!=web, '!app'",
    ),
    (
        "Invalid timeout value. Timeout must be",
        "for example: --request-timeout=30s, or 0 for no limit",
    ),
    (
        "error: failed to create … already exists",
        "to change what is there: PROGRAM apply -f FILE, or PROGRAM edit",
    ),
    (
        "already has … taint(s) with same effect(s) and --overwrite is false",
        "to change them, add --overwrite",
    ),
    (
        "already has a value (…), and --overwrite is false",
        "to change it, add --overwrite",
    ),
    (
        "cannot delete Pods that declare no controller",
        "nothing makes these pods anew: --force takes them all the same",
    ),
    (
        "cannot delete Pods with local storage",
        "what is in them is lost: --delete-emptydir-data takes them all the same",
    ),
    (
        "Cannot evict pod as it would violate the pod's disruption budget",
        "which budget: PROGRAM get pdb -A",
    ),
    (
        "did you specify the right host or port?",
        "which one is used: PROGRAM config view --minify",
    ),
    (
        "resource(s) were provided, but no name was specified",
        "name them, or take all with --all, or some with -l KEY=VALUE",
    ),
    (
        "you must specify at least one command for the container",
        "the command stands behind two dashes: PROGRAM exec POD -- COMMAND",
    ),
    (
        "at least one resource name must be specified since 'all' parameter is not set",
        "name a node, or take all with --all",
    ),
    (
        "at least one taint update is required",
        "a taint looks like KEY=VALUE:NoSchedule; KEY- removes it",
    ),
    (
        "invalid taint effect",
        "effects are NoSchedule, PreferNoSchedule and NoExecute",
    ),
    (
        "at least one label update is required",
        "a label looks like KEY=VALUE; KEY- removes it",
    ),
    (
        "at least one annotation update is required",
        "an annotation looks like KEY=VALUE; KEY- removes it",
    ),
    (
        "kustomization.yaml', 'kustomization.yml' or 'Kustomization'",
        "-k takes a folder with a kustomization; for plain manifests: -f FOLDER",
    ),
    (
        "Metadata.Namespace … does not match",
        "the file names another namespace: leave -n out, or the file's namespace",
    ),
    (
        "the namespace from the provided object",
        "the file names its namespace itself: leave -n out, or take it out of the file",
    ),
    (
        "unrecognized condition",
        "conditions look like condition=Ready, jsonpath='{.status.phase}'=Running, create, delete",
    ),
    (
        "cannot unmarshal number into Go struct field … of type string",
        "it must be a text: put quotes around the value",
    ),
    (
        "cannot unmarshal bool into Go struct field … of type string",
        "it must be a text: put quotes around the value",
    ),
    (
        "cannot unmarshal string into Go struct field … of type int",
        "it must be a number: take the quotes away",
    ),
    (
        "cannot unmarshal object into Go struct field … of type []",
        "it must be a list: begin each item with a dash",
    ),
    (
        "does not match template `labels`",
        "spec.selector.matchLabels must be among spec.template.metadata.labels",
    ),
];

fn fill(line: &str, mistake: &Mistake) -> String {
    let namespace = mistake.ctx.and_then(|ctx| ctx.namespace().ok());
    let namespace = namespace.map_or_else(|| "default".into(), |(name, _)| name);
    let object = mistake
        .text
        .rsplit_once(" on ")
        .map_or("", |(_, o)| o.trim());
    line.replace("PROGRAM", "skiff")
        .replace("NAMESPACE", &namespace)
        .replace("OBJECT", object)
}

/// An unknown flag: the nearest of the command's.
fn flag(mistake: &Mistake) -> Vec<String> {
    let Some((found, (_, rest))) = mistake
        .found
        .zip(mistake.text.split_once("unknown flag: --"))
    else {
        return vec![];
    };
    let word = rest.split_whitespace().next().unwrap_or("");
    let whole = found.command.whole();
    let names: Vec<&str> = whole.get_arguments().filter_map(|a| a.get_long()).collect();
    let near = nearest(word, names.iter().copied());
    near.map(|name| format!("did you mean --{name}?"))
        .into_iter()
        .collect()
}

/// A flag's value that is none: what the flag is for.
fn value(mistake: &Mistake) -> Vec<String> {
    let found = mistake.found;
    let name = between(&mistake.text, "\" for \"--", "\" flag")
        .or_else(|| between(&mistake.text, "\" for \"-", "\" flag"));
    let (Some(found), Some(name)) = (found, name) else {
        return vec![];
    };
    let name = name.rsplit("--").next().unwrap_or(name);
    let whole = found.command.whole();
    let help = flags::named(&whole, name).and_then(|arg| arg.get_help().cloned());
    help.map(|help| format!("--{name}: {help}"))
        .into_iter()
        .collect()
}

/// Flags that are missing: what they are for, and an example that has them.
fn required(mistake: &Mistake) -> Vec<String> {
    let names = between(&mistake.text, "required flag(s) ", " not set");
    let (Some(found), Some(names)) = (mistake.found, names) else {
        return vec![];
    };
    let whole = found.command.whole();
    let names: Vec<&str> = names.split(", ").map(|n| n.trim_matches('"')).collect();
    let mut out: Vec<String> = names
        .iter()
        .filter_map(|name| {
            let help = flags::named(&whole, name)?.get_help()?.clone();
            Some(format!("--{name}: {help}"))
        })
        .collect();
    let mut examples = found.command.examples.lines().map(str::trim);
    let example = examples.find(|line| names.iter().all(|n| line.contains(&format!("--{n}"))));
    out.extend(example.map(|line| format!("for example: {}", line.replace("kubectl", "skiff"))));
    out
}

/// A name that is missing: an example that has one.
fn name(mistake: &Mistake) -> Vec<String> {
    let Some(found) = mistake
        .found
        .filter(|_| mistake.text.contains("NAME is required"))
    else {
        return vec![];
    };
    let mut examples = found.command.examples.lines().map(str::trim);
    let example = examples.find(|line| line.starts_with("kubectl"));
    example
        .map(|line| format!("for example: {}", line.replace("kubectl", "skiff")))
        .into_iter()
        .collect()
}

/// A context, cluster or user that the kubeconfig has not.
fn context(mistake: &Mistake) -> Vec<String> {
    const MISSING: &[(&str, &str)] = &[
        ("context was not found for specified context: ", "contexts"),
        ("no context exists with the name: ", "contexts"),
        ("no server found for cluster ", "clusters"),
        ("auth info ", "users"),
    ];
    let Some(config) = mistake.ctx.and_then(|ctx| ctx.config().ok()) else {
        return vec![];
    };
    let found = MISSING.iter().find_map(|(words, list)| {
        let (_, rest) = mistake.text.split_once(words)?;
        let name = rest.split_whitespace().next()?;
        Some((name.trim_matches(['"', '.']), *list))
    });
    let Some((name, list)) = found else {
        return vec![];
    };
    let known: Vec<&str> = config.list(list).iter().map(|e| e.name.as_str()).collect();
    match nearest(name, known.iter().copied()) {
        Some(near) => vec![format!("did you mean {near}?")],
        None if known.is_empty() => vec![format!("the kubeconfig has no {list}")],
        None => vec![format!("{list} of the kubeconfig: {}", known.join(", "))],
    }
}

/// A file that is not there: the nearest beside it.
fn file(mistake: &Mistake) -> Vec<String> {
    let Some(path) = between(&mistake.text, "the path \"", "\" does not exist") else {
        return vec![];
    };
    let path = std::path::Path::new(path);
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("");
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    let shown = folder.unwrap_or(std::path::Path::new("."));
    let Ok(entries) = std::fs::read_dir(shown) else {
        return vec![format!("there is no folder {}", shown.display())];
    };
    let names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => vec![format!(
            "did you mean {}?",
            path.with_file_name(near).display()
        )],
        None => vec![],
    }
}

/// A format that the verb has not.
fn format(mistake: &Mistake) -> Vec<String> {
    let word = between(&mistake.text, "for the output format \"", "\"");
    let allowed = mistake.text.split_once("allowed formats are: ");
    let (Some(word), Some((_, allowed))) = (word, allowed) else {
        return vec![];
    };
    let near = nearest(word, allowed.trim().split(','));
    near.map(|name| format!("did you mean -o {name}?"))
        .into_iter()
        .collect()
}

/// YAML that cannot be read: the line, and where its text begins.
fn yaml(mistake: &Mistake) -> Vec<String> {
    let file = between(&mistake.text, "error parsing ", ": ");
    let line = between(&mistake.text, "yaml: line ", ":").and_then(|n| n.parse::<usize>().ok());
    let (Some(file), Some(number)) = (file, line) else {
        return vec![];
    };
    let Ok(text) = std::fs::read_to_string(file) else {
        return vec![];
    };
    let Some(line) = text.lines().nth(number.saturating_sub(1)) else {
        return vec![];
    };
    let column = line.len() - line.trim_start().len() + 1;
    let mut out = vec![format!("{file}:{number}:{column}: {}", line.trim())];
    if line.starts_with('\t') || line.trim_start_matches(' ').starts_with('\t') {
        out.push("YAML is indented with spaces, not with tabs".into());
    }
    out
}

/// A manifest without its version: the one that its kind is served in.
fn no_version(mistake: &Mistake) -> Vec<String> {
    let file = between(&mistake.text, "error validating \"", "\"");
    let (Some(file), true) = (file, mistake.text.contains("apiVersion not set")) else {
        return vec![];
    };
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let documents = crate::yaml::read_lax(&text).unwrap_or_default();
    let kind = documents.iter().find_map(|d| {
        let without = d.value.text("apiVersion").is_empty();
        d.value.text_ptr("kind").filter(|_| without)
    });
    let version = kind.and_then(|kind| {
        let versions = [
            "v1",
            "apps/v1",
            "batch/v1",
            "networking.k8s.io/v1",
            "rbac.authorization.k8s.io/v1",
            "autoscaling/v2",
            "policy/v1",
            "storage.k8s.io/v1",
        ];
        versions
            .into_iter()
            .find(|v| crate::typed::of(v, kind).is_some())
    });
    version
        .map(|version| {
            format!(
                "{file}: a {} wants apiVersion: {version}",
                kind.unwrap_or("")
            )
        })
        .into_iter()
        .collect()
}

/// A sub-command that is not there.
fn sub_command(mistake: &Mistake) -> Vec<String> {
    let Some(found) = mistake.found.filter(|f| !f.command.subcommands.is_empty()) else {
        return vec![];
    };
    let words = between(&mistake.text, "unknown command \"", "\"").unwrap_or("");
    let word = words.split_whitespace().next().unwrap_or("");
    if word.is_empty() || mistake.text.contains("Did you mean this?") {
        return vec![];
    }
    let names: Vec<&str> = found.command.subcommands.iter().map(|c| c.name).collect();
    match nearest(word, names.iter().copied()) {
        Some(near) => vec![format!("did you mean {} {near}?", found.path)],
        None => vec![],
    }
}
