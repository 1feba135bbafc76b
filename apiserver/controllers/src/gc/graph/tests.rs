use super::*;

fn meta(uid: &str, owners: &[(&str, bool)]) -> Meta {
    let reference = |(uid, block): &(&str, bool)| OwnerReference {
        uid: uid.to_string(),
        name: uid.to_string(),
        kind: "K".into(),
        api_version: "v1".into(),
        block_owner_deletion: Some(*block),
        ..Default::default()
    };
    Meta {
        uid: uid.into(),
        name: uid.into(),
        namespace: "ns".into(),
        owner_references: owners.iter().map(reference).collect(),
        ..Meta::default()
    }
}

fn going(mut meta: Meta, finalizer: &str) -> Meta {
    meta.deleted = true;
    meta.finalizers = vec![finalizer.into()];
    meta
}

fn todo(delete: &[&str], orphan: &[&str]) -> Todo {
    let list = |l: &[&str]| l.iter().map(ToString::to_string).collect();
    Todo {
        delete: list(delete),
        orphan: list(orphan),
        misplaced: Vec::new(),
    }
}

#[test]
fn an_unseen_owner_is_looked_up_and_its_loss_tells_the_dependents() {
    let mut graph = Graph::default();
    assert_eq!(
        graph.observe("v1", "K", &meta("child", &[("owner", false)])),
        todo(&["owner"], &[])
    );
    assert_eq!(
        graph.observe("v1", "K", &meta("owner", &[])),
        todo(&[], &[])
    );
    assert_eq!(graph.remove("owner"), todo(&["child"], &[]));
    let reference = meta("child", &[("owner", false)])
        .owner_references
        .remove(0);
    assert!(graph.is_absent(&reference, "ns") && !graph.is_absent(&reference, "other"));
    let reference = OwnerReference {
        api_version: "v2".into(),
        ..reference
    };
    assert!(!graph.is_absent(&reference, "ns"), "not in this version");
}

#[test]
fn a_foreground_deletion_waits_for_those_that_block() {
    let mut graph = Graph::default();
    graph.observe("v1", "K", &meta("owner", &[]));
    graph.observe("v1", "K", &meta("child", &[("owner", true)]));
    assert_eq!(
        graph.observe("v1", "K", &going(meta("owner", &[]), FOREGROUND)),
        todo(&["child", "owner"], &[])
    );
    assert_eq!(graph.blocking("owner").len(), 1);
    assert_eq!(
        graph.observe("v1", "K", &going(meta("owner", &[]), FOREGROUND)),
        todo(&[], &[]),
        "only once"
    );
    assert_eq!(graph.remove("child"), todo(&["owner"], &[]));
    assert!(graph.blocking("owner").is_empty());
}

#[test]
fn a_dependent_that_stops_blocking_wakes_its_owner() {
    let mut graph = Graph::default();
    graph.observe("v1", "K", &going(meta("owner", &[]), FOREGROUND));
    graph.observe("v1", "K", &meta("child", &[("owner", true)]));
    assert_eq!(
        graph.observe("v1", "K", &meta("child", &[("owner", false)])),
        todo(&["owner"], &[])
    );
    assert_eq!(
        graph.observe("v1", "K", &meta("child", &[])),
        todo(&[], &[])
    );
}

#[test]
fn orphaning_is_asked_for_once() {
    let mut graph = Graph::default();
    assert_eq!(
        graph.observe("v1", "K", &going(meta("owner", &[]), ORPHAN)),
        todo(&[], &["owner"])
    );
    assert_eq!(
        graph.observe("v1", "K", &going(meta("owner", &[]), ORPHAN)),
        todo(&[], &[])
    );
}

#[test]
fn decisions() {
    let s = |l: &[&str]| l.iter().map(ToString::to_string).collect::<Vec<_>>();
    #[rustfmt::skip]
    let cases = [
        (1, s(&[]), s(&[]), false, s(&[]), Action::Keep),
        (1, s(&["d"]), s(&["w"]), true, s(&[]), Action::Forget(s(&["d", "w"]))),
        (0, s(&["d"]), s(&[]), false, s(&[]), Action::Delete("Background")),
        (0, s(&["d"]), s(&[]), false, s(&[ORPHAN]), Action::Delete("Orphan")),
        (0, s(&[]), s(&["w"]), false, s(&[FOREGROUND]), Action::Delete("Foreground")),
        (0, s(&[]), s(&["w"]), true, s(&[]), Action::DeleteForeground),
    ];
    for (solid, dangling, waiting, dependents, finalizers, expected) in cases {
        assert_eq!(
            decide(solid, dangling, waiting, dependents, &finalizers),
            expected
        );
    }
}

fn within(mut meta: Meta, namespace: &str) -> Meta {
    meta.namespace = namespace.into();
    meta
}

#[test]
fn an_owner_in_another_namespace_is_told_whichever_is_seen_first() {
    let place = "[v1/K, namespace: elsewhere, name: owner, uid: owner]";
    let told = |todo: Todo| {
        todo.misplaced
            .into_iter()
            .map(|(object, owner)| format!("{} {owner}", object.name))
            .collect::<Vec<_>>()
    };
    let child = within(meta("child", &[("owner", false)]), "elsewhere");
    let mut graph = Graph::default();
    graph.observe("v1", "K", &within(meta("owner", &[]), "home"));
    let todo = graph.observe("v1", "K", &child);
    assert_eq!(
        (&todo.delete[..], told(graph.observe("v1", "K", &child))),
        (&["child".to_string()][..], vec![]),
        "once"
    );
    assert_eq!(told(todo), [format!("child {place}")]);

    let mut graph = Graph::default();
    graph.observe("v1", "K", &child);
    let todo = graph.observe("v1", "K", &within(meta("owner", &[]), "home"));
    assert_eq!(
        (&todo.delete[..], told(todo.clone())),
        (&["child".to_string()][..], vec![format!("child {place}")])
    );
}

#[test]
fn an_owner_that_is_not_where_one_dependent_means_it_is_looked_for_where_others_do() {
    let mut graph = Graph::default();
    graph.observe(
        "v1",
        "K",
        &within(meta("bad", &[("owner", false)]), "elsewhere"),
    );
    graph.observe(
        "v1",
        "K",
        &within(meta("good", &[("owner", false)]), "home"),
    );
    let meant = |namespace: &str| Identity {
        api_version: "v1".into(),
        kind: "K".into(),
        namespace: namespace.into(),
        name: "owner".into(),
        uid: "owner".into(),
    };
    assert_eq!(
        graph.lost(&meant("elsewhere")),
        todo(&["bad", "owner"], &[])
    );
    assert_eq!(graph.get("owner").unwrap().identity, meant("home"));
    // it is there: the one that meant it there hears of its end
    graph.observe("v1", "K", &within(meta("owner", &[]), "home"));
    assert_eq!(
        graph.lost(&meant("elsewhere")).delete,
        ["bad"],
        "what was seen stays"
    );
    let mut heard = graph.remove("owner").delete;
    heard.sort();
    assert_eq!(heard, ["bad", "good"]);
}

#[test]
fn names_that_nobody_uses_are_forgotten() {
    let mut names = Names::default();
    let used = names.one("used");
    for number in 0..10_000 {
        names.one(&number.to_string());
    }
    assert!(names.known.len() <= 66, "{}", names.known.len());
    assert!(Arc::ptr_eq(&used, &names.one("used")));
}
