//! What befalls the shop, one act after the other, and how long it takes to be as it was.
//!
//! Invariant: each act is written down with what came of it, also when it could not be done; a node that was cut off is plugged in again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::Method;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::Serialize;
use serde_json::json;
use skiff_watching::api::{Api, Delete};
use tokio::sync::watch;

use super::{
    chronicle::Chronicle,
    crowd::Crowd,
    day::{Act, Day},
    ground::Ground,
    stage::NAMESPACE,
    watch::{Sight, Till},
};
use crate::cluster::objects::send;

/// So long it is waited for the shop to be as it was; the next act comes all the same.
const HEALED: Duration = Duration::from_secs(30);
const UPDATED: Duration = Duration::from_secs(60);
/// The shop's new version.
const NEW: &str = "skiff.local/shop:v2";

/// How an injury was inflicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum How {
    Killed,
    Deleted,
    Cut,
}

/// A till, or a node of them, that was lost, and when there were as many as before.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Wound {
    pub how: How,
    /// Seconds since the opening.
    pub at: f64,
    /// Seconds until it was healed; nothing: it was not in time.
    pub healed: Option<f64>,
}

/// What came of the acts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Damage {
    pub wounds: Vec<Wound>,
    /// Seconds from a till's deletion until nothing of it was left; nothing: something was, after all the time that it was waited for.
    pub left: Vec<Option<f64>>,
    /// Seconds that the rolling update took; nothing: it was not through in time.
    pub update: Option<f64>,
    /// Acts that could not be done here.
    pub omitted: usize,
}

/// Who plays them.
pub struct Acts<'a> {
    pub api: &'a Api,
    pub ground: &'a Ground,
    pub crowd: &'a Arc<Crowd>,
    pub chronicle: &'a Chronicle,
    pub sight: watch::Receiver<Sight>,
    pub chance: StdRng,
    pub damage: Damage,
    /// The node whose cable is pulled.
    unplugged: Option<String>,
}

impl<'a> Acts<'a> {
    pub fn new(
        ground: &'a Ground,
        crowd: &'a Arc<Crowd>,
        chronicle: &'a Chronicle,
        sight: watch::Receiver<Sight>,
        seed: u64,
    ) -> Self {
        Acts {
            api: &ground.api,
            ground,
            crowd,
            chronicle,
            sight,
            chance: StdRng::seed_from_u64(seed),
            damage: Damage::default(),
            unplugged: None,
        }
    }

    /// Plays all acts of the day.
    pub async fn play(&mut self, day: &Day) {
        for (at, act) in day.acts() {
            tokio::time::sleep_until(self.chronicle.instant(at).into()).await;
            let played = match act {
                Act::Kill => self.kill().await,
                Act::Delete => self.delete().await,
                Act::Update => self.update().await,
                Act::Cut => self.cut(day).await,
            };
            if let Err(error) = played {
                self.damage.omitted += 1;
                self.chronicle.say("act-failed", &[&format!("{error:#}")]);
            }
        }
    }

    /// Leaves an act out, with a word why.
    fn omit(&mut self, word: &str) {
        self.damage.omitted += 1;
        self.chronicle.say(word, &[]);
    }

    /// One of the tills that are ready, by chance.
    fn victim(&mut self, fits: impl Fn(&Till) -> bool) -> Option<String> {
        let sight = self.sight.borrow();
        let ready = sight.staying().filter(|(_, till)| till.ready && fits(till));
        let ready: Vec<String> = ready.map(|(name, _)| name.clone()).collect();
        if ready.is_empty() {
            return None;
        }
        let which = self.chance.random_range(0..ready.len());
        Some(ready[which].clone())
    }

    /// Waits until the shop is as it should be, and writes down how long that took.
    async fn heal(
        &mut self,
        how: How,
        at: Duration,
        since: Instant,
        healed: impl Fn(&Sight) -> bool,
    ) {
        let waited = tokio::time::timeout(HEALED, self.sight.wait_for(|sight| healed(sight))).await;
        let took = since.elapsed().as_secs_f64();
        let healed = matches!(waited, Ok(Ok(_))).then_some(took);
        match healed {
            Some(took) => {
                let took = self.chronicle.words.number(took, 1);
                self.chronicle.say("healed", &[&took]);
            }
            None => self.chronicle.say("not-healed", &[&HEALED.as_secs()]),
        }
        self.damage.wounds.push(Wound {
            how,
            at: at.as_secs_f64(),
            healed,
        });
    }

    async fn kill(&mut self) -> anyhow::Result<()> {
        if !self.ground.is_here() {
            self.omit("no-kill");
            return Ok(());
        }
        // one that was restarted before would wait before it is again
        let Some(pod) = self.victim(|till| till.restarts == 0) else {
            self.omit("nobody-to-kill");
            return Ok(());
        };
        let before = self.sight.borrow().ready();
        let (at, since) = (self.chronicle.now(), Instant::now());
        self.ground.kill(&pod).await?;
        let text = self.chronicle.words.say("kill", &[&pod]);
        self.chronicle.act("mark-kill", text);
        let again = |sight: &Sight| is_healed_of(sight, &pod, before);
        self.heal(How::Killed, at, since, again).await;
        Ok(())
    }

    async fn delete(&mut self) -> anyhow::Result<()> {
        let Some(pod) = self.victim(|_| true) else {
            self.omit("nobody-to-kill");
            return Ok(());
        };
        let before = self.sight.borrow().ready();
        let (at, since) = (self.chronicle.now(), Instant::now());
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}");
        self.api.delete_path(&path, &Delete::default()).await?;
        let text = self.chronicle.words.say("delete", &[&pod]);
        self.chronicle.act("mark-delete", text);
        let staying = |sight: &Sight| sight.tills.get(&pod).is_some_and(|till| !till.leaving);
        let healed = |sight: &Sight| !staying(sight) && has(sight, before);
        self.heal(How::Deleted, at, since, healed).await;
        let gone = self.sight.wait_for(|sight| !sight.tills.contains_key(&pod));
        let gone = tokio::time::timeout(HEALED, gone).await;
        let took = since.elapsed().as_secs_f64();
        let left = matches!(gone, Ok(Ok(_))).then_some(took);
        self.damage.left.push(left);
        Ok(())
    }

    async fn update(&mut self) -> anyhow::Result<()> {
        let path = format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments/till");
        let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "till", "image": NEW}]}}}});
        let since = Instant::now();
        send(
            self.api,
            Method::PATCH,
            &path,
            "application/strategic-merge-patch+json",
            patch.to_string(),
        )
        .await?;
        let text = self.chronicle.words.word("update");
        self.chronicle.act("mark-update", text);
        let new = |till: &Till| NEW.ends_with(&format!(":{}", till.version));
        let through = |sight: &Sight| sight.whole && sight.tills.values().all(new);
        let waited = tokio::time::timeout(UPDATED, self.sight.wait_for(through)).await;
        let took = since.elapsed().as_secs_f64();
        match waited {
            Ok(Ok(_)) => {
                self.damage.update = Some(took);
                let took = self.chronicle.words.number(took, 1);
                self.chronicle.say("updated", &[&took]);
            }
            _ => self.chronicle.say("not-updated", &[&UPDATED.as_secs()]),
        }
        Ok(())
    }

    /// Plugs in what is unplugged: to be called, too, when the day is broken off.
    pub async fn mend(&mut self) -> anyhow::Result<()> {
        let Some(node) = self.unplugged.clone() else {
            return Ok(());
        };
        self.ground.cable(&node, true).await?;
        self.unplugged = None;
        let text = self.chronicle.words.say("mended", &[&node]);
        self.chronicle.act("mark-mended", text);
        Ok(())
    }

    /// A node with tills, but without the vault and the thief.
    fn node_to_cut(&self) -> Option<String> {
        let sight = self.sight.borrow();
        let others: Vec<&String> = sight.others_on.values().collect();
        let nodes = sight.nodes.iter().filter(|(node, ready)| {
            **ready
                && !others.contains(node)
                && sight.staying().any(|(_, till)| till.node == **node)
        });
        nodes.map(|(node, _)| node.clone()).next()
    }

    async fn cut(&mut self, day: &Day) -> anyhow::Result<()> {
        if !self.ground.is_here() {
            self.omit("no-cut");
            return Ok(());
        }
        let Some(node) = self.node_to_cut() else {
            self.omit("no-node-to-cut");
            return Ok(());
        };
        let before = self.sight.borrow().ready();
        let (at, since) = (self.chronicle.now(), Instant::now());
        self.crowd.is_cut(&node, true);
        self.unplugged = Some(node.clone());
        self.ground.cable(&node, false).await?;
        let text = self.chronicle.words.say("cut", &[&node]);
        self.chronicle.act("mark-cut", text);
        let elsewhere = |sight: &Sight| {
            let still = sight
                .staying()
                .any(|(_, till)| till.node == node && till.ready);
            !still && has(sight, before)
        };
        self.heal(How::Cut, at, since, elsewhere).await;
        tokio::time::sleep_until((since + day.cut()).into()).await;
        self.mend().await?;
        let back = self
            .sight
            .wait_for(|sight| sight.nodes.get(&node) == Some(&true));
        // however long it takes: what goes there until then is told apart
        _ = tokio::time::timeout(UPDATED, back).await;
        self.crowd.is_cut(&node, false);
        Ok(())
    }
}

/// Whether there are as many tills as before, or as there are to be by now.
fn has(sight: &Sight, before: usize) -> bool {
    let wanted = usize::try_from(sight.wanted).unwrap_or(0);
    sight.ready() >= before.min(wanted)
}

/// Whether a till that was killed is up again, or is not missed: it is not counted any more, and there are as many as before.
fn is_healed_of(sight: &Sight, killed: &str, before: usize) -> bool {
    let till = sight.tills.get(killed);
    let known = till.is_none_or(|till| till.leaving || (till.restarts > 0 && till.ready));
    known && has(sight, before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_before_or_as_are_wanted() {
        let sight = |ready: usize, wanted: i32| {
            let till = |n: usize| {
                let till = Till {
                    ready: n < ready,
                    ..Till::default()
                };
                (format!("till-{n}"), till)
            };
            Sight {
                tills: (0..6).map(till).collect(),
                wanted,
                ..Sight::default()
            }
        };
        for (ready, wanted, before, healed) in [
            (4, 4, 4, true),
            (3, 4, 4, false),
            (3, 3, 4, true),
            (5, 8, 4, true),
            (2, 2, 4, true),
        ] {
            assert_eq!(
                has(&sight(ready, wanted), before),
                healed,
                "{ready} of {wanted}, {before} before"
            );
        }
    }

    #[test]
    fn a_killed_till_is_up_again_or_not_missed() {
        let till = |ready, leaving, restarts| Till {
            ready,
            leaving,
            restarts,
            ..Till::default()
        };
        let sight = |killed: Option<Till>, others: usize| {
            let others = (0..others).map(|n| (format!("till-{n}"), till(true, false, 0)));
            let killed = killed.map(|till| ("killed".to_owned(), till));
            Sight {
                tills: others.chain(killed).collect(),
                wanted: 3,
                ..Sight::default()
            }
        };
        for (killed, others, healed) in [
            // it is not known yet, or not up again
            (Some(till(true, false, 0)), 2, false),
            (Some(till(false, false, 1)), 2, false),
            (Some(till(true, false, 1)), 2, true),
            // up again, but another is missing now
            (Some(till(true, false, 1)), 1, false),
            (Some(till(true, true, 0)), 2, false),
            (Some(till(true, true, 0)), 3, true),
            (None, 2, false),
            (None, 3, true),
        ] {
            let shown = format!("{killed:?}, {others} others");
            let found = is_healed_of(&sight(killed, others), "killed", 3);
            assert_eq!(found, healed, "{shown}");
        }
    }
}
