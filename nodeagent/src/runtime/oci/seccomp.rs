//! The seccomp filter of `RuntimeDefault`: the system calls that ordinary programs need; the rest fails with EPERM.
//!
//! Invariant: a filter that was asked for is installed or the process is not started. A call that is newer than this list
//! fails with ENOSYS, so that programs fall back; calls of another architecture's table do, too.
//! The set follows containerd's default profile (`contrib/seccomp/seccomp_default.go`).

use std::collections::{BTreeMap, BTreeSet};

use libc as l;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, sock_filter,
};

use crate::runtime::{Error, Security};

/// Whether the process gets the filter. Privileged containers never do.
pub fn wanted(security: &Security) -> bool {
    !security.privileged && security.seccomp.as_deref() == Some("RuntimeDefault")
}

/// Refuses profiles that cannot be applied.
pub fn check(profile: Option<&str>) -> Result<(), Error> {
    match profile {
        None | Some("" | "Unconfined" | "RuntimeDefault") => Ok(()),
        Some(path) => Err(Error::Unsupported {
            what: format!("the seccomp profile {path:?}"),
            hint:
                "this runtime has RuntimeDefault and Unconfined; profiles from files are not read"
                    .into(),
        }),
    }
}

#[derive(thiserror::Error, Debug)]
pub enum NotInstalled {
    #[error("cannot make the seccomp filter: {0}")]
    Made(#[from] seccompiler::BackendError),
    #[error("cannot install the seccomp filter: {0}")]
    Taken(#[source] std::io::Error),
}

/// Installs the filter for this thread. Needs `no_new_privs` or CAP_SYS_ADMIN. Calls nothing that allocates after the filter is made.
pub fn install(capabilities: &BTreeSet<String>) -> Result<(), NotInstalled> {
    let program = compile(capabilities)?;
    let filter = l::sock_fprog {
        len: program.len() as u16,
        filter: program.as_ptr() as *mut l::sock_filter,
    };
    const SECCOMP_SET_MODE_FILTER: l::c_uint = 1;
    // SAFETY: `filter` points to `program`, which outlives the call; both crates' instruction types have the kernel's layout.
    match unsafe { l::syscall(l::SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) } {
        0 => Ok(()),
        _ => Err(NotInstalled::Taken(std::io::Error::last_os_error())),
    }
}

fn compile(capabilities: &BTreeSet<String>) -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ALWAYS
        .iter()
        .chain(LEGACY)
        .map(|nr| (*nr, vec![]))
        .collect();
    for (capability, calls) in WITH_CAPABILITY {
        if capabilities.contains(*capability) {
            rules.extend(calls.iter().map(|nr| (*nr, vec![])));
        }
    }
    let admin = capabilities.contains("CAP_SYS_ADMIN");
    if !admin {
        rules.insert(l::SYS_clone, vec![clone_without_namespaces()?]);
    }
    // AF_VSOCK would reach the hypervisor.
    rules.insert(
        l::SYS_socket,
        vec![argument(0, SeccompCmpOp::Ne, l::AF_VSOCK as u64)?],
    );
    rules.insert(
        l::SYS_personality,
        PERSONALITIES
            .iter()
            .map(|value| argument(0, SeccompCmpOp::Eq, *value))
            .collect::<Result<_, _>>()?,
    );
    let arch = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Errno(l::EPERM as u32),
        SeccompAction::Allow,
        arch,
    )?;
    let main: BpfProgram = filter.try_into()?;
    let mut program = unknown_calls(admin);
    program.extend(main);
    Ok(program)
}

/// What goes before the list: calls that must look as if the kernel did not have them.
fn unknown_calls(admin: bool) -> BpfProgram {
    const LOAD: u16 = 0x20; // LD | W | ABS
    const EQUAL: u16 = 0x15; // JMP | JEQ | K
    const GREATER: u16 = 0x25; // JMP | JGT | K
    const RETURN: u16 = 0x06;
    const RET_ERRNO: u32 = 0x0005_0000;
    let statement = |code, k| sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    };
    let jump = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    // A process with CAP_SYS_ADMIN may make namespaces; for others clone3 cannot be looked into, unlike clone.
    let clone3 = if admin {
        u32::MAX
    } else {
        l::SYS_clone3 as u32
    };
    vec![
        statement(LOAD, 4),
        jump(EQUAL, 0, 3, AUDIT_ARCH),
        statement(LOAD, 0),
        jump(GREATER, 1, 0, NEWEST as u32),
        jump(EQUAL, 0, 1, clone3),
        statement(RETURN, RET_ERRNO | l::ENOSYS as u32),
    ]
}

fn argument(
    index: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(
        index,
        SeccompCmpArgLen::Dword,
        operator,
        value,
    )?])
}

fn clone_without_namespaces() -> Result<SeccompRule, seccompiler::BackendError> {
    let namespaces = l::CLONE_NEWNS
        | l::CLONE_NEWCGROUP
        | l::CLONE_NEWUTS
        | l::CLONE_NEWIPC
        | l::CLONE_NEWUSER
        | l::CLONE_NEWPID
        | l::CLONE_NEWNET;
    argument(0, SeccompCmpOp::MaskedEq(namespaces as u32 as u64), 0)
}

#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: u32 = 0xc000_00b7;

/// The highest number that this list knows of; what is above came later.
const NEWEST: i64 = 462; // mseal

const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

#[rustfmt::skip]
const WITH_CAPABILITY: &[(&str, &[i64])] = &[
    ("CAP_DAC_READ_SEARCH", &[l::SYS_open_by_handle_at]),
    ("CAP_SYS_ADMIN", &[
        l::SYS_bpf, l::SYS_clone, l::SYS_clone3, l::SYS_fanotify_init, l::SYS_fsconfig, l::SYS_fsmount, l::SYS_fsopen, l::SYS_fspick,
        l::SYS_lookup_dcookie, l::SYS_mount, l::SYS_mount_setattr, l::SYS_move_mount, l::SYS_open_tree, l::SYS_perf_event_open,
        l::SYS_quotactl, l::SYS_quotactl_fd, l::SYS_setdomainname, l::SYS_sethostname, l::SYS_setns, l::SYS_syslog, l::SYS_umount2,
        l::SYS_unshare,
    ]),
    ("CAP_SYS_BOOT", &[l::SYS_reboot]),
    ("CAP_SYS_CHROOT", &[l::SYS_chroot]),
    ("CAP_SYS_MODULE", &[l::SYS_delete_module, l::SYS_init_module, l::SYS_finit_module]),
    ("CAP_SYS_PACCT", &[l::SYS_acct]),
    ("CAP_SYS_PTRACE", &[
        l::SYS_kcmp, l::SYS_pidfd_getfd, l::SYS_process_madvise, l::SYS_process_vm_readv, l::SYS_process_vm_writev, l::SYS_ptrace,
    ]),
    #[cfg(target_arch = "x86_64")]
    ("CAP_SYS_RAWIO", &[l::SYS_iopl, l::SYS_ioperm]),
    ("CAP_SYS_TIME", &[l::SYS_settimeofday, l::SYS_clock_settime]),
    ("CAP_SYS_TTY_CONFIG", &[l::SYS_vhangup]),
    ("CAP_SYS_NICE", &[l::SYS_get_mempolicy, l::SYS_mbind, l::SYS_set_mempolicy, l::SYS_set_mempolicy_home_node]),
    ("CAP_SYSLOG", &[l::SYS_syslog]),
    ("CAP_BPF", &[l::SYS_bpf]),
    ("CAP_PERFMON", &[l::SYS_perf_event_open]),
];

/// Allowed for everyone, whatever the arguments.
#[rustfmt::skip]
const ALWAYS: &[i64] = &[
    l::SYS_accept, l::SYS_accept4, l::SYS_adjtimex, l::SYS_bind, l::SYS_brk, l::SYS_capget, l::SYS_capset, l::SYS_chdir, l::SYS_clock_adjtime,
    l::SYS_clock_getres, l::SYS_clock_gettime, l::SYS_clock_nanosleep, l::SYS_close, l::SYS_close_range, l::SYS_connect, l::SYS_copy_file_range,
    l::SYS_dup, l::SYS_dup3, l::SYS_epoll_create1, l::SYS_epoll_ctl, l::SYS_epoll_pwait, l::SYS_epoll_pwait2, l::SYS_eventfd2, l::SYS_execve,
    l::SYS_execveat, l::SYS_exit, l::SYS_exit_group, l::SYS_faccessat, l::SYS_faccessat2, l::SYS_fadvise64, l::SYS_fallocate, l::SYS_fanotify_mark,
    l::SYS_fchdir, l::SYS_fchmod, l::SYS_fchmodat, l::SYS_fchown, l::SYS_fchownat, l::SYS_fcntl, l::SYS_fdatasync, l::SYS_fgetxattr,
    l::SYS_flistxattr, l::SYS_flock, l::SYS_fremovexattr, l::SYS_fsetxattr, l::SYS_fstat, l::SYS_fstatfs, l::SYS_fsync, l::SYS_ftruncate,
    l::SYS_futex, l::SYS_futex_waitv, l::SYS_get_robust_list, l::SYS_getcpu, l::SYS_getcwd, l::SYS_getdents64, l::SYS_getegid, l::SYS_geteuid,
    l::SYS_getgid, l::SYS_getgroups, l::SYS_getitimer, l::SYS_getpeername, l::SYS_getpgid, l::SYS_getpid, l::SYS_getppid, l::SYS_getpriority,
    l::SYS_getrandom, l::SYS_getresgid, l::SYS_getresuid, l::SYS_getrlimit, l::SYS_getrusage, l::SYS_getsid, l::SYS_getsockname, l::SYS_getsockopt,
    l::SYS_gettid, l::SYS_gettimeofday, l::SYS_getuid, l::SYS_getxattr, l::SYS_inotify_add_watch, l::SYS_inotify_init1, l::SYS_inotify_rm_watch,
    l::SYS_io_cancel, l::SYS_io_destroy, l::SYS_io_getevents, l::SYS_io_setup, l::SYS_io_submit, l::SYS_ioctl, l::SYS_ioprio_get, l::SYS_ioprio_set,
    l::SYS_kill, l::SYS_landlock_add_rule, l::SYS_landlock_create_ruleset, l::SYS_landlock_restrict_self, l::SYS_lgetxattr, l::SYS_linkat,
    l::SYS_listen, l::SYS_listxattr, l::SYS_llistxattr, l::SYS_lremovexattr, l::SYS_lseek, l::SYS_lsetxattr, l::SYS_madvise, l::SYS_membarrier,
    l::SYS_memfd_create, l::SYS_memfd_secret, l::SYS_mincore, l::SYS_mkdirat, l::SYS_mknodat, l::SYS_mlock, l::SYS_mlock2, l::SYS_mlockall,
    l::SYS_mmap, l::SYS_mprotect, l::SYS_mq_getsetattr, l::SYS_mq_notify, l::SYS_mq_open, l::SYS_mq_timedreceive, l::SYS_mq_timedsend,
    l::SYS_mq_unlink, l::SYS_mremap, l::SYS_mseal, l::SYS_msgctl, l::SYS_msgget, l::SYS_msgrcv, l::SYS_msgsnd, l::SYS_msync, l::SYS_munlock,
    l::SYS_munlockall, l::SYS_munmap, l::SYS_name_to_handle_at, l::SYS_nanosleep, l::SYS_newfstatat, l::SYS_openat, l::SYS_openat2, l::SYS_pidfd_open,
    l::SYS_pidfd_send_signal, l::SYS_pipe2, l::SYS_pkey_alloc, l::SYS_pkey_free, l::SYS_pkey_mprotect, l::SYS_ppoll, l::SYS_prctl, l::SYS_pread64,
    l::SYS_preadv, l::SYS_preadv2, l::SYS_prlimit64, l::SYS_process_mrelease, l::SYS_pselect6, l::SYS_pwrite64, l::SYS_pwritev, l::SYS_pwritev2,
    l::SYS_read, l::SYS_readahead, l::SYS_readlinkat, l::SYS_readv, l::SYS_recvfrom, l::SYS_recvmmsg, l::SYS_recvmsg, l::SYS_remap_file_pages,
    l::SYS_removexattr, l::SYS_renameat, l::SYS_renameat2, l::SYS_restart_syscall, l::SYS_rseq, l::SYS_rt_sigaction, l::SYS_rt_sigpending,
    l::SYS_rt_sigprocmask, l::SYS_rt_sigqueueinfo, l::SYS_rt_sigreturn, l::SYS_rt_sigsuspend, l::SYS_rt_sigtimedwait, l::SYS_rt_tgsigqueueinfo,
    l::SYS_sched_get_priority_max, l::SYS_sched_get_priority_min, l::SYS_sched_getaffinity, l::SYS_sched_getattr, l::SYS_sched_getparam,
    l::SYS_sched_getscheduler, l::SYS_sched_rr_get_interval, l::SYS_sched_setaffinity, l::SYS_sched_setattr, l::SYS_sched_setparam,
    l::SYS_sched_setscheduler, l::SYS_sched_yield, l::SYS_seccomp, l::SYS_semctl, l::SYS_semget, l::SYS_semop, l::SYS_semtimedop, l::SYS_sendfile,
    l::SYS_sendmmsg, l::SYS_sendmsg, l::SYS_sendto, l::SYS_set_robust_list, l::SYS_set_tid_address, l::SYS_setfsgid, l::SYS_setfsuid, l::SYS_setgid,
    l::SYS_setgroups, l::SYS_setitimer, l::SYS_setpgid, l::SYS_setpriority, l::SYS_setregid, l::SYS_setresgid, l::SYS_setresuid, l::SYS_setreuid,
    l::SYS_setrlimit, l::SYS_setsid, l::SYS_setsockopt, l::SYS_setuid, l::SYS_setxattr, l::SYS_shmat, l::SYS_shmctl, l::SYS_shmdt, l::SYS_shmget,
    l::SYS_shutdown, l::SYS_sigaltstack, l::SYS_signalfd4, l::SYS_socketpair, l::SYS_splice, l::SYS_statfs, l::SYS_statx, l::SYS_symlinkat,
    l::SYS_sync, l::SYS_sync_file_range, l::SYS_syncfs, l::SYS_sysinfo, l::SYS_tee, l::SYS_tgkill, l::SYS_timer_create, l::SYS_timer_delete,
    l::SYS_timer_getoverrun, l::SYS_timer_gettime, l::SYS_timer_settime, l::SYS_timerfd_create, l::SYS_timerfd_gettime, l::SYS_timerfd_settime,
    l::SYS_times, l::SYS_tkill, l::SYS_truncate, l::SYS_umask, l::SYS_uname, l::SYS_unlinkat, l::SYS_utimensat, l::SYS_vmsplice, l::SYS_wait4,
    l::SYS_waitid, l::SYS_write, l::SYS_writev,
];

/// Those that only this architecture has, for the sake of old programs.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const LEGACY: &[i64] = &[
    l::SYS_access, l::SYS_alarm, l::SYS_arch_prctl, l::SYS_chmod, l::SYS_chown, l::SYS_creat, l::SYS_dup2, l::SYS_epoll_create, l::SYS_epoll_ctl_old,
    l::SYS_epoll_wait, l::SYS_epoll_wait_old, l::SYS_eventfd, l::SYS_fchmodat2, l::SYS_fork, l::SYS_futimesat, l::SYS_get_thread_area,
    l::SYS_getdents, l::SYS_getpgrp, l::SYS_inotify_init, l::SYS_lchown, l::SYS_link, l::SYS_lstat, l::SYS_mkdir, l::SYS_mknod, l::SYS_modify_ldt,
    l::SYS_open, l::SYS_pause, l::SYS_pipe, l::SYS_poll, l::SYS_readlink, l::SYS_rename, l::SYS_renameat, l::SYS_rmdir, l::SYS_select,
    l::SYS_set_thread_area, l::SYS_signalfd, l::SYS_stat, l::SYS_symlink, l::SYS_time, l::SYS_unlink, l::SYS_ustat, l::SYS_utime, l::SYS_utimes,
    l::SYS_vfork,
];
#[cfg(not(target_arch = "x86_64"))]
const LEGACY: &[i64] = &[];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_is_short_enough_for_the_kernel() {
        let program = compile(&BTreeSet::new()).unwrap();
        assert!(program.len() < 4_096, "{}", program.len());
        assert!(ALWAYS.iter().chain(LEGACY).all(|nr| *nr <= NEWEST));
        assert!(!ALWAYS.contains(&l::SYS_mount));
    }

    #[test]
    fn only_known_profiles() {
        assert!(check(Some("RuntimeDefault")).is_ok() && check(None).is_ok());
        assert!(
            check(Some("/profiles/x.json"))
                .unwrap_err()
                .to_string()
                .starts_with("this machine lacks the seccomp profile")
        );
        assert!(!wanted(&Security {
            privileged: true,
            seccomp: Some("RuntimeDefault".into()),
            ..Security::default()
        }));
    }
}
