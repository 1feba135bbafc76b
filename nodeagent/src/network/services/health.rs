//! The port at which an outside load balancer asks whether this node has ready endpoints of a service with `externalTrafficPolicy: Local`.
//!
//! Invariant: one listener for each `healthCheckNodePort` that a service has now. Follows `pkg/proxy/healthcheck/service_health.go` upstream.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use parking_lot::Mutex;
use tokio::task::AbortHandle;

use super::{
    super::{family::IpFamily, ns::Namespace, view::ObjectName},
    plan::PortPlan,
};

/// What a port answers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    service: ObjectName,
    local_endpoints: usize,
}

/// The listeners of a node for one family.
pub struct HealthServers {
    node: Namespace,
    family: IpFamily,
    answers: BTreeMap<u16, Arc<Mutex<Answer>>>,
    listeners: BTreeMap<u16, AbortHandle>,
}

impl HealthServers {
    pub fn new(node: Namespace, family: IpFamily) -> Self {
        HealthServers {
            node,
            family,
            answers: BTreeMap::new(),
            listeners: BTreeMap::new(),
        }
    }

    /// Opens, changes and closes listeners to match the plans. A port that cannot be opened is logged and tried again with the next change.
    pub async fn set(&mut self, plans: impl Iterator<Item = &PortPlan>) {
        let wanted = wanted(plans);
        self.listeners.retain(|port, listener| {
            let keep = wanted.contains_key(port);
            if !keep {
                listener.abort();
            }
            keep
        });
        self.answers.retain(|port, _| wanted.contains_key(port));
        for (port, answer) in wanted {
            if let Some(shared) = self
                .answers
                .get(&port)
                .filter(|_| self.listeners.contains_key(&port))
            {
                *shared.lock() = answer;
                continue;
            }
            let shared = Arc::new(Mutex::new(answer));
            match self
                .node
                .tcp_listen(SocketAddr::new(self.family.unspecified(), port))
                .await
            {
                Ok(listener) => {
                    let app = axum::Router::new()
                        .fallback(respond)
                        .with_state(shared.clone());
                    let task = skiff_watching::task::spawn(async move {
                        if let Err(e) = axum::serve(listener, app).await {
                            tracing::warn!("health check port {port}: {e}");
                        }
                    });
                    self.listeners.insert(port, task.abort_handle());
                    self.answers.insert(port, shared);
                }
                Err(e) => tracing::warn!(
                    "cannot listen at health check port {port} of service {}: {e}",
                    shared.lock().service
                ),
            }
        }
    }

    pub fn close(&mut self) {
        std::mem::take(&mut self.listeners)
            .values()
            .for_each(AbortHandle::abort);
    }
}

fn wanted<'a>(plans: impl Iterator<Item = &'a PortPlan>) -> BTreeMap<u16, Answer> {
    let mut wanted: BTreeMap<u16, Answer> = BTreeMap::new();
    for plan in plans {
        let Some((port, local)) = plan.health_check else {
            continue;
        };
        let answer = wanted.entry(port).or_insert_with(|| Answer {
            service: plan.service.clone(),
            local_endpoints: 0,
        });
        answer.local_endpoints = answer.local_endpoints.max(local);
    }
    wanted
}

async fn respond(
    axum::extract::State(answer): axum::extract::State<Arc<Mutex<Answer>>>,
) -> axum::response::Response {
    let Answer {
        service,
        local_endpoints,
    } = answer.lock().clone();
    let body = serde_json::json!({
        "service": {"namespace": service.namespace, "name": service.name},
        "localEndpoints": local_endpoints,
        "serviceProxyHealthy": true,
    });
    let status = if local_endpoints == 0 {
        http::StatusCode::SERVICE_UNAVAILABLE
    } else {
        http::StatusCode::OK
    };
    let built = http::Response::builder()
        .status(status)
        .header("Content-Type", "application/json")
        .header("X-Content-Type-Options", "nosniff")
        .header(
            "X-Load-Balancing-Endpoint-Weight",
            local_endpoints.to_string(),
        )
        .body(axum::body::Body::from(body.to_string()));
    built.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use skiff_testing::With;

    use super::*;
    use crate::network::services::rules::tests::plan;

    #[test]
    fn a_port_counts_its_services_endpoints() {
        let with = |check| plan("a", 1, &[2]).with(|p| p.health_check = check);
        let wanted = wanted([with(Some((31000, 1))), with(Some((31000, 2))), with(None)].iter());
        assert_eq!(
            wanted,
            BTreeMap::from([(
                31000,
                Answer {
                    service: ObjectName::new("ns", "a"),
                    local_endpoints: 2
                }
            )])
        );
    }

    #[tokio::test]
    async fn answers_over_http() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let node = Namespace::current().unwrap();
        let free = std::net::TcpListener::bind("0.0.0.0:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut servers = HealthServers::new(node.clone(), IpFamily::V4);
        for (local, want) in [(1, "HTTP/1.1 200"), (0, "HTTP/1.1 503")] {
            servers
                .set([plan("a", 1, &[2]).with(|p| p.health_check = Some((free, local)))].iter())
                .await;
            let mut stream = node
                .tcp_connect(SocketAddr::from(([127, 0, 0, 1], free)))
                .await
                .unwrap();
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            let text = text.replace("HTTP/1.0", "HTTP/1.1");
            assert!(
                text.starts_with(want) && text.contains(&format!("\"localEndpoints\":{local}")),
                "{text}"
            );
        }
        servers.set(std::iter::empty()).await;
        assert!(servers.listeners.is_empty());
    }
}
