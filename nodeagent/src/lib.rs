//! What runs on a machine: pod workers, runtimes, images, volumes, network, probes, and the node's own API.
//!
//! | area | what it does | where to begin |
//! |---|---|---|
//! | [`machine`] | a whole real node, put together: who uses what is decided here | `RealNode::run` |
//! | [`dispatch`] | brings up the node's tasks, and hands each pod to one | [`run`] |
//! | [`worker`] | what a pod's task does: one look after the other (`sync`), `start`, `kill`, volumes, images, probes, and what it tells the API (`publish`) | `worker/run.rs` |
//! | [`agent`] | what all tasks of a node share | `agent/context.rs` |
//! | [`pod`] | what is known of a pod (`handle`, `view`), and the decisions that its task follows (`actions`, `enacted`, `status`), which touch nothing | `pod/handle.rs`, `pod/actions.rs` |
//! | [`runtime`] | what runs containers: the trait, `oci` (real ones, in a shim of each pod), `simulated` | `runtime/mod.rs` |
//! | [`image`] | images: pulled, loaded, unpacked, swept | `image/mod.rs` |
//! | [`volume`] | one file a kind of volume | `volume/mod.rs` |
//! | [`network`] | bridge, addresses, services, DNS, network policies | `network/mod.rs`; `docs/ARCHITECTURE.md` |
//! | [`ingress`] | the proxy for Ingresses; the proxy itself is the crate `skiff-ingress` | `ingress/mod.rs` |
//! | [`probe`] | what probes ask, and what follows, as state machines | `probe/state.rs` |
//! | [`node`] | the node's own object: registration, status, Lease | `node/mod.rs` |
//! | [`api`], [`stream`], [`logs`], [`stats`] | what the API server asks of the node: exec, attach, port-forward, logs, usage | `api/server.rs` |
//!
//! They stand in layers, of which each uses those below: `machine`; `dispatch`; `api`; `worker`; `node`, `volume`, `stats`; `agent`; `pod`; then what knows no pods
//! (`config`, `objects`, `runtime`, `image`, `network`). A test (`tests/modules.rs`) finds what goes round in a circle, in every folder.
//!
//! Whatever reads time does so by [`time`], whatever drops a result says why by `outcome`.
//!
//! # Seams
//!
//! *A kind of volume*: its file and an arm, described at the head of [`volume`]; copy `volume/empty_dir.rs` (a folder) or `volume/secret.rs` (files). A kind that comes
//! also goes from the names in `kind_of`, which are of those that nothing here can make.
//!
//! *A runtime*: a type that is a [`runtime::Runtime`], in a file or folder of its own and with a line in `runtime/mod.rs`; copy `runtime/simulated.rs`, which has nothing but the
//! trait to keep. Nothing else knows which runtime it talks to: [`Parts`] takes any. What a real machine uses is made in `machine.rs` (`RealNode::oci`), what simulated nodes use
//! in the command line's `cluster/nodes.rs`. It can be killed at any time: what it started it lists again afterwards. `tests/agent` drives an agent over a runtime,
//! `tests/oci` holds the real one to what the trait promises.
//!
//! *A probe, a check before a pod is taken, a condition of a pod*: in `probe/`, `pod/admission/`, `pod/conditions.rs`.

pub mod agent;
pub mod api;
pub mod config;
pub mod disk;
pub mod dispatch;
pub mod events;
pub mod figures;
pub mod image;
pub mod ingress;
pub mod logs;
pub mod machine;
pub mod mounts;
pub mod network;
pub mod node;
pub mod objects;
pub mod open_files;
mod outcome;
pub mod pod;
pub mod probe;
pub mod runtime;
pub mod stats;
pub mod stream;
pub mod time;
pub mod volume;
pub mod worker;

pub use agent::Parts;
pub use config::{ApiConfig, Config, Intervals};
pub use dispatch::{Error, run};
