//! Clusters whose pods and services have addresses of IPv6, alone or beside those of IPv4, as `skiff up --ip-family` makes them.

use crate::support::{Cluster, PROGRAM};

const NODE: &str = "{.spec.podCIDRs[*]}";
const SERVICE: &str = "{.spec.clusterIPs[*]}";

/// What stands at a path of an object.
fn field(cluster: &Cluster, of: &str, path: &str) -> String {
    let mut args: Vec<&str> = vec!["get"];
    args.extend(of.split(' '));
    let output = format!("-ojsonpath={path}");
    args.push(&output);
    cluster.run(PROGRAM, &args)
}

/// The words begin so, one for one.
#[track_caller]
fn begin(text: &str, with: &[&str]) {
    let words: Vec<&str> = text.split_whitespace().collect();
    let fit = words
        .iter()
        .zip(with)
        .all(|(word, with)| word.starts_with(with));
    assert!(fit && words.len() == with.len(), "{words:?} {with:?}");
}

/// A simulated cluster with a Deployment and a service that wants what families there are.
fn serving(flags: &[&str]) -> Cluster {
    let mut all = vec!["--simulate=2"];
    all.extend(flags);
    let cluster = Cluster::start(&all);
    let run = |line: &str| cluster.run(PROGRAM, &line.split(' ').collect::<Vec<_>>());
    run("create deployment web --image=x --replicas=1 --port=80");
    run("expose deployment web --port=80");
    run(r#"patch service web -p {"spec":{"ipFamilyPolicy":"PreferDualStack"}}"#);
    run("wait deployment/web --for=condition=Available --timeout=30s");
    cluster
}

/// `FAMILY ADDRESS` of the slices of the service, once there are so many.
fn slices(cluster: &Cluster, count: usize) -> Vec<String> {
    let path = r#"{range .items[*]}{.addressType}{" "}{.endpoints[*].addresses[*]}{"\n"}{end}"#;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let text = field(
            cluster,
            "endpointslices -lkubernetes.io/service-name=web",
            path,
        );
        let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
        let full = lines.iter().all(|line| line.contains(['.', ':']));
        if full && lines.len() == count {
            lines.sort();
            return lines;
        }
        assert!(std::time::Instant::now() < deadline, "{text}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn both_families() {
    let cluster = serving(&["--ip-family", "dual"]);
    let pod = field(&cluster, "pod -lapp=web", "{.items[0].status.podIPs[*].ip}");
    begin(&pod, &["10.244.", "fd00:10:244:"]);
    begin(
        &field(&cluster, "node node-1", NODE),
        &["10.244.", "fd00:10:244:"],
    );
    begin(
        &field(&cluster, "service web", SERVICE),
        &["10.96.", "fd00:10:96::"],
    );
    let dns = field(&cluster, "service kube-dns -nkube-system", SERVICE);
    assert_eq!(dns, "10.96.0.10 fd00:10:96::a");
    assert_eq!(field(&cluster, "service kubernetes", SERVICE), "10.96.0.1");
    let ips: Vec<&str> = pod.split(' ').collect();
    let wanted = [format!("IPv4 {}", ips[0]), format!("IPv6 {}", ips[1])];
    assert_eq!(slices(&cluster, 2), wanted);
}

#[test]
fn ipv6_alone() {
    let cluster = serving(&["--ip-family", "ipv6"]);
    let pod = field(&cluster, "pod -lapp=web", "{.items[0].status.podIPs[*].ip}");
    begin(&pod, &["fd00:10:244:"]);
    begin(&field(&cluster, "node node-1", NODE), &["fd00:10:244:"]);
    begin(&field(&cluster, "service web", SERVICE), &["fd00:10:96::"]);
    let dns = field(&cluster, "service kube-dns -nkube-system", SERVICE);
    assert_eq!(dns, "fd00:10:96::a");
    assert_eq!(
        field(&cluster, "service kubernetes", SERVICE),
        "fd00:10:96::1"
    );
    let server = field(
        &cluster,
        "endpoints kubernetes",
        "{.subsets[0].addresses[*].ip}",
    );
    assert_eq!(server, "::1");
    assert_eq!(slices(&cluster, 1), [format!("IPv6 {pod}")]);
}

#[test]
fn a_cluster_of_one_family_gets_the_other_and_gives_it_back() {
    let mut cluster = Cluster::start(&["--simulate"]);
    let dns = |cluster: &Cluster| field(cluster, "service kube-dns -nkube-system", SERVICE);
    assert_eq!(dns(&cluster), "10.96.0.10");
    cluster.interrupt();
    cluster.up(&["--simulate", "--ip-family", "dual"]);
    assert_eq!(dns(&cluster), "10.96.0.10 fd00:10:96::a");
    cluster.interrupt();
    // whoever says nothing has the same cluster again
    cluster.up(&["--simulate"]);
    assert_eq!(dns(&cluster), "10.96.0.10 fd00:10:96::a");
    cluster.interrupt();
    cluster.up(&["--simulate", "--ip-family", "ipv4"]);
    assert_eq!(dns(&cluster), "10.96.0.10");
}
