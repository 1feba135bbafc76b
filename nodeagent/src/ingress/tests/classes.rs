//! Which Ingresses are served.

use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use serde_json::json;

use crate::ingress::class::is_ours;

/// A class: name, controller, whether it is default, and the second in which it was made.
type Class = (&'static str, &'static str, bool, u32);
const OURS: Class = ("skiff", "skiff.dev/ingress", true, 5);
const OURS_NOT_DEFAULT: Class = ("skiff", "skiff.dev/ingress", false, 5);
const SECOND: Class = ("second", "skiff.dev/ingress", false, 5);
const NGINX: Class = ("nginx", "k8s.io/ingress-nginx", false, 1);
const NGINX_DEFAULT: Class = ("nginx", "k8s.io/ingress-nginx", true, 1);
const NGINX_NEWER: Class = ("nginx", "k8s.io/ingress-nginx", true, 9);
const TAKEN: Class = ("skiff", "example.com/other", false, 5);

fn class((name, controller, default, second): &Class) -> IngressClass {
    let annotations = json!({"ingressclass.kubernetes.io/is-default-class": default.to_string()});
    serde_json::from_value(json!({"metadata": {"name": name, "annotations": annotations, "creationTimestamp": format!("2024-01-01T00:00:{second:02}Z")},
        "spec": {"controller": controller}}))
    .unwrap()
}

#[test]
fn whose_an_ingress_is() {
    #[rustfmt::skip]
    let rows: &[(Option<&str>, Option<&str>, &[Class], bool)] = &[
        (Some("skiff"), None, &[OURS], true),
        (Some("skiff"), None, &[OURS_NOT_DEFAULT, NGINX_DEFAULT], true),
        (Some("skiff"), None, &[], false),
        (Some("skiff"), None, &[TAKEN], false),
        (Some("second"), None, &[OURS, SECOND], true),
        (Some("nginx"), None, &[OURS, NGINX], false),
        (Some("nginx"), None, &[OURS], false),
        (None, None, &[OURS], true),
        (None, None, &[OURS_NOT_DEFAULT], false),
        (None, None, &[OURS_NOT_DEFAULT, NGINX_DEFAULT], false),
        (None, None, &[OURS, NGINX_DEFAULT], true),
        (None, None, &[OURS, NGINX_NEWER], false),
        (None, None, &[], false),
        (None, Some("skiff"), &[], true),
        (None, Some("skiff"), &[NGINX_DEFAULT], true),
        (None, Some("skiff"), &[TAKEN], false),
        (None, Some("second"), &[OURS, SECOND], true),
        (None, Some("nginx"), &[OURS, NGINX], false),
        (None, Some("nginx"), &[OURS], false),
        // the annotation goes before the field
        (Some("skiff"), Some("nginx"), &[OURS, NGINX], false),
        (Some("nginx"), Some("skiff"), &[OURS, NGINX], true),
    ];
    for (field, annotation, classes, wanted) in rows {
        let annotations = annotation.map(|name| json!({"kubernetes.io/ingress.class": name}));
        let ingress: Ingress = serde_json::from_value(
            json!({"metadata": {"annotations": annotations}, "spec": {"ingressClassName": field}}),
        )
        .unwrap();
        let classes: Vec<_> = classes.iter().map(class).collect();
        let classes: Vec<_> = classes.iter().collect();
        assert_eq!(
            is_ours(&ingress, &classes),
            *wanted,
            "{field:?} {annotation:?} {classes:?}"
        );
    }
}
