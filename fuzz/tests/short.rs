//! Each target for a moment, with a fixed seed: see `skiff_fuzz::short`.

use skiff_fuzz::{Counting, short, targets};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

macro_rules! runs {
    ($($name:ident $target:ident;)*) => {$(
        #[test]
        fn $name() {
            short::run(&targets::$target);
        }
    )*};
}

runs! {
    apply APPLY;
    cel CEL;
    cron CRON;
    definition DEFINITION;
    fields FIELDS;
    http HTTP;
    images IMAGES;
    json JSON;
    json_patch JSON_PATCH;
    jsonpath JSONPATH;
    kinds KINDS;
    log LOG;
    merge_patch MERGE_PATCH;
    protobuf PROTOBUF;
    quantity QUANTITY;
    regex REGEX;
    schema SCHEMA;
    selectors SELECTORS;
    spdy SPDY;
    strategic STRATEGIC;
    websocket WEBSOCKET;
    words WORDS;
    yaml YAML;
}
