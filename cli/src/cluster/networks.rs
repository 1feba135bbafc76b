//! The networks of a cluster of `up`: what flags say of those of pods and services, and what follows from the families that it is to have.
//!
//! Invariant: pods have a network of each family that services have, and no other; the first family is that of services that do not say otherwise.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, bail};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use skiff_api::machinery::names::ip::{IPV4, IPV6, family};
use skiff_server::ServiceRanges;

use super::{control_plane, folders::Folders};

/// The flags about it.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[group(skip)]
pub struct Flags {
    /// Families of the addresses of pods and services: ipv4, ipv6, or dual for both, of which IPv4 is the usual one
    #[arg(long, value_name = "ipv4")]
    ip_family: String,
    /// Network that pod networks are cut from, or two with a comma between, one of each family; by default 10.244.0.0/16 and fd00:10:244::/48
    #[arg(long, value_name = "10.244.0.0/16")]
    cluster_cidr: String,
    /// Network of cluster IPs, or two with a comma between, one of each family; by default 10.96.0.0/16 and fd00:10:96::/112
    #[arg(long, value_name = "10.96.0.0/16")]
    service_cluster_ip_range: String,
}

/// The networks of pods and services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Networks {
    /// At most one of each family.
    pub pods: Vec<IpNet>,
    pub services: ServiceRanges,
}

/// What networks there are where no flag names one: of pods, and of services.
const USUAL: [(&str, &str, &str); 2] = [
    (IPV4, "10.244.0.0/16", "10.96.0.0/16"),
    (IPV6, "fd00:10:244::/48", "fd00:10:96::/112"),
];

impl Flags {
    /// These, or those that the cluster was made with where these say nothing: the next `up` brings the same cluster back.
    ///
    /// # Errors
    /// What is kept of them cannot be read.
    pub fn or_kept(self, folders: &Folders) -> anyhow::Result<Flags> {
        match self == Flags::default() {
            true => Ok(folders.kept(KEPT)?.unwrap_or_default()),
            false => Ok(self),
        }
    }

    /// Keeps them for the next time.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn keep(&self, folders: &Folders) -> anyhow::Result<()> {
        folders.keep(KEPT, self)
    }
}

/// The file in the data folder that has the flags.
const KEPT: &str = "networks.json";

fn family_of(net: &IpNet) -> &'static str {
    family(&net.addr())
}

impl Networks {
    /// What the flags ask for.
    ///
    /// # Errors
    /// A flag cannot be read, or pods and services have not the same families.
    pub fn of(flags: &Flags) -> anyhow::Result<Networks> {
        let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let pods = given(&flags.cluster_cidr)
            .map(|text| control_plane::networks("cluster-cidr", &text))
            .transpose()?;
        let services: Option<ServiceRanges> = given(&flags.service_cluster_ip_range)
            .map(|text| text.parse())
            .transpose()?;
        let families = match flags.ip_family.as_str() {
            "ipv4" => vec![IPV4],
            "ipv6" => vec![IPV6],
            "dual" => vec![IPV4, IPV6],
            // whatever networks are named say it, too
            "" => match (&services, &pods) {
                (Some(services), _) => services.families(),
                (None, Some(pods)) => pods.iter().map(family_of).collect(),
                (None, None) => vec![IPV4],
            },
            other => bail!("--ip-family takes ipv4, ipv6 or dual, found {other:?}"),
        };
        let services = services.map_or_else(|| Self::usual_services(&families), Ok)?;
        let networks = Networks {
            pods: pods.map_or_else(|| usual(&services.families(), |(_, pods, _)| pods), Ok)?,
            services,
        };
        networks.check(&families, !flags.ip_family.is_empty())?;
        Ok(networks)
    }

    fn usual_services(families: &[&str]) -> anyhow::Result<ServiceRanges> {
        let nets: Vec<IpNet> = usual(families, |(_, _, services)| services)?;
        let texts: Vec<_> = nets.iter().map(IpNet::to_string).collect();
        Ok(texts.join(",").parse()?)
    }

    fn check(&self, wanted: &[&str], said: bool) -> anyhow::Result<()> {
        let services = self.services.families();
        let sorted = |families: &[&'static str]| {
            let mut families = families.to_vec();
            families.sort();
            families
        };
        let pods: Vec<_> = self.pods.iter().map(family_of).collect();
        if sorted(&pods) != sorted(&services) {
            bail!(
                "--cluster-cidr names networks of {} and --service-cluster-ip-range of {}: pods need an address of each family that services have",
                pods.join(" and "),
                services.join(" and ")
            );
        }
        let overlaps = |pods: &&IpNet| {
            let mut services = self.services.iter();
            services.any(|net| net.contains(*pods) || pods.contains(&net))
        };
        if let Some(pods) = self.pods.iter().find(overlaps) {
            bail!(
                "--cluster-cidr and --service-cluster-ip-range overlap in {pods}: an address is a pod's or a service's"
            );
        }
        if said
            && (services.len() != wanted.len() || !wanted.iter().all(|of| services.contains(of)))
        {
            bail!("--ip-family says another thing than the networks that are named");
        }
        Ok(())
    }

    /// All of them.
    pub fn all(&self) -> Vec<IpNet> {
        self.pods
            .iter()
            .copied()
            .chain(self.services.iter())
            .collect()
    }

    /// Where cluster DNS answers: the tenth address of each network of services.
    ///
    /// # Errors
    /// A network is too small.
    pub fn dns(&self) -> anyhow::Result<Vec<IpAddr>> {
        dns(&self.services)
    }

    /// Whether this is an address of the family that the service `kubernetes` has.
    pub fn leads_to(&self, ip: IpAddr) -> bool {
        self.services.lead_to(ip).is_ok()
    }

    /// Where on this machine alone a server is reached by the service `kubernetes`, on any port.
    pub fn loopback(&self) -> SocketAddr {
        let four = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let ip = match self.leads_to(four) {
            true => four,
            false => Ipv6Addr::LOCALHOST.into(),
        };
        (ip, 0).into()
    }
}

fn usual(
    families: &[&str],
    of: impl Fn((&str, &'static str, &'static str)) -> &'static str,
) -> anyhow::Result<Vec<IpNet>> {
    let one = |family: &&str| {
        let row = USUAL.iter().find(|(name, ..)| name == family);
        let row = row.with_context(|| format!("no network of {family}"))?;
        Ok(of(*row).parse()?)
    };
    families.iter().map(one).collect()
}

/// The tenth address of each network of services.
///
/// # Errors
/// A network is too small.
pub fn dns(services: &ServiceRanges) -> anyhow::Result<Vec<IpAddr>> {
    let ips = services.at(10);
    if ips.len() < services.iter().count() {
        bail!("a network of services has no tenth address, which is that of cluster DNS");
    }
    Ok(ips)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_flags_make_of_it() {
        for (family, pods, services, wanted) in [
            (
                "",
                "",
                "",
                Ok("10.244.0.0/16 for 10.96.0.0/16 at 10.96.0.10"),
            ),
            (
                "dual",
                "",
                "",
                Ok(
                    "10.244.0.0/16,fd00:10:244::/48 for 10.96.0.0/16,fd00:10:96::/112 at 10.96.0.10,fd00:10:96::a",
                ),
            ),
            (
                "ipv6",
                "",
                "",
                Ok("fd00:10:244::/48 for fd00:10:96::/112 at fd00:10:96::a"),
            ),
            (
                "",
                "10.1.0.0/16,fd01::/48",
                "",
                Ok(
                    "10.1.0.0/16,fd01::/48 for 10.96.0.0/16,fd00:10:96::/112 at 10.96.0.10,fd00:10:96::a",
                ),
            ),
            (
                "",
                "",
                "fd02::/112,10.2.0.0/24",
                Ok(
                    "fd00:10:244::/48,10.244.0.0/16 for fd02::/112,10.2.0.0/24 at fd02::a,10.2.0.10",
                ),
            ),
            (
                "dual",
                "",
                "fd02::/112,10.2.0.0/24",
                Ok(
                    "fd00:10:244::/48,10.244.0.0/16 for fd02::/112,10.2.0.0/24 at fd02::a,10.2.0.10",
                ),
            ),
            (
                "ipv4",
                "10.1.5.0/16",
                "",
                Ok("10.1.0.0/16 for 10.96.0.0/16 at 10.96.0.10"),
            ),
            (
                "",
                "",
                "10.244.0.0/20",
                Err("--service-cluster-ip-range overlap in 10.244.0.0/16"),
            ),
            ("both", "", "", Err("--ip-family takes ipv4, ipv6 or dual")),
            (
                "",
                "",
                "odd",
                Err("service-cluster-ip-range[0] is not a valid cidr"),
            ),
            ("", "odd", "", Err("--cluster-cidr takes a network")),
            (
                "",
                "10.1.0.0/16",
                "10.96.0.0/16,fd00::/112",
                Err("of IPv4 and --service-cluster-ip-range of IPv4 and IPv6"),
            ),
            (
                "dual",
                "10.1.0.0/16",
                "10.96.0.0/16",
                Err("--ip-family says another thing"),
            ),
        ] {
            let flags = Flags {
                ip_family: family.into(),
                cluster_cidr: pods.into(),
                service_cluster_ip_range: services.into(),
            };
            let got = Networks::of(&flags).and_then(|networks| {
                let text = |list: Vec<String>| list.join(",");
                let pods = text(networks.pods.iter().map(IpNet::to_string).collect());
                let services = text(
                    networks
                        .services
                        .iter()
                        .map(|net| net.to_string())
                        .collect(),
                );
                let dns = text(networks.dns()?.iter().map(IpAddr::to_string).collect());
                Ok(format!("{pods} for {services} at {dns}"))
            });
            match (got, wanted) {
                (Ok(got), Ok(wanted)) => assert_eq!(got, wanted),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (got, _) => panic!("{family} {pods} {services}: {got:?}"),
            }
        }
    }

    #[test]
    fn a_network_that_has_no_place_for_dns() {
        assert!(dns(&"10.0.0.0/29".parse().unwrap()).is_err());
        assert!(dns(&"10.0.0.0/24,fd00::/125".parse().unwrap()).is_err());
    }
}
