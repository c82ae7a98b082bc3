//! `config`: one text, however long.

use crate::fake::Engine;
use punt::control::RpcError;
use serde_json::{Value, json};

#[test]
fn what_is_in_force_is_shown_and_saved() {
    let engine = Engine::start(|method, _| {
        assert!(["config.show", "config.save"].contains(&method));
        Ok(json!({"text":"[punt]\n"}))
    });
    assert_eq!(engine.run("config show").well(), "[punt]\n");
    assert_eq!(engine.run("config show --json").json(), json!({"text":"[punt]\n"}));
    let file = engine.file("puntd.toml", "an older, longer one");
    assert_eq!(engine.run("config save puntd.toml").well(), "");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "[punt]\n");
    assert_eq!(engine.run("config save -").well(), "[punt]\n");
    let (status, err) = engine.run("config save /nonexistent/puntd.toml").badly();
    assert!(status == 2 && err.starts_with("error: /nonexistent/puntd.toml: No such file"), "{err}");
}

#[test]
fn a_long_one_comes_in_parts() {
    let engine = Engine::start(|_, params| {
        Ok(match params["after"].as_str() {
            None => json!({"text":"[punt]\n", "after":"1"}),
            Some("1") => json!({"text":"memory = ", "after":"2"}),
            Some(_) => json!({"text":"\"1 MiB\"\n", "after":null}),
        })
    });
    assert_eq!(engine.run("config show").well(), "[punt]\nmemory = \"1 MiB\"\n");
}

#[test]
fn a_file_is_checked_and_applied() {
    let engine = Engine::start(|method, params| {
        assert_eq!(params, &json!({"text":"[punt]\n","name":"new.toml"}));
        Ok(if method == "config.check" { json!({"notes":["its tables need 74 MiB"]}) } else { Value::Null })
    });
    engine.file("new.toml", "[punt]\n");
    assert_eq!(engine.run("config check new.toml").well(), "its tables need 74 MiB\n");
    assert_eq!(engine.run("config apply new.toml").well(), "");
    assert_eq!(engine.run("config apply new.toml --json").json(), json!({"notes":[]}));
    assert_eq!(engine.methods(), ["config.check", "config.apply", "config.apply"]);
}

#[test]
fn what_is_wrong_with_it_is_the_engines_word() {
    let engine =
        Engine::start(|_, _| Err(RpcError::refused("new.toml:3: unknown key `mut`; did you mean `mtu`?")));
    engine.file("new.toml", "");
    for line in ["config check new.toml", "config apply new.toml"] {
        assert_eq!(
            engine.run(line).badly(),
            (1, "error: new.toml:3: unknown key `mut`; did you mean `mtu`?\n".into())
        );
    }
}

#[test]
fn a_file_longer_than_a_line_goes_in_parts() {
    let engine = Engine::start(|_, _| Ok(Value::Null));
    let text = "# \u{1}€\"\n".repeat(300_000);
    engine.file("new.toml", &text);
    assert_eq!(engine.run("config apply new.toml").well(), "");
    let calls = engine.calls();
    let (last, first) = calls.split_last().unwrap();
    assert!(first.len() > 1 && first.iter().all(|(_, params)| params["more"] == true));
    assert!(last.1.get("more").is_none());
    let sent: String = calls.iter().map(|(_, params)| params["text"].as_str().unwrap()).collect();
    assert!(sent == text, "the parts are not the file");
}
