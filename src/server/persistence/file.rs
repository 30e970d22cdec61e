//! A file that is replaced, whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::super::config::Config;

/// Where the snapshot is; `None` without a directory.
pub(super) fn path(config: &Config) -> Option<PathBuf> {
    (!config.dir.is_empty()).then(|| Path::new(&config.dir).join(&config.dbfilename))
}

/// Removes a file that was not finished.
struct Unfinished<'p>(Option<&'p Path>);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.0 {
            // It is truncated next time in any case.
            let _ = fs::remove_file(path);
        }
    }
}

/// Replaces the file at `path` by what `write` writes through the function that it is given. Returns how many
/// bytes that was.
///
/// The new file has one name, whatever becomes of the process: so what a crash leaves is overwritten by the
/// next attempt, and never adds up.
///
/// # Errors
/// What happens to the file; the previous one is there then, unless the directory could not be synced after the
/// exchange.
pub(super) fn replace(
    path: &Path,
    write: impl FnOnce(&mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()>,
) -> io::Result<u64> {
    let name = path.file_name().unwrap_or_default();
    let mut temporary_name = std::ffi::OsString::from("temp-");
    temporary_name.push(name);
    let temporary = path.with_file_name(temporary_name);
    let mut unfinished = Unfinished(Some(&temporary));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&temporary)?;
    let mut bytes = 0;
    write(&mut |piece| {
        bytes += piece.len() as u64;
        file.write_all(piece)
    })?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    unfinished.0 = None;
    sync_directory(path)?;
    Ok(bytes)
}

/// Makes the rename last. Only Unix can.
fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("a directory");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_previous_file_stays_until_the_next_is_whole() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("dump.rdb");
        // What a crash has left.
        fs::write(directory.path().join("temp-dump.rdb"), b"much longer than what comes").expect("written");
        assert_eq!(replace(&path, |write| write(b"one")).expect("written"), 3);
        let failed = replace(&path, |write| {
            write(b"two")?;
            assert_eq!(fs::read(&path).expect("there"), b"one");
            Err(io::ErrorKind::StorageFull.into())
        });
        assert_eq!(failed.expect_err("full").kind(), io::ErrorKind::StorageFull);
        assert_eq!(
            (fs::read(&path).expect("there"), names(directory.path())),
            (b"one".to_vec(), vec!["dump.rdb".to_owned()])
        );
        replace(&path, |write| write(b"t").and_then(|()| write(b"wo"))).expect("written");
        assert_eq!(fs::read(&path).expect("there"), b"two");
    }
}
