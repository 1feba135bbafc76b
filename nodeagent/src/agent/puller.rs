//! The node's image puller: what is under way, and what failed.
//!
//! Invariant: an image is pulled once at a time for all who wait for it with the same credentials; failures back off per pod and image.
//! Follows `pkg/kubelet/images/image_manager.go`.

use std::{collections::HashMap, sync::Arc};

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;

use crate::{
    image::{self, Credentials, Image, ImageStore},
    pod::{backoff::Backoff, images::images, names::uid},
    time,
};

#[derive(Default)]
struct Memory {
    backoff: Backoff,
    /// The last pull's error, by back-off key.
    errors: HashMap<String, String>,
}

impl Memory {
    fn forget(&mut self, key: &str) {
        self.backoff.forget(key);
        self.errors.remove(key);
    }
}

type Flight = tokio::sync::OnceCell<Result<Image, Arc<image::Error>>>;

/// The node's image puller.
#[derive(Default)]
pub struct Puller {
    memory: Mutex<Memory>,
    /// Pulls that are under way.
    flights: Mutex<HashMap<String, Arc<Flight>>>,
}

/// What the failures of a pod's image are kept by.
pub fn key(pod: &Pod, image: &str) -> String {
    format!("{}_{image}", uid(pod))
}

impl Puller {
    /// Joins the pull of the same image that is under way, or starts one.
    pub async fn fly(
        &self,
        images: &Arc<dyn ImageStore>,
        image: &str,
        credentials: Vec<Credentials>,
    ) -> Result<Image, Arc<image::Error>> {
        let key = format!("{image}\0{credentials:?}");
        let flight = self.flights.lock().entry(key.clone()).or_default().clone();
        let result = flight
            .get_or_init(|| async { images.pull(image, &credentials).await.map_err(Arc::new) })
            .await
            .clone();
        let mut flights = self.flights.lock();
        if flights
            .get(&key)
            .is_some_and(|current| Arc::ptr_eq(current, &flight))
        {
            flights.remove(&key);
        }
        result
    }

    /// When the pod may next try one of its images; `None` when it need not wait.
    pub fn retry_at(&self, pod: &Pod) -> Option<jiff::Timestamp> {
        let memory = self.memory.lock();
        images(pod)
            .filter_map(|image| memory.backoff.waits(&key(pod, image), time::now()))
            .min()
    }

    /// Forgets the failures of a pod that is gone.
    pub fn forget(&self, pod: &Pod) {
        let mut memory = self.memory.lock();
        for image in images(pod) {
            memory.forget(&key(pod, image));
        }
    }

    /// Whether the image is not to be pulled yet after a failure, and what that was.
    pub fn held_back(&self, key: &str) -> Option<Option<String>> {
        let memory = self.memory.lock();
        memory.backoff.waits(key, time::now())?;
        Some(memory.errors.get(key).cloned())
    }

    pub fn note_failure(&self, key: &str, error: String) {
        let mut memory = self.memory.lock();
        memory.backoff.next(key, time::now());
        memory.errors.insert(key.to_owned(), error);
    }

    pub fn forget_failure(&self, key: &str) {
        self.memory.lock().forget(key);
    }
}
