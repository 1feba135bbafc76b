//! What the kernel is told, beside what the program `nft` makes of the same words; where it is not there, that everything is taken.

use std::{
    net::{IpAddr, Ipv4Addr},
    process::Stdio,
};

use ipnet::IpNet;
use tokio::io::AsyncWriteExt;

use super::{
    super::{ns::Namespace, tests::services::nftables},
    *,
};

/// Runs the program `nft` in the namespace that is mounted there; `None` where it is not installed.
pub async fn nft(path: &std::path::Path, args: &[&str], input: &str) -> Option<String> {
    let mut command = tokio::process::Command::new("nsenter");
    command
        .arg(format!("--net={}", path.display()))
        .arg("nft")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().ok()?;
    let mut stdin = child.stdin.take()?;
    stdin.write_all(input.as_bytes()).await.ok()?;
    drop(stdin);
    let output = child.wait_with_output().await.ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8(output.stdout).expect("text"))
}

const V4: IpFamily = IpFamily::V4;

fn address(family: IpFamily, ip: [u8; 4]) -> IpAddr {
    match family {
        IpFamily::V4 => ip.into(),
        IpFamily::V6 => {
            let [a, b, c, d] = ip.map(u16::from);
            [0xfd00, 0, 0, 0, a, b, c, d].into()
        }
    }
}

fn value(family: IpFamily, ip: [u8; 4]) -> Value {
    Value::Ip(address(family, ip))
}

/// A rule for each thing that rules can say and `nft` has words for.
fn rules(family: IpFamily) -> Vec<Rule> {
    let rule = Rule::new;
    let value = |ip| value(family, ip);
    let (from, to) = (
        Field::Address(family, Side::Source),
        Field::Address(family, Side::Destination),
    );
    let tcp = 6;
    let port = |port| Value::Port(port);
    let range = |a, b| (value([10, 0, 0, a]), value([10, 0, 0, b]));
    let link = |name: &str| Value::Link(name.into());
    let net = |ip, length| IpNet::new(address(family, ip), length).expect("a network");
    let more = |length| length + (family.bytes() * 8) as u8 - 32;
    let (net, odd) = match family {
        IpFamily::V4 => (net([10, 1, 0, 0], 16), net([10, 1, 16, 0], 20)),
        IpFamily::V6 => (net([10, 0, 0, 0], 80), net([0, 0, 0, 16], more(28))),
    };
    let to_port = Field::PortOf(tcp, Side::Destination);
    vec![
        rule()
            .when(from.clone(), Test::Is(value([1, 2, 3, 4])))
            .accept(),
        rule()
            .when(to.clone(), Test::IsNot(value([1, 2, 3, 4])))
            .drop(),
        rule()
            .when(to.clone(), Test::In(vec![range(1, 1), range(3, 9)]))
            .drop(),
        rule()
            .when(to.clone(), Test::NotIn(vec![range(1, 1), range(3, 3)]))
            .drop(),
        rule().when(to.clone(), Test::Within(net)).drop(),
        rule().when(from.clone(), Test::Outside(odd)).drop(),
        rule()
            .among(std::slice::from_ref(&to), "addresses")
            .goto("other"),
        rule()
            .when(to.clone(), Test::NotInSet("addresses".into()))
            .jump("other"),
        rule()
            .when(
                to_port.clone(),
                Test::In(vec![(port(1), port(9)), (port(80), port(80))]),
            )
            .drop(),
        rule()
            .among(&[from.clone(), to_port.clone()], "places")
            .drop(),
        rule()
            .when(Field::Link(Side::Source), Test::Is(link("eth0")))
            .accept(),
        rule()
            .when(
                Field::Link(Side::Destination),
                Test::BeginsNot("veth".into()),
            )
            .accept(),
        rule()
            .when(
                Field::Link(Side::Destination),
                Test::NotIn(vec![(link("a"), link("a")), (link("lo"), link("lo"))]),
            )
            .accept(),
        rule()
            .when(Field::Mark, Test::Has(0x4000))
            .then(Statement::MarkXor(0x4000)),
        rule()
            .when(Field::Mark, Test::Lacks(0x2000))
            .then(Statement::MarkOr(0x2000)),
        rule().when(Field::ConnectionState, Test::Has(NEW)).accept(),
        rule()
            .when(Field::ConnectionState, Test::Has(ESTABLISHED | RELATED))
            .accept()
            .comment("mine"),
        rule()
            .when(Field::ConnectionStatus, Test::Has(DNAT))
            .then(Statement::Masquerade { random: true }),
        rule()
            .when(Field::ConnectionDirection, Test::Is(Value::Direction(1)))
            .verdict(Verdict::Return),
        rule()
            .when(
                Field::AddressType(Side::Destination),
                Test::Is(Value::Number(LOCAL)),
            )
            .drop(),
        rule().lookup(
            &[to.clone(), Field::Protocol, Field::Port(Side::Destination)],
            "services",
        ),
        rule()
            .when(Field::Protocol, Test::Is(Value::Protocol(tcp)))
            .then(Statement::Dnat(address(family, [10, 0, 0, 1]), 80)),
        rule().then(Statement::DnatByMap(family, vec![to_port], "to".into())),
        rule()
            .when(Field::PortOf(132, Side::Destination), Test::Is(port(36412)))
            .then(Statement::Dnat(address(family, [10, 0, 0, 3]), 36412)),
        rule()
            .when(Field::Protocol, Test::Is(Value::Protocol(tcp)))
            .then(Statement::DnatAny(
                family,
                vec![
                    (address(family, [10, 0, 0, 1]), 80),
                    (address(family, [10, 0, 0, 2]), 81),
                ],
            )),
        rule().then(Statement::GotoAny(vec!["other".into(), "third".into()])),
        rule().then(Statement::Remember(family, "seen".into())),
        rule().then(Statement::Masquerade { random: false }),
    ]
}

/// A table with all of it, but for hooks whose rules others do not take.
fn everything(family: IpFamily) -> Batch {
    let table = family.table("t");
    let value = |ip| value(family, ip);
    let ip = Kind::Ip(family);
    let mut batch = Batch::new();
    batch.renew(&table, Some("a table"));
    batch.set(&table, Set::new("addresses", &[ip]));
    batch.set(&table, Set::new("places", &[ip, Kind::Port]));
    let service = [ip, Kind::Protocol, Kind::Port];
    batch.set(&table, Set::verdicts("services", &service));
    batch.set(&table, Set::map("to", &[Kind::Port], &[ip, Kind::Port]));
    let mut seen = Set::new("seen", &[ip]);
    seen.remembers = Some(60);
    batch.set(&table, seen);
    let nets = match family {
        IpFamily::V4 => ["10.0.0.0/8", "10.1.0.0/16", "255.0.0.0/8"],
        IpFamily::V6 => ["fd00::/8", "fd01::/16", "ff00::/8"],
    };
    let nets = nets.map(|net| net.parse().expect("a network"));
    batch.networks(&table, "nets", family, &nets);
    for chain in ["other", "third"] {
        batch.chain(&table, chain, None, vec![Rule::new().drop()]);
    }
    let base = Some(Base::nat(Hook::Postrouting, 100));
    let (after, rest): (Vec<_>, Vec<_>) = rules(family)
        .into_iter()
        .partition(|rule| rule.to_string().contains("masquerade"));
    batch.chain(&table, "postrouting", base, after);
    let base = Some(Base::nat(Hook::Prerouting, -100));
    let of_output = |rule: &Rule| rule.to_string().contains("oifname");
    let (out, before): (Vec<_>, Vec<_>) = rest.into_iter().partition(of_output);
    batch.chain(&table, "prerouting", base, before);
    batch.chain(&table, "out", Some(Base::filter(Hook::Output, -110)), out);
    let reject = |how| Rule::new().then(Statement::Reject(how));
    let tcp = Rule::new().when(Field::Protocol, Test::Is(Value::Protocol(6)));
    let refused = vec![
        tcp.then(Statement::Reject(Reject::TcpReset)),
        reject(Reject::HostUnreachable(family)),
        reject(Reject::PortUnreachable(family)),
    ];
    batch.chain(&table, "input", Some(Base::filter(Hook::Input, 0)), refused);
    let untracked = vec![Rule::new().then(Statement::Notrack)];
    batch.chain(
        &table,
        "raw",
        Some(Base::filter(Hook::Prerouting, -300)),
        untracked,
    );
    let add = |set: &str, all| Change::AddElements(set.into(), all);
    batch.push(
        &table,
        add("addresses", vec![Element::of(vec![value([1, 1, 1, 1])])]),
    );
    let place = vec![value([1, 1, 1, 1]), Value::Port(80)];
    batch.push(&table, add("places", vec![Element::of(place.clone())]));
    let to = Element::values(vec![Value::Port(8080)], place);
    batch.push(&table, add("to", vec![to]));
    let key = vec![value([1, 1, 1, 1]), Value::Protocol(17), Value::Port(53)];
    let goto = Element::verdict(key, Verdict::Goto("other".into()));
    batch.push(&table, add("services", vec![goto]));
    batch
}

/// Lines without what differs from one list to another: counts of sets that have no name.
fn lines(listed: &str) -> Vec<String> {
    listed.lines().map(|line| line.trim().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kernel_holds_what_the_words_say() {
    if !nftables().await {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
    let ns = Namespace::make(&ours).await.unwrap();
    let _other = Namespace::make(&theirs).await.unwrap();
    let kernel = Nft::find(&ns).await.unwrap();
    // Twice, as a change from whatever is there.
    for family in [V4, IpFamily::V6, V4, IpFamily::V6] {
        kernel.apply(everything(family)).await.unwrap();
    }
    if nft(&ours, &["-v"], "").await.is_none() {
        skiff_testing::skipped("the program nft is not installed");
    } else {
        let script = IpFamily::ALL.map(|family| everything(family).to_string());
        let script = script.concat();
        let taken = nft(&theirs, &["-f", "-"], &script).await;
        assert!(taken.is_some(), "nft does not take\n{script}");
        let list = ["list", "ruleset"];
        let (mine, its) = (nft(&ours, &list, "").await, nft(&theirs, &list, "").await);
        assert_eq!(lines(&mine.unwrap()), lines(&its.unwrap()));
    }
    for path in [ours, theirs] {
        Namespace::delete(&path).unwrap();
    }
}

/// A network namespace of its own, and the nftables in it.
async fn empty() -> (tempfile::TempDir, std::path::PathBuf, Namespace, Nft) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ns");
    let ns = Namespace::make(&path).await.unwrap();
    let nft = Nft::find(&ns).await.unwrap();
    (dir, path, ns, nft)
}

#[tokio::test(flavor = "multi_thread")]
async fn all_or_nothing() {
    if !nftables().await {
        return;
    }
    let (_dir, path, _ns, nft) = empty().await;
    assert_eq!(nft.tables(Family::Ip).await.unwrap(), [""; 0]);
    let table = Table::ip("t");
    let mut wrong = everything(V4);
    wrong.push(&table, Change::DeleteChain("missing".into()));
    let error = nft.apply(wrong).await.unwrap_err().to_string();
    assert!(error.contains("delete chain ip t missing"), "{error}");
    assert_eq!(nft.tables(Family::Ip).await.unwrap(), [""; 0]);
    assert!(!nft.has_chain(&table, "other").await.unwrap());

    nft.apply(everything(V4)).await.unwrap();
    assert_eq!(nft.tables(Family::Ip).await.unwrap(), ["t"]);
    assert!(nft.has_chain(&table, "other").await.unwrap());
    assert!(!nft.has_chain(&table, "missing").await.unwrap());
    let chains = nft.chains(Family::Ip).await.unwrap();
    let raw = chains.iter().find(|chain| chain.name == "raw").unwrap();
    assert!(raw.table == "t" && !raw.drops);
    let rules = nft.rules(&table, "prerouting").await.unwrap();
    let mine: Vec<_> = rules.iter().filter(|rule| rule.comment.is_some()).collect();
    assert_eq!(mine.len(), 1, "{rules:?}");
    assert_eq!(mine[0].comment.as_deref(), Some("mine"));
    let mut less = Batch::new();
    less.push(
        &table,
        Change::DeleteRule("prerouting".into(), mine[0].handle),
    );
    nft.apply(less).await.unwrap();
    let left = nft.rules(&table, "prerouting").await.unwrap();
    assert_eq!(left.len(), rules.len() - 1);
    assert_eq!(nft.rules(&table, "missing").await.unwrap(), []);
    nft.apply(Batch::cleared(&table)).await.unwrap();
    nft.apply(Batch::cleared(&table)).await.unwrap();
    Namespace::delete(&path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_any_size() {
    if !nftables().await {
        return;
    }
    let (_dir, path, _ns, nft) = empty().await;
    let (table, mut batch) = (Table::ip("t"), Batch::new());
    batch.renew(&table, None);
    batch.set(&table, Set::new("many", &[Kind::Ip(V4), Kind::Port]));
    let element = |number: u32| {
        Element::of(vec![
            Value::Ip(Ipv4Addr::from(number).into()),
            Value::Port(80),
        ])
    };
    let many = || Change::AddElements("many".into(), (0..50_000).map(element).collect());
    batch.push(&table, many());
    nft.apply(batch).await.unwrap();
    let mut again = Batch::new();
    again.push(&table, many());
    again.push(
        &table,
        Change::DeleteElements("many".into(), vec![element(49_999)]),
    );
    nft.apply(again).await.unwrap();
    let mut gone = Batch::new();
    gone.push(
        &table,
        Change::DeleteElements("many".into(), vec![element(49_999)]),
    );
    let error = nft.apply(gone).await.unwrap_err().to_string();
    assert!(
        error.contains("delete element ip t many { 0.0.195.79 . 80 }"),
        "{error}"
    );
    Namespace::delete(&path).unwrap();
}

/// A name as long as the kernel takes for a chain.
fn long(number: usize) -> Name {
    format!("{}{number:04}", "c".repeat(251)).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_elements_that_lead_to_the_longest_name() {
    if !nftables().await {
        return;
    }
    let (_dir, path, _ns, nft) = empty().await;
    let (table, mut batch) = (Table::ip("t"), Batch::new());
    batch.renew(&table, None);
    let key = [Kind::Ip(V4), Kind::Protocol, Kind::Port];
    batch.set(&table, Set::verdicts("services", &key));
    let chains: Vec<_> = (0..1000).map(long).collect();
    for chain in &chains {
        batch.chain(&table, chain, None, vec![Rule::new().drop()]);
    }
    let element = |(number, chain): (u16, &Name)| {
        let key = vec![
            value(V4, [1, 1, 1, 1]),
            Value::Protocol(17),
            Value::Port(number),
        ];
        Element::verdict(key, Verdict::Goto(chain.clone()))
    };
    let elements: Vec<_> = (0..).zip(&chains).map(element).collect();
    let add = Change::AddElements("services".into(), elements.clone());
    batch.push(&table, add);
    let any = Rule::new().then(Statement::GotoAny(chains.clone()));
    batch.chain(&table, "any", None, vec![any]);
    nft.apply(batch).await.unwrap();
    assert_eq!(nft.rules(&table, "any").await.unwrap().len(), 1);
    // Each of them is there to be deleted.
    let mut gone = Batch::new();
    gone.push(&table, Change::DeleteElements("services".into(), elements));
    nft.apply(gone).await.unwrap();
    Namespace::delete(&path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_for_a_message_fails() {
    if !nftables().await {
        return;
    }
    let (_dir, path, _ns, nft) = empty().await;
    let (table, mut batch) = (Table::ip("t"), Batch::new());
    batch.renew(&table, None);
    let endless = "x".repeat(70_000);
    batch.chain(&table, &endless, None, Vec::new());
    let error = nft.apply(batch).await.unwrap_err().to_string();
    assert!(error.contains("no more than 64 KB"), "{error}");
    assert!(nft.has_chain(&table, &endless).await.is_err());
    nft.apply(everything(V4)).await.unwrap();
    Namespace::delete(&path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn elements_of_which_there_are_none_are_no_change() {
    if !nftables().await {
        return;
    }
    let (_dir, path, _ns, nft) = empty().await;
    let (table, mut batch) = (Table::ip("t"), Batch::new());
    batch.push(&table, Change::AddElements("many".into(), Vec::new()));
    assert!(batch.is_empty());
    // Not by way of `push` either.
    let none = || Change::DeleteElements("many".into(), Vec::new());
    batch.changes.push((table.clone(), none()));
    nft.apply(batch.clone()).await.unwrap();
    batch.renew(&table, None);
    batch.changes.push((table.clone(), none()));
    nft.apply(batch).await.unwrap();
    assert_eq!(nft.tables(Family::Ip).await.unwrap(), ["t"]);
    Namespace::delete(&path).unwrap();
}

/// The size that a set within a rule is declared with.
fn declared(test: Test) -> u32 {
    let mut batch = Batch::new();
    let rule = Rule::new()
        .when(Field::Address(V4, Side::Source), test)
        .drop();
    batch.push(&Table::ip("t"), Change::AddRule("c".into(), rule));
    let (bytes, _) = encode::batch(&batch).unwrap();
    let mut sets = wire::messages(&bytes).filter(|m| m.kind == message::NEW_SET);
    let set = sets.next().expect("a set").body;
    let description = wire::attribute(&set[4..], a::SET_DESCRIPTION).expect("its description");
    let size = wire::attribute(description, a::DESCRIPTION_SIZE).expect("its size");
    u32::from_be_bytes(size.try_into().unwrap())
}

/// Where a kernel counts both ends of each range, there is room for them; before the first there may be one more.
#[test]
fn a_set_of_ranges_has_room_for_both_ends() {
    let range = |a| (value(V4, [10, 0, a, 0]), value(V4, [10, 0, a, 255]));
    assert_eq!(declared(Test::NotIn(vec![range(1), range(3)])), 5);
    let one = |a| (value(V4, [10, 0, 0, a]), value(V4, [10, 0, 0, a]));
    assert_eq!(declared(Test::In(vec![one(1), one(3), one(5)])), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_kernel_does_not_know_is_unknown() {
    if !nftables().await {
        return;
    }
    let (_dir, path, _ns, nft) = empty().await;
    let table = Table::ip("t");
    assert!(nft.apply_where_known(everything(V4)).await.unwrap());
    // There is such a thing as a chain, but this one has no name that is one.
    let mut wrong = Batch::new();
    wrong.push(&table, Change::AddChain(long(0).repeat(2).into(), None));
    let error = nft.apply_where_known(wrong).await.unwrap_err().to_string();
    assert!(error.contains("add chain ip t"), "{error}");
    // A base chain of a place that its table does not have.
    let mut nowhere = Batch::new();
    let bridge = Table::bridge("t");
    nowhere.renew(&bridge, None);
    nowhere.chain(
        &bridge,
        "c",
        Some(Base::nat(Hook::Prerouting, -100)),
        Vec::new(),
    );
    assert!(!nft.apply_where_known(nowhere).await.unwrap());
    assert_eq!(nft.tables(Family::Bridge).await.unwrap(), [""; 0]);
    Namespace::delete(&path).unwrap();
}
