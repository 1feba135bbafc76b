//! Unpacks one layer's tar stream into a folder that overlayfs can use as a lower directory.
//!
//! Invariant: nothing is ever written outside the folder, whatever names and links the stream holds: every parent is
//! opened with `openat2(RESOLVE_IN_ROOT)`, and the last component is never followed.
//! Follows the OCI image specification (layer.md): whiteouts become overlayfs's own marks.

use std::{
    ffi::{CString, OsStr, OsString},
    fs::File,
    io::{self, BufReader, Read, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Component, Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2},
    sys::stat::{Mode, SFlag, mkdirat, mknodat},
    unistd::{Gid, Uid, UnlinkatFlags, fchownat, linkat, symlinkat, unlinkat},
};
use sha2::{Digest, Sha256};
use tar::{Archive, Entry, EntryType};

use super::zstd::Frames;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const XATTR_PREFIX: &str = "SCHILY.xattr.";

/// What came out of a layer.
#[derive(Debug)]
pub struct Unpacked {
    /// `sha256:…` of the uncompressed stream.
    pub diff_id: String,
    /// Bytes of all regular files.
    pub size: u64,
}

/// Unpacks the layer in `blob` (tar, plain or gzip or zstd: its first bytes say which) into the empty folder `into`.
pub fn unpack(blob: &Path, into: &Path) -> io::Result<Unpacked> {
    let mut hashing = Hashing {
        inner: decompress(BufReader::with_capacity(1 << 16, File::open(blob)?))?,
        hash: Sha256::new(),
    };
    let size = {
        let mut archive = Archive::new(&mut hashing);
        let mut target = Target::open(into)?;
        for entry in archive.entries()? {
            target.add(&mut entry?)?;
        }
        target.finish()?
    };
    io::copy(&mut hashing, &mut io::sink())?;
    Ok(Unpacked {
        diff_id: format!("sha256:{}", hex::encode(hashing.hash.finalize())),
        size,
    })
}

/// Opens a stream whose compression is told by its first bytes.
pub fn decompress<R: Read + 'static>(mut raw: R) -> io::Result<Box<dyn Read>> {
    let mut magic = [0u8; 4];
    let mut have = 0;
    while have < magic.len() {
        match raw.read(&mut magic[have..])? {
            0 => break,
            n => have += n,
        }
    }
    let whole = io::Cursor::new(magic[..have].to_vec()).chain(raw);
    Ok(match magic {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(Frames::new(whole)),
        _ => Box::new(whole),
    })
}

struct Hashing<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.hash.update(&buf[..n]);
        Ok(n)
    }
}

/// The folder being filled.
struct Target {
    root: OwnedFd,
    /// The parent opened last: entries of one folder follow each other.
    parent: Option<(PathBuf, OwnedFd)>,
    /// Folders get their times at the end, when nothing changes them any more.
    dir_times: Vec<(PathBuf, i64)>,
    size: u64,
}

impl Target {
    fn open(root: &Path) -> io::Result<Self> {
        Ok(Self {
            root: OwnedFd::from(File::open(root)?),
            parent: None,
            dir_times: Vec::new(),
            size: 0,
        })
    }

    fn add<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> io::Result<()> {
        let path = clean(&entry.path()?);
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader) {
            return Ok(());
        }
        let Some(name) = path.file_name().map(OsStr::to_owned) else {
            return self.set_root_attributes(entry);
        };
        let parent_path = path.parent().unwrap_or(Path::new("")).to_owned();
        self.enter(&parent_path)?;
        let bytes = name.as_bytes();
        if bytes == OPAQUE {
            return self.set_xattr(&parent_path, None, "trusted.overlay.opaque", b"y");
        }
        if let Some(hidden) = bytes.strip_prefix(WHITEOUT) {
            if hidden.starts_with(WHITEOUT) {
                return Ok(()); // aufs's own bookkeeping
            }
            let hidden = OsString::from_vec(hidden.to_vec());
            self.clear(&hidden)?;
            return Ok(mknodat(
                self.dir(),
                hidden.as_os_str(),
                SFlag::S_IFCHR,
                Mode::empty(),
                0,
            )?);
        }
        self.make(entry, kind, &path, &name).map_err(|err| {
            io::Error::new(err.kind(), format!("layer entry {}: {err}", path.display()))
        })
    }

    fn make<R: Read>(
        &mut self,
        entry: &mut Entry<'_, R>,
        kind: EntryType,
        path: &Path,
        name: &OsStr,
    ) -> io::Result<()> {
        if kind != EntryType::Directory {
            self.clear(name)?;
        }
        let mode = Mode::from_bits_truncate(entry.header().mode()?);
        match kind {
            EntryType::Directory => self.make_directory(name)?,
            EntryType::Symlink => symlinkat(&*link_name(entry)?, self.dir(), name)?,
            EntryType::Link => return self.make_hard_link(&clean(&link_name(entry)?), name),
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                self.make_node(entry, kind, name, mode)?
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.make_file(entry, name)?
            }
            other => return Err(io::Error::other(format!("unknown kind of entry {other:?}"))),
        }
        let (uid, gid) = (entry.header().uid()? as u32, entry.header().gid()? as u32);
        fchownat(
            self.dir(),
            name,
            Some(Uid::from_raw(uid)),
            Some(Gid::from_raw(gid)),
            AtFlags::AT_SYMLINK_NOFOLLOW,
        )?;
        if kind != EntryType::Symlink {
            // After chown, which clears the set-uid bits.
            nix::sys::stat::fchmodat(
                self.dir(),
                name,
                mode,
                nix::sys::stat::FchmodatFlags::FollowSymlink,
            )?;
        }
        for (key, value) in xattrs(entry)? {
            self.set_xattr(
                path.parent().unwrap_or(Path::new("")),
                Some(name),
                &key,
                &value,
            )?;
        }
        let time = entry.header().mtime()? as i64;
        if kind == EntryType::Directory {
            self.dir_times.push((path.to_owned(), time));
            return Ok(());
        }
        set_time(self.dir(), name, time)
    }

    fn make_directory(&self, name: &OsStr) -> io::Result<()> {
        match mkdirat(self.dir(), name, Mode::from_bits_truncate(0o755)) {
            Err(Errno::EEXIST) if !self.is_directory(name) => {
                self.clear(name)?;
                Ok(mkdirat(self.dir(), name, Mode::from_bits_truncate(0o755))?)
            }
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn make_file<R: Read>(&mut self, entry: &mut Entry<'_, R>, name: &OsStr) -> io::Result<()> {
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut file = File::from(nix::fcntl::openat(
            self.dir(),
            name,
            flags,
            Mode::from_bits_truncate(0o600),
        )?);
        self.size += io::copy(entry, &mut file)?;
        file.flush()
    }

    fn make_node<R: Read>(
        &self,
        entry: &Entry<'_, R>,
        kind: EntryType,
        name: &OsStr,
        mode: Mode,
    ) -> io::Result<()> {
        let flag = match kind {
            EntryType::Char => SFlag::S_IFCHR,
            EntryType::Block => SFlag::S_IFBLK,
            _ => SFlag::S_IFIFO,
        };
        let (major, minor) = (
            entry.header().device_major()?.unwrap_or(0),
            entry.header().device_minor()?.unwrap_or(0),
        );
        Ok(mknodat(
            self.dir(),
            name,
            flag,
            mode,
            nix::sys::stat::makedev(major.into(), minor.into()),
        )?)
    }

    /// The link's target is a path from the layer's root.
    fn make_hard_link(&self, target: &Path, name: &OsStr) -> io::Result<()> {
        let file = target
            .file_name()
            .ok_or_else(|| io::Error::other("a hard link to the root"))?;
        let folder = self.resolve(target.parent().unwrap_or(Path::new("")))?;
        Ok(linkat(&folder, file, self.dir(), name, AtFlags::empty())?)
    }

    /// Takes away what an earlier entry left under this name.
    fn clear(&self, name: &OsStr) -> io::Result<()> {
        match unlinkat(self.dir(), name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(Errno::EISDIR | Errno::EPERM) if self.is_directory(name) => {
                let folder =
                    PathBuf::from(format!("/proc/self/fd/{}", self.dir().as_raw_fd())).join(name);
                std::fs::remove_dir_all(folder)
            }
            Err(errno) => Err(errno.into()),
        }
    }

    fn is_directory(&self, name: &OsStr) -> bool {
        nix::sys::stat::fstatat(self.dir(), name, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok_and(|stat| {
            SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR
        })
    }

    fn dir(&self) -> &OwnedFd {
        self.parent.as_ref().map_or(&self.root, |(_, fd)| fd)
    }

    /// Makes `path` the current parent, creating folders that the stream did not name.
    fn enter(&mut self, path: &Path) -> io::Result<()> {
        if self.parent.as_ref().is_some_and(|(at, _)| at == path) {
            return Ok(());
        }
        self.parent = None;
        if path.as_os_str().is_empty() {
            return Ok(());
        }
        let fd = match self.resolve(path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                self.enter(path.parent().unwrap_or(Path::new("")))?;
                let name = path.file_name().ok_or(err)?.to_owned();
                self.make_directory(&name)?;
                self.resolve(path)?
            }
            other => other?,
        };
        self.parent = Some((path.to_owned(), fd));
        Ok(())
    }

    fn resolve(&self, path: &Path) -> io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        Ok(openat2(&self.root, path, how)?)
    }

    fn set_root_attributes<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> io::Result<()> {
        let header = entry.header();
        fchownat(
            &self.root,
            ".",
            Some(Uid::from_raw(header.uid()? as u32)),
            Some(Gid::from_raw(header.gid()? as u32)),
            AtFlags::empty(),
        )?;
        nix::sys::stat::fchmod(&self.root, Mode::from_bits_truncate(header.mode()?))?;
        Ok(())
    }

    fn set_xattr(
        &self,
        parent: &Path,
        name: Option<&OsStr>,
        key: &str,
        value: &[u8],
    ) -> io::Result<()> {
        let folder = self.resolve(parent)?;
        let mut path = format!("/proc/self/fd/{}", folder.as_raw_fd()).into_bytes();
        if let Some(name) = name {
            path.push(b'/');
            path.extend_from_slice(name.as_bytes());
        }
        let (path, key) = (CString::new(path)?, CString::new(key)?);
        // Without a name the path is a magic link that must be followed.
        let set = if name.is_some() {
            libc::lsetxattr
        } else {
            libc::setxattr
        };
        // SAFETY: both strings end with NUL, and `value` is valid for its length.
        let answer = unsafe {
            set(
                path.as_ptr(),
                key.as_ptr(),
                value.as_ptr().cast(),
                value.len(),
                0,
            )
        };
        match answer {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn finish(&mut self) -> io::Result<u64> {
        for (path, time) in std::mem::take(&mut self.dir_times) {
            // A later entry may have taken the folder away.
            if let Ok(folder) = self.resolve(&path) {
                set_time(&folder, OsStr::new("."), time)?;
            }
        }
        Ok(self.size)
    }
}

fn set_time(dir: &OwnedFd, name: &OsStr, seconds: i64) -> io::Result<()> {
    let time = nix::sys::time::TimeSpec::new(seconds, 0);
    Ok(nix::sys::stat::utimensat(
        dir,
        name,
        &time,
        &time,
        nix::sys::stat::UtimensatFlags::NoFollowSymlink,
    )?)
}

fn link_name<R: Read>(entry: &Entry<'_, R>) -> io::Result<PathBuf> {
    entry
        .link_name()?
        .map(|name| name.into_owned())
        .ok_or_else(|| io::Error::other("a link without a target"))
}

fn xattrs<R: Read>(entry: &mut Entry<'_, R>) -> io::Result<Vec<(String, Vec<u8>)>> {
    let Some(extensions) = entry.pax_extensions()? else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for extension in extensions {
        let extension = extension?;
        // Labels of another machine's policy mean nothing here.
        if let Some(key) = extension
            .key()
            .ok()
            .and_then(|key| key.strip_prefix(XATTR_PREFIX))
            .filter(|key| *key != "security.selinux")
        {
            found.push((key.to_owned(), extension.value_bytes().to_vec()));
        }
    }
    Ok(found)
}

/// The path from the root with `.`, `..` and leading slashes taken out.
fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => {
                out.pop();
            }
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};

    use super::*;

    fn root() -> bool {
        let root = nix::unistd::geteuid().is_root();
        if !root {
            eprintln!("skipped: unpacking layers sets owners, which only root may");
        }
        root
    }

    fn entry(
        tar: &mut tar::Builder<Vec<u8>>,
        kind: EntryType,
        path: &str,
        link: Option<&str>,
        data: &[u8],
    ) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o4755);
        header.set_uid(12);
        header.set_gid(34);
        header.set_mtime(1_000);
        header.set_size(data.len() as u64);
        if let Some(link) = link {
            header.set_link_name_literal(link).unwrap();
        }
        let name = &mut header.as_old_mut().name;
        name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        tar.append(&header, data).unwrap();
    }

    fn unpack_bytes(bytes: &[u8]) -> (tempfile::TempDir, io::Result<Unpacked>) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("blob"), bytes).unwrap();
        std::fs::create_dir(folder.path().join("root")).unwrap();
        let unpacked = unpack(&folder.path().join("blob"), &folder.path().join("root"));
        (folder, unpacked)
    }

    #[test]
    fn a_layer_is_unpacked_whole() {
        if !root() {
            return;
        }
        let mut tar = tar::Builder::new(Vec::new());
        entry(&mut tar, EntryType::Directory, "./etc/", None, b"");
        entry(&mut tar, EntryType::Regular, "etc/a", None, b"hello");
        entry(&mut tar, EntryType::Link, "deep/er/b", Some("etc/a"), b"");
        entry(&mut tar, EntryType::Symlink, "c", Some("/etc/a"), b"");
        entry(&mut tar, EntryType::Regular, "etc/.wh.gone", None, b"");
        entry(&mut tar, EntryType::Regular, "etc/.wh..wh..opq", None, b"");
        let plain = tar.into_inner().unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        let zstd = ruzstd::encoding::compress_to_vec(
            &plain[..],
            ruzstd::encoding::CompressionLevel::Fastest,
        );
        let wanted = format!("sha256:{}", hex::encode(Sha256::digest(&plain)));
        for blob in [plain.clone(), gzip.finish().unwrap(), zstd] {
            let (folder, unpacked) = unpack_bytes(&blob);
            let unpacked = unpacked.unwrap();
            assert_eq!(
                (unpacked.diff_id.as_str(), unpacked.size),
                (wanted.as_str(), 5)
            );
            let at = |name: &str| folder.path().join("root").join(name);
            let meta = std::fs::metadata(at("etc/a")).unwrap();
            assert_eq!(
                (
                    meta.uid(),
                    meta.gid(),
                    meta.mode() & 0o7777,
                    meta.mtime(),
                    meta.nlink()
                ),
                (12, 34, 0o4755, 1_000, 2)
            );
            assert_eq!(std::fs::metadata(at("etc")).unwrap().mtime(), 1_000);
            assert_eq!(std::fs::read_link(at("c")).unwrap(), Path::new("/etc/a"));
            assert_eq!(std::fs::read(at("deep/er/b")).unwrap(), b"hello");
            let gone = std::fs::symlink_metadata(at("etc/gone")).unwrap();
            assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
        }
    }

    #[test]
    fn nothing_gets_out_of_the_folder() {
        if !root() {
            return;
        }
        let outside = tempfile::tempdir().unwrap();
        let victim = outside.path().to_str().unwrap();
        let mut tar = tar::Builder::new(Vec::new());
        entry(&mut tar, EntryType::Symlink, "out", Some(victim), b"");
        entry(&mut tar, EntryType::Regular, "out/evil", None, b"x");
        entry(&mut tar, EntryType::Regular, "../../evil2", None, b"x");
        let (folder, unpacked) = unpack_bytes(&tar.into_inner().unwrap());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
        assert!(
            unpacked.is_ok()
                && folder.path().join("root/out/evil").exists()
                && folder.path().join("root/evil2").exists()
        );
        assert!(!folder.path().join("evil2").exists());
    }
}
