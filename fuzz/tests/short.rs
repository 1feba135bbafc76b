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

skiff_fuzz::every_target!(runs);
