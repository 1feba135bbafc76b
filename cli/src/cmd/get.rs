//! `get`: shows objects, once or as they change.
//! Invariant: what was found is printed even when something else was not, and the exit status says so.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/get/get.go`.

use crate::client::{Call, JSON, TABLE};
use crate::command::{Command, Run};
use crate::complete::Words;
use crate::context::Ctx;
use crate::error::{Error, Result};
use crate::flags::Flag;
use crate::print::table::{Options, TablePrinter};
use crate::print::tabwriter::TabWriter;
use crate::print::{self, ALLOWED_GET, Printer};
use crate::resource::rows::Keep;
use crate::resource::{
    Builder, CHUNKS, FIELD_SELECTOR, FILE_FLAGS, Found, Info, SELECTOR, is_list,
};
use serde_json::{Value, json};

const FLAGS: &[Flag] = &[
    Flag::str(
        "raw",
        '\0',
        "",
        "Ask the server for this path and print its answer as it is",
    ),
    Flag::bool(
        "watch",
        'w',
        false,
        "After showing the objects, show each change of them",
    ),
    Flag::bool("watch-only", '\0', false, "Show only changes"),
    Flag::bool(
        "output-watch-events",
        '\0',
        false,
        "With --watch or --watch-only, show what kind of event each change is",
    ),
    Flag::bool(
        "ignore-not-found",
        '\0',
        false,
        "Exit with 0 if an object is not there",
    ),
    Flag::bool(
        "all-namespaces",
        'A',
        false,
        "Show the objects of all namespaces",
    ),
    Flag::bool(
        "server-print",
        '\0',
        true,
        "Have the server make the columns",
    ),
    Flag::bool("no-headers", '\0', false, "Print no headers"),
    Flag::bool(
        "show-labels",
        '\0',
        false,
        "Show all labels as the last column",
    ),
    Flag::slice(
        "label-columns",
        'L',
        "Show these labels as columns; may be repeated",
    ),
    Flag::bool("show-kind", '\0', false, "Show the kind before each name"),
    Flag::str(
        "sort-by",
        '\0',
        "",
        "Sort by this field, given as a JSONPath expression ('{.metadata.name}')",
    ),
    Flag::str(
        "subresource",
        '\0',
        "",
        "Show this sub-resource instead of the object: status, scale or resize",
    ),
];

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
    flags: &[
        &[
            Flag::str(
                "output",
                'o',
                "",
                "How to show the objects: json, yaml, kyaml, name, wide, custom-columns, custom-columns-file, go-template, go-template-file, template, templatefile, jsonpath, jsonpath-as-json or jsonpath-file",
            ),
            Flag::bool(
                "allow-missing-template-keys",
                '\0',
                true,
                "A field that a template asks for and the object lacks is left empty instead of being an error",
            ),
            Flag::str("template", '\0', "", "The template, or the file with it, for -o go-template, go-template-file, jsonpath and jsonpath-file"),
            Flag::bool("show-managed-fields", '\0', false, "Keep managedFields when printing JSON or YAML"),
        ],
        FLAGS,
        FILE_FLAGS,
        SELECTOR,
        FIELD_SELECTOR,
        CHUNKS,
    ],
    run: Run::Verb(|ctx| Box::pin(run(ctx))),
    words: Some(Words::ANY),
    values: &[("output", Words::Fixed(FORMATS))],
    ..Command::NEW
};

async fn run(ctx: Ctx) -> Result<()> {
    let f = ctx.flags();
    if f.changed("raw") {
        return raw(&ctx).await;
    }
    check(&ctx)?;
    let format = print::format(f, ALLOWED_GET)?;
    if f.bool("watch") || f.bool("watch-only") {
        return crate::remote::interruptible(super::get_watch::run(&ctx, format)).await;
    }
    let mut builder = builder(&ctx, format.is_none())?;
    if !f.str("sort-by").is_empty() {
        builder.chunk = 0;
    }
    if builder.accept == TABLE && f.str("sort-by").is_empty() {
        builder.rows = Some(Keep {
            namespaces: f.bool("all-namespaces"),
            labels: f.bool("show-labels") || f.changed("label-columns"),
        });
    }
    let mut found = builder.find().await?.listed();
    if f.bool("ignore-not-found") {
        found.errors.retain(|e| !e.is_not_found());
    }
    match format {
        None => human(&ctx, found),
        Some(format) => generic(
            &ctx,
            found,
            Printer::of(format, "", f.bool("show-managed-fields")),
        ),
    }
}

fn check(ctx: &Ctx) -> Result<()> {
    let f = ctx.flags();
    let output = f.str("output");
    if f.bool("show-labels") && !output.is_empty() && output != "wide" {
        return Err(Error::msg(format!(
            "--show-labels option cannot be used with {output} printer"
        )));
    }
    if f.bool("output-watch-events") && !(f.bool("watch") || f.bool("watch-only")) {
        return Err(Error::msg(
            "--output-watch-events option can only be used with --watch or --watch-only",
        ));
    }
    if ctx.args().is_empty() && f.list("filename").is_empty() && f.str("kustomize").is_empty() {
        eprintln!(
            "You must specify the type of resource to get. Use \"{p} api-resources\" for a complete list of supported resources.\n",
            p = ctx.program()
        );
        let p = ctx.program();
        return Err(Error::usage(
            ctx.path(),
            format!(
                "Required resource not specified.\nUse \"{p} explain <resource>\" for a detailed description of that resource (e.g. {p} explain pods)."
            ),
        ));
    }
    Ok(())
}

async fn raw(ctx: &Ctx) -> Result<()> {
    let f = ctx.flags();
    if !ctx.args().is_empty() {
        return Err(Error::msg(
            "arguments may not be passed when --raw is specified",
        ));
    }
    if f.bool("watch") || f.bool("watch-only") || !f.str("selector").is_empty() {
        return Err(Error::msg(
            "--raw may not be specified with other flags that filter the server request or alter the output",
        ));
    }
    if !f.str("output").is_empty() {
        return Err(Error::msg("--raw and --output are mutually exclusive"));
    }
    if !f.str("raw").starts_with('/') {
        return Err(Error::msg(format!(
            "--raw must be a valid URL path: parse {}: invalid URI for request",
            crate::error::quote(f.str("raw"))
        )));
    }
    let response = ctx
        .client()?
        .stream(&Call::get(f.str("raw")).accept("*/*"))
        .await?;
    crate::remote::copy_body(response).await
}

/// The builder for the verb's flags; tables are asked for if they will be shown.
pub fn builder(ctx: &Ctx, table: bool) -> Result<Builder> {
    let f = ctx.flags();
    let mut b = Builder::new(ctx)?;
    b.allow_empty_selector = true;
    b.latest = true;
    b.accept = if table && f.bool("server-print") {
        TABLE
    } else {
        JSON
    };
    if table && !f.str("sort-by").is_empty() {
        b.parameters.push(("includeObject", "Object".into()));
    }
    Ok(b)
}

/// The options of the table for objects of this kind.
pub fn options(ctx: &Ctx, info: &Info, with_kind: bool) -> Options {
    let f = ctx.flags();
    Options {
        no_headers: f.bool("no-headers"),
        namespace: f.bool("all-namespaces") && info.resource.namespaced,
        wide: f.str("output") == "wide",
        show_labels: f.bool("show-labels"),
        label_columns: f.list("label-columns"),
        kind: (with_kind || f.bool("show-kind")).then(|| info.resource.kind_name()),
    }
}

fn human(ctx: &Ctx, mut found: Found) -> Result<()> {
    let f = ctx.flags();
    if !f.str("sort-by").is_empty() {
        super::get_sort::sort_tables(&mut found.infos, f.str("sort-by"))?;
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
    let (mut out, mut block_started) = (String::new(), false);
    let flush = |writer: &mut TabWriter, out: &mut String, block_started: &mut bool| {
        let text = writer.flush();
        if !text.is_empty() && *block_started && !out.is_empty() && !f.bool("no-headers") {
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
            current = Some((
                kinds(info),
                TablePrinter::new(options(ctx, info, with_kind)),
            ));
        }
        if let Some((_, printer)) = &mut current {
            writer.push(&printer.lines(&info.object, None));
        }
    }
    flush(&mut writer, &mut out, &mut block_started);
    print::put(&out)?;
    if out.is_empty() && found.errors.is_empty() && !f.bool("ignore-not-found") {
        let namespaced =
            !f.bool("all-namespaces") && found.infos.iter().all(|i| i.resource.namespaced);
        if namespaced {
            eprintln!("No resources found in {} namespace.", ctx.namespace()?.0)
        } else {
            eprintln!("No resources found")
        }
    }
    Error::collect(found.errors)
}

fn generic(ctx: &Ctx, mut found: Found, mut printer: Printer) -> Result<()> {
    let f = ctx.flags();
    if found.single && !found.errors.is_empty() && found.infos.is_empty() {
        return Error::collect(found.errors);
    }
    if found.infos.is_empty() && f.bool("ignore-not-found") {
        return Error::collect(found.errors);
    }
    if !f.str("sort-by").is_empty() {
        super::get_sort::sort_objects(&mut found.infos, f.str("sort-by"))?;
    }
    let single = found.single && found.infos.len() == 1;
    let object = if single {
        let object = found.infos.remove(0).object;
        if is_list(&object) {
            json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": object["metadata"]["resourceVersion"]}, "items": object["items"]})
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
