//! Columns: what `kubectl get` prints of a kind, as data and one function a kind.
//!
//! Follows `pkg/printers/internalversion/printers.go` and `pkg/printers/tablegenerator.go`.

use jiff::Timestamp;
use serde_json::Value;

/// One column of a Table.
#[derive(Debug, Clone, Copy)]
pub struct Column<'a> {
    pub name: &'a str,
    /// OpenAPI type: `string`, `integer`, `number`, `boolean`, `date`.
    pub kind: &'a str,
    pub format: &'a str,
    pub description: &'a str,
    /// Shown without `-o wide` when 0.
    pub priority: i32,
}

/// A value in a row.
pub type Cell = Value;

/// The columns of a kind and the function that fills a row, one cell a column. Cells that show an age need the present time.
#[derive(Debug, Clone, Copy)]
pub struct Columns {
    pub columns: &'static [Column<'static>],
    pub cells: fn(&Value, Timestamp) -> Vec<Cell>,
    /// Conditions of a row (`Completed` pods).
    pub conditions: fn(&Value) -> Vec<Value>,
}

impl Columns {
    /// `Name` and `Age`, for kinds that upstream prints no columns of.
    pub const NAME_AND_AGE: Columns = Columns {
        columns: &[NAME, CREATED_AT],
        cells: name_and_created,
        conditions: |_| Vec::new(),
    };
}

pub const NAME: Column<'static> = Column {
    name: "Name",
    kind: "string",
    format: "name",
    description: NAME_DESCRIPTION,
    priority: 0,
};
pub const AGE: Column<'static> = Column {
    name: "Age",
    kind: "string",
    format: "",
    description: AGE_DESCRIPTION,
    priority: 0,
};
pub const CREATED_AT: Column<'static> = Column {
    name: "Created At",
    kind: "date",
    format: "",
    description: AGE_DESCRIPTION,
    priority: 0,
};

const NAME_DESCRIPTION: &str = "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";
const AGE_DESCRIPTION: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

fn name_and_created(object: &Value, _: Timestamp) -> Vec<Cell> {
    vec![
        object["metadata"]["name"].clone(),
        object["metadata"]["creationTimestamp"].clone(),
    ]
}
