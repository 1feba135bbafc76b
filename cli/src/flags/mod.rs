//! Command-line flags as kubectl reads them, over clap: structs declare them, clap gives them their types, and what pflag does otherwise is here.
//! Invariant: a flag that the verb did not declare is an error that names it, and a declared flag that is not supported here is refused by name.
//! Behaviour follows `github.com/spf13/pflag`, as `staging/src/k8s.io/kubectl/pkg/cmd` uses it.

mod line;
mod mistakes;
#[cfg(test)]
mod tests;
mod values;

use std::any::TypeId;

use clap::{Arg, ArgAction, Command};
pub use skiff_api::machinery::problem::Problem;

pub use line::{Line, is_flag, old_flags, read, takes_next};
pub use values::{Csv, Listed, Modules, Pairs, modules, parse_bool, parse_duration, seconds};
use values::{parse_int, parse_int32};

/// Declares the flags of one struct.
pub type Group = fn(Command) -> Command;

/// The group of a struct's flags.
pub fn group<A: clap::Args>(command: Command) -> Command {
    A::augment_args(command)
}

/// Why a flag of kubectl is refused here.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
struct NotSupported(&'static str);

/// A flag of kubectl that is not supported: using it is an error that says why.
pub struct Refused {
    pub name: &'static str,
    /// The one-letter name, or `'\0'` for none.
    pub short: char,
    /// Whether it needs a value.
    pub takes_value: bool,
    pub why: &'static str,
}

impl Refused {
    pub const fn value(name: &'static str, why: &'static str) -> Self {
        let (short, takes_value) = ('\0', true);
        Refused {
            name,
            short,
            takes_value,
            why,
        }
    }
    pub const fn switch(name: &'static str, why: &'static str) -> Self {
        let mut refused = Self::value(name, why);
        refused.takes_value = false;
        refused
    }
    pub const fn short(mut self, short: char) -> Self {
        self.short = short;
        self
    }

    pub fn arg(&self) -> Arg {
        let why = self.why;
        let arg = Arg::new(self.name)
            .long(self.name)
            .value_parser(move |_: &str| Err::<String, _>(NotSupported(why)));
        let arg = match self.short {
            '\0' => arg,
            letter => arg.short(letter),
        };
        if self.takes_value {
            arg
        } else {
            optional(arg, "true")
        }
    }
}

/// Whether the flag holds values of this type.
fn holds<T: 'static>(arg: &Arg) -> bool {
    arg.get_value_parser().type_id() == TypeId::of::<T>()
}

/// A flag that may stand without a value, then meaning this one.
fn optional(arg: Arg, missing: &'static str) -> Arg {
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value(missing)
}

/// What a flag's value is when it is not given, as Go's zero values are.
fn zero(arg: &Arg) -> &'static str {
    if holds::<bool>(arg) {
        "false"
    } else if holds::<i64>(arg) || holds::<i32>(arg) {
        "0"
    } else if holds::<f64>(arg) {
        "0s"
    } else {
        ""
    }
}

/// A declared flag read as pflag reads it: booleans with an optional value, numbers and durations (`f64`, in seconds) in Go's form, nothing that
/// clap would ask for.
pub fn as_pflag(arg: Arg) -> Arg {
    let (zero, asked) = (zero(&arg), arg.is_required_set());
    let unset = arg.get_default_values().is_empty();
    let switch = matches!(arg.get_action(), ArgAction::SetTrue);
    let arg = if unset && (asked || switch) {
        arg.default_value(zero)
    } else {
        arg
    }
    .required(false);
    if holds::<bool>(&arg) {
        optional(arg, "true").value_parser(parse_bool)
    } else if holds::<i64>(&arg) {
        arg.value_parser(parse_int)
    } else if holds::<i32>(&arg) {
        arg.value_parser(parse_int32)
    } else if holds::<f64>(&arg) {
        arg.value_parser(parse_duration)
    } else {
        arg
    }
}

/// What `--help` shows as the flag's value when it is not given: the default, or the name of the value where the struct tells whether it was given.
pub fn shown_default(arg: &Arg) -> String {
    if matches!(arg.get_action(), ArgAction::Append) {
        return "[]".into();
    }
    let default = arg.get_default_values().first();
    let named = arg.get_value_names().and_then(|names| names.first());
    let named = named.filter(|name| !name.eq_ignore_ascii_case(arg.get_id().as_str()));
    let value = match (default, named) {
        (Some(value), _) => value.to_string_lossy().into_owned(),
        (None, Some(name)) => name.to_string(),
        (None, None) => zero(arg).into(),
    };
    if holds::<String>(arg) {
        format!("'{value}'")
    } else {
        value
    }
}

/// Whether the flag may be given again and then adds to what it holds.
pub fn adds(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// Whether the flag must have a value.
pub fn needs_value(arg: &Arg) -> bool {
    !arg.is_require_equals_set()
}

/// The declared flag of this long name.
pub fn named<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command
        .get_arguments()
        .find(|arg| arg.get_long() == Some(name))
}

/// The declared flag of this letter.
pub fn lettered(command: &Command, letter: char) -> Option<&Arg> {
    command
        .get_arguments()
        .find(|arg| arg.get_short() == Some(letter))
}
