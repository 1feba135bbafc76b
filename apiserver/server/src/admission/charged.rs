//! What one write has charged to quotas: where another write comes between, it is tried again, and what was charged once is not charged again.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use skiff_controllers::quota::usage::Usage;

/// By quota.
#[derive(Default)]
pub struct Charged(Mutex<BTreeMap<String, Usage>>);

impl Charged {
    /// What is still to be charged of this.
    pub fn rest(&self, quota: &str, asked: &Usage) -> Usage {
        match self.0.lock().get(quota) {
            Some(charged) => difference(asked, charged),
            None => asked.clone(),
        }
    }

    /// This was charged.
    pub fn add(&self, quota: &str, amounts: &Usage) {
        let mut all = self.0.lock();
        let of_quota = all.entry(quota.to_owned()).or_default();
        for (resource, amount) in amounts {
            match of_quota.get_mut(resource) {
                Some(sum) => sum.add(amount),
                None => drop(of_quota.insert(resource.clone(), amount.clone())),
            }
        }
    }
}

/// What is more than before; nothing less than zero, and no zeros.
pub fn difference(now: &Usage, before: &Usage) -> Usage {
    let more = now.iter().map(|(name, amount)| {
        let mut amount = amount.clone();
        if let Some(before) = before.get(name) {
            amount.sub(before);
        }
        (name.clone(), amount)
    });
    more.filter(|(_, amount)| amount.sign() > 0).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn amounts(value: Value) -> Usage {
        crate::admission::amounts::read(&value).unwrap()
    }

    #[test]
    fn only_what_is_more_is_charged() {
        assert_eq!(
            difference(
                &amounts(json!({"a": "3", "b": "1"})),
                &amounts(json!({"a": "1", "b": "2"}))
            ),
            amounts(json!({"a": "2"}))
        );
    }

    #[test]
    fn nothing_is_charged_twice() {
        let charged = Charged::default();
        let asked = amounts(json!({"pods": "1", "cpu": "100m"}));
        assert_eq!(charged.rest("q", &asked), asked);
        charged.add("q", &asked);
        assert!(charged.rest("q", &asked).is_empty());
        assert_eq!(charged.rest("other", &asked), asked);
        let more = amounts(json!({"pods": "1", "cpu": "300m"}));
        let rest = charged.rest("q", &more);
        assert_eq!(rest, amounts(json!({"cpu": "200m"})));
        charged.add("q", &rest);
        assert!(charged.rest("q", &more).is_empty());
    }
}
