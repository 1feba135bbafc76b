//! `edit`, `create --edit` and `apply edit-last-applied`: changes objects in the user's editor.
//! Invariant: nothing is sent unless the text changed; what the server refuses is shown in the editor again, and what was written is never lost.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/edit/edit.go` and `util/editor/editoptions.go`.

mod results;
mod session;

use crate::command::{Command, verb};
use crate::complete::Words;
use crate::context::{Ctx, With};
use crate::error::{Result, bail};
use crate::flags::{Group, group};
use crate::generate::{LAST_APPLIED, MANAGER, SAVE_CONFIG};
use crate::print;
use crate::resource::{Builder, FILE_FLAGS, Validation};
use crate::typed::Read;
use session::{Mode, Session};

pub static COMMAND: Command = Command {
    name: "edit",
    usage: "(RESOURCE/NAME | -f FILENAME)",
    short: "Edit a resource on the server",
    long: "Open objects in your editor ($KUBE_EDITOR, $EDITOR or vi) and send what you changed. If the server refuses it, the editor opens again and says why.\n\n Several objects are edited as one list. If they cannot be saved, a copy of what you wrote stays in a file that is named.",
    examples: "
      # A service
      kubectl edit svc/registry
      # In another editor
      KUBE_EDITOR=\"nano\" kubectl edit svc/registry
      # As JSON
      kubectl edit job.v1.batch/myjob -o json
      # Keep the change for a later apply
      kubectl edit deployment/mydeployment -o yaml --save-config
      # The status
      kubectl edit deployment mydeployment --subresource='status'",
    flags: &[
        print::FLAGS,
        FILE_FLAGS,
        Validation::FLAG,
        SAVE_CONFIG,
        LINE_ENDINGS,
        MANAGER,
        crate::generate::RECORD,
    ],
    defaults: &[("field-manager", "kubectl-edit")],
    run: verb!(run: Flags),
    words: Some(Words::ANY),
    ..Command::NEW
};

/// The flag of all verbs that edit.
#[derive(Clone, clap::Args)]
#[group(skip)]
pub struct LineEndings {
    /// End the lines of the edited file as Windows does
    #[arg(long)]
    pub windows_line_endings: bool,
}
pub const LINE_ENDINGS: Group = group::<LineEndings>;

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// Show the patch that is sent
    #[arg(long)]
    output_patch: bool,
    /// Edit this sub-resource: status, scale or resize
    #[arg(long)]
    subresource: String,
}

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    let mut builder = Builder::new(&ctx)?;
    builder.latest = true;
    builder.allow_empty_selector = true;
    builder.subresource.clone_from(&f.subresource);
    let found = builder.find().await?;
    let infos = found.all()?;
    if infos.is_empty() {
        bail!("edit cancelled, no objects found");
    }
    let mut session = Session::new(&ctx, Mode::Normal)?;
    session.subresource.clone_from(&f.subresource);
    session.output_patch = f.output_patch;
    session.edit(&infos).await
}

/// `create --edit`: edits what files hold, then creates it, one object after the other.
///
/// # Errors
/// What the server refuses.
pub async fn before_create(ctx: &Ctx) -> Result<()> {
    let mut builder = Builder::new(ctx)?;
    builder.selector = None;
    let mut found = builder.find().await?;
    let mut errors = found.failures();
    for info in found.infos {
        errors.next_object();
        let edited = Session::new(ctx, Mode::BeforeCreate)?.edit(&[info]).await;
        errors.extend(edited.err());
    }
    errors.told()
}

/// `apply edit-last-applied`: edits the annotation of apply.
///
/// # Errors
/// Objects of which none has the annotation.
pub async fn last_applied(ctx: &Ctx) -> Result<()> {
    let mut builder = Builder::new(ctx)?;
    builder.latest = true;
    builder.allow_empty_selector = true;
    let mut session = Session::new(ctx, Mode::LastApplied)?;
    let mut kept = Vec::new();
    for info in builder.find().await?.all()? {
        if let Some(text) = info
            .object
            .at("metadata")
            .at("annotations")
            .text_ptr(LAST_APPLIED)
        {
            kept.extend(session.read(text).await?.into_iter().take(1));
        }
    }
    if kept.is_empty() {
        bail!(
            "no last-applied-configuration annotation found on resources, to create the annotation, use command `kubectl apply set-last-applied --create-annotation`"
        );
    }
    session.edit(&kept).await
}
