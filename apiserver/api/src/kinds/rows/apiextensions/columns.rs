//! Columns that a version prints, and where its subresources read and write.
//!
//! Follows `pkg/apis/apiextensions/validation/validation.go` of apiextensions-apiserver.

use crate::kinds::prelude::*;

const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const FORMATS: [&str; 8] = [
    "byte",
    "date",
    "date-time",
    "double",
    "float",
    "int32",
    "int64",
    "password",
];

/// `additionalPrinterColumns`.
pub fn validate(columns: &[Value], path: &Path, errors: &mut Errors) {
    for (index, column) in columns.iter().enumerate() {
        let path = path.index(index);
        if column.text("name").is_empty() {
            errors.required(&path.child("name"), "");
        }
        one_of(column, "type", &TYPES, &path, errors);
        if !column.text("format").is_empty() {
            one_of(column, "format", &FORMATS, &path, errors);
        }
        let at = path.child("JSONPath");
        match column.text("jsonPath") {
            "" => errors.required(&at, ""),
            given => {
                simple_path(given, &at, errors);
            }
        }
    }
}

fn one_of(column: &Value, name: &str, known: &[&str], path: &Path, errors: &mut Errors) {
    let said = || format!("must be one of {}", known.join(","));
    match column.text(name) {
        "" => errors.required(&path.child(name), said()),
        given if known.contains(&given) => {}
        given => errors.invalid(&path.child(name), given, said()),
    }
}

/// Whether a path begins as one; what follows the dot is taken as it is.
fn simple_path(given: &str, path: &Path, errors: &mut Errors) -> bool {
    let good = given.starts_with('.');
    if !good {
        errors.invalid(path, given, "must be a simple json path starting with .");
    }
    good
}

/// `subresources`: of `scale`, the paths.
pub fn subresources(given: Option<&Value>, path: &Path, errors: &mut Errors) {
    let Some(scale) = given.and_then(|given| given.some("scale")) else {
        return;
    };
    for (name, begins, wanted) in [
        (
            "specReplicasPath",
            &[".spec."][..],
            "should be a json path under .spec",
        ),
        (
            "statusReplicasPath",
            &[".status."],
            "should be a json path under .status",
        ),
        (
            "labelSelectorPath",
            &[".spec.", ".status."],
            "should be a json path under either .spec or .status",
        ),
    ] {
        let at = path.child("scale");
        let at = at.child(name);
        match scale.text(name) {
            "" if name == "labelSelectorPath" => {}
            "" => errors.required(&at, ""),
            given => {
                if simple_path(given, &at, errors)
                    && !begins.iter().any(|begin| given.starts_with(begin))
                {
                    errors.invalid(&at, given, wanted);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_column_must_say() {
        let good = json!({"name": "a", "type": "string", "jsonPath": ".spec.a"});
        for (name, value, said) in [
            ("name", "a", "[]"),
            ("name", "", "c[0].name: Required value"),
            (
                "type",
                "",
                "c[0].type: Required value: must be one of boolean,date,integer,number,string",
            ),
            (
                "type",
                "x",
                "c[0].type: Invalid value: \"x\": must be one of boolean,date,integer,number,string",
            ),
            (
                "format",
                "x",
                "c[0].format: Invalid value: \"x\": must be one of byte,date,date-time,double,float,int32,int64,password",
            ),
            ("jsonPath", "", "c[0].JSONPath: Required value"),
            (
                "jsonPath",
                "a",
                "c[0].JSONPath: Invalid value: \"a\": must be a simple json path starting with .",
            ),
            ("jsonPath", ".", "[]"),
        ] {
            let mut column = good.clone();
            column[name] = value.into();
            let errors = Errors::of(|errors| validate(&[column.clone()], &Path::new("c"), errors));
            assert_eq!(errors.message(), said, "{column}");
        }
    }

    #[test]
    fn where_a_scale_reads_and_writes() {
        let good = json!({"specReplicasPath": ".spec.a", "statusReplicasPath": ".status.a"});
        for (name, value, said) in [
            ("labelSelectorPath", ".spec.b", "[]"),
            ("labelSelectorPath", "", "[]"),
            (
                "specReplicasPath",
                "",
                "s.scale.specReplicasPath: Required value",
            ),
            (
                "specReplicasPath",
                ".a",
                "s.scale.specReplicasPath: Invalid value: \".a\": should be a json path under .spec",
            ),
            (
                "statusReplicasPath",
                "a",
                "s.scale.statusReplicasPath: Invalid value: \"a\": must be a simple json path starting with .",
            ),
            (
                "labelSelectorPath",
                ".b",
                "s.scale.labelSelectorPath: Invalid value: \".b\": should be a json path under either .spec or .status",
            ),
        ] {
            let mut scale = good.clone();
            scale[name] = value.into();
            let given = json!({"scale": scale});
            let errors = Errors::of(|errors| subresources(Some(&given), &Path::new("s"), errors));
            assert_eq!(errors.message(), said, "{given}");
        }
    }
}
