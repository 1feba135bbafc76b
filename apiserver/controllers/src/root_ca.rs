//! The root CA publisher: every active namespace has a ConfigMap `kube-root-ca.crt` by which pods know the API server.
//!
//! Invariant: its data is exactly the authority's certificate, whoever changed it. Follows
//! pkg/controller/certificates/rootcacertpublisher/publisher.go.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{
    prelude::*,
    serviceaccount::{is_active, unless_ending},
};

const NAME: &str = "kube-root-ca.crt";
const DESCRIPTION: (&str, &str) = (
    "kubernetes.io/description",
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or \
     kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.",
);

struct Controller {
    api: Api,
    data: BTreeMap<String, String>,
    namespaces: Informer<Namespace>,
    maps: Informer<ConfigMap>,
}

/// `root-ca-certificate-publisher-controller`; has nothing to do without a root certificate.
pub fn start(context: &Context) -> Result<Work, Error> {
    let Some(pem) = context.options.root_ca_pem.clone() else {
        return Ok(None);
    };
    let c = context.wire(
        "root_ca_cert_publisher",
        Controller {
            api: context.api.clone(),
            data: BTreeMap::from([("ca.crt".to_string(), pem)]),
            namespaces: context.informer(),
            maps: context.informer(),
        },
    );
    c.each_there(&c.namespaces);
    c.on(&c.maps, |_, change, queue| {
        let meta = &change.object().metadata;
        if meta.name() == NAME && !matches!(change, Change::Added(_)) {
            queue.add(Key::cluster(meta.namespace()));
        }
    });
    Ok(c.some_workers(1))
}

impl Reconcile<Key> for Controller {
    const NAME: &'static str = "root-ca-certificate-publisher-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        if !self.namespaces.get(key).is_some_and(|ns| is_active(&ns)) {
            return Ok(Next::DONE);
        }
        let (note, text) = DESCRIPTION;
        match self.maps.get(&Key::new(key.name(), NAME)) {
            None => {
                let annotations = Some(BTreeMap::from([(note.to_string(), text.to_string())]));
                let metadata = ObjectMeta {
                    name: Some(NAME.into()),
                    namespace: Some(key.name().into()),
                    annotations,
                    ..Default::default()
                };
                let map = ConfigMap {
                    metadata,
                    data: Some(self.data.clone()),
                    ..Default::default()
                };
                unless_ending(self.api.create_quietly(&map).await.map(drop))?;
            }
            Some(map)
                if map.data.as_ref() == Some(&self.data)
                    && map.metadata.annotation(note).is_some() => {}
            Some(map) => {
                let mut map = (*map).clone();
                map.data = Some(self.data.clone());
                map.metadata
                    .annotations
                    .get_or_insert_default()
                    .insert(note.into(), text.into());
                unless_ending(self.api.update(&map).await.map(drop))?;
            }
        }
        Ok(Next::DONE)
    }
}
