//! `kuberc view`: the file of preferences.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/kuberc/view.go`.

use super::{load, place, save};
use crate::command::{Command, verb};
use crate::context::With;
use crate::error::{Result, message};
use crate::kuberc::preference::Preference;
use crate::print::{self, ALLOWED, Format, Printer, order::Order};

pub static COMMAND: Command = Command {
    name: "view",
    short: "Display the current kuberc configuration",
    long: "Show the file of preferences.",
    usage: "[flags]",
    examples: "
      # As YAML
      kubectl kuberc view
      # As JSON
      kubectl kuberc view --output json
      # Those of another file
      kubectl kuberc view --kuberc /path/to/kuberc",
    flags: &[print::FLAGS],
    run: verb!(run: ()),
    ..Command::NEW
};

/// The order of the fields, as Go's structs have it.
const ORDER: &[&str] = &[
    "kind",
    "apiVersion",
    "defaults",
    "aliases",
    "credentialPluginPolicy",
    "credentialPluginAllowlist",
    "name",
    "command",
    "prependArgs",
    "appendArgs",
    "options",
    "default",
];

async fn run(ctx: With<()>) -> Result<()> {
    let place = place(&ctx)?;
    let path = place.path.display();
    let Some((mut preference, _)) = load(&place.path)? else {
        if place.named {
            return Err(message!("kuberc file not found at {path}"));
        }
        print::put(&format!(
            "kuberc file not found at {path}\nWould you like to generate a default kuberc file with recommended options? (y/N): "
        ))?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        return match answer.trim().eq_ignore_ascii_case("y") {
            true => save(&Preference::recommended(), &place.path),
            false => Ok(()),
        };
    };
    preference.defaults.get_or_insert_default();
    preference.aliases.get_or_insert_default();
    let value = serde_json::to_value(&preference)?;
    let format = print::format(&ctx, ALLOWED)?.unwrap_or(Format::Yaml);
    Printer::of(format, "", true)
        .ordered(Order::Keys(ORDER))
        .print(&value)
}
