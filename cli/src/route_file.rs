//! Files of routes: a line is what follows `puntctl route add`; `#` begins a comment.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::BufRead;
use std::path::Path;

use punt::control::types::Route;

use crate::failure::Failure;
use crate::{file, words};

/// Routes and where they stand.
#[derive(Debug, Default)]
pub struct RouteFile {
    /// What errors call the file.
    pub name: String,
    /// In the order of the file.
    pub routes: Vec<Route>,
    /// The line of each, counted from 1.
    lines: Vec<u32>,
}

impl RouteFile {
    /// Reads a file and checks all of it.
    pub fn open(path: &Path) -> Result<RouteFile, Failure> {
        RouteFile::read(file::name(path), file::open(path)?).map_err(Failure::usage)
    }

    /// Reads lines; the first one that is wrong is the error.
    fn read(name: String, mut input: impl BufRead) -> Result<RouteFile, String> {
        let mut file = RouteFile { name, ..RouteFile::default() };
        let mut bytes = Vec::new();
        for number in 1.. {
            bytes.clear();
            if input.read_until(b'\n', &mut bytes).map_err(|error| format!("{}: {error}", file.name))? == 0 {
                break;
            }
            let fault = |fault| format!("{}:{number}: {fault}", file.name);
            let line = str::from_utf8(&bytes).map_err(|_| fault(String::from("the line is no UTF-8")))?;
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                file.routes.push(words::route(line.split_whitespace()).map_err(fault)?);
                file.lines.push(number);
            }
        }
        file.unique()?;
        Ok(file)
    }

    /// No route may stand in it twice, or it could not be told what to take back.
    fn unique(&self) -> Result<(), String> {
        let mut seen = HashMap::with_capacity(self.routes.len());
        for (index, route) in self.routes.iter().enumerate() {
            match seen.entry((route.prefix, route.metric.unwrap_or(0))) {
                Entry::Vacant(entry) => entry.insert(index),
                Entry::Occupied(entry) => {
                    let first = self.lines[*entry.get()];
                    return Err(format!(
                        "{} {} stands in line {first} already",
                        self.at(index),
                        route.prefix
                    ));
                }
            };
        }
        Ok(())
    }

    /// How an error about that route begins.
    pub fn at(&self, index: usize) -> String {
        match self.lines.get(index) {
            Some(line) => format!("{}:{line}:", self.name),
            None => format!("{}:", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<RouteFile, String> {
        RouteFile::read("routes".into(), text.as_bytes())
    }

    #[test]
    fn a_file_has_a_route_a_line() {
        let file = read(
            "# a table\n\n10.2.0.0/16 via 10.0.1.2  # ours\n  default6 metric 7 via fd00::2\r\n10.9.0.0/16\tblackhole",
        )
        .unwrap();
        let routes: Vec<String> = file.routes.iter().map(ToString::to_string).collect();
        assert_eq!(
            routes,
            ["10.2.0.0/16 via 10.0.1.2", "default6 via fd00::2 metric 7", "10.9.0.0/16 blackhole"]
        );
        assert_eq!(
            (file.at(0), file.at(2), file.at(3)),
            ("routes:3:".into(), "routes:5:".into(), "routes:".into())
        );
        assert!(read("").unwrap().routes.is_empty());
    }

    #[test]
    fn the_first_wrong_line_is_named() {
        assert_eq!(
            read("10.2.0.0/16 via 10.0.1.2\n10.0.0.1/8 via 10.0.1.2\nnonsense\n").unwrap_err(),
            "routes:2: 10.0.0.1/8 has bits set beyond its length; write 10.0.0.0/8"
        );
        assert_eq!(
            read("default punt\n0.0.0.0/0 via 10.0.1.2 metric 0\n").unwrap_err(),
            "routes:2: default stands in line 1 already"
        );
        assert!(read("default punt\ndefault via 10.0.1.2 metric 1\n").is_ok());
        assert_eq!(
            RouteFile::read("routes".into(), &b"default punt\n\xff\n"[..]).unwrap_err(),
            "routes:2: the line is no UTF-8"
        );
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = RouteFile::read("routes".into(), &bytes[..]);
        }
    }
}
