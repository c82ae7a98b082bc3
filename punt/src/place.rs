//! Places: where packets end up, whatever the path that leads there.

use std::path::{Path, PathBuf};

use crate::target::Target;

/// Links that are followed one after the other, at most, as in the kernel.
const LINKS: usize = 40;

/// Where the packets of a target end up, and what else is written beside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// By one spelling.
    text: String,
    /// So many files of a capture: the first is called as the text says, the others have a number behind.
    files: u32,
}

impl Place {
    /// The place of a target, links followed as they are now. Captures are below `directory`. None where there is room for all.
    pub fn of(target: &Target, directory: &Path) -> Option<Place> {
        Some(match target {
            Target::Unix { address: path, .. } | Target::Shm(path) => Place::of_socket(path),
            Target::Pcapng { files, .. } => {
                Place { text: target.place(directory)?, files: files.unwrap_or(Target::DEFAULT_FILES) }
            }
            Target::Tap { .. } | Target::Null => Place { text: target.place(directory)?, files: 1 },
        })
    }

    /// The place of a socket: an absolute path, or `@` and an abstract name.
    pub fn of_socket(address: &str) -> Place {
        let place = if address.starts_with('@') { address.into() } else { follow(Path::new(address), LINKS) };
        Place { text: format!("unix:{}", place.display()), files: 1 }
    }

    /// Whether two sinks with these places would write over each other.
    pub fn meets(&self, other: &Place) -> bool {
        self.text == other.text || self.has_file(other) || other.has_file(self)
    }

    /// Whether the newest file of another capture is called as one of the older ones of this.
    fn has_file(&self, other: &Place) -> bool {
        let number = other.text.strip_prefix(self.text.as_str()).and_then(|rest| rest.strip_prefix('.'));
        let written = |number: &&str| number.parse().is_ok_and(|it: u32| it.to_string() == **number);
        number
            .filter(written)
            .and_then(|number| number.parse().ok())
            .is_some_and(|it| (1..self.files).contains(&it))
    }
}

/// The same path without links and detours, as far as what it names is there.
fn follow(path: &Path, links: usize) -> PathBuf {
    if let Ok(whole) = path.canonicalize() {
        return whole;
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return path.into() };
    let parent = follow(parent, links);
    let there = parent.join(name);
    // A link may lead to what is yet to come.
    match there.read_link() {
        Ok(to) if links > 0 => follow(&parent.join(to), links - 1),
        _ => there,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_socket_has_one_place_however_it_is_reached_and_whether_it_is_there_or_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        std::fs::create_dir(at("dd")).expect("a directory");
        symlink(at("dd"), at("linked")).expect("a link");
        symlink("s1", at("to-s1")).expect("a link");
        symlink("round", at("round")).expect("a link");
        let place = |name: &str| Place::of_socket(&at(name).display().to_string());
        let spelled = ["s1", "dd/../s1", "linked/../s1", "./to-s1", "dd/.././/s1"];
        for there in [false, true] {
            if there {
                std::fs::write(at("s1"), "").expect("a file");
            }
            for name in spelled {
                assert!(place(name).meets(&place("s1")), "{name}");
            }
            assert_eq!(place("linked/s2"), place("dd/s2"));
            assert!(!place("dd/s1").meets(&place("s1")) && !place("s1.1").meets(&place("s1")));
        }
        assert_eq!(place("round"), place("round"), "it ends");
        assert_ne!(Place::of_socket("@x"), Place::of_socket("/x"));
    }

    #[test]
    fn a_capture_takes_the_names_of_its_older_files_too() {
        let place = |text: &str| Place::of(&text.parse().expect("a target"), Path::new("/var/lib/puntd"));
        let meet = |one: &str, other: &str| {
            let (one, other) = (place(one).expect("a place"), place(other).expect("a place"));
            assert_eq!(one.meets(&other), other.meets(&one));
            one.meets(&other)
        };
        assert!(meet("pcapng:x.pcapng?files=3", "pcapng:x.pcapng.1"));
        assert!(meet("pcapng:x.pcapng?files=3", "pcapng:/var/lib/puntd/x.pcapng.2"));
        assert!(meet("pcapng:x.pcapng", "pcapng:x.pcapng.3"), "four files unless said otherwise");
        for apart in ["x.pcapng.3", "x.pcapng.01", "x.pcapng.+1", "x.pcapng.0", "x.pcapng.b", "x.pcapng1"] {
            assert!(!meet("pcapng:x.pcapng?files=3", &format!("pcapng:{apart}")), "{apart}");
        }
        assert_eq!(place("null"), None);
    }
}
