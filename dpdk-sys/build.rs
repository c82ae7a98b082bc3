//! Compiles the shim against the installed DPDK, generates its Rust declarations, and links the libraries.

use std::{env, path::PathBuf, process::Command};

/// The first and the last DPDK this crate is written for and tested with.
const SUPPORTED: ((u32, u32), (u32, u32)) = ((22, 11), (25, 11));

fn main() {
    for file in ["build.rs", "shim"] {
        println!("cargo::rerun-if-changed={file}");
    }
    for variable in ["PKG_CONFIG", "PKG_CONFIG_PATH"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    if let Err(sentence) = build() {
        println!("cargo::error={sentence}");
        std::process::exit(1);
    }
}

fn build() -> Result<(), String> {
    check_version(&pkg_config("--modversion")?)?;
    // All of them: -include rte_config.h is what makes the headers mean what the library was built with,
    // and -march is the distribution's, never that of the machine that builds.
    let cflags: Vec<String> = pkg_config("--cflags")?.split_whitespace().map(str::to_owned).collect();

    let mut shim = cc::Build::new();
    shim.files(["eal", "packet", "port", "fib"].map(|file| format!("shim/{file}.c")))
        .opt_level(3)
        .warnings(true);
    cflags.iter().for_each(|flag| {
        shim.flag(flag);
    });
    shim.try_compile("dpdk_shim").map_err(|error| format!("the DPDK shim does not compile: {error}"))?;

    bindgen::Builder::default()
        .header("shim/shim.h")
        .clang_args(&cflags)
        .detect_include_paths(false)
        .allowlist_function("dp_.*")
        .allowlist_type("dp_.*")
        .allowlist_var("DP_.*")
        .allowlist_recursively(false) // DPDK's own types are opaque to Rust, see ffi.rs
        .derive_default(true)
        .layout_tests(false)
        .generate_comments(false)
        .generate()
        .map_err(|error| format!("bindgen cannot read the shim's header: {error}"))?
        .write_to_file(PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join("shim.rs"))
        .map_err(|error| format!("the bindings cannot be written: {error}"))?;

    link(&pkg_config("--libs")?);
    Ok(())
}

/// The linker takes what the shim refers to and leaves the rest (`--as-needed`); the EAL loads drivers by itself.
fn link(libs: &str) {
    for word in libs.split_whitespace() {
        if let Some(directory) = word.strip_prefix("-L") {
            println!("cargo::rustc-link-search=native={directory}");
        } else if let Some(library) = word.strip_prefix("-l") {
            println!("cargo::rustc-link-lib={library}");
        }
    }
    // For rte_eth_from_rings(); a driver's library, so pkg-config does not list it.
    println!("cargo::rustc-link-lib=rte_net_ring");
}

fn pkg_config(what: &str) -> Result<String, String> {
    let program = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".into());
    let ((first_year, first_month), (last_year, last_month)) = SUPPORTED;
    let hint = format!(
        "install DPDK {first_year}.{first_month:02} to {last_year}.{last_month:02} with its headers \
         (Debian, Ubuntu: apt-get install libdpdk-dev pkg-config)"
    );
    let output = Command::new(&program)
        .args([what, "libdpdk"])
        .output()
        .map_err(|error| format!("{program} cannot be run ({error}); {hint}"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ");
        return Err(format!("{program} does not find libdpdk ({words}); {hint}"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn check_version(found: &str) -> Result<(), String> {
    let mut numbers = found.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let (first, last) = SUPPORTED;
    if (first..=last).contains(&version) {
        return Ok(());
    }
    Err(format!(
        "found DPDK {found}, but puntd is written for DPDK {}.{:02} to {}.{:02}; \
         point PKG_CONFIG_PATH to one of these",
        first.0, first.1, last.0, last.1
    ))
}
