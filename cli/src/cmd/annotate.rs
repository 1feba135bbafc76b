//! `annotate`: adds, changes, removes and lists annotations.
//! Invariant: an annotation that has another value is only changed with --overwrite.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/annotate/annotate.go`.

use super::marks::{self, Changes, Marks};
use crate::command::{Command, verb};
use crate::complete::Words;
use crate::error::{Result, message};

pub static COMMAND: Command = Command {
    name: "annotate",
    usage: "[--overwrite] (-f FILENAME | TYPE NAME) KEY_1=VAL_1 ... KEY_N=VAL_N [--resource-version=version]",
    short: "Update the annotations on a resource",
    long: "Set the annotations of objects: notes of any length for tools and people. A key followed by - is removed.\n\nUse \"kubectl api-resources\" for a complete list of supported resources.",
    examples: "
      # Set an annotation; with several of the same key the last one counts
      kubectl annotate pods foo description='my frontend'
      # On what a file describes
      kubectl annotate -f pod.json description='my frontend'
      # Change one that is there
      kubectl annotate --overwrite pods foo description='my frontend running nginx'
      # Remove one
      kubectl annotate pods foo description-",
    flags: marks::GROUPS,
    defaults: &[("field-manager", "kubectl-annotate")],
    run: verb!(marks::run: marks::Flags, &ANNOTATIONS),
    words: Some(Words::ANY),
    ..Command::NEW
};

static ANNOTATIONS: Marks = Marks {
    field: "annotations",
    what: "annotation",
    sample: "rsrc",
    done: Some("annotated"),
    late: false,
    lists_alone: false,
    parse,
    clash: |other| {
        let told: Vec<String> = other
            .iter()
            .map(|(k, v)| format!("'{k}' already has a value ({v})"))
            .collect();
        let told = (!told.is_empty()).then(|| told.join("; "));
        let error = |told| {
            message!("--overwrite is false but found the following declared annotation(s): {told}")
        };
        told.map(error).into_iter().collect()
    },
};

fn parse(pairs: &[String]) -> Result<Changes> {
    let mut c = Changes::default();
    for p in pairs {
        match p.split_once('=') {
            Some((k, v)) => {
                c.set.retain(|(x, _)| x != k);
                c.set.push((k.into(), v.into()));
            }
            None => c.remove.push(p[..p.len() - 1].into()),
        }
    }
    let both: Vec<&str> = c
        .remove
        .iter()
        .filter(|r| c.set.iter().any(|(k, _)| k == *r))
        .map(String::as_str)
        .collect();
    if both.is_empty() {
        Ok(c)
    } else {
        Err(message!(
            "can not both modify and remove the following annotation(s) in the same command: {}",
            both.join(", ")
        ))
    }
}
