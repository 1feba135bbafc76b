//! What the containers of a pod share, and what reaches them from the host.

use std::{fs, os::unix::fs::MetadataExt, path::Path, process::Command};

use skiff_nodeagent::{
    image::ImageStore,
    runtime::{Error, ImageMount, Mount, Runtime},
};
use skiff_testing::With;

use crate::world::{Layer, World, holds, saved_image};

fn mount(host: &Path, container: &str, read_only: bool, propagation: &str) -> Mount {
    Mount {
        host_path: host.to_owned(),
        container_path: container.into(),
        read_only,
        propagation: propagation.into(),
        image: None,
    }
}

/// A network namespace with a name, gone when dropped.
struct Netns(String);

impl Netns {
    fn new() -> Self {
        let name = format!("skiff-oci-{}", std::process::id());
        assert!(
            Command::new("ip")
                .args(["netns", "add", &name])
                .status()
                .expect("ip")
                .success()
        );
        Self(name)
    }

    fn path(&self) -> std::path::PathBuf {
        Path::new("/var/run/netns").join(&self.0)
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let deleted = Command::new("ip").args(["netns", "del", &self.0]).status();
        assert!(
            deleted.is_ok_and(|status| status.success()),
            "{} is left behind",
            self.0
        );
    }
}

pub async fn namespaces_of_a_pod() {
    let world = World::new().await;
    let netns = Netns::new();
    let sysctls = [
        ("net.ipv4.ip_unprivileged_port_start", "81"),
        ("kernel.msgmax", "9000"),
    ]
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .into();
    let spec = world.sandbox_spec().with(|s| {
        s.netns = Some(netns.path());
        s.sysctls = sysctls;
    });
    let pod = world.sandbox(spec).await;
    let inode = fs::metadata(netns.path()).unwrap().ino();
    let script = "hostname; echo $HOSTNAME; ls -l /proc/self/ns/net | grep -c ':\\['$N'\\]'; cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax; echo $$; touch /dev/shm/shared";
    let first = world
        .script(script)
        .with(|c| c.env = vec![("N".into(), inode.to_string())]);
    let (code, text) = world.run(&pod, first).await;
    assert_eq!(
        (code, text.as_str()),
        (
            0,
            "stdout F pod-host\nstdout F pod-host\nstdout F 1\nstdout F 81\nstdout F 9000\nstdout F 1\n"
        )
    );
    assert_eq!(
        world.run(&pod, world.script("ls /dev/shm")).await.1,
        "stdout F shared\n"
    );
    // In the host's network a pod bears the name that its node gives it, and the machine keeps its own.
    let spec = world
        .sandbox_spec()
        .with(|s| s.hostname = "node-of-many".into());
    let machine = nix::unistd::gethostname().unwrap();
    let pod = world.sandbox(spec).await;
    let (_, text) = world.run(&pod, world.script("hostname")).await;
    assert_eq!(text, "stdout F node-of-many\n");
    assert_eq!(nix::unistd::gethostname().unwrap(), machine);
    assert_ne!(
        fs::read_to_string("/proc/sys/kernel/msgmax")
            .unwrap()
            .trim(),
        "9000"
    );
    world.finish().await;
}

pub async fn one_process_namespace() {
    let world = World::new().await;
    let spec = world
        .sandbox_spec()
        .with(|s| s.share_process_namespace = true);
    let pod = world.sandbox(spec).await;
    let sleeper = world
        .start(&pod, world.script("sleep 1234 & sleep 1235"))
        .await;
    let script = "cat /proc/1/comm; grep -E '^(Uid|CapBnd)' /proc/1/status; ls /proc/1/root/ 2>/dev/null | grep -c .; while ! ps | grep -q 'sleep 123[4]'; do sleep 0.01; done; ps | grep -c 'sleep 123[45]$'";
    let (_, text) = world.run(&pod, world.script(script)).await;
    assert_eq!(
        text,
        "stdout F pause\nstdout F Uid:\t65535\t65535\t65535\t65535\nstdout F CapBnd:\t0000000000000000\nstdout F 0\nstdout F 2\n"
    );
    // Its first process is not the first of the namespace: the others are ended with it all the same.
    world.stop(&sleeper, std::time::Duration::ZERO).await;
    assert_eq!(
        world
            .run(&pod, world.script("ps | grep -c 'sleep 123[45]$'"))
            .await
            .1,
        "stdout F 0\n"
    );
    world.runtime.remove_sandbox(&pod).await.unwrap();
    let host = world.sandbox_spec().with(|s| {
        s.host_pid = true;
        s.host_ipc = true;
    });
    let pod = world.sandbox(host).await;
    let (_, text) = world
        .run(
            &pod,
            world
                .script("test -d /proc/$TESTER && echo seen; (sleep 1236 &)")
                .with(|c| c.env = vec![("TESTER".into(), std::process::id().to_string())]),
        )
        .await;
    assert_eq!(text, "stdout F seen\n");
    world.finish().await;
}

pub async fn processes_of_another_container() {
    let world = World::new().await;
    let pod = world.pod().await;
    // processes that come later have numbers that the machine's need not have
    let many = "i=0; while [ $i -lt 2000 ]; do (:); i=$((i+1)); done";
    let target = world
        .start(
            &pod,
            world.script(&format!("{many}; sleep 1237 & sleep 1238")),
        )
        .await;
    holds("the target has begun to sleep", async || {
        let processes = world.said(&target, &["ps"]).await;
        processes.lines().any(|line| line.ends_with(" sleep 1237"))
    })
    .await;
    let looks = |target: &str| {
        world.script("ps | grep -c 'sleep 123[78]$'; kill -0 1 && echo may; echo $$ | grep -vx 1 | grep -c .; cat /sys/fs/cgroup/memory/cgroup.procs /sys/fs/cgroup/cgroup.procs 2>/dev/null | grep -q . && echo groups").with(|c| c.target = Some(target.to_owned()))
    };
    assert_eq!(
        world.run(&pod, looks(&target)).await,
        (
            0,
            "stdout F 2\nstdout F may\nstdout F 1\nstdout F groups\n".to_owned()
        )
    );
    assert_eq!(
        world
            .run(&pod, world.script("ps | grep -c 'sleep 123[78]$'"))
            .await
            .1,
        "stdout F 0\n",
        "who names no target sees its own"
    );
    let created = world.created(&pod, world.script("true")).await;
    let other = world.sandbox_spec().with(|s| {
        s.pod_uid = "other".into();
        s.cgroup = "burstable/podother".into();
    });
    let other = world.sandbox(other).await;
    world.stop(&target, std::time::Duration::ZERO).await;
    for (pod, target, why) in [
        (&pod, target.as_str(), "is in CONTAINER_EXITED state"),
        (&pod, &created, "is in CONTAINER_CREATED state"),
        (&pod, "nobody", "does not exist"),
        (&other, &target, "does not belong to sandbox"),
    ] {
        let refused = world.refused(pod, looks(target)).await;
        assert!(
            refused.contains("invalid target container: ") && refused.contains(why),
            "{refused}"
        );
    }
    world.finish().await;
}

pub async fn images_as_volumes() {
    let world = World::new().await;
    let pod = world.pod().await;
    let (mut lower, mut upper) = (Layer::default(), Layer::default());
    lower.file("dir/data", 0o644, b"one\n");
    lower.file("dir/gone", 0o644, b"two\n");
    lower.link("dir/out", "/etc/passwd");
    upper.file("dir/.wh.gone", 0o644, b"");
    upper.file("top", 0o755, b"#!/bin/sh\necho runs\n");
    let archive = world.path("data.tar");
    fs::write(
        &archive,
        saved_image(
            &["data:1"],
            &[lower.bytes(), upper.bytes()],
            serde_json::json!({}),
        ),
    )
    .unwrap();
    let data = world.images.load(&archive).await.unwrap()[0]
        .image
        .id
        .clone();
    let volume = |image: &str, sub_path: &str, place: &str| Mount {
        image: Some(ImageMount {
            image_id: image.into(),
            sub_path: sub_path.into(),
        }),
        ..mount(Path::new(""), place, false, "None")
    };
    let script = "ls /v /v/dir | tr '\\n' ' '; echo; cat /sub/data /file; /v/top; touch /v/x 2>&1; mount | grep -c ' /v .*[(,]ro'";
    let mounts = vec![
        volume(&data, "", "/v"),
        volume(&data, "dir", "/sub"),
        volume(&data, "/dir/data", "/file"),
        volume(&world.image_id, "etc", "/other"),
    ];
    let (code, text) = world
        .run(&pod, world.script(script).with(|c| c.mounts = mounts))
        .await;
    let wanted = "stdout F /v: dir top  /v/dir: data out \nstdout F one\nstdout F one\nstdout F runs\nstdout F touch: /v/x: Read-only file system\nstdout F 1\n";
    assert_eq!((code, text.as_str()), (0, wanted));
    // A link leads to the image's own root, not to the container's and not to the host's.
    for (sub_path, why) in [
        ("none", "No such file or directory (os error 2)"),
        ("dir/out", "No such file or directory (os error 2)"),
    ] {
        let spec = world
            .script("")
            .with(|c| c.mounts = vec![volume(&data, sub_path, "/v")]);
        let refused = world.refused(&pod, spec).await;
        assert!(
            refused.contains("ImageVolumeMountFailed: open ") && refused.contains(why),
            "{refused}"
        );
    }
    let spec = world
        .script("")
        .with(|c| c.mounts = vec![volume("sha256:none", "", "/v")]);
    assert!(matches!(
        world.runtime.create_container(&pod, spec).await,
        Err(Error::NoImage(_))
    ));
    world.finish().await;
}

pub async fn mounts() {
    let world = World::new().await;
    let pod = world.pod().await;
    let (folder, file) = (world.path("host"), world.path("hosts"));
    fs::create_dir_all(folder.join("deeper")).unwrap();
    fs::write(folder.join("a"), "from the host\n").unwrap();
    fs::write(&file, "10.1.2.3 pod\n").unwrap();
    let spec = world.script("cat /data/ro/a /etc/hosts; touch /data/ro/b 2>/dev/null || echo refused; touch /data/rw/c; touch /data/ro/deeper/d; mount -t tmpfs x /mnt 2>/dev/null || echo no mounting").with(|c| c.mounts = vec![
            mount(&folder.join("made"), "/data/ro/deeper", false, "None"),
            mount(&folder, "/data/ro", true, ""),
            mount(&file, "/etc/hosts", false, "None"),
            mount(&folder, "/data/rw", false, "None"),
        ]);
    let (_, text) = world.run(&pod, spec).await;
    assert_eq!(
        text,
        "stdout F from the host\nstdout F 10.1.2.3 pod\nstdout F refused\nstdout F no mounting\n"
    );
    assert!(
        folder.join("c").exists() && folder.join("made/d").exists() && !folder.join("b").exists()
    );
    world.finish().await;
}

pub async fn mounts_that_reach_the_host() {
    let world = World::new().await;
    let pod = world.pod().await;
    let shared = world.path("shared");
    fs::create_dir(&shared).unwrap();
    let privileged = skiff_nodeagent::runtime::Security::default().with(|s| s.privileged = true);
    let spec = |propagation: &str| {
        world.script("mkdir -p /shared/sub; mount -t tmpfs mine /shared/sub; touch /shared/sub/x; echo mounted; sleep 1000").with(|c| { c.mounts = vec![mount(&shared, "/shared", false, propagation)]; c.security = privileged.clone(); })
    };
    let host = |command: &str| {
        assert!(
            Command::new("sh")
                .args(["-c", command])
                .status()
                .unwrap()
                .success(),
            "{command}"
        )
    };
    host(&format!(
        "mount --bind {0} {0} && mount --make-private {0}",
        shared.display()
    ));
    let refused = world.refused(&pod, spec("Bidirectional")).await;
    assert!(
        refused.ends_with("but it is not a shared mount"),
        "{refused}"
    );
    host(&format!("mount --make-shared {}", shared.display()));
    let id = world.start(&pod, spec("Bidirectional")).await;
    holds("the mount is on the host", async || {
        shared.join("sub/x").exists()
    })
    .await;
    world.runtime.remove_container(&id).await.unwrap();
    host(&format!("umount {}/sub", shared.display()));
    let id = world
        .start(
            &pod,
            spec("HostToContainer").with(|c| c.command = vec!["sleep".into(), "1000".into()]),
        )
        .await;
    host(&format!(
        "mount -t tmpfs theirs {0}/sub && touch {0}/sub/y",
        shared.display()
    ));
    holds("the mount is in the container", async || {
        world.said(&id, &["ls", "/shared/sub"]).await == "y\n"
    })
    .await;
    host(&format!("umount {0}/sub && umount {0}", shared.display()));
    world.finish().await;
}

pub async fn sandboxes_that_cannot_be_made() {
    let world = World::new().await;
    let lost = world
        .sandbox_spec()
        .with(|s| s.netns = Some("/no/such/netns".into()));
    let refused = world
        .runtime
        .run_sandbox(lost)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("cannot enter the network namespace /no/such/netns"),
        "{refused}"
    );
    let odd = world
        .sandbox_spec()
        .with(|s| s.sysctls = [("kernel.no_such".to_owned(), "1".to_owned())].into());
    let refused = world
        .runtime
        .run_sandbox(odd)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("cannot set sysctl kernel.no_such=1"),
        "{refused}"
    );
    assert!(world.runtime.list().await.unwrap().is_empty());
    let missing = world
        .runtime
        .create_container("nowhere", world.script(""))
        .await
        .unwrap_err();
    assert!(matches!(
        missing,
        skiff_nodeagent::runtime::Error::NotFound(_)
    ));
    world.nothing_is_left();
}
