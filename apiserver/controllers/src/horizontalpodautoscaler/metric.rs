//! One metric of an autoscaler: what it asks for, and what its status says.
//!
//! Invariant: what cannot be computed is told by an event and a condition, with upstream's reason for that kind of metric. Follows
//! pkg/controller/podautoscaler/horizontal.go (computeReplicasForMetric and computeStatusFor…).

use k8s_openapi::{
    api::autoscaling::v2::{
        ContainerResourceMetricSource, ContainerResourceMetricStatus, ExternalMetricSource,
        ExternalMetricStatus, HorizontalPodAutoscalerCondition, MetricIdentifier, MetricSpec,
        MetricStatus, MetricTarget, MetricValueStatus, ObjectMetricSource, ObjectMetricStatus,
        PodsMetricSource, PodsMetricStatus, ResourceMetricSource, ResourceMetricStatus,
    },
    apimachinery::pkg::{api::resource::Quantity as ApiQuantity, apis::meta::v1::LabelSelector},
};
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::{
    quantity::{Format, Quantity},
    selector::Selector,
};

use super::{
    measured::Client,
    replicas::{Seen, by_average, by_share, by_utilization, by_value},
    why::Why,
};
use skiff_podspec::selector::go_text;

/// What a metric asks for.
#[derive(Debug)]
pub struct Proposal {
    pub replicas: i32,
    /// How it is called in messages.
    pub name: String,
    pub status: MetricStatus,
}

/// Why a metric asks for nothing.
#[derive(Debug)]
pub struct Failure {
    /// The reason of event and condition.
    pub reason: &'static str,
    /// The message of the event.
    pub why: String,
    /// The same, seen from farther away.
    pub error: String,
}

impl Failure {
    /// The condition that says so.
    pub fn condition(&self) -> HorizontalPodAutoscalerCondition {
        HorizontalPodAutoscalerCondition {
            type_: "ScalingActive".into(),
            status: "False".into(),
            reason: Some(self.reason.into()),
            message: Some(format!(
                "the HPA was unable to compute the replica count: {}",
                self.why
            )),
            last_transition_time: None,
        }
    }
}

/// Replicas and the metric's name; or why there are none, for the event and seen from farther away.
type Told = Result<(i32, String), (Why, Why)>;

/// What metrics are computed of.
pub struct Asked<'a> {
    pub client: Client<'a>,
    pub namespace: &'a str,
    pub selector: &'a Selector,
    pub seen: Seen<'a>,
    /// The replicas that there are, which may be others than are wanted.
    pub status_replicas: i32,
}

fn target_milli(quantity: Option<&ApiQuantity>) -> Result<Option<i64>, Why> {
    let read = |quantity: &ApiQuantity| {
        quantity
            .0
            .parse::<Quantity>()
            .map(|q| q.milli_value())
            .map_err(|e| format!("quantity {}: {e}", GoQuoted(&quantity.0)).into())
    };
    quantity.map(read).transpose()
}

fn quantity(milli: i64, binary: bool) -> Option<ApiQuantity> {
    let format = if binary {
        Format::BinarySi
    } else {
        Format::DecimalSi
    };
    Some(ApiQuantity(Quantity::from_milli(milli, format).to_string()))
}

fn of_metric(selector: Option<&LabelSelector>) -> Result<Selector, Why> {
    let value = selector
        .map(serde_json::to_value)
        .transpose()
        .map_err(|e| e.to_string())?;
    Selector::from_label_selector(value.as_ref()).map_err(|e| e.to_string().into())
}

impl Asked<'_> {
    /// What one metric asks for.
    pub async fn compute(&self, spec: &MetricSpec) -> Result<Proposal, Failure> {
        let mut status = MetricStatus {
            type_: spec.type_.clone(),
            ..Default::default()
        };
        let kind = spec.type_.as_str();
        let (done, reason, what) = if let ("Object", Some(of)) = (kind, &spec.object) {
            let what = "object metric value".to_string();
            (
                self.object(of, &mut status).await,
                "FailedGetObjectMetric",
                what,
            )
        } else if let ("Pods", Some(of)) = (kind, &spec.pods) {
            let what = "pods metric value".to_string();
            (
                self.pods(of, &mut status).await,
                "FailedGetPodsMetric",
                what,
            )
        } else if let ("Resource", Some(of)) = (kind, &spec.resource) {
            let what = format!("{} resource metric value", of.name);
            (
                self.resource(of, &mut status).await,
                "FailedGetResourceMetric",
                what,
            )
        } else if let ("ContainerResource", Some(of)) = (kind, &spec.container_resource) {
            let (what, reason) = ("container metric value", "FailedGetContainerResourceMetric");
            (
                self.container(of, &mut status).await,
                reason,
                format!("{} {what}", of.container),
            )
        } else if let ("External", Some(of)) = (kind, &spec.external) {
            let what = format!("{} external metric value", of.metric.name);
            (
                self.external(of, &mut status).await,
                "FailedGetExternalMetric",
                what,
            )
        } else {
            let why = format!("unknown metric source type {kind}", kind = GoQuoted(&kind));
            return Err(Failure {
                reason: "InvalidMetricSourceType",
                error: why.clone(),
                why,
            });
        };
        match done {
            Ok((replicas, name)) => Ok(Proposal {
                replicas,
                name,
                status,
            }),
            Err((Why(why), inner)) => Err(Failure {
                reason,
                error: format!("failed to get {what}: {inner}"),
                why,
            }),
        }
    }

    async fn object(&self, of: &ObjectMetricSource, status: &mut MetricStatus) -> Told {
        let same = |why: Why| (why.clone(), why);
        let selector = of_metric(of.metric.selector.as_ref()).map_err(same)?;
        let object = &of.described_object;
        let (value, average) = (
            target_milli(of.target.value.as_ref()).map_err(same)?,
            target_milli(of.target.average_value.as_ref()).map_err(same)?,
        );
        let usage = async {
            let found = self
                .client
                .of_object(&of.metric.name, self.namespace, object, &selector)
                .await;
            found.map_err(|why| {
                let (metric, kind, name) = (&of.metric.name, &object.kind, &object.name);
                let on = format!("{kind} on {} {name}/{why}", self.namespace);
                Why(format!("unable to get metric {metric}: {on}"))
            })
        };
        let (proposal, current) = match (of.target.type_.as_str(), value, average) {
            ("Value", Some(target), _) => {
                let usage = usage.await.map_err(same)?;
                let replicas = by_value(&self.seen, usage, target).map_err(same)?;
                let name = format!("{} metric {}", object.kind, of.metric.name);
                ((replicas, name), MetricValueStatus { value: quantity(usage, false), ..Default::default() })
            }
            ("AverageValue", _, Some(target)) => {
                let farther = |why: Why| (why.clone(), Why(format!("failed to get {} object metric: {why}", of.metric.name)));
                let (replicas, share) = by_share(self.status_replicas, self.seen.tolerances, usage.await.map_err(farther)?, target);
                let name = format!("external metric {}({})", of.metric.name, go_text(of.metric.selector.as_ref()));
                ((replicas, name), MetricValueStatus { average_value: quantity(share, false), ..Default::default() })
            }
            _ => return Err(same("invalid object metric source: neither a value target nor an average value target was set".into())),
        };
        status.object = Some(ObjectMetricStatus {
            described_object: object.clone(),
            metric: of.metric.clone(),
            current,
        });
        Ok(proposal)
    }

    async fn pods(&self, of: &PodsMetricSource, status: &mut MetricStatus) -> Told {
        let same = |why: Why| (why.clone(), why);
        let selector = of_metric(of.metric.selector.as_ref()).map_err(same)?;
        let target = target_milli(of.target.average_value.as_ref())
            .map_err(same)?
            .unwrap_or(0);
        let found = self
            .client
            .of_pods(&of.metric.name, self.namespace, self.selector, &selector)
            .await;
        let metrics = found.map_err(|why| {
            same(format!("unable to get metric {}: {why}", of.metric.name).into())
        })?;
        let (replicas, usage) = by_average(&self.seen, metrics, "", target).map_err(same)?;
        let metric = MetricIdentifier {
            name: of.metric.name.clone(),
            selector: of.metric.selector.clone(),
        };
        status.pods = Some(PodsMetricStatus {
            metric,
            current: MetricValueStatus {
                average_value: quantity(usage, false),
                ..Default::default()
            },
        });
        Ok((replicas, format!("pods metric {}", of.metric.name)))
    }

    /// A resource of pods or of one of their containers: replicas, name, and what it is now.
    async fn usage(
        &self,
        resource: &str,
        container: &str,
        target: &MetricTarget,
    ) -> Result<(i32, String, MetricValueStatus), Why> {
        let measured = async {
            let found = self
                .client
                .resource(resource, self.namespace, self.selector, container)
                .await;
            found.map_err(|why| {
                Why(format!(
                    "unable to get metrics for resource {resource}: {why}"
                ))
            })
        };
        let is_binary = resource == "memory";
        if let Some(wanted) = target_milli(target.average_value.as_ref())? {
            let farther = |why: Why| Why(format!("failed to get {resource} usage: {why}"));
            let (replicas, usage) = by_average(
                &self.seen,
                measured.await.map_err(farther)?,
                resource,
                wanted,
            )
            .map_err(farther)?;
            let current = MetricValueStatus {
                average_value: quantity(usage, is_binary),
                ..Default::default()
            };
            return Ok((replicas, format!("{resource} resource"), current));
        }
        let Some(wanted) = target.average_utilization else {
            return Err("invalid resource metric source: neither an average utilization target nor an average value (usage) target was set".into());
        };
        let farther = |why: Why| Why(format!("failed to get {resource} utilization: {why}"));
        let (replicas, percent, usage) = by_utilization(
            &self.seen,
            measured.await.map_err(farther)?,
            resource,
            container,
            wanted,
        )
        .map_err(farther)?;
        let what = if container.is_empty() {
            "resource"
        } else {
            "container resource"
        };
        let current = MetricValueStatus {
            average_utilization: Some(percent),
            average_value: quantity(usage, is_binary),
            ..Default::default()
        };
        Ok((
            replicas,
            format!("{resource} {what} utilization (percentage of request)"),
            current,
        ))
    }

    async fn resource(&self, of: &ResourceMetricSource, status: &mut MetricStatus) -> Told {
        let (replicas, name, current) = self
            .usage(&of.name, "", &of.target)
            .await
            .map_err(|why| (why.clone(), why))?;
        status.resource = Some(ResourceMetricStatus {
            name: of.name.clone(),
            current,
        });
        Ok((replicas, name))
    }

    async fn container(
        &self,
        of: &ContainerResourceMetricSource,
        status: &mut MetricStatus,
    ) -> Told {
        let (replicas, name, current) = self
            .usage(&of.name, &of.container, &of.target)
            .await
            .map_err(|why| (why.clone(), why))?;
        status.container_resource = Some(ContainerResourceMetricStatus {
            name: of.name.clone(),
            container: of.container.clone(),
            current,
        });
        Ok((replicas, name))
    }

    async fn external(&self, of: &ExternalMetricSource, status: &mut MetricStatus) -> Told {
        let same = |why: Why| (why.clone(), why);
        let (name, shown) = (&of.metric.name, go_text(of.metric.selector.as_ref()));
        let (value, average) = (
            target_milli(of.target.value.as_ref()).map_err(same)?,
            target_milli(of.target.average_value.as_ref()).map_err(same)?,
        );
        let usage = async {
            let found = self
                .client
                .external(
                    name,
                    self.namespace,
                    &of_metric(of.metric.selector.as_ref())?,
                )
                .await;
            let values = found.map_err(|why| {
                format!(
                    "unable to get external metric {}/{name}/{shown}: {why}",
                    self.namespace
                )
            })?;
            Ok::<i64, Why>(values.into_iter().fold(0i64, i64::saturating_add))
        };
        let (replicas, current) = match (average, value) {
            (Some(target), _) => {
                let usage = usage.await.map_err(|why| (why.clone(), Why(format!("failed to get {name} external metric: {why}"))))?;
                let (replicas, share) = by_share(self.status_replicas, self.seen.tolerances, usage, target);
                (replicas, MetricValueStatus { average_value: quantity(share, false), ..Default::default() })
            }
            (None, Some(target)) => {
                let farther = |why: Why| (why.clone(), Why(format!("failed to get external metric {name}: {why}")));
                let usage = usage.await.map_err(farther)?;
                let replicas = by_value(&self.seen, usage, target).map_err(farther)?;
                (replicas, MetricValueStatus { value: quantity(usage, false), ..Default::default() })
            }
            (None, None) => return Err(same("invalid external metric source: neither a value target nor an average value target was set".into())),
        };
        status.external = Some(ExternalMetricStatus {
            metric: of.metric.clone(),
            current,
        });
        Ok((replicas, format!("external metric {name}({shown})")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_as_go_prints_them() {
        let selector: LabelSelector =
            serde_json::from_str(r#"{"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "k", "operator": "In", "values": ["x", "y"]}]}"#).unwrap();
        let wanted = "&LabelSelector{MatchLabels:map[string]string{a: b,},MatchExpressions:[]LabelSelectorRequirement{LabelSelectorRequirement{Key:k,Operator:In,Values:[x y],},},}";
        assert_eq!(
            (go_text(Some(&selector)).as_str(), go_text(None).as_str()),
            (wanted, "nil")
        );
    }

    #[test]
    fn quantities_of_memory_are_binary() {
        assert_eq!(quantity(1024 * 1024 * 1000, true).unwrap().0, "1Mi");
        assert_eq!(quantity(1500, false).unwrap().0, "1500m");
    }
}
