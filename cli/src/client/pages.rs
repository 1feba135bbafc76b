//! Collections that are read in pages.
//! Invariant: each page but the first continues the one before; a page that fails ends the reading.
//! Behaviour follows `staging/src/k8s.io/cli-runtime/pkg/resource/visitor.go`.

use super::{Call, Client, query};
use crate::error::Result;
use crate::typed::Read;
use serde_json::Value;
use skiff_protobuf::{ProtobufError, Scan};

/// Which page of a collection comes next.
pub struct Pages {
    path: String,
    pairs: Vec<(String, String)>,
    /// Where the next page begins, empty for the first; nothing when all have been read.
    next: Option<String>,
}

impl Pages {
    /// `pairs`: what the query says otherwise; `size`: objects a page, 0 for all at once.
    pub fn new(path: impl Into<String>, pairs: &[(&str, &str)], size: i64) -> Self {
        let own = pairs.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        let limit = (size > 0).then(|| ("limit".into(), size.to_string()));
        Pages {
            path: path.into(),
            pairs: own.chain(limit).collect(),
            next: Some(String::new()),
        }
    }

    /// The request for the next page; none when all have been read.
    pub fn call(&self) -> Option<Call<'static>> {
        let next = self.next.as_deref()?;
        let own = self.pairs.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        let begins = Some(("continue", next)).filter(|_| !next.is_empty());
        let mut pairs: Vec<_> = own.chain(begins).collect();
        pairs.sort_unstable();
        Some(Call::get(format!("{}{}", self.path, query(&pairs))))
    }

    /// Notes which page comes after this one.
    pub fn took(&mut self, page: &Value) {
        self.comes_next(page.at("metadata"));
    }

    /// The same of a page that was not read yet.
    pub fn took_unread(&mut self, page: &[u8]) {
        self.comes_next(&metadata(page).unwrap_or_default());
    }

    fn comes_next(&mut self, metadata: &Value) {
        let next = metadata.text("continue");
        self.next = (!next.is_empty()).then(|| next.to_string());
    }
}

/// The metadata of a list, which stands before its items. `None` of what is no list: whoever reads all of it will tell.
fn metadata(list: &[u8]) -> Option<Value> {
    let mut found = None;
    // it need not be read to its end
    let _ = Scan::new(list).object(|name, text| {
        if name != b"metadata" {
            return Ok(());
        }
        found = serde_json::from_slice(text.any()?).ok();
        Err(ProtobufError::Ended)
    });
    found
}

impl Client {
    /// The next page of a collection; none when all have been read.
    ///
    /// # Errors
    /// As [`Client::json`].
    pub async fn page(&self, pages: &mut Pages) -> Result<Option<Value>> {
        let Some(call) = pages.call() else {
            return Ok(None);
        };
        let page = self.json(&call).await?;
        pages.took(&page);
        Ok(Some(page))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_page_continues_the_one_before() {
        let mut pages = Pages::new("/pods", &[("fieldSelector", "a=b")], 5);
        let path = |pages: &Pages| pages.call().map(|call| call.path);
        assert_eq!(path(&pages).unwrap(), "/pods?fieldSelector=a%3Db&limit=5");
        pages.took(&json!({"metadata": {"continue": "c"}}));
        let second = "/pods?continue=c&fieldSelector=a%3Db&limit=5";
        assert_eq!(path(&pages).unwrap(), second);
        pages.took(&json!({"metadata": {}}));
        assert_eq!(path(&pages), None);
        pages.took_unread(br#"{ "kind": "Table", "metadata": {"continue": "c"}, "rows": ["#);
        assert_eq!(path(&pages).unwrap(), second);
        for last in [
            r#"{"metadata":{"resourceVersion":"1"}}"#,
            r#"{"items":[]}"#,
            "",
            "no",
        ] {
            pages.took_unread(last.as_bytes());
            assert_eq!(path(&pages), None, "{last}");
        }
        assert_eq!(path(&Pages::new("/pods", &[], 0)).unwrap(), "/pods");
    }
}
