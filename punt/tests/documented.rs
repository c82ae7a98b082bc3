//! What `docs/punting.md` says can be written can be written.

use punt::{Match, Target};

const PUNTING: &str = include_str!("../../docs/punting.md");

/// The words in the first column of the table under a heading.
fn words(heading: &str) -> Vec<&'static str> {
    let section = PUNTING.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let cells =
        section.lines().filter(|line| line.starts_with("| `")).filter_map(|line| line.split('|').nth(1));
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn matches_and_targets_read() {
    let matches = words("Matches");
    assert!(matches.len() > 12 && matches.contains(&"reason:ip4.*"), "{matches:?}");
    for text in matches {
        let read: Match = text.parse().unwrap();
        assert_eq!(read.to_string().parse(), Ok(read));
    }
    let targets = words("Targets");
    assert!(targets.len() == 8 && targets.contains(&"null"), "{targets:?}");
    for text in targets {
        assert_eq!(text.parse::<Target>().map(|target| target.to_string()), Ok(text.into()));
    }
}
