//! Lists: made by an expression, or of JSON.
//!
//! Invariant: an element of JSON that does not fit its declared type is an error when it is looked at, not before.

use super::Value;
use super::equal::by_keys;
use super::json::JsonList;
use crate::declared::ListKind;
use crate::error::EvalError;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub enum List<'a> {
    Items(Arc<Items<'a>>),
    Json(JsonList<'a>),
}

/// A list that was made.
#[derive(Debug, Clone)]
pub struct Items<'a> {
    pub values: Vec<Value<'a>>,
    /// What it was made of tells how it is compared and added to; `None` for one that an expression made.
    pub kind: Option<&'a ListKind>,
}

impl<'a> List<'a> {
    pub fn of(values: Vec<Value<'a>>) -> List<'a> {
        List::Items(Arc::new(Items { values, kind: None }))
    }

    pub fn len(&self) -> usize {
        match self {
            List::Items(items) => items.values.len(),
            List::Json(json) => json.items().len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn get(&self, index: usize) -> Option<Result<Value<'a>, EvalError>> {
        match self {
            List::Items(items) => items.values.get(index).cloned().map(Ok),
            List::Json(json) => json.get(index),
        }
    }

    /// The elements in order.
    pub fn iter(&self) -> impl Iterator<Item = Result<Value<'a>, EvalError>> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// All elements.
    ///
    /// # Errors
    /// The first element that does not fit its declared type.
    pub fn values(&self) -> Result<Vec<Value<'a>>, EvalError> {
        match self {
            List::Items(items) => Ok(items.values.clone()),
            List::Json(_) => self.iter().collect(),
        }
    }

    /// How it is compared and added to, for a list of declared data.
    pub(crate) fn kind(&self) -> Option<&'a ListKind> {
        match self {
            List::Items(items) => items.kind,
            List::Json(json) => json.kind(),
        }
    }

    /// This list with another behind it; sets and lists with keys merge.
    pub(crate) fn add(self, other: List<'a>) -> Result<List<'a>, EvalError> {
        let kind = self.kind();
        if kind.is_none() {
            if self.is_empty() {
                return Ok(other);
            }
            if other.is_empty() {
                return Ok(self);
            }
        }
        let mut values = match self {
            // what nobody else has grows in place
            List::Items(items) => {
                Arc::try_unwrap(items).map_or_else(|shared| shared.values.clone(), |own| own.values)
            }
            List::Json(_) => self.values()?,
        };
        match kind {
            Some(ListKind::Set) => {
                for value in other.iter() {
                    let value = value?;
                    if !values.iter().any(|known| known.same(&value)) {
                        values.push(value);
                    }
                }
            }
            Some(ListKind::Map(keys)) => {
                let before = values.len();
                for value in other.iter() {
                    let value = value?;
                    match by_keys(&values[..before], &value, keys)? {
                        Some(at) => values[at] = value,
                        None => values.push(value),
                    }
                }
            }
            _ => {
                for value in other.iter() {
                    values.push(value?);
                }
            }
        }
        Ok(List::Items(Arc::new(Items { values, kind })))
    }
}
