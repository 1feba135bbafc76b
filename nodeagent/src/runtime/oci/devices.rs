//! Which device nodes a container may use, on cgroup version 2: a small BPF program on the container's cgroup.
//!
//! Invariant: what no rule allows is denied; a privileged container gets no program.
//! The rules are runc's (`libcontainer/specconv`, `AllowedDevices`). On version 1 libcontainer writes them to `devices.allow`.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::Path,
};

const BLOCK: u32 = 1;
const CHAR: u32 = 2;
const MKNOD: u32 = 1;
const READ_WRITE_MKNOD: u32 = 7;

struct Rule {
    kind: u32,
    access: u32,
    major: Option<u32>,
    minor: Option<u32>,
}

const fn rule(kind: u32, access: u32, major: Option<u32>, minor: Option<u32>) -> Rule {
    Rule {
        kind,
        access,
        major,
        minor,
    }
}

/// null, zero, full, random, urandom, tty, ptmx and pseudo terminals; and any node may be made, but not opened.
const RULES: [Rule; 10] = [
    rule(CHAR, MKNOD, None, None),
    rule(BLOCK, MKNOD, None, None),
    rule(CHAR, READ_WRITE_MKNOD, Some(1), Some(3)),
    rule(CHAR, READ_WRITE_MKNOD, Some(1), Some(5)),
    rule(CHAR, READ_WRITE_MKNOD, Some(1), Some(7)),
    rule(CHAR, READ_WRITE_MKNOD, Some(1), Some(8)),
    rule(CHAR, READ_WRITE_MKNOD, Some(1), Some(9)),
    rule(CHAR, READ_WRITE_MKNOD, Some(5), Some(0)),
    rule(CHAR, READ_WRITE_MKNOD, Some(5), Some(2)),
    rule(CHAR, READ_WRITE_MKNOD, Some(136), None),
];

/// One instruction as the kernel reads it (`struct bpf_insn`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    value: i32,
}

const LOAD_WORD: u8 = 0x61; // LDX | MEM | W
const MOVE: u8 = 0xb7; // ALU64 | MOV | K
const MOVE_REGISTER: u8 = 0xbf; // ALU64 | MOV | X
const AND: u8 = 0x54; // ALU | AND | K
const SHIFT_RIGHT: u8 = 0x74; // ALU | RSH | K
const JUMP_UNLESS_EQUAL: u8 = 0x55; // JMP | JNE | K
const EXIT: u8 = 0x95;

const fn instruction(
    code: u8,
    destination: u8,
    source: u8,
    offset: i16,
    value: i32,
) -> Instruction {
    Instruction {
        code,
        registers: destination | source << 4,
        offset,
        value,
    }
}

/// Registers: 2 kind, 3 access, 4 major, 5 minor, of the access that is asked about; 6 scratch; 0 the answer.
fn program() -> Vec<Instruction> {
    let mut code = vec![
        instruction(LOAD_WORD, 2, 1, 0, 0),
        instruction(MOVE_REGISTER, 3, 2, 0, 0),
        instruction(SHIFT_RIGHT, 3, 0, 0, 16),
        instruction(AND, 2, 0, 0, 0xffff),
        instruction(LOAD_WORD, 4, 1, 4, 0),
        instruction(LOAD_WORD, 5, 1, 8, 0),
    ];
    for rule in &RULES {
        let mut checks = vec![(2, rule.kind)];
        if rule.access != READ_WRITE_MKNOD {
            checks.push((6, 0));
        }
        checks.extend(rule.major.map(|major| (4, major)));
        checks.extend(rule.minor.map(|minor| (5, minor)));
        if rule.access != READ_WRITE_MKNOD {
            // What is asked beyond what the rule allows.
            code.push(instruction(MOVE_REGISTER, 6, 3, 0, 0));
            code.push(instruction(AND, 6, 0, 0, !(rule.access as i32)));
        }
        for (i, (register, value)) in checks.iter().enumerate() {
            // Past the other checks and the two instructions that allow.
            let beyond = checks.len() - 1 - i + 2;
            code.push(instruction(
                JUMP_UNLESS_EQUAL,
                *register,
                0,
                beyond as i16,
                *value as i32,
            ));
        }
        code.push(instruction(MOVE, 0, 0, 0, 1));
        code.push(instruction(EXIT, 0, 0, 0, 0));
    }
    code.push(instruction(MOVE, 0, 0, 0, 0));
    code.push(instruction(EXIT, 0, 0, 0, 0));
    code
}

/// Puts the rules on the cgroup in `folder` (of a version-2 hierarchy). They last as long as the cgroup.
pub fn guard(folder: &Path) -> io::Result<()> {
    #[repr(C)]
    #[derive(Default)]
    struct Load {
        kind: u32,
        count: u32,
        instructions: u64,
        license: u64,
        padding: [u64; 14],
    }
    #[repr(C)]
    struct Attach {
        target: u32,
        program: u32,
        kind: u32,
        flags: u32,
    }
    const PROG_LOAD: i32 = 5;
    const PROG_ATTACH: i32 = 8;
    const CGROUP_DEVICE_PROGRAM: u32 = 15;
    const CGROUP_DEVICE: u32 = 6;
    const ALLOW_MULTI: u32 = 2;
    let code = program();
    let license = c"Apache-2.0";
    let load = Load {
        kind: CGROUP_DEVICE_PROGRAM,
        count: code.len() as u32,
        instructions: code.as_ptr() as u64,
        license: license.as_ptr() as u64,
        ..Load::default()
    };
    let fd = bpf(PROG_LOAD, &load)?;
    // SAFETY: the kernel has just made this descriptor for us.
    let loaded = unsafe { OwnedFd::from_raw_fd(fd) };
    let cgroup = File::open(folder)?;
    let attach = Attach {
        target: cgroup.as_raw_fd() as u32,
        program: loaded.as_raw_fd() as u32,
        kind: CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    bpf(PROG_ATTACH, &attach).map(drop)
}

fn bpf<T>(command: i32, attributes: &T) -> io::Result<i32> {
    // SAFETY: `attributes` is a `repr(C)` beginning of `union bpf_attr` whose pointers outlive the call, and its size is given.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            std::mem::size_of::<T>(),
        )
    };
    match answer {
        0.. => Ok(answer as i32),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn jumps_land_on_rules() {
        let code = program();
        let starts: Vec<usize> = (0..code.len())
            .filter(|i| *i == 0 || code[i - 1].code == EXIT)
            .collect();
        for (i, instruction) in code
            .iter()
            .enumerate()
            .filter(|(_, instruction)| instruction.code == JUMP_UNLESS_EQUAL)
        {
            let target = i + 1 + instruction.offset as usize;
            assert!(starts.contains(&target), "{i} jumps to {target}");
        }
        assert_eq!(starts.len(), RULES.len() + 1);
    }

    #[test]
    fn the_kernel_guards_devices() {
        let root = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
            .into_iter()
            .map(Path::new)
            .find(|path| path.join("cgroup.controllers").exists());
        let Some(root) = root.filter(|_| nix::unistd::geteuid().is_root()) else {
            skiff_testing::skipped("needs root and a version-2 cgroup hierarchy");
            return;
        };
        let group = root.join(format!("skiff-test-devices-{}", std::process::id()));
        std::fs::create_dir(&group).unwrap();
        let guarded = guard(&group);
        let in_group = |script: &str| {
            let script = format!("echo $$ > {}/cgroup.procs; {script}", group.display());
            Command::new("/bin/sh")
                .args(["-c", &script])
                .output()
                .unwrap()
                .status
                .success()
        };
        let folder = tempfile::tempdir().unwrap();
        let kmsg = folder.path().join("kmsg");
        let answers = [
            in_group("head -c1 /dev/zero >/dev/null"),
            in_group(&format!("mknod {} c 1 11", kmsg.display())),
            in_group(&format!("exec 3<{}", kmsg.display())),
        ];
        std::fs::remove_dir(&group).unwrap();
        guarded.unwrap();
        assert_eq!(answers, [true, true, false]);
    }
}
