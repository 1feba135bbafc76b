//! Network namespaces: made, opened and deleted as files (bind mounts, like `ip netns` keeps them), and used without ever moving a thread that others share.
//!
//! Invariant: a thread that enters a namespace was made for it and never comes back; sockets stay where they were made, whoever polls them.

use std::{
    fs::File,
    future::Future,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    path::Path,
    sync::Arc,
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
    sys::statfs::{FsType, statfs},
};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};

use super::{Error, failed, listen};
use crate::outcome::{self, IfThere};

/// `NSFS_MAGIC` of the kernel's `magic.h`: what `statfs` says of a bind-mounted namespace.
const NSFS_MAGIC: FsType = FsType(0x6e73_6673);
const OWN: &str = "/proc/thread-self/ns/net";

/// A handle that keeps a network namespace alive. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Namespace {
    file: Arc<File>,
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Namespace {
    /// The namespace of the calling thread.
    pub fn current() -> Result<Self, Error> {
        Self::from_file(Path::new(OWN))
    }

    /// Opens the namespace mounted at `path`. Fails when `path` is a plain file (left over from before a reboot).
    pub fn open(path: &Path) -> Result<Self, Error> {
        if !Self::is_mounted(path) {
            return Err(failed(
                format!("open network namespace {}", path.display()),
                "no namespace is mounted there",
            ));
        }
        Self::from_file(path)
    }

    fn from_file(path: &Path) -> Result<Self, Error> {
        let file = File::open(path)
            .map_err(|e| failed(format!("open network namespace {}", path.display()), e))?;
        Ok(Namespace {
            file: Arc::new(file),
        })
    }

    /// Whether a namespace is mounted at `path`.
    pub fn is_mounted(path: &Path) -> bool {
        statfs(path).is_ok_and(|s| s.filesystem_type() == NSFS_MAGIC)
    }

    /// Makes a namespace and mounts it at `path` (folders are made), or opens the one that is there. In a new one `lo` is still down.
    pub async fn make(path: &Path) -> Result<Self, Error> {
        if Self::is_mounted(path) {
            return Self::open(path);
        }
        let path = path.to_owned();
        on_new_thread(move || {
            let what = || format!("make network namespace {}", path.display());
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent).map_err(|e| failed(what(), e))?;
            }
            File::create(&path).map_err(|e| failed(what(), e))?;
            let made = unshare(CloneFlags::CLONE_NEWNET)
                .and_then(|()| {
                    mount(
                        Some(OWN),
                        &path,
                        None::<&str>,
                        MsFlags::MS_BIND,
                        None::<&str>,
                    )
                })
                .map_err(|e| failed(what(), e))
                .and_then(|()| Self::from_file(&path));
            if made.is_err() {
                outcome::remove_if_there(&path);
            }
            made
        })
        .await?
    }

    /// Unmounts and removes the file. The namespace itself ends with its last process and open handle. Nothing there is fine.
    pub fn delete(path: &Path) -> Result<(), Error> {
        let what = || format!("delete network namespace {}", path.display());
        // A restart may have mounted one over the other.
        while Self::is_mounted(path) {
            umount2(path, MntFlags::MNT_DETACH).map_err(|e| failed(what(), e))?;
        }
        std::fs::remove_file(path)
            .if_there()
            .map(drop)
            .map_err(|e| failed(what(), e))
    }

    pub fn raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Moves the calling thread into this namespace, for good.
    pub fn enter(&self) -> Result<(), Error> {
        setns(&*self.file, CloneFlags::CLONE_NEWNET)
            .map_err(|e| failed("enter a network namespace", e))
    }

    /// Runs `f` on a new thread inside this namespace. What it may open (sockets, children) belongs there; about 50 µs.
    pub async fn call<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let this = self.clone();
        on_new_thread(move || this.enter().map(|()| f())).await?
    }

    /// A runtime all of whose threads (the blocking ones too) live in this namespace. `block_on` polls on the calling thread, which does not:
    /// start work with `spawn`.
    pub fn runtime(&self, name: &str, threads: usize) -> Result<tokio::runtime::Runtime, Error> {
        let this = self.clone();
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name(name)
            .enable_all()
            // A thread that cannot enter must not run tasks in the wrong network.
            .on_thread_start(move || this.enter().unwrap_or_else(|e| panic!("{e}")))
            .build()
            .map_err(|e| failed(format!("start the runtime {name}"), e))
    }

    /// Connects from inside the namespace.
    pub async fn tcp_connect(&self, to: SocketAddr) -> std::io::Result<TcpStream> {
        let socket = self
            .call(move || {
                if to.is_ipv4() {
                    TcpSocket::new_v4()
                } else {
                    TcpSocket::new_v6()
                }
            })
            .await
            .map_err(std::io::Error::other)??;
        socket.connect(to).await
    }

    /// Listens inside the namespace, with `SO_REUSEADDR`.
    pub async fn tcp_listen(&self, at: SocketAddr) -> std::io::Result<TcpListener> {
        let listener = self.call(move || listen::tcp(at)).await;
        TcpListener::from_std(listener.map_err(std::io::Error::other)??)
    }

    /// Binds a UDP socket inside the namespace.
    pub async fn udp_bind(&self, at: SocketAddr) -> std::io::Result<UdpSocket> {
        let socket = self.call(move || listen::udp(at)).await;
        UdpSocket::from_std(socket.map_err(std::io::Error::other)??)
    }

    /// Writes kernel settings (`net/ipv4/ip_forward`, …, below `/proc/sys`) of this namespace, skipping those that already have the value.
    pub async fn sysctl(&self, settings: Vec<(String, &'static str)>) -> Result<(), Error> {
        self.call(move || {
            for (key, value) in settings {
                let path = Path::new("/proc/sys").join(&key);
                let now = std::fs::read_to_string(&path)
                    .map_err(|e| failed(format!("read kernel setting {key}"), e))?;
                if now.trim() != value {
                    std::fs::write(&path, value)
                        .map_err(|e| failed(format!("set kernel setting {key} to {value}"), e))?;
                }
            }
            Ok(())
        })
        .await?
    }

    /// The same for settings that a kernel may lack: those are passed over.
    pub async fn sysctl_if_there(
        &self,
        settings: Vec<(String, &'static str)>,
    ) -> Result<(), Error> {
        let there = self
            .call(move || {
                settings
                    .into_iter()
                    .filter(|(key, _)| Path::new("/proc/sys").join(key).exists())
                    .collect()
            })
            .await?;
        self.sysctl(there).await
    }
}

/// Whether this process may make network namespaces: root enough, and the kernel has them.
pub async fn supported() -> Result<(), Error> {
    on_new_thread(|| unshare(CloneFlags::CLONE_NEWNET))
        .await?
        .map_err(|e| Error::Unsupported {
            what: "network namespaces".into(),
            hint: match e {
                Errno::EPERM => "run as root".into(),
                e => e.desc().to_owned(),
            },
        })
}

fn on_new_thread<T: Send + 'static>(
    f: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, Error>> {
    let (tx, rx) = tokio::sync::oneshot::channel();
    let started = std::thread::Builder::new()
        .name("netns".into())
        .spawn(move || {
            outcome::nobody_may_wait(tx.send(f()));
        });
    async move {
        started.map_err(|e| failed("start a thread", e))?;
        rx.await
            .map_err(|_| failed("work inside a network namespace", "the thread panicked"))
    }
}
