//! Which verbs a resource has.

/// Which verbs a resource has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbs {
    /// create, delete, deletecollection, get, list, patch, update, watch.
    All,
    /// All but deletecollection.
    NoDeleteCollection,
    /// The same as `All`, in the order in which discovery tells them of kinds that a definition brought.
    Custom,
    /// Virtual resources that answer a question (`tokenreviews`).
    CreateOnly,
    /// `componentstatuses`.
    GetList,
}

impl Verbs {
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Verbs::All => &[
                "create",
                "delete",
                "deletecollection",
                "get",
                "list",
                "patch",
                "update",
                "watch",
            ],
            Verbs::Custom => &[
                "delete",
                "deletecollection",
                "get",
                "list",
                "patch",
                "create",
                "update",
                "watch",
            ],
            Verbs::NoDeleteCollection => &[
                "create", "delete", "get", "list", "patch", "update", "watch",
            ],
            Verbs::CreateOnly => &["create"],
            Verbs::GetList => &["get", "list"],
        }
    }

    pub fn has(self, verb: &str) -> bool {
        self.names().contains(&verb)
    }
}
