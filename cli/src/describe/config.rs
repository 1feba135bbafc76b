//! Config maps, secrets and service accounts.
//! Invariant: a secret's values are never shown, only their length.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go`.

use super::text::{head, list, multiline, s, scalar};
use super::{Kube, Out};
use crate::client::segment;
use crate::error::Result;
use base64::Engine;
use serde_json::Value;

fn length(v: &Value) -> usize {
    base64::engine::general_purpose::STANDARD
        .decode(v.as_str().unwrap_or(""))
        .map_or(0, |b| b.len())
}

pub async fn config_map(kube: Kube, o: Value) -> Result<Out> {
    let mut out = Out::default();
    head(&mut out, &o);
    out.put(0, "\nData\n====\n");
    for (k, v) in o["data"].as_object().into_iter().flatten() {
        out.put(0, format!("{k}:\n----\n"));
        out.put(0, format!("{}\n\n", scalar(v)));
    }
    out.put(0, "\nBinaryData\n====\n");
    for (k, v) in o["binaryData"].as_object().into_iter().flatten() {
        out.put(0, format!("{k}: {} bytes\n", length(v)));
    }
    out.put(0, "\n");
    kube.events(&mut out, &o).await;
    Ok(out)
}

pub async fn secret(_: Kube, o: Value) -> Result<Out> {
    let mut out = Out::default();
    head(&mut out, &o);
    out.put(0, format!("\nType:\t{}\n", s(&o, "type")));
    out.put(0, "\nData\n====\n");
    for (k, v) in o["data"].as_object().into_iter().flatten() {
        if k == "token" && s(&o, "type") == "kubernetes.io/service-account-token" {
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(v.as_str().unwrap_or(""))
                .unwrap_or_default();
            out.put(0, format!("{k}:\t{}\n", String::from_utf8_lossy(&bytes)));
        } else {
            out.put(0, format!("{k}:\t{} bytes\n", length(v)));
        }
    }
    Ok(out)
}

pub async fn service_account(kube: Kube, o: Value) -> Result<Out> {
    let mut out = Out::default();
    head(&mut out, &o);
    let pull: Vec<String> = list(&o, "imagePullSecrets")
        .iter()
        .map(|r| s(r, "name").to_string())
        .collect();
    multiline(&mut out, "Image pull secrets", &pull);
    let name = s(&o["metadata"], "name");
    let secrets = kube
        .items(
            &format!(
                "/api/v1/namespaces/{}/secrets",
                segment(s(&o["metadata"], "namespace"))
            ),
            &[("fieldSelector", "type=kubernetes.io/service-account-token")],
        )
        .await;
    let tokens: Vec<String> = secrets
        .iter()
        .filter(|x| x["metadata"]["annotations"]["kubernetes.io/service-account.name"] == name)
        .map(|x| s(&x["metadata"], "name").to_string())
        .collect();
    let mountable: Vec<String> = list(&o, "secrets")
        .iter()
        .map(|r| s(r, "name").to_string())
        .collect();
    if !mountable.is_empty() {
        multiline(&mut out, "Mountable secrets", &mountable);
    }
    if !tokens.is_empty() {
        multiline(&mut out, "Tokens", &tokens);
    }
    kube.events(&mut out, &o).await;
    Ok(out)
}
