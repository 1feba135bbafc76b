//! `label`: adds, changes, removes and lists labels.
//! Invariant: a label that has another value is only changed with --overwrite.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/label/label.go`.

use super::marks::{self, Changes, Marks};
use crate::command::{Command, verb};
use crate::complete::Words;
use crate::error::{Result, bail, message, quote};

pub static COMMAND: Command = Command {
    name: "label",
    usage: "[--overwrite] (-f FILENAME | TYPE NAME) KEY_1=VAL_1 ... KEY_N=VAL_N [--resource-version=version]",
    short: "Update the labels on a resource",
    long: "Set the labels of objects. A key followed by - is removed.\n\n A value that is there already is only changed with --overwrite.",
    examples: "
      # Set a label
      kubectl label pods foo unhealthy=true
      # Change one that is there
      kubectl label --overwrite pods foo status=unhealthy
      # On all pods of the namespace
      kubectl label pods --all status=unhealthy
      # Only if nobody changed the pod since
      kubectl label pods foo status=unhealthy --resource-version=1
      # Remove a label
      kubectl label pods foo bar-",
    flags: marks::GROUPS,
    defaults: &[("field-manager", "kubectl-label")],
    run: verb!(marks::run: marks::Flags, &LABELS),
    words: Some(Words::ANY),
    ..Command::NEW
};

static LABELS: Marks = Marks {
    field: "labels",
    what: "label",
    sample: "pod",
    done: None,
    late: true,
    lists_alone: true,
    parse,
    clash: |other| {
        let clash = |(k, v): &(&str, &str)| {
            message!("'{k}' already has a value ({v}), and --overwrite is false")
        };
        other.iter().map(clash).collect()
    },
};

fn parse(pairs: &[String]) -> Result<Changes> {
    let mut c = Changes::default();
    for p in pairs {
        match p.split_once('=') {
            Some((_, v)) if v.contains('=') => {
                bail!("invalid label spec: {p}");
            }
            Some((k, v)) => {
                let valid = v.is_empty()
                    || (v.len() <= 63
                        && v.bytes()
                            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
                        && v.as_bytes()[0].is_ascii_alphanumeric()
                        && v.as_bytes()[v.len() - 1].is_ascii_alphanumeric());
                if !valid {
                    bail!(
                        "invalid label value: {}: a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
                        quote(p)
                    );
                }
                c.set.push((k.into(), v.into()));
            }
            None => c.remove.push(p[..p.len() - 1].into()),
        }
    }
    if c.remove.iter().any(|r| c.set.iter().any(|(k, _)| k == r)) {
        bail!("can not both modify and remove a label in the same command");
    }
    Ok(c)
}
