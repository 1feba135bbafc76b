//! A real image that nobody here wrote: Debian's nginx, pushed to Debian's docker-registry, pulled by a Deployment, with and without a
//! password; and images that are not there.

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use base64::Engine;
use serde_json::json;

use crate::support::{Cluster, http_get, images, missing, on_path, skip, wait};

const MINUTE: Duration = Duration::from_secs(60);
const CONFIG: &str = "daemon off; user root; pid /tmp/nginx.pid; error_log /dev/stderr; events {}\n\
    http { access_log off; client_body_temp_path /tmp/b; proxy_temp_path /tmp/p; fastcgi_temp_path /tmp/f; uwsgi_temp_path /tmp/u; scgi_temp_path /tmp/s;\n\
    server { listen 80; root /www; } }\n";

/// Debian's registry on a free port of loopback.
struct Registry {
    child: Child,
    port: u16,
}

impl Registry {
    /// `accounts`: the text of an htpasswd file.
    fn start(folder: &Path, name: &str, accounts: Option<&str>) -> Registry {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let data = folder.join(name);
        std::fs::create_dir_all(&data).unwrap();
        let mut config = json!({"version": 0.1, "storage": {"filesystem": {"rootdirectory": data}}, "http": {"addr": format!("127.0.0.1:{port}")}, "log": {"level": "error"}});
        if let Some(accounts) = accounts {
            std::fs::write(data.join("htpasswd"), accounts).unwrap();
            config["auth"] = json!({"htpasswd": {"realm": "test", "path": data.join("htpasswd")}});
        }
        let file = data.join("config.yml");
        std::fs::write(&file, config.to_string()).unwrap();
        let child = Command::new(on_path("docker-registry").unwrap())
            .arg("serve")
            .arg(file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait(MINUTE, "the registry", || {
            std::net::TcpStream::connect(("127.0.0.1", port))
                .map(drop)
                .map_err(|error| error.to_string())
        });
        Registry { child, port }
    }

    /// Pushes an archive as `NAME:1`; the image's reference.
    fn push(&self, archive: &Path, name: &str, credentials: Option<&str>) -> String {
        let reference = format!("127.0.0.1:{}/{name}:1", self.port);
        let mut command = Command::new(on_path("skopeo").unwrap());
        command.args(["--insecure-policy", "copy", "--dest-tls-verify=false", "-q"]);
        if let Some(credentials) = credentials {
            command.args(["--dest-creds", credentials]);
        }
        let output = command
            .arg(format!("docker-archive:{}", archive.display()))
            .arg(format!("docker://{reference}"))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        reference
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn deployment(name: &str, image: &str, secret: Option<&str>) -> String {
    let secrets: Vec<_> = secret.iter().map(|name| json!({"name": name})).collect();
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"imagePullSecrets": secrets, "terminationGracePeriodSeconds": 1, "containers": [
                {"name": "nginx", "image": image, "ports": [{"name": "http", "containerPort": 80}], "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1}}]}}}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"type": "NodePort", "selector": {"app": name}, "ports": [{"port": 80, "targetPort": "http"}]}}]})
    .to_string()
}

#[test]
fn debians_nginx_from_debians_registry() {
    if let Some(why) = missing(&["docker-registry", "skopeo", "nginx"]) {
        return skip(&why);
    }
    let cluster = Cluster::start(&[]);
    let archive = cluster.folder.join("nginx.tar");
    let mut files = images::with_libraries(&on_path("nginx").unwrap(), "/usr/sbin/nginx");
    for name in ["passwd", "group"] {
        files.insert(format!("/etc/{name}"), format!("/etc/{name}").into());
    }
    let page = ("/www/index.html", "a page of nginx\n");
    images::docker_archive(
        &archive,
        "nginx:1",
        &files,
        &[page, ("/etc/nginx.conf", CONFIG)],
        &["/usr/sbin/nginx", "-c", "/etc/nginx.conf"],
    );

    let open = Registry::start(&cluster.folder, "open", None);
    let image = open.push(&archive, "library/nginx", None);
    cluster.apply(&deployment("web", &image, None));
    answers(&cluster, "web");
    assert!(
        cluster
            .skiff(&["get", "events"])
            .contains(&format!("Successfully pulled image \"{image}\""))
    );

    // "secret", by bcrypt
    let locked = Registry::start(
        &cluster.folder,
        "locked",
        Some("user:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"),
    );
    let image = locked.push(&archive, "private/nginx", Some("user:secret"));
    cluster.apply(&deployment("locked", &image, Some("key")));
    cluster.until(
        MINUTE,
        "ImagePullBackOff",
        &["get", "pods", "-l", "app=locked"],
    );
    let auth = base64::engine::general_purpose::STANDARD.encode("user:secret");
    let config =
        json!({"auths": {format!("127.0.0.1:{}", locked.port): {"auth": auth}}}).to_string();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": config}});
    cluster.apply(&secret.to_string());
    cluster.skiff(&["delete", "pods", "-l", "app=locked", "--wait=false"]);
    answers(&cluster, "locked");

    cluster.skiff(&[
        "run",
        "nothing",
        &format!("--image=127.0.0.1:{}/no/such:1", open.port),
    ]);
    cluster.until(MINUTE, "ImagePullBackOff", &["get", "pod", "nothing"]);
    let events = cluster.skiff(&["events", "--for", "pod/nothing"]);
    assert!(
        events.contains("ErrImagePull")
            && events.contains("Back-off pulling image")
            && events.contains("not found"),
        "{events}"
    );
    cluster.end();
}

/// The page, through the service's node port.
fn answers(cluster: &Cluster, name: &str) {
    let status = cluster.output(
        crate::support::PROGRAM,
        &[
            "rollout",
            "status",
            &format!("deployment/{name}"),
            "--timeout=60s",
        ],
    );
    assert!(
        status.status.success(),
        "{}\n{}",
        cluster.skiff(&["get", "pods"]),
        cluster.skiff(&["events"])
    );
    let port = cluster.skiff(&[
        "get",
        "service",
        name,
        "-o",
        "jsonpath={.spec.ports[0].nodePort}",
    ]);
    let ip = cluster.skiff(&[
        "get",
        "nodes",
        "-o",
        "jsonpath={.items[0].status.addresses[?(@.type==\"InternalIP\")].address}",
    ]);
    let body = wait(MINUTE, "the page", || {
        http_get(&format!("{ip}:{port}"), "/")
    });
    assert_eq!(body, "a page of nginx\n");
}
