//! What kinds do that a line in `kinds.txt` cannot say, and what shows in validation, defaults and conversions of one group: one file or folder a kind,
//! in the folder of its group. `../strategies.rs` binds each to its kind.

pub mod admissionregistration {
    mod conditions;
    pub mod mutating_admission_policy;
    pub mod mutating_admission_policy_binding;
    mod policies;
    mod rules;
    mod static_names;
    pub mod validating_admission_policy;
    pub mod validating_admission_policy_binding;
    pub mod webhooks;
}

pub mod apiextensions {
    mod approval;
    mod columns;
    mod conversion;
    mod cost;
    pub mod custom_resource_definition;
    mod defaults;
    mod field_path;
    mod formats;
    mod hub;
    mod judge;
    mod keywords;
    mod lists;
    mod names;
    mod options;
    mod rules;
    mod schema;
    mod scope;
    mod selectable;
    mod spec;
    mod structure;
    #[cfg(test)]
    mod tests;
}

pub mod apiregistration {
    pub mod api_service;
}

pub mod apps {
    pub mod controller_revision;
    pub mod daemon_set;
    pub mod defaults;
    pub mod deployment;
    pub mod replica_set;
    pub mod stateful_set;
}

pub mod authorization {
    pub mod review;
}

pub mod autoscaling {
    pub mod horizontal_pod_autoscaler_v1;
    pub mod horizontal_pod_autoscaler_v2;
}

pub mod batch {
    pub mod cron_job;
    pub mod job;
}

pub mod certificates {
    pub mod certificate_signing_request;
}

pub mod coordination {
    pub mod lease;
}

pub mod core {
    pub mod config_map;
    pub mod endpoints;
    pub mod limit_range;
    pub mod namespace;
    pub mod node;
    pub mod persistent_volume;
    pub mod persistent_volume_claim;
    pub mod pod;
    pub mod pod_template;
    pub mod replication_controller;
    pub mod resource_quota;
    pub mod secret;
    pub mod service;
    pub mod service_account;
}

pub mod discovery {
    pub mod endpoint_slice;
}

pub mod events {
    mod convert;
    pub mod event;
}

pub mod flowcontrol {
    pub mod bootstrap;
    pub mod flow_schema;
    pub mod priority_level_configuration;
}

pub mod networking {
    pub mod ingress;
    pub mod ingress_class;
    pub mod ip_address;
    pub mod network_policy;
    pub mod service_cidr;
}

pub mod node {
    pub mod runtime_class;
}

pub mod policy {
    pub mod pod_disruption_budget;
}

pub mod rbac {
    pub mod rules;
}

pub mod resource {
    mod claim;
    pub mod device_class;
    mod devices;
    mod names;
    pub mod resource_claim;
    pub mod resource_claim_template;
    pub mod resource_slice;
    mod sets;
}

pub mod scheduling {
    pub mod priority_class;
}

pub mod storage {
    pub mod csi_driver;
    pub mod csi_node;
    pub mod csi_storage_capacity;
    mod parameters;
    pub mod storage_class;
    pub mod volume_attachment;
    pub mod volume_attributes_class;
}
