//! `scripts/soak` in small: everything at once for twenty seconds, always in the same order.

use std::process::Command;

use tests::engine::binary;

#[test]
fn everything_at_once_ends_balanced() {
    let puntd = binary("puntd");
    let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/soak"))
        .args(["--seconds", "20", "--seed", "3"])
        .env("SOAK_BIN", puntd.parent().expect("it is in a directory"))
        .output()
        .expect("bash can be started");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("Every packet adds up.") && said.contains(" 0 registrations"), "{said}");
}
