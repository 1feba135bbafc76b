//! Reads `kinds.txt`: the kinds that are built in, a line each. The format is described at its head.
//!
//! Invariant: what cannot be read is refused, and so is a kind of which neither its line says that it has no rules nor the list of strategies has them.

use std::sync::Arc;

use super::{
    Beyond, Columns, Generation, Kind, Printer, Priority, Scale, SchemaOf, SelectableField, Source,
    Subresource, UpdateChecks, Verbs, columns::Tables, flags, kind::name, strategies,
};
use crate::machinery::{problem::Problem, schema::Schema};

/// What is wrong with a table.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    #[error("cannot read {0:?}")]
    Line(&'static str),
    #[error("{0} is to be either plain or in the list of strategies")]
    Rules(String),
    #[error("cannot read the column {0:?}")]
    Column(&'static str),
    #[error("cannot read the types: {0}")]
    Types(Problem),
    #[error("there is no type {0}")]
    NoType(&'static str),
}

/// Tables of kinds that are not built in, in the formats of `kinds.txt`, `columns.txt` and `types.txt`. Types may name those of metadata, columns the usual ones.
#[derive(Debug, Clone, Copy)]
pub struct TablesText {
    pub kinds: &'static str,
    pub columns: &'static str,
    pub types: &'static str,
}

/// The kinds that are built in, in the order in which discovery shows groups.
pub(super) fn builtin() -> Result<Vec<Kind>, ListError> {
    read(include_str!("kinds.txt"))
}

/// The kinds of what is measured, whose singular names nobody is told.
pub(super) fn measured() -> Result<Vec<Kind>, ListError> {
    let mut kinds = read(include_str!("measured.txt"))?;
    kinds.iter_mut().for_each(|kind| kind.singular = "");
    Ok(kinds)
}

/// The kinds of tables that are not built in. They last as long as the program.
pub(super) fn beside_builtin(text: TablesText) -> Result<Vec<Kind>, ListError> {
    let columns = Tables::beside_builtin(text.columns).map_err(ListError::Column)?;
    let columns: &'static Tables = Box::leak(Box::new(columns));
    let types: Arc<Schema> = Schema::beside_metadata(text.types)
        .map_err(ListError::Types)?
        .into();
    let columns = |of: &str| columns.of(of);
    let mut kinds = read_with(text.kinds, &columns)?;
    for kind in &mut kinds {
        if let SchemaOf::Builtin(name) = kind.schema {
            let found = types.get(name).and_then(|node| node.as_type());
            let index = found.and_then(|found| types.index(found));
            let index = index.ok_or(ListError::NoType(name))?;
            kind.schema = SchemaOf::Own(types.clone(), index);
        }
    }
    Ok(kinds)
}

fn read(text: &'static str) -> Result<Vec<Kind>, ListError> {
    read_with(text, &|of| Tables::builtin().of(of))
}

/// Where the columns of `apps/v1 Deployment` are.
type ColumnsOf<'c> = &'c dyn Fn(&str) -> &'static Columns;

fn read_with(text: &'static str, columns: ColumnsOf<'_>) -> Result<Vec<Kind>, ListError> {
    let mut kinds: Vec<(Kind, bool)> = Vec::new();
    let (mut group, mut version) = ("", "");
    let mut priority = Priority::DEFINED;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let wrong = || ListError::Line(line);
        if let Some(of) = line.strip_prefix("group ") {
            let (of, ahead) = of.split_once(' ').ok_or_else(wrong)?;
            (group, version) = of.split_once('/').unwrap_or(("", of));
            priority = Priority::read(ahead).ok_or_else(wrong)?;
            continue;
        }
        let mut words = line.trim_start();
        if !line.starts_with("    ") {
            let (plural, rest) = words.split_once(' ').ok_or_else(wrong)?;
            let (named, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            let kind = Kind {
                priority,
                ..kind(group, version, plural, named)
            };
            kinds.push((kind, false));
            words = rest;
        }
        let (kind, plain) = kinds.last_mut().ok_or_else(wrong)?;
        if let Some(deprecation) = words.strip_prefix("-- ") {
            kind.flags.deprecation = Some(deprecation);
            continue;
        }
        for word in words.split_ascii_whitespace() {
            match word {
                "plain" => *plain = true,
                flag => say(kind, flag).ok_or_else(wrong)?,
            }
        }
    }
    kinds
        .into_iter()
        .map(|(kind, plain)| bound(kind, plain, columns))
        .collect()
}

/// A kind of whose line nothing but the names is known.
fn kind(
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    kind: &'static str,
) -> Kind {
    let package = match group.split('.').next() {
        None | Some("") => "core",
        Some(package) => package,
    };
    Kind {
        schema: SchemaOf::Builtin(name(&format!("{package}.{version}.{kind}"))),
        ..Kind::named(group, version, plural, kind)
    }
}

/// With its columns, and the rules of its own if it is not plain.
fn bound(mut kind: Kind, plain: bool, columns: ColumnsOf<'_>) -> Result<Kind, ListError> {
    let of = format!("{} {}", kind.api_version(), kind.kind);
    kind.printer = Printer::Builtin(columns(&of));
    match strategies::of(&of) {
        None if plain => {}
        Some(strategy) if !plain => {
            kind.strategy = *strategy;
            kind.stored_as = strategy.stored_as.copied();
        }
        _ => return Err(ListError::Rules(of)),
    }
    Ok(kind)
}

/// Notes what one word says of a kind.
fn say(kind: &mut Kind, word: &'static str) -> Option<()> {
    let (flag, value) = word.split_once('=').unwrap_or((word, ""));
    let list = || value.split(',');
    let flags = &mut kind.flags;
    match flag {
        "namespaced" => kind.namespaced = true,
        "short" => kind.short_names = list().collect(),
        "categories" => kind.categories = list().collect(),
        "names" => flags.validate_name = flags::name_rule(value)?,
        "verbs" => {
            kind.verbs = match value {
                "create" => Verbs::CreateOnly,
                "get,list" => Verbs::GetList,
                "nocollection" => Verbs::NoDeleteCollection,
                _ => return None,
            }
        }
        "sub" => {
            kind.subresources = list().map(Subresource::read).collect::<Option<_>>()?;
            let scales = kind.subresources.contains(&Subresource::Scale);
            kind.scale = scales.then_some(Scale::USUAL);
        }
        "select" => {
            let fields = list().map(SelectableField::read);
            kind.selectable.extend(fields.collect::<Option<Vec<_>>>()?);
        }
        "aka" => {
            let names = list().map(|names| names.split_once('>'));
            flags.field_names.extend(names.collect::<Option<Vec<_>>>()?);
        }
        "storage" => kind.storage_version = Some(value),
        "only-aka" => flags.only_mapped_fields = true,
        "unknown" => flags.unknown_field = flags::unknown_field(value)?,
        "keeps" => flags.main_reset = list().collect(),
        "status-keeps" => flags.status_reset = list().collect(),
        "status-at-first" => flags.keeps_status_on_create = true,
        "generation" => {
            flags.generation = match value {
                "once" => Generation::Once,
                "counted" => Generation::Counted,
                "fromzero" => Generation::CountedFromZero,
                _ => return None,
            }
        }
        "counts" => match value {
            "annotations" => flags.annotations_are_desired = true,
            "labels" => flags.labels_are_desired = true,
            "empties" => flags.empties_are_desired = true,
            _ => return None,
        },
        "update" => flags.update_checks = UpdateChecks::read(value)?,
        "status-update" => flags.status_update_checks = UpdateChecks::read(value)?,
        "defaults-when-read" => flags.defaults_when_read = true,
        "generates-prefix" => flags.generates_prefix = true,
        "judged-as-given" => flags.judged_as_given = true,
        "put-creates" => flags.allow_create_on_update = true,
        "version-needed" => flags.allow_unconditional_update = false,
        "any-finalizers" => flags.any_finalizers = true,
        "any-generate-name" => flags.any_generate_name = true,
        "beyond" => {
            flags.beyond = match value.split_once(':').unwrap_or((value, "")) {
                ("devices", _) => Beyond::DevicesOfClaim,
                ("template", _) => Beyond::DevicesOfTemplate,
                ("rights", _) => Beyond::RulesOfRole,
                ("bound-rights", _) => Beyond::RulesOfBinding,
                ("parameters", "") => Beyond::ParametersOfPolicy,
                ("parameters", policies) => Beyond::ParametersOfBinding(policies),
                _ => return None,
            }
        }
        "refused-as" => flags.told_of_group = Some(if value == "core" { "" } else { value }),
        "scheme" => flags.scheme = value,
        "orphans" => {
            flags.orphan_by_default = true;
            flags.warns_of_orphans = match value {
                "" => false,
                "warned" => true,
                _ => return None,
            };
        }
        "returns-deleted" => flags.returns_deleted = true,
        "expires" => flags.expires = true,
        "no-cache" => flags.has_no_cache = true,
        "takes-addresses" => flags.takes_addresses = true,
        "source" => flags.source = Source::read(value)?,
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The kind of a table of one line.
    fn of(line: &'static str) -> Kind {
        read(line).unwrap().remove(0)
    }

    #[test]
    fn every_line_is_read() {
        let mut kinds = builtin().unwrap();
        kinds.extend(measured().unwrap());
        let names: Vec<String> = kinds
            .iter()
            .map(|kind| format!("{} {}", kind.api_version(), kind.kind))
            .collect();
        for named in Tables::builtin().kinds().chain(strategies::names()) {
            let is_known =
                named == crate::kinds::printer::SCALE || names.iter().any(|name| name == named);
            assert!(is_known, "{named} is no kind");
        }
        for kind in &kinds {
            assert_eq!(
                kind.type_name(),
                kind.node().as_type().unwrap().name.as_ref()
            );
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let cases = [
            (
                "group v1 1/1\n  bindings Binding colour=red plain",
                "cannot read \"  bindings Binding colour=red plain\"",
            ),
            (
                "group v1 1/1\n  bindings Binding generation=twice plain",
                "cannot read \"  bindings Binding generation=twice plain\"",
            ),
            ("group v1 1/1\n  bindings", "cannot read \"  bindings\""),
            ("    short=a", "cannot read \"    short=a\""),
            (
                "group v1 1/1\n  bindings Binding",
                "v1 Binding is to be either plain or in the list of strategies",
            ),
            (
                "group v1 1/1\n  pods Pod plain",
                "v1 Pod is to be either plain or in the list of strategies",
            ),
        ];
        for (text, wanted) in cases {
            assert_eq!(read(text).unwrap_err().to_string(), wanted);
        }
    }

    #[test]
    fn further_tables_are_refused_as_wholes() {
        let good = TablesText {
            kinds: "group a.io/v1 1/1\n  bees Bee plain",
            columns: "a.io/v1 Bee\n  Name",
            types: "type a.v1.Bee object",
        };
        assert_eq!(beside_builtin(good).unwrap()[0].type_name(), "a.v1.Bee");
        let cases = [
            (
                TablesText {
                    kinds: "  bees",
                    ..good
                },
                "cannot read \"  bees\"",
            ),
            (
                TablesText {
                    columns: "a.io/v1 Bee\n  Nobody",
                    ..good
                },
                "cannot read the column \"  Nobody\"",
            ),
            (
                TablesText {
                    types: "type a.v1.Wasp object",
                    ..good
                },
                "there is no type a.v1.Bee",
            ),
        ];
        for (text, wanted) in cases {
            assert_eq!(beside_builtin(text).unwrap_err().to_string(), wanted);
        }
        let types = "type a.v1.Bee object\n  wings pair";
        let refused = beside_builtin(TablesText { types, ..good }).unwrap_err();
        assert!(matches!(refused, ListError::Types(_)), "{refused}");
    }

    #[test]
    fn lines_go_on() {
        let kind = of(
            "group a.io/v1 1/1\n  bees Bee plain short=b,c\n    select=spec.x,y<p.0.q|r.s,n:int,f:bool aka=old>spec.x\n    -- a b c",
        );
        assert_eq!(
            (kind.group, kind.version, kind.singular),
            ("a.io", "v1", "bee")
        );
        assert_eq!(kind.short_names, ["b", "c"]);
        assert_eq!(kind.flags.deprecation, Some("a b c"));
        assert_eq!(kind.flags.field_names, [("old", "spec.x")]);
        let values = |object| -> Vec<String> {
            kind.selectable
                .iter()
                .map(|field| field.value(&object))
                .collect()
        };
        assert_eq!(values(json!({})), ["", "", "0", "false"]);
        let object =
            json!({"spec": {"x": "1"}, "p": [{"q": "2"}], "r": {"s": "3"}, "n": 4, "f": true});
        assert_eq!(values(object), ["1", "2", "4", "true"]);
        assert_eq!(values(json!({"p": [], "r": {"s": "3"}}))[1], "3");
    }

    #[test]
    fn names_follow_the_rule_of_the_line() {
        let addresses = of("group v1 1/1\n  bees Bee plain names=ip")
            .flags
            .validate_name;
        assert!(
            addresses("10.0.0.1", false).is_empty() && addresses("2001:db8::1", false).is_empty()
        );
        assert_eq!(
            addresses("2001:db8::0:1", false),
            ["must be in canonical form (\"2001:db8::1\")"]
        );
        assert_eq!(
            addresses("a", false),
            ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]
        );
        for (rule, good, bad) in [
            ("subdomain", "a.b", "a_b"),
            ("label", "1a", "a.b"),
            ("dns1035", "a1", "1a"),
            ("segment", "a:b", "a/b"),
            ("bytes", "a.b", "a_b"),
        ] {
            let name = flags::name_rule(rule).unwrap();
            assert!(
                name(good, false).is_empty() && !name(bad, false).is_empty(),
                "{rule}"
            );
        }
    }
}
