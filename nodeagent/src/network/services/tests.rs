//! The service proxy's rounds, one by one, on real nftables.

use serde_json::json;

use super::{
    super::{nft::Batch, tests::services::nftables},
    picks::PICKED,
    *,
};

/// A proxy with one service, of which `count` endpoints are told.
async fn proxy(ns: &Namespace, count: u32) -> Proxy {
    let config = ProxyConfig {
        node: ns.clone(),
        node_name: "node".into(),
        pod_cidrs: vec!["10.244.0.0/24".parse().unwrap()],
        service_cidrs: Vec::new(),
        own_cluster_ips: Vec::new(),
        force_userspace: false,
    };
    let view = Arc::new(ClusterView::default());
    let service = json!({"metadata": {"namespace": "ns", "name": "web"}, "spec": {"clusterIP": "10.96.0.5", "ports": [{"port": 80}]}});
    view.put_service(serde_json::from_value(service).unwrap());
    let mut proxy = Proxy {
        plans: BTreeMap::new(),
        health: health::HealthServers::new(ns.clone(), IpFamily::V4),
        backend: backend(&config, IpFamily::V4).await.unwrap(),
        place: Place {
            family: IpFamily::V4,
            pod_cidr: config.pod_cidrs[0],
        },
        view,
        config,
    };
    endpoints(&proxy, count);
    let facts = proxy.facts();
    proxy.replace(&facts).await.unwrap();
    proxy
}

fn endpoints(proxy: &Proxy, count: u32) {
    let endpoint = |number| json!({"addresses": [format!("10.244.1.{number}")], "conditions": {"ready": true}});
    let slice = json!({"metadata": {"namespace": "ns", "name": "web", "labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4",
        "ports": [{"name": "", "port": 8080}], "endpoints": (1..=count).map(endpoint).collect::<Vec<_>>()});
    proxy.view.put_slice(serde_json::from_value(slice).unwrap());
}

async fn changed(proxy: &mut Proxy, count: u32) {
    endpoints(proxy, count);
    let facts = proxy.facts();
    let name = ObjectName::new("ns", "web");
    proxy.change([name].into(), &facts).await.unwrap();
}

/// Until something has rested long enough.
async fn rested(proxy: &Proxy) {
    let Backend::Nftables { table, .. } = &proxy.backend else {
        panic!("there is nftables");
    };
    assert!(table.next_sweep().is_some());
    tokio::time::sleep(proxy.rest()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rests_goes_and_if_that_fails_all_is_made_anew() {
    if !nftables().await {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ns");
    let ns = Namespace::make(&path).await.unwrap();
    let (nft, table) = (Nft::find(&ns).await.unwrap(), elements::table(IpFamily::V4));
    let mut proxy = proxy(&ns, PICKED + 2).await;
    let many = elements::pick(PICKED + 2);
    assert!(nft.has_chain(&table, &many).await.unwrap());
    changed(&mut proxy, 2).await;
    assert!(nft.has_chain(&table, &many).await.unwrap(), "it rests");
    rested(&proxy).await;
    assert!(!proxy.care().await, "nothing is wrong");
    assert!(!nft.has_chain(&table, &many).await.unwrap());
    assert!(!proxy.care().await, "nothing is wrong still");

    changed(&mut proxy, PICKED + 2).await;
    changed(&mut proxy, 1).await;
    nft.apply(Batch::cleared(&table)).await.unwrap();
    rested(&proxy).await;
    assert!(proxy.care().await, "somebody flushed the table");
    let facts = proxy.facts();
    proxy.replace(&facts).await.unwrap();
    // What was in the way of a sweep is in the way of no change.
    changed(&mut proxy, PICKED + 2).await;
    assert!(nft.has_chain(&table, &many).await.unwrap());
    proxy.health.close();
    drop(proxy);
    Namespace::delete(&path).unwrap();
}
