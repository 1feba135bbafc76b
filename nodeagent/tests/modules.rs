//! The crate's modules stand in layers.

#[test]
fn no_module_uses_what_uses_it() {
    let circles = skiff_testing::modules::circles(env!("CARGO_MANIFEST_DIR").as_ref()).unwrap();
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}
