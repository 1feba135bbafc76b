//! What a rule's matches, filters and time-outs mean to the proxy.
//!
//! Invariant: pure. What is not known how to do is refused and never left out. Follows `apis/v1/httproute_types.go` of the Gateway API.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode};
use skiff_api::machinery::gonum;
use skiff_ingress::{
    listeners::{Match, Paths, Text, pattern},
    treatment::{HeaderChanges, PathChange, Redirect, Treatment},
};

use super::objects::{Filter, HeaderFilter, NamedValue, PathModifier, RouteMatch, Rule};

/// Why a rule cannot be served as it stands.
#[derive(thiserror::Error, Debug)]
pub enum Unsupported {
    #[error("{0} is not supported")]
    Field(String),
    #[error("the {what} {text:?} is none: {why}")]
    Text {
        what: &'static str,
        text: String,
        why: String,
    },
    #[error("a prefix can be replaced only where the rule matches a prefix")]
    NoPrefix,
}

type Read<T> = Result<T, Unsupported>;

fn text<T, E: std::fmt::Display>(what: &'static str, text: &str, read: Result<T, E>) -> Read<T> {
    read.map_err(|why| Unsupported::Text {
        what,
        text: text.to_owned(),
        why: why.to_string(),
    })
}

fn name(of: &str) -> Read<HeaderName> {
    text("header", of, HeaderName::try_from(of))
}

fn value(of: &str) -> Read<HeaderValue> {
    text("value of a header", of, HeaderValue::try_from(of))
}

fn what(of: &NamedValue) -> Read<Text> {
    match of.r#type.as_deref() {
        None | Some("Exact") => Ok(Text::Exact(of.value.clone())),
        Some("RegularExpression") => {
            let read = pattern(&of.value);
            text("pattern", &of.value, read).map(Text::Pattern)
        }
        Some(other) => Err(Unsupported::Field(format!("a match of the type {other}"))),
    }
}

/// Which requests a match is about.
pub fn matched(of: &RouteMatch) -> Read<Match> {
    let path = of.path.as_ref();
    let path_value = path.and_then(|path| path.value.as_deref()).unwrap_or("/");
    let kind = path.and_then(|path| path.r#type.as_deref());
    let paths = match kind.unwrap_or("PathPrefix") {
        "Exact" => Paths::Exact(path_value.to_owned()),
        "PathPrefix" => Paths::Prefix(path_value.trim_end_matches('/').to_owned()),
        "RegularExpression" => Paths::Pattern(text("pattern", path_value, pattern(path_value))?),
        other => return Err(Unsupported::Field(format!("a path of the type {other}"))),
    };
    let method = of.method.as_deref();
    let mut headers: Vec<(HeaderName, Text)> = Vec::new();
    for header in &of.headers {
        let name = name(&header.name)?;
        // of several for one header the first counts
        if headers.iter().all(|(before, _)| *before != name) {
            headers.push((name, what(header)?));
        }
    }
    let mut parameters: Vec<(String, Text)> = Vec::new();
    for parameter in &of.query_params {
        if parameters
            .iter()
            .all(|(before, _)| *before != parameter.name)
        {
            parameters.push((parameter.name.clone(), what(parameter)?));
        }
    }
    Ok(Match {
        paths,
        method: method
            .map(|method| text("method", method, Method::try_from(method)))
            .transpose()?,
        headers,
        parameters,
    })
}

fn changes(of: Option<&HeaderFilter>, to: &mut HeaderChanges) -> Read<()> {
    let Some(of) = of else { return Ok(()) };
    let pair = |one: &NamedValue| Ok((name(&one.name)?, value(&one.value)?));
    to.set = of.set.iter().map(pair).collect::<Read<_>>()?;
    to.add = of.add.iter().map(pair).collect::<Read<_>>()?;
    to.remove = of.remove.iter().map(|one| name(one)).collect::<Read<_>>()?;
    Ok(())
}

fn path_change(of: Option<&PathModifier>, paths: &Paths) -> Read<Option<PathChange>> {
    let Some(of) = of else { return Ok(None) };
    let change = match of.r#type.as_str() {
        "ReplaceFullPath" => {
            let whole = of.replace_full_path.as_deref().unwrap_or_default();
            PathChange::Whole(if whole.is_empty() { "/" } else { whole }.to_owned())
        }
        "ReplacePrefixMatch" => {
            let Paths::Prefix(found) = paths else {
                return Err(Unsupported::NoPrefix);
            };
            PathChange::Prefix {
                found: found.clone(),
                with: of.replace_prefix_match.clone().unwrap_or_default(),
            }
        }
        other => {
            return Err(Unsupported::Field(format!(
                "a change of a path of the type {other}"
            )));
        }
    };
    Ok(Some(change))
}

/// None: there is no limit.
fn time(of: Option<&str>) -> Read<Option<Duration>> {
    let Some(of) = of else { return Ok(None) };
    let nanos = text("time", of, gonum::duration(of))?;
    let nanos = text("time", of, u64::try_from(nanos))?;
    Ok((nanos > 0).then_some(Duration::from_nanos(nanos)))
}

/// What a rule does with the requests of one of its matches.
#[derive(Debug)]
pub enum Doing {
    Send(Treatment),
    Redirect(Redirect),
}

fn redirect(filter: &Filter, paths: &Paths) -> Read<Redirect> {
    let of = filter.request_redirect.clone().unwrap_or_default();
    let status = of.status_code.unwrap_or(302);
    Ok(Redirect {
        path: path_change(of.path.as_ref(), paths)?,
        scheme: of.scheme,
        host: of.hostname,
        port: of.port,
        status: text("status", &status.to_string(), StatusCode::from_u16(status))?,
    })
}

/// Reads what a rule does with the requests that match these paths.
pub fn doing(rule: &Rule, paths: &Paths) -> Read<Doing> {
    let absent = [
        ("retry", rule.retry.is_some()),
        ("sessionPersistence", rule.session_persistence.is_some()),
    ];
    if let Some((field, _)) = absent.into_iter().find(|(_, is_there)| *is_there) {
        return Err(Unsupported::Field(field.to_owned()));
    }
    let mut treatment = Treatment {
        limit: time(rule.timeouts.request.as_deref())?,
        patience: time(rule.timeouts.backend_request.as_deref())?,
        ..Treatment::default()
    };
    let mut elsewhere = None;
    for filter in &rule.filters {
        match filter.r#type.as_str() {
            "RequestHeaderModifier" => {
                let of = filter.request_header_modifier.as_ref();
                changes(of, &mut treatment.request)?;
            }
            "ResponseHeaderModifier" => {
                let of = filter.response_header_modifier.as_ref();
                changes(of, &mut treatment.response)?;
            }
            "RequestRedirect" => elsewhere = Some(redirect(filter, paths)?),
            "URLRewrite" => {
                let of = filter.url_rewrite.clone().unwrap_or_default();
                treatment.path = path_change(of.path.as_ref(), paths)?;
                let host = of.hostname.as_deref();
                treatment.host = host
                    .map(|host| text("host", host, host.parse()))
                    .transpose()?;
            }
            other => return Err(Unsupported::Field(format!("a filter of the type {other}"))),
        }
    }
    Ok(match elsewhere {
        Some(redirect) => Doing::Redirect(redirect),
        None => Doing::Send(treatment),
    })
}
