//! CustomResourceDefinitions: what the kinds that they bring are held to is in `kinds/definition`.

use crate::kinds::{definition, prelude::*};

pub const STRATEGY: Strategy = Strategy {
    terminate: Some(definition::terminate),
    ..Strategy::DEFAULT
};
