//! `completion`: scripts that complete verbs and flags in a shell.
//! Invariant: the words come from the tree of commands at the time the script is made.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/completion/completion.go`.

use crate::command::{Command, Run};
use crate::context::{Ctx, GLOBAL};
use crate::error::{Error, Result};
use crate::flags::Flag;
use crate::print;

pub static COMMAND: Command = Command {
    name: "completion",
    usage: "SHELL",
    short: "Output shell completion code for the specified shell (bash, zsh, fish, or powershell)",
    long: "Print a script that completes verbs and flags in bash, zsh or fish. Source it in your shell's start-up file.",
    examples: "
      # In bash
      source <(kubectl completion bash)
      # In zsh
      source <(kubectl completion zsh)
      # In fish
      kubectl completion fish | source",
    run: Run::Verb(|ctx| Box::pin(run(ctx))),
    ..Command::NEW
};

async fn run(ctx: Ctx) -> Result<()> {
    let shell = match ctx.args() {
        [] => return Err(Error::usage(ctx.path(), "Shell not specified.")),
        [s] => s.as_str(),
        _ => return Err(Error::usage(ctx.path(), "Too many arguments. Expected only the shell type.")),
    };
    let program = ctx.program().to_string();
    let mut table = Vec::new();
    walk(super::root(&program), &program, &mut table);
    let text = match shell {
        "bash" => bash(&program, &table),
        "zsh" => format!("#compdef {program}\nautoload -U +X bashcompinit && bashcompinit\n{}", bash(&program, &table)),
        "fish" => fish(&program, &table),
        "powershell" => return Err(Error::msg("completion for powershell is not supported")),
        other => return Err(Error::usage(ctx.path(), format!("Unsupported shell type {}.", crate::error::quote(other)))),
    };
    print::put(&text)
}

/// Each command's path and the words that may follow it.
fn walk(c: &Command, path: &str, out: &mut Vec<(String, Vec<String>)>) {
    let mut words: Vec<String> = c.subcommands.iter().filter(|s| !s.hidden).map(|s| s.name.to_string()).collect();
    let flags: Vec<&Flag> = c.flags.iter().flat_map(|g| g.iter()).chain(GLOBAL).filter(|f| f.refused.is_empty()).collect();
    words.extend(flags.iter().map(|f| format!("--{}", f.name)));
    words.dedup();
    out.push((path.to_string(), words));
    c.subcommands.iter().filter(|s| !s.hidden).for_each(|s| walk(s, &format!("{path} {}", s.name), out));
}

fn bash(program: &str, table: &[(String, Vec<String>)]) -> String {
    let mut cases = String::new();
    for (path, words) in table {
        cases += &format!("    {path:?}) words=\"{}\" ;;\n", words.join(" "));
    }
    format!(
        "_{program}_complete() {{\n  local cur path words i\n  cur=\"${{COMP_WORDS[COMP_CWORD]}}\"\n  path={program}\n  for ((i=1; i<COMP_CWORD; i++)); do\n    case \"${{COMP_WORDS[i]}}\" in\n      -*) ;;\n      *) case \"$path ${{COMP_WORDS[i]}}\" in\n{}        esac ;;\n    esac\n  done\n  case \"$path\" in\n{cases}  esac\n  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}}\ncomplete -o default -F _{program}_complete {program}\n",
        table.iter().skip(1).map(|(p, _)| format!("        {p:?}) path={p:?} ;;\n")).collect::<String>()
    )
}

fn fish(program: &str, table: &[(String, Vec<String>)]) -> String {
    let mut out = format!("complete -c {program} -f\n");
    for (path, words) in table {
        let chain: Vec<&str> = path.split(' ').skip(1).collect();
        let condition = if chain.is_empty() {
            "__fish_use_subcommand".to_string()
        } else {
            chain.iter().map(|w| format!("__fish_seen_subcommand_from {w}")).collect::<Vec<_>>().join("; and ")
        };
        for w in words {
            match w.strip_prefix("--") {
                Some(flag) => out += &format!("complete -c {program} -n '{condition}' -l {flag}\n"),
                None => out += &format!("complete -c {program} -n '{condition}' -a {w}\n"),
            }
        }
    }
    out
}
