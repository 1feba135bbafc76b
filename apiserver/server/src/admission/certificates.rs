//! CertificateApproval, CertificateSigning, CertificateSubjectRestriction: who may approve and sign certificate requests, and what nobody may ask.
//!
//! Follows `plugin/pkg/admission/certificates/{approval,signing,subjectrestriction}/admission.go`.

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::{read::Read, status::Status};

use super::plugin::{Attributes, Operation, Plugin};
use crate::auth::{self, pki::Request};

const GROUP: &str = "certificates.k8s.io";
const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";

fn concerns(attributes: &Attributes<'_>, operation: Operation, subresource: &str) -> bool {
    attributes.kind.group == GROUP
        && attributes.kind.plural == "certificatesigningrequests"
        && attributes.operation == operation
        && attributes.subresource == subresource
}

/// Whether the user may do this with the signer, by its name or by its domain.
async fn may(attributes: &Attributes<'_>, verb: &str, signer: &str) -> bool {
    let domain = signer
        .split_once('/')
        .map_or(String::new(), |(domain, _)| format!("{domain}/*"));
    for name in [signer, &domain] {
        let asked = auth::Attributes {
            user: std::sync::Arc::new(attributes.user.clone()),
            verb: verb.into(),
            resource_request: true,
            group: GROUP.into(),
            version: "*".into(),
            resource: "signers".into(),
            name: name.into(),
            ..Default::default()
        };
        if !name.is_empty() && attributes.core.authorizers.decide(&asked).await.allowed() {
            return true;
        }
    }
    false
}

pub struct CertificateApproval;

#[async_trait]
impl Plugin for CertificateApproval {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        concerns(attributes, Operation::Update, "approval")
    }

    async fn validate(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        let signer = attributes
            .old
            .map_or("", |old| old.at("spec").text("signerName"));
        match may(attributes, "approve", signer).await {
            true => Ok(()),
            false => Err(attributes.forbidden(format_args!(
                "user not permitted to approve requests with signerName {signer}",
                signer = GoQuoted(&signer)
            ))),
        }
    }
}

pub struct CertificateSigning;

#[async_trait]
impl Plugin for CertificateSigning {
    fn name(&self) -> &'static str {
        "CertificateSigning"
    }

    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        concerns(attributes, Operation::Update, "status")
    }

    async fn validate(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        let (Some(new), Some(old)) = (&attributes.object, attributes.old) else {
            return Ok(());
        };
        // a status that leaves certificate and conditions as they are signs nothing
        if new.at("status").at("certificate") == old.at("status").at("certificate")
            && new.at("status").at("conditions") == old.at("status").at("conditions")
        {
            return Ok(());
        }
        let signer = old.at("spec").text("signerName");
        match may(attributes, "sign", signer).await {
            true => Ok(()),
            false => Err(attributes.forbidden(format_args!(
                "user not permitted to sign requests with signerName {signer}",
                signer = GoQuoted(&signer)
            ))),
        }
    }
}

pub struct CertificateSubjectRestriction;

#[async_trait]
impl Plugin for CertificateSubjectRestriction {
    fn name(&self) -> &'static str {
        "CertificateSubjectRestriction"
    }

    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        concerns(attributes, Operation::Create, "")
    }

    async fn validate(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        let Some(request) = attributes
            .object
            .as_ref()
            .filter(|request| request["spec"]["signerName"] == CLIENT_SIGNER)
        else {
            return Ok(());
        };
        let pem = STANDARD
            .decode(request.at("spec").text("request"))
            .unwrap_or_default();
        let asked = Request::from_pem(&pem)
            .map_err(|error| attributes.forbidden(format_args!("unable to parse csr: {error}")))?;
        match asked
            .organizations
            .iter()
            .any(|group| group == auth::SYSTEM_MASTERS)
        {
            true => Err(attributes.forbidden(format_args!(
                "use of {CLIENT_SIGNER} signer with {} group is not allowed",
                auth::SYSTEM_MASTERS
            ))),
            false => Ok(()),
        }
    }
}
