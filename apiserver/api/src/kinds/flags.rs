//! What a kind's line in `kinds.txt` says of the life of its objects, as data.
//!
//! Follows the strategies of upstream's `pkg/registry/*/*/strategy.go`, and `pkg/apis/*/*/conversion.go` for names of fields.

use std::borrow::Cow;

use crate::machinery::names;
use crate::machinery::quote::GoQuoted;

/// As a kind has it whose line says nothing: [`Flags::default`].
#[derive(Debug, Clone)]
pub struct Flags {
    /// A new object may bring its status along (events of nodes made by hand, bound claims).
    pub keeps_status_on_create: bool,
    /// Paths that a write of the main resource leaves alone, where it has a status.
    pub main_reset: Vec<&'static str>,
    /// Paths that a write of `/status` leaves alone.
    pub status_reset: Vec<&'static str>,
    /// Whether `metadata.generation` counts changes of what is not metadata or status.
    pub generation: Generation,
    /// A change of annotations counts, too (Deployments hand them on).
    pub annotations_are_desired: bool,
    /// A change of labels counts, too (EndpointSlices: they say whose they are).
    pub labels_are_desired: bool,
    /// A list or map that is given and empty is a change (kinds that upstream compares by `reflect.DeepEqual`).
    pub empties_are_desired: bool,
    /// Validation tells a list or map that is given and empty from none.
    pub judged_as_given: bool,
    /// A new object has, when it is read, defaults of what the server made of it (a Job's labels).
    pub defaults_when_read: bool,
    /// A name that is to be generated is its prefix.
    pub generates_prefix: bool,
    /// Finalizers without a domain may bear any name (groups whose metadata upstream checks by the common rules alone).
    pub any_finalizers: bool,
    /// What a name is to be made of is not looked at.
    pub any_generate_name: bool,
    /// How an update of the whole object checks metadata besides what all updates check.
    pub update_checks: UpdateChecks,
    /// The same of an update of `/status`.
    pub status_update_checks: UpdateChecks,
    /// An update without resourceVersion overwrites.
    pub allow_unconditional_update: bool,
    /// PUT of an absent object makes it.
    pub allow_create_on_update: bool,
    /// The group that refusals of what is in an object name, where it is not the kind's own (events.k8s.io: its hub type is core's).
    pub told_of_group: Option<&'static str>,
    /// Upstream's name of the table of types that a body is read by. One that is not that of most kinds knows its own group alone.
    pub scheme: &'static str,
    /// The finalizer that dependents' fate hangs on when a deletion says nothing (replicationcontrollers: orphan).
    pub orphan_by_default: bool,
    /// Whoever deletes without a word about dependents is told that they stay (jobs).
    pub warns_of_orphans: bool,
    /// A warning with every request of this kind (`v1 Endpoints is deprecated …`).
    pub deprecation: Option<&'static str>,
    /// Other names under which field selectors may (or, with `only_mapped_fields`, must) name fields.
    pub field_names: Vec<(&'static str, &'static str)>,
    /// Fields are named by `field_names` alone.
    pub only_mapped_fields: bool,
    /// What a write asks for besides the right to write.
    pub beyond: Beyond,
    /// A deletion answers with the object, not with a Status.
    pub returns_deleted: bool,
    /// Objects go a while after they were written last (events).
    pub expires: bool,
    /// Upstream answers lists of whatever revision (`resourceVersion=0`) from a cache, which takes no notice of their limit; of this kind it has none.
    pub has_no_cache: bool,
    /// Upstream has no Go type for its objects, which shows: lists tell what each of their items is and of their continuation where there is none, too;
    /// an object of whatever kind is read, and refused for that; patches that need a type are not taken; what is asked is not looked at before its verb.
    pub untyped: bool,
    /// Objects take addresses and ports of pools that the whole cluster shares (services).
    pub takes_addresses: bool,
    pub source: Source,
    /// What is said of a field selector's field that the kind does not have. Kinds that say it in words of their own name all fields that may be
    /// selected by; the others have but name and namespace.
    pub unknown_field: fn(&str) -> String,
    /// Problems of a name, in the words of `names`. The flag tells a prefix (`generateName`) from a name.
    pub validate_name: fn(&str, bool) -> Vec<String>,
}

impl Default for Flags {
    fn default() -> Flags {
        Flags {
            keeps_status_on_create: false,
            main_reset: vec!["status"],
            status_reset: vec!["spec"],
            generation: Generation::None,
            annotations_are_desired: false,
            labels_are_desired: false,
            empties_are_desired: false,
            judged_as_given: false,
            defaults_when_read: false,
            generates_prefix: false,
            any_finalizers: false,
            any_generate_name: false,
            update_checks: UpdateChecks::Update,
            status_update_checks: UpdateChecks::Update,
            allow_unconditional_update: true,
            allow_create_on_update: false,
            told_of_group: None,
            scheme: Flags::SCHEME,
            orphan_by_default: false,
            warns_of_orphans: false,
            deprecation: None,
            field_names: Vec::new(),
            only_mapped_fields: false,
            beyond: Beyond::Nothing,
            returns_deleted: false,
            expires: false,
            has_no_cache: false,
            untyped: false,
            takes_addresses: false,
            source: Source::Stored,
            unknown_field: unknown,
            validate_name: subdomain,
        }
    }
}

impl Flags {
    /// The scheme of most kinds.
    pub const SCHEME: &'static str = "pkg/api/legacyscheme/scheme.go:30";

    /// What is wrong with a name, or with what one is to be made of (`prefix`).
    pub fn name_problems(&self, name: &str, prefix: bool) -> Vec<String> {
        match prefix && self.any_generate_name {
            true => Vec::new(),
            false => (self.validate_name)(name, prefix),
        }
    }

    /// Types of other groups are not in the kind's scheme.
    pub fn has_own_scheme(&self) -> bool {
        self.scheme != Flags::SCHEME
    }
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

/// Where the objects of a kind live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Stored,
    /// Nowhere: each is a question, and goes back to who asked with its answer.
    Answered(Review),
    /// They are made when they are asked for: the parts of the control plane.
    Components,
    /// They are made when they are asked for: what nodes and pods were last seen to use.
    Measured,
}

impl Source {
    pub(super) fn read(written: &str) -> Option<Source> {
        Some(match written {
            "components" => Source::Components,
            "measured" => Source::Measured,
            "subjectaccess" => Source::Answered(Review::SubjectAccess),
            "selfsubjectaccess" => Source::Answered(Review::SelfSubjectAccess),
            "localsubjectaccess" => Source::Answered(Review::LocalSubjectAccess),
            "selfsubjectrules" => Source::Answered(Review::SelfSubjectRules),
            "token" => Source::Answered(Review::Token),
            "selfsubject" => Source::Answered(Review::SelfSubject),
            "binding" => Source::Answered(Review::Binding),
            _ => return None,
        })
    }
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
    /// As an update, then as new.
    Both,
    /// As new, then as an update.
    NewUpdate,
    /// As new before what is asked of new objects, too, and again after that.
    NewNew,
    None,
    /// As new before what is asked of new objects, too; as an update after that, and before what is asked of updates alone.
    Around,
}

/// One look at an object that is to replace another: at its metadata, or at all the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateCheck {
    New,
    Update,
    Rest,
    /// Of the rest what a new object would be refused for, which is told first.
    RestOfNew,
    /// And what comes after that.
    RestOfUpdate,
}

impl UpdateChecks {
    pub(super) fn read(word: &str) -> Option<UpdateChecks> {
        Some(match word {
            "new" => UpdateChecks::New,
            "both" => UpdateChecks::Both,
            "new-update" => UpdateChecks::NewUpdate,
            "new-new" => UpdateChecks::NewNew,
            "none" => UpdateChecks::None,
            "around" => UpdateChecks::Around,
            _ => return None,
        })
    }

    /// What is looked at, in the order in which it is told.
    pub fn in_order(self) -> &'static [UpdateCheck] {
        use UpdateCheck::{New, Rest, RestOfNew, RestOfUpdate, Update};
        match self {
            UpdateChecks::New => &[New, Rest],
            UpdateChecks::Update => &[Update, Rest],
            UpdateChecks::Both => &[Update, New, Rest],
            UpdateChecks::NewUpdate => &[New, Update, Rest],
            UpdateChecks::NewNew => &[New, RestOfNew, New, RestOfUpdate],
            UpdateChecks::None => &[Rest],
            UpdateChecks::Around => &[New, RestOfNew, Update, RestOfUpdate],
        }
    }
}

/// What is said of a field that may not be selected by, in the words of this name.
pub(super) fn unknown_field(words: &str) -> Option<fn(&str) -> String> {
    Some(match words {
        "unsupported" => |field| format!("field label not supported: {field}"),
        "job" => |field| {
            format!(
                "field label {field} not supported for Job",
                field = GoQuoted(&field)
            )
        },
        "slice" => |field| {
            format!("field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: {field}")
        },
        _ => return None,
    })
}

fn unknown(field: &str) -> String {
    format!(
        "{field} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
        field = GoQuoted(&field)
    )
}

/// Which names are good, by the name of the rule.
pub(super) fn name_rule(rule: &str) -> Option<fn(&str, bool) -> Vec<String>> {
    Some(match rule {
        "subdomain" => subdomain,
        "label" => |name, prefix| names::is_dns1123_label(&masked(name, prefix)),
        // before 1.36's relaxation
        "dns1035" => |name, prefix| names::is_dns1035_label(&masked(name, prefix)),
        "segment" => path_segment,
        "ip" => |name, _| names::ip::is_valid_ip(name),
        "bytes" => |name, prefix| names::is_dns1123_subdomain_in_bytes(&masked(name, prefix)),
        "any" => |_, _| Vec::new(),
        _ => return None,
    })
}

fn subdomain(name: &str, prefix: bool) -> Vec<String> {
    names::is_dns1123_subdomain(&masked(name, prefix))
}

/// Names that are path segments (RBAC).
pub fn path_segment(name: &str, prefix: bool) -> Vec<String> {
    if prefix {
        names::is_path_segment_prefix(name)
    } else {
        names::is_path_segment_name(name)
    }
}

/// A prefix may end with a dash, because more comes after it.
fn masked(name: &str, prefix: bool) -> Cow<'_, str> {
    if prefix {
        names::mask_trailing_dash(name)
    } else {
        name.into()
    }
}
