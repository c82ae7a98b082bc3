//! What the EAL is told beside what the operator tells it: where its files lie, and how much memory the tables need.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use crate::config::Memory;

/// What the EAL itself takes, with a margin: service memory, drivers' queues, fragmentation of no-huge memory.
const OWN_MEMORY: u64 = 48 << 20;

/// The EAL's arguments: the configuration's, then the command line's, and what neither says.
///
/// Without `--file-prefix`, one is made of the control socket's path, so that two engines can run. On a host without hugepages, or with too few
/// of them, `--no-huge`; with that and without a size, as much memory as the configuration takes.
pub fn arguments(configured: &[String], given: &[String], socket: &Path, memory: &Memory) -> Vec<String> {
    let mut args: Vec<String> = configured.iter().chain(given).cloned().collect();
    let has = |args: &[String], names: &[&str]| {
        args.iter().any(|arg| names.iter().any(|name| arg == name || arg.starts_with(&format!("{name}="))))
    };
    if !has(&args, &["--file-prefix", "--in-memory"]) {
        let mut hasher = DefaultHasher::new();
        std::path::absolute(socket).unwrap_or_else(|_| socket.to_owned()).hash(&mut hasher);
        args.push(format!("--file-prefix=puntd-{:08x}", hasher.finish() as u32));
    }
    let sized = has(&args, &["-m", "--socket-mem", "--memory-size"]) || args.iter().any(|arg| is_memory(arg));
    if !has(&args, &["--no-huge", "--in-memory", "--huge-dir", "--socket-mem"])
        && !hugepages_free(wanted_of_hugepages(memory, sized))
    {
        log::warn!(
            "this host has no free hugepages, too few, or none that this user may have: running without, which is slower and for a first try"
        );
        args.push("--no-huge".into());
    }
    if has(&args, &["--no-huge"]) && !sized {
        args.push("-m".into());
        args.push(megabytes(memory.dpdk()).to_string());
    }
    args
}

/// So many bytes of hugepages must be free, or they are done without. How much there is to be is the operator's to say, and then any will do.
fn wanted_of_hugepages(memory: &Memory, sized: bool) -> u64 {
    if sized { 1 } else { memory.least() + OWN_MEMORY }
}

/// What DPDK needs for tables of so many bytes, in megabytes.
pub fn megabytes(tables: u64) -> u64 {
    (tables + OWN_MEMORY) >> 20
}

/// `-m256`, without a space.
fn is_memory(arg: &str) -> bool {
    arg.strip_prefix("-m")
        .is_some_and(|size| !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether there are hugepages for so many bytes, and a place where this user may make files of them.
fn hugepages_free(bytes: u64) -> bool {
    let Ok(sizes) = std::fs::read_dir("/sys/kernel/mm/hugepages") else { return false };
    let free = sizes.flatten().filter_map(|size| {
        let name = size.file_name();
        let kilobytes: u64 = name.to_str()?.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        let free = std::fs::read_to_string(size.path().join("free_hugepages")).ok()?;
        Some(free.trim().parse::<u64>().ok()? * (kilobytes << 10))
    });
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    free.sum::<u64>() >= bytes && hugetlbfs(&mounts).any(|place| is_writable(Path::new(place)))
}

/// Where file systems of hugepages are mounted.
fn hugetlbfs(mounts: &str) -> impl Iterator<Item = &str> {
    mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let place = words.next()?;
        (words.next()? == "hugetlbfs").then_some(place)
    })
}

/// Whether a file can be made there.
fn is_writable(directory: &Path) -> bool {
    let file = directory.join(format!("puntd-{}", std::process::id()));
    let made = std::fs::File::create_new(&file).is_ok();
    if made {
        let _ = std::fs::remove_file(&file);
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    /// Tables of so many bytes, without packets.
    fn memory(tables: u64) -> Memory {
        Memory { fib4: tables, fib6: 0, packets: 0, least_packets: 0, tables: 0 }
    }

    #[test]
    fn hugepages_need_not_hold_more_than_the_engine_can_do_with() {
        let memory = crate::config::Config::default().memory();
        assert!(memory.least() + (50 << 20) < memory.dpdk(), "fewer packets take less");
        assert_eq!(wanted_of_hugepages(&memory, false), memory.least() + OWN_MEMORY);
        assert_eq!(wanted_of_hugepages(&memory, true), 1, "the operator says how much");
    }

    #[test]
    fn what_the_operator_says_stays() {
        let given = words("-l 0 --no-huge -m 300 --file-prefix mine");
        assert_eq!(arguments(&[], &given, Path::new("/run/a"), &memory(1 << 30)), given);
        let short = words("--no-huge -m300 --file-prefix=mine");
        assert_eq!(arguments(&[], &short, Path::new("/run/a"), &memory(1 << 30)), short);
    }

    #[test]
    fn without_hugepages_the_tables_say_how_much() {
        let args = arguments(
            &words("--no-huge"),
            &words("--file-prefix a"),
            Path::new("/run/a"),
            &memory(100 << 20),
        );
        assert_eq!(args, words("--no-huge --file-prefix a -m 148"));
    }

    #[test]
    fn hugepages_are_where_their_file_systems_are_mounted() {
        let mounts = "proc /proc proc rw 0 0\nhugetlbfs /dev/hugepages hugetlbfs rw,pagesize=2M 0 0\nnone /mnt/huge hugetlbfs rw 0 0\n";
        assert_eq!(hugetlbfs(mounts).collect::<Vec<_>>(), ["/dev/hugepages", "/mnt/huge"]);
        assert_eq!(hugetlbfs("tmpfs /hugetlbfs tmpfs rw 0 0\n").count(), 0);
        let directory = tempfile::tempdir().expect("a directory");
        assert!(is_writable(directory.path()) && !is_writable(&directory.path().join("not-there")));
        assert_eq!(std::fs::read_dir(directory.path()).expect("it is there").count(), 0, "it is as it was");
        assert!(!hugepages_free(u64::MAX), "nobody has as many");
    }

    #[test]
    fn two_sockets_have_two_prefixes() {
        let prefix =
            |socket: &str| arguments(&[], &words("--no-huge -m 1"), Path::new(socket), &memory(0)).pop();
        assert_ne!(prefix("/run/a"), prefix("/run/b"));
        assert_eq!(prefix("/run/a"), prefix("/run/a"));
    }
}
