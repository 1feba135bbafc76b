//! The files that every pod gets from its node: `/etc/hosts`, `/etc/resolv.conf`, and its name.
//!
//! Invariant: the texts are pure functions of the pod and the node's settings.
//! Follows `pkg/kubelet/kubelet_pods.go` and `pkg/kubelet/network/dns/dns.go`.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{HostAlias, Pod};

use super::names::{is_host_network, name, namespace, spec};
use skiff_api::machinery::quote::GoQuoted;

/// The pod's full name does not fit into its UTS namespace.
#[derive(thiserror::Error, Debug)]
#[error(
    "failed to construct FQDN from pod hostname and cluster domain, FQDN {0} is too long (64 characters is the max, {len} characters requested)", len = .0.len()
)]
pub struct TooLong(String);

/// The pod's host name and domain (empty when it has none).
pub fn hostname(pod: &Pod, cluster_domain: &str) -> (String, String) {
    let spec = spec(pod);
    if let Some(fixed) = &spec.hostname_override {
        return (cut(fixed), String::new());
    }
    let host = spec
        .hostname
        .as_deref()
        .filter(|name| !name.is_empty())
        .unwrap_or(name(pod));
    let domain = spec.subdomain.as_deref().filter(|name| !name.is_empty());
    (
        cut(host),
        domain
            .map(|subdomain| format!("{subdomain}.{}.svc.{cluster_domain}", namespace(pod)))
            .unwrap_or_default(),
    )
}

/// The name that the pod's UTS namespace bears; an error when the full name is too long for it.
pub fn uts_name(pod: &Pod, cluster_domain: &str) -> Result<String, TooLong> {
    let (host, domain) = hostname(pod, cluster_domain);
    if spec(pod).set_hostname_as_fqdn != Some(true) || domain.is_empty() {
        return Ok(host);
    }
    let full = format!("{host}.{domain}");
    if full.len() > 64 {
        return Err(TooLong(full));
    }
    Ok(full)
}

fn cut(host: &str) -> String {
    let end = host.len().min(63);
    host[..end]
        .trim_end_matches(if host.len() > 63 {
            ['-', '.'].as_slice()
        } else {
            &[]
        })
        .to_owned()
}

/// `/etc/hosts` of a pod with a network of its own.
pub fn hosts(ips: &[IpAddr], host: &str, domain: &str, aliases: &[HostAlias]) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n\
         fe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
    );
    for ip in ips {
        match domain {
            "" => text.push_str(&format!("{ip}\t{host}\n")),
            domain => text.push_str(&format!("{ip}\t{host}.{domain}\t{host}\n")),
        }
    }
    text + &alias_lines(aliases)
}

/// `/etc/hosts` of a pod in the node's network: the node's own, and the aliases.
pub fn hosts_of_node(node: &str, aliases: &[HostAlias]) -> String {
    format!(
        "# Kubernetes-managed hosts file (host network).\n{node}{}",
        alias_lines(aliases)
    )
}

fn alias_lines(aliases: &[HostAlias]) -> String {
    if aliases.is_empty() {
        return String::new();
    }
    let lines = aliases.iter().map(|alias| {
        format!(
            "{}\t{}\n",
            alias.ip,
            alias
                .hostnames
                .iter()
                .flatten()
                .cloned()
                .collect::<Vec<_>>()
                .join("\t")
        )
    });
    format!(
        "\n# Entries added by HostAliases.\n{}",
        lines.collect::<String>()
    )
}

/// A resolver's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolver {
    pub servers: Vec<String>,
    pub searches: Vec<String>,
    /// `ndots:5`.
    pub options: Vec<String>,
}

impl Resolver {
    /// Reads a `resolv.conf`.
    pub fn parse(text: &str) -> Self {
        let mut resolver = Self::default();
        for line in text
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with(['#', ';']))
        {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => resolver.servers.extend(words.next().map(str::to_owned)),
                Some("search") => {
                    resolver.searches = words
                        .filter(|word| *word != ".")
                        .map(|word| word.trim_end_matches('.').to_owned())
                        .collect()
                }
                Some("options") => words.for_each(|word| resolver.set_option(word)),
                _ => {}
            }
        }
        resolver
    }

    fn set_option(&mut self, option: &str) {
        let name = option.split(':').next().unwrap_or_default();
        match self
            .options
            .iter_mut()
            .find(|have| have.split(':').next() == Some(name))
        {
            Some(have) => *have = option.to_owned(),
            None => self.options.push(option.to_owned()),
        }
    }

    /// The text of a `resolv.conf`.
    pub fn text(&self) -> String {
        let mut text: String = self
            .servers
            .iter()
            .map(|server| format!("nameserver {server}\n"))
            .collect();
        if !self.searches.is_empty() {
            text.insert_str(0, &format!("search {}\n", self.searches.join(" ")));
        }
        if !self.options.is_empty() {
            text.push_str(&format!("options {}\n", self.options.join(" ")));
        }
        text
    }
}

const MAX_SERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_CHARS: usize = 2048;

/// The pod's resolver, and warnings for its events (`DNSConfigForming`, `MissingClusterDNS`).
pub fn resolver(
    pod: &Pod,
    node: &Resolver,
    cluster_dns: &[IpAddr],
    cluster_domain: &str,
) -> (Resolver, Vec<(&'static str, String)>) {
    let mut warnings = Vec::new();
    let policy = spec(pod).dns_policy.as_deref().unwrap_or("ClusterFirst");
    let cluster = match policy {
        "None" | "Default" => false,
        "ClusterFirstWithHostNet" => true,
        _ => !is_host_network(pod),
    };
    let mut resolver = match policy {
        "None" => Resolver::default(),
        _ if cluster && cluster_dns.is_empty() => {
            let text =
                "kubelet does not have ClusterDNS IP configured and cannot create Pod using \"ClusterFirst\" policy. Falling back to \"Default\" policy."
                    .to_string();
            warnings.push((
                "MissingClusterDNS",
                format!("pod: {}. {text}", GoQuoted(&super::names::describe(pod))),
            ));
            node.clone()
        }
        _ if cluster => Resolver {
            servers: cluster_dns.iter().map(IpAddr::to_string).collect(),
            searches: [
                format!("{}.svc.{cluster_domain}", namespace(pod)),
                format!("svc.{cluster_domain}"),
                cluster_domain.to_owned(),
            ]
            .into_iter()
            .chain(node.searches.iter().cloned())
            .collect(),
            options: vec!["ndots:5".to_owned()],
        },
        _ => node.clone(),
    };
    if let Some(config) = &spec(pod).dns_config {
        resolver
            .servers
            .extend(config.nameservers.iter().flatten().cloned());
        resolver
            .searches
            .extend(config.searches.iter().flatten().cloned());
        for option in config.options.iter().flatten() {
            let name = option.name.as_deref().unwrap_or_default();
            resolver.set_option(
                &option
                    .value
                    .as_ref()
                    .filter(|value| !value.is_empty())
                    .map_or(name.to_owned(), |value| format!("{name}:{value}")),
            );
        }
    }
    fit(&mut resolver, &mut warnings);
    (resolver, warnings)
}

fn unique(list: &mut Vec<String>) {
    let mut seen = std::collections::HashSet::new();
    list.retain(|entry| seen.insert(entry.clone()));
}

fn fit(resolver: &mut Resolver, warnings: &mut Vec<(&'static str, String)>) {
    unique(&mut resolver.servers);
    unique(&mut resolver.searches);
    if resolver.servers.len() > MAX_SERVERS {
        resolver.servers.truncate(MAX_SERVERS);
        let line = resolver.servers.join(" ");
        warnings
            .push(("DNSConfigForming", format!("Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {line}")));
    }
    let before = resolver.searches.len();
    resolver.searches.truncate(MAX_SEARCHES);
    resolver.searches.retain(|search| search.len() <= 253);
    while resolver.searches.join(" ").len() > MAX_SEARCH_CHARS {
        resolver.searches.pop();
    }
    if resolver.searches.len() < before {
        let line = resolver.searches.join(" ");
        warnings
            .push(("DNSConfigForming", format!("Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {line}")));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn pod(spec: Value) -> Pod {
        from_value(json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec})).unwrap()
    }

    fn node() -> Resolver {
        Resolver::parse("# x\nnameserver 1.1.1.1\nsearch lan.\noptions timeout:2\n")
    }

    #[test]
    fn dns_policies() {
        let dns = ["10.96.0.10".parse().unwrap()];
        let table = [
            (
                json!({"dnsPolicy": "ClusterFirst"}),
                "search n.svc.cluster.local svc.cluster.local cluster.local lan\nnameserver 10.96.0.10\noptions ndots:5\n",
            ),
            (
                json!({"dnsPolicy": "ClusterFirst", "hostNetwork": true}),
                "search lan\nnameserver 1.1.1.1\noptions timeout:2\n",
            ),
            (
                json!({"dnsPolicy": "Default"}),
                "search lan\nnameserver 1.1.1.1\noptions timeout:2\n",
            ),
            (
                json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["8.8.8.8"], "searches": ["x.y"], "options": [{"name": "ndots", "value": "1"}, {"name": "edns0"}]}}),
                "search x.y\nnameserver 8.8.8.8\noptions ndots:1 edns0\n",
            ),
        ];
        for (spec, expected) in table {
            let (resolver, warnings) = resolver(&pod(spec.clone()), &node(), &dns, "cluster.local");
            assert_eq!(resolver.text(), expected, "{spec}");
            assert!(warnings.is_empty());
        }
    }

    #[test]
    fn too_many_servers_are_cut_aloud() {
        let spec = json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.0.0.1", "1.0.0.2", "1.0.0.3", "1.0.0.4"]}});
        let (resolver, warnings) = resolver(&pod(spec), &node(), &[], "cluster.local");
        assert_eq!(
            (resolver.servers.len(), warnings[0].0),
            (3, "DNSConfigForming")
        );
    }

    #[test]
    fn names_and_hosts() {
        let with = pod(json!({"hostname": "h", "subdomain": "sub", "setHostnameAsFQDN": true}));
        assert_eq!(
            hostname(&with, "cluster.local"),
            ("h".into(), "sub.n.svc.cluster.local".into())
        );
        assert_eq!(
            uts_name(&with, "cluster.local").unwrap(),
            "h.sub.n.svc.cluster.local"
        );
        let aliases: Vec<HostAlias> =
            from_value(json!([{"ip": "1.2.3.4", "hostnames": ["a", "b"]}])).unwrap();
        let text = hosts(
            &["10.0.0.9".parse().unwrap()],
            "h",
            "sub.n.svc.cluster.local",
            &aliases,
        );
        assert!(text.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"));
        assert!(text.ends_with("10.0.0.9\th.sub.n.svc.cluster.local\th\n\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"));
    }
}
