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

fn told(pod: &Value, level: Level, minor: u32) -> String {
    let pod = Pod {
        metadata: &pod["metadata"],
        spec: &pod["spec"],
        minor,
    };
    Violations::of(pod, level).details()
}

#[test]
fn what_each_check_says() {
    use Level::{Baseline as B, Restricted as R};
    const NEW: u32 = u32::MAX;
    const ARMOR: &str = "@container.apparmor.security.beta.kubernetes.io/a";
    const SECCOMP: &str = "@seccomp.security.alpha.kubernetes.io/pod";
    const A: &str = "/containers/0/securityContext";
    const POD: &str = "/securityContext";
    let a = |field: &str| format!("{A}/{field}");
    let p = |field: &str| format!("{POD}/{field}");
    let others = r#"restricted volume types (volume "v" uses restricted volume type "#;
    #[rustfmt::skip]
    let rows: &[(Value, Level, u32, &str)] = &[
        (json!({}), R, NEW, ""),
        (json!({}), R, 0, ""),
        // AppArmor
        (json!({ARMOR: "runtime/default"}), B, NEW, ""),
        (json!({ARMOR: "localhost/x"}), B, NEW, ""),
        (json!({ARMOR: "unconfined"}), B, NEW, r#"forbidden AppArmor profile (annotation must not set AppArmor profile type to "container.apparmor.security.beta.kubernetes.io/a="unconfined"")"#),
        (json!({a("appArmorProfile"): {"type": "Localhost"}}), B, NEW, ""),
        (json!({a("appArmorProfile"): {"type": "Unconfined"}, p("appArmorProfile"): {"type": "Odd"}}), B, NEW, r#"forbidden AppArmor profiles (pod and container "a" must not set AppArmor profile type to "Odd", "Unconfined")"#),
        // capabilities
        (json!({a("capabilities"): {"add": ["CHOWN", "KILL"]}}), B, NEW, ""),
        (json!({a("capabilities"): {"add": ["SYS_TIME", "NET_RAW"]}}), B, NEW, r#"non-default capabilities (container "a" must not include "NET_RAW", "SYS_TIME" in securityContext.capabilities.add)"#),
        (json!({a("capabilities"): {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]}}), R, NEW, ""),
        (json!({a("capabilities"): {"add": ["CHOWN"], "drop": ["ALL"]}}), R, NEW, r#"unrestricted capabilities (container "a" must not include "CHOWN" in securityContext.capabilities.add)"#),
        (json!({a("capabilities"): {"drop": ["KILL"]}}), R, NEW, r#"unrestricted capabilities (container "a" must set securityContext.capabilities.drop=["ALL"])"#),
        (json!({a("capabilities"): {"add": ["SYS_TIME"]}, "/containers/1/securityContext/capabilities": null}), R, NEW, r#"unrestricted capabilities (containers "a", "b" must set securityContext.capabilities.drop=["ALL"]; container "a" must not include "SYS_TIME" in securityContext.capabilities.add)"#),
        (json!({a("capabilities"): {"add": ["SYS_TIME"]}}), R, 21, r#"non-default capabilities (container "a" must not include "SYS_TIME" in securityContext.capabilities.add)"#),
        (json!({a("capabilities"): null, "/os": {"name": "windows"}}), R, NEW, ""),
        (json!({a("capabilities"): null, "/os": {"name": "windows"}}), R, 24, r#"unrestricted capabilities (container "a" must set securityContext.capabilities.drop=["ALL"])"#),
        // the host's
        (json!({"/hostPID": true, "/hostNetwork": true, "/hostIPC": true}), B, NEW, "host namespaces (hostNetwork=true, hostPID=true, hostIPC=true)"),
        (json!({"/hostPID": false}), B, NEW, ""),
        (json!({"/volumes": [{"name": "v", "hostPath": {"path": "/"}}]}), B, NEW, r#"hostPath volumes (volume "v")"#),
        (json!({"/volumes": [{"name": "v", "hostPath": {}}, {"name": "w", "hostPath": {}}]}), B, NEW, r#"hostPath volumes (volumes "v", "w")"#),
        (json!({"/containers/0/ports": [{"containerPort": 80}]}), B, NEW, ""),
        (json!({"/containers/0/ports": [{"hostPort": 80}]}), B, NEW, r#"hostPort (container "a" uses hostPort 80)"#),
        (json!({"/containers/0/ports": [{"hostPort": 80}, {"hostPort": 443}], "/initContainers/0/ports": [{"hostPort": 9}]}), B, NEW, r#"hostPort (containers "init", "a" use hostPorts 443, 80, 9)"#),
        (json!({"/containers/0/livenessProbe": {"httpGet": {"port": 1}}}), B, NEW, ""),
        (json!({"/containers/0/livenessProbe": {"httpGet": {"host": "h"}}}), B, NEW, r#"probe or lifecycle host (container "a" uses probe or lifecycle host "h")"#),
        (json!({"/containers/0/lifecycle": {"preStop": {"tcpSocket": {"host": "h"}}}, "/initContainers/0/startupProbe": {"tcpSocket": {"host": "g"}}}), B, NEW, r#"probe or lifecycle host (containers "a", "init" use probe or lifecycle hosts "g", "h")"#),
        (json!({"/containers/0/readinessProbe": {"httpGet": {"host": "h"}}}), B, 33, ""),
        (json!({a("privileged"): false}), B, NEW, ""),
        (json!({a("privileged"): true}), B, NEW, r#"privileged (container "a" must not set securityContext.privileged=true)"#),
        (json!({"/ephemeralContainers": [{"name": "e", "securityContext": {"privileged": true}}]}), B, NEW, r#"privileged (container "e" must not set securityContext.privileged=true)"#),
        (json!({p("windowsOptions"): {"hostProcess": true}, a("windowsOptions"): {"hostProcess": true}}), B, NEW, r#"hostProcess (pod and container "a" must not set securityContext.windowsOptions.hostProcess=true)"#),
        // procMount
        (json!({a("procMount"): "Default"}), R, NEW, ""),
        (json!({a("procMount"): "Unmasked"}), B, NEW, r#"procMount (container "a" must not set securityContext.procMount to "Unmasked")"#),
        (json!({a("procMount"): "Unmasked", "/hostUsers": false}), B, NEW, ""),
        (json!({a("procMount"): "Unmasked", "/hostUsers": false}), B, 34, r#"procMount (container "a" must not set securityContext.procMount to "Unmasked")"#),
        (json!({a("procMount"): "Unmasked", "/hostUsers": false}), R, NEW, r#"procMount (container "a" must not set securityContext.procMount to "Unmasked")"#),
        // SELinux
        (json!({p("seLinuxOptions"): {"type": "container_engine_t", "level": "s0"}}), B, NEW, ""),
        (json!({p("seLinuxOptions"): {"type": "container_engine_t"}}), B, 30, r#"seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "container_engine_t")"#),
        (json!({a("seLinuxOptions"): {"type": "x", "user": "u", "role": "r"}}), B, NEW, r#"seLinuxOptions (container "a" set forbidden securityContext.seLinuxOptions: type "x"; user may not be set; role may not be set)"#),
        // seccomp
        (json!({a("seccompProfile"): {"type": "Localhost"}}), R, NEW, ""),
        (json!({a("seccompProfile"): {"type": "Unconfined"}}), B, NEW, r#"seccompProfile (container "a" must not set securityContext.seccompProfile.type to "Unconfined")"#),
        (json!({p("seccompProfile"): null}), R, NEW, r#"seccompProfile (pod or containers "init", "a", "b" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")"#),
        (json!({p("seccompProfile"): null}), B, NEW, ""),
        (json!({p("seccompProfile"): null}), R, 18, ""),
        (json!({p("seccompProfile"): null, "/os": {"name": "windows"}}), R, NEW, ""),
        (json!({SECCOMP: "unconfined"}), R, NEW, ""),
        (json!({SECCOMP: "docker/default"}), B, 18, ""),
        (json!({SECCOMP: "unconfined"}), B, 18, r#"seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod="unconfined")"#),
        // sysctls
        (json!({p("sysctls"): [{"name": "net.ipv4.tcp_rmem"}]}), B, NEW, ""),
        (json!({p("sysctls"): [{"name": "net.ipv4.tcp_rmem"}]}), B, 31, "forbidden sysctls (net.ipv4.tcp_rmem)"),
        (json!({p("sysctls"): [{"name": "net.ipv4.tcp_fin_timeout"}]}), B, 29, ""),
        (json!({p("sysctls"): [{"name": "net.ipv4.ip_local_reserved_ports"}]}), B, 26, "forbidden sysctls (net.ipv4.ip_local_reserved_ports)"),
        (json!({p("sysctls"): [{"name": "vm.swappiness"}, {"name": "kernel.shm_rmid_forced"}, {"name": "fs.a"}]}), B, NEW, "forbidden sysctls (vm.swappiness, fs.a)"),
        // escalation
        (json!({a("allowPrivilegeEscalation"): null}), R, NEW, r#"allowPrivilegeEscalation != false (container "a" must set securityContext.allowPrivilegeEscalation=false)"#),
        (json!({a("allowPrivilegeEscalation"): true}), B, NEW, ""),
        (json!({a("allowPrivilegeEscalation"): true}), R, 7, ""),
        (json!({a("allowPrivilegeEscalation"): true, "/os": {"name": "windows"}}), R, NEW, ""),
        // volumes
        (json!({"/volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "image": {}}]}), R, NEW, ""),
        (json!({"/volumes": [{"name": "v", "hostPath": {}}]}), R, NEW, &format!(r#"{others}"hostPath")"#)),
        (json!({"/volumes": [{"name": "v", "nfs": {}}]}), R, NEW, &format!(r#"{others}"nfs")"#)),
        (json!({"/volumes": [{"name": "v", "nfs": {}}]}), B, NEW, ""),
        (json!({"/volumes": [{"name": "v", "nfs": {}}, {"name": "w", "rbd": {}}, {"name": "x"}]}), R, NEW, r#"restricted volume types (volumes "v", "w", "x" use restricted volume types "nfs", "rbd", "unknown")"#),
        // who runs
        (json!({p("runAsNonRoot"): null}), R, NEW, r#"runAsNonRoot != true (pod or containers "init", "a", "b" must set securityContext.runAsNonRoot=true)"#),
        (json!({p("runAsNonRoot"): false}), R, NEW, "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)"),
        (json!({a("runAsNonRoot"): false}), R, NEW, r#"runAsNonRoot != true (container "a" must not set securityContext.runAsNonRoot=false)"#),
        (json!({a("runAsNonRoot"): false, "/hostUsers": false}), R, NEW, ""),
        (json!({a("runAsNonRoot"): false}), B, NEW, ""),
        (json!({p("runAsUser"): 0, a("runAsUser"): 0}), R, NEW, r#"runAsUser=0 (pod and container "a" must not set runAsUser=0)"#),
        (json!({p("runAsUser"): 1000}), R, NEW, ""),
        (json!({p("runAsUser"): 0}), R, 22, ""),
        (json!({p("runAsUser"): 0, "/hostUsers": false}), R, NEW, ""),
        // several, in order
        (json!({a("privileged"): true, "/hostIPC": true, a("allowPrivilegeEscalation"): true}), R, NEW, r#"host namespaces (hostIPC=true), privileged (container "a" must not set securityContext.privileged=true), allowPrivilegeEscalation != false (container "a" must set securityContext.allowPrivilegeEscalation=false)"#),
        (json!({a("privileged"): true}), Level::Privileged, NEW, ""),
    ];
    for (changes, level, minor, expected) in rows {
        let found = told(&pod(changes), *level, *minor);
        assert_eq!(found, *expected, "{changes} {level:?} {minor}");
    }
}

/// One change of such a pod, of the words where `$` stands, and whether baseline and restricted let it in.
const VERDICTS: &str = r#"
    {"/volumes": [{"name": "v", "$": {}}]}                             | configMap csi downwardAPI emptyDir ephemeral image persistentVolumeClaim projected secret | yes | yes
    {"/volumes": [{"name": "v", "$": {}}]}                             | gcePersistentDisk awsElasticBlockStore nfs iscsi glusterfs rbd cinder cephfs fc azureFile vsphereVolume azureDisk | yes | no
    {"/volumes": [{"name": "v", "$": {}}]}                             | hostPath                                  | no  | no
    {"/containers/0/securityContext/capabilities": {"add": ["$"], "drop": ["ALL"]}} | NET_BIND_SERVICE             | yes | yes
    {"/containers/0/securityContext/capabilities": {"add": ["$"], "drop": ["ALL"]}} | AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD SETFCAP SETGID SETPCAP SETUID SYS_CHROOT | yes | no
    {"/containers/1/securityContext/capabilities": {"add": ["$"], "drop": ["ALL"]}} | NET_RAW NET_ADMIN SYS_ADMIN SYS_PTRACE SYS_TIME ALL chown CAP_CHOWN | no | no
    {"/initContainers/0/securityContext/capabilities": {"add": ["$"], "drop": ["ALL"]}} | SYS_MODULE BPF         | no  | no
    {"/containers/0/securityContext/capabilities": {"drop": ["$"]}}    | ALL                                       | yes | yes
    {"/containers/0/securityContext/capabilities": {"drop": ["$"]}}    | all NET_RAW KILL                          | yes | no
    {"/securityContext/sysctls": [{"name": "$"}]}                      | kernel.shm_rmid_forced net.ipv4.ip_local_port_range net.ipv4.tcp_syncookies net.ipv4.ping_group_range net.ipv4.ip_unprivileged_port_start net.ipv4.ip_local_reserved_ports net.ipv4.tcp_keepalive_time net.ipv4.tcp_fin_timeout net.ipv4.tcp_keepalive_intvl net.ipv4.tcp_keepalive_probes net.ipv4.tcp_rmem net.ipv4.tcp_wmem | yes | yes
    {"/securityContext/sysctls": [{"name": "$"}]}                      | kernel.msgmax net.core.somaxconn vm.overcommit_memory fs.file-max net.ipv4.ip_forward kernel.sem | no | no
    {"/securityContext/seLinuxOptions": {"type": "$"}}                 | container_t container_init_t container_kvm_t container_engine_t | yes | yes
    {"/securityContext/seLinuxOptions": {"type": "$"}}                 | spc_t unconfined_t super_t                | no  | no
    {"/containers/0/securityContext/seLinuxOptions": {"$": "x"}}       | level                                     | yes | yes
    {"/containers/0/securityContext/seLinuxOptions": {"$": "x"}}       | user role type                            | no  | no
    {"/securityContext/seccompProfile": {"type": "$"}}                 | RuntimeDefault Localhost                  | yes | yes
    {"/securityContext/seccompProfile": {"type": "$"}}                 | Unconfined                                | no  | no
    {"/$/0/securityContext/seccompProfile": {"type": "Unconfined"}}    | containers initContainers                 | no  | no
    {"/$/0/securityContext/seccompProfile": {"type": "Localhost"}}     | containers initContainers                 | yes | yes
    {"/containers/0/securityContext/appArmorProfile": {"type": "$"}}   | RuntimeDefault Localhost                  | yes | yes
    {"/containers/0/securityContext/appArmorProfile": {"type": "$"}}   | Unconfined odd                            | no  | no
    {"@container.apparmor.security.beta.kubernetes.io/b": "$"}         | runtime/default localhost/mine            | yes | yes
    {"@container.apparmor.security.beta.kubernetes.io/b": "$"}         | unconfined runtime/other local            | no  | no
    {"/$": true}                                                       | hostPID hostIPC hostNetwork               | no  | no
    {"/$": false}                                                      | hostPID hostIPC hostNetwork hostUsers     | yes | yes
    {"/$": true}                                                       | hostUsers shareProcessNamespace automountServiceAccountToken enableServiceLinks | yes | yes
    {"/$/0/ports": [{"containerPort": 80, "hostPort": 80}]}            | containers initContainers                 | no  | no
    {"/$/0/ports": [{"containerPort": 80, "hostPort": 0}]}             | containers initContainers                 | yes | yes
    {"/$/0/securityContext/privileged": true}                          | containers initContainers                 | no  | no
    {"/$/0/securityContext/privileged": false}                         | containers initContainers                 | yes | yes
    {"/ephemeralContainers": [{"name": "e", "securityContext": {"$": true}}]} | privileged                         | no  | no
    {"/ephemeralContainers": [{"name": "e", "securityContext": {"$": true}}]} | readOnlyRootFilesystem allowPrivilegeEscalation | yes | no
    {"/$/0/securityContext/allowPrivilegeEscalation": true}            | containers initContainers                 | yes | no
    {"/$/0/securityContext/allowPrivilegeEscalation": null}            | containers initContainers                 | yes | no
    {"/$/0/securityContext/readOnlyRootFilesystem": false}             | containers initContainers                 | yes | yes
    {"/containers/0/$": {"httpGet": {"host": "10.0.0.1"}}}             | livenessProbe readinessProbe startupProbe | no  | no
    {"/containers/0/$": {"tcpSocket": {"host": "10.0.0.1"}}}           | livenessProbe readinessProbe startupProbe | no  | no
    {"/containers/0/$": {"httpGet": {"path": "/"}}}                    | livenessProbe readinessProbe startupProbe | yes | yes
    {"/containers/0/lifecycle": {"$": {"httpGet": {"host": "h"}}}}     | postStart preStop                         | no  | no
    {"/containers/0/lifecycle": {"$": {"exec": {"command": ["x"]}}}}   | postStart preStop                         | yes | yes
    {"/containers/0/securityContext/procMount": "$"}                   | Default                                   | yes | yes
    {"/containers/0/securityContext/procMount": "$"}                   | Unmasked odd                              | no  | no
    {"/securityContext/windowsOptions": {"hostProcess": $}}            | true                                      | no  | no
    {"/securityContext/windowsOptions": {"hostProcess": $}}            | false null                                | yes | yes
    {"/securityContext/runAsNonRoot": $}                               | true                                      | yes | yes
    {"/securityContext/runAsNonRoot": $}                               | false null                                | yes | no
    {"/$/0/securityContext/runAsNonRoot": false}                       | containers initContainers                 | yes | no
    {"/$/0/securityContext/runAsUser": 0}                              | containers initContainers                 | yes | no
    {"/securityContext/runAsUser": $}                                  | 1 1000 65534                              | yes | yes
    {"/securityContext/$": 0}                                          | runAsUser                                 | yes | no
    {"/securityContext/$": 0}                                          | runAsGroup fsGroup                        | yes | yes
"#;

#[test]
fn what_each_level_lets_in() {
    let (mut counts, mut wrong) = ([0; 2], Vec::new());
    for [change, words, baseline, restricted] in skiff_testing::table::rows(VERDICTS) {
        for word in words.split_whitespace() {
            let changes: Value = serde_json::from_str(&change.replace('$', word)).unwrap();
            let pod = pod(&changes);
            assert_eq!(told(&pod, Level::Privileged, u32::MAX), "", "{changes}");
            for (level, verdict) in [(Level::Baseline, baseline), (Level::Restricted, restricted)] {
                let wanted = verdict == "yes";
                counts[usize::from(wanted)] += 1;
                let found = told(&pod, level, u32::MAX);
                if found.is_empty() != wanted {
                    wrong.push(format!(
                        "{changes} at {level:?} should be {verdict}: {found:?}"
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(counts.iter().all(|count| *count >= 80), "{counts:?}");
}

#[test]
fn every_check_has_a_name_of_its_own_and_stands_for_one_that_there_is() {
    for (index, check) in CHECKS.iter().enumerate() {
        assert!(CHECKS[..index].iter().all(|other| other.id != check.id));
        let replaced = CHECKS.iter().any(|other| other.id == check.instead_of);
        assert!(check.instead_of.is_empty() || replaced, "{}", check.id);
    }
}
