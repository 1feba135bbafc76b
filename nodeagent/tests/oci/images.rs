//! The image store: archives, registries, the built-in image.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use skiff_nodeagent::{
    image::{Credentials, Error, ImageStore, SHOP_REPOSITORY, Store},
    runtime::Runtime,
};
use skiff_testing::With;

use crate::world::{BUSYBOX, IMAGE, Layer, World, busybox_archive, saved_image, until};

/// Whether the programs are installed; says so when not.
fn have(programs: &[&str]) -> bool {
    let missing: Vec<&&str> = programs
        .iter()
        .filter(|program| {
            !Command::new("which")
                .arg(program)
                .stdout(Stdio::null())
                .status()
                .is_ok_and(|s| s.success())
        })
        .collect();
    if !missing.is_empty() {
        skiff_testing::skipped(format_args!("needs {missing:?}"));
    }
    missing.is_empty()
}

pub async fn archives() {
    let world = World::new().await;
    let found = world.images.find(IMAGE).await.unwrap().unwrap();
    assert_eq!(
        world.images.find(&found.id).await.unwrap().unwrap().tags,
        [IMAGE]
    );
    assert!(found.size > 100_000);
    assert!(
        world
            .images
            .find("localhost/busybox:other")
            .await
            .unwrap()
            .is_none()
    );
    assert!(matches!(
        world.images.find("NOT A NAME").await,
        Err(Error::InvalidName { .. })
    ));
    // What was loaded is there for the next agent.
    let again = Store::open(world.path("images")).unwrap();
    assert_eq!(
        again
            .list()
            .await
            .unwrap()
            .iter()
            .filter(|image| image.id == found.id)
            .count(),
        1
    );
    let junk = world.path("junk.tar");
    fs::write(&junk, Layer::default().bytes()).unwrap();
    assert!(
        world
            .images
            .load(&junk)
            .await
            .unwrap_err()
            .to_string()
            .contains("neither an OCI layout")
    );
    let lies = saved_image(
        &["liar:v1"],
        &[Layer::default().bytes()],
        serde_json::json!({}),
    );
    let lies = String::from_utf8_lossy(&lies)
        .into_owned()
        .replacen("\"sha256:", "\"sha256:0", 1);
    fs::write(&junk, lies).unwrap();
    assert!(world.images.load(&junk).await.is_err());
    for names in [&["one:v1"][..], &["two:v1", "three:v1"]] {
        let same = saved_image(names, &[Layer::default().bytes()], serde_json::json!({}));
        fs::write(&junk, same).unwrap();
        let loaded = world.images.load(&junk).await.unwrap();
        let full = names.iter().map(|name| format!("docker.io/library/{name}"));
        assert_eq!(loaded[0].names, full.collect::<Vec<_>>());
    }
    let same = world.images.find("two:v1").await.unwrap().unwrap();
    assert_eq!(same.tags.len(), 3, "{same:?}");
    world.images.remove(&same.id).await.unwrap();
    if have(&["skopeo"]) {
        fs::write(world.path("saved.tar"), busybox_archive()).unwrap();
        let layout = format!(
            "oci-archive:{}:docker.io/library/other:v2",
            world.path("layout.tar").display()
        );
        skopeo(&[
            "copy",
            &format!("docker-archive:{}", world.path("saved.tar").display()),
            &layout,
        ]);
        let loaded = world.images.load(&world.path("layout.tar")).await.unwrap();
        assert_eq!(loaded.len(), 1);
        assert_eq!(loaded[0].names, ["docker.io/library/other:v2"]);
        assert!(
            loaded[0].image.tags.contains(&loaded[0].names[0]),
            "{:?}",
            loaded[0]
        );
        assert_eq!(
            world.images.find("other:v2").await.unwrap().unwrap().id,
            loaded[0].image.id
        );
        world.images.remove("other:v2").await.unwrap();
        assert!(world.images.find("other:v2").await.unwrap().is_none());
    }
    let layers = || fs::read_dir(world.path("images/layers")).unwrap().count();
    assert_eq!(layers(), 2);
    world.images.remove(IMAGE).await.unwrap();
    assert!(matches!(
        world.images.remove(IMAGE).await,
        Err(Error::NotFound(_))
    ));
    assert_eq!(
        (
            layers(),
            fs::read_dir(world.path("images/configs")).unwrap().count()
        ),
        (0, 0)
    );
    world.finish().await;
}

pub async fn many_layers() {
    let world = World::new().await;
    let mut layers: Vec<Vec<u8>> = Vec::new();
    let mut first = Layer::default();
    first.file("bin/busybox", 0o755, &fs::read(BUSYBOX).unwrap());
    first.link("bin/sh", "busybox");
    first.link("bin/cat", "busybox");
    layers.push(first.bytes());
    for i in 0..100 {
        let mut layer = Layer::default();
        layer.file("which", 0o644, format!("{i}\n").as_bytes());
        layers.push(layer.bytes());
    }
    fs::write(
        world.path("many.tar"),
        saved_image(&["many:v1"], &layers, serde_json::json!({})),
    )
    .unwrap();
    let image = world
        .images
        .load(&world.path("many.tar"))
        .await
        .unwrap()
        .remove(0)
        .image;
    let pod = world.pod().await;
    let (_, log) = world
        .run(
            &pod,
            world.script("cat /which").with(|c| c.image_id = image.id),
        )
        .await;
    assert_eq!(log, "stdout F 99\n");
    world.finish().await;
}

pub async fn the_built_in_image() {
    let world = World::new().await;
    let pod = world.pod().await;
    for version in ["v1", "v2"] {
        let name = format!("{SHOP_REPOSITORY}:{version}");
        let image = world.images.find(&name).await.unwrap().unwrap();
        assert_eq!(world.images.pull(&name, &[]).await.unwrap().id, image.id);
        let spec = world.script("").with(|c| {
            c.image_id = image.id;
            c.command = vec![];
        });
        assert_eq!(
            world.run(&pod, spec).await,
            (0, format!("stdout F shop {version}\n"))
        );
        assert!(world.images.remove(&name).await.is_err());
    }
    let builtin: Vec<_> = fs::read_dir(world.path("images/layers"))
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("builtin-"))
        .collect();
    assert_eq!(builtin.len(), 1, "both tags share one layer");
    world.finish().await;
}

fn skopeo(args: &[&str]) {
    let output = Command::new("skopeo")
        .arg("--insecure-policy")
        .args(args)
        .output()
        .expect("skopeo");
    assert!(
        output.status.success(),
        "skopeo {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A registry on loopback, gone when dropped.
struct Registry {
    child: Child,
    address: String,
}

impl Registry {
    async fn start(folder: &Path, auth: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let address = format!("127.0.0.1:{port}");
        let storage = folder.join("registry");
        fs::create_dir_all(&storage).unwrap();
        let config = folder.join("registry.yml");
        fs::write(
            &config,
            format!("version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n{auth}", storage.display()),
        )
        .unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = Self { child, address };
        until("the registry listens", async || {
            tokio::net::TcpStream::connect(&registry.address).await.ok()
        })
        .await;
        registry
    }

    fn push(&self, archive: &Path, name: &str, more: &[&str]) {
        let (from, to) = (
            format!("docker-archive:{}", archive.display()),
            format!("docker://{}/{name}", self.address),
        );
        skopeo(&[&["copy", "--dest-tls-verify=false"], more, &[&from, &to]].concat());
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Ended already is as good.
        self.child.kill().and_then(|()| self.child.wait()).ok();
    }
}

fn saved(world: &World) -> PathBuf {
    let path = world.path("push.tar");
    fs::write(&path, busybox_archive()).unwrap();
    path
}

pub async fn pulling() {
    if !have(&["skopeo", "docker-registry"]) {
        return;
    }
    let world = World::new().await;
    world.images.remove(IMAGE).await.unwrap();
    let registry = Registry::start(world.folder.path(), "").await;
    registry.push(&saved(&world), "team/app:v1", &["--format=oci"]);
    let name = format!("{}/team/app:v1", registry.address);
    let image = world.images.pull(&name, &[]).await.unwrap();
    assert_eq!(image.tags, std::slice::from_ref(&name));
    assert!(
        image.digests[0].starts_with(&format!("{}/team/app@sha256:", registry.address)),
        "{image:?}"
    );
    let pod = world.pod().await;
    assert_eq!(
        world
            .run(
                &pod,
                world
                    .script("cat /above")
                    .with(|c| c.image_id = image.id.clone())
            )
            .await
            .1,
        "stdout F from the upper layer\n"
    );
    assert_eq!(
        world.images.pull(&image.digests[0], &[]).await.unwrap().id,
        image.id
    );
    assert_eq!(
        world
            .images
            .find(&image.digests[0])
            .await
            .unwrap()
            .unwrap()
            .id,
        image.id
    );
    // An index leads to the manifest for this machine.
    registry.push(&saved(&world), "team/index:v1", &["--format=v2s2"]);
    assert_eq!(
        world
            .images
            .pull(&format!("{}/team/index:v1", registry.address), &[])
            .await
            .unwrap()
            .tags
            .len(),
        1
    );
    let missing = format!("{}/team/none:v1", registry.address);
    let Err(Error::Pull { reason, .. }) = world.images.pull(&missing, &[]).await else {
        panic!("it was pulled")
    };
    assert_eq!(
        reason,
        format!(
            "failed to pull and unpack image \"{missing}\": failed to resolve reference \"{missing}\": {missing}: not found"
        )
    );
    drop(registry);
    let Err(Error::Pull { reason, .. }) = world.images.pull(&missing, &[]).await else {
        panic!("it was pulled")
    };
    assert!(
        reason.contains("failed to do request: Head \"http://127.0.0.1:")
            && reason.ends_with("connect: connection refused"),
        "{reason}"
    );
    world.runtime.remove_sandbox(&pod).await.unwrap();
    world.finish().await;
}

pub async fn pulling_with_credentials() {
    if !have(&["skopeo", "docker-registry"]) {
        return;
    }
    let world = World::new().await;
    // The bcrypt hash of `secret`.
    fs::write(
        world.path("htpasswd"),
        "ann:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n",
    )
    .unwrap();
    let auth = format!(
        "auth:\n  htpasswd:\n    realm: test\n    path: {}\n",
        world.path("htpasswd").display()
    );
    let registry = Registry::start(world.folder.path(), &auth).await;
    registry.push(&saved(&world), "app:v1", &["--dest-creds=ann:secret"]);
    let name = format!("{}/app:v1", registry.address);
    let login = |password: &str| Credentials {
        username: "ann".into(),
        password: password.into(),
    };
    let Err(Error::Pull { reason, .. }) = world.images.pull(&name, &[]).await else {
        panic!("it was pulled")
    };
    assert!(
        reason.contains("authorization failed: no basic auth credentials"),
        "{reason}"
    );
    let Err(Error::Pull { reason, .. }) = world.images.pull(&name, &[login("wrong")]).await else {
        panic!("it was pulled")
    };
    assert!(reason.ends_with("401 Unauthorized"), "{reason}");
    let image = world
        .images
        .pull(&name, &[login("wrong"), login("secret")])
        .await
        .unwrap();
    assert!(image.tags.contains(&name));
    drop(registry);
    world.finish().await;
}
