//! `skiff demo black-friday`: a shop's busiest day, from the cluster that it is played on to the table that it ends with.
//!
//! Layers, lowest first: `words`, `measure` and `day`; `chronicle`, where all write what happened; `ground` and `stage`, the cluster and the shop on it;
//! `watch`, `crowd` and `acts`, who play; `outcome`, `view` and `report`, which tell.
//! Invariant: whatever was put up is taken down, whichever way the day ends, unless it is asked to stay.

mod acts;
mod chronicle;
mod crowd;
mod day;
mod ground;
mod measure;
mod outcome;
mod report;
mod stage;
mod view;
mod watch;
mod words;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch as channel,
};
use tokio_util::sync::CancellationToken;

use self::{
    acts::Acts,
    chronicle::Chronicle,
    crowd::Crowd,
    day::Day,
    ground::Ground,
    outcome::{Outcome, is_as_in_the_morning},
    report::Report,
    stage::{Certificate, HOST, NAMESPACE},
    view::progress,
    watch::Sight,
    words::Words,
};
use crate::{cluster, print};

const SERVED: Duration = Duration::from_secs(30);
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
    let words = check(&wish)?;
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
    let played = play(&wish, &words, &ground, &stop).await;
    let kept = keep_or_clear(&wish, &words, ground).await;
    played.and(kept)
}

/// Everything that can be known to be wrong before anything is begun.
fn check(wish: &Wish) -> anyhow::Result<Words> {
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
    if !wish.report.is_empty() {
        // it is better to know now than after the day
        std::fs::write(&wish.report, "")
            .with_context(|| format!("cannot write {}", wish.report))?;
    }
    Ok(words)
}

async fn keep_or_clear(wish: &Wish, words: &Words, ground: Ground) -> anyhow::Result<()> {
    let folder: Option<PathBuf> = ground.folder().map(PathBuf::from);
    match (wish.keep, folder) {
        (true, Some(folder)) => {
            let kubeconfig = folder.join("kubeconfig").display().to_string();
            let data = folder.join("data").display().to_string();
            let down = format!("skiff down --data-dir {data}");
            let with: [&dyn std::fmt::Display; 3] = [&kubeconfig, &NAMESPACE, &down];
            progress(&words.say("kept", &with));
        }
        (true, None) => progress(&words.say("kept-there", &[&NAMESPACE])),
        (false, Some(_)) => {}
        (false, None) => stage::take_down(&ground.api).await?,
    }
    ground.end(wish.keep).await
}

/// Puts the shop up, plays the day, and tells what it came to.
async fn play(
    wish: &Wish,
    words: &Words,
    ground: &Ground,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let day = Day {
        length: Duration::from_secs_f64(wish.length),
        peak: wish.peak as f64,
    };
    let chronicle = Arc::new(Chronicle::new(words.clone()));
    let tls = Certificate::make()?;
    let crowd = Crowd::new(&ground.nodes, &tls.certificate, chronicle.clone())?;
    let opened = async {
        stage::put_up(&ground.api, &ground.nodes, &tls).await?;
        stage::wait_until_open(&ground.api, &ground.nodes).await?;
        crowd.wait_until_served(SERVED).await
    };
    tokio::select! {
        opened = opened => opened?,
        () = stop.cancelled() => bail!("{}", words.word("interrupted")),
    }
    let seconds = words.number(wish.length, 0);
    let with: [&dyn std::fmt::Display; 3] = [&HOST, &ground.nodes.len(), &seconds];
    progress(&words.say("opens", &with));
    let crowd = Arc::new(crowd);
    let (outcome, whole) = live(wish, &day, ground, &crowd, &chronicle, stop).await?;
    tell(wish, &outcome, ground, &chronicle)?;
    if !whole {
        bail!("{}", words.word("interrupted"));
    }
    Ok(())
}

/// From opening to closing; whether it came to its end.
async fn live(
    wish: &Wish,
    day: &Day,
    ground: &Ground,
    crowd: &Arc<Crowd>,
    chronicle: &Chronicle,
    stop: &CancellationToken,
) -> anyhow::Result<(Outcome, bool)> {
    let (sender, mut sight) = channel::channel(Sight::default());
    let seed = wish.seed as u64;
    let (closed, over) = (CancellationToken::new(), CancellationToken::new());
    let drawn = !wish.plain && wish.output.is_empty() && view::is_terminal();
    let looking = watch::look(ground.api.clone(), sender.clone(), chronicle, &over);
    let playing = async {
        // the day begins with all in sight
        let there = sight.wait_for(|sight| sight.ready() > 0 && !sight.nodes.is_empty());
        there.await.context("nobody looks at the shop")?;
        let morning = sight.borrow().ready();
        chronicle.open();
        let mut acts = Acts::new(ground, crowd, chronicle, sight.clone(), seed);
        let directed = async {
            acts.play(day).await;
            tokio::time::sleep_until(chronicle.instant(day.length).into()).await;
            let cleared = sight.wait_for(|sight| is_as_in_the_morning(sight, morning));
            // tills that stay open are in the table
            _ = tokio::time::timeout(CLEARED, cleared).await;
        };
        let directed = async {
            let whole = tokio::select! {
                () = directed => true,
                () = stop.cancelled() => false,
            };
            closed.cancel();
            whole
        };
        let coming = crowd.come(*day, seed, sender.subscribe(), &closed);
        let (whole, ()) = tokio::join!(directed, coming);
        acts.mend().await?;
        watch::listen(&ground.api, &sender).await;
        over.cancel();
        let damage = std::mem::take(&mut acts.damage);
        let outcome = Outcome::of(chronicle, day, &sender.borrow(), damage);
        anyhow::Ok((outcome, whole))
    };
    let seen = sender.subscribe();
    let showing = view::show(drawn, day, chronicle, &seen, &over);
    let playing = async {
        let played = playing.await;
        // whatever came of it, nobody looks on
        over.cancel();
        played
    };
    let (played, (), ()) = tokio::join!(playing, looking, showing);
    played
}

fn tell(
    wish: &Wish,
    outcome: &Outcome,
    ground: &Ground,
    chronicle: &Chronicle,
) -> anyhow::Result<()> {
    match wish.output.as_str() {
        "json" => print::put(&format!("{}\n", serde_json::to_string_pretty(outcome)?))?,
        _ => print::put(&format!("\n{}\n", outcome.table(&chronicle.words)))?,
    }
    if wish.report.is_empty() {
        return Ok(());
    }
    let page = Report {
        outcome,
        ledger: &chronicle.ledger(),
        counts: &chronicle.counts(),
        entries: &chronicle.entries(),
        words: &chronicle.words,
        nodes: ground.nodes.len(),
        peak: wish.peak,
    }
    .page();
    std::fs::write(&wish.report, page).with_context(|| format!("cannot write {}", wish.report))?;
    progress(&chronicle.words.say("written", &[&wish.report]));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish() -> Wish {
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
}
