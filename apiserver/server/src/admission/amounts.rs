//! Lists of resources and how much of each: what limits and quotas compare.
//!
//! Invariant: what cannot be read is an error; dropped, it would limit nothing.

use serde_json::Value;
use skiff_api::machinery::{
    quantity::{Quantity, QuantityError},
    status::Status,
};
pub use skiff_podspec::resources::Amounts;

#[derive(thiserror::Error, Debug)]
#[error("the quantity {amount} of {name} cannot be read: {source}")]
pub struct Unreadable {
    amount: Value,
    name: String,
    source: QuantityError,
}

impl From<Unreadable> for Status {
    fn from(error: Unreadable) -> Status {
        Status::internal(error)
    }
}

pub fn read(list: &Value) -> Result<Amounts, Unreadable> {
    let amounts = list.as_object().into_iter().flatten();
    amounts
        .map(|(name, amount)| match Quantity::from_json(amount) {
            Ok(read) => Ok((name.clone(), read)),
            Err(source) => Err(Unreadable {
                amount: amount.clone(),
                name: name.clone(),
                source,
            }),
        })
        .collect()
}
