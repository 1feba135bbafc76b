//! Managed fields as the write path uses them.
use crate::{context::Context, write::Part};
use serde_json::Value;
use skiff_api::{kinds::Kind, machinery::status::Status};
pub fn track_update(_: &Context, _: &Kind, _: Part, _: &Value, _: &mut Value) -> Result<(), Status> {
    Ok(())
}
pub fn apply(_: &Context, _: &Kind, _: Part, _: Option<&Value>, _: &Value) -> Result<Value, Status> {
    Err(Status::internal("apply is on its way"))
}
