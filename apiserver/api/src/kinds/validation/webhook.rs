//! Where a webhook is found: a URL, or a service and a path of it.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/util/webhook/validation.go`.

use super::url;
use crate::kinds::prelude::*;
use crate::machinery::read::Read;

/// `clientConfig`: one of both.
pub fn client_config(config: &Value, path: &Path, errors: &mut Errors) {
    match (config.text_ptr("url"), config.some("service")) {
        (Some(given), None) => https(given, &path.child("url"), errors),
        (None, Some(given)) => service(given, &path.child("service"), errors),
        _ => errors.required(path, "exactly one of url or service is required"),
    }
}

fn https(text: &str, path: &Path, errors: &mut Errors) {
    const FORM: &str = "; desired format: https://host[/path]";
    let url = match url::parse(text) {
        Ok(url) => url,
        Err(why) => return errors.required(path, format!("url must be a valid URL: {why}{FORM}")),
    };
    if url.scheme != "https" {
        errors.invalid(
            path,
            url.scheme,
            format!("'https' is the only allowed URL scheme{FORM}"),
        );
    }
    if url.host.is_empty() {
        errors.invalid(path, url.host, format!("host must be specified{FORM}"));
    }
    if let Some(user) = url.user {
        errors.invalid(path, user, "user information is not permitted in the URL");
    }
    if !url.fragment.is_empty() {
        errors.invalid(path, url.fragment, "fragments are not permitted in the URL");
    }
    if !url.query.is_empty() {
        errors.invalid(
            path,
            url.query,
            "query parameters are not permitted in the URL",
        );
    }
}

fn service(service: &Value, path: &Path, errors: &mut Errors) {
    // upstream hands over name and namespace crosswise: the one is told as absent when the other is
    for (name, told) in [("namespace", "name"), ("name", "namespace")] {
        if service.text(name).is_empty() {
            errors.required(&path.child(told), "");
        }
    }
    let port = service.int("port");
    let wrong = names::is_valid_port_num(port);
    if !wrong.is_empty() {
        errors.invalid(
            &path.child("port"),
            port,
            format!("port is not valid: {}", wrong.join(", ")),
        );
    }
    if let Some(given) = service.text_ptr("path") {
        url_path(given, &path.child("path"), errors);
    }
}

fn url_path(given: &str, path: &Path, errors: &mut Errors) {
    match given {
        "" | "/" => return,
        "//" => return errors.invalid(path, given, "segment[0] may not be empty"),
        _ => {}
    }
    if !given.starts_with('/') {
        errors.invalid(path, given, "must start with a '/'");
    }
    // whatever comes first is passed over, a slash or not
    let mut rest = given.chars();
    rest.next();
    let rest = rest.as_str();
    for (index, segment) in rest
        .strip_suffix('/')
        .unwrap_or(rest)
        .split('/')
        .enumerate()
    {
        if segment.is_empty() {
            errors.invalid(path, given, format!("segment[{index}] may not be empty"));
            continue;
        }
        for said in names::is_dns1123_subdomain(segment) {
            errors.invalid(path, given, format!("segment[{index}]: {said}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_is() {
        let form = "desired format: https://host[/path]";
        let service = |path: &str| json!({"service": {"name": "a", "namespace": "b", "port": 443, "path": path}});
        for (config, said) in [
            (json!({"url": "https://a/b"}), "[]".to_string()),
            (service("/a/b/"), "[]".into()),
            (service(""), "[]".into()),
            (json!({}), "c: Required value: exactly one of url or service is required".into()),
            (json!({"url": "https://a", "service": {}}), "c: Required value: exactly one of url or service is required".into()),
            (
                json!({"url": "http://a"}),
                format!("c.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; {form}"),
            ),
            (json!({"url": "https:///a"}), format!("c.url: Invalid value: \"\": host must be specified; {form}")),
            (
                json!({"url": "https://u@a?q#f"}),
                "[c.url: Invalid value: \"u\": user information is not permitted in the URL, c.url: Invalid value: \"f\": fragments are not permitted in the URL, c.url: Invalid value: \"q\": query parameters are not permitted in the URL]".into(),
            ),
            (
                json!({"url": "https://a:b"}),
                format!("c.url: Required value: url must be a valid URL: parse \"https://a:b\": invalid port \":b\" after host; {form}"),
            ),
            (json!({"service": {"name": "a", "port": 1}}), "c.service.name: Required value".into()),
            (
                json!({"service": {"namespace": "a", "port": 0}}),
                "[c.service.namespace: Required value, c.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, inclusive]".into(),
            ),
            (service("//"), "c.service.path: Invalid value: \"//\": segment[0] may not be empty".into()),
            (service("/a//b"), "c.service.path: Invalid value: \"/a//b\": segment[1] may not be empty".into()),
            (service("ab"), "c.service.path: Invalid value: \"ab\": must start with a '/'".into()),
        ] {
            let mut errors = Errors::default();
            client_config(&config, &Path::new("c"), &mut errors);
            assert_eq!(errors.message(), said, "{config}");
        }
    }
}
