//! `skiff demo black-friday`: a shop's busiest day, from the cluster that it is played on to the table that it ends with.
//!
//! Layers, lowest first: `words`, `measure` and `day`; `chronicle`, where all write what happened; `ground`, `claim` and `stage`, the cluster, the
//! namespace in it and the shop in that; `watch`, `crowd` and `acts`, who play; `outcome`, `view`, `tell` and `report`, which tell.
//! Invariant: whatever was put up is taken down, whichever way the day ends, unless it is asked to stay.

mod acts;
mod chronicle;
mod claim;
mod crowd;
mod day;
mod ground;
mod measure;
mod outcome;
mod report;
mod stage;
mod tell;
mod view;
mod watch;
mod words;

use std::{sync::Arc, time::Duration};

use anyhow::{Context, anyhow, bail};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch as channel,
};
use tokio_util::sync::CancellationToken;

use self::{
    acts::Acts,
    chronicle::Chronicle,
    claim::Claim,
    crowd::Crowd,
    day::Day,
    ground::{Ground, NodeOf},
    outcome::{Outcome, is_as_in_the_morning},
    report::{Report, Sheet},
    stage::{Certificate, HOST, NAMESPACE},
    tell::progress,
    watch::Sight,
    words::Words,
};
use crate::{cluster, print};

/// So long it may take until every node serves a customer, and then until all of the shop is seen.
const SERVED: Duration = Duration::from_secs(30);
const SEEN: Duration = Duration::from_secs(30);
/// So long after closing time it is waited for tills to be closed.
const CLEARED: Duration = Duration::from_secs(60);
const LENGTH: std::ops::RangeInclusive<f64> = 30.0..=3600.0;
const PEAK: std::ops::RangeInclusive<i64> = 10..=100_000;
const NODES: std::ops::RangeInclusive<i64> = 1..=20;

/// What the flags ask for.
pub struct Wish {
    pub nodes: i64,
    /// Seconds.
    pub length: f64,
    /// Requests a second.
    pub peak: i64,
    pub report: String,
    pub lang: String,
    pub seed: i64,
    pub plain: bool,
    pub keep: bool,
    pub output: String,
    pub kubeconfig: String,
    pub data_dir: String,
}

/// The whole day.
pub async fn black_friday(wish: Wish) -> anyhow::Result<()> {
    let (words, mut sheet) = check(&wish)?;
    let stop = cluster::until_told()?;
    // a terminal that is closed ends the day, too
    let mut closed = signal(SignalKind::hangup())?;
    let told = stop.clone();
    skiff_watching::task::spawn(async move {
        closed.recv().await;
        told.cancel();
    });
    // what has begun to start is let come up, so that it can be ended
    let ground = Ground::find(&wish, &words).await?;
    let claim = Claim::new(&ground.api);
    let playing = async {
        claim.take(&stop).await?;
        let tls = Certificate::make()?;
        let play = Play::new(&wish, words.clone(), &ground, &tls, &stop)?;
        play.open(&tls).await?;
        play.play(sheet.as_mut()).await
    };
    let played = tokio::select! {
        played = playing => played,
        never = claim.hold() => match never {},
    };
    let left = keep_or_clear(&wish, &words, ground, &claim).await;
    both(played, left)
}

/// What came of something, and of what followed it whatever came of it: neither error hides the other.
fn both<T>(first: anyhow::Result<T>, then: anyhow::Result<()>) -> anyhow::Result<T> {
    match (first, then) {
        (Err(first), Err(then)) => bail!("{first:#}; and {then:#}"),
        (Ok(_), Err(then)) => Err(then),
        (first, Ok(())) => first,
    }
}

/// Everything that can be known to be wrong before anything is begun.
fn check(wish: &Wish) -> anyhow::Result<(Words, Option<Sheet>)> {
    let words = Words::of(&wish.lang).with_context(|| {
        let known = Words::languages();
        format!("--lang {:?} is not known; there are {known}", wish.lang)
    })?;
    if !NODES.contains(&wish.nodes) {
        bail!("--nodes takes {} to {}", NODES.start(), NODES.end());
    }
    if !LENGTH.contains(&wish.length) {
        bail!("--length takes {}s to {}s", LENGTH.start(), LENGTH.end());
    }
    if !PEAK.contains(&wish.peak) {
        bail!("--peak takes {} to {}", PEAK.start(), PEAK.end());
    }
    if !["", "json"].contains(&wish.output.as_str()) {
        bail!("--output takes json, found {:?}", wish.output);
    }
    // it is better to know now than after the day
    let sheet = match wish.report.as_str() {
        "" => None,
        path => Some(Sheet::open(path)?),
    };
    Ok((words, sheet))
}

/// Leaves what was put up, if that is asked for, or takes it away.
async fn keep_or_clear(
    wish: &Wish,
    words: &Words,
    ground: Ground,
    claim: &Claim,
) -> anyhow::Result<()> {
    let left = match (wish.keep, ground.folder()) {
        (true, folder) => {
            if let Some(folder) = folder {
                let kubeconfig = folder.join("kubeconfig").display().to_string();
                let data = folder.join("data").display().to_string();
                let down = format!("skiff down --data-dir {data}");
                let with: [&dyn std::fmt::Display; 3] = [&kubeconfig, &NAMESPACE, &down];
                progress(&words.say("kept", &with));
            } else if claim.is_taken() {
                progress(&words.say("kept-there", &[&NAMESPACE]));
            }
            claim.leave().await
        }
        // it goes with its cluster
        (false, Some(_)) => Ok(()),
        (false, None) => claim.clear().await,
    };
    both(left, ground.end(wish.keep).await)
}

/// A day that is played.
struct Play<'a> {
    wish: &'a Wish,
    day: Day,
    ground: &'a Ground,
    chronicle: Arc<Chronicle>,
    crowd: Arc<Crowd>,
    stop: &'a CancellationToken,
}

impl<'a> Play<'a> {
    fn new(
        wish: &'a Wish,
        words: Words,
        ground: &'a Ground,
        tls: &Certificate,
        stop: &'a CancellationToken,
    ) -> anyhow::Result<Play<'a>> {
        let day = Day {
            length: Duration::from_secs_f64(wish.length),
            peak: wish.peak as f64,
        };
        let chronicle = Arc::new(Chronicle::new(words));
        let crowd = Crowd::new(&ground.nodes, &tls.certificate, chronicle.clone())?;
        Ok(Play {
            wish,
            day,
            ground,
            chronicle,
            crowd: Arc::new(crowd),
            stop,
        })
    }

    fn interrupted(&self) -> anyhow::Error {
        anyhow!("{}", self.chronicle.words.word("interrupted"))
    }

    /// Puts the shop up, and waits until it serves.
    async fn open(&self, tls: &Certificate) -> anyhow::Result<()> {
        let (api, nodes) = (&self.ground.api, &self.ground.nodes);
        let opened = async {
            stage::put_up(api, nodes, tls).await?;
            stage::wait_until_open(api, nodes).await?;
            self.crowd.wait_until_served(SERVED).await
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(self.interrupted()),
            opened = opened => opened?,
        }
        let words = &self.chronicle.words;
        let seconds = words.number(self.wish.length, 0);
        let with: [&dyn std::fmt::Display; 3] = [&HOST, &nodes.len(), &seconds];
        progress(&words.say("opens", &with));
        Ok(())
    }

    /// From opening to closing, with somebody who looks and somebody who tells; and what it came to.
    async fn play(&self, sheet: Option<&mut Sheet>) -> anyhow::Result<()> {
        let (sender, sight) = channel::channel(Sight::default());
        let over = CancellationToken::new();
        let drawn = !self.wish.plain && self.wish.output.is_empty() && tell::is_terminal();
        let looking = watch::look(
            self.ground.api.clone(),
            sender.clone(),
            &self.chronicle,
            &over,
        );
        let showing = tell::show(drawn, self.day, self.chronicle.clone(), sight, &over);
        let playing = async {
            let lived = self.live(&sender).await;
            // whatever came of it, nobody looks on
            over.cancel();
            lived
        };
        let (lived, (), ()) = tokio::join!(playing, looking, showing);
        let (outcome, whole) = lived?;
        both(self.tell(&outcome, sheet), whole)
    }

    /// What the day came to, as far as it went; and what went wrong with it.
    async fn live(
        &self,
        sender: &channel::Sender<Sight>,
    ) -> anyhow::Result<(Outcome, anyhow::Result<()>)> {
        let mut sight = sender.subscribe();
        let morning = tokio::select! {
            morning = all_in_sight(&mut sight, &self.ground.nodes, SEEN) => morning?,
            () = self.stop.cancelled() => return Err(self.interrupted()),
        };
        let (day, chronicle, seed) = (self.day, &self.chronicle, self.wish.seed as u64);
        chronicle.open();
        let closed = CancellationToken::new();
        // a task of its own: what is done elsewhere makes nobody late
        let crowd = self.crowd.clone();
        let coming = crowd.come(
            day,
            seed,
            sender.subscribe(),
            closed.clone(),
            self.stop.clone(),
        );
        let coming = skiff_watching::task::spawn(coming);
        let mut acts = Acts::new(self.ground, &self.crowd, chronicle, sight.clone(), seed);
        let directed = async {
            acts.play(&day).await;
            tokio::time::sleep_until(chronicle.instant(day.length).into()).await;
            let cleared = sight.wait_for(|sight| is_as_in_the_morning(sight, morning));
            // tills that stay open are in the table
            _ = tokio::time::timeout(CLEARED, cleared).await;
        };
        let whole = tokio::select! {
            () = directed => Ok(()),
            () = self.stop.cancelled() => Err(self.interrupted()),
        };
        closed.cancel();
        let came = coming.await.context("customers stayed away");
        let mended = acts.mend().await.context("a node is still cut off");
        watch::listen(&self.ground.api, sender).await;
        let damage = std::mem::take(&mut acts.damage);
        let outcome = Outcome::of(chronicle, &day, &sender.borrow(), damage);
        Ok((outcome, both(both(whole, came), mended)))
    }

    fn tell(&self, outcome: &Outcome, sheet: Option<&mut Sheet>) -> anyhow::Result<()> {
        let chronicle = &self.chronicle;
        let told = match self.wish.output.as_str() {
            "json" => format!("{}\n", serde_json::to_string_pretty(outcome)?),
            _ => format!("\n{}\n", outcome.table(&chronicle.words)),
        };
        let told = print::put(&told).map_err(anyhow::Error::from);
        let Some(sheet) = sheet else { return told };
        let page = Report {
            outcome,
            ledger: &chronicle.ledger(),
            counts: &chronicle.counts(),
            entries: &chronicle.entries(),
            words: &chronicle.words,
            nodes: self.ground.nodes.len(),
            peak: self.wish.peak,
        }
        .page();
        let written = sheet.write(&page);
        if written.is_ok() {
            progress(&chronicle.words.say("written", &[&self.wish.report]));
        }
        both(told, written)
    }
}

/// Waits until every till that is to be and every node is seen, with which the day begins; says how many tills that are.
async fn all_in_sight(
    sight: &mut channel::Receiver<Sight>,
    nodes: &[NodeOf],
    limit: Duration,
) -> anyhow::Result<usize> {
    let seen = async {
        let seen = sight.wait_for(|sight| sight.lacks(nodes).is_empty()).await;
        seen.map(|sight| sight.ready())
    };
    if let Ok(seen) = tokio::time::timeout(limit, seen).await {
        return seen.context("nobody looks at the shop");
    }
    let missing = sight.borrow().lacks(nodes).join(", ");
    bail!("not all of the shop is in sight after {limit:?}: {missing}")
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn wish() -> Wish {
        Wish {
            nodes: 3,
            length: 180.0,
            peak: 150,
            report: String::new(),
            lang: "en".into(),
            seed: 1,
            plain: false,
            keep: false,
            output: String::new(),
            kubeconfig: String::new(),
            data_dir: String::new(),
        }
    }

    #[test]
    fn what_is_wrong_is_said_before_anything_begins() {
        assert!(check(&wish()).is_ok());
        let wrong: [(&str, fn(&mut Wish)); 6] = [
            ("--lang", |wish| wish.lang = "la".into()),
            ("--nodes", |wish| wish.nodes = 0),
            ("--length", |wish| wish.length = 5.0),
            ("--peak", |wish| wish.peak = 1),
            ("--output", |wish| wish.output = "yaml".into()),
            ("/no/such", |wish| wish.report = "/no/such/folder/a".into()),
        ];
        for (named, change) in wrong {
            let mut wish = wish();
            change(&mut wish);
            let error = check(&wish).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn no_error_hides_another() {
        let failed = |why: &str| Err::<(), _>(anyhow!("{why}"));
        let told = |result: anyhow::Result<()>| result.unwrap_err().to_string();
        assert!(both(Ok(()), Ok(())).is_ok());
        assert_eq!(told(both(failed("a"), Ok(()))), "a");
        assert_eq!(told(both(Ok(()), failed("b"))), "b");
        assert_eq!(told(both(failed("a"), failed("b"))), "a; and b");
    }

    #[tokio::test]
    async fn the_day_does_not_wait_for_ever_for_what_is_not_seen() {
        let (sender, mut sight) = channel::channel(Sight::default());
        let limit = Duration::from_millis(20);
        let waited = all_in_sight(&mut sight, &[], limit).await;
        let error = waited.unwrap_err().to_string();
        assert!(error.contains("0 of 0 tills"), "{error}");
        drop(sender);
        let waited = all_in_sight(&mut sight, &[], SEEN).await;
        let error = waited.unwrap_err().to_string();
        assert_eq!(error, "nobody looks at the shop");
    }
}
