//! What is measured, asked of the metrics APIs where they are served: `metrics.k8s.io`, `custom.metrics.k8s.io`, `external.metrics.k8s.io`.
//!
//! Invariant: an API that is not served is an error with upstream's words, never "no usage". Follows
//! pkg/controller/podautoscaler/metrics/client.go and k8s.io/metrics/pkg/client.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{
    api::autoscaling::v2::CrossVersionObjectReference, apimachinery::pkg::apis::meta::v1::Time,
};
use serde::Deserialize;
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::{quantity::Quantity, selector::Selector, url::query_value};

use super::{
    replicas::{PodMetric, PodMetrics},
    why::Why,
};
use crate::{api::segment, discovery::ApiResource, prelude::*};

const CUSTOM: &str = "custom.metrics.k8s.io";
const VERSIONS: [&str; 2] = ["v1beta2", "v1beta1"];
/// What a custom metric that says nothing else covers.
const DEFAULT_WINDOW: i64 = 60;

#[derive(Deserialize)]
struct List<T> {
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct OfPod {
    metadata: Named,
    timestamp: Time,
    window: String,
    #[serde(default)]
    containers: Vec<OfContainer>,
}

#[derive(Deserialize)]
struct OfContainer {
    name: String,
    #[serde(default)]
    usage: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Value {
    #[serde(default)]
    described_object: Option<Named>,
    timestamp: Time,
    #[serde(alias = "window")]
    window_seconds: Option<i64>,
    value: String,
}

fn milli(text: &str) -> Result<i64, Why> {
    text.parse::<Quantity>()
        .map(|quantity| quantity.milli_value())
        .map_err(|error| format!("quantity {text}: {error}", text = GoQuoted(&text)).into())
}

/// `1m30s`, `30.5s`: the durations of Go that a window is written in.
fn duration(text: &str) -> Option<Duration> {
    let (mut rest, mut total) = (text, 0.0);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let unit_end = rest[end..]
            .find(|c: char| c.is_ascii_digit())
            .map_or(rest.len(), |at| at + end);
        let unit = match &rest[end..unit_end] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total += number * unit;
        rest = &rest[unit_end..];
    }
    Duration::try_from_secs_f64(total).ok()
}

const ABSENT: &str = "the server could not find the requested resource";

/// What client-go says of an answer that says nothing of its own.
fn words(error: Error, resource: &str) -> String {
    let Some(status) = error
        .status()
        .filter(|status| status.reason.is_empty() || status.message == ABSENT)
    else {
        return error.to_string();
    };
    let text = match status.code {
        404 => ABSENT.to_string(),
        405 => "the server does not allow this method on the requested resource".to_string(),
        403 => status.message.trim().to_string(),
        503 => "the server is currently unable to handle the request".to_string(),
        504 => "the server was unable to return a response in the time allotted, but may still be processing the request".to_string(),
        429 => "the server has received too many requests and has asked us to try again later".to_string(),
        code if code >= 500 => format!("an error on the server ({}) has prevented the request from succeeding", GoQuoted(&status.message.trim())),
        code => format!("the server responded with the status code {code} but did not return more information"),
    };
    format!("{text} (get {resource})")
}

/// Asks the metrics APIs.
pub struct Client<'a> {
    pub api: &'a Api,
    /// What the server has, for custom metrics of objects.
    pub resources: &'a [ApiResource],
}

impl Client<'_> {
    async fn list<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        resource: &str,
    ) -> Result<Vec<T>, Why> {
        Ok(self
            .api
            .get_path::<List<T>>(path)
            .await
            .map_err(|error| words(error, resource))?
            .items)
    }

    /// A resource of pods, or of one of their containers.
    pub async fn resource(
        &self,
        resource: &str,
        namespace: &str,
        selector: &Selector,
        container: &str,
    ) -> Result<PodMetrics, Why> {
        let path = format!(
            "/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods?labelSelector={}",
            query_value(&selector.to_string())
        );
        let found: Vec<OfPod> = self
            .list(&path, "pods.metrics.k8s.io")
            .await
            .map_err(|error| {
                format!("unable to fetch metrics from resource metrics API: {error}")
            })?;
        if found.is_empty() {
            return Err("no metrics returned from resource metrics API".into());
        }
        let mut metrics = PodMetrics::new();
        for pod in found {
            let mut meant = pod
                .containers
                .iter()
                .filter(|each| container.is_empty() || each.name == container)
                .peekable();
            let (mut sum, mut missing) = (0, meant.peek().is_none());
            for each in meant {
                match each.usage.get(resource) {
                    Some(usage) => sum += milli(usage)?,
                    None => missing = true,
                }
            }
            if !missing {
                let window = duration(&pod.window)
                    .ok_or_else(|| format!("window {} is no duration", GoQuoted(&pod.window)))?;
                metrics.insert(
                    pod.metadata.name,
                    PodMetric {
                        value: sum,
                        timestamp: pod.timestamp.0,
                        window,
                    },
                );
            }
        }
        Ok(metrics)
    }

    async fn custom(&self, path: &str, resource: &str) -> Result<Vec<Value>, Why> {
        let served = |version: &&&str| {
            self.resources
                .iter()
                .any(|r| r.group == CUSTOM && r.version == ***version)
        };
        let version = VERSIONS.iter().find(served);
        // a group may be served whose resources are not told
        let Some(version) = version.or_else(|| {
            self.resources
                .iter()
                .any(|r| r.group == CUSTOM)
                .then_some(&VERSIONS[0])
        }) else {
            return Err(Why::from(format!(
                "unable to fetch metrics from custom metrics API: no custom metrics API ({CUSTOM}) registered"
            )));
        };
        let path = format!("/apis/{CUSTOM}/{version}/{path}");
        self.list(&path, &format!("{resource}.{CUSTOM}"))
            .await
            .map_err(|error| {
                format!("unable to fetch metrics from custom metrics API: {error}").into()
            })
    }

    /// A custom metric of pods.
    pub async fn of_pods(
        &self,
        metric: &str,
        namespace: &str,
        selector: &Selector,
        of_metric: &Selector,
    ) -> Result<PodMetrics, Why> {
        let (pods, metrics) = (
            query_value(&selector.to_string()),
            query_value(&of_metric.to_string()),
        );
        let path = format!(
            "namespaces/{namespace}/pods/*/{}?labelSelector={pods}&metricLabelSelector={metrics}",
            segment(metric)
        );
        let found = self.custom(&path, "pods").await?;
        if found.is_empty() {
            return Err("no metrics returned from custom metrics API".into());
        }
        let read = |value: Value| {
            let window = Duration::from_secs(
                u64::try_from(value.window_seconds.unwrap_or(DEFAULT_WINDOW)).unwrap_or(0),
            );
            let metric = PodMetric {
                value: milli(&value.value)?,
                timestamp: value.timestamp.0,
                window,
            };
            Ok((
                value
                    .described_object
                    .map(|object| object.name)
                    .unwrap_or_default(),
                metric,
            ))
        };
        found.into_iter().map(read).collect()
    }

    /// A custom metric of one object, in thousandths.
    pub async fn of_object(
        &self,
        metric: &str,
        namespace: &str,
        object: &CrossVersionObjectReference,
        of_metric: &Selector,
    ) -> Result<i64, Why> {
        let version = object.api_version.as_deref().unwrap_or("");
        let group = version.rsplit_once('/').map_or("", |(group, _)| group);
        let query = format!(
            "metricLabelSelector={}",
            query_value(&of_metric.to_string())
        );
        let (path, resource) = if group.is_empty() && object.kind == "Namespace" {
            (
                format!("namespaces/{namespace}/metrics/{}?{query}", segment(metric)),
                "metrics".to_string(),
            )
        } else {
            let of_kind = self
                .resources
                .iter()
                .find(|r| r.group == group && r.kind == object.kind && !r.resource.contains('/'));
            let Some(found) = of_kind else {
                let kind = if group.is_empty() {
                    object.kind.clone()
                } else {
                    format!("{}.{group}", object.kind)
                };
                let why = format!(
                    "no matches for kind {} in group {group}",
                    GoQuoted(&object.kind),
                    group = GoQuoted(&group)
                );
                return Err(Why::from(format!(
                    "unable to fetch metrics from custom metrics API: unable to map kind {kind} to resource: {why}"
                )));
            };
            let resource = if group.is_empty() {
                found.resource.clone()
            } else {
                format!("{}.{group}", found.resource)
            };
            (
                format!(
                    "namespaces/{namespace}/{resource}/{}/{}?{query}",
                    segment(&object.name),
                    segment(metric)
                ),
                resource,
            )
        };
        let found = self.custom(&path, &resource).await?;
        match found.as_slice() {
            [one] => milli(&one.value),
            more => Err(Why(format!(
                "unable to fetch metrics from custom metrics API: the custom metrics API server returned {} results when we asked for exactly one",
                more.len()
            ))),
        }
    }

    /// The values of an external metric, in thousandths.
    pub async fn external(
        &self,
        metric: &str,
        namespace: &str,
        of_metric: &Selector,
    ) -> Result<Vec<i64>, Why> {
        let (name, selector) = (segment(metric), query_value(&of_metric.to_string()));
        let path = format!(
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{name}?labelSelector={selector}"
        );
        let resource = format!("{metric}.external.metrics.k8s.io");
        let found: Vec<Value> = self.list(&path, &resource).await.map_err(|error| {
            format!("unable to fetch metrics from external metrics API: {error}")
        })?;
        if found.is_empty() {
            return Err("no metrics returned from external metrics API".into());
        }
        found.iter().map(|value| milli(&value.value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_watching::status::Status;

    #[test]
    fn durations() {
        for (text, wanted) in [
            ("30s", Some(30_000)),
            ("1m0s", Some(60_000)),
            ("1h2m3.5s", Some(3_723_500)),
            ("15.5ms", Some(15)),
            ("30", None),
            ("3x", None),
        ] {
            assert_eq!(duration(text).map(|d| d.as_millis()), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_said_of_an_api_that_is_not_served() {
        let error = |code: u16, message: &str, reason: &str| {
            Error::Refused(Box::new(Status {
                code,
                message: message.into(),
                reason: reason.into(),
                ..Status::default()
            }))
        };
        #[rustfmt::skip]
        let cases = [
            (error(404, "404 page not found\n", ""), "the server could not find the requested resource (get pods.metrics.k8s.io)"),
            (error(404, ABSENT, "NotFound"), "the server could not find the requested resource (get pods.metrics.k8s.io)"),
            (error(503, "", ""), "the server is currently unable to handle the request (get pods.metrics.k8s.io)"),
            (error(403, "pods is forbidden", "Forbidden"), "pods is forbidden"),
        ];
        for (given, wanted) in cases {
            assert_eq!(words(given, "pods.metrics.k8s.io"), wanted);
        }
    }

    #[test]
    fn queries_are_query_value() {
        assert_eq!(query_value("a=b,c in (d)"), "a%3Db%2Cc%20in%20%28d%29");
    }
}
