//! `get --watch`: the objects, then each change of them.
//! Invariant: no change is missed or shown twice. The watch of a collection begins at the revision at which it was listed; that of one object begins now,
//! since the last change of an object may be older than what servers remember, and what was shown already is left out.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/get/get.go`.

use super::get::Flags;
use crate::client::{Call, query};
use crate::context::{Ctx, With};
use crate::error::{Error, Result, bail, message};
use crate::print::table::TablePrinter;
use crate::print::tabwriter::TabWriter;
use crate::print::{self, Format, Printer};
use crate::resource::Info;
use crate::typed::Read;
use serde_json::{Value, json};

enum Output {
    Table(TablePrinter, TabWriter),
    Objects(Printer),
}

impl Output {
    fn show(&mut self, object: &Value, event: Option<&str>) -> Result<()> {
        match self {
            Output::Table(table, writer) => {
                writer.push(&table.lines(object, event));
                print::put(&writer.flush())
            }
            Output::Objects(printer) => match event {
                Some(kind) => printer.print_event(kind, object),
                None => printer.print(object),
            },
        }
    }
}

/// Shows and watches what the command line names: one object or one collection.
pub async fn run(ctx: &With<Flags>, format: Option<Format>) -> Result<()> {
    let f = ctx.flags();
    if !f.sort_by.is_empty() {
        eprintln!(
            "warning: --watch requested, --sort-by will be ignored for watch events received"
        );
    }
    let mut builder = super::get::builder(ctx, format.is_none())?;
    builder.subresource.clear();
    builder.single_type = true;
    builder.continue_on_error = false;
    builder.flatten = false;
    builder.chunk = 0;
    let mut found = builder.find().await?;
    if f.ignore_not_found {
        found.ignore_absent();
    }
    Error::collect(std::mem::take(&mut found.errors))?;
    if found.infos.is_empty() {
        return Ok(());
    }
    if let (None, [one]) = (&format, found.infos.as_mut_slice())
        && !f.sort_by.is_empty()
    {
        super::get_sort::sort_table(one, &f.sort_by)
            .map_err(|why| message!("unable to output the provided object: {why}"))?;
    }
    let events = f.output_watch_events;
    let mut output = match format {
        None => Output::Table(
            TablePrinter::new(super::get::options(ctx, &found.infos[0], false)),
            TabWriter::table(),
        ),
        Some(format) => Output::Objects(Printer::of(format, "", ctx.shows_managed_fields())),
    };
    for info in found.infos.iter().filter(|_| !f.watch_only) {
        show_first(&mut output, info, events.then_some("ADDED"))?;
    }
    let info = match found.infos.as_slice() {
        [one] => one,
        several if found.one_file == Some(true) => bail!(
            "watch is only supported on individual resources and resource collections - {} resources were found",
            several.len()
        ),
        _ => bail!("you may only watch a single resource or type of resource at a time"),
    };
    let by_name = found.by_name;
    watch(
        ctx,
        info,
        by_name,
        builder.accept,
        &builder.selector,
        &builder.field_selector,
        |kind, object| {
            let told = events.then_some(kind);
            output.show(object, told)
        },
    )
    .await
}

fn show_first(output: &mut Output, info: &Info, event: Option<&str>) -> Result<()> {
    let object = &info.object;
    let items = if object.text("kind") == "Table" {
        None
    } else {
        object.at("items").as_array()
    };
    let Some(items) = items else {
        return output.show(object, event);
    };
    // in a list they do not say what they are
    let (api_version, kind) = (info.resource.api_version(), &info.resource.kind);
    items.iter().try_for_each(|item| {
        let mut item = item.clone();
        item["apiVersion"] = json!(api_version);
        item["kind"] = json!(kind);
        output.show(&item, event)
    })
}

/// The version of an object, or of the first row of a table.
fn version(object: &Value) -> Option<&str> {
    let row = object["rows"][0]["object"]["metadata"]["resourceVersion"].as_str();
    row.or_else(|| object.at("metadata").text_ptr("resourceVersion"))
}

/// Follows changes until the server ends the watch; the first event of a named object is left out if it was shown.
async fn watch(
    ctx: &Ctx,
    info: &Info,
    by_name: bool,
    accept: &'static str,
    label: &Option<String>,
    field: &Option<String>,
    mut show: impl FnMut(&str, &Value) -> Result<()>,
) -> Result<()> {
    let had = version(&info.object).unwrap_or("0");
    let revision = match by_name {
        true => "0".to_string(),
        false => (info.object.at("metadata").text_ptr("resourceVersion"))
            .unwrap_or(had)
            .to_string(),
    };
    let name_field = format!("metadata.name={}", info.name);
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    let field = if by_name {
        Some(name_field.as_str())
    } else {
        field.as_deref()
    };
    if let Some(s) = field {
        pairs.push(("fieldSelector", s));
    }
    if let Some(s) = label.as_deref().filter(|_| !by_name) {
        pairs.push(("labelSelector", s));
    }
    pairs.extend([("resourceVersion", revision.as_str()), ("watch", "true")]);
    let timeout = ctx.client()?.timeout();
    let text = timeout.map(|t| format!("{}s", t.as_secs().max(1)));
    if let Some(t) = &text {
        pairs.push(("timeout", t));
    }
    let path = format!(
        "{}{}",
        info.resource.collection(Some(&info.namespace)),
        query(&pairs)
    );
    let call = Call::get(path).accept(accept);
    let mut lines = crate::remote::JsonLines::of(ctx.client()?, &call).await?;
    let mut first = by_name;
    while let Some(event) = lines.next().await? {
        let kind = event.text("type");
        if kind == "ERROR" {
            return Err(Error::Status(Box::new(event.at("object").clone())));
        }
        let shown = std::mem::take(&mut first)
            && kind == "ADDED"
            && version(event.at("object")) == Some(had);
        if kind != "BOOKMARK" && !shown {
            show(kind, event.at("object"))?;
        }
    }
    Ok(())
}
