//! Names of images, and configurations as images bear them.

use skiff_nodeagent::image::{ImageConfig, Reference};

use crate::{Target, seeds, texts};

pub const IMAGES: Target = Target::new("images", run, begin).words(&[
    "nginx",
    ":",
    "@",
    "/",
    "latest",
    "sha256:",
    "docker.io",
    "localhost:5000",
    "[::1]:80",
    "__",
    "-",
    ".",
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "Env",
    "Cmd",
    "Entrypoint",
    "User",
    "WorkingDir",
    "StopSignal",
]);

fn begin() -> Vec<Vec<u8>> {
    seeds::texts(&[
        "nginx\0{\"User\":\"1:2\",\"Env\":[\"A=b\"],\"Entrypoint\":[\"/x\"],\"Cmd\":null,\"WorkingDir\":\"/\",\"StopSignal\":\"SIGTERM\"}",
        "registry.example:5000/a/b__c/d.e-f:1.27@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\0{}",
    ])
}

fn run(data: &[u8]) {
    let Some([name, config]) = texts(data) else {
        return;
    };
    if let Ok(reference) = Reference::parse(name) {
        let written = reference.to_string();
        let again = Reference::parse(&written).unwrap();
        // a digest says more than a tag
        let tag = reference.tag.clone().filter(|_| reference.digest.is_none());
        assert_eq!(
            again,
            Reference {
                tag,
                ..reference.clone()
            }
        );
        reference.is_loopback();
    }
    let _ = serde_json::from_str::<ImageConfig>(config);
}
