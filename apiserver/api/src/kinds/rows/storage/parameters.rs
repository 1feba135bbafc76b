//! What classes of storage have alike: who makes volumes, and by which parameters.
//!
//! Follows `validateProvisioner` and `validateParameters` of `pkg/apis/storage/validation/validation.go`.

use crate::kinds::prelude::*;

const MOST: usize = 512;
const LARGEST: usize = 256 * 1024;

pub fn provisioner(name: &str, path: &Path, errors: &mut Errors) {
    match name {
        "" => errors.required(path, ""),
        name => checks::qualified_name(&name.to_lowercase(), path, errors),
    }
}

pub fn parameters(class: &Value, may_be_empty: bool, errors: &mut Errors) {
    let path = Path::new("parameters");
    let count = class.entries("parameters").count();
    if count > MOST {
        return errors.too_long(&path, MOST as i64);
    }
    let mut size = 0;
    for (key, value) in class.entries("parameters") {
        if key.is_empty() {
            errors.invalid(&path, key, "field can not be empty.");
        }
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > LARGEST {
        errors.too_long(&path, LARGEST as i64);
    }
    if !may_be_empty && count == 0 {
        errors.required(&path, "must contain at least one key/value pair");
    }
}
