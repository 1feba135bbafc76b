//! Packs the program's relocations where the C library that is linked in can unpack them: 2 MB less of the program.
//!
//! A static program relocates itself, by the code of the C library that it was linked with: glibc can since 2.36. (Linkers can since binutils 2.38,
//! which is older, and LLVM 15.)

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let of_target = |name: &str| std::env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    let is_native = std::env::var("HOST") == std::env::var("TARGET");
    if is_native && of_target("OS") == "linux" && of_target("ENV") == "gnu" && glibc().is_some_and(|version| version >= (2, 36)) {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
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
