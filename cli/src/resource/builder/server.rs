//! Objects that the server is asked for: by name, or all that a selector selects.
//! Invariant: what was found before something went wrong is not lost.

use std::rc::Rc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Builder, Found, ONE_TYPE};
use crate::client::{Call, Pages, query};
use crate::discovery::Resource;
use crate::error::{Error, Result, quote};
use crate::resource::{Info, helper, is_list, rows};
use crate::typed::Read;

impl Builder {
    pub(super) async fn by_selector(&self, args: &[String], combined: bool) -> Result<Found> {
        if combined {
            return Err(Error::msg(
                "selectors and the all flag cannot be used when passing resource/name arguments",
            ));
        }
        let types = match args {
            [] => {
                return Err(Error::msg(
                    "at least one resource must be specified to use a selector",
                ));
            }
            [types] => types,
            _ => {
                return Err(Error::msg(
                    "name cannot be provided when a selector is specified",
                ));
            }
        };
        if !self.subresource.is_empty() {
            return Err(Error::msg(
                "subresource cannot be used when bulk resources are specified",
            ));
        }
        let mut found = Found {
            by_sources: true,
            ..Found::default()
        };
        for resource in self.types(types).await? {
            if let Err(e) = self.list(&resource, &mut found).await {
                found.fail(e);
                if !self.continue_on_error {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Reads a collection, piece by piece.
    async fn list(&self, resource: &Resource, found: &mut Found) -> Result<()> {
        let namespace = if resource.namespaced {
            self.namespace.clone()
        } else {
            String::new()
        };
        helper::placed(&namespace)?;
        let path = resource.collection(Some(&namespace));
        let selectors = [
            ("fieldSelector", &self.field_selector),
            ("labelSelector", &self.selector),
        ];
        let selectors = selectors
            .iter()
            .filter_map(|(k, v)| Some((*k, v.as_deref()?)));
        let parameters = self.parameters.iter().map(|(k, v)| (*k, v.as_str()));
        let pairs: Vec<(&str, &str)> = selectors.chain(parameters).collect();
        let mut pages = Pages::new(path, &pairs, self.chunk);
        let mut page = self.page(&pages).await;
        while let Some((call, answer)) = page {
            let body = answer.map_err(|e| self.list_error(e, resource))?;
            pages.took_unread(&body);
            // the server makes the next page while this one is read
            let read = async {
                tokio::task::yield_now().await;
                self.decode(&call, &body)
            };
            let (list, next) = futures::join!(read, self.page(&pages));
            let list = self.of_known_type(list?)?;
            found
                .infos
                .extend(self.take_apart(resource, &namespace, list));
            page = next;
        }
        Ok(())
    }

    /// Asks for the next page; none when all have been read.
    async fn page(&self, pages: &Pages) -> Option<(Call<'static>, Result<Bytes>)> {
        let call = pages.call()?.accept(self.accept);
        let answer = match self.ctx.client() {
            Ok(client) => client.bytes(&call).await,
            Err(e) => Err(e),
        };
        Some((call, answer))
    }

    fn decode(&self, call: &Call, body: &[u8]) -> Result<Value> {
        let read = match self.rows {
            None => serde_json::from_slice(body),
            Some(keep) => rows::read(body, keep),
        };
        read.map_err(|why| call.is_no_json(&why))
    }

    /// The answer, where Go's clients have a type for it or none is asked for.
    fn of_known_type(&self, answer: Value) -> Result<Value> {
        self.typed_kind(answer.text("apiVersion"), answer.text("kind"))?;
        Ok(answer)
    }

    /// Refuses a kind that Go's clients have no type of, where one is asked for.
    pub(super) fn typed_kind(&self, version: &str, kind: &str) -> Result<()> {
        let Some(scheme) = self.typed else {
            return Ok(());
        };
        if !crate::typed::knows(version, kind) {
            let why = crate::typed::unregistered(version, kind, scheme);
            return Err(Error::msg(why));
        }
        Ok(())
    }

    fn take_apart(&self, resource: &Resource, namespace: &str, mut list: Value) -> Vec<Info> {
        let info = |object: Value| {
            let text = |f: &str| object.at("metadata").text(f).to_string();
            Info {
                resource: resource.clone(),
                namespace: text("namespace"),
                name: text("name"),
                object,
                source: String::new(),
                lines: Rc::default(),
            }
        };
        if !self.flatten || !is_list(&list) {
            return vec![Info {
                namespace: namespace.to_string(),
                ..info(list)
            }];
        }
        let (api_version, kind) = (
            list.at("apiVersion").clone(),
            list.text("kind").trim_end_matches("List").to_string(),
        );
        let Value::Array(items) = list["items"].take() else {
            return vec![];
        };
        items
            .into_iter()
            .map(|mut item| {
                if let Some(m) = item.as_object_mut() {
                    m.entry("apiVersion").or_insert_with(|| api_version.clone());
                    m.entry("kind").or_insert_with(|| json!(kind));
                }
                info(item)
            })
            .collect()
    }

    fn list_error(&self, error: Error, resource: &Resource) -> Error {
        let Error::Status(mut s) = error else {
            return error;
        };
        if !matches!(s.text_ptr("reason"), Some("BadRequest" | "NotFound")) {
            return Error::Status(s);
        }
        let message = crate::error::status_message(&s);
        let (label, field) = (
            self.selector.as_deref().unwrap_or(""),
            self.field_selector.as_deref().unwrap_or(""),
        );
        s["message"] = json!(if label.is_empty() && field.is_empty() {
            format!("Unable to list {}: {message}", quote(&resource.long_name()))
        } else {
            format!(
                "Unable to find {} that match label selector {}, field selector {}: {message}",
                quote(&resource.long_name()),
                quote(label),
                quote(field)
            )
        });
        Error::Status(s)
    }

    pub(super) async fn by_tuples(&self, args: &[String]) -> Result<Found> {
        let mut wanted = Vec::new();
        for a in args {
            let (word, name) = a.split_once('/').unwrap_or((a, ""));
            wanted.push((self.resource(word).await?, name.to_string()));
        }
        if self.single_type && wanted.iter().any(|(resource, _)| *resource != wanted[0].0) {
            return Err(Error::msg(ONE_TYPE));
        }
        self.read(wanted).await
    }

    pub(super) async fn by_names(&self, types: &str, names: &[String]) -> Result<Found> {
        let resources = self.types(types).await?;
        let [resource] = resources.as_slice() else {
            return Err(Error::msg("you must specify only one resource"));
        };
        self.read(
            names
                .iter()
                .map(|n| (resource.clone(), n.clone()))
                .collect(),
        )
        .await
    }

    async fn read(&self, wanted: Vec<(Resource, String)>) -> Result<Found> {
        let mut found = Found {
            single: wanted.len() == 1,
            by_name: true,
            ..Found::default()
        };
        for (resource, name) in wanted {
            if resource.namespaced && self.namespace.is_empty() {
                let why = if self.all_namespaces {
                    "a resource cannot be retrieved by name across all namespaces"
                } else {
                    "namespace may not be empty when retrieving a resource by name"
                };
                return Err(Error::msg(why));
            }
            let namespace = if resource.namespaced {
                self.namespace.clone()
            } else {
                String::new()
            };
            let read = if self.require_object {
                self.get(&resource, &namespace, &name).await
            } else {
                Ok(Value::Null)
            };
            match read {
                Ok(object) => found.infos.push(Info {
                    resource,
                    namespace,
                    name,
                    object,
                    source: String::new(),
                    lines: Rc::default(),
                }),
                Err(e) => {
                    found.fail(e);
                    if !self.continue_on_error {
                        break;
                    }
                }
            }
        }
        Ok(found)
    }

    pub(super) async fn get(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Value> {
        helper::placed(namespace)?;
        helper::named(name)?;
        let mut path = resource.object(namespace, name);
        if !self.subresource.is_empty() {
            path = format!("{path}/{}", self.subresource);
        }
        let pairs: Vec<(&str, &str)> = self
            .parameters
            .iter()
            .map(|(k, v)| (*k, v.as_str()))
            .collect();
        let client = self.ctx.client()?;
        let call = Call::get(format!("{path}{}", query(&pairs))).accept(self.accept);
        match client.json(&call).await {
            Ok(object) => self.of_known_type(object),
            Err(error) => Err(helper::absent(client, namespace, error).await),
        }
    }
}
