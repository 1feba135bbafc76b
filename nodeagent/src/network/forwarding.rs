//! How a machine comes to route packets of IPv6 without losing the ways that it has learnt from other routers.
//!
//! Invariant: forwarding is turned on and stays on, as other programs may have come to rely on it meanwhile. Follows `ip-sysctl.rst` of the kernel.

use std::path::Path;

use super::{Error, failed, ns::Namespace, pool::file_names};
use crate::outcome::IfThere;

const ALL: &str = "/proc/sys/net/ipv6/conf";

/// Lets a machine route packets of IPv6, before the bridge comes up that they come by. Interfaces whose default routes come by advertisements keep these: a
/// router would not listen to other routers.
pub async fn of_ipv6(ns: &Namespace, bridge: &str) -> Result<(), Error> {
    let own = bridge.to_owned();
    let listening = ns.call(move || links_that_listen(&own)).await??;
    let setting = |link: &str, name: &str| format!("net/ipv6/conf/{link}/{name}");
    let mut all: Vec<_> = listening
        .iter()
        .map(|link| (setting(link, "accept_ra"), "2"))
        .collect();
    // The bridge's addresses are nobody else's, and behind it are no routers.
    all.push((setting(bridge, "accept_dad"), "0"));
    all.push((setting(bridge, "accept_ra"), "0"));
    all.push((setting("all", "forwarding"), "1"));
    ns.sysctl(all).await
}

/// Of the namespace of the calling thread: the interfaces that take routers' advertisements for as long as they do not route.
fn links_that_listen(bridge: &str) -> Result<Vec<String>, Error> {
    let setting = |link: &str, name: &str| {
        let path = Path::new(ALL).join(link).join(name);
        let text = std::fs::read_to_string(&path).if_there();
        text.map_err(|e| failed(format!("read {}", path.display()), e))
    };
    let is = |text: Option<String>, value| text.is_some_and(|text| text.trim() == value);
    if !is(setting("all", "forwarding")?, "0") {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for link in file_names(Path::new(ALL))? {
        let special = ["all", "default", "lo", bridge].contains(&link.as_str());
        if !special && is(setting(&link, "accept_ra")?, "1") {
            found.push(link);
        }
    }
    Ok(found)
}
