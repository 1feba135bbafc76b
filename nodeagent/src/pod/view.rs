//! What the runtime says about one pod, in the shape that decisions are made on.
//!
//! Invariant: containers are ordered newest first, so the first one of a name is the one that counts.
//! Follows `pkg/kubelet/container/runtime.go` (`PodStatus`) and `pkg/kubelet/kuberuntime/util`.

use std::{borrow::Cow, net::IpAddr};

use crate::runtime::{ContainerPhase, ContainerState, SandboxState};

/// Annotations that are put on containers in order to be read again.
pub mod annotation {
    /// Of all of them.
    pub const PREFIX: &str = "skiff.dev/";
    /// What of the container's spec would make it be replaced.
    pub const HASH: &str = "skiff.dev/spec-hash";
    /// The image's name, for `containerStatuses[].image`.
    pub const IMAGE: &str = "skiff.dev/image";
    /// The image's digest reference, for `containerStatuses[].imageID`.
    pub const IMAGE_REF: &str = "skiff.dev/image-ref";
    /// Where on the node the container's termination message is.
    pub const MESSAGE_FILE: &str = "skiff.dev/termination-message-file";
    /// `File` or `FallbackToLogsOnError`.
    pub const MESSAGE_POLICY: &str = "skiff.dev/termination-message-policy";
    /// The resources that it was started with, as JSON.
    pub const RESOURCES: &str = "skiff.dev/resources";
    /// Seconds that it gets to stop when its spec is no longer known.
    pub const GRACE: &str = "skiff.dev/termination-grace-period";
}

/// All that the runtime has of one pod.
#[derive(Clone, Debug, Default)]
pub struct PodView {
    /// Newest first.
    pub sandboxes: Vec<SandboxState>,
    /// Of all sandboxes, newest first.
    pub containers: Vec<ContainerState>,
    /// Grows with every listing; of two views the one with the greater number is newer.
    pub listing: u64,
}

/// Whether a pod has the sandbox that its containers can be started in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sandbox {
    /// This one.
    Ready(String),
    /// None yet.
    Missing,
    /// There was one, which is gone or unusable.
    Lost,
}

impl PodView {
    pub fn new(mut sandboxes: Vec<SandboxState>, listing: u64) -> Self {
        sandboxes.sort_by_key(|sandbox| std::cmp::Reverse(sandbox.created_at));
        let mut containers: Vec<_> = sandboxes
            .iter_mut()
            .flat_map(|sandbox| std::mem::take(&mut sandbox.containers))
            .collect();
        containers.sort_by(|a, b| {
            b.created_at
                .cmp(&a.created_at)
                .then(b.restart_count.cmp(&a.restart_count))
        });
        Self {
            sandboxes,
            containers,
            listing,
        }
    }

    /// What the API is to see: a container that is made but not started, or whose `postStart` hook has not come back, is as if it were not there yet.
    /// Upstream tells of a pod only between two of its looks at it, and starts containers within one.
    pub fn shown(&self, in_post_start: &[String]) -> Cow<'_, Self> {
        let hidden = |container: &ContainerState| {
            container.phase == ContainerPhase::Created || in_post_start.contains(&container.id)
        };
        if !self.containers.iter().any(hidden) {
            return Cow::Borrowed(self);
        }
        let mut shown = self.clone();
        shown.containers.retain(|container| !hidden(container));
        Cow::Owned(shown)
    }

    /// The newest container of that name.
    pub fn container(&self, name: &str) -> Option<&ContainerState> {
        self.containers
            .iter()
            .find(|container| container.name == name)
    }

    /// All containers of that name, newest first.
    pub fn history<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a ContainerState> {
        self.containers
            .iter()
            .filter(move |container| container.name == name)
    }

    pub fn by_id(&self, id: &str) -> Option<&ContainerState> {
        self.containers.iter().find(|container| container.id == id)
    }

    pub fn running(&self) -> impl Iterator<Item = &ContainerState> {
        self.containers
            .iter()
            .filter(|container| container.phase == ContainerPhase::Running)
    }

    /// The sandbox to start containers in.
    pub fn sandbox(&self) -> Sandbox {
        let ready = self
            .sandboxes
            .iter()
            .filter(|sandbox| sandbox.ready)
            .count();
        match self.sandboxes.first() {
            None => Sandbox::Missing,
            Some(newest) if newest.ready && ready == 1 => Sandbox::Ready(newest.id.clone()),
            Some(_) => Sandbox::Lost,
        }
    }

    /// Addresses that the runtime itself gave.
    pub fn ips(&self) -> &[IpAddr] {
        self.sandboxes.first().map_or(&[], |sandbox| &sandbox.ips)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A container for the tests of others.
    pub fn container(name: &str, phase: ContainerPhase, exit_code: Option<i32>) -> ContainerState {
        ContainerState {
            id: format!("{name}-id"),
            name: name.into(),
            restart_count: 0,
            image_id: String::new(),
            phase,
            pid: None,
            created_at: Default::default(),
            started_at: None,
            finished_at: None,
            exit_code,
            signal: None,
            oom_killed: false,
            message: String::new(),
            user: None,
            limits: Default::default(),
            annotations: Default::default(),
            log_path: Default::default(),
        }
    }

    #[test]
    fn what_is_only_made_or_in_its_hook_is_not_shown() {
        let view = PodView {
            containers: vec![
                container("a", ContainerPhase::Running, None),
                container("b", ContainerPhase::Created, None),
                container("c", ContainerPhase::Running, None),
            ],
            ..Default::default()
        };
        let names = |hooks: &[String]| {
            view.shown(hooks)
                .containers
                .iter()
                .map(|container| container.name.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&[]), ["a", "c"]);
        assert_eq!(names(&["c-id".into()]), ["a"]);
    }
}
