//! `get`: shows objects, once or as they change.
//! Invariant: what was found is printed even when something else was not, and the exit status says so.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/get/get.go`.

use crate::client::{Call, JSON, TABLE};
use crate::command::{Command, verb};
use crate::complete::Words;
use crate::context::With;
use crate::error::{Error, Result, bail};
use crate::flags::{Csv, Listed};
use crate::print::table::{Options, TablePrinter};
use crate::print::tabwriter::TabWriter;
use crate::print::{self, ALLOWED_GET, Format, Printer};
use crate::resource::rows::RowParts;
use crate::resource::{
    Builder, CHUNKS, FIELD_SELECTOR, FILE_FLAGS, Found, Info, SELECTOR, is_list,
};
use crate::typed::Read;
use serde_json::{Value, json};

/// What `-o` may be.
const FORMATS: &[&str] = &[
    "json",
    "yaml",
    "kyaml",
    "name",
    "go-template",
    "go-template-file",
    "template",
    "templatefile",
    "jsonpath",
    "jsonpath-as-json",
    "jsonpath-file",
    "custom-columns",
    "custom-columns-file",
    "wide",
];

pub static COMMAND: Command = Command {
    name: "get",
    suggest_for: &["list", "ls"],
    usage: "[(-o|--output=)custom-columns|custom-columns-file|go-template|go-template-file|json|jsonpath|jsonpath-as-json|jsonpath-file|kyaml|name|template|templatefile|wide|yaml] (TYPE[.VERSION][.GROUP] [NAME | -l label] | TYPE[.VERSION][.GROUP]/NAME ...) [flags]",
    short: "Display one or many resources",
    long: "Show objects: a table of what matters most, or with -o everything about them.\n\n Objects of one namespace are shown unless --all-namespaces is given. A selector narrows them down.\n\nUse \"kubectl api-resources\" for a complete list of supported resources.",
    examples: "
      # The pods of this namespace
      kubectl get pods
      # With more columns
      kubectl get pods -o wide
      # One replication controller
      kubectl get replicationcontroller web
      # Deployments of one group and version, as JSON
      kubectl get deployments.v1.apps -o json
      # The pod that a file describes
      kubectl get -f pod.yaml -o json
      # One field
      kubectl get -o template pod/web-pod-13je7 --template={{.status.phase}}
      # Columns of one's own
      kubectl get pod test-pod -o custom-columns=CONTAINER:.spec.containers[0].name,IMAGE:.spec.containers[0].image
      # Several kinds at once
      kubectl get deployments,services
      # One pod's status sub-resource
      kubectl get pod web-pod-13je7 --subresource status",
    flags: &[print::TEMPLATE_FLAGS, FILE_FLAGS, SELECTOR, FIELD_SELECTOR, CHUNKS],
    beyond: &["really"],
    run: verb!(run: Flags),
    words: Some(Words::ANY),
    values: &[("output", Words::Fixed(FORMATS))],
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
pub struct Flags {
    /// How to show the objects: json, yaml, kyaml, name, wide, custom-columns, custom-columns-file, go-template, go-template-file, template, templatefile, jsonpath, jsonpath-as-json or jsonpath-file
    #[arg(long, short)]
    output: String,
    /// Ask the server for this path and print its answer as it is
    #[arg(long)]
    raw: Option<String>,
    /// After showing the objects, show each change of them
    #[arg(long, short)]
    watch: bool,
    /// Show only changes
    #[arg(long)]
    pub watch_only: bool,
    /// With --watch or --watch-only, show what kind of event each change is
    #[arg(long)]
    pub output_watch_events: bool,
    /// Exit with 0 if an object is not there
    #[arg(long)]
    pub ignore_not_found: bool,
    /// Show the objects of all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// Have the server make the columns
    #[arg(long, default_value = "true")]
    server_print: bool,
    /// Print no headers
    #[arg(long)]
    no_headers: bool,
    /// Show all labels as the last column
    #[arg(long)]
    show_labels: bool,
    /// Show these labels as columns; may be repeated
    #[arg(long, short = 'L')]
    label_columns: Vec<Csv>,
    /// Show the kind before each name
    #[arg(long)]
    show_kind: bool,
    /// Sort by this field, given as a JSONPath expression ('{.metadata.name}')
    #[arg(long)]
    pub sort_by: String,
    /// Show this sub-resource instead of the object: status, scale or resize
    #[arg(long)]
    subresource: String,
    /// Of "all": really all kinds that a namespace can have, custom ones too
    #[arg(long)]
    really: bool,
}

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    if let Some(path) = f.raw.as_deref().filter(|path| !path.is_empty()) {
        return raw(&ctx, path).await;
    }
    ctx.namespace()?;
    check(&ctx)?;
    let format = print::format(&ctx, ALLOWED_GET);
    if f.watch || f.watch_only {
        return crate::remote::interruptible(super::get_watch::run(&ctx, format?)).await;
    }
    // a format that cannot be is told of when the objects are there
    let is_human = matches!(format, Ok(None));
    let mut builder = builder(&ctx, is_human)?;
    if f.really {
        builder = builder.args(&[every_kind(&ctx).await?]);
    }
    if !f.sort_by.is_empty() {
        builder.chunk = 0;
    }
    let mut found = builder.find().await?;
    if f.ignore_not_found {
        found.ignore_absent();
    }
    let found = found.listed();
    if is_human {
        return human(&ctx, found);
    }
    let failed = found.is_one() && !found.errors.is_empty();
    if failed || found.infos.is_empty() && f.ignore_not_found {
        return Error::collect(found.errors);
    }
    let format = format?.unwrap_or(Format::Yaml);
    let printer = Printer::of(format, "", ctx.shows_managed_fields());
    generic(&ctx, found, printer)
}

/// All kinds that a namespace can have and that can be listed, as one word. Events are about the others, endpoints stand in slices, and what pods use is measured.
async fn every_kind(ctx: &With<Flags>) -> Result<String> {
    if ctx.args() != ["all"] {
        bail!("--really goes with \"all\" alone: get all --really");
    }
    let served = ctx.discovery()?.served().await?;
    let mut known = std::collections::HashSet::new();
    let kinds = served.resources.iter().filter(|r| {
        let beside = matches!(
            (r.group.as_str(), r.plural.as_str()),
            (_, "events") | ("", "endpoints") | ("metrics.k8s.io", _)
        );
        r.namespaced && r.can("list") && !beside && known.insert((&r.group, &r.plural))
    });
    let words = kinds.map(|r| match r.group.as_str() {
        "" => r.plural.clone(),
        group => format!("{}.{}.{group}", r.plural, r.version),
    });
    Ok(words.collect::<Vec<_>>().join(","))
}

fn check(ctx: &With<Flags>) -> Result<()> {
    let f = ctx.flags();
    let output = f.output.as_str();
    if f.show_labels && !output.is_empty() && output != "wide" {
        bail!("--show-labels option cannot be used with {output} printer");
    }
    if f.output_watch_events && !(f.watch || f.watch_only) {
        bail!("--output-watch-events option can only be used with --watch or --watch-only");
    }
    if ctx.args().is_empty() && !ctx.has_files() {
        eprintln!(
            "You must specify the type of resource to get. Use \"{p} api-resources\" for a complete list of supported resources.\n",
            p = ctx.program()
        );
        let p = ctx.program();
        return Err(ctx.usage(format!(
                "Required resource not specified.\nUse \"{p} explain <resource>\" for a detailed description of that resource (e.g. {p} explain pods)."
            )));
    }
    Ok(())
}

async fn raw(ctx: &With<Flags>, path: &str) -> Result<()> {
    let f = ctx.flags();
    if !ctx.args().is_empty() {
        bail!("arguments may not be passed when --raw is specified");
    }
    if f.watch || f.watch_only || !ctx.selector().is_empty() {
        bail!(
            "--raw may not be specified with other flags that filter the server request or alter the output"
        );
    }
    if !f.output.is_empty() {
        bail!("--raw and --output are mutually exclusive");
    }
    let path = super::raw_uri(path)?;
    let response = ctx.client()?.stream(&Call::raw(path)).await?;
    crate::remote::copy_body(response).await
}

/// The builder for the verb's flags; tables are asked for if they will be shown.
pub fn builder(ctx: &With<Flags>, table: bool) -> Result<Builder> {
    let f = ctx.flags();
    let mut b = Builder::new(ctx)?;
    b.allow_empty_selector = true;
    b.latest = true;
    b.subresource.clone_from(&f.subresource);
    b.accept = if table && f.server_print { TABLE } else { JSON };
    if table && !f.sort_by.is_empty() {
        b.parameters.push(("includeObject", "Object".into()));
    } else if b.accept == TABLE {
        b.rows = Some(RowParts {
            namespaces: f.all_namespaces,
            labels: f.show_labels || !f.label_columns.is_empty(),
        });
    }
    Ok(b)
}

/// The options of the table for objects of this kind.
pub fn options(ctx: &With<Flags>, info: &Info, with_kind: bool) -> Options {
    let f = ctx.flags();
    Options {
        no_headers: f.no_headers,
        namespace: f.all_namespaces,
        wide: f.output == "wide",
        show_labels: f.show_labels,
        label_columns: f.label_columns.list(),
        kind: (with_kind || f.show_kind).then(|| info.resource.kind_name()),
    }
}

pub fn human(ctx: &With<Flags>, mut found: Found) -> Result<()> {
    let f = ctx.flags();
    if !f.sort_by.is_empty() {
        super::get_sort::sort_tables(&mut found.infos, f.sort_by.as_str())?;
    }
    let kinds = |i: &Info| {
        (
            i.resource.group.clone(),
            i.resource.version.clone(),
            i.resource.kind.clone(),
        )
    };
    let with_kind = found
        .infos
        .iter()
        .any(|i| kinds(i) != kinds(&found.infos[0]));
    let mut writer = TabWriter::table();
    let mut current: Option<(_, TablePrinter)> = None;
    // once a table has namespaces, those after it have a column for them, too
    let mut namespaces = false;
    let (mut out, mut block_started) = (String::new(), false);
    let flush = |writer: &mut TabWriter, out: &mut String, block_started: &mut bool| {
        let text = writer.flush();
        if !text.is_empty() && *block_started && !out.is_empty() && !f.no_headers {
            out.push('\n');
        }
        *block_started &= text.is_empty();
        out.push_str(&text);
    };
    for info in &found.infos {
        if current.as_ref().is_none_or(|(k, _)| *k != kinds(info)) {
            flush(&mut writer, &mut out, &mut block_started);
            writer.forget();
            block_started = true;
            namespaces |= f.all_namespaces && info.resource.namespaced;
            let options = Options {
                namespace: namespaces,
                ..options(ctx, info, with_kind)
            };
            current = Some((kinds(info), TablePrinter::new(options)));
        }
        if let Some((_, printer)) = &mut current {
            writer.push(&printer.lines(&info.object, None));
        }
    }
    flush(&mut writer, &mut out, &mut block_started);
    print::put(&out)?;
    if out.is_empty() && found.errors.is_empty() && !f.ignore_not_found {
        let namespaced = !f.all_namespaces && found.infos.iter().all(|i| i.resource.namespaced);
        ctx.tell_none(!namespaced)?;
    }
    Error::collect(found.errors)
}

fn generic(ctx: &With<Flags>, mut found: Found, mut printer: Printer) -> Result<()> {
    let f = ctx.flags();
    let single = found.single && found.infos.len() == 1;
    if !f.sort_by.is_empty() && !single {
        super::get_sort::sort_objects(&mut found.infos, f.sort_by.as_str())?;
    }
    let object = if single {
        let object = found.infos.remove(0).object;
        if is_list(&object) {
            json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": object.at("metadata").at("resourceVersion")}, "items": object.at("items")})
        } else {
            object
        }
    } else {
        let items: Vec<Value> = found.infos.into_iter().map(|i| i.object).collect();
        json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": ""}, "items": items})
    };
    if let Err(e) = printer.print(&object) {
        found.errors.push(e);
    }
    Error::collect(found.errors)
}
