//! A container's state as a status tells it, which may tell none: one of three, and what goes with it.

use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
};

/// What is told, if it is that.
pub trait Told {
    fn running(&self) -> Option<&ContainerStateRunning>;
    fn waiting(&self) -> Option<&ContainerStateWaiting>;
    fn terminated(&self) -> Option<&ContainerStateTerminated>;
}

impl Told for Option<ContainerState> {
    fn running(&self) -> Option<&ContainerStateRunning> {
        self.as_ref()?.running.as_ref()
    }

    fn waiting(&self) -> Option<&ContainerStateWaiting> {
        self.as_ref()?.waiting.as_ref()
    }

    fn terminated(&self) -> Option<&ContainerStateTerminated> {
        self.as_ref()?.terminated.as_ref()
    }
}

pub fn running(running: ContainerStateRunning) -> ContainerState {
    ContainerState {
        running: Some(running),
        ..Default::default()
    }
}

pub fn waiting(waiting: ContainerStateWaiting) -> ContainerState {
    ContainerState {
        waiting: Some(waiting),
        ..Default::default()
    }
}

pub fn terminated(terminated: ContainerStateTerminated) -> ContainerState {
    ContainerState {
        terminated: Some(terminated),
        ..Default::default()
    }
}
