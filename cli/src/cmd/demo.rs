//! `skiff demo black-friday`: a shop's busiest day, played on a cluster and told as it goes.
//! Invariant: nothing of it is left behind, whichever way it ends, unless `--keep` asks for it.

use crate::{
    cluster,
    command::{Command, raw},
    demo::{self, Wish},
    flags::Line,
};

static BLACK_FRIDAY: Command = Command {
    name: "black-friday",
    usage: "[--nodes N] [--length 3m] [--report FILE.html] [--lang en|fr]",
    short: "Play a shop's busiest day, with load, failures, an update and a thief",
    long: "Plays a shop's busiest day on the cluster that runs, or on one that it starts and ends (needs root): a crowd that swells tenfold and leaves, an autoscaler that opens and \
           closes tills, tills that are killed, a node that is cut off, a new version in the midst of it, and a thief who tries to get past network policies. Draws it in the \
           terminal, and ends with a table of what was measured. All of it is in the namespace 'black-friday', which is removed at the end.",
    examples: "# The whole day, drawn in the terminal\nskiff demo black-friday\n# A short one, with a page to look at afterwards\nskiff demo black-friday --length 90s --report day.html\n# In French, and what was measured as JSON\nskiff demo black-friday --lang fr -o json",
    run: raw!(black_friday: Flags),
    ..Command::NEW
};

pub static COMMAND: Command = Command {
    name: "demo",
    short: "Play a demonstration on a cluster",
    long: "Plays a demonstration on the cluster that runs, or on one that it starts.",
    subcommands: &[&BLACK_FRIDAY],
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// How many nodes the cluster has, where one is started
    #[arg(long, default_value = "3")]
    nodes: i64,
    /// How long the day is, from opening to closing
    #[arg(long, default_value = "3m")]
    length: f64,
    /// Requests a second when the crowd is largest; a tenth of it comes all day
    #[arg(long, default_value = "150")]
    peak: i64,
    /// Write the day with its plots into this file, as a page of HTML
    #[arg(long)]
    report: String,
    /// The language: en or fr
    #[arg(long, default_value = "en")]
    lang: String,
    /// What is left to chance goes by this number
    #[arg(long, default_value = "1")]
    seed: i64,
    /// Lines instead of a drawing, as where there is no terminal
    #[arg(long)]
    plain: bool,
    /// Leave the shop, and a cluster that was started, as they are at the end of the day
    #[arg(long)]
    keep: bool,
    /// How what was measured is printed: json, or nothing for a table
    #[arg(long, short)]
    output: String,
    /// The kubeconfig that names the cluster that runs; by default $KUBECONFIG or ~/.kube/config
    #[arg(long)]
    kubeconfig: String,
    /// Where the state of the cluster that runs is, by which its nodes and containers are found on this machine; by default as for 'up'
    #[arg(long)]
    data_dir: String,
}

fn black_friday(flags: Flags, line: Line) -> i32 {
    cluster::run_alone("demo black-friday", &line, async {
        demo::black_friday(Wish {
            nodes: flags.nodes,
            length: flags.length,
            peak: flags.peak,
            report: flags.report,
            lang: flags.lang,
            seed: flags.seed,
            plain: flags.plain,
            keep: flags.keep,
            output: flags.output,
            kubeconfig: flags.kubeconfig,
            data_dir: flags.data_dir,
        })
        .await
    })
}
