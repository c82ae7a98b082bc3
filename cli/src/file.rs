//! Files named on the command line, with the rights of who runs puntctl; `-` is standard input or output.

use std::fs::{self, File, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::failure::Failure;

/// What errors call the file.
pub fn name(path: &Path) -> String {
    if is_standard(path) { "standard input".into() } else { path.display().to_string() }
}

/// Whether standard input or output is meant.
pub fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Opens a file to read.
pub fn open(path: &Path) -> Result<Box<dyn BufRead>, Failure> {
    if is_standard(path) {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path).map_err(|error| Failure::file(path, error))?;
    Ok(Box::new(BufReader::new(file)))
}

/// The whole of a text file.
pub fn read(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    match open(path)?.read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::usage(format!("{}: {error}", name(path)))),
    }
}

/// Puts a text in the place of a file: whoever reads it sees the old one or the new one, and never a part.
pub fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    write(path, text).map_err(|error| Failure::file(path, error))
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    // A link stays a link; what it points to is replaced.
    let target = path.canonicalize().unwrap_or_else(|_| path.into());
    let old = fs::metadata(&target).ok();
    if old.as_ref().is_some_and(|old| !old.is_file()) {
        // A pipe or a device: nothing to replace.
        return File::options().write(true).open(&target)?.write_all(text.as_bytes());
    }
    let directory = match target.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    let permissions = old.map_or(Permissions::from_mode(0o666), |old| old.permissions());
    let made = tempfile::Builder::new().permissions(permissions).tempfile_in(directory);
    let mut file = made.map_err(|error| {
        // The name of the file that could not be made stands behind; nobody asked for that one.
        let text = error.to_string();
        io::Error::new(error.kind(), text.split(" at path ").next().unwrap_or_default())
    })?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(&target)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_keeps_its_rights() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("puntd.toml");
        let link = directory.path().join("link");
        fs::write(&file, "a long old text").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        replace(&link, "new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn errors_name_the_file() {
        let failure = read(Path::new("/no/such/file")).unwrap_err();
        assert_eq!(failure.status, 2);
        assert_eq!(failure.message.unwrap(), "/no/such/file: No such file or directory (os error 2)");
        let failure = replace(Path::new("/no/such/file"), "").unwrap_err();
        assert_eq!(failure.message.unwrap(), "/no/such/file: No such file or directory (os error 2)");
    }
}
