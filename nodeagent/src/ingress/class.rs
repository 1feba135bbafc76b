//! Which Ingresses are this proxy's.
//!
//! Invariant: pure. Whoever names a class that is another's, or that does not exist, is not served; whoever names none belongs to the default class.
//! Follows `staging/src/k8s.io/api/networking/v1/types.go` and `plugin/pkg/admission/network/defaultingressclass` upstream.

use k8s_openapi::api::networking::v1::{Ingress, IngressClass};

/// The controller that classes of this proxy name.
pub const CONTROLLER: &str = "skiff.dev/ingress";
/// The class that a cluster has from its start.
pub const NAME: &str = "skiff";
/// The annotation that came before `spec.ingressClassName`, and goes before it where it stands.
const OLD_ANNOTATION: &str = "kubernetes.io/ingress.class";
const DEFAULT_ANNOTATION: &str = "ingressclass.kubernetes.io/is-default-class";

fn is_own(class: &IngressClass) -> bool {
    let controller = class.spec.as_ref().and_then(|s| s.controller.as_deref());
    controller == Some(CONTROLLER)
}

fn named<'a>(classes: &'a [&'a IngressClass], name: &str) -> Option<&'a IngressClass> {
    let mut all = classes.iter().copied();
    all.find(|class| class.metadata.name.as_deref() == Some(name))
}

/// The newest of those that are marked as default; of equally old ones the first by name.
fn default_of<'a>(classes: &[&'a IngressClass]) -> Option<&'a IngressClass> {
    let marked = classes.iter().copied().filter(|class| {
        let annotations = class.metadata.annotations.as_ref();
        annotations
            .and_then(|a| a.get(DEFAULT_ANNOTATION))
            .map(String::as_str)
            == Some("true")
    });
    marked.min_by_key(|class| {
        let made = class
            .metadata
            .creation_timestamp
            .as_ref()
            .map(|time| time.0);
        (std::cmp::Reverse(made), class.metadata.name.clone())
    })
}

/// Whether the Ingress is to be served here.
pub fn is_ours(ingress: &Ingress, classes: &[&IngressClass]) -> bool {
    let annotations = ingress.metadata.annotations.as_ref();
    if let Some(name) = annotations.and_then(|a| a.get(OLD_ANNOTATION)) {
        // this way of naming a class needs no object of it
        return named(classes, name).map_or(name == NAME, is_own);
    }
    let spec = ingress.spec.as_ref();
    match spec.and_then(|spec| spec.ingress_class_name.as_deref()) {
        Some(name) => named(classes, name).is_some_and(is_own),
        None => default_of(classes).is_some_and(is_own),
    }
}
