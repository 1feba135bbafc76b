//! Ingresses on two real nodes, asked by curl as a user would: addresses, certificates, updates under load, and what is told of what is wrong.

use std::{
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{Cluster, http_get, missing, on_path, said, skip, wait};

const MINUTE: Duration = Duration::from_secs(60);
const MANIFEST: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../testdata/manifests/shop.yaml"
);

/// An Ingress that leads a host to the shop's front.
fn ingress(name: &str, host: &str, more: Value) -> String {
    let backend = json!({"service": {"name": "front", "port": {"name": "http"}}});
    let paths = json!([{"path": "/", "pathType": "Prefix", "backend": backend}]);
    let mut spec = json!({"rules": [{"host": host, "http": {"paths": paths}}]});
    if let (Value::Object(spec), Value::Object(more)) = (&mut spec, more) {
        spec.extend(more);
    }
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name}, "spec": spec}).to_string()
}

/// A certificate for the host that signs itself, as a Secret of the cluster's; the file that clients believe.
pub fn certificate(cluster: &Cluster, host: &str) -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap();
    let file = |name: &str, text: String| {
        let path = cluster.folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let certificate = file("tls.crt", params.self_signed(&key).unwrap().pem());
    let key = file("tls.key", key.serialize_pem());
    let flags = [format!("--cert={certificate}"), format!("--key={key}")];
    cluster.skiff(&["create", "secret", "tls", "shop", &flags[0], &flags[1]]);
    certificate
}

/// What curl says.
pub fn curl(args: &[&str]) -> Result<String, String> {
    let mut command = Command::new(on_path("curl").unwrap());
    let output = command
        .args(["-s", "-S", "-m", "10"])
        .args(args)
        .output()
        .unwrap();
    said(&output)
}

fn addresses(cluster: &Cluster, ingress: &str) -> Vec<String> {
    let path = "jsonpath={.status.loadBalancer.ingress[*].ip}";
    let told = cluster.skiff(&["get", "ingress", ingress, "-o", path]);
    told.split_whitespace().map(str::to_owned).collect()
}

/// Asks both nodes without pause while `work` is done; panics if any request failed.
fn under_load(addresses: &[String], work: impl FnOnce()) {
    let (stop, answered) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let visitor = |address: &String| {
        let (stop, answered, to) = (stop.clone(), answered.clone(), format!("{address}:80"));
        std::thread::spawn(move || {
            let mut failures = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                match http_get(&to, "/") {
                    Ok(_) => _ = answered.fetch_add(1, Ordering::Relaxed),
                    Err(why) => failures.push(why),
                }
            }
            failures
        })
    };
    let visitors: Vec<_> = addresses.iter().chain(addresses).map(visitor).collect();
    work();
    stop.store(true, Ordering::Relaxed);
    let failures: Vec<String> = visitors
        .into_iter()
        .flat_map(|visitor| visitor.join().unwrap())
        .collect();
    let answered = answered.load(Ordering::Relaxed);
    assert!(
        failures.is_empty(),
        "{} of {answered} requests failed: {:?}",
        failures.len(),
        &failures[..failures.len().min(5)]
    );
    assert!(answered > 20, "only {answered} requests were made");
    println!("{answered} requests during an update, none failed");
}

/// By http it is sent on to https, and by https it is shown the certificate of its host.
fn by_tls(cluster: &Cluster, address: &str) {
    let trusted = certificate(cluster, "shop.example");
    let tls = json!({"tls": [{"hosts": ["shop.example"], "secretName": "shop"}]});
    cluster.apply(&ingress("secure", "shop.example", tls));
    let by = |port: u16| format!("shop.example:{port}:{address}");
    let (http, https) = (by(80), by(443));
    wait(MINUTE, "an answer by https", || {
        let said = curl(&[
            "--cacert",
            &trusted,
            "--resolve",
            &https,
            "-w",
            " HTTP/%{http_version}",
            "https://shop.example/x",
        ])?;
        if said.contains("shop v1") && said.ends_with(" HTTP/2") {
            Ok(())
        } else {
            Err(said)
        }
    });
    let said = curl(&[
        "--cacert",
        &trusted,
        "--resolve",
        &https,
        "--http1.1",
        "-w",
        " HTTP/%{http_version}",
        "https://shop.example/",
    ]);
    assert!(
        said.as_ref().is_ok_and(|said| said.ends_with(" HTTP/1.1")),
        "{said:?}"
    );
    let said = curl(&["-i", "--resolve", &http, "http://shop.example/x?y=z"]).unwrap();
    assert!(
        said.starts_with("HTTP/1.1 308")
            && said.contains("location: https://shop.example/x?y=z\r\n"),
        "{said}"
    );
    let other = format!("other.example:443:{address}");
    let refused = curl(&[
        "--cacert",
        &trusted,
        "--resolve",
        &other,
        "https://other.example/",
    ])
    .unwrap_err();
    assert!(
        refused.contains("certificate"),
        "it has one that nobody signed: {refused}"
    );
    let said = curl(&[
        "-k",
        "--resolve",
        &other,
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "https://other.example/",
    ]);
    assert_eq!(said.as_deref(), Ok("404"));
}

/// What is wrong is told where a user looks, and disturbs nobody else.
fn what_is_wrong(cluster: &Cluster, address: &str) {
    let tls = json!({"tls": [{"hosts": ["lost.example"], "secretName": "lost"}]});
    cluster.apply(&ingress("lost", "lost.example", tls));
    cluster.apply(&ingress("second", "test", json!({})));
    for (name, reason) in [("lost", "SecretNotFound"), ("second", "Conflict")] {
        cluster.until(MINUTE, reason, &["describe", "ingress", name]);
    }
    let said = cluster.skiff(&[
        "get",
        "secrets",
        "--as=skiff:ingress:node-1",
        "--as-group=skiff:ingress",
        "-A",
        "-o",
        "name",
    ]);
    assert!(said.contains("secret/shop"), "{said}");
    let nodes = cluster.output(
        crate::support::PROGRAM,
        &[
            "get",
            "secrets",
            "-A",
            "--as=system:node:node-1",
            "--as-group=system:nodes",
        ],
    );
    assert!(!nodes.status.success(), "a node's agent does not see them");
    assert!(http_get(&format!("{address}:80"), "/").is_ok());
}

/// Whoever takes another class gives the address back.
fn of_another_class(cluster: &Cluster, address: &str) {
    let patch = |class: &str| {
        let patch = json!({"spec": {"ingressClassName": class}}).to_string();
        cluster.skiff(&["patch", "ingress", "plain", "--type=merge", "-p", &patch]);
    };
    patch("elsewhere");
    wait(MINUTE, "the address to go", || {
        match addresses(cluster, "plain") {
            none if none.is_empty() => Ok(()),
            some => Err(format!("{some:?}")),
        }
    });
    // the Ingress that came second has the host now
    assert!(http_get(&format!("{address}:80"), "/").is_ok());
    cluster.skiff(&["delete", "ingress", "second"]);
    wait(MINUTE, "nobody to be there", || {
        let said = curl(&[
            "-H",
            "Host: test",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            &format!("http://{address}/"),
        ])?;
        if said == "404" { Ok(()) } else { Err(said) }
    });
    patch("skiff");
    wait(MINUTE, "the address again", || {
        http_get(&format!("{address}:80"), "/")
    });
}

#[test]
fn a_shop_behind_an_ingress() {
    if let Some(why) = missing(&["curl"]) {
        return skip(&why);
    }
    let mut cluster = Cluster::start(&["--nodes", "2"]);
    let classes = cluster.skiff(&["get", "ingressclass"]);
    assert!(
        classes.contains("skiff (default)") && classes.contains("skiff.dev/ingress"),
        "{classes}"
    );
    cluster.skiff(&["apply", "-f", MANIFEST]);
    cluster.skiff(&["rollout", "status", "deployment/front", "--timeout=60s"]);
    cluster.apply(&ingress("plain", "test", json!({})));
    let both = wait(MINUTE, "the addresses of both nodes", || {
        match addresses(&cluster, "plain") {
            both if both.len() == 2 => Ok(both),
            others => Err(format!("{others:?}")),
        }
    });
    let program = on_path("kubectl").unwrap_or(crate::support::PROGRAM.into());
    let shown = cluster.run(&program, &["get", "ingress", "plain"]);
    assert!(
        shown.contains(&both.join(",")) && shown.contains("skiff"),
        "{shown}"
    );
    for address in &both {
        wait(MINUTE, "an answer of each node", || {
            http_get(&format!("{address}:80"), "/")
        });
    }
    by_tls(&cluster, &both[0]);
    under_load(&both, || {
        cluster.skiff(&[
            "set",
            "image",
            "deployment/front",
            "front=skiff.local/shop:v2",
        ]);
        cluster.skiff(&["rollout", "status", "deployment/front", "--timeout=60s"]);
        wait(MINUTE, "version 2", || {
            http_get(&format!("{}:80", both[0]), "/").and_then(|body| {
                if body.contains("shop v2") {
                    Ok(())
                } else {
                    Err(body)
                }
            })
        });
    });
    what_is_wrong(&cluster, &both[0]);
    of_another_class(&cluster, &both[1]);
    let log = cluster.data().join("nodes/node-1/ingress/access.log");
    wait(MINUTE, "the log of requests", || logged(&log));
    cluster.down();
    let left = cluster.left();
    assert!(left.is_empty(), "left behind: {left:?}");
    assert!(http_get(&format!("{}:80", both[0]), "/").is_err());
}

fn logged(log: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(log).map_err(|error| error.to_string())?;
    if text.contains("\"GET /x?y=z HTTP/1.1\" 308 ") && text.contains("\"GET /x HTTP/2.0\" 200 ") {
        Ok(())
    } else {
        Err(text)
    }
}
