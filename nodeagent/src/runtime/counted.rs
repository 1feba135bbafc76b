//! A runtime whose calls are counted.
//!
//! Invariant: it adds nothing but that. Follows `pkg/kubelet/kuberuntime/instrumented_services.go`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::broadcast;

use super::{
    ContainerSpec, Depth, Error, ExecSpec, Groups, Limits, Measured, Runtime, RuntimeEvent,
    SandboxSpec, SandboxState, SharedRuntime, Streams, Usage,
};
use crate::{
    disk,
    figures::{Call, Figures},
    time::Instant,
};

/// Counts what another is asked.
pub struct Counted {
    runtime: SharedRuntime,
    figures: Arc<Figures>,
}

impl Counted {
    /// The runtime, counted.
    pub fn new(runtime: SharedRuntime, figures: Arc<Figures>) -> Counted {
        Counted { runtime, figures }
    }

    async fn counted<T>(
        &self,
        call: Call,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let began = Instant::now();
        let answer = answer.await;
        self.figures.called(call, began.elapsed(), answer.is_err());
        answer
    }
}

#[async_trait]
impl Runtime for Counted {
    fn version(&self) -> String {
        self.runtime.version()
    }

    fn events(&self) -> broadcast::Receiver<RuntimeEvent> {
        self.runtime.events()
    }

    async fn run_sandbox(&self, spec: SandboxSpec) -> Result<String, Error> {
        let answer = self.runtime.run_sandbox(spec);
        self.counted(Call::RunSandbox, answer).await
    }

    async fn stop_sandbox(&self, sandbox: &str) -> Result<(), Error> {
        let answer = self.runtime.stop_sandbox(sandbox);
        self.counted(Call::StopSandbox, answer).await
    }

    async fn remove_sandbox(&self, sandbox: &str) -> Result<(), Error> {
        let answer = self.runtime.remove_sandbox(sandbox);
        self.counted(Call::RemoveSandbox, answer).await
    }

    async fn create_container(&self, sandbox: &str, spec: ContainerSpec) -> Result<String, Error> {
        let answer = self.runtime.create_container(sandbox, spec);
        self.counted(Call::CreateContainer, answer).await
    }

    async fn start_container(&self, container: &str) -> Result<(), Error> {
        let answer = self.runtime.start_container(container);
        self.counted(Call::StartContainer, answer).await
    }

    async fn stop_container(&self, container: &str, grace: Duration) -> Result<(), Error> {
        let answer = self.runtime.stop_container(container, grace);
        self.counted(Call::StopContainer, answer).await
    }

    async fn remove_container(&self, container: &str) -> Result<(), Error> {
        let answer = self.runtime.remove_container(container);
        self.counted(Call::RemoveContainer, answer).await
    }

    async fn list(&self) -> Result<Vec<SandboxState>, Error> {
        self.counted(Call::ListSandboxes, self.runtime.list()).await
    }

    async fn exec(&self, container: &str, spec: ExecSpec) -> Result<Streams, Error> {
        let answer = self.runtime.exec(container, spec);
        self.counted(Call::Exec, answer).await
    }

    async fn attach(&self, container: &str, spec: ExecSpec) -> Result<Streams, Error> {
        let answer = self.runtime.attach(container, spec);
        self.counted(Call::Attach, answer).await
    }

    async fn reopen_log(&self, container: &str) -> Result<(), Error> {
        let answer = self.runtime.reopen_log(container);
        self.counted(Call::ReopenLog, answer).await
    }

    async fn update_container(
        &self,
        container: &str,
        limits: &Limits,
        annotations: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let answer = self
            .runtime
            .update_container(container, limits, annotations);
        self.counted(Call::UpdateContainer, answer).await
    }

    async fn update_sandbox(
        &self,
        sandbox: &str,
        limits: &Limits,
        annotations: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let answer = self.runtime.update_sandbox(sandbox, limits, annotations);
        self.counted(Call::UpdateSandbox, answer).await
    }

    async fn usage(&self, container: &str) -> Result<Usage, Error> {
        let answer = self.runtime.usage(container);
        self.counted(Call::ContainerStats, answer).await
    }

    async fn measure(&self, pods: Vec<Groups>, depth: Depth) -> Result<Measured, Error> {
        let answer = self.runtime.measure(pods, depth);
        self.counted(Call::ListStats, answer).await
    }

    async fn disk_usage(&self, container: &str) -> Result<disk::Held, Error> {
        self.runtime.disk_usage(container).await
    }
}
