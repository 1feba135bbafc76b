//! Real containers, as root: what the runtime promises, seen from outside. Without root it is skipped aloud.
//!
//! Has its own `main`, because the runtime runs this very executable again as its shim, and as the program of the built-in image.

mod containers;
mod images;
mod rights;
mod sandboxes;
mod survival;
mod world;

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use futures::{FutureExt, future::LocalBoxFuture};

/// A test that hangs is a failure, too.
const DEADLINE: Duration = Duration::from_secs(60);

type Case = (&'static str, fn() -> LocalBoxFuture<'static, ()>);

macro_rules! cases {
    ($($module:ident :: $name:ident),* $(,)?) => {
        &[$((concat!(stringify!($module), "::", stringify!($name)), || $module::$name().boxed_local())),*]
    };
}

const CASES: &[Case] = cases![
    containers::output_and_exit_codes,
    containers::exec_with_streams,
    containers::exec_in_a_terminal,
    containers::programs_that_cannot_start,
    containers::stopping_with_grace,
    containers::attaching,
    containers::attaching_to_a_terminal,
    containers::limits_and_usage,
    containers::what_it_writes_is_measured,
    containers::new_limits_while_it_runs,
    containers::memory_running_out,
    containers::log_rotation,
    containers::how_long_it_takes,
    rights::users_and_groups,
    rights::capabilities_and_privileges,
    rights::seccomp_filters,
    rights::read_only_and_masked,
    rights::nobody_lifts_the_own_limits,
    rights::the_privileged_manage_cgroups,
    rights::a_working_directory_that_is_missing_is_roots,
    rights::devices_are_guarded,
    rights::privileged_sees_the_machine,
    rights::the_best_oom_score_that_is_allowed,
    sandboxes::namespaces_of_a_pod,
    sandboxes::one_process_namespace,
    sandboxes::processes_of_another_container,
    sandboxes::images_as_volumes,
    sandboxes::mounts,
    sandboxes::mounts_that_reach_the_host,
    sandboxes::sandboxes_that_cannot_be_made,
    survival::the_agent_comes_back,
    survival::the_shim_is_killed,
    survival::each_sandbox_for_itself,
    survival::listing_while_others_are_removed,
    images::archives,
    images::many_layers,
    images::the_built_in_image,
    images::pulling,
    images::pulling_with_credentials,
];

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match (
        args.first().map(String::as_str),
        args.get(1).map(String::as_str),
    ) {
        (_, Some(skiff_nodeagent::runtime::oci::SHIM_SUBCOMMAND)) => {
            skiff_nodeagent::runtime::oci::shim_main(&args[2..])
        }
        (Some("/shop"), _) => {
            println!("shop {}", std::env::var("SHOP_VERSION").unwrap_or_default())
        }
        _ => run(&args[1..]),
    }
}

fn run(args: &[String]) {
    if args.iter().any(|arg| arg == "--list") {
        CASES.iter().for_each(|(name, _)| println!("{name}: test"));
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: all tests of the OCI runtime, because they need root");
        return;
    }
    if !world::has_busybox() {
        eprintln!(
            "skipped: all tests of the OCI runtime, because they need {} linked statically (busybox-static)",
            world::BUSYBOX
        );
        return;
    }
    let filters: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let mut failed = Vec::new();
    for (name, case) in CASES.iter().filter(|(name, _)| {
        filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()))
    }) {
        let started = Instant::now();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a tokio runtime");
        let outcome = runtime.block_on(
            AssertUnwindSafe(async { tokio::time::timeout(DEADLINE, case()).await }).catch_unwind(),
        );
        let verdict = match outcome {
            Ok(Ok(())) => "ok",
            Ok(Err(_)) => "HUNG",
            Err(_) => "FAILED",
        };
        println!(
            "test {name} ... {verdict} ({} ms)",
            started.elapsed().as_millis()
        );
        if verdict != "ok" {
            failed.push(*name);
        }
    }
    if !failed.is_empty() {
        println!("failed: {}", failed.join(", "));
        std::process::exit(101);
    }
}
