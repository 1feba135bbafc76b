//! Quantities, and sums of them.

use std::str::FromStr;

use skiff_api::machinery::quantity::{Quantity, canonical};

use crate::{Target, seeds, texts};

pub const QUANTITY: Target = Target::new("quantity", run, begin).words(&[
    "1",
    "0",
    "-",
    "+",
    ".",
    "5",
    "e",
    "E",
    "k",
    "Ki",
    "Mi",
    "Gi",
    "Ti",
    "Pi",
    "Ei",
    "m",
    "u",
    "n",
    "M",
    "e3",
    "e-3",
    "999999999999999999999",
    "0.000000001",
    "1e18",
    "1e999999999",
    "1e-999999999",
    "9223372036854775807",
]);

fn begin() -> Vec<Vec<u8>> {
    seeds::texts(&[
        "1\x00002",
        "100m\x001.5Gi",
        "-3e6\x005E",
        "1.5e-3\x007n",
        "9223372036854775807\x009223372036854775807Ei",
        "+0.1k\x0012Mi",
        "1000u\x00-1Ki",
    ])
}

fn run(data: &[u8]) {
    let Some([one, other]) = texts(data) else {
        return;
    };
    let short = canonical(one).map(|text| text.into_owned()).ok();
    let Ok(quantity) = Quantity::from_str(one) else {
        assert_eq!(short, None);
        return;
    };
    let written = quantity.to_string();
    assert_eq!(short.as_deref(), Some(&*written));
    let again = Quantity::from_str(&written).unwrap();
    assert_eq!(again.to_string(), written);
    std::hint::black_box((
        quantity.value(),
        quantity.milli_value(),
        quantity.as_f64(),
        quantity.to_i64(),
        quantity.is_whole(),
        quantity.sign(),
    ));
    for scale in [-12, -9, -3, 0, 3, 18] {
        quantity.scaled_value(scale);
    }
    let Ok(second) = Quantity::from_str(other) else {
        return;
    };
    let mut sum = quantity.clone();
    sum.add(&second);
    sum.sub(&second);
    drop((sum.to_string(), sum.cmp(&quantity), quantity == second));
    drop(second.neg().to_string());
}
