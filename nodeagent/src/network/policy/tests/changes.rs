//! A change touches what it changes, and no more.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{
    super::{
        plan::{Plan, Touched},
        view::{Seen, Told},
    },
    planned::{listed, own, pod, town},
    yaml,
};

fn names(touched: &Touched) -> (usize, usize, usize, usize) {
    let elements = touched.elements.values().map(BTreeSet::len).sum();
    (
        touched.addresses.len(),
        touched.chains.len(),
        touched.sets.len(),
        elements,
    )
}

#[test]
fn a_change_touches_what_it_changes() {
    let (mut plan, now) = (town(), Instant::now());
    let spec = yaml(
        "{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {tier: back}}}]}]}",
    );
    // The same selector in two policies is one set.
    listed(&mut plan, &[("shop", &spec), ("shop", &spec)]);
    assert_eq!(names(&plan.touched()), (1, 1, 1, 0));
    assert_eq!(plan.sets().count(), 1);
    let put = |plan: &mut Plan, uid: &str, address: &str, labels: &str| {
        plan.take(
            Told::Pods(Seen::Applied(uid.into(), pod("shop", address, labels, ""))),
            now,
        );
        names(&plan.touched())
    };
    assert_eq!(
        put(&mut plan, "new", "10.0.2.1", "app=new"),
        (0, 0, 0, 0),
        "nobody's peer"
    );
    assert_eq!(put(&mut plan, "new", "10.0.2.1", "tier=back"), (0, 0, 0, 1));
    assert_eq!(
        put(&mut plan, "new", "10.0.2.1", "tier=back"),
        (0, 0, 0, 0),
        "the same again"
    );
    assert_eq!(
        put(&mut plan, "new", "10.0.2.2", "tier=back"),
        (0, 0, 0, 2),
        "another address"
    );
    assert_eq!(
        put(&mut plan, "twin", "10.0.2.2", "tier=back"),
        (0, 0, 0, 0),
        "an address that is there"
    );
    plan.take(Told::Pods(Seen::Gone("new".into())), now);
    assert_eq!(
        names(&plan.touched()),
        (0, 0, 0, 0),
        "it is still another's"
    );
    plan.take(Told::Pods(Seen::Gone("twin".into())), now);
    assert_eq!(names(&plan.touched()), (0, 0, 0, 1));
    // A pod with the same walls shares the chain.
    plan.take(
        Told::Pods(Seen::Applied(
            "web2".into(),
            pod("shop", "10.0.0.2", "app=web", ""),
        )),
        now,
    );
    plan.add_own("web2", own("10.0.0.2"), now);
    assert_eq!(names(&plan.touched()), (1, 0, 0, 0));
    // The walls come down; chain and set rest before they go.
    listed(&mut plan, &[]);
    plan.sweep(now);
    assert_eq!(names(&plan.touched()), (2, 0, 0, 0));
    plan.sweep(now + Duration::from_secs(2));
    assert_eq!(names(&plan.touched()), (0, 1, 1, 0));
    assert_eq!((plan.sets().count(), plan.chains().count()), (0, 0));
}
