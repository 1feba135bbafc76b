//! Objects in protobuf, as client-go's operators send them.

use serde_json::json;

use crate::server::Server;

/// A field of wire type 2: a text, or a message of such fields.
fn field(number: u8, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    // two bytes are enough here
    let varint = |value: usize| [value as u8 & 0x7f | 0x80, (value >> 7) as u8];
    [
        &varint(usize::from(number) << 3 | 2),
        &varint(content.len()),
        content,
    ]
    .concat()
}

fn flag(number: u8) -> Vec<u8> {
    vec![number << 3, 1]
}

/// Numbers from `generated.proto` of apiextensions/v1 and apimachinery.
#[tokio::test]
async fn a_definition_is_taken_as_every_kind_is() {
    let server = Server::start().await;
    let property = field(
        29,
        [field(1, "size"), field(2, field(5, "integer"))].concat(),
    );
    let schema = field(4, field(1, [field(5, "object"), property].concat()));
    let version = field(7, [field(1, "v1"), flag(2), flag(3), schema].concat());
    let names = field(
        3,
        [
            field(1, "things"),
            field(2, "thing"),
            field(4, "Thing"),
            field(5, "ThingList"),
        ]
        .concat(),
    );
    let spec = field(
        2,
        [
            field(1, "example.com"),
            names,
            field(4, "Namespaced"),
            version,
        ]
        .concat(),
    );
    let object = [field(1, field(1, "things.example.com")), spec].concat();
    let kind = field(
        1,
        [
            field(1, "apiextensions.k8s.io/v1"),
            field(2, "CustomResourceDefinition"),
        ]
        .concat(),
    );
    let body = [b"k8s\0".to_vec(), kind, field(2, object)].concat();
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let made = server
        .send(
            "POST",
            path,
            &[("content-type", "application/vnd.kubernetes.protobuf")],
            body,
        )
        .await
        .is(201)
        .json();
    assert_eq!(
        made["spec"]["names"],
        json!({"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"})
    );
    let version = &made["spec"]["versions"][0];
    assert_eq!(
        (&version["served"], &version["storage"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(
        version["schema"]["openAPIV3Schema"],
        json!({"type": "object", "properties": {"size": {"type": "integer"}}})
    );
}
