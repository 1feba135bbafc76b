//! Nodes and pods reach each other, cables can be pulled, and nothing is left behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    super::{
        PodNetworks, cluster,
        link::Links,
        nft::{Family, Nft},
        ns::Namespace,
        pods,
    },
    lab::*,
};

#[tokio::test(flavor = "multi_thread")]
async fn pods_reach_each_other() {
    if !possible().await {
        return;
    }
    let lab = Lab::new(2).await;
    let start = Instant::now();
    let a = lab.pod_with_server(0, "a", 80).await;
    eprintln!("first pod's network: {:?}", start.elapsed());
    let b = lab.pod_with_server(0, "b", 80).await;
    let c = lab.pod_with_server(1, "c", 80).await;
    let (to_b, to_c) = (SocketAddr::new(b.ip, 80), SocketAddr::new(c.ip, 80));
    assert_eq!(
        ask(&a.ns, to_b).await.unwrap(),
        ("b".into(), a.ip.to_string()),
        "neighbours on one bridge"
    );
    assert_eq!(
        ask(&a.ns, to_c).await.unwrap(),
        ("c".into(), a.ip.to_string()),
        "pods of two nodes"
    );
    assert_eq!(
        server(&a.ns, SocketAddr::new(a.ip, 80)).await,
        "a",
        "a pod itself"
    );
    assert_eq!(
        server(&lab.nodes[0].net.ns, to_b).await,
        "b",
        "a node its pod"
    );
    assert_eq!(
        server(&lab.nodes[0].net.ns, to_c).await,
        "c",
        "a node the other's pod"
    );
    assert_eq!(
        ask(&lab.host, to_c).await.unwrap(),
        ("c".into(), lab.cluster.gateway().await.to_string()),
        "the host a pod"
    );

    lab.cluster.cut("node1").await.unwrap();
    assert!(ask(&a.ns, to_c).await.is_err());
    assert!(ask(&a.ns, to_b).await.is_ok());
    lab.cluster.mend("node1").await.unwrap();
    answers("the mended node answers", &a.ns, to_c).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_restart_keeps_pods() {
    if !possible().await {
        return;
    }
    let lab = Lab::new(1).await;
    let a = lab.pod_with_server(0, "a", 80).await;
    let run = lab.dir.path().join("run");
    let cluster = cluster::ClusterNetwork::ensure(cluster::ClusterNetworkConfig {
        resume: true,
        ..config(&lab.host, run.clone()).await
    })
    .await
    .unwrap();
    let node = cluster.add_node("node0").await.unwrap();
    assert_eq!(node.ip, lab.nodes[0].net.ip);
    let again = pods::PodNetworkConfig {
        node: node.ns,
        dir: run.join("node0"),
        pod_cidrs: vec!["10.244.0.0/24".parse().unwrap()],
        mtu: None,
        walls: None,
    };
    let again = pods::BridgeNetworks::start(again).await.unwrap();
    assert_eq!(again.list().await.unwrap(), ["a"]);
    assert_eq!(again.setup("a").await.unwrap().ips, [a.ip]);
    assert_eq!(server(&lab.host, SocketAddr::new(a.ip, 80)).await, "a");
    again.teardown("a").await.unwrap();
    again.teardown("a").await.unwrap();
    assert!(!a.net.netns.exists() && again.list().await.unwrap().is_empty());
    assert_ne!(
        again.setup("b").await.unwrap().ips,
        [a.ip],
        "an address rests before it is used again"
    );
}

/// A bridge takes the lowest hardware address among its ports unless it was given one of its own, and then everybody behind it sends to a wrong one.
#[tokio::test(flavor = "multi_thread")]
async fn who_stays_does_not_notice_who_comes_and_goes() {
    if !possible().await {
        return;
    }
    let lab = Lab::new(1).await;
    let a = lab.pod(0, "a").await;
    let out = SocketAddr::new(lab.cluster.gateway().await.into(), 80);
    serve(&lab.host, out, "host").await;
    let mut slowest = Duration::ZERO;
    let mut look = async || {
        let begun = Instant::now();
        assert_eq!(
            ask(&a.ns, out)
                .await
                .map(|(name, _)| name)
                .map_err(|e| e.to_string()),
            Ok("host".to_owned())
        );
        slowest = slowest.max(begun.elapsed());
    };
    look().await;
    let others: Vec<String> = (0..24).map(|i| format!("other{i}")).collect();
    for uid in &others {
        lab.pod(0, uid).await;
        look().await;
    }
    for uid in &others {
        lab.nodes[0].pods.teardown(uid).await.unwrap();
        look().await;
    }
    assert!(
        slowest < Duration::from_millis(800),
        "an answer took {slowest:?}"
    );
}

/// A node remembers who had an address before; the next one is found there all the same.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_answers_at_once_whoever_had_it_before() {
    if !possible().await {
        return;
    }
    let lab = Lab::new(0).await;
    let node = lab.cluster.add_node("small").await.unwrap();
    let config = pods::PodNetworkConfig {
        node: node.ns.clone(),
        dir: lab.dir.path().join("small"),
        pod_cidrs: vec!["10.244.0.0/29".parse().unwrap()],
        mtu: None,
        walls: None,
    };
    let pods = pods::BridgeNetworks::start(config).await.unwrap();
    let mut had = BTreeSet::new();
    for uid in ["a", "b", "c", "d", "e", "f", "g"] {
        let pod = pods.setup(uid).await.unwrap();
        let at = SocketAddr::new(pod.ips[0], 80);
        serve(&Namespace::open(&pod.netns).unwrap(), at, uid).await;
        let begun = Instant::now();
        assert_eq!(
            ask(&node.ns, at)
                .await
                .map(|(name, _)| name)
                .map_err(|e| e.to_string()),
            Ok(uid.to_owned())
        );
        assert!(
            begun.elapsed() < Duration::from_millis(800),
            "{at} answered after {:?}",
            begun.elapsed()
        );
        pods.teardown(uid).await.unwrap();
        had.insert(at);
    }
    assert_eq!(had.len(), 5, "none was used twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_behind() {
    if !possible().await {
        return;
    }
    let host = Namespace::current().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let config = config(&host, run.clone()).await;
    let instance = config.instance.clone();
    let _guard = ClearAtEnd {
        host: host.clone(),
        run: run.clone(),
        instance: instance.clone(),
    };
    let traces = || traces(&host, &instance);
    let before = traces().await;
    assert!(before.is_empty(), "{before:?}");
    let made = cluster::ClusterNetwork::ensure(config.clone())
        .await
        .unwrap();
    let node = made.add_node("n").await.unwrap();
    made.set_pod_cidrs("n", vec!["10.244.0.0/24".parse().unwrap()])
        .await
        .unwrap();
    let pod_config = pods::PodNetworkConfig {
        node: node.ns.clone(),
        dir: run.join("n"),
        pod_cidrs: vec!["10.244.0.0/24".parse().unwrap()],
        mtu: None,
        walls: None,
    };
    let pods = pods::BridgeNetworks::start(pod_config).await.unwrap();
    pods.setup("p").await.unwrap();
    assert_ne!(traces().await, before);
    // As after a kill: the objects are forgotten, not closed.
    std::mem::forget(made);
    cluster::clear(&host, &run, &instance).await.unwrap();
    assert_eq!(traces().await, before);
    cluster::clear(&host, &run, &instance).await.unwrap();
    // And in good order.
    let made = cluster::ClusterNetwork::ensure(config).await.unwrap();
    made.add_node("n").await.unwrap();
    made.remove_node("n").await.unwrap();
    made.add_node("m").await.unwrap();
    made.remove().await.unwrap();
    assert_eq!(traces().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn clusters_that_begin_at_once_have_networks_of_their_own() {
    if !possible().await {
        return;
    }
    let lab = Lab::new(0).await;
    let host = &lab.host;
    let mut beginning = tokio::task::JoinSet::new();
    for n in 0..8 {
        let config = config(host, lab.dir.path().join(format!("run-{n}"))).await;
        beginning.spawn(async move {
            let made = cluster::ClusterNetwork::ensure(config.clone()).await;
            (made.unwrap(), config)
        });
    }
    let mut made = beginning.join_all().await;
    let mut ranges = BTreeSet::new();
    for (network, _) in &made {
        ranges.insert(network.cidr().await);
    }
    assert_eq!(ranges.len(), made.len(), "{ranges:?}");

    // one that comes back after somebody else took its range has another
    let (first, mut config) = made.pop().unwrap();
    let range = first.cidr().await;
    let links = Links::open(host).await.unwrap();
    let state = config.run_dir.join("network.json");
    let kept = std::fs::read(&state).unwrap();
    first.remove().await.unwrap();
    std::fs::create_dir_all(&config.run_dir).unwrap();
    std::fs::write(&state, kept).unwrap();
    config.resume = true;
    let (other, _) = made.pop().unwrap();
    let theirs = links.need(&other.bridge().await).await.unwrap();
    let address = range.hosts().next().unwrap();
    links
        .add_address(theirs, address.into(), range.prefix_len())
        .await
        .unwrap();
    let again = cluster::ClusterNetwork::ensure(config).await.unwrap();
    assert_ne!(again.cidr().await, range);
}

/// Interfaces, routes, mounted namespaces and nftables' tables that bear the instance's mark.
async fn traces(host: &Namespace, instance: &str) -> BTreeSet<String> {
    let links = Links::open(host).await.unwrap();
    let hash = cluster::Names::new(instance).hash;
    let ours: BTreeMap<_, _> = links
        .all()
        .await
        .unwrap()
        .into_iter()
        .filter(|(l, _)| l.contains(&hash))
        .collect();
    let routes = links.own_routes().await.unwrap();
    let mut traces: BTreeSet<_> = routes
        .iter()
        .filter(|r| ours.values().any(|(i, _)| *i == r.link))
        .map(|r| format!("{r:?}"))
        .collect();
    traces.extend(ours.into_keys());
    traces.extend(
        cluster::namespaces_below(std::path::Path::new(instance))
            .unwrap()
            .iter()
            .map(|p| p.display().to_string()),
    );
    if let Ok(nft) = Nft::find(host).await {
        let listed = nft.tables(Family::Ip).await.unwrap();
        traces.extend(listed.into_iter().filter(|name| name.contains(&hash)));
    }
    traces
}

/// Clears up even when the test panics: the only one that works on the machine itself.
struct ClearAtEnd {
    host: Namespace,
    run: std::path::PathBuf,
    instance: String,
}

impl Drop for ClearAtEnd {
    fn drop(&mut self) {
        let (host, run, instance) = (self.host.clone(), self.run.clone(), self.instance.clone());
        let cleared = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime
                .block_on(cluster::clear(&host, &run, &instance))
                .map_err(std::io::Error::other)
        });
        if !matches!(cleared.join(), Ok(Ok(()))) {
            eprintln!("something of {} may be left behind", self.instance);
        }
    }
}
