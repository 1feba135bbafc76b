//! `/metrics` in Prometheus' text form: counts of requests by verb, resource and code, and what the store holds.
//!
//! Follows the names of `staging/src/k8s.io/apiserver/pkg/endpoints/metrics`.

use std::{collections::BTreeMap, fmt::Write};

use axum::body::Body;
use http::Response;
use parking_lot::Mutex;

use crate::context::Context;

/// verb, group, version, resource, subresource, code.
type Labels = (String, String, String, String, String, u16);

/// What has been counted since the start.
#[derive(Default)]
pub struct Metrics {
    requests: Mutex<BTreeMap<Labels, u64>>,
}

impl Metrics {
    pub fn count(&self, info: &crate::request::RequestInfo, code: u16) {
        if info.is_resource {
            let labels = (info.verb.to_uppercase(), info.group.clone(), info.version.clone(), info.resource.clone(), info.subresource.clone(), code);
            *self.requests.lock().entry(labels).or_default() += 1;
        }
    }
}

pub fn serve(ctx: &Context) -> Response<Body> {
    let mut text = String::from("# HELP apiserver_request_total Requests answered, by verb, resource and code.\n# TYPE apiserver_request_total counter\n");
    for ((verb, group, version, resource, subresource, code), count) in ctx.app.metrics.requests.lock().iter() {
        let _ = writeln!(
            text,
            "apiserver_request_total{{code=\"{code}\",component=\"apiserver\",dry_run=\"\",group=\"{group}\",resource=\"{resource}\",subresource=\"{subresource}\",verb=\"{verb}\",version=\"{version}\"}} {count}"
        );
    }
    text += "# HELP apiserver_resource_objects Objects stored, by resource.\n# TYPE apiserver_resource_objects gauge\n";
    for resource in ctx.app.store.resources() {
        let (plural, group) = resource.split_once('.').unwrap_or((&resource, ""));
        let count = ctx.app.store.snapshot(&resource).len(None);
        let _ = writeln!(text, "apiserver_resource_objects{{group=\"{group}\",resource=\"{plural}\"}} {count}");
    }
    let _ = writeln!(text, "# HELP etcd_revision Newest revision of the store.\n# TYPE etcd_revision gauge\netcd_revision {}", ctx.app.store.revision());
    ctx.finish(200, "text/plain; version=0.0.4; charset=utf-8", Body::from(text))
}
