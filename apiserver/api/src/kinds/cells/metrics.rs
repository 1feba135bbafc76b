//! What a pod uses, all its containers together. Follows `pkg/api/table.go` of sigs.k8s.io/metrics-server.

use serde_json::Value;

use super::{Makers, items, makers};
use crate::machinery::{quantity::Quantity, read::Read};

pub(super) const MAKERS: Makers = makers! { of;
    "metrics.sum" => sum(items(of.at), of.argument),
};

fn sum(containers: &[Value], resource: &str) -> String {
    let amounts = containers.iter().filter_map(|each| {
        let amount = each.at("usage").some(resource)?;
        Quantity::from_json(amount).ok()
    });
    // of two formats that of the first stands
    let sum = amounts.reduce(|mut sum, each| {
        sum.add(&each);
        sum
    });
    sum.unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_all_containers() {
        let two = [
            json!({"usage": {"cpu": "1500n", "memory": "3Mi"}}),
            json!({"usage": {"cpu": "2m", "memory": "5Ki"}}),
        ];
        assert_eq!(sum(&two, "cpu"), "2001500n");
        assert_eq!(sum(&two, "memory"), "3077Ki");
        assert_eq!(sum(&[], "cpu"), "0");
    }
}
