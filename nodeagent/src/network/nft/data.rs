//! Data as expressions and elements of sets hold it.

use super::{super::wire::Writer, numbers::attribute as a, rule::Verdict};

pub fn put_data(w: &mut Writer, kind: u16, bytes: &[u8]) {
    w.nest(kind, |w| w.attribute(a::DATA_VALUE, bytes));
}

pub fn put_verdict(w: &mut Writer, kind: u16, verdict: &Verdict) {
    let (code, chain) = match verdict {
        Verdict::Drop => (0, None),
        Verdict::Accept => (1, None),
        Verdict::Jump(chain) => (-3, Some(chain)),
        Verdict::Goto(chain) => (-4, Some(chain)),
        Verdict::Return => (-5_i32, None),
    };
    w.nest(kind, |w| {
        w.nest(a::DATA_VERDICT, |w| {
            w.attribute(a::VERDICT_CODE, &code.to_be_bytes());
            if let Some(chain) = chain {
                w.text(a::VERDICT_CHAIN, chain);
            }
        });
    });
}
