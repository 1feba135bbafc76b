//! Roles and bindings.
//! Invariant: rules are shown as `auth can-i --list` shows them.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go`.

use super::text::{annotations, labels, list, s};
use super::{Kube, Out, rules};
use crate::error::Result;
use serde_json::Value;

fn top(out: &mut Out, o: &Value) {
    out.field("Name", s(&o["metadata"], "name"));
    labels(out, "Labels", &o["metadata"]["labels"]);
    annotations(out, "Annotations", &o["metadata"]["annotations"]);
}

pub async fn role(_: Kube, o: Value) -> Result<Out> {
    let mut out = Out::default();
    top(&mut out, &o);
    out.put(0, "PolicyRule:\n");
    out.put(1, "Resources\tNon-Resource URLs\tResource Names\tVerbs\n");
    out.put(1, "---------\t-----------------\t--------------\t-----\n");
    rules::rows(list(&o, "rules"))
        .iter()
        .for_each(|r| out.put(1, format!("{}\t{}\t{}\t{}\n", r[0], r[1], r[2], r[3])));
    Ok(out)
}

pub async fn binding(_: Kube, o: Value) -> Result<Out> {
    let mut out = Out::default();
    top(&mut out, &o);
    out.put(0, "Role:\n");
    out.put(1, format!("Kind:\t{}\n", s(&o["roleRef"], "kind")));
    out.put(1, format!("Name:\t{}\n", s(&o["roleRef"], "name")));
    out.put(0, "Subjects:\n");
    out.put(1, "Kind\tName\tNamespace\n");
    out.put(1, "----\t----\t---------\n");
    list(&o, "subjects").iter().for_each(|x| {
        out.put(
            1,
            format!(
                "{}\t{}\t{}\n",
                s(x, "kind"),
                s(x, "name"),
                s(x, "namespace")
            ),
        )
    });
    Ok(out)
}
