//! What the EAL is told beside what the operator tells it: where its files lie, and how much memory the tables need.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

/// What the EAL itself takes, with a margin: service memory, drivers' queues, fragmentation of no-huge memory.
const OWN_MEMORY: u64 = 48 << 20;

/// The EAL's arguments: the configuration's, then the command line's, and what neither says.
///
/// Without `--file-prefix`, one is made of the control socket's path, so that two engines can run. On a host without hugepages, `--no-huge`;
/// with that and without a size, as much memory as the tables need (`tables`, in bytes).
pub fn arguments(configured: &[String], given: &[String], socket: &Path, tables: u64) -> Vec<String> {
    let mut args: Vec<String> = configured.iter().chain(given).cloned().collect();
    let has = |args: &[String], names: &[&str]| {
        args.iter().any(|arg| names.iter().any(|name| arg == name || arg.starts_with(&format!("{name}="))))
    };
    if !has(&args, &["--file-prefix", "--in-memory"]) {
        let mut hasher = DefaultHasher::new();
        std::path::absolute(socket).unwrap_or_else(|_| socket.to_owned()).hash(&mut hasher);
        args.push(format!("--file-prefix=puntd-{:08x}", hasher.finish() as u32));
    }
    if !has(&args, &["--no-huge", "--in-memory", "--huge-dir", "--socket-mem"]) && !hugepages_free() {
        log::warn!("this host has no free hugepages: running without, which is slower and for a first try");
        args.push("--no-huge".into());
    }
    let sized = has(&args, &["-m", "--socket-mem", "--memory-size"]) || args.iter().any(|arg| is_memory(arg));
    if has(&args, &["--no-huge"]) && !sized {
        args.push("-m".into());
        args.push(((tables + OWN_MEMORY) >> 20).to_string());
    }
    args
}

/// `-m256`, without a space.
fn is_memory(arg: &str) -> bool {
    arg.strip_prefix("-m")
        .is_some_and(|size| !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_digit()))
}

fn hugepages_free() -> bool {
    let Ok(sizes) = std::fs::read_dir("/sys/kernel/mm/hugepages") else { return false };
    sizes.flatten().any(|size| {
        let free = std::fs::read_to_string(size.path().join("free_hugepages"));
        free.is_ok_and(|free| free.trim().parse::<u64>().is_ok_and(|free| free > 0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn what_the_operator_says_stays() {
        let given = words("-l 0 --no-huge -m 300 --file-prefix mine");
        assert_eq!(arguments(&[], &given, Path::new("/run/a"), 1 << 30), given);
        let short = words("--no-huge -m300 --file-prefix=mine");
        assert_eq!(arguments(&[], &short, Path::new("/run/a"), 1 << 30), short);
    }

    #[test]
    fn without_hugepages_the_tables_say_how_much() {
        let args = arguments(&words("--no-huge"), &words("--file-prefix a"), Path::new("/run/a"), 100 << 20);
        assert_eq!(args, words("--no-huge --file-prefix a -m 148"));
    }

    #[test]
    fn two_sockets_have_two_prefixes() {
        let prefix = |socket: &str| arguments(&[], &words("--no-huge -m 1"), Path::new(socket), 0).pop();
        assert_ne!(prefix("/run/a"), prefix("/run/b"));
        assert_eq!(prefix("/run/a"), prefix("/run/a"));
    }
}
