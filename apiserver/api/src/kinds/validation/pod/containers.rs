//! Containers: regular ones, those that run before, and ephemeral ones. Follows `pkg/apis/core/validation/validation.go`
//! (validateContainers, validateInitContainers, validateEphemeralContainers, validateContainerCommon).
//!
//! Invariant: names are unique among all containers of a pod.

use super::{Options, env, handlers, resources, security};
use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{
    descending_path, dns_label, one_of, required_one_of, unsupported,
};

/// The lists of containers in the order in which upstream visits them.
pub const LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// All containers of a spec: the list's name, the place in it, the container.
pub fn all(spec: &Value) -> impl Iterator<Item = (&'static str, usize, &Value)> {
    LISTS.into_iter().flat_map(|list| {
        spec.list(list)
            .iter()
            .enumerate()
            .map(move |(index, container)| (list, index, container))
    })
}

/// Runs beside the others for the pod's whole life, though it starts before them.
pub fn is_sidecar(container: &Value) -> bool {
    container.text("restartPolicy") == "Always"
}

/// What the containers of one pod share.
pub struct Pod<'v> {
    pub spec: &'v Value,
    pub options: &'v Options,
    /// The volumes that are good, by name.
    pub volumes: Vec<(&'v str, &'v Value)>,
    pub claims: Vec<&'v str>,
    pub grace: Option<i64>,
    pub host_users: bool,
}

impl Pod<'_> {
    /// `spec.containers`.
    pub fn regular(&self, path: &Path, errors: &mut Errors) {
        let (list, path) = (self.spec.list("containers"), &path.child("containers"));
        if list.is_empty() {
            return errors.required(path, "");
        }
        for (index, container) in list.iter().enumerate() {
            let at = path.index(index);
            self.common(container, &at, errors);
            let name = container.text("name");
            if list[..index].iter().any(|other| other.text("name") == name) {
                errors.duplicate(&at.child("name"), name);
            }
            handlers::lifecycle(container, self.grace, &at, errors);
            handlers::probes(container, &at, errors);
            restart_policy(container, false, &at, errors);
        }
        host_ports(list, path, errors);
    }

    /// `spec.initContainers`.
    pub fn init(&self, path: &Path, errors: &mut Errors) {
        let (list, path) = (
            self.spec.list("initContainers"),
            &path.child("initContainers"),
        );
        for (index, container) in list.iter().enumerate() {
            let at = path.index(index);
            self.common(container, &at, errors);
            restart_policy(container, true, &at, errors);
            let name = container.text("name");
            let taken = |others: &[Value]| others.iter().any(|other| other.text("name") == name);
            if taken(self.spec.list("containers")) || !name.is_empty() && taken(&list[..index]) {
                errors.duplicate(&at.child("name"), name);
            }
            // upstream looks at one container at a time, and blames the first
            host_ports(std::slice::from_ref(container), path, errors);
            if is_sidecar(container) {
                handlers::lifecycle(container, self.grace, &at, errors);
                handlers::probes(container, &at, errors);
                continue;
            }
            for name in [
                "lifecycle",
                "livenessProbe",
                "readinessProbe",
                "startupProbe",
            ]
            .iter()
            .filter(|name| container.some(name).is_some())
            {
                errors.forbidden(
                    &at.child(name),
                    "may not be set for init containers without restartPolicy=Always",
                );
            }
            if !self.options.restart_on_resize_of_init_containers {
                for (number, _) in container
                    .list("resizePolicy")
                    .iter()
                    .enumerate()
                    .filter(|(_, policy)| policy.text("restartPolicy") == "RestartContainer")
                {
                    let place = at.child("resizePolicy");
                    let place = place.index(number);
                    errors.invalid(
                        &place.child("restartPolicy"),
                        "RestartContainer",
                        "must not be set to 'RestartContainer' for non-sidecar initContainers",
                    );
                }
            }
        }
    }

    /// `spec.ephemeralContainers`.
    pub fn ephemeral(&self, path: &Path, errors: &mut Errors) {
        const REFUSED: &str = "cannot be set for an Ephemeral Container";
        let (list, path) = (
            self.spec.list("ephemeralContainers"),
            &path.child("ephemeralContainers"),
        );
        for (index, container) in list.iter().enumerate() {
            let at = path.index(index);
            self.common(container, &at, errors);
            image_has_no_blanks(container, &at, errors);
            let known = |name: &str| {
                ["containers", "initContainers"].iter().any(|kind| {
                    self.spec
                        .list(kind)
                        .iter()
                        .any(|other| other.text("name") == name)
                })
            };
            let name = container.text("name");
            if known(name) || list[..index].iter().any(|other| other.text("name") == name) {
                errors.duplicate(&at.child("name"), name);
            }
            let target = container.text("targetContainerName");
            if !target.is_empty() && !known(target) {
                errors.not_found(&at.child("targetContainerName"), target);
            }
            for name in NOT_EPHEMERAL.iter().filter(|name| is_set(container, name)) {
                errors.forbidden(&at.child(name), REFUSED);
            }
            for (number, mount) in container.list("volumeMounts").iter().enumerate() {
                let place = at.child("volumeMounts");
                let place = place.index(number);
                for name in ["subPath", "subPathExpr"]
                    .iter()
                    .filter(|name| !mount.text(name).is_empty())
                {
                    errors.forbidden(&place.child(name), REFUSED);
                }
            }
        }
    }

    fn common(&self, container: &Value, path: &Path, errors: &mut Errors) {
        let name = container.text("name");
        if name.is_empty() {
            errors.required(&path.child("name"), "");
        } else {
            dns_label(name, &path.child("name"), errors);
        }
        if container.text("image").is_empty() {
            errors.required(&path.child("image"), "");
        }
        required_one_of(
            container.text("terminationMessagePolicy"),
            &["File", "FallbackToLogsOnError"],
            &path.child("terminationMessagePolicy"),
            errors,
        );
        ports(container.list("ports"), &path.child("ports"), errors);
        env::variables(container.list("env"), &path.child("env"), errors);
        env::sources(container.list("envFrom"), &path.child("envFrom"), errors);
        self.mounts(container, &path.child("volumeMounts"), errors);
        self.devices(container, &path.child("volumeDevices"), errors);
        handlers::pull_policy(
            container.text("imagePullPolicy"),
            &path.child("imagePullPolicy"),
            errors,
        );
        resources::of_container(
            container.some("resources"),
            &self.claims,
            self.options,
            &path.child("resources"),
            errors,
        );
        self.resize_policy(
            container.list("resizePolicy"),
            &path.child("resizePolicy"),
            errors,
        );
        security::of_container(
            container.some("securityContext"),
            self.host_users,
            &path.child("securityContext"),
            errors,
        );
    }

    fn volume(&self, name: &str) -> Option<&Value> {
        self.volumes
            .iter()
            .find(|(other, _)| *other == name)
            .map(|(_, volume)| *volume)
    }

    fn mounts(&self, container: &Value, path: &Path, errors: &mut Errors) {
        let (list, devices) = (
            container.list("volumeMounts"),
            container.list("volumeDevices"),
        );
        for (index, mount) in list.iter().enumerate() {
            let at = path.index(index);
            let (name, place) = (mount.text("name"), mount.text("mountPath"));
            if name.is_empty() {
                errors.required(&at.child("name"), "");
            }
            if self.volume(name).is_none() {
                errors.not_found(&at.child("name"), name);
            }
            if place.is_empty() {
                errors.required(&at.child("mountPath"), "");
            }
            if list[..index]
                .iter()
                .any(|other| other.text("mountPath") == place)
            {
                errors.invalid(&at.child("mountPath"), place, "must be unique");
            }
            if devices.iter().any(|device| device.text("name") == name) {
                errors.invalid(
                    &at.child("name"),
                    name,
                    "must not already exist in volumeDevices",
                );
            }
            if devices
                .iter()
                .any(|device| device.text("devicePath") == place)
            {
                errors.invalid(
                    &at.child("mountPath"),
                    place,
                    "must not already exist as a path in volumeDevices",
                );
            }
            sub_paths(mount, path, &at, errors);
            propagation(mount, container, path, errors);
        }
    }

    fn devices(&self, container: &Value, path: &Path, errors: &mut Errors) {
        let (list, mounts) = (
            container.list("volumeDevices"),
            container.list("volumeMounts"),
        );
        for (index, device) in list.iter().enumerate() {
            let at = path.index(index);
            let (name, place) = (device.text("name"), device.text("devicePath"));
            let before = &list[..index];
            if name.is_empty() {
                errors.required(&at.child("name"), "");
            } else if before.iter().any(|other| other.text("name") == name) {
                errors.invalid(&at.child("name"), name, "must be unique");
            }
            match self.volume(name) {
                Some(volume)
                    if volume.some("persistentVolumeClaim").is_none()
                        && volume.some("ephemeral").is_none() =>
                {
                    errors.invalid(&at.child("name"), name, "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode");
                }
                Some(_) => {}
                None => errors.not_found(&at.child("name"), name),
            }
            let climbs = place.split('/').any(|part| part == "..");
            if place.is_empty() {
                errors.required(&at.child("devicePath"), "");
            }
            if before.iter().any(|other| {
                other.text("devicePath") == place
                    && !other.text("devicePath").split('/').any(|part| part == "..")
            }) {
                errors.invalid(&at.child("devicePath"), place, "must be unique");
            }
            if climbs {
                errors.invalid(
                    &at.child("devicePath"),
                    place,
                    "can not contain backsteps ('..')",
                );
            }
            if mounts.iter().any(|mount| mount.text("name") == name) {
                errors.invalid(
                    &at.child("name"),
                    name,
                    "must not already exist in volumeMounts",
                );
            }
            if mounts.iter().any(|mount| mount.text("mountPath") == place) {
                errors.invalid(
                    &at.child("devicePath"),
                    place,
                    "must not already exist as a path in volumeMounts",
                );
            }
        }
    }

    fn resize_policy(&self, policies: &[Value], path: &Path, errors: &mut Errors) {
        for (index, policy) in policies.iter().enumerate() {
            let (name, restart) = (policy.text("resourceName"), policy.text("restartPolicy"));
            if policies[..index]
                .iter()
                .any(|other| other.text("resourceName") == name)
            {
                errors.duplicate(&path.index(index), name);
            }
            required_one_of(name, &["cpu", "memory"], path, errors);
            required_one_of(restart, &["NotRequired", "RestartContainer"], path, errors);
            if self.spec.text("restartPolicy") == "Never" && restart != "NotRequired" {
                errors.invalid(
                    path,
                    restart,
                    "must be 'NotRequired' when pod `restartPolicy` is 'Never'",
                );
            }
        }
    }
}

/// Fields of a container that an ephemeral one may not have, in the order of upstream's struct.
const NOT_EPHEMERAL: [&str; 9] = [
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
];

fn is_set(container: &Value, name: &str) -> bool {
    match container.some(name) {
        None => false,
        Some(Value::Object(resources)) if name == "resources" => !resources.is_empty(),
        Some(_) => true,
    }
}

/// Pods, unlike templates, refuse blanks around the image's name.
pub fn image_has_no_blanks(container: &Value, path: &Path, errors: &mut Errors) {
    let image = container.text("image");
    if image.trim() != image {
        errors.invalid(
            &path.child("image"),
            image,
            "must not have leading or trailing whitespace",
        );
    }
}

fn sub_paths(mount: &Value, list: &Path, path: &Path, errors: &mut Errors) {
    let (plain, expression) = (mount.text("subPath"), mount.text("subPathExpr"));
    if !plain.is_empty() {
        descending_path(plain, &list.child("subPath"), errors);
    }
    if !expression.is_empty() {
        if !plain.is_empty() {
            errors.invalid(
                &path.child("subPathExpr"),
                expression,
                "subPathExpr and subPath are mutually exclusive",
            );
        }
        descending_path(expression, &list.child("subPathExpr"), errors);
    }
}

fn propagation(mount: &Value, container: &Value, list: &Path, errors: &mut Errors) {
    let way = mount.text_ptr("mountPropagation");
    if let Some(way) = way {
        let at = list.child("mountPropagation");
        one_of(
            way,
            &["Bidirectional", "HostToContainer", "None"],
            &at,
            errors,
        );
        if way == "Bidirectional" && !container.at("securityContext").flag("privileged") {
            errors.forbidden(
                &at,
                "Bidirectional mount propagation is available only to privileged containers",
            );
        }
    }
    let at = list.child("recursiveReadOnly");
    match mount.text_ptr("recursiveReadOnly") {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if !mount.flag("readOnly") {
                errors.forbidden(&at, "may only be specified when readOnly is true");
            }
            if way.is_some_and(|way| way != "None") {
                errors.forbidden(
                    &at,
                    "may only be specified when mountPropagation is None or not specified",
                );
            }
        }
        Some(other) => unsupported(other, &["Disabled", "Enabled", "IfPossible"], &at, errors),
    }
}

fn ports(list: &[Value], path: &Path, errors: &mut Errors) {
    for (index, port) in list.iter().enumerate() {
        let at = path.index(index);
        let name = port.text("name");
        if !name.is_empty() {
            let messages = names::is_valid_port_name(name);
            if messages.is_empty() && list[..index].iter().any(|other| other.text("name") == name) {
                errors.duplicate(&at.child("name"), name);
            }
            errors.invalid_all(&at.child("name"), name, messages);
        }
        for field in ["containerPort", "hostPort"] {
            match port.int(field) {
                0 if field == "containerPort" => errors.required(&at.child(field), ""),
                0 => {}
                number => {
                    for message in names::is_valid_port_num(number) {
                        errors.invalid(&at.child(field), number, message);
                    }
                }
            }
        }
        required_one_of(
            port.text("protocol"),
            &["SCTP", "TCP", "UDP"],
            &at.child("protocol"),
            errors,
        );
    }
}

/// No two containers of a list want the same port of their host.
fn host_ports(list: &[Value], path: &Path, errors: &mut Errors) {
    let key = |port: &Value| {
        format!(
            "{}/{}/{}",
            port.text("protocol"),
            port.text("hostIP"),
            port.int("hostPort")
        )
    };
    let mut taken: Vec<String> = Vec::new();
    for (index, container) in list.iter().enumerate() {
        for (number, port) in container
            .list("ports")
            .iter()
            .enumerate()
            .filter(|(_, port)| port.int("hostPort") != 0)
        {
            let key = key(port);
            if taken.contains(&key) {
                let at = path.index(index);
                let at = at.child("ports");
                errors.duplicate(&at.index(number).child("hostPort"), key);
            } else {
                taken.push(key);
            }
        }
    }
}

/// `restartPolicy` of a container, and the rules that go with it; those of an init container are not looked at without a policy.
fn restart_policy(container: &Value, init: bool, path: &Path, errors: &mut Errors) {
    const MOST_RULES: usize = 20;
    const MOST_VALUES: usize = 255;
    let rules = container.list("restartPolicyRules");
    match container.text_ptr("restartPolicy") {
        None if rules.is_empty() => return,
        None => errors.required(
            &path.child("restartPolicy"),
            "must specify restartPolicy when restart rules are used",
        ),
        Some(policy) => one_of(
            policy,
            &["Always", "Never", "OnFailure"],
            &path.child("restartPolicy"),
            errors,
        ),
    }
    if container.text_ptr("restartPolicy").is_none() && init {
        return;
    }
    let path = path.child("restartPolicyRules");
    if rules.len() > MOST_RULES {
        errors.too_many(&path, rules.len() as i64, MOST_RULES as i64);
    }
    for (index, rule) in rules.iter().enumerate() {
        let at = path.index(index);
        one_of(
            rule.text("action"),
            &["Restart", "RestartAllContainers"],
            &at.child("action"),
            errors,
        );
        let Some(codes) = rule.some("exitCodes") else {
            errors.required(&at.child("exitCodes"), "must be specified");
            continue;
        };
        let at = at.child("exitCodes");
        one_of(
            codes.text("operator"),
            &["In", "NotIn"],
            &at.child("operator"),
            errors,
        );
        let values = codes.list("values").len();
        if values > MOST_VALUES {
            errors.too_many(&at.child("values"), values as i64, MOST_VALUES as i64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(name: &str) -> Value {
        json!({"name": name, "image": "i", "terminationMessagePolicy": "File", "imagePullPolicy": "Always"})
    }

    fn said(spec: Value) -> Vec<String> {
        let volume = json!({"emptyDir": {}});
        let options = Options::default();
        let pod = Pod {
            spec: &spec,
            options: &options,
            volumes: vec![("v", &volume)],
            claims: vec![],
            grace: Some(30),
            host_users: true,
        };
        let mut errors = Errors::default();
        let path = Path::new("");
        pod.regular(&path, &mut errors);
        pod.init(&path, &mut errors);
        pod.ephemeral(&path, &mut errors);
        errors.texts()
    }

    fn with(name: &str, value: Value) -> Value {
        let mut one = container("a");
        one[name] = value;
        json!({"containers": [one]})
    }

    #[test]
    fn regular() {
        for (spec, wanted) in [
            (
                json!({"containers": [container("a"), container("b")]}),
                vec![],
            ),
            (json!({}), vec!["containers: Required value"]),
            (
                json!({"containers": [container("a"), container("a")]}),
                vec!["containers[1].name: Duplicate value: \"a\""],
            ),
            (
                with(
                    "volumeMounts",
                    json!([{"name": "v", "mountPath": "/a"}, {"name": "x", "mountPath": "/a"}]),
                ),
                vec![
                    "containers[0].volumeMounts[1].name: Not found: \"x\"",
                    "containers[0].volumeMounts[1].mountPath: Invalid value: \"/a\": must be unique",
                ],
            ),
            (
                with(
                    "volumeMounts",
                    json!([{"name": "v", "mountPath": "/a", "subPath": "/x", "mountPropagation": "Bidirectional"}]),
                ),
                vec![
                    "containers[0].volumeMounts.subPath: Invalid value: \"/x\": must be a relative path",
                    "containers[0].volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers",
                ],
            ),
            (
                with(
                    "volumeDevices",
                    json!([{"name": "v", "devicePath": "/a/.."}]),
                ),
                vec![
                    "containers[0].volumeDevices[0].name: Invalid value: \"v\": can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
                    "containers[0].volumeDevices[0].devicePath: Invalid value: \"/a/..\": can not contain backsteps ('..')",
                ],
            ),
            (
                with("ports", json!([{"containerPort": 0, "protocol": "x"}])),
                vec![
                    "containers[0].ports[0].containerPort: Required value",
                    "containers[0].ports[0].protocol: Unsupported value: \"x\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
                ],
            ),
            (
                with(
                    "ports",
                    json!([{"containerPort": 1, "hostPort": 5, "protocol": "TCP"}, {"containerPort": 2, "hostPort": 5, "protocol": "TCP"}]),
                ),
                vec!["containers[0].ports[1].hostPort: Duplicate value: \"TCP//5\""],
            ),
            (
                with("restartPolicyRules", json!([{"action": "x"}])),
                vec![
                    "containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used",
                    "containers[0].restartPolicyRules[0].action: Unsupported value: \"x\": supported values: \"Restart\", \"RestartAllContainers\"",
                    "containers[0].restartPolicyRules[0].exitCodes: Required value: must be specified",
                ],
            ),
            (
                with(
                    "resizePolicy",
                    json!([{"resourceName": "cpu", "restartPolicy": "x"}]),
                ),
                vec![
                    "containers[0].resizePolicy: Unsupported value: \"x\": supported values: \"NotRequired\", \"RestartContainer\"",
                ],
            ),
        ] {
            assert_eq!(said(spec), wanted);
        }
    }

    #[test]
    fn others() {
        let mut before = container("a");
        before["lifecycle"] = json!({});
        before["resizePolicy"] =
            json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]);
        let mut debug = container("a");
        debug["ports"] = json!([]);
        debug["targetContainerName"] = "x".into();
        assert_eq!(
            said(
                json!({"containers": [container("a")], "initContainers": [before], "ephemeralContainers": [debug]})
            ),
            [
                "initContainers[0].name: Duplicate value: \"a\"",
                "initContainers[0].lifecycle: Forbidden: may not be set for init containers without restartPolicy=Always",
                "initContainers[0].resizePolicy[0].restartPolicy: Invalid value: \"RestartContainer\": must not be set to 'RestartContainer' for non-sidecar initContainers",
                "ephemeralContainers[0].name: Duplicate value: \"a\"",
                "ephemeralContainers[0].targetContainerName: Not found: \"x\"",
                "ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
            ]
        );
    }
}
