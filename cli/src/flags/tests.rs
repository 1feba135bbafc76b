//! Command lines, and what is said of those that are wrong.

use super::*;

#[derive(clap::Args)]
struct Flags {
    #[arg(long, short)]
    output: String,
    #[arg(long, short)]
    watch: bool,
    #[arg(long, short)]
    tty: bool,
    #[arg(long, short = 'L')]
    label: Vec<Csv>,
    #[arg(long, short)]
    env: Vec<String>,
    #[arg(long)]
    set: Vec<Pairs>,
    #[arg(long, default_value = "1")]
    replicas: i64,
    #[arg(long, default_value = "none", num_args = 0..=1, require_equals = true, default_missing_value = "unchanged")]
    dry_run: String,
    #[arg(long)]
    tail: Option<i64>,
    #[arg(long)]
    since: f64,
}

const OLD: Refused = Refused::switch("old", "it is gone");

fn read(line: &str) -> Result<(Flags, Line), String> {
    let words: Vec<String> = line.split_whitespace().map(String::from).collect();
    let command = group::<Flags>(Command::new("")).mut_args(as_pflag);
    let line = super::read(&words, command.arg(OLD.arg())).map_err(|why| why.to_string())?;
    Ok((line.flags(), line))
}

#[test]
fn values_are_found_wherever_they_stand() {
    let (f, line) = read(
        "a -ojson --watch -L a,b -L c -e x=1,2 -e y --dry-run --replicas -3 --since 1m b -- -o z",
    )
    .unwrap();
    assert_eq!(
        (f.output.as_str(), f.watch, f.dry_run.as_str(), f.replicas),
        ("json", true, "unchanged", -3)
    );
    assert_eq!(f.label.list(), ["a", "b", "c"]);
    assert_eq!(f.env, ["x=1,2", "y"]);
    assert_eq!((f.since, f.tail), (60.0, None));
    assert_eq!(line.args, ["a", "b", "-o", "z"]);
    assert_eq!(line.dash, Some(2));
    let (f, _) = read("-wto=name").unwrap();
    assert!(f.watch && f.tty && f.output == "name");
    assert!(!read("--watch=false").unwrap().0.watch);
    let (f, line) = read("-wo -- --dry_run=server --tail -1 --set a=b,c=d -t=false -").unwrap();
    assert_eq!((f.output.as_str(), f.dry_run.as_str()), ("--", "server"));
    assert_eq!((f.tail, f.tty, line.dash), (Some(-1), false, None));
    assert_eq!(
        (f.set.list(), line.args),
        (vec!["a=b".into(), "c=d".into()], vec!["-".into()])
    );
    let (f, line) = read("--output=a --output=b -o= --").unwrap();
    // behind a letter, a `=` alone is the value
    assert_eq!((f.output.as_str(), line.dash), ("=", Some(0)));
}

#[test]
fn mistakes_are_worded_as_pflag_words_them() {
    for (line, want) in [
        ("--nosuch", "unknown flag: --nosuch"),
        ("--nosuch=x", "unknown flag: --nosuch"),
        ("--no_such a", "unknown flag: --no-such"),
        ("-Z", "unknown shorthand flag: 'Z' in -Z"),
        ("-wZ", "unknown shorthand flag: 'Z' in -Z"),
        ("-w a -tZo", "unknown shorthand flag: 'Z' in -Zo"),
        ("---x", "bad flag syntax: ---x"),
        ("--=x", "bad flag syntax: --=x"),
        ("-o", "flag needs an argument: 'o' in -o"),
        ("-wo", "flag needs an argument: 'o' in -o"),
        ("--output", "flag needs an argument: --output"),
        (
            "--replicas=x",
            "invalid argument \"x\" for \"--replicas\" flag: strconv.ParseInt: parsing \"x\": invalid syntax",
        ),
        (
            "--replicas x --nosuch",
            "invalid argument \"x\" for \"--replicas\" flag: strconv.ParseInt: parsing \"x\": invalid syntax",
        ),
        (
            "-w=x",
            "invalid argument \"x\" for \"-w, --watch\" flag: strconv.ParseBool: parsing \"x\": invalid syntax",
        ),
        (
            "--watch=",
            "invalid argument \"\" for \"-w, --watch\" flag: strconv.ParseBool: parsing \"\": invalid syntax",
        ),
        (
            "--since 5",
            "invalid argument \"5\" for \"--since\" flag: time: missing unit in duration \"5\"",
        ),
        (
            "--set a=b,c=d,e",
            "invalid argument \"a=b,c=d,e\" for \"--set\" flag: e must be formatted as key=value",
        ),
        ("--old", "flag --old is not supported: it is gone"),
    ] {
        assert_eq!(read(line).map(drop).unwrap_err(), want, "{line}");
    }
}

#[test]
fn help_shows_what_a_flag_is_without_being_given() {
    let command = group::<Flags>(Command::new("")).mut_args(as_pflag);
    let shown = |name: &str| shown_default(named(&command, name).unwrap());
    for (name, want) in [
        ("output", "''"),
        ("watch", "false"),
        ("label", "[]"),
        ("replicas", "1"),
        ("dry-run", "'none'"),
        ("tail", "0"),
        ("since", "0s"),
    ] {
        assert_eq!(shown(name), want, "{name}");
    }
}

#[test]
fn durations_are_read_as_go_reads_them() {
    for (text, want) in [
        ("1m30s", Some(90.0)),
        ("-1h", Some(-3600.0)),
        ("0", Some(0.0)),
        ("500ms", Some(0.5)),
        ("5", None),
        ("x", None),
        ("", None),
    ] {
        assert_eq!(parse_duration(text).ok(), want, "{text}");
    }
}
