//! What an AuthenticationConfiguration must be, and its expressions, compiled.
//!
//! Invariant: messages and their order are upstream's. Follows
//! `staging/src/k8s.io/apiserver/pkg/apis/apiserver/validation/validation.go` (ValidateAuthenticationConfiguration).

use std::collections::HashSet;

use serde_json::json;
use skiff_api::machinery::{
    field::{Errors, Path},
    names::is_domain_prefixed_path,
    url::parse::parse,
};

use super::{
    config::{
        AuthenticationConfiguration, ClaimMappings, ClaimValidationRule, Issuer, JwtAuthenticator,
        PrefixedClaimOrExpression, UserValidationRule,
    },
    expressions::{About, Expression, Gives},
};
use crate::dial::trust;

/// How many issuers there may be.
const MOST: usize = 64;

/// The expressions of an issuer.
#[derive(Debug, Default)]
pub struct Mapper {
    pub username: Option<Expression>,
    pub groups: Option<Expression>,
    pub uid: Option<Expression>,
    /// By the keys that they are the values of.
    pub extra: Vec<(String, Expression)>,
    /// With what is said where they do not hold.
    pub claim_rules: Vec<(Expression, String)>,
    pub user_rules: Vec<(Expression, String)>,
}

/// The expressions of each issuer. `disallowed` are the issuers of the cluster's own tokens.
///
/// # Errors
/// All that is wrong.
pub fn configuration(
    config: &AuthenticationConfiguration,
    disallowed: &[String],
) -> Result<Vec<Mapper>, Errors> {
    let mut errors = Errors::default();
    let root = Path::new("jwt");
    if config.jwt.len() > MOST {
        errors.too_many(&root, config.jwt.len() as i64, MOST as i64);
        return Err(errors);
    }
    let (mut urls, mut discoveries) = (HashSet::new(), HashSet::new());
    let mut mappers = Vec::with_capacity(config.jwt.len());
    for (at, one) in config.jwt.iter().enumerate() {
        let path = root.index(at);
        mappers.push(authenticator(one, disallowed, &path, &mut errors));
        let path = path.child("issuer");
        if !urls.insert(&one.issuer.url) {
            errors.duplicate(&path.child("url"), one.issuer.url.as_str());
        }
        let discovery = one.issuer.discovery_url.as_str();
        if !discovery.is_empty() && !discoveries.insert(discovery) {
            errors.duplicate(&path.child("discoveryURL"), discovery);
        }
    }
    if let Some(anonymous) = &config.anonymous
        && !anonymous.enabled
        && !anonymous.conditions.is_empty()
    {
        let shown = anonymous.conditions.iter();
        let shown: Vec<_> = shown.map(|one| json!({"Path": one.path})).collect();
        errors.invalid(
            &Path::new("anonymous").child("conditions"),
            shown,
            "enabled should be set to true when conditions are defined",
        );
    }
    match errors.is_empty() {
        true => Ok(mappers),
        false => Err(errors),
    }
}

fn authenticator(
    of: &JwtAuthenticator,
    disallowed: &[String],
    path: &Path,
    errors: &mut Errors,
) -> Mapper {
    issuer(&of.issuer, disallowed, &path.child("issuer"), errors);
    let mut mapper = Mapper {
        claim_rules: claim_rules(
            &of.claim_validation_rules,
            &path.child("claimValidationRules"),
            errors,
        ),
        ..Mapper::default()
    };
    mappings(
        &of.claim_mappings,
        &mut mapper,
        &path.child("claimMappings"),
        errors,
    );
    mapper.user_rules = user_rules(
        &of.user_validation_rules,
        &path.child("userValidationRules"),
        errors,
    );
    mapper
}

fn issuer(issuer: &Issuer, disallowed: &[String], path: &Path, errors: &mut Errors) {
    let at = path.child("url");
    match issuer.url.as_str() {
        "" => errors.required(&at, ""),
        url => https(url, disallowed, &at, errors),
    }
    let discovery = issuer.discovery_url.as_str();
    if !discovery.is_empty() {
        let at = path.child("discoveryURL");
        let bare = |url: &str| url.trim_end_matches('/').to_string();
        if !issuer.url.is_empty() && bare(&issuer.url) == bare(discovery) {
            errors.invalid(&at, discovery, "discoveryURL must be different from URL");
        }
        https(discovery, &[], &at, errors);
    }
    audiences(issuer, path, errors);
    if !issuer.certificate_authority.is_empty()
        && trust::client(issuer.certificate_authority.as_bytes()).is_err()
    {
        errors.invalid(
            &path.child("certificateAuthority"),
            "<omitted>",
            "data does not contain any valid RSA or ECDSA certificates",
        );
    }
    let egress = issuer.egress_selector_type.as_str();
    if !egress.is_empty() {
        // upstream takes two of them, for proxies that there are none of here
        let said = match egress {
            "controlplane" | "cluster" => "egress selectors are not supported",
            _ => "egress selector must be either controlplane or cluster",
        };
        errors.invalid(&path.child("egressSelectorType"), egress, said);
    }
}

fn https(text: &str, disallowed: &[String], path: &Path, errors: &mut Errors) {
    if disallowed.iter().any(|one| one == text) {
        let mut sorted = disallowed.to_vec();
        sorted.sort();
        let list = sorted.join(" ");
        errors.invalid(
            path,
            text,
            format!("URL must not overlap with disallowed issuers: [{list}]"),
        );
    }
    let url = match parse(text) {
        Ok(url) => url,
        Err(why) => return errors.invalid(path, text, why),
    };
    for (wrong, said) in [
        (url.scheme != "https", "URL scheme must be https"),
        (
            url.user.is_some(),
            "URL must not contain a username or password",
        ),
        (!url.query.is_empty(), "URL must not contain a query"),
        (!url.fragment.is_empty(), "URL must not contain a fragment"),
    ] {
        if wrong {
            errors.invalid(path, text, said);
        }
    }
}

fn audiences(issuer: &Issuer, path: &Path, errors: &mut Errors) {
    let at = path.child("audiences");
    if issuer.audiences.is_empty() {
        return errors.required(&at, format!("at least one {at} is required"));
    }
    let mut seen = HashSet::new();
    for (index, audience) in issuer.audiences.iter().enumerate() {
        let at = at.index(index);
        if audience.is_empty() {
            errors.required(&at, "");
        }
        if !seen.insert(audience) {
            errors.duplicate(&at, audience.as_str());
        }
    }
    let policy = issuer.audience_match_policy.as_str();
    let said = match (issuer.audiences.len(), policy) {
        (_, "MatchAny") | (1, "") => return,
        (1, _) => "audienceMatchPolicy must be empty or MatchAny for single audience",
        _ => "audienceMatchPolicy must be MatchAny for multiple audiences",
    };
    errors.invalid(&path.child("audienceMatchPolicy"), policy, said);
}

fn claim_rules(
    rules: &[ClaimValidationRule],
    path: &Path,
    errors: &mut Errors,
) -> Vec<(Expression, String)> {
    let (mut claims, mut expressions) = (HashSet::new(), HashSet::new());
    let mut compiled = Vec::new();
    for (at, rule) in rules.iter().enumerate() {
        let path = path.index(at);
        let (claim, text) = (rule.claim.as_str(), rule.expression.as_str());
        match (claim.is_empty(), text.is_empty()) {
            (false, false) => {
                errors.invalid(&path, claim, "claim and expression can't both be set");
            }
            (true, true) => errors.required(&path, "claim or expression is required"),
            (false, true) => {
                if !rule.message.is_empty() {
                    errors.invalid(
                        &path.child("message"),
                        rule.message.as_str(),
                        "may not be specified when claim is set",
                    );
                }
                if !claims.insert(claim) {
                    errors.duplicate(&path.child("claim"), claim);
                }
            }
            (true, false) => {
                if !rule.required_value.is_empty() {
                    errors.invalid(
                        &path.child("requiredValue"),
                        rule.required_value.as_str(),
                        "may not be specified when expression is set",
                    );
                }
                let path = path.child("expression");
                if !expressions.insert(text) {
                    errors.duplicate(&path, text);
                    continue;
                }
                let made = Expression::checked(text, About::Claims, Gives::Bool, &path, errors);
                compiled.extend(made.map(|made| (made, rule.message.clone())));
            }
        }
    }
    compiled
}

fn mappings(of: &ClaimMappings, mapper: &mut Mapper, path: &Path, errors: &mut Errors) {
    let username = path.child("username");
    mapper.username = prefixed(&of.username, &username, true, errors);
    mapper.groups = prefixed(&of.groups, &path.child("groups"), false, errors);
    let uid = path.child("uid");
    match (of.uid.claim.as_str(), of.uid.expression.as_str()) {
        (_, "") => {}
        ("", text) => {
            let at = uid.child("expression");
            mapper.uid = Expression::checked(text, About::Claims, Gives::Anything, &at, errors);
        }
        _ => errors.invalid(&uid, "", "claim and expression can't both be set"),
    }
    extra(of, mapper, path, errors);
    let uses = |expression: &Option<Expression>, claim: &str| {
        expression.as_ref().is_some_and(|one| one.uses_claim(claim))
    };
    let verified = "email_verified";
    let checks = uses(&mapper.username, verified)
        || mapper.extra.iter().any(|(_, one)| one.uses_claim(verified))
        || mapper
            .claim_rules
            .iter()
            .any(|(one, _)| one.uses_claim(verified));
    if uses(&mapper.username, "email") && !checks {
        errors.invalid(
            &username.child("expression"),
            of.username.expression.as_str(),
            "claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression or \
             claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression",
        );
    }
}

fn extra(of: &ClaimMappings, mapper: &mut Mapper, path: &Path, errors: &mut Errors) {
    let path = path.child("extra");
    let mut seen = HashSet::new();
    for (at, mapping) in of.extra.iter().enumerate() {
        let path = path.index(at);
        let (key, at) = (mapping.key.as_str(), path.child("key"));
        if key.is_empty() {
            errors.required(&at, "");
        } else {
            for (said, part) in is_domain_prefixed_path(key) {
                errors.invalid(&at, part, said);
            }
        }
        if key != key.to_lowercase() {
            errors.invalid(&at, key, "must be lowercase");
        }
        if is_kubernetes_own(key) {
            errors.invalid(
                &at,
                key,
                "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use",
            );
        }
        if !seen.insert(key) {
            errors.duplicate(&at, key);
            continue;
        }
        let (text, at) = (
            mapping.value_expression.as_str(),
            path.child("valueExpression"),
        );
        if text.is_empty() {
            errors.required(&at, "");
            continue;
        }
        let made = Expression::checked(text, About::Claims, Gives::Anything, &at, errors);
        mapper.extra.extend(made.map(|made| (key.into(), made)));
    }
}

fn is_kubernetes_own(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    ["kubernetes.io", "k8s.io"].iter().any(|own| {
        let rest = domain.strip_suffix(own);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

fn prefixed(
    of: &PrefixedClaimOrExpression,
    path: &Path,
    required: bool,
    errors: &mut Errors,
) -> Option<Expression> {
    match (of.claim.as_str(), of.expression.as_str()) {
        ("", "") if required => errors.required(path, "claim or expression is required"),
        ("", "") => {}
        (_, "") => {
            if of.prefix.is_none() {
                errors.required(
                    &path.child("prefix"),
                    "prefix is required when claim is set. It can be set to an empty string to disable prefixing",
                );
            }
        }
        ("", text) => {
            if let Some(prefix) = &of.prefix {
                errors.invalid(
                    &path.child("prefix"),
                    prefix.as_str(),
                    "may not be specified when expression is set",
                );
            }
            let at = path.child("expression");
            return Expression::checked(text, About::Claims, Gives::Anything, &at, errors);
        }
        _ => errors.invalid(path, "", "claim and expression can't both be set"),
    }
    None
}

fn user_rules(
    rules: &[UserValidationRule],
    path: &Path,
    errors: &mut Errors,
) -> Vec<(Expression, String)> {
    let mut seen = HashSet::new();
    let mut compiled = Vec::new();
    for (at, rule) in rules.iter().enumerate() {
        let path = path.index(at);
        let path = path.child("expression");
        let text = rule.expression.as_str();
        if text.is_empty() {
            errors.required(&path, "");
        } else if !seen.insert(text) {
            errors.duplicate(&path, text);
        } else {
            let made = Expression::checked(text, About::User, Gives::Bool, &path, errors);
            compiled.extend(made.map(|made| (made, rule.message.clone())));
        }
    }
    compiled
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with a configuration of these issuers, in YAML.
    fn said(yaml: &str) -> Vec<String> {
        let (value, _) = skiff_api::machinery::yaml::read_first(yaml).unwrap();
        let config = serde_json::from_value(value).unwrap();
        let disallowed = ["https://own".to_string()];
        configuration(&config, &disallowed)
            .err()
            .map_or_else(Vec::new, |errors| errors.texts())
    }

    const ISSUER: &str = "{url: 'https://a', audiences: [x]}";
    const NAME: &str = "username: {claim: sub, prefix: ''}";

    #[test]
    fn what_an_issuer_must_be() {
        for (issuer, wanted) in [
            (ISSUER, vec![]),
            (
                "{audiences: [x]}",
                vec!["jwt[0].issuer.url: Required value"],
            ),
            (
                "{url: 'http://u@a?b#c', audiences: [x]}",
                vec![
                    "jwt[0].issuer.url: Invalid value: \"http://u@a?b#c\": URL scheme must be https",
                    "jwt[0].issuer.url: Invalid value: \"http://u@a?b#c\": URL must not contain a username or password",
                    "jwt[0].issuer.url: Invalid value: \"http://u@a?b#c\": URL must not contain a query",
                    "jwt[0].issuer.url: Invalid value: \"http://u@a?b#c\": URL must not contain a fragment",
                ],
            ),
            (
                "{url: 'https://own', audiences: [x]}",
                vec![
                    "jwt[0].issuer.url: Invalid value: \"https://own\": URL must not overlap with disallowed issuers: [https://own]",
                ],
            ),
            (
                "{url: 'https://a', discoveryURL: 'https://a/', audiences: [x]}",
                vec![
                    "jwt[0].issuer.discoveryURL: Invalid value: \"https://a/\": discoveryURL must be different from URL",
                ],
            ),
            (
                "{url: 'https://a'}",
                vec![
                    "jwt[0].issuer.audiences: Required value: at least one jwt[0].issuer.audiences is required",
                ],
            ),
            (
                "{url: 'https://a', audiences: [x, '', x]}",
                vec![
                    "jwt[0].issuer.audiences[1]: Required value",
                    "jwt[0].issuer.audiences[2]: Duplicate value: \"x\"",
                    "jwt[0].issuer.audienceMatchPolicy: Invalid value: \"\": audienceMatchPolicy must be MatchAny for multiple audiences",
                ],
            ),
            (
                "{url: 'https://a', audiences: [x], audienceMatchPolicy: All, certificateAuthority: x, egressSelectorType: z}",
                vec![
                    "jwt[0].issuer.audienceMatchPolicy: Invalid value: \"All\": audienceMatchPolicy must be empty or MatchAny for single audience",
                    "jwt[0].issuer.certificateAuthority: Invalid value: \"<omitted>\": data does not contain any valid RSA or ECDSA certificates",
                    "jwt[0].issuer.egressSelectorType: Invalid value: \"z\": egress selector must be either controlplane or cluster",
                ],
            ),
        ] {
            let yaml = format!("jwt: [{{issuer: {issuer}, claimMappings: {{{NAME}}}}}]");
            assert_eq!(said(&yaml), wanted, "{issuer}");
        }
        let twice = format!("{{issuer: {ISSUER}, claimMappings: {{{NAME}}}}}");
        assert_eq!(
            said(&format!("jwt: [{twice}, {twice}]")),
            ["jwt[1].issuer.url: Duplicate value: \"https://a\""]
        );
        assert_eq!(
            said("anonymous: {enabled: false, conditions: [{path: /a}]}"),
            [
                "anonymous.conditions: Invalid value: [{\"Path\":\"/a\"}]: enabled should be set to true when conditions are defined"
            ]
        );
    }

    #[test]
    fn what_mappings_and_rules_must_be() {
        for (rest, wanted) in [
            (
                "claimMappings: {}",
                vec![
                    "jwt[0].claimMappings.username: Required value: claim or expression is required",
                ],
            ),
            (
                "claimMappings: {username: {claim: a}, groups: {claim: b, expression: c}, uid: {claim: d, expression: e}}",
                vec![
                    "jwt[0].claimMappings.username.prefix: Required value: prefix is required when claim is set. It can be set to an empty string to disable prefixing",
                    "jwt[0].claimMappings.groups: Invalid value: \"\": claim and expression can't both be set",
                    "jwt[0].claimMappings.uid: Invalid value: \"\": claim and expression can't both be set",
                ],
            ),
            (
                "claimMappings: {username: {expression: claims.sub, prefix: x}}",
                vec![
                    "jwt[0].claimMappings.username.prefix: Invalid value: \"x\": may not be specified when expression is set",
                ],
            ),
            (
                "claimMappings: {username: {expression: claims.email}}",
                vec![
                    "jwt[0].claimMappings.username.expression: Invalid value: \"claims.email\": claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression",
                ],
            ),
            (
                "claimMappings: {username: {expression: claims.email}}, claimValidationRules: [{expression: 'claims.?email_verified.orValue(true) == true'}]",
                vec![],
            ),
            (
                "claimMappings: {username: {claim: a, prefix: ''}, extra: [{key: a.k8s.io/B, valueExpression: claims.a}, {key: x, valueExpression: claims.a}, {key: x.y/z}]}",
                vec![
                    "jwt[0].claimMappings.extra[0].key: Invalid value: \"a.k8s.io/B\": must be lowercase",
                    "jwt[0].claimMappings.extra[0].key: Invalid value: \"a.k8s.io/B\": k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use",
                    "jwt[0].claimMappings.extra[1].key: Invalid value: \"x\": must be a domain-prefixed path (such as \"acme.io/foo\")",
                    "jwt[0].claimMappings.extra[2].valueExpression: Required value",
                ],
            ),
            (
                "claimMappings: {username: {claim: a, prefix: ''}}, claimValidationRules: [{claim: a, expression: b}, {}, {claim: a, message: b}, {claim: a}, {expression: 'true', requiredValue: x}, {expression: 'true'}, {expression: claims.a}]",
                vec![
                    "jwt[0].claimValidationRules[0]: Invalid value: \"a\": claim and expression can't both be set",
                    "jwt[0].claimValidationRules[1]: Required value: claim or expression is required",
                    "jwt[0].claimValidationRules[2].message: Invalid value: \"b\": may not be specified when claim is set",
                    "jwt[0].claimValidationRules[3].claim: Duplicate value: \"a\"",
                    "jwt[0].claimValidationRules[4].requiredValue: Invalid value: \"x\": may not be specified when expression is set",
                    "jwt[0].claimValidationRules[5].expression: Duplicate value: \"true\"",
                    "jwt[0].claimValidationRules[6].expression: Invalid value: \"claims.a\": must evaluate to bool",
                ],
            ),
            (
                "claimMappings: {username: {claim: a, prefix: ''}}, userValidationRules: [{}, {expression: 'true'}, {expression: 'true'}, {expression: user.uid}]",
                vec![
                    "jwt[0].userValidationRules[0].expression: Required value",
                    "jwt[0].userValidationRules[2].expression: Duplicate value: \"true\"",
                    "jwt[0].userValidationRules[3].expression: Invalid value: \"user.uid\": must evaluate to bool",
                ],
            ),
        ] {
            let yaml = format!("jwt: [{{issuer: {ISSUER}, {rest}}}]");
            assert_eq!(said(&yaml), wanted, "{rest}");
        }
        let broken = said(&format!(
            "jwt: [{{issuer: {ISSUER}, claimMappings: {{username: {{expression: 'claims.'}}}}}}]"
        ));
        assert!(
            broken[0].starts_with("jwt[0].claimMappings.username.expression: Invalid value: \"claims.\": compilation failed: ERROR: <input>:1:8: Syntax error"),
            "{broken:?}"
        );
    }
}
