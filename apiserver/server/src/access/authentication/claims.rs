//! From the claims of a verified token to the user that it is of.
//!
//! Invariant: a claim that is needed and is not what it should be makes a token nobody's. Follows
//! `staging/src/k8s.io/apiserver/plugin/pkg/authenticator/token/oidc/oidc.go` (AuthenticateToken) and `vendor/github.com/coreos/go-oidc/verify.go`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use skiff_api::machinery::quote::go_quote;
use skiff_api::machinery::{read::go_kind, time};

use super::{
    config::JwtAuthenticator, expressions::Unevaluated, jws::TokenError, validation::Mapper,
};
use crate::auth::User;

/// How much later than here it may be where a token was made, in seconds.
const LEEWAY: i64 = 60;
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// Why a token is nobody's.
#[derive(thiserror::Error, Debug, PartialEq)]
pub enum ClaimError {
    #[error("oidc: verify token: {0}")]
    Token(#[from] TokenError),
    #[error("oidc: could not expand distributed claims: claim {} is distributed, which is not supported", go_quote(.0))]
    Distributed(String),
    #[error("oidc: parse username claims {}: {why}", go_quote(.claim))]
    Username { claim: String, why: String },
    #[error("oidc: parse 'email_verified' claim: {0}")]
    EmailVerified(String),
    #[error("oidc: email not verified")]
    NotVerified,
    #[error("oidc: empty username via CEL expression is not allowed")]
    EmptyUsername,
    #[error("oidc: error evaluating username claim expression: {0}")]
    UsernameExpression(Unevaluated),
    #[error("oidc: parse groups claim {}: {why}", go_quote(.claim))]
    Groups { claim: String, why: String },
    #[error("oidc: error evaluating group claim expression: {0}")]
    GroupsExpression(Unevaluated),
    #[error("oidc: parse uid claim {}: {why}", go_quote(.claim))]
    Uid { claim: String, why: String },
    #[error("oidc: error evaluating uid claim expression: {0}")]
    UidExpression(Unevaluated),
    #[error("oidc: error evaluating extra claim expression: {0}")]
    ExtraExpression(Unevaluated),
    #[error("oidc: required claim {0} not present in ID token")]
    Missing(String),
    #[error("oidc: parse claim {claim}: {why}")]
    Required { claim: String, why: String },
    #[error("oidc: required claim {claim} value does not match. Got = {got}, want = {want}")]
    Other {
        claim: String,
        got: String,
        want: String,
    },
    #[error("oidc: error evaluating claim validation expression: {0}")]
    ClaimRule(Unevaluated),
    #[error("oidc: error evaluating user info validation rule: {0}")]
    UserRule(Unevaluated),
}

/// What Go says of a claim that is not of the wanted type.
fn not_a(wanted: &str, value: &Value) -> String {
    let found = go_kind(value);
    format!("json: cannot unmarshal {found} into Go value of type {wanted}")
}

const ABSENT: &str = "claim not present";

/// A claim that is a text; Go takes `null` for an empty one.
fn text(value: Option<&Value>) -> Result<String, String> {
    match value {
        None => Err(ABSENT.into()),
        Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(not_a("string", other)),
    }
}

/// A claim that is a text, or a list of such.
fn texts(value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => {
            let each = items.iter().map(|item| text(Some(item)).ok());
            let read: Option<Vec<String>> = each.collect();
            read.ok_or_else(|| not_a("string", value))
        }
        one => Ok(vec![text(Some(one))?]),
    }
}

/// The claims of a token, of one of the issuer's audiences and in its time; and when that ends, in seconds since 1970.
///
/// # Errors
/// It is not good here and now.
pub fn read(
    payload: &[u8],
    audiences: &[String],
    now: Timestamp,
) -> Result<(Map<String, Value>, i64), TokenError> {
    let wrong = |why: String| TokenError::Claims(why);
    let claims: Map<String, Value> =
        serde_json::from_slice(payload).map_err(|error| wrong(error.to_string()))?;
    let seconds = |name: &str| match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => {
            #[allow(
                clippy::cast_possible_truncation,
                reason = "a time beyond 64 bits is no time"
            )]
            let whole = number.as_f64().map(|seconds| seconds as i64);
            Ok(number.as_i64().or(whole))
        }
        Some(other) => Err(wrong(not_a("json.Number", other))),
    };
    let (expiry, not_before) = (seconds("exp")?, seconds("nbf")?);
    let said = match claims.get("aud") {
        None => Vec::new(),
        Some(said) => texts(said).map_err(wrong)?,
    };
    if !audiences.iter().any(|audience| said.contains(audience)) {
        let list = |of: &[String]| {
            let quoted: Vec<String> = of.iter().map(|one| go_quote(one)).collect();
            format!("[{}]", quoted.join(" "))
        };
        return Err(TokenError::Audience {
            wanted: match audiences {
                [one] => go_quote(one),
                several => format!("in {}", list(several)),
            },
            got: list(&said),
        });
    }
    let shown = |seconds: i64| {
        Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), time::seconds)
    };
    let expiry = expiry.ok_or_else(|| TokenError::Expired("0001-01-01T00:00:00Z".into()))?;
    if expiry < now.as_second() {
        return Err(TokenError::Expired(shown(expiry)));
    }
    if let Some(nbf) = not_before.filter(|nbf| now.as_second().saturating_add(LEEWAY) < *nbf) {
        return Err(TokenError::NotYet {
            now: time::seconds(now),
            nbf: shown(nbf),
        });
    }
    Ok((claims, expiry))
}

/// The user of these claims, who passes all rules.
///
/// # Errors
/// A claim is not what it should be, or a rule does not hold.
pub fn user(
    claims: &Map<String, Value>,
    of: &JwtAuthenticator,
    mapper: &Mapper,
) -> Result<User, ClaimError> {
    let groups_claim = of.claim_mappings.groups.claim.as_str();
    if !groups_claim.is_empty() && !claims.contains_key(groups_claim) {
        let names = claims.get("_claim_names").and_then(Value::as_object);
        if names.is_some_and(|names| names.contains_key(groups_claim)) {
            return Err(ClaimError::Distributed(groups_claim.into()));
        }
    }
    // expressions see the claims as one object
    let data = Value::Object(claims.clone());
    let user = User {
        name: username(claims, &data, of, mapper)?,
        groups: groups(claims, &data, of, mapper)?,
        uid: uid(claims, &data, of, mapper)?,
        extra: extra(claims, &data, mapper)?,
    };
    required(claims, of)?;
    for (rule, message) in &mapper.claim_rules {
        rule.holds(&data, message).map_err(ClaimError::ClaimRule)?;
    }
    if !mapper.user_rules.is_empty() {
        let data = json!({"username": user.name, "uid": user.uid, "groups": user.groups, "extra": user.extra});
        for (rule, message) in &mapper.user_rules {
            rule.holds(&data, message).map_err(ClaimError::UserRule)?;
        }
    }
    Ok(user)
}

fn username(
    claims: &Map<String, Value>,
    data: &Value,
    of: &JwtAuthenticator,
    mapper: &Mapper,
) -> Result<String, ClaimError> {
    if let Some(expression) = &mapper.username {
        let name = expression.text(data, Unevaluated::NoName);
        let name = name.map_err(ClaimError::UsernameExpression)?;
        return match name.is_empty() {
            true => Err(ClaimError::EmptyUsername),
            false => Ok(name),
        };
    }
    let mapping = &of.claim_mappings.username;
    let claim = mapping.claim.as_str();
    let name = text(claims.get(claim)).map_err(|why| ClaimError::Username {
        claim: claim.into(),
        why,
    })?;
    if claim == "email" {
        match claims.get("email_verified") {
            None | Some(Value::Bool(true)) => {}
            Some(Value::Bool(false) | Value::Null) => return Err(ClaimError::NotVerified),
            Some(other) => return Err(ClaimError::EmailVerified(not_a("bool", other))),
        }
    }
    let prefix = mapping.prefix.as_deref().unwrap_or("");
    Ok(format!("{prefix}{name}"))
}

fn groups(
    claims: &Map<String, Value>,
    data: &Value,
    of: &JwtAuthenticator,
    mapper: &Mapper,
) -> Result<Vec<String>, ClaimError> {
    let mapping = &of.claim_mappings.groups;
    let claim = mapping.claim.as_str();
    if let Some(value) = claims.get(claim).filter(|_| !claim.is_empty()) {
        let groups = texts(value).map_err(|why| ClaimError::Groups {
            claim: claim.into(),
            why,
        })?;
        let prefix = mapping.prefix.as_deref().unwrap_or("");
        let prefixed = groups.into_iter().map(|group| format!("{prefix}{group}"));
        return Ok(prefixed.collect());
    }
    match &mapper.groups {
        Some(expression) => expression.texts(data).map_err(ClaimError::GroupsExpression),
        None => Ok(Vec::new()),
    }
}

fn uid(
    claims: &Map<String, Value>,
    data: &Value,
    of: &JwtAuthenticator,
    mapper: &Mapper,
) -> Result<String, ClaimError> {
    let claim = of.claim_mappings.uid.claim.as_str();
    if !claim.is_empty() {
        return text(claims.get(claim)).map_err(|why| ClaimError::Uid {
            claim: claim.into(),
            why,
        });
    }
    match &mapper.uid {
        Some(expression) => {
            let uid = expression.text(data, Unevaluated::NoUid);
            uid.map_err(ClaimError::UidExpression)
        }
        None => Ok(String::new()),
    }
}

fn extra(
    claims: &Map<String, Value>,
    data: &Value,
    mapper: &Mapper,
) -> Result<BTreeMap<String, Vec<String>>, ClaimError> {
    let mut extra = BTreeMap::new();
    if let Some(id) = claims.get("jti").and_then(Value::as_str)
        && !id.is_empty()
    {
        extra.insert(CREDENTIAL_ID.to_string(), vec![format!("JTI={id}")]);
    }
    for (key, expression) in &mapper.extra {
        let values = expression.texts(data);
        let values = values.map_err(ClaimError::ExtraExpression)?;
        if !values.is_empty() {
            extra.insert(key.clone(), values);
        }
    }
    Ok(extra)
}

fn required(claims: &Map<String, Value>, of: &JwtAuthenticator) -> Result<(), ClaimError> {
    let rules = of.claim_validation_rules.iter();
    for rule in rules.filter(|rule| !rule.claim.is_empty()) {
        let (claim, want) = (rule.claim.clone(), &rule.required_value);
        let Some(value) = claims.get(&claim) else {
            return Err(ClaimError::Missing(claim));
        };
        match text(Some(value)) {
            Err(why) => return Err(ClaimError::Required { claim, why }),
            Ok(got) if got != *want => {
                return Err(ClaimError::Other {
                    claim,
                    got,
                    want: want.clone(),
                });
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::validation::configuration;
    use super::*;

    /// Who has these claims, by this mapping (YAML), or why nobody.
    fn who(mapping: &str, claims: &Value) -> Result<Value, String> {
        let yaml = format!("jwt: [{{issuer: {{url: 'https://a', audiences: [x]}}, {mapping}}}]");
        let (value, _) = skiff_api::machinery::yaml::read_first(&yaml).unwrap();
        let config = serde_json::from_value(value).unwrap();
        let mappers = configuration(&config, &[]).unwrap();
        let user = user(claims.as_object().unwrap(), &config.jwt[0], &mappers[0]);
        user.map(|user| json!(user)).map_err(|why| why.to_string())
    }

    const BY_CLAIM: &str = "claimMappings: {username: {claim: sub, prefix: 'p:'}, groups: {claim: roles, prefix: 'g:'}, uid: {claim: id}}";
    const BY_EXPRESSION: &str = "claimMappings: {username: {expression: 'claims.sub + \"@x\"'}, groups: {expression: 'claims.roles.map(r, \"r-\" + r)'}, \
         uid: {expression: claims.id}, extra: [{key: example.com/team, valueExpression: claims.team}]}";

    #[test]
    fn claims_make_users() {
        let rules = format!(
            "{BY_EXPRESSION}, claimValidationRules: [{{claim: hd, requiredValue: ours}}, {{expression: 'claims.exp - claims.iat <= 86400.0', message: too long}}], \
             userValidationRules: [{{expression: '!user.username.startsWith(\"system:\")', message: reserved}}]"
        );
        let full = json!({"sub": "a", "roles": ["b"], "id": "7", "team": "t", "hd": "ours", "exp": 9, "iat": 1, "jti": "j"});
        let with = |name: &str, value: Value| {
            let mut claims = full.clone();
            claims[name] = value;
            claims
        };
        let extra = json!({"authentication.kubernetes.io/credential-id": ["JTI=j"], "example.com/team": ["t"]});
        for (mapping, claims, wanted) in [
            (
                BY_CLAIM,
                json!({"sub": "a", "roles": ["b", "c"], "id": "7"}),
                Ok(json!({"username": "p:a", "uid": "7", "groups": ["g:b", "g:c"]})),
            ),
            (
                BY_CLAIM,
                json!({"sub": "a", "roles": "b", "id": "7"}),
                Ok(json!({"username": "p:a", "uid": "7", "groups": ["g:b"]})),
            ),
            (
                BY_CLAIM,
                json!({"sub": "a", "id": "7"}),
                Ok(json!({"username": "p:a", "uid": "7"})),
            ),
            (
                BY_CLAIM,
                json!({}),
                Err("oidc: parse username claims \"sub\": claim not present"),
            ),
            (
                BY_CLAIM,
                json!({"sub": 1, "id": "7"}),
                Err(
                    "oidc: parse username claims \"sub\": json: cannot unmarshal number into Go value of type string",
                ),
            ),
            (
                BY_CLAIM,
                json!({"sub": "a", "roles": [1], "id": "7"}),
                Err(
                    "oidc: parse groups claim \"roles\": json: cannot unmarshal array into Go value of type string",
                ),
            ),
            (
                BY_CLAIM,
                json!({"sub": "a"}),
                Err("oidc: parse uid claim \"id\": claim not present"),
            ),
            (
                BY_CLAIM,
                json!({"sub": "a", "id": "7", "_claim_names": {"roles": "s"}}),
                Err(
                    "oidc: could not expand distributed claims: claim \"roles\" is distributed, which is not supported",
                ),
            ),
            (
                &rules,
                full.clone(),
                Ok(json!({"username": "a@x", "uid": "7", "groups": ["r-b"], "extra": extra})),
            ),
            (
                &rules,
                with("sub", json!("system:a")),
                Err(
                    "oidc: error evaluating user info validation rule: validation expression '!user.username.startsWith(\"system:\")' failed: reserved",
                ),
            ),
            (
                &rules,
                with("exp", json!(90_000)),
                Err(
                    "oidc: error evaluating claim validation expression: validation expression 'claims.exp - claims.iat <= 86400.0' failed: too long",
                ),
            ),
            (
                &rules,
                with("hd", json!("other")),
                Err("oidc: required claim hd value does not match. Got = other, want = ours"),
            ),
            (
                &rules,
                with("hd", json!(1)),
                Err(
                    "oidc: parse claim hd: json: cannot unmarshal number into Go value of type string",
                ),
            ),
            (
                &rules,
                with("id", json!(1)),
                Err(
                    "oidc: error evaluating uid claim expression: uid claim expression must return a string",
                ),
            ),
            (
                &rules,
                with("team", json!({})),
                Err(
                    "oidc: error evaluating extra claim expression: expression must return a string or a list of strings",
                ),
            ),
            (
                "claimMappings: {username: {expression: claims.sub}}",
                json!({"sub": ""}),
                Err("oidc: empty username via CEL expression is not allowed"),
            ),
            (
                "claimMappings: {username: {claim: email, prefix: ''}}",
                json!({"email": "a@b"}),
                Ok(json!({"username": "a@b"})),
            ),
            (
                "claimMappings: {username: {claim: email, prefix: ''}}",
                json!({"email": "a@b", "email_verified": false}),
                Err("oidc: email not verified"),
            ),
            (
                "claimMappings: {username: {claim: email, prefix: ''}}",
                json!({"email": "a@b", "email_verified": "true"}),
                Err(
                    "oidc: parse 'email_verified' claim: json: cannot unmarshal string into Go value of type bool",
                ),
            ),
        ] {
            assert_eq!(
                who(mapping, &claims),
                wanted.map_err(String::from),
                "{mapping} {claims}"
            );
        }
    }

    #[test]
    fn when_and_for_whom() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let at = |seconds: i64| now.as_second() + seconds;
        let said = |audiences: &[&str], claims: Value| {
            let audiences: Vec<String> = audiences.iter().map(|one| one.to_string()).collect();
            let read = read(claims.to_string().as_bytes(), &audiences, now);
            read.map(|(_, until)| until - at(0))
                .map_err(|why| why.to_string())
        };
        for (audiences, claims, wanted) in [
            (vec!["a"], json!({"aud": "a", "exp": at(9)}), Ok(9)),
            (
                vec!["a", "b"],
                json!({"aud": ["c", "b"], "exp": at(9), "nbf": at(59)}),
                Ok(9),
            ),
            (
                vec!["a"],
                json!({"aud": "a", "exp": at(-1)}),
                Err("oidc: token is expired (Token Expiry: 2025-12-31T23:59:59Z)"),
            ),
            (
                vec!["a"],
                json!({"aud": "a"}),
                Err("oidc: token is expired (Token Expiry: 0001-01-01T00:00:00Z)"),
            ),
            (
                vec!["a"],
                json!({"aud": "a", "exp": at(99), "nbf": at(61)}),
                Err(
                    "oidc: current time 2026-01-01T00:00:00Z before the nbf (not before) time: 2026-01-01T00:01:01Z",
                ),
            ),
            (
                vec!["a"],
                json!({"aud": "b", "exp": at(9)}),
                Err("oidc: expected audience \"a\" got [\"b\"]"),
            ),
            (
                vec!["a", "b"],
                json!({"exp": at(9)}),
                Err("oidc: expected audience in [\"a\" \"b\"] got []"),
            ),
            (
                vec!["a"],
                json!({"aud": "a", "exp": "x"}),
                Err(
                    "oidc: failed to unmarshal claims: json: cannot unmarshal string into Go value of type json.Number",
                ),
            ),
        ] {
            assert_eq!(
                said(&audiences, claims.clone()),
                wanted.map_err(String::from),
                "{claims}"
            );
        }
    }
}
