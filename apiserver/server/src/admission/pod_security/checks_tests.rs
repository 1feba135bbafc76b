//! Each check: what it lets in, what it does not, and what it says then.

use serde_json::{Value, json};

use super::*;

/// A pod that the strictest level lets in, with changes: paths from its spec, or of an annotation.
fn pod(changes: &Value) -> Value {
    let mut pod = json!({
        "metadata": {"annotations": {}},
        "spec": {
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "initContainers": [container("init")],
            "containers": [container("a"), container("b")],
        },
    });
    for (path, value) in changes.as_object().unwrap() {
        if let Some(name) = path.strip_prefix('@') {
            pod["metadata"]["annotations"][name] = value.clone();
            continue;
        }
        let (parent, name) = path.rsplit_once('/').unwrap();
        let at =
            parent
                .split('/')
                .filter(|step| !step.is_empty())
                .fold(&mut pod["spec"], |at, step| match step.parse::<usize>() {
                    Ok(index) => &mut at[index],
                    Err(_) => &mut at[step],
                });
        at[name] = value.clone();
    }
    pod
}

fn container(name: &str) -> Value {
    json!({
        "name": name,
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
        },
    })
}

fn told(pod: &Value, level: Level, version: Minor) -> String {
    let pod = Pod {
        metadata: &pod["metadata"],
        spec: &pod["spec"],
    };
    Violations::of(pod, Asked { level, version }).details()
}

#[test]
fn what_each_check_says() {
    use Level::{Baseline as B, Restricted as R};
    const ARMOR: &str = "@container.apparmor.security.beta.kubernetes.io/a";
    const SECCOMP: &str = "@seccomp.security.alpha.kubernetes.io/pod";
    const A: &str = "/containers/0/securityContext";
    const POD: &str = "/securityContext";
    let a = |field: &str| format!("{A}/{field}");
    let p = |field: &str| format!("{POD}/{field}");
    let others = r#"restricted volume types (volume "v" uses restricted volume type "#;
    #[rustfmt::skip]
    let rows: &[(Value, Level, Minor, &str)] = &[
        (json!({}), R, None, ""),
        (json!({}), R, Some(0), ""),
        // AppArmor
        (json!({ARMOR: "runtime/default"}), B, None, ""),
        (json!({ARMOR: "localhost/x"}), B, None, ""),
        (json!({ARMOR: "unconfined"}), B, None, r#"forbidden AppArmor profile (annotation must not set AppArmor profile type to "container.apparmor.security.beta.kubernetes.io/a="unconfined"")"#),
        (json!({a("appArmorProfile"): {"type": "Localhost"}}), B, None, ""),
        (json!({a("appArmorProfile"): {"type": "Unconfined"}, p("appArmorProfile"): {"type": "Odd"}}), B, None, r#"forbidden AppArmor profiles (pod and container "a" must not set AppArmor profile type to "Odd", "Unconfined")"#),
        // capabilities
        (json!({a("capabilities"): {"add": ["CHOWN", "KILL"]}}), B, None, ""),
        (json!({a("capabilities"): {"add": ["SYS_TIME", "NET_RAW"]}}), B, None, r#"non-default capabilities (container "a" must not include "NET_RAW", "SYS_TIME" in securityContext.capabilities.add)"#),
        (json!({a("capabilities"): {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]}}), R, None, ""),
        (json!({a("capabilities"): {"add": ["CHOWN"], "drop": ["ALL"]}}), R, None, r#"unrestricted capabilities (container "a" must not include "CHOWN" in securityContext.capabilities.add)"#),
        (json!({a("capabilities"): {"drop": ["KILL"]}}), R, None, r#"unrestricted capabilities (container "a" must set securityContext.capabilities.drop=["ALL"])"#),
        (json!({a("capabilities"): {"add": ["SYS_TIME"]}, "/containers/1/securityContext/capabilities": null}), R, None, r#"unrestricted capabilities (containers "a", "b" must set securityContext.capabilities.drop=["ALL"]; container "a" must not include "SYS_TIME" in securityContext.capabilities.add)"#),
        (json!({a("capabilities"): {"add": ["SYS_TIME"]}}), R, Some(21), r#"non-default capabilities (container "a" must not include "SYS_TIME" in securityContext.capabilities.add)"#),
        (json!({a("capabilities"): null, "/os": {"name": "windows"}}), R, None, ""),
        (json!({a("capabilities"): null, "/os": {"name": "windows"}}), R, Some(24), r#"unrestricted capabilities (container "a" must set securityContext.capabilities.drop=["ALL"])"#),
        // the host's
        (json!({"/hostPID": true, "/hostNetwork": true, "/hostIPC": true}), B, None, "host namespaces (hostNetwork=true, hostPID=true, hostIPC=true)"),
        (json!({"/hostPID": false}), B, None, ""),
        (json!({"/volumes": [{"name": "v", "hostPath": {"path": "/"}}]}), B, None, r#"hostPath volumes (volume "v")"#),
        (json!({"/volumes": [{"name": "v", "hostPath": {}}, {"name": "w", "hostPath": {}}]}), B, None, r#"hostPath volumes (volumes "v", "w")"#),
        (json!({"/containers/0/ports": [{"containerPort": 80}]}), B, None, ""),
        (json!({"/containers/0/ports": [{"hostPort": 80}]}), B, None, r#"hostPort (container "a" uses hostPort 80)"#),
        (json!({"/containers/0/ports": [{"hostPort": 80}, {"hostPort": 443}], "/initContainers/0/ports": [{"hostPort": 9}]}), B, None, r#"hostPort (containers "init", "a" use hostPorts 443, 80, 9)"#),
        (json!({"/containers/0/livenessProbe": {"httpGet": {"port": 1}}}), B, None, ""),
        (json!({"/containers/0/livenessProbe": {"httpGet": {"host": "h"}}}), B, None, r#"probe or lifecycle host (container "a" uses probe or lifecycle host "h")"#),
        (json!({"/containers/0/lifecycle": {"preStop": {"tcpSocket": {"host": "h"}}}, "/initContainers/0/startupProbe": {"tcpSocket": {"host": "g"}}}), B, None, r#"probe or lifecycle host (containers "a", "init" use probe or lifecycle hosts "g", "h")"#),
        (json!({"/containers/0/readinessProbe": {"httpGet": {"host": "h"}}}), B, Some(33), ""),
        (json!({a("privileged"): false}), B, None, ""),
        (json!({a("privileged"): true}), B, None, r#"privileged (container "a" must not set securityContext.privileged=true)"#),
        (json!({"/ephemeralContainers": [{"name": "e", "securityContext": {"privileged": true}}]}), B, None, r#"privileged (container "e" must not set securityContext.privileged=true)"#),
        (json!({p("windowsOptions"): {"hostProcess": true}, a("windowsOptions"): {"hostProcess": true}}), B, None, r#"hostProcess (pod and container "a" must not set securityContext.windowsOptions.hostProcess=true)"#),
        // procMount
        (json!({a("procMount"): "Default"}), R, None, ""),
        (json!({a("procMount"): "Unmasked"}), B, None, r#"procMount (container "a" must not set securityContext.procMount to "Unmasked")"#),
        (json!({a("procMount"): "Unmasked", "/hostUsers": false}), B, None, ""),
        (json!({a("procMount"): "Unmasked", "/hostUsers": false}), B, Some(34), r#"procMount (container "a" must not set securityContext.procMount to "Unmasked")"#),
        (json!({a("procMount"): "Unmasked", "/hostUsers": false}), R, None, r#"procMount (container "a" must not set securityContext.procMount to "Unmasked")"#),
        // SELinux
        (json!({p("seLinuxOptions"): {"type": "container_engine_t", "level": "s0"}}), B, None, ""),
        (json!({p("seLinuxOptions"): {"type": "container_engine_t"}}), B, Some(30), r#"seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "container_engine_t")"#),
        (json!({a("seLinuxOptions"): {"type": "x", "user": "u", "role": "r"}}), B, None, r#"seLinuxOptions (container "a" set forbidden securityContext.seLinuxOptions: type "x"; user may not be set; role may not be set)"#),
        // seccomp
        (json!({a("seccompProfile"): {"type": "Localhost"}}), R, None, ""),
        (json!({a("seccompProfile"): {"type": "Unconfined"}}), B, None, r#"seccompProfile (container "a" must not set securityContext.seccompProfile.type to "Unconfined")"#),
        (json!({p("seccompProfile"): null}), R, None, r#"seccompProfile (pod or containers "init", "a", "b" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")"#),
        (json!({p("seccompProfile"): null}), B, None, ""),
        (json!({p("seccompProfile"): null}), R, Some(18), ""),
        (json!({p("seccompProfile"): null, "/os": {"name": "windows"}}), R, None, ""),
        (json!({SECCOMP: "unconfined"}), R, None, ""),
        (json!({SECCOMP: "docker/default"}), B, Some(18), ""),
        (json!({SECCOMP: "unconfined"}), B, Some(18), r#"seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod="unconfined")"#),
        // sysctls
        (json!({p("sysctls"): [{"name": "net.ipv4.tcp_rmem"}]}), B, None, ""),
        (json!({p("sysctls"): [{"name": "net.ipv4.tcp_rmem"}]}), B, Some(31), "forbidden sysctls (net.ipv4.tcp_rmem)"),
        (json!({p("sysctls"): [{"name": "net.ipv4.tcp_fin_timeout"}]}), B, Some(29), ""),
        (json!({p("sysctls"): [{"name": "net.ipv4.ip_local_reserved_ports"}]}), B, Some(26), "forbidden sysctls (net.ipv4.ip_local_reserved_ports)"),
        (json!({p("sysctls"): [{"name": "vm.swappiness"}, {"name": "kernel.shm_rmid_forced"}, {"name": "fs.a"}]}), B, None, "forbidden sysctls (vm.swappiness, fs.a)"),
        // escalation
        (json!({a("allowPrivilegeEscalation"): null}), R, None, r#"allowPrivilegeEscalation != false (container "a" must set securityContext.allowPrivilegeEscalation=false)"#),
        (json!({a("allowPrivilegeEscalation"): true}), B, None, ""),
        (json!({a("allowPrivilegeEscalation"): true}), R, Some(7), ""),
        (json!({a("allowPrivilegeEscalation"): true, "/os": {"name": "windows"}}), R, None, ""),
        // volumes
        (json!({"/volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "image": {}}]}), R, None, ""),
        (json!({"/volumes": [{"name": "v", "hostPath": {}}]}), R, None, &format!(r#"{others}"hostPath")"#)),
        (json!({"/volumes": [{"name": "v", "nfs": {}}]}), R, None, &format!(r#"{others}"nfs")"#)),
        (json!({"/volumes": [{"name": "v", "nfs": {}}]}), B, None, ""),
        (json!({"/volumes": [{"name": "v", "nfs": {}}, {"name": "w", "rbd": {}}, {"name": "x"}]}), R, None, r#"restricted volume types (volumes "v", "w", "x" use restricted volume types "nfs", "rbd", "unknown")"#),
        // who runs
        (json!({p("runAsNonRoot"): null}), R, None, r#"runAsNonRoot != true (pod or containers "init", "a", "b" must set securityContext.runAsNonRoot=true)"#),
        (json!({p("runAsNonRoot"): false}), R, None, "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)"),
        (json!({a("runAsNonRoot"): false}), R, None, r#"runAsNonRoot != true (container "a" must not set securityContext.runAsNonRoot=false)"#),
        (json!({a("runAsNonRoot"): false, "/hostUsers": false}), R, None, ""),
        (json!({a("runAsNonRoot"): false}), B, None, ""),
        (json!({p("runAsUser"): 0, a("runAsUser"): 0}), R, None, r#"runAsUser=0 (pod and container "a" must not set runAsUser=0)"#),
        (json!({p("runAsUser"): 1000}), R, None, ""),
        (json!({p("runAsUser"): 0}), R, Some(22), ""),
        (json!({p("runAsUser"): 0, "/hostUsers": false}), R, None, ""),
        // several, in order
        (json!({a("privileged"): true, "/hostIPC": true, a("allowPrivilegeEscalation"): true}), R, None, r#"host namespaces (hostIPC=true), privileged (container "a" must not set securityContext.privileged=true), allowPrivilegeEscalation != false (container "a" must set securityContext.allowPrivilegeEscalation=false)"#),
        (json!({a("privileged"): true}), Level::Privileged, None, ""),
    ];
    for (changes, level, version, expected) in rows {
        let found = told(&pod(changes), *level, *version);
        assert_eq!(found, *expected, "{changes} {level:?} {version:?}");
    }
}

#[test]
fn every_check_has_a_name_of_its_own_and_grows_with_releases() {
    for (index, check) in CHECKS.iter().enumerate() {
        assert!(CHECKS[..index].iter().all(|other| other.id != check.id));
        assert!(check.versions.is_sorted_by_key(|(from, _)| *from));
        let replaced = CHECKS.iter().any(|other| other.id == check.instead_of);
        assert!(check.instead_of.is_empty() || replaced, "{}", check.id);
    }
}
