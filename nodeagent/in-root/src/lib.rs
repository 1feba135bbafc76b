//! Files of a root that somebody else fills: what is opened or made in it stays in it, whatever links lie there; and procfs that is procfs.
//!
//! Stands in for the crate of this name, whose licence is copyleft, with the part of it that `libcontainer` and `libcgroups` call. The kernel
//! does the work: every path goes through openat2(2), which Linux has since 5.6.
//! Invariant: no path is joined and looked up again; each step begins at a descriptor that is held.

use std::{
    ffi::{CString, OsStr},
    fs::{File, Permissions},
    io,
    mem::size_of,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::{ffi::OsStrExt, fs::PermissionsExt},
    },
    path::{Component, Path, PathBuf},
};

use error::Error;
use flags::OpenFlags;

pub mod error {
    //! What can go wrong.

    use std::{io, path::PathBuf};

    /// What was done to which path, and why it failed.
    #[derive(Debug, thiserror::Error)]
    #[error("cannot {what} {path:?}")]
    pub struct Error {
        pub(crate) what: &'static str,
        pub(crate) path: PathBuf,
        #[source]
        pub(crate) source: io::Error,
    }
}

pub mod flags {
    //! How a file is opened.

    use std::ops::BitOr;

    /// Flags of open(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct OpenFlags(pub(crate) libc::c_int);

    impl OpenFlags {
        pub const O_RDONLY: Self = Self(libc::O_RDONLY);
        pub const O_WRONLY: Self = Self(libc::O_WRONLY);
        pub const O_CREAT: Self = Self(libc::O_CREAT);
        pub const O_EXCL: Self = Self(libc::O_EXCL);
        pub const O_DIRECTORY: Self = Self(libc::O_DIRECTORY);
        pub const O_NOFOLLOW: Self = Self(libc::O_NOFOLLOW);
        pub const O_CLOEXEC: Self = Self(libc::O_CLOEXEC);
    }

    impl BitOr for OpenFlags {
        type Output = Self;
        fn bitor(self, other: Self) -> Self {
            Self(self.0 | other.0)
        }
    }
}

pub mod procfs;

/// A descriptor of a file, without the right to read or write it.
#[derive(Debug)]
pub struct Handle(OwnedFd);

impl From<Handle> for OwnedFd {
    fn from(handle: Handle) -> OwnedFd {
        handle.0
    }
}

/// A folder which paths cannot leave: `..` and links end at it as at `/`.
#[derive(Debug)]
pub struct Root(OwnedFd);

impl Root {
    /// # Errors
    /// It is not there, or not a folder.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let how = how(libc::O_PATH | libc::O_DIRECTORY, 0, 0);
        openat2(libc::AT_FDCWD, path, &how)
            .map(Self)
            .map_err(failed("open", path))
    }

    /// What the path leads to, links followed.
    ///
    /// # Errors
    /// Nothing is there, or a link of procfs leads out of it.
    pub fn resolve(&self, path: impl AsRef<Path>) -> Result<Handle, Error> {
        let path = path.as_ref();
        self.find(path).map(Handle).map_err(failed("resolve", path))
    }

    /// The folder at the path, made with those above it that are missing.
    ///
    /// # Errors
    /// Something that is not a folder is in the way.
    pub fn mkdir_all(&self, path: impl AsRef<Path>, perm: &Permissions) -> Result<Handle, Error> {
        let path = path.as_ref();
        self.make(path, perm.mode())
            .map(Handle)
            .map_err(failed("make the folder", path))
    }

    /// Opens the file at the path, which is made if it is missing; a link there is not followed.
    ///
    /// # Errors
    /// The folder above it is missing, or what open(2) says.
    pub fn create_file(
        &self,
        path: impl AsRef<Path>,
        flags: impl Into<OpenFlags>,
        perm: &Permissions,
    ) -> Result<File, Error> {
        let path = path.as_ref();
        let made = || {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                return Err(io::Error::from_raw_os_error(libc::EISDIR));
            };
            let parent = self.find(parent)?;
            let flags = flags.into().0 | libc::O_CREAT | libc::O_NOFOLLOW;
            let how = how(flags, perm.mode(), libc::RESOLVE_BENEATH);
            openat2(parent.as_raw_fd(), name, &how).map(File::from)
        };
        made().map_err(failed("create", path))
    }

    fn find(&self, path: &Path) -> io::Result<OwnedFd> {
        let within = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
        let path = match path.as_os_str().is_empty() {
            true => Path::new("."),
            false => path,
        };
        openat2(self.0.as_raw_fd(), path, &how(libc::O_PATH, 0, within))
    }

    fn make(&self, path: &Path, mode: u32) -> io::Result<OwnedFd> {
        let (mut folder, missing) = self.longest(path)?;
        for part in missing.components() {
            let Component::Normal(name) = part else {
                return Err(io::Error::from_raw_os_error(libc::ENOENT));
            };
            folder = make_one(folder.as_fd(), name, mode)?;
        }
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        openat2(folder.as_raw_fd(), ".", &how(flags, 0, 0))
    }

    /// What there is of the path, and the rest.
    fn longest(&self, path: &Path) -> io::Result<(OwnedFd, PathBuf)> {
        let mut there = path;
        loop {
            match self.find(there) {
                Ok(found) => {
                    let rest = path.strip_prefix(there).unwrap_or(Path::new(""));
                    return Ok((found, rest.to_path_buf()));
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                    there = there.parent().ok_or(error)?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// The folder of this name, made unless somebody else was first.
fn make_one(parent: BorrowedFd<'_>, name: &OsStr, mode: u32) -> io::Result<OwnedFd> {
    let text = CString::new(name.as_bytes())?;
    // SAFETY: the descriptor is held and the text ends with a zero.
    let made = unsafe { libc::mkdirat(parent.as_raw_fd(), text.as_ptr(), mode) };
    if made < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::AlreadyExists {
            return Err(error);
        }
    }
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let how = how(flags, 0, libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS);
    openat2(parent.as_raw_fd(), name, &how)
}

fn how(flags: libc::c_int, mode: u32, resolve: u64) -> libc::open_how {
    // SAFETY: all of its fields are numbers, for which zero is a value; more may come with later kernels.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
    how.mode = if flags & libc::O_CREAT == 0 {
        0
    } else {
        u64::from(mode)
    };
    how.resolve = resolve;
    how
}

fn openat2(at: RawFd, path: impl AsRef<OsStr>, how: &libc::open_how) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_ref().as_bytes())?;
    let size = size_of::<libc::open_how>();
    // SAFETY: the text ends with a zero, and the size is that of what `how` points to.
    let fd = unsafe { libc::syscall(libc::SYS_openat2, at, path.as_ptr(), how, size) };
    owned(fd)
}

/// What a system call gave.
fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave it, and nothing else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

fn failed<'p>(what: &'static str, path: &'p Path) -> impl Fn(io::Error) -> Error + 'p {
    move |source| Error {
        what,
        path: path.into(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn identity(fd: OwnedFd) -> (u64, u64) {
        use std::os::unix::fs::MetadataExt;
        let meta = File::from(fd).metadata().unwrap();
        (meta.dev(), meta.ino())
    }

    fn of(path: &Path) -> (u64, u64) {
        use std::os::unix::fs::MetadataExt;
        let meta = fs::metadata(path).unwrap();
        (meta.dev(), meta.ino())
    }

    #[test]
    fn paths_do_not_leave_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let root_path = folder.path().join("root");
        fs::create_dir_all(root_path.join("etc/deep")).unwrap();
        fs::create_dir(folder.path().join("secret")).unwrap();
        symlink("../../../secret", root_path.join("up")).unwrap();
        symlink("/etc", root_path.join("absolute")).unwrap();
        symlink("/secret", root_path.join("dangling")).unwrap();
        let root = Root::open(&root_path).unwrap();
        let mode = Permissions::from_mode(0o755);

        for (path, leads_to) in [
            ("/", ""),
            ("", ""),
            ("../..", ""),
            ("absolute", "etc"),
            ("absolute/deep", "etc/deep"),
            ("/absolute/../absolute", "etc"),
        ] {
            let found = root.resolve(path).unwrap();
            assert_eq!(
                identity(found.into()),
                of(&root_path.join(leads_to)),
                "{path}"
            );
        }
        assert!(root.resolve("up").is_err());
        assert!(root.resolve("dangling").is_err());

        let made = root.mkdir_all("/absolute/new/folder", &mode).unwrap();
        assert_eq!(identity(made.into()), of(&root_path.join("etc/new/folder")));
        for path in ["dangling", "up/in", "gone/../../secret/in"] {
            assert!(root.mkdir_all(path, &mode).is_err(), "{path}");
        }
        assert_eq!(
            fs::read_dir(folder.path().join("secret")).unwrap().count(),
            0
        );

        let flags = OpenFlags::O_EXCL | OpenFlags::O_CREAT;
        root.create_file("/absolute/file", flags, &mode).unwrap();
        assert!(root_path.join("etc/file").exists());
        for path in ["absolute/file", "dangling", "missing/file", "/"] {
            assert!(root.create_file(path, flags, &mode).is_err(), "{path}");
        }
    }
}
