//! YAML of bodies and manifests; what is written is read again.

use skiff_api::machinery::yaml;

use super::NAMES;
use crate::{Target, seeds};

pub const YAML: Target = Target::new("yaml", run, begin).words(NAMES);

fn begin() -> Vec<Vec<u8>> {
    let text = String::from_utf8(seeds::read("answers/objects.yaml")).unwrap();
    let mut all: Vec<Vec<u8>> = text
        .split("\n---\n")
        .map(|one| one.as_bytes().to_vec())
        .collect();
    let manifests = seeds::files(&seeds::testdata().join("cli/files")).into_iter();
    let manifests = manifests.filter(|path| path.extension().is_some_and(|end| end == "yaml"));
    all.extend(manifests.map(seeds::read));
    all.extend(seeds::texts(&[
        "a: &x {b: [1, *y]}\nc: *x\n<<: *x\n",
        "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: &d [*c,*c]\ne: [*d,*d]\n",
        "? {a: b}\n: |2-\n    text\n  more\n- !!binary aGk=\n",
        "a: >+\n  folded\n\n  text\n\nb: \"\\x41\\u00e9\\U0001f600\"\nc: 'it''s'\n",
        "%YAML 1.1\n---\na: 0o17\nb: 0x1f\nc: 1_000\nd: 190:20:30\ne: .inf\nf: 2001-12-14t21:59:43.10-05:00\n...\n---\nx\n",
    ]));
    all
}

fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let _ = yaml::read_lax(text);
    if let Ok((value, _)) = yaml::read_first(text) {
        let written = yaml::write(&value);
        match yaml::read_first(&written) {
            Ok((again, _)) => assert_eq!(again, value, "{written}"),
            Err(error) => panic!("{error}: {written}"),
        }
    }
    if let Ok(documents) = yaml::read(text) {
        for document in documents {
            std::hint::black_box(document);
        }
    }
}
