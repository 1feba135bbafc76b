//! How much of each resource: sums, and what containers that run one after another need at most.
//!
//! Invariant: amounts are exact. Follows `k8s.io/component-helpers/resource/helpers.go`.

use std::collections::BTreeMap;

use super::quantity::Quantity;

/// Exact amounts by resource.
pub type Amounts<K = String> = BTreeMap<K, Quantity>;

/// Adds up.
pub fn add<K: Ord + Clone>(total: &mut Amounts<K>, more: &Amounts<K>) {
    for (name, amount) in more {
        match total.get_mut(name) {
            Some(sum) => sum.add(amount),
            None => drop(total.insert(name.clone(), amount.clone())),
        }
    }
}

/// The larger of both, resource by resource.
pub fn raise<K: Ord + Clone>(total: &mut Amounts<K>, other: &Amounts<K>) {
    for (name, amount) in other {
        if total.get(name).is_none_or(|had| had < amount) {
            total.insert(name.clone(), amount.clone());
        }
    }
}

/// What a pod's containers need together at the worst moment of its life: `together` run at the same time, after `first` one by one, of which those
/// that are sidecars (`true`) stay.
///
/// # Errors
/// Those of amounts that cannot be read.
pub fn peak<K: Ord + Clone, E>(
    together: impl IntoIterator<Item = Result<Amounts<K>, E>>,
    first: impl IntoIterator<Item = (bool, Result<Amounts<K>, E>)>,
) -> Result<Amounts<K>, E> {
    let (mut sum, mut beside, mut highest) = (Amounts::new(), Amounts::new(), Amounts::new());
    for amounts in together {
        add(&mut sum, &amounts?);
    }
    for (stays, amounts) in first {
        let mut amounts = amounts?;
        if stays {
            add(&mut sum, &amounts);
            add(&mut beside, &amounts);
            raise(&mut highest, &beside);
        } else {
            add(&mut amounts, &beside);
            raise(&mut highest, &amounts);
        }
    }
    raise(&mut sum, &highest);
    Ok(sum)
}
