//! Cells of volumes, claims and storage drivers. Follows `pkg/printers/internalversion/printers.go`.

use serde_json::Value;

use super::{Makers, UNSET, items, joined, makers, quantity, text};
use crate::machinery::{meta::Meta, read::Read, storage::OLD_CLASS};

pub(super) const MAKERS: Makers = makers! { of;
    "access_modes" => access_modes(of.at),
    "claim.access_modes" => if is_bound(of.object) { access_modes(of.at) } else { String::new() },
    "claim.capacity" => if is_bound(of.object) { quantity(of.at, "0") } else { String::new() },
    "csi_driver.audiences" => if of.at.is_array() { joined(items(of.at).iter().map(|request| request.text("audience")), "") } else { UNSET.into() },
    // the beta annotation goes before the field
    "storage_class" => of.object.annotation(OLD_CLASS).unwrap_or(text(of.at)),
};

fn is_bound(claim: &Value) -> bool {
    !claim.at("spec").text("volumeName").is_empty()
}

/// The access modes of a volume by their short names, in a fixed order.
pub(super) fn access_modes(modes: &Value) -> String {
    const SHORT: [(&str, &str); 4] = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let has = |mode: &str| items(modes).iter().any(|listed| listed == mode);
    let listed = SHORT.iter().filter(|(mode, _)| has(mode));
    joined(listed.map(|(_, short)| *short), "")
}
