//! The user's guide does what it says: its commands are run, in its order.

use std::fs;
use std::path::Path;
use std::process::Command;

use tests::engine::binary;
use tests::namespace::Namespace;

/// The commands of the guide, but for those that build.
fn commands(guide: &str) -> String {
    let blocks = guide.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap());
    blocks.filter(|block| !block.contains("cargo build")).collect()
}

#[test]
fn a_newcomer_gets_from_nothing_to_traffic() {
    // Whoever may make a namespace may do the rest, too.
    if Namespace::new().is_none() {
        return;
    }
    let guide = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide.md")).unwrap();
    let files = tempfile::tempdir().unwrap();
    // The guide names its files and namespaces as people do; here they are its own.
    let file = |name: &str| files.path().join(name).display().to_string();
    let commands = commands(&guide).replace("/tmp/guide.", &file("guide."));
    let own = "mkdir -p /run/netns && mount -t tmpfs netns /run/netns && ip link set lo up\n";
    fs::write(files.path().join("guide.sh"), format!("{own}{commands}")).unwrap();
    let (puntd, watch) = (binary("puntd"), binary("examples/punt-watch"));
    let [bin, examples] = [&puntd, &watch].map(|file| file.parent().unwrap().display());
    let path = format!("{bin}:{examples}:{}", std::env::var("PATH").unwrap());
    let output = Command::new("timeout")
        .args([
            "--kill-after=5",
            "100",
            "unshare",
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ])
        .args(["--propagation", "private", "bash"])
        .arg(files.path().join("guide.sh"))
        .env("PATH", path)
        .env("PUNTD_SOCKET", file("guide.sock"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let log = fs::read_to_string(files.path().join("guide.log")).unwrap_or_default();
    let context =
        format!("{said}\n--- errors\n{}\n--- puntd\n{log}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{context}");
    for (words, times) in [
        ("3 received", 3),
        ("0 received", 3),
        ("ip4.ttl-expired", 3),
        ("local.bfd from lan, ", 1),
        ("local.bgp from lan, ", 1),
        ("guide.bfdd: received 2 records, no gaps", 1),
        ("ttl 1, ", 3),
        ("no gaps (ip4.unclaimed ", 1),
        ("local.icmp-echo", 1),
        ("ip4.mtu-exceeded", 1),
        (" 0% packet loss", 3),
        ("Every packet adds up.", 2),
        ("puntd ended with status 0", 1),
    ] {
        assert!(said.matches(words).count() >= times, "{words:?}, {times} times, is not in\n{context}");
    }
    // The flood came, and a limit held it.
    let flood = said.lines().find(|line| line.starts_with("ip4.ttl-expired ") && line.contains(" 2003 "));
    let accepted = flood.and_then(|line| line.split_whitespace().last()?.parse::<u64>().ok());
    assert!(accepted.is_some_and(|accepted| (50..1500).contains(&accepted)), "{flood:?} in\n{context}");
    // tcpdump says there what it reads.
    let errors = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<&str> = errors.lines().filter(|line| !line.starts_with("reading from file ")).collect();
    assert!(errors.is_empty(), "{context}");
}
