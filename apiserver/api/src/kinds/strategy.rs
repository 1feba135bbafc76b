//! What is particular to a kind in the life of its objects, as functions in its row. All work on values in canonical form.
//!
//! Follows the strategies of upstream's `pkg/registry/*/*/strategy.go` and `pkg/apis/*/*/defaults.go`.

use serde_json::Value;

use crate::machinery::{field::Errors, meta::Meta, names};

/// Texts for the Warning header.
pub type Warnings = Vec<String>;

/// The functions of a kind. `..Strategy::DEFAULT` fills what a kind does not need.
#[derive(Debug, Clone, Copy)]
pub struct Strategy {
    /// Problems of a name, in the words of `names`. The flag tells a prefix (`generateName`) from a name.
    pub validate_name: fn(&str, bool) -> Vec<String>,
    /// Upstream's versioned defaults; runs after each decode, so it is idempotent.
    pub defaults: fn(&mut Value),
    /// Clears what a client may not set and sets what the server does. Runs after mutating admission.
    pub prepare_for_create: fn(&mut Value),
    /// Runs on a new object when it has its uid and name.
    pub after_system_fields: fn(&mut Value),
    /// `(new, old)`; with `has_status` the status was taken from `old` already.
    pub prepare_for_update: fn(&mut Value, &Value),
    /// For the `status` subresource: `(new, old)`; what is not status was taken from `old` already.
    pub prepare_for_status_update: fn(&mut Value, &Value),
    /// Sets what the moment and the writer decide: `(new, old)`, after the functions that prepare; `old` is absent on creation.
    pub stamp: Option<fn(&mut Value, Option<&Value>, &Stamp<'_>)>,
    /// Everything but metadata, which is validated for all kinds alike.
    pub validate: fn(&Value) -> Errors,
    /// `(new, old)`.
    pub validate_update: fn(&Value, &Value) -> Errors,
    pub validate_status_update: fn(&Value, &Value) -> Errors,
    /// Subresources that write a part of the object by rules of their own.
    pub parts: &'static [PartStrategy],
    /// Of an object as the client sent it, before `prepare_for_create` changes it.
    pub early_warnings: fn(&Value) -> Warnings,
    /// `(new, old)`.
    pub warnings: fn(&Value, Option<&Value>) -> Warnings,
    /// The main resource leaves `status` alone and `/status` leaves all else alone.
    pub has_status: bool,
    /// A new object may bring its status along (events of nodes made by hand, bound claims).
    pub keeps_status_on_create: bool,
    /// Paths that a write of the main resource leaves alone, where it has a status.
    pub main_reset: &'static [&'static str],
    /// Paths that a write of `/status` leaves alone.
    pub status_reset: &'static [&'static str],
    /// Whether `metadata.generation` counts changes of what is not metadata or status.
    pub generation: Generation,
    /// A change of annotations counts, too (Deployments hand them on).
    pub annotations_are_desired: bool,
    /// A change of labels counts, too (EndpointSlices: they say whose they are).
    pub labels_are_desired: bool,
    /// Finalizers without a domain may bear any name (groups whose metadata upstream checks by the common rules alone).
    pub any_finalizers: bool,
    /// How an update of the whole object checks metadata besides what all updates check.
    pub update_checks: UpdateChecks,
    /// An update without resourceVersion overwrites.
    pub allow_unconditional_update: bool,
    /// PUT of an absent object makes it.
    pub allow_create_on_update: bool,
    /// The group that refusals of what is in an object name, where it is not the kind's own (events.k8s.io: its hub type is core's).
    pub told_of_group: Option<&'static str>,
    /// Seconds of grace that a deletion gives when it says nothing; `None`: objects go at once.
    pub default_grace: Option<fn(&Value) -> i64>,
    /// Objects that go at once whatever grace is given (pods that no node has, or that have ended).
    pub skips_grace: fn(&Value) -> bool,
    /// Besides the finalizers of its metadata, something keeps an object that is being deleted (namespaces: `spec.finalizers`).
    pub held: fn(&Value) -> bool,
    /// Deletion begins with a mark, whatever there is to wait for, and this is done to the object then (namespaces: their phase).
    pub terminate: Option<fn(&mut Value)>,
    /// The finalizer that dependents' fate hangs on when a deletion says nothing (replicationcontrollers: orphan).
    pub orphan_by_default: bool,
    /// What is told with every write of an object that this server stores and does not act upon.
    pub without_effect: fn(&Value) -> Option<&'static str>,
    /// A warning with every request of this kind (`v1 Endpoints is deprecated …`).
    pub deprecation: Option<&'static str>,
    /// What is said of a field selector's field that the kind does not have. Kinds that say it in words of their own name all fields that may be
    /// selected by; the others have but name and namespace.
    pub unknown_field: fn(&str) -> String,
    /// Other names under which field selectors may (or, with `only_mapped_fields`, must) name fields.
    pub field_names: &'static [(&'static str, &'static str)],
    /// Fields are named by `field_names` alone.
    pub only_mapped_fields: bool,
    /// What a write asks for besides the right to write.
    pub beyond: Beyond,
    /// A deletion answers with the object, not with a Status.
    pub returns_deleted: bool,
    /// Upstream answers lists of whatever revision (`resourceVersion=0`) from a cache, which takes no notice of their limit; of this kind it has none.
    pub has_no_cache: bool,
    /// Objects take addresses and ports of pools that the whole cluster shares (services).
    pub takes_addresses: bool,
    pub source: Source,
}

impl Strategy {
    pub const DEFAULT: Strategy = Strategy {
        validate_name: subdomain,
        defaults: |_| {},
        prepare_for_create: |_| {},
        after_system_fields: |_| {},
        prepare_for_update: |_, _| {},
        prepare_for_status_update: |_, _| {},
        stamp: None,
        validate: |_| Errors::default(),
        validate_update: |_, _| Errors::default(),
        validate_status_update: |_, _| Errors::default(),
        parts: &[],
        early_warnings: |_| Vec::new(),
        warnings: |_, _| Vec::new(),
        has_status: false,
        keeps_status_on_create: false,
        main_reset: &["status"],
        status_reset: &["spec"],
        generation: Generation::None,
        annotations_are_desired: false,
        labels_are_desired: false,
        any_finalizers: false,
        update_checks: UpdateChecks::Update,
        allow_unconditional_update: true,
        allow_create_on_update: false,
        told_of_group: None,
        default_grace: None,
        skips_grace: |_| false,
        held: |_| false,
        terminate: None,
        orphan_by_default: false,
        without_effect: |_| None,
        deprecation: None,
        unknown_field: |field| {
            format!(
                "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
            )
        },
        field_names: &[],
        only_mapped_fields: false,
        beyond: Beyond::Nothing,
        returns_deleted: false,
        has_no_cache: false,
        takes_addresses: false,
        source: Source::Stored,
    };

    /// That of a kind whose objects are questions.
    pub const fn answered(review: Review) -> Strategy {
        Strategy {
            source: Source::Answered(review),
            ..Strategy::DEFAULT
        }
    }
}

/// Where the objects of a kind live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Stored,
    /// Nowhere: each is a question, and goes back to who asked with its answer.
    Answered(Review),
    /// They are made when they are asked for: the parts of the control plane.
    Components,
}

/// What is asked by making an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Review {
    SubjectAccess,
    SelfSubjectAccess,
    LocalSubjectAccess,
    SelfSubjectRules,
    Token,
    SelfSubject,
    /// That a pod be bound to a node.
    Binding,
}

/// What takes more than the right to write an object; the server knows how it is asked (`server/src/write`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beyond {
    Nothing,
    /// Claims: access to devices as an administrator, allocating them, and what drivers say of them.
    DevicesOfClaim,
    DevicesOfTemplate,
    /// To read the parameters that a policy is about.
    ParametersOfPolicy,
    /// To read the parameters that a binding names; the policies are stored under this resource.
    ParametersOfBinding(&'static str),
    /// To hold the rights that a role gives.
    RulesOfRole,
    /// To hold the rights that a binding's role gives.
    RulesOfBinding,
}

/// What `metadata.generation` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// It is whatever a client gave when it made the object.
    None,
    /// 1 for good.
    Once,
    /// 1 at first, one more with each change.
    Counted,
    /// Absent until the first change.
    CountedFromZero,
}

/// As what upstream's validation of an update looks at metadata: each way tells of the same mistakes anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateChecks {
    /// As that of a new object.
    New,
    /// As that of an object that replaces another.
    Update,
    Both,
}

/// The moment and the writer of a request.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// In whole seconds, as the API writes it.
    pub now: &'a str,
    /// `username`, `uid`, `groups` and `extra`, those that there are.
    pub user: &'a Value,
}

/// How a subresource writes its part of an object.
#[derive(Debug, Clone, Copy)]
pub struct PartStrategy {
    /// The subresource's name.
    pub name: &'static str,
    /// `(new, old)`: takes from `old` all that is not the part.
    pub prepare: fn(&mut Value, &Value),
    /// Paths that it leaves alone; `None`: those that the main resource does.
    pub reset: Option<&'static [&'static str]>,
    /// `(new, old)`.
    pub validate: fn(&Value, &Value) -> Errors,
}

impl Strategy {
    pub fn part(&self, name: &str) -> Option<&'static PartStrategy> {
        self.parts.iter().find(|part| part.name == name)
    }
}

/// Metadata that only writes of the whole object change is as it was in `old`.
pub fn keep_metadata(new: &mut Value, old: &Value) {
    for name in [
        "deletionTimestamp",
        "generation",
        "selfLink",
        "labels",
        "annotations",
        "finalizers",
        "ownerReferences",
    ] {
        match old.meta().and_then(|meta| meta.get(name)) {
            Some(value) => {
                new.meta_mut().insert(name.into(), value.clone());
            }
            None => {
                new.meta_mut().remove(name);
            }
        }
    }
}

/// What most kinds say that have fields of their own to select by.
pub fn unsupported_field(field: &str) -> String {
    format!("field label not supported: {field}")
}

/// Names that are DNS subdomains.
pub fn subdomain(name: &str, prefix: bool) -> Vec<String> {
    names::is_dns1123_subdomain(&masked(name, prefix))
}

/// Names that are DNS labels.
pub fn label(name: &str, prefix: bool) -> Vec<String> {
    names::is_dns1123_label(&masked(name, prefix))
}

/// Names that are path segments (RBAC).
pub fn path_segment(name: &str, prefix: bool) -> Vec<String> {
    if prefix {
        names::is_path_segment_prefix(name)
    } else {
        names::is_path_segment_name(name)
    }
}

/// Services before 1.36's relaxation.
pub fn dns1035(name: &str, prefix: bool) -> Vec<String> {
    names::is_dns1035_label(&masked(name, prefix))
}

/// A prefix may end with a dash, because more comes after it.
fn masked(name: &str, prefix: bool) -> String {
    match name.strip_suffix('-') {
        Some(rest) if prefix && !rest.is_empty() => format!("{rest}a"),
        _ => name.into(),
    }
}
