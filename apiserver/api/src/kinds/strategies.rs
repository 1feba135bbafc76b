//! Binds kinds to their strategies, one line a kind. A kind that is not here says in its line that it is plain.

use super::{Strategy, rows::*};

/// The strategy of `apps/v1 Deployment`.
pub(super) fn of(kind: &str) -> Option<&'static Strategy> {
    ALL.iter()
        .find(|(of, _)| *of == kind)
        .map(|(_, strategy)| strategy)
}

#[rustfmt::skip]
static ALL: &[(&str, Strategy)] = &[
    ("v1 ConfigMap", core::config_map::STRATEGY),
    ("v1 Endpoints", core::endpoints::STRATEGY),
    ("v1 Event", events::event::CORE_STRATEGY),
    ("v1 LimitRange", core::limit_range::STRATEGY),
    ("v1 Namespace", core::namespace::STRATEGY),
    ("v1 Node", core::node::STRATEGY),
    ("v1 PersistentVolume", core::persistent_volume::STRATEGY),
    ("v1 PersistentVolumeClaim", core::persistent_volume_claim::STRATEGY),
    ("v1 Pod", core::pod::STRATEGY),
    ("v1 PodTemplate", core::pod_template::STRATEGY),
    ("v1 ReplicationController", core::replication_controller::STRATEGY),
    ("v1 ResourceQuota", core::resource_quota::STRATEGY),
    ("v1 Secret", core::secret::STRATEGY),
    ("v1 Service", core::service::STRATEGY),
    ("v1 ServiceAccount", core::service_account::STRATEGY),
    ("admissionregistration.k8s.io/v1 MutatingAdmissionPolicy", admissionregistration::mutating_admission_policy::STRATEGY),
    ("admissionregistration.k8s.io/v1 MutatingAdmissionPolicyBinding", admissionregistration::mutating_admission_policy_binding::STRATEGY),
    ("admissionregistration.k8s.io/v1 MutatingWebhookConfiguration", admissionregistration::webhooks::MUTATING),
    ("admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy", admissionregistration::validating_admission_policy::STRATEGY),
    ("admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding", admissionregistration::validating_admission_policy_binding::STRATEGY),
    ("admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration", admissionregistration::webhooks::VALIDATING),
    ("apiextensions.k8s.io/v1 CustomResourceDefinition", apiextensions::custom_resource_definition::STRATEGY),
    ("apiregistration.k8s.io/v1 APIService", apiregistration::api_service::STRATEGY),
    ("apps/v1 ControllerRevision", apps::controller_revision::STRATEGY),
    ("apps/v1 DaemonSet", apps::daemon_set::STRATEGY),
    ("apps/v1 Deployment", apps::deployment::STRATEGY),
    ("apps/v1 ReplicaSet", apps::replica_set::STRATEGY),
    ("apps/v1 StatefulSet", apps::stateful_set::STRATEGY),
    ("authorization.k8s.io/v1 LocalSubjectAccessReview", authorization::review::LOCAL_SUBJECT),
    ("authorization.k8s.io/v1 SelfSubjectAccessReview", authorization::review::SELF_SUBJECT),
    ("authorization.k8s.io/v1 SubjectAccessReview", authorization::review::SUBJECT),
    ("autoscaling/v1 HorizontalPodAutoscaler", autoscaling::horizontal_pod_autoscaler_v1::STRATEGY),
    ("autoscaling/v2 HorizontalPodAutoscaler", autoscaling::horizontal_pod_autoscaler_v2::STRATEGY),
    ("batch/v1 CronJob", batch::cron_job::STRATEGY),
    ("batch/v1 Job", batch::job::STRATEGY),
    ("certificates.k8s.io/v1 CertificateSigningRequest", certificates::certificate_signing_request::STRATEGY),
    ("coordination.k8s.io/v1 Lease", coordination::lease::STRATEGY),
    ("discovery.k8s.io/v1 EndpointSlice", discovery::endpoint_slice::STRATEGY),
    ("events.k8s.io/v1 Event", events::event::STRATEGY),
    ("flowcontrol.apiserver.k8s.io/v1 FlowSchema", flowcontrol::flow_schema::STRATEGY),
    ("flowcontrol.apiserver.k8s.io/v1 PriorityLevelConfiguration", flowcontrol::priority_level_configuration::STRATEGY),
    ("networking.k8s.io/v1 IPAddress", networking::ip_address::STRATEGY),
    ("networking.k8s.io/v1 Ingress", networking::ingress::STRATEGY),
    ("networking.k8s.io/v1 IngressClass", networking::ingress_class::STRATEGY),
    ("networking.k8s.io/v1 NetworkPolicy", networking::network_policy::STRATEGY),
    ("networking.k8s.io/v1 ServiceCIDR", networking::service_cidr::STRATEGY),
    ("node.k8s.io/v1 RuntimeClass", node::runtime_class::STRATEGY),
    ("policy/v1 PodDisruptionBudget", policy::pod_disruption_budget::STRATEGY),
    ("rbac.authorization.k8s.io/v1 ClusterRole", rbac::rules::CLUSTER_ROLE),
    ("rbac.authorization.k8s.io/v1 ClusterRoleBinding", rbac::rules::CLUSTER_ROLE_BINDING),
    ("rbac.authorization.k8s.io/v1 Role", rbac::rules::ROLE),
    ("rbac.authorization.k8s.io/v1 RoleBinding", rbac::rules::ROLE_BINDING),
    ("resource.k8s.io/v1 DeviceClass", resource::device_class::STRATEGY),
    ("resource.k8s.io/v1 ResourceClaim", resource::resource_claim::STRATEGY),
    ("resource.k8s.io/v1 ResourceClaimTemplate", resource::resource_claim_template::STRATEGY),
    ("resource.k8s.io/v1 ResourceSlice", resource::resource_slice::STRATEGY),
    ("scheduling.k8s.io/v1 PriorityClass", scheduling::priority_class::STRATEGY),
    ("storage.k8s.io/v1 CSIDriver", storage::csi_driver::STRATEGY),
    ("storage.k8s.io/v1 CSINode", storage::csi_node::STRATEGY),
    ("storage.k8s.io/v1 CSIStorageCapacity", storage::csi_storage_capacity::STRATEGY),
    ("storage.k8s.io/v1 StorageClass", storage::storage_class::STRATEGY),
    ("storage.k8s.io/v1 VolumeAttachment", storage::volume_attachment::STRATEGY),
    ("storage.k8s.io/v1 VolumeAttributesClass", storage::volume_attributes_class::STRATEGY),
];

/// The kinds that have one.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(of, _)| *of)
}
