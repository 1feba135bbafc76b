//! Makes the program smaller where the tools at hand can: relocations are packed (2 MB less), functions of the same code are one (half a MB less).
//!
//! A static program relocates itself, by the code of the C library that it was linked with: glibc can since 2.36. (Linkers can since binutils 2.38,
//! which is older, and LLVM 15.)

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let of_target =
        |name: &str| std::env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    let is_native = std::env::var("HOST") == std::env::var("TARGET");
    if is_native
        && of_target("OS") == "linux"
        && of_target("ENV") == "gnu"
        && glibc().is_some_and(|version| version >= (2, 36))
    {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    if is_native && links_by_lld() {
        println!("cargo:rustc-link-arg-bins=-Wl,--icf=all");
    }
}

/// Whether the linker is the LLD that rustc brings along and uses for this target since 1.90, unless it is told otherwise. Others may not know the flag.
fn links_by_lld() -> bool {
    let of_cargo = |name: &str| std::env::var(name).unwrap_or_default();
    let told = !of_cargo("RUSTC_LINKER").is_empty()
        || of_cargo("CARGO_ENCODED_RUSTFLAGS").contains("link");
    let target = of_cargo("TARGET");
    let sysroot = std::process::Command::new(of_cargo("RUSTC"))
        .args(["--print", "sysroot"])
        .output();
    let lld = |sysroot: &str| {
        std::path::Path::new(sysroot.trim())
            .join("lib/rustlib")
            .join(&target)
            .join("bin/gcc-ld/ld.lld")
            .exists()
    };
    !told
        && target == "x86_64-unknown-linux-gnu"
        && sysroot.is_ok_and(|output| lld(&String::from_utf8_lossy(&output.stdout)))
}

/// The version of the machine's C library, by which this build script runs.
#[cfg(target_env = "gnu")]
fn glibc() -> Option<(u32, u32)> {
    unsafe extern "C" {
        fn gnu_get_libc_version() -> *const std::ffi::c_char;
    }
    // SAFETY: glibc answers a constant text with an end
    let text = unsafe { std::ffi::CStr::from_ptr(gnu_get_libc_version()) };
    let (major, minor) = text.to_str().ok()?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(not(target_env = "gnu"))]
fn glibc() -> Option<(u32, u32)> {
    None
}
