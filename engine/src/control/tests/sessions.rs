//! What a client makes for its own connection, and what becomes of it when the connection goes.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{call, call_in, router, rows};
use crate::config::Config;
use crate::control::testing::{eal, small};
use crate::control::{Control, Service, Session};

/// All that there is of punting: sinks with what their rings take, registrations, and reasons made at run time.
fn there(control: &mut Control) -> [Vec<Value>; 3] {
    let mut reasons = rows(control, "stats.sinks", &["name"]);
    reasons.clear();
    let mut after = Value::Null;
    loop {
        let page = call(control, "reason.list", json!({ "after": after })).unwrap();
        let names = page["items"].as_array().unwrap().iter().map(|row| row["name"].clone());
        reasons.extend(names.filter(|name| name.as_str().unwrap().starts_with("local.udp-")));
        match page.get("after").filter(|next| !next.is_null()) {
            Some(next) => after = next.clone(),
            None => break,
        }
    }
    [rows(control, "sink.list", &["name"]), rows(control, "registration.list", &["id", "suspended"]), reasons]
}

/// A connection with a sink of its own and registrations for it: the connection, its token, and their ids.
fn client(control: &mut Control, name: &str, ports: &[u16]) -> (Session, Value, Vec<Value>) {
    let mut session = Session::default();
    let sink = json!({"name": name, "target": "null", "life": "session"});
    let token = call_in(control, &mut session, "sink.add", sink).unwrap()["token"].clone();
    let register = |port: &u16| {
        let wanted = json!({"match": format!("udp:{port}"), "sink": name, "life": "session"});
        let made = call_in(control, &mut session, "register", wanted).unwrap();
        assert_eq!(made["token"], token, "one session for one connection");
        made["id"].clone()
    };
    let ids = ports.iter().map(register).collect();
    (session, token, ids)
}

#[test]
fn who_stays_away_for_a_minute_leaves_nothing_behind() {
    let _eal = eal(192);
    let mut control = router(small());
    let nothing = there(&mut control);
    let (session, token, ids) = client(&mut control, "mine", &[5000, 5001]);
    assert_eq!(
        there(&mut control),
        [
            vec![json!(["mine"])],
            ids.iter().map(|id| json!([id, false])).collect(),
            vec![json!("local.udp-5000"), json!("local.udp-5001")]
        ]
    );

    control.leave(session);
    let suspended: Vec<_> = ids.iter().map(|id| json!([id, true])).collect();
    assert_eq!(there(&mut control)[1], suspended);
    control.expire_sessions(Instant::now() + Duration::from_secs(59));
    assert_eq!(there(&mut control)[1], suspended, "there is time yet");

    let mut back = Session::default();
    let answer = call_in(&mut control, &mut back, "session.resume", json!({ "token": token })).unwrap();
    assert_eq!((&answer["sinks"], &answer["registrations"]), (&json!(["mine"]), &Value::Array(ids.clone())));
    assert_eq!(there(&mut control)[1], ids.iter().map(|id| json!([id, false])).collect::<Vec<_>>());
    control.expire_sessions(Instant::now() + Duration::from_secs(600));
    assert_eq!(there(&mut control)[0], [json!(["mine"])], "who is there does not expire");

    control.leave(back);
    control.expire_sessions(Instant::now() + Duration::from_secs(60));
    assert_eq!(there(&mut control), nothing);
    let late = call(&mut control, "session.resume", json!({ "token": token })).unwrap_err();
    assert!(late.message.contains("no session"), "{}", late.message);
}

#[test]
fn a_session_that_ends_takes_nothing_of_anybody_else() {
    let _eal = eal(192);
    let mut control = router(small());
    call(&mut control, "sink.add", json!({"name": "operators", "target": "null"})).unwrap();
    call(&mut control, "register", json!({"match": "udp:5000", "sink": "operators"})).unwrap();
    let (session, ..) = client(&mut control, "mine", &[5000]);
    let (other, ..) = client(&mut control, "theirs", &[5000]);
    // Somebody else uses the session's sink.
    let guest = call(&mut control, "register", json!({"match": "udp:6000", "sink": "mine"})).unwrap();
    control.leave(session);
    control.expire_sessions(Instant::now() + Duration::from_secs(61));
    let sinks = rows(&mut control, "sink.list", &["name", "life"]);
    assert_eq!(sinks.len(), 3, "a sink that somebody uses stays: {sinks:?}");
    let wanted = rows(&mut control, "registration.list", &["match", "sink"]);
    assert_eq!(
        wanted,
        [json!(["udp:5000", "operators"]), json!(["udp:5000", "theirs"]), json!(["udp:6000", "mine"])]
    );
    call(&mut control, "unregister", json!({"id": guest["id"]})).unwrap();
    call(&mut control, "sink.del", json!({"name": "mine"})).unwrap();
    control.leave(other);
    control.expire_sessions(Instant::now() + Duration::from_secs(61));
    assert_eq!(rows(&mut control, "sink.list", &["name"]), [json!(["operators"])]);
}

/// Sinks and registrations as an operator sees them.
fn listed(control: &mut Control) -> [Vec<Value>; 2] {
    let sinks = rows(control, "sink.list", &["name", "target", "life", "rate"]);
    [sinks, rows(control, "registration.list", &["match", "life", "suspended"])]
}

#[test]
fn who_comes_back_without_its_token_has_its_sink_again_with_what_others_registered_there() {
    let _eal = eal(192);
    let mut control = router(small());
    let (session, token, _) = client(&mut control, "mine", &[5000]);
    let guest = call(&mut control, "register", json!({"match": "udp:5001", "sink": "mine"})).unwrap();
    let again = |rate: u32| json!({"name": "mine", "target": "null", "life": "session", "rate": rate});
    call(&mut control, "sink.add", again(7)).expect_err("its client is there");
    control.leave(session);

    let mut back = Session::default();
    let refused = json!([again(7), {"name": "", "target": "null"}]);
    call_in(&mut control, &mut Session::default(), "sink.add", refused).expect_err("that is no name");
    let suspended = json!(["udp:5000", "session", true]);
    assert_eq!(listed(&mut control)[1], [suspended, json!(["udp:5001", "operator", false])]);

    let made = call_in(&mut control, &mut back, "sink.add", again(7)).unwrap();
    assert!(made["token"].is_string() && made["token"] != token, "{made}");
    assert_eq!(
        listed(&mut control),
        [vec![json!(["mine", "null", "session", 7])], vec![json!(["udp:5001", "operator", false])]]
    );
    call(&mut control, "session.resume", json!({ "token": token })).expect_err("it has another");

    // It is its own: it goes with the client once nobody else uses it.
    call(&mut control, "unregister", json!({"id": guest["id"]})).unwrap();
    control.leave(back);
    control.expire_sessions(Instant::now() + Duration::from_secs(60));
    assert_eq!(listed(&mut control), <[Vec<Value>; 2]>::default());
}

#[test]
fn a_sink_that_others_use_is_theirs_when_the_session_has_ended_and_its_clients_when_that_comes_back() {
    let _eal = eal(192);
    let mut control = router(small());
    let (session, ..) = client(&mut control, "mine", &[5000]);
    call(&mut control, "passive.set", json!({"family": "ip4", "sink": "mine"})).unwrap();
    control.leave(session);
    control.expire_sessions(Instant::now() + Duration::from_secs(60));
    assert_eq!(listed(&mut control), [vec![json!(["mine", "null", "operator", null])], vec![]]);
    let elsewhere = json!({"name": "mine", "target": "unix:/elsewhere", "life": "session"});
    call(&mut control, "sink.add", elsewhere).expect_err("others use what is there");

    let (late, ..) = client(&mut control, "mine", &[5000]);
    assert_eq!(listed(&mut control)[0], [json!(["mine", "null", "session", null])]);
    control.leave(late);
    call(&mut control, "passive.del", json!({"family": "ip4"})).unwrap();
    control.expire_sessions(Instant::now() + Duration::from_secs(60));
    assert_eq!(listed(&mut control), <[Vec<Value>; 2]>::default());

    // One that an operator made is nobody's to take.
    call(&mut control, "sink.add", json!({"name": "mine", "target": "null"})).unwrap();
    let wanted = json!({"name": "mine", "target": "null", "life": "session"});
    call(&mut control, "sink.add", wanted).expect_err("it is an operator's");
}

#[test]
fn what_is_refused_takes_nothing_from_a_session() {
    let _eal = eal(192);
    let mut control = router(small());
    let nothing = there(&mut control);
    let (session, _, ids) = client(&mut control, "mine", &[5000]);
    let several = json!([{"id": ids[0]}, {"id": 9999}]);
    call(&mut control, "unregister", several).unwrap_err();
    control.leave(session);
    assert_eq!(there(&mut control)[1], [json!([ids[0], true])]);
    control.expire_sessions(Instant::now() + Duration::from_secs(60));
    assert_eq!(there(&mut control), nothing);
}

#[test]
fn what_a_file_asks_for_too_stays_when_the_session_ends() {
    let _eal = eal(192);
    let mut control = router(small());
    let (session, _, ids) = client(&mut control, "mine", &[5000]);
    let sink = serde_json::from_value(json!({"name": "mine", "target": "null"})).unwrap();
    let register = serde_json::from_value(json!({"match": "udp:5000", "sink": "mine"})).unwrap();
    let config = Config { sinks: vec![sink], registers: vec![register], ..control.applied.clone() };
    control.apply(&config).expect("it can be so");
    control.leave(session);
    control.expire_sessions(Instant::now() + Duration::from_secs(60));
    assert_eq!(there(&mut control)[..2], [vec![json!(["mine"])], vec![json!([ids[0], false])]]);
}

#[test]
fn a_thousand_sessions_that_nobody_takes_up_leave_no_memory_behind() {
    let _eal = eal(192);
    let mut control = router(small());
    let (_, _, first) = client(&mut control, "first", &[5000]);
    let memory = |control: &mut Control| rows(control, "sink.list", &["memory"]);
    let before = memory(&mut control);
    for _ in 0..1000 {
        let (session, ..) = client(&mut control, "again", &[5000, 5001]);
        control.leave(session);
        control.expire_sessions(Instant::now() + Duration::from_secs(60));
    }
    assert_eq!(memory(&mut control), before);
    assert_eq!(there(&mut control)[1], [json!([first[0], false])]);
    // Ids are never used again.
    let (_, _, ids) = client(&mut control, "last", &[6000]);
    assert!(ids[0].as_u64() > Some(2000), "{ids:?}");
}

#[test]
fn a_refused_request_opens_no_session() {
    let _eal = eal(192);
    let mut control = router(small());
    let mut session = Session::default();
    for (method, wanted) in [
        ("register", json!({"match": "udp:5000", "sink": "nobody", "life": "session"})),
        ("sink.add", json!({"name": "", "target": "null", "life": "session"})),
    ] {
        call_in(&mut control, &mut session, method, wanted).expect_err("it cannot be");
        assert!(!Control::holds(&session), "{method}");
    }
    let (session, token, ids) = client(&mut control, "mine", &[5000]);
    let wanted = json!({"match": "udp:5000", "sink": "nobody", "life": "session"});
    let mut session = session;
    call_in(&mut control, &mut session, "register", wanted).expect_err("it cannot be");
    assert!(Control::holds(&session), "it holds what it made before");
    control.leave(session);
    let mut back = Session::default();
    let answer = call_in(&mut control, &mut back, "session.resume", json!({ "token": token })).unwrap();
    assert_eq!(answer["registrations"], Value::Array(ids.clone()));
    // Who has given back all that it had has nothing to come back for.
    call(&mut control, "unregister", json!({"id": ids[0]})).unwrap();
    call(&mut control, "sink.del", json!({"name": "mine"})).unwrap();
    control.leave(back);
    call(&mut control, "session.resume", json!({ "token": token })).expect_err("it has ended");
}
