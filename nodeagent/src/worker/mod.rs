//! What a pod's task does: it looks at what the pod is to be and what there is of it (`sync`), follows what `pod::actions` decides, and tells the API (`publish`).

pub mod eviction;
pub mod hooks;
pub mod image_volumes;
pub mod kill;
pub mod load;
pub mod mounts;
pub mod probe;
pub mod publish;
pub mod pull;
pub mod resize;
pub mod run;
pub mod sandbox;
pub mod start;
pub mod sync;
pub mod upkeep;
pub mod volumes;
