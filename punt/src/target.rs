//! Targets: where a sink puts its packets.
//!
//! ```text
//! unix:/run/bfdd/punt.sock    datagrams to the socket that the client bound there
//! unix:@bfdd?header=vpp       an abstract name; with the header of VPP's punt socket
//! shm:/run/puntd/fast.sock    shared memory, handed over at that socket
//! tap:punt0                   a TAP interface
//! tap:lan?interface=lan       the same, and what the host sends into it leaves by the interface lan
//! pcapng:bgp.pcapng?size=64M&files=4
//! null                        counted and gone
//! ```

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use crate::value::{digits, serde_as_text};

/// What stands before each frame in a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Header {
    /// Ours: 64 bytes, with reason, sequence and time.
    #[default]
    Punt,
    /// That of VPP's punt socket: 8 bytes, interface and action.
    Vpp,
}

/// Where a sink puts its packets. Paths are as the engine sees them, not who typed them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Datagrams to a client's Unix socket.
    Unix {
        /// An absolute path, or `@` and an abstract name.
        address: String,
        /// What stands before each frame.
        header: Header,
    },
    /// Rings in shared memory, which a client gets at this socket: an absolute path.
    Shm(String),
    /// A TAP interface of the host.
    Tap {
        /// What the host calls it.
        name: String,
        /// The router's interface by which that leaves which the host sends into it; without one it goes nowhere.
        interface: Option<String>,
    },
    /// A capture file that Wireshark reads.
    Pcapng {
        /// Below `[punt] directory`.
        file: String,
        /// Bytes after which the next file is begun, where it was said.
        size: Option<u64>,
        /// How many files are kept, where it was said.
        files: Option<u32>,
    },
    /// Nothing but counters.
    Null,
}

/// How long a socket's address may be: what `sun_path` holds, less one zero byte.
const MAX_SOCKET: usize = 107;
/// How long an interface's name may be: IFNAMSIZ less one zero byte.
const MAX_TAP: usize = 15;
/// Capture files that hold less than this are more rotation than capture.
const MIN_SIZE: u64 = 64 << 10;
const MAX_SIZE: u64 = 1 << 40;
const MAX_FILES: u64 = 1000;

impl Target {
    /// Bytes after which a capture goes on in the next file, by default.
    pub const DEFAULT_SIZE: u64 = 64 << 20;
    /// Files that a capture keeps, by default.
    pub const DEFAULT_FILES: u32 = 4;

    /// The word before the colon.
    pub const fn kind(&self) -> &'static str {
        match self {
            Target::Unix { .. } => "unix",
            Target::Shm(_) => "shm",
            Target::Tap { .. } => "tap",
            Target::Pcapng { .. } => "pcapng",
            Target::Null => "null",
        }
    }

    /// The interface of the router that it stands for, if it does.
    pub fn interface(&self) -> Option<&str> {
        match self {
            Target::Tap { interface, .. } => interface.as_deref(),
            _ => None,
        }
    }

    /// Where the packets end up, by one spelling: two sinks with the same place would write over each other. Captures are below `directory`.
    /// None for [`Null`](Target::Null), which has room for all.
    pub fn place(&self, directory: &Path) -> Option<String> {
        let spelled = |path: &Path| path.components().collect::<PathBuf>().display().to_string();
        Some(match self {
            Target::Unix { address, .. } if address.starts_with('@') => format!("unix:{address}"),
            Target::Unix { address: path, .. } | Target::Shm(path) => {
                format!("unix:{}", spelled(path.as_ref()))
            }
            Target::Tap { name, .. } => format!("tap:{name}"),
            Target::Pcapng { file, .. } => {
                let file = Path::new(file);
                let below = file.components().filter(|part| *part != Component::CurDir).collect::<PathBuf>();
                format!("pcapng:{}", spelled(below.strip_prefix(directory).unwrap_or(&below)))
            }
            Target::Null => return None,
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Target::Unix { address, header: Header::Punt } => format!("unix:{address}"),
            Target::Unix { address, header: Header::Vpp } => format!("unix:{address}?header=vpp"),
            Target::Shm(path) => format!("shm:{path}"),
            Target::Tap { name, interface: None } => format!("tap:{name}"),
            Target::Tap { name, interface: Some(interface) } => format!("tap:{name}?interface={interface}"),
            Target::Pcapng { file, size, files } => {
                let size = size.map(|size| format!("size={}", Size(size)));
                let files = files.map(|files| format!("files={files}"));
                let options: Vec<String> = size.into_iter().chain(files).collect();
                let mark = if options.is_empty() { "" } else { "?" };
                format!("pcapng:{file}{mark}{}", options.join("&"))
            }
            Target::Null => "null".into(),
        };
        f.pad(&text)
    }
}

/// Bytes, with the largest unit that leaves no rest.
struct Size(u64);

const UNITS: [(char, u64); 3] = [('G', 1 << 30), ('M', 1 << 20), ('K', 1 << 10)];

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, unit)| self.0.is_multiple_of(*unit)) {
            Some((letter, unit)) => write!(f, "{}{letter}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

/// `64M` or `64MiB`: a number and K, M or G, which are powers of 1024.
fn size(text: &str) -> Option<u64> {
    let text = text.strip_suffix("iB").unwrap_or(text);
    let unit = UNITS.iter().find(|(letter, _)| text.ends_with(*letter));
    let (number, unit) = unit.map_or((text, 1), |(_, unit)| (&text[..text.len() - 1], *unit));
    digits(number)?.checked_mul(unit).filter(|size| (MIN_SIZE..=MAX_SIZE).contains(size))
}

/// What was read is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} {fault}")]
pub struct ParseTargetError {
    text: String,
    fault: String,
}

impl FromStr for Target {
    type Err = ParseTargetError;

    fn from_str(text: &str) -> Result<Target, ParseTargetError> {
        read(text).map_err(|fault| ParseTargetError { text: text.into(), fault })
    }
}

fn read(text: &str) -> Result<Target, String> {
    if text.chars().any(char::is_control) {
        return Err("has a control character in it; leave it out".into());
    }
    let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
    let (place, options) =
        rest.split_once('?').map_or((rest, None), |(place, options)| (place, Some(options)));
    match (kind, options) {
        ("unix", _) => unix(place, options),
        ("shm", None) => absolute(place).map(Target::Shm),
        ("tap", _) => tap(place, options),
        ("pcapng", _) => pcapng(place, options),
        ("null", None) if text == "null" => Ok(Target::Null),
        ("shm", Some(_)) => Err("has options, and shm: takes none; leave out what follows ?".into()),
        ("null", _) => Err("has something after null; write null alone".into()),
        _ => Err("is no target; write unix:PATH, shm:PATH, tap:NAME, pcapng:FILE or null".into()),
    }
}

fn unix(place: &str, options: Option<&str>) -> Result<Target, String> {
    let address = match place.strip_prefix('@') {
        None => absolute(place)?,
        Some("") => return Err("has no name after @; write one as unix:@bfdd".into()),
        Some(_) => fits_socket(place)?,
    };
    let mut header = None;
    for (key, value) in pairs(options)? {
        match (key, value) {
            ("header", _) if header.is_some() => return Err(twice(key)),
            ("header", "vpp") => header = Some(Header::Vpp),
            ("header", "punt") => header = Some(Header::Punt),
            ("header", _) => return Err(format!("has the header {value:?}; there are punt and vpp")),
            _ => {
                return Err(format!(
                    "has the option {key:?}, which unix: does not take; it takes header=vpp"
                ));
            }
        }
    }
    Ok(Target::Unix { address, header: header.unwrap_or_default() })
}

fn tap(name: &str, options: Option<&str>) -> Result<Target, String> {
    let fits = (1..=MAX_TAP).contains(&name.len()) && name != "." && name != "..";
    if !fits || name.contains(|c: char| c == '/' || c == ':' || c == '%' || c.is_whitespace()) {
        return Err(format!(
            "names no interface; write 1 to {MAX_TAP} bytes without blank, slash, colon and percent sign, as tap:punt0"
        ));
    }
    let mut interface = None;
    for (key, value) in pairs(options)? {
        match (key, value) {
            ("interface", _) if interface.is_some() => return Err(twice(key)),
            ("interface", "") => {
                return Err("names no interface after interface=; write one of the router's".into());
            }
            ("interface", _) => interface = Some(value.into()),
            _ => {
                return Err(format!(
                    "has the option {key:?}, which tap: does not take; it takes interface=NAME"
                ));
            }
        }
    }
    Ok(Target::Tap { name: name.into(), interface })
}

fn pcapng(file: &str, options: Option<&str>) -> Result<Target, String> {
    let ends_as_file = !file.ends_with('/') && Path::new(file).file_name().is_some();
    if !ends_as_file {
        return Err("names no file; write one as pcapng:bgp.pcapng".into());
    }
    if Path::new(file).components().any(|part| part == Component::ParentDir) {
        return Err("leads up by ..; a capture is written below the directory of [punt]".into());
    }
    let (mut bytes, mut files) = (None, None);
    for (key, value) in pairs(options)? {
        let before = match key {
            "size" => {
                let read = size(value).ok_or_else(|| {
                    format!("has the size {value:?}; write bytes, as 64M, from 64K to 1024G")
                })?;
                bytes.replace(read).is_some()
            }
            "files" => {
                let read = digits(value).filter(|files| (1..=MAX_FILES).contains(files));
                let read = read.ok_or_else(|| {
                    format!("has the number of files {value:?}; write one from 1 to {MAX_FILES}")
                })?;
                files.replace(read as u32).is_some()
            }
            _ => {
                return Err(format!(
                    "has the option {key:?}, which pcapng: does not take; it takes size=64M and files=4"
                ));
            }
        };
        if before {
            return Err(twice(key));
        }
    }
    Ok(Target::Pcapng { file: file.into(), size: bytes, files })
}

/// A path that means the same to the engine as to who wrote it, and that fits a socket's address.
fn absolute(path: &str) -> Result<String, String> {
    if path.is_empty() || path == "/" {
        return Err("has no path; write one as unix:/run/bfdd/punt.sock".into());
    }
    if !path.starts_with('/') {
        return Err(format!(
            "has the relative path {path:?}, which the engine would look for elsewhere; begin it with /"
        ));
    }
    fits_socket(path)
}

fn fits_socket(address: &str) -> Result<String, String> {
    if address.len() > MAX_SOCKET {
        return Err(format!("has {} bytes; a socket's address has at most {MAX_SOCKET}", address.len()));
    }
    Ok(address.into())
}

/// `a=b&c=d`.
fn pairs(options: Option<&str>) -> Result<Vec<(&str, &str)>, String> {
    let Some(options) = options else { return Ok(Vec::new()) };
    let pair =
        |option: &'_ str| format!("has the option {option:?}; write options as KEY=VALUE, joined by &");
    options.split('&').map(|option| option.split_once('=').ok_or_else(|| pair(option))).collect()
}

fn twice(key: &str) -> String {
    format!("has the option {key:?} twice; leave one")
}

serde_as_text!(Target);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_back_what_it_writes() {
        for text in [
            "unix:/run/bfdd/punt.sock",
            "unix:/run/bfdd/punt.sock?header=vpp",
            "unix:@bfdd",
            "unix:@bfdd?header=vpp",
            "shm:/run/puntd/fast.sock",
            "tap:punt0",
            "tap:punt0?interface=lan.100",
            "pcapng:bgp.pcapng",
            "pcapng:a/b.pcapng?size=64M&files=4",
            "pcapng:/var/lib/puntd/b?size=100000",
            "pcapng:b?files=1",
            "null",
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        let rotated: Target = "pcapng:x?files=2&size=1024K".parse().unwrap();
        assert_eq!(rotated, Target::Pcapng { file: "x".into(), size: Some(1 << 20), files: Some(2) });
        assert_eq!(rotated.to_string(), "pcapng:x?size=1M&files=2");
        assert_eq!("unix:/s?header=punt".parse::<Target>().unwrap().to_string(), "unix:/s");
        assert_eq!(serde_json::to_string(&rotated).unwrap(), "\"pcapng:x?size=1M&files=2\"");
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, fault) in [
            ("", "is no target; write unix:PATH, shm:PATH, tap:NAME, pcapng:FILE or null"),
            ("socket:/s", "is no target; write unix:PATH, shm:PATH, tap:NAME, pcapng:FILE or null"),
            ("unix:", "has no path; write one as unix:/run/bfdd/punt.sock"),
            (
                "unix:s.sock",
                "has the relative path \"s.sock\", which the engine would look for elsewhere; begin it with /",
            ),
            (
                "shm:./s",
                "has the relative path \"./s\", which the engine would look for elsewhere; begin it with /",
            ),
            ("unix:@", "has no name after @; write one as unix:@bfdd"),
            ("unix:/s?header=ours", "has the header \"ours\"; there are punt and vpp"),
            ("unix:/s?header", "has the option \"header\"; write options as KEY=VALUE, joined by &"),
            ("unix:/s?files=1", "has the option \"files\", which unix: does not take; it takes header=vpp"),
            ("unix:/s?header=vpp&header=vpp", "has the option \"header\" twice; leave one"),
            ("shm:/s?header=vpp", "has options, and shm: takes none; leave out what follows ?"),
            (
                "tap:",
                "names no interface; write 1 to 15 bytes without blank, slash, colon and percent sign, as tap:punt0",
            ),
            (
                "tap:sixteen-letters-",
                "names no interface; write 1 to 15 bytes without blank, slash, colon and percent sign, as tap:punt0",
            ),
            (
                "tap:tap%d",
                "names no interface; write 1 to 15 bytes without blank, slash, colon and percent sign, as tap:punt0",
            ),
            ("tap:a?interface=", "names no interface after interface=; write one of the router's"),
            ("tap:a?interface=b&interface=c", "has the option \"interface\" twice; leave one"),
            ("tap:a?mtu=9", "has the option \"mtu\", which tap: does not take; it takes interface=NAME"),
            ("pcapng:", "names no file; write one as pcapng:bgp.pcapng"),
            ("pcapng:a/", "names no file; write one as pcapng:bgp.pcapng"),
            ("pcapng:a/../../b", "leads up by ..; a capture is written below the directory of [punt]"),
            ("pcapng:x?size=64", "has the size \"64\"; write bytes, as 64M, from 64K to 1024G"),
            ("pcapng:x?files=0", "has the number of files \"0\"; write one from 1 to 1000"),
            (
                "pcapng:x?age=1",
                "has the option \"age\", which pcapng: does not take; it takes size=64M and files=4",
            ),
            ("null:", "has something after null; write null alone"),
        ] {
            assert_eq!(text.parse::<Target>().unwrap_err().to_string(), format!("{text:?} {fault}"));
        }
        let long = format!("unix:/{}", "x".repeat(107));
        let fault = long.parse::<Target>().unwrap_err().to_string();
        assert!(fault.ends_with("has 108 bytes; a socket's address has at most 107"), "{fault}");
        assert!("unix:/a\nb".parse::<Target>().is_err());
    }

    proptest! {
        #[test]
        fn what_reads_reads_back(text in "(unix|shm|tap|pcapng|null)(:[/@.a-z]{0,6}(\\?(size|files|header|interface)=[0-9]{1,6}[KMG]?)?)?|.{0,20}") {
            if let Ok(target) = text.parse::<Target>() {
                prop_assert_eq!(target.to_string().parse(), Ok(target));
            }
        }
    }
}
