//! Fuzz targets of what only the command line reads: kubeconfigs and Go templates. The crate `fuzz` says what that is, and has all others.

use std::path::Path;

use serde_json::Value;
use skiff_fuzz::{Target, short, texts};

use crate::kubeconfig::{Config, Overrides};
use crate::print::gotemplate::Template;

const KUBECONFIG: Target = Target::new("kubeconfig", kubeconfig, kubeconfigs).words(&[
    "clusters",
    "contexts",
    "users",
    "current-context",
    "cluster",
    "context",
    "user",
    "name",
    "server",
    "namespace",
    "exec",
    "command",
    "args",
    "env",
    "token",
    "tokenFile",
    "client-certificate-data",
    "certificate-authority-data",
    "insecure-skip-tls-verify",
    "proxy-url",
    "https://a:1",
    "preferences",
]);

fn kubeconfigs() -> Vec<Vec<u8>> {
    let one = "apiVersion: v1\nkind: Config\ncurrent-context: a\nclusters:\n- name: c\n  cluster: {server: 'https://127.0.0.1:6443', certificate-authority-data: aGk=}\n\
        contexts:\n- name: a\n  context: {cluster: c, user: u, namespace: n}\nusers:\n- name: u\n  user:\n    exec: {apiVersion: client.authentication.k8s.io/v1, command: x, args: [y], env: [{name: A, value: b}], interactiveMode: Never}\n\
        - name: v\n  user: {token: t, username: p, password: q}\npreferences: {colors: true}\n";
    vec![one.into()]
}

fn kubeconfig(data: &[u8]) {
    let Some([text, context]) = texts(data) else {
        return;
    };
    let mut config = Config::default();
    if config
        .merge(text, Path::new("/nonexistent/config"))
        .is_err()
    {
        return;
    }
    for context in [None, Some(context.to_owned())] {
        let over = Overrides {
            context,
            ..Overrides::default()
        };
        let _ = config.resolve(&over).map_err(|error| error.to_string());
    }
}

const TEMPLATE: Target = Target::new("gotemplate", template, templates).words(&[
    "{{",
    "}}",
    "{{.",
    "{{range .items}}",
    "{{end}}",
    "{{if .a}}",
    "{{else}}",
    "{{with .a}}",
    "{{define \"a\"}}",
    "{{template \"a\" .}}",
    "{{block \"b\" .}}",
    "{{/* c */}}",
    "{{- ",
    " -}}",
    "{{$x := .a}}",
    "{{$x}}",
    "$",
    "|",
    "printf",
    "\"%s\"",
    "\"%d\"",
    "\"%9999d\"",
    "len",
    "index",
    "eq",
    "and",
    "or",
    "not",
    "exists",
    "base64decode",
    "slice",
    "html",
    "js",
    "urlquery",
    "print",
    "println",
    "call",
    "{{break}}",
    "{{continue}}",
    ".a",
    "1",
    "(",
    ")",
    "'a'",
    "`a`",
]);

fn templates() -> Vec<Vec<u8>> {
    let object = r#"{"kind":"List","items":[{"metadata":{"name":"a","labels":{"x":"y"}},"n":3,"secret":"czNjcmV0"},{"metadata":{"name":"b"},"n":-1.5}]}"#;
    [
        "{{range .items}}{{.metadata.name}}{{\"\\n\"}}{{end}}",
        "{{range $i, $x := .items}}{{if and (gt $x.n 1) (exists $x \"metadata\" \"labels\")}}{{index $x.metadata.labels \"x\" | printf \"%-10s|\"}}{{else if eq $i 1}}-{{else}}?{{end}}{{end}}",
        "{{with (index .items 0)}}{{.secret | base64decode | len}}{{- /* c */ -}} {{len .metadata}}{{end}}",
        "{{define \"a\"}}<{{.}}>{{end}}{{template \"a\" .kind}}{{block \"b\" .}}{{.kind}}{{end}}",
        "{{slice .kind 1 2}}{{html .kind}}{{js \"<\"}}{{urlquery \"a b\"}}{{print 1 2}}",
    ]
    .map(|text| format!("{text}\0{object}").into_bytes())
    .to_vec()
}

fn template(data: &[u8]) {
    let Some([text, object]) = texts(data) else {
        return;
    };
    let object: Value = serde_json::from_str(object).unwrap_or_default();
    for allow_missing in [true, false] {
        if let Ok(template) = Template::parse(text, allow_missing) {
            let _ = template.filled(&object);
        }
    }
}

#[test]
fn kubeconfigs_are_read_or_refused() {
    short::run(&KUBECONFIG);
}

#[test]
fn templates_are_filled_in_or_refused() {
    short::run(&TEMPLATE);
}
