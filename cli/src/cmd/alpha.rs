//! `alpha`: features that are not done; there are none.
//! Invariant: it is not shown in the help.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/alpha.go`.

use crate::command::{Command, Run};

pub static COMMAND: Command = Command {
    name: "alpha",
    short: "Commands for features in alpha",
    run: Run::Group,
    hidden: true,
    ..Command::NEW
};
