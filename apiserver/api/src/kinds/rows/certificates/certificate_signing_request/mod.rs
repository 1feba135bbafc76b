//! CertificateSigningRequest: its row.

mod columns;
mod request;
mod strategy;

use crate::kinds::{Row, Subresource, Verbs};

pub const KIND: Row = Row {
    group: "certificates.k8s.io",
    version: "v1",
    kind: "CertificateSigningRequest",
    plural: "certificatesigningrequests",
    singular: "certificatesigningrequest",
    short_names: &["csr"],
    categories: &[],
    namespaced: false,
    verbs: Verbs::All,
    subresources: &[Subresource::Approval, Subresource::Status],
    schema: "certificates.v1.CertificateSigningRequest",
    selectable: &[crate::kinds::Selectable {
        path: "spec.signerName",
        value: |r| r["spec"]["signerName"].as_str().unwrap_or("").into(),
    }],
    columns: columns::COLUMNS,
    strategy: strategy::STRATEGY,
    stored_as: None,
    storage_version: None,
};
