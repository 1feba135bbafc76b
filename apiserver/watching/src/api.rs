//! Reads and writes against the API, without a type of its own for each kind: one place that knows paths, and one copy of the code per request rather
//! than one per kind.
//!
//! Invariant: every request names its sender as the component of upstream does, so that `managedFields` read as upstream's.
//! Follows k8s.io/client-go/kubernetes.

use std::borrow::Cow;

use http::{Method, Request, header};
use http_body_util::BodyExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json, value::RawValue};
use skiff_api::machinery::{status::unrecognized, url::UNRESERVED};

pub use crate::typed::{Kind, Wire};
use crate::{
    client::{Body, BoxError, Client},
    error::Error,
    key::Key,
    status::Status,
};

/// How a patch's body is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchType {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Kubernetes' own, with list keys.
    Strategic,
    /// Server-side apply, forced, as this field manager.
    Apply(&'static str),
}

/// What a delete asks for beside the name.
#[derive(Clone, Debug, Default)]
pub struct Delete {
    /// `Background`, `Foreground` or `Orphan`.
    pub propagation: Option<&'static str>,
    /// Seconds; `None` leaves the object's own.
    pub grace_seconds: Option<i64>,
    /// Delete only the object with this uid.
    pub uid: Option<String>,
    /// Delete only this version of it.
    pub resource_version: Option<String>,
}

impl Delete {
    /// Only the object with this uid.
    pub fn of_uid(uid: &str) -> Self {
        Self {
            uid: Some(uid.to_string()),
            ..Self::default()
        }
    }

    fn body(&self) -> Value {
        let mut body = json!({"kind": "DeleteOptions", "apiVersion": "v1"});
        if let Some(policy) = self.propagation {
            body["propagationPolicy"] = policy.into();
        }
        if let Some(seconds) = self.grace_seconds {
            body["gracePeriodSeconds"] = seconds.into();
        }
        if self.uid.is_some() || self.resource_version.is_some() {
            let mut preconditions = serde_json::Map::new();
            preconditions.extend(self.uid.clone().map(|uid| ("uid".to_string(), uid.into())));
            preconditions.extend(
                self.resource_version
                    .clone()
                    .map(|rv| ("resourceVersion".to_string(), rv.into())),
            );
            body["preconditions"] = preconditions.into();
        }
        body
    }
}

/// Only the metadata of an answer: what most writers want to know of what they wrote.
#[derive(Deserialize, Clone, Debug, Default)]
pub struct Written {
    /// The object's metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
}

/// A list whose objects are not read yet.
#[derive(Deserialize)]
pub struct Page<'a> {
    /// The list's own metadata.
    #[serde(default)]
    pub metadata: PageMeta,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

impl<'a> Page<'a> {
    /// Reads the list but for its objects; `what` was asked for.
    pub fn of(what: &str, text: &'a str) -> Result<Self, Error> {
        // texts within a text are known to their own reader alone
        serde_json::from_str(text).map_err(|source| Error::Decode {
            what: what.to_string(),
            source: source.into(),
        })
    }

    /// The objects' texts.
    pub fn items(&self) -> impl Iterator<Item = &'a str> {
        self.items.iter().flatten().map(|item| item.get())
    }

    /// The objects, each read as `T`: for types that are not kinds.
    pub fn read<T: DeserializeOwned>(&self, what: &str) -> Result<Vec<T>, Error> {
        self.items().map(|item| decode(what, item)).collect()
    }
}

/// A list's own metadata.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct PageMeta {
    #[serde(default)]
    pub resource_version: Option<String>,
    #[serde(default, rename = "continue")]
    pub continue_token: Option<String>,
}

/// The API, as controllers see it.
#[derive(Clone)]
pub struct Api {
    client: Client,
    user_agent: &'static str,
}

/// What stands in a path for something that can be no object's name, and in no other.
const NOBODYS: &str = "%25";

/// A name as one segment of a path, whatever it holds: names come from annotations, references and specs, where nobody has looked at them. What can be
/// no object's name (`..`, `a/b`, nothing) becomes a segment for which nobody is asked, so that it leads nowhere else: there is no such object
/// ([`Api::exchange`]). Upstream's client refuses those (`IsValidPathSegmentName` in `k8s.io/client-go/rest/request.go`).
pub fn segment(name: &str) -> Cow<'_, str> {
    const KEPT: &AsciiSet = &UNRESERVED
        .remove(b':')
        .remove(b'@')
        .remove(b'$')
        .remove(b'&')
        .remove(b'+')
        .remove(b',')
        .remove(b';')
        .remove(b'=');
    let none = matches!(name, "" | "." | "..") || name.contains(['/', '%']);
    let escaped: Cow<'_, str> =
        utf8_percent_encode(name, if none { NON_ALPHANUMERIC } else { KEPT }).into();
    match (none, &*escaped) {
        (false, _) => escaped,
        (true, "") => NOBODYS.into(),
        (true, _) => escaped.replace('%', NOBODYS).into(),
    }
}

/// The path of a kind's collection in a namespace, or over all of them when `namespace` is empty.
pub fn collection<K: Kind>(namespace: &str) -> String {
    collection_path(
        K::api_version(),
        if K::NAMESPACED { namespace } else { "" },
        K::plural(),
    )
}

fn collection_path(api_version: &str, namespace: &str, plural: &str) -> String {
    let root = if api_version.contains('/') {
        "/apis"
    } else {
        "/api"
    };
    match namespace {
        "" => format!("{root}/{api_version}/{plural}"),
        namespace => format!(
            "{root}/{api_version}/namespaces/{}/{plural}",
            segment(namespace)
        ),
    }
}

/// The path of one object.
pub fn item<K: Kind>(namespace: &str, name: &str) -> String {
    let mut path = collection::<K>(namespace);
    path.push('/');
    path.push_str(&segment(name));
    path
}

fn path_of<K: Kind>(object: &K) -> String {
    let meta = object.meta();
    item::<K>(
        meta.namespace.as_deref().unwrap_or(""),
        meta.name.as_deref().unwrap_or(""),
    )
}

fn encode(what: &str, value: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|source| Error::Encode {
        what: what.to_string(),
        source,
    })
}

fn decode<'a, T: Deserialize<'a>>(what: &str, text: &'a str) -> Result<T, Error> {
    crate::decode::decode(text, &[]).map_err(|source| Error::Decode {
        what: what.to_string(),
        source: source.into(),
    })
}

fn read<K: Wire>(what: &str, text: &str) -> Result<K, Error> {
    K::decode(text).map_err(|source| Error::Decode {
        what: what.to_string(),
        source: source.into(),
    })
}

fn write<K: Wire>(what: &str, object: &K) -> Result<Vec<u8>, Error> {
    object.encode().map_err(|source| Error::Encode {
        what: what.to_string(),
        source,
    })
}

impl Api {
    /// Speaks through `client` as the program `user_agent`.
    pub fn new(client: Client, user_agent: &'static str) -> Self {
        Self { client, user_agent }
    }

    /// The client itself, for watches.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A request with the headers that every request of ours bears.
    pub fn request(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        accept: Option<&str>,
        body: Vec<u8>,
    ) -> Result<Request<Vec<u8>>, Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::USER_AGENT, self.user_agent);
        if let Some(kind) = content_type {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        request = request.header(header::ACCEPT, accept.unwrap_or("application/json"));
        request
            .body(body)
            .map_err(|e| Error::Failed(format!("cannot make a request to {path}: {e}")))
    }

    /// Sends a request and gives the answer's text.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        accept: Option<&str>,
        body: Vec<u8>,
    ) -> Result<String, Error> {
        let request = self.request(method.clone(), path, content_type, accept, body)?;
        let answer = self.exchange(request, &format!("{method} {path}")).await?;
        Self::text(answer, &format!("{method} {path}")).await
    }

    async fn text(answer: http::Response<Body>, what: &str) -> Result<String, Error> {
        let body = answer
            .into_body()
            .collect()
            .await
            .map_err(|e| from_client(what, e))?
            .to_bytes();
        String::from_utf8(body.into())
            .map_err(|_| Error::Failed(format!("the answer to {what} is not UTF-8")))
    }

    /// Sends a request and gives the answer once its head is there; a refusal is an error.
    pub async fn exchange(
        &self,
        request: Request<Vec<u8>>,
        what: &str,
    ) -> Result<http::Response<Body>, Error> {
        if request.uri().path().contains(NOBODYS) {
            return Err(Error::Refused(Box::new(Status {
                message: format!("cannot {what}: no object can have such a name"),
                reason: "NotFound".into(),
                code: 404,
                details: None,
            })));
        }
        let creates = request.method() == Method::POST;
        let answer = self
            .client
            .send(request)
            .await
            .map_err(|e| from_client(what, e))?;
        let code = answer.status();
        if !code.is_client_error() && !code.is_server_error() {
            return Ok(answer);
        }
        let text = Self::text(answer, what).await?;
        let status = serde_json::from_str(&text).unwrap_or_else(|_| {
            let (reason, message) = unrecognized(code.as_u16(), creates, text.trim());
            Status {
                code: code.as_u16(),
                reason: reason.into(),
                message,
                ..Status::default()
            }
        });
        Err(Error::Refused(Box::new(status)))
    }

    /// GETs a text.
    pub async fn get_text(&self, path: &str) -> Result<String, Error> {
        self.send(Method::GET, path, None, None, Vec::new()).await
    }

    /// GETs what is not a kind's own object, such as a scale.
    pub async fn get_at<T: Wire>(&self, path: &str) -> Result<T, Error> {
        read(path, &self.get_text(path).await?)
    }

    /// GETs anything.
    pub async fn get_path<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        decode(path, &self.get_text(path).await?)
    }

    /// The metadata of the object at `path`.
    pub async fn get_metadata(&self, path: &str) -> Result<ObjectMeta, Error> {
        let accept =
            "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
        Ok(decode::<Written>(
            path,
            &self
                .send(Method::GET, path, None, Some(accept), Vec::new())
                .await?,
        )?
        .metadata)
    }

    /// One object, from the server and not from a cache.
    pub async fn get<K: Kind>(&self, namespace: &str, name: &str) -> Result<K, Error> {
        let path = item::<K>(namespace, name);
        read(&path, &self.get_text(&path).await?)
    }

    /// All objects of a kind in a namespace (all when empty), from the server and not from a cache.
    pub async fn list<K: Kind>(&self, namespace: &str) -> Result<Vec<K>, Error> {
        let path = collection::<K>(namespace);
        let text = self.get_text(&path).await?;
        Page::of(&path, &text)?
            .items()
            .map(|item| read(&path, item))
            .collect()
    }

    /// Creates, and gives what the server made of it.
    pub async fn create<K: Kind>(&self, object: &K) -> Result<K, Error> {
        let path = collection::<K>(object.meta().namespace.as_deref().unwrap_or(""));
        let text = self.post_bytes(&path, write(&path, object)?).await?;
        read(&path, &text)
    }

    /// Creates, and gives the new object's metadata: cheaper than decoding it all.
    pub async fn create_quietly<K: Kind>(&self, object: &K) -> Result<ObjectMeta, Error> {
        let path = collection::<K>(object.meta().namespace.as_deref().unwrap_or(""));
        let text = self.post_bytes(&path, write(&path, object)?).await?;
        Ok(decode::<Written>(&path, &text)?.metadata)
    }

    /// POSTs anything to anywhere.
    pub async fn post(&self, path: &str, body: &Value) -> Result<String, Error> {
        self.post_bytes(path, encode(path, body)?).await
    }

    async fn post_bytes(&self, path: &str, body: Vec<u8>) -> Result<String, Error> {
        self.send(Method::POST, path, Some("application/json"), None, body)
            .await
    }

    /// POSTs a typed object that is not stored, such as a token request, and gives what the server made of it.
    pub async fn post_object<K: Wire>(&self, path: &str, object: &K) -> Result<K, Error> {
        read(path, &self.post_bytes(path, write(path, object)?).await?)
    }

    /// Replaces the object.
    pub async fn update<K: Kind>(&self, object: &K) -> Result<K, Error> {
        self.put(&path_of(object), object).await
    }

    /// Replaces the object's status.
    pub async fn update_status<K: Kind>(&self, object: &K) -> Result<K, Error> {
        self.put(&(path_of(object) + "/status"), object).await
    }

    /// PUTs a typed object at a path, such as a sub-resource's.
    pub async fn put<K: Wire>(&self, path: &str, object: &K) -> Result<K, Error> {
        let text = self
            .send(
                Method::PUT,
                path,
                Some("application/json"),
                None,
                write(path, object)?,
            )
            .await?;
        read(path, &text)
    }

    /// Patches what is at `path`, and gives its new metadata.
    pub async fn patch(
        &self,
        path: &str,
        how: PatchType,
        body: &Value,
    ) -> Result<ObjectMeta, Error> {
        Ok(decode::<Written>(path, &self.send_patch(path, how, body).await?)?.metadata)
    }

    /// Patches what is at `path`, and gives it all.
    pub async fn patch_object<K: Wire>(
        &self,
        path: &str,
        how: PatchType,
        body: &Value,
    ) -> Result<K, Error> {
        read(path, &self.send_patch(path, how, body).await?)
    }

    async fn send_patch(&self, path: &str, how: PatchType, body: &Value) -> Result<String, Error> {
        let (kind, path) = match how {
            PatchType::Json => ("application/json-patch+json", Cow::Borrowed(path)),
            PatchType::Merge => ("application/merge-patch+json", Cow::Borrowed(path)),
            PatchType::Strategic => (
                "application/strategic-merge-patch+json",
                Cow::Borrowed(path),
            ),
            PatchType::Apply(manager) => (
                "application/apply-patch+yaml",
                Cow::Owned(format!("{path}?fieldManager={manager}&force=true")),
            ),
        };
        self.send(Method::PATCH, &path, Some(kind), None, encode(&path, body)?)
            .await
    }

    /// Deletes one object.
    pub async fn delete<K: Kind>(&self, key: &Key, options: &Delete) -> Result<(), Error> {
        self.delete_path(&item::<K>(key.namespace(), key.name()), options)
            .await
    }

    /// Deletes what is at `path`: an object, or a whole collection.
    pub async fn delete_path(&self, path: &str, options: &Delete) -> Result<(), Error> {
        self.send(
            Method::DELETE,
            path,
            Some("application/json"),
            None,
            encode(path, &options.body())?,
        )
        .await
        .map(drop)
    }
}

/// A request that was not answered.
pub fn from_client(what: &str, source: BoxError) -> Error {
    Error::Transport {
        what: what.to_string(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment() {
        for (name, is) in [
            ("web-0", "web-0"),
            (
                "system:controller:job-controller",
                "system:controller:job-controller",
            ),
            ("a b?c#d", "a%20b%3Fc%23d"),
            ("ä", "%C3%A4"),
            ("", "%25"),
            (".", "%252E"),
            ("..", "%252E%252E"),
            ("a/b", "a%252Fb"),
            (
                "../../kube-system/secrets",
                "%252E%252E%252F%252E%252E%252Fkube%252Dsystem%252Fsecrets",
            ),
            ("100%", "100%2525"),
        ] {
            assert_eq!(segment(name), is, "{name}");
            let path: Result<http::Uri, _> = format!("/api/v1/nodes/{}", segment(name)).parse();
            assert_eq!(path.unwrap().path().split('/').count(), 5, "{name}");
        }
    }
}
