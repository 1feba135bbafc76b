//! The kinds of the group `certificates`.

pub mod certificate_signing_request;
