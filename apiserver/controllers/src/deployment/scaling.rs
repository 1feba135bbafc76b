//! How many replicas each ReplicaSet of a Deployment gets.
//!
//! Invariant: a change of scale in the middle of a rollout is spread over the sets in proportion to their size, none lost to rounding.
//! Follows pkg/controller/deployment/sync.go (scale) and util/deployment_util.go.

use std::cmp::Reverse;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use skiff_podspec::parts::{HasStatus, Meta};

use super::{
    Pass,
    replicasets::{
        DESIRED, MAX, Sets, active_or_latest, annotate, annotation, available, by_age, replicas,
    },
    status,
};
use crate::{error::Error, fraction::total};

/// Notes on the set what the Deployment wanted when it was last scaled; true when that is new.
pub fn annotate_replicas(set: &mut ReplicaSet, desired: i32, max: i32) -> bool {
    let first = annotate(&mut set.metadata, DESIRED, desired.to_string());
    annotate(&mut set.metadata, MAX, max.to_string()) || first
}

fn noted(set: &ReplicaSet, key: &str) -> Option<i32> {
    annotation(set, key)?
        .parse::<i32>()
        .ok()
        .filter(|n| *n >= 0)
}

/// How many replicas the new set may have now.
pub fn new_set_replicas(deployment: &Deployment, sets: &Sets, new: &ReplicaSet) -> i32 {
    let (wanted, own) = (status::replicas(deployment), replicas(new));
    match status::strategy(deployment) {
        status::Strategy::Recreate => wanted,
        status::Strategy::RollingUpdate => {
            let (surge, _) = status::raw_limits(deployment);
            let room = wanted
                .saturating_add(surge)
                .saturating_sub(total(sets.all().map(replicas)));
            if room <= 0 {
                own
            } else {
                own + room.min(wanted - own)
            }
        }
    }
}

/// Whether the new set is all there is to be.
fn is_saturated(deployment: &Deployment, new: Option<&ReplicaSet>) -> bool {
    let wanted = status::replicas(deployment);
    new.is_some_and(|set| {
        replicas(set) == wanted && noted(set, DESIRED) == Some(wanted) && available(set) == wanted
    })
}

/// What each active set gets of a change of scale, while several are active.
pub fn proportions(deployment: &Deployment, sets: &Sets) -> Vec<(ReplicaSet, i32)> {
    let mut active: Vec<ReplicaSet> = sets.active().cloned().collect();
    let wanted = status::replicas(deployment);
    let allowed = if wanted > 0 {
        wanted.saturating_add(status::max_surge(deployment))
    } else {
        0
    };
    let to_add = allowed.saturating_sub(total(active.iter().map(replicas)));
    if to_add > 0 {
        active.sort_by(|a, b| {
            (Reverse(replicas(a)),)
                .cmp(&(Reverse(replicas(b)),))
                .then_with(|| by_age(b, a))
        });
    } else if to_add < 0 {
        active.sort_by(|a, b| {
            (Reverse(replicas(a)),)
                .cmp(&(Reverse(replicas(b)),))
                .then_with(|| by_age(a, b))
        });
    }
    let mut added = 0;
    let mut sizes = Vec::with_capacity(active.len());
    for set in active {
        let share = if to_add == 0 || to_add == added {
            0
        } else {
            share(deployment, &set, to_add, to_add - added)
        };
        added += share;
        let size = replicas(&set).saturating_add(share);
        sizes.push((set, size));
    }
    if to_add != 0
        && let Some((_, first)) = sizes.first_mut()
    {
        *first = first.saturating_add(to_add.saturating_sub(added)).max(0);
    }
    sizes
}

/// One set's part of `to_add` replicas (which may be negative), within what is `left`.
fn share(deployment: &Deployment, set: &ReplicaSet, to_add: i32, left: i32) -> i32 {
    let fraction = fraction(deployment, set);
    if to_add > 0 {
        fraction.min(left)
    } else {
        fraction.max(left)
    }
}

fn fraction(deployment: &Deployment, set: &ReplicaSet) -> i32 {
    let (wanted, own) = (status::replicas(deployment), replicas(set));
    if wanted == 0 {
        return -own;
    }
    let before = noted(set, MAX)
        .filter(|max| *max != 0)
        .unwrap_or_else(|| deployment.status().replicas.unwrap_or(0));
    if before == 0 {
        return 0;
    }
    let size = f64::from(own) * f64::from(wanted.saturating_add(status::max_surge(deployment)))
        / f64::from(before);
    // a conversion to an integer stops at what that can be
    (size.round() as i32).saturating_sub(own)
}

impl Pass<'_> {
    /// Whether the Deployment's scale was changed since its sets were last scaled.
    pub async fn is_scaling(&mut self) -> Result<bool, Error> {
        self.take_new_set(false).await?;
        let wanted = status::replicas(&self.deployment);
        Ok(self
            .sets
            .active()
            .any(|set| noted(set, DESIRED).is_some_and(|desired| desired != wanted)))
    }

    /// Follows a change of scale, without rolling anything out.
    pub async fn scale_only(&mut self) -> Result<(), Error> {
        self.take_new_set(false).await?;
        self.scale().await?;
        if self.paused() {
            self.clean_up().await?;
        }
        self.write_status(self.calculate()).await
    }

    async fn scale(&mut self) -> Result<(), Error> {
        let wanted = status::replicas(&self.deployment);
        if let Some(set) = active_or_latest(&self.sets).cloned() {
            return if replicas(&set) == wanted {
                Ok(())
            } else {
                self.resize(&set, wanted, false).await.map(drop)
            };
        }
        if is_saturated(&self.deployment, self.sets.new.as_ref()) {
            let old: Vec<_> = self
                .sets
                .old
                .iter()
                .filter(|set| replicas(set) > 0)
                .cloned()
                .collect();
            for set in old {
                self.resize(&set, 0, false).await?;
            }
            return Ok(());
        }
        if status::strategy(&self.deployment) == status::Strategy::RollingUpdate {
            for (set, size) in proportions(&self.deployment, &self.sets) {
                self.resize(&set, size, true).await?;
            }
        }
        Ok(())
    }

    /// Gives a set another size; true when it had another before. `always` writes the annotations even if the size stays.
    pub async fn resize(
        &mut self,
        set: &ReplicaSet,
        size: i32,
        always: bool,
    ) -> Result<bool, Error> {
        let before = replicas(set);
        if before == size && !always {
            return Ok(false);
        }
        let desired = status::replicas(&self.deployment);
        let mut update = set.clone();
        let noted = annotate_replicas(
            &mut update,
            desired,
            desired.saturating_add(status::max_surge(&self.deployment)),
        );
        if before == size && !noted {
            return Ok(false);
        }
        update.spec.get_or_insert_default().replicas = Some(size);
        let written = self.put_set(&update).await?;
        if before != size {
            let direction = if before < size { "up" } else { "down" };
            self.say(format!(
                "Scaled {direction} replica set {} from {before} to {size}",
                written.metadata.name()
            ));
        }
        self.keep(written);
        Ok(before != size)
    }

    /// Puts a set that was written in place of what was read.
    fn keep(&mut self, written: ReplicaSet) {
        let same = |set: &ReplicaSet| set.metadata.uid == written.metadata.uid;
        if let Some(slot) = self
            .sets
            .old
            .iter_mut()
            .chain(self.sets.new.as_mut())
            .find(|set| same(set))
        {
            *slot = written;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::{replicasets::tests::set, status::tests::deployment};

    fn sizes(deployment: &Deployment, sets: &Sets) -> Vec<(String, i32)> {
        let mut sizes: Vec<_> = proportions(deployment, sets)
            .into_iter()
            .map(|(s, n)| (s.metadata.name.unwrap(), n))
            .collect();
        sizes.sort();
        sizes
    }

    #[test]
    fn a_change_of_scale_is_spread_in_proportion() {
        let noted = |name: &str, created, size, max: i32| {
            let mut set = set(name, created, size, size);
            annotate_replicas(&mut set, max, max);
            set
        };
        // 10 replicas without surge became 20, in the middle of a rollout
        let sets = || Sets {
            new: Some(noted("new", 2, 5, 10)),
            old: vec![noted("old", 1, 5, 10)],
        };
        assert_eq!(
            sizes(&deployment(20, 0, 0), &sets()),
            [("new".into(), 10), ("old".into(), 10)]
        );
        assert_eq!(
            sizes(&deployment(5, 0, 0), &sets()),
            [("new".into(), 3), ("old".into(), 2)]
        );
        assert_eq!(
            sizes(&deployment(0, 0, 0), &sets()),
            [("new".into(), 0), ("old".into(), 0)]
        );
    }

    #[test]
    fn the_new_set_grows_into_the_room_that_is_left() {
        for (wanted, surge, old, own, expected) in [
            (10, 2, 10, 0, 2),
            (10, 0, 10, 0, 0),
            (10, 2, 3, 7, 9),
            (10, 5, 0, 0, 10),
            (10, 2, 8, 4, 4),
        ] {
            let sets = Sets {
                new: Some(set("new", 2, own, 0)),
                old: vec![set("old", 1, old, old)],
            };
            let got = new_set_replicas(
                &deployment(wanted, surge, 0),
                &sets,
                sets.new.as_ref().unwrap(),
            );
            assert_eq!(got, expected, "{wanted} {surge} {old} {own}");
        }
    }

    /// Whatever numbers people choose, they are no more than numbers can be.
    #[test]
    fn the_largest_numbers_are_numbers() {
        const MOST: i32 = i32::MAX;
        for (wanted, surge, unavailable) in [
            (MOST, MOST, MOST),
            (MOST, 1, 0),
            (1, MOST, MOST),
            (0, MOST, 1),
        ] {
            let deployment = deployment(wanted, surge, unavailable);
            for (own, old) in [(MOST, MOST), (0, MOST), (MOST, 0), (1, 1)] {
                let mut new = set("new", 2, own, own);
                annotate_replicas(&mut new, 1, 1);
                let sets = Sets {
                    new: Some(new),
                    old: vec![set("old", 1, old, old), set("older", 0, old, 0)],
                };
                assert!(new_set_replicas(&deployment, &sets, sets.new.as_ref().unwrap()) >= 0);
                assert!(
                    sizes(&deployment, &sets).iter().all(|(_, size)| *size >= 0),
                    "{wanted} {surge} {own} {old}"
                );
                super::super::rollout::shrink_old(&deployment, &sets);
                status::calculate(
                    &deployment,
                    &sets,
                    k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
                        jiff::Timestamp::UNIX_EPOCH,
                    ),
                );
            }
        }
    }
}
