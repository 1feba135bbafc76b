//! The kinds of the group `resource`, and what they have in common.

mod claim;
pub mod device_class;
mod devices;
mod names;
pub mod resource_claim;
pub mod resource_claim_template;
pub mod resource_slice;
mod sets;
