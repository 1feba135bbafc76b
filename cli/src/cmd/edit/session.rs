//! The loop of editing: file, editor, what changed, what the server says of it, and again.
//! Invariant: the loop ends when the user leaves the file as it is; a file with changes that were not saved stays, and is named.
//! Behaviour follows `EditOptions.Run` in `staging/src/k8s.io/kubectl/pkg/cmd/util/editor/editoptions.go`.

use super::results::{Reason, Results};
use crate::context::Ctx;
use crate::edit::{edit, meaning, without_comment_lines};
use crate::error::{Error, Result, bail, message, quote};
use crate::generate::{LAST_APPLIED, save_read_config};
use crate::print::{self, Format, Printer, without_managed_fields};
use crate::resource::{Builder, Info, Validation, files, helper};
use crate::typed::{MERGE, Read};
use serde_json::{Value, json};
use std::path::Path;

/// What is edited, and what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Objects of the server; changes are sent as patches.
    Normal,
    /// An object that is not there yet.
    BeforeCreate,
    /// What objects were last applied as.
    LastApplied,
}

impl Mode {
    fn instructions(self) -> &'static str {
        match self {
            Mode::LastApplied => {
                "# Please edit the 'last-applied-configuration' annotations below.\n# Lines beginning with a '#' will be ignored, and an empty file will abort the edit.\n#\n"
            }
            Mode::Normal | Mode::BeforeCreate => {
                "# Please edit the object below. Lines beginning with a '#' will be ignored,\n# and an empty file will abort the edit. If an error occurs while saving this file will be\n# reopened with the relevant failures.\n#\n"
            }
        }
    }
}

/// How the objects stand in the file.
struct Layout {
    format: Format,
    json: bool,
    windows: bool,
}

impl Layout {
    fn of(ctx: &Ctx) -> Result<Layout> {
        let word = ctx.output().to_lowercase();
        let format = match word.as_str() {
            "json" => Format::Json,
            "" | "yaml" => Format::Yaml,
            "kyaml" => Format::Kyaml,
            other => return Err(print::no_printer(other, "json,kyaml,yaml")),
        };
        Ok(Layout {
            format,
            json: word == "json",
            windows: ctx.shared().line_endings.windows_line_endings,
        })
    }

    fn suffix(&self) -> &'static str {
        if self.json { ".json" } else { ".yaml" }
    }

    fn objects(&self, objects: &Value) -> String {
        self.lines(match self.format {
            Format::Json => print::json::pretty(objects),
            Format::Kyaml => print::kyaml::write(objects, print::order::Order::Sorted),
            _ => crate::yaml::write(objects),
        })
    }

    fn lines(&self, text: String) -> String {
        if self.windows {
            text.replace('\n', "\r\n")
        } else {
            text
        }
    }
}

/// One edit of one file.
pub struct Session {
    ctx: Ctx,
    mode: Mode,
    layout: Layout,
    builder: Builder,
    validation: Validation,
    namespace: String,
    /// The part of the objects that is edited; empty for the whole.
    pub subresource: String,
    /// Show the patches that are sent.
    pub output_patch: bool,
}

/// How a pass ended.
enum Pass {
    Again,
    Done,
}

impl Session {
    /// For the verb's flags.
    ///
    /// # Errors
    /// Flags that do not go together, a layout that is neither YAML nor JSON.
    pub fn new(ctx: &Ctx, mode: Mode) -> Result<Session> {
        let namespace = ctx.namespace()?.0;
        let mut builder = Builder::new(ctx)?.args(&[]);
        builder.default_namespace = false;
        builder.require_namespace = false;
        builder.selector = None;
        Ok(Session {
            ctx: ctx.clone(),
            mode,
            layout: Layout::of(ctx)?,
            builder,
            validation: Validation::of(ctx)?.unwrap_or(Validation::Strict),
            namespace,
            subresource: String::new(),
            output_patch: false,
        })
    }

    /// The objects of an edited text.
    ///
    /// # Errors
    /// A text that cannot be read, kinds that are not served.
    pub async fn read(&mut self, text: &str) -> Result<Vec<Info>> {
        self.builder.of_text("edited-file", text).await?.all()
    }

    /// Edits the objects until they are taken or given up.
    ///
    /// # Errors
    /// What ended it otherwise; what was written is then in a file that standard error names.
    pub async fn edit(mut self, infos: &[Info]) -> Result<()> {
        let mut results = Results::default();
        let (mut original, mut edited, mut wrong) = (String::new(), String::new(), false);
        loop {
            let mut text = if self.layout.json {
                String::new()
            } else {
                self.layout.lines(results.header(self.mode.instructions()))
            };
            text += &if wrong {
                without_comment_lines(&edited)
            } else {
                self.layout.objects(&listed(infos))
            };
            if !wrong {
                original.clone_from(&text);
            }
            let opened = edit(self.ctx.program(), &text, self.layout.suffix());
            let (after, file) = opened.map_err(|e| preserved(e, results.file.as_deref()))?;
            let before = std::mem::replace(&mut edited, after);
            if wrong && meaning(&before) == meaning(&edited) {
                return Err(preserved(
                    Error::msg("Edit cancelled, no valid changes were saved."),
                    Some(&file),
                ));
            }
            if let Some(last) = results.file.take() {
                remove_quietly(&last);
            }
            results = Results {
                file: Some(file),
                ..Results::default()
            };
            match self.pass(infos, &original, &edited, &mut results).await? {
                Pass::Done => return Ok(()),
                Pass::Again => wrong = true,
            }
        }
    }

    async fn pass(
        &mut self,
        infos: &[Info],
        original: &str,
        edited: &str,
        results: &mut Results,
    ) -> Result<Pass> {
        let forget = |results: &Results| results.file.iter().for_each(|file| remove_quietly(file));
        if self.validation != Validation::Ignore
            && let Err(why) = files::check_text(edited)
        {
            eprintln!(
                "{}",
                results.add_unreadable(&why, &infos[0].resource, &infos[0].name)
            );
            return Ok(Pass::Again);
        }
        if meaning(original) == meaning(edited) {
            forget(results);
            eprintln!("Edit cancelled, no changes made.");
            return Ok(Pass::Done);
        }
        if without_comment_lines(edited).trim().is_empty() {
            forget(results);
            eprintln!("Edit cancelled, saved file was empty.");
            return Ok(Pass::Done);
        }
        let updated = match self.read(edited).await {
            Ok(list) => list,
            Err(e) => {
                results.reasons.push(Reason {
                    head: format!("The edited file had a syntax error: {e}"),
                    others: vec![],
                });
                return Ok(Pass::Again);
            }
        };
        if let Err(e) = self.send(infos, updated, results).await {
            return Err(preserved(e, results.file.as_deref()));
        }
        let file = results
            .file
            .as_deref()
            .unwrap_or(Path::new(""))
            .display()
            .to_string();
        if results.retryable > 0 {
            eprintln!(
                "You can run `{} replace -f {file}` to try this update again.",
                self.ctx.program()
            );
            return Err(Error::Exit(1));
        }
        if results.not_found > 0 {
            eprintln!(
                "The edits you made on deleted resources have been saved to {}",
                quote(&file)
            );
            return Err(Error::Exit(1));
        }
        if results.invalid > 0 {
            return Ok(Pass::Again);
        }
        forget(results);
        Ok(Pass::Done)
    }

    async fn send(
        &self,
        infos: &[Info],
        mut updated: Vec<Info>,
        results: &mut Results,
    ) -> Result<()> {
        for info in &mut updated {
            self.require_namespace(info)?;
        }
        if self.ctx.saves_config() {
            for info in &mut updated {
                // What was not shown is kept, too.
                let same = |other: &&Info| other.name_line() == info.name_line();
                let fields = infos.iter().find(same).map(|original| {
                    let metadata = original.object.at("metadata");
                    metadata.at("managedFields").clone()
                });
                if let Some(fields) = fields.filter(Value::is_array) {
                    info.object["metadata"]["managedFields"] = fields;
                }
                save_read_config(&mut info.object);
            }
        }
        for info in updated {
            match self.mode {
                Mode::BeforeCreate => self.create(&info).await?,
                Mode::Normal | Mode::LastApplied => {
                    let before = original_of(infos, &info)?;
                    let info = Info {
                        object: without_managed_fields(&info.object),
                        ..info
                    };
                    if before == info.object {
                        self.print("skipped", &info.object)?;
                    } else if self.mode == Mode::Normal {
                        self.patch(&before, &info, results).await?;
                    } else {
                        self.annotate(&info).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// An edit does not move an object into another namespace.
    fn require_namespace(&self, info: &mut Info) -> Result<()> {
        if !info.resource.namespaced {
            return Ok(());
        }
        if info.namespace.is_empty() {
            info.namespace.clone_from(&self.namespace);
            info.object["metadata"]["namespace"] = json!(self.namespace);
        }
        if info.namespace == self.namespace {
            Ok(())
        } else {
            Err(crate::resource::builder::other_namespace(
                &info.namespace,
                &self.namespace,
            ))
        }
    }

    fn print(&self, operation: &str, object: &Value) -> Result<()> {
        Printer::new(&self.ctx, operation)?.print(object)
    }

    fn write(&self) -> Result<helper::Write> {
        Ok(helper::Write::by(self.ctx.manager(), self.ctx.dry_run()?)
            .validation(self.validation)
            .subresource(&self.subresource))
    }

    async fn patch(&self, before: &Value, info: &Info, results: &mut Results) -> Result<()> {
        let named = |o: &Value| {
            (
                o.at("apiVersion").clone(),
                o.at("kind").clone(),
                o.at("metadata").at("name").clone(),
            )
        };
        if named(before) != named(&info.object) {
            bail!("At least one of apiVersion, kind and name was changed");
        }
        let (patch, kind) = crate::typed::patch(before, &info.object).map_err(Error::msg)?;
        if self.output_patch {
            print::put(&format!("Patch: {}\n", print::json::compact(&patch)))?;
        }
        match self
            .write()?
            .patch_of(self.ctx.client()?, info, kind, &patch)
            .await
        {
            Ok(object) => self.print("edited", &object),
            Err(e) => {
                eprintln!("{}", results.add(&e, &info.resource, &info.name));
                Ok(())
            }
        }
    }

    async fn annotate(&self, info: &Info) -> Result<()> {
        let patch = json!({"metadata": {"annotations": {LAST_APPLIED: print::json::compact(&info.object) + "\n"}}});
        self.write()?
            .patch(
                self.ctx.client()?,
                &info.resource,
                &self.namespace,
                &info.name,
                MERGE,
                &patch,
            )
            .await?;
        self.print("edited", &info.object)
    }

    async fn create(&self, info: &Info) -> Result<()> {
        let object = self
            .write()?
            .create(
                self.ctx.client()?,
                &info.resource,
                &info.namespace,
                &info.object,
            )
            .await?;
        self.print("created", &object)
    }
}

/// Removes a file that is not needed any more; one that stays is in nobody's way.
fn remove_quietly(file: &Path) {
    _ = std::fs::remove_file(file);
}

/// What is edited: the object, or the list of them.
fn listed(infos: &[Info]) -> Value {
    match infos {
        [one] => without_managed_fields(&one.object),
        many => {
            let items: Vec<Value> = many
                .iter()
                .map(|i| without_managed_fields(&i.object))
                .collect();
            json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items})
        }
    }
}

/// The object as it was before it was edited; its uid says which it is.
fn original_of(infos: &[Info], edited: &Info) -> Result<Value> {
    let uid = |o: &Value| o.at("metadata").text("uid").to_string();
    let found = infos.iter().find(|i| uid(&i.object) == uid(&edited.object));
    let found = found.ok_or_else(|| {
        message!(
            "no original object found for &unstructured.Unstructured{{Object:{}}}",
            crate::print::go::syntax(&edited.object)
        )
    })?;
    Ok(without_managed_fields(&found.object))
}

/// Says where the changes are, if there is a file with them.
fn preserved(error: Error, file: Option<&Path>) -> Error {
    if let Some(path) = file.filter(|p| p.exists()) {
        eprintln!(
            "A copy of your changes has been stored to {}",
            quote(&path.to_string_lossy())
        );
    }
    error
}
