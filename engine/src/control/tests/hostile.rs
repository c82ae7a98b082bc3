//! A client that sends anything.

use punt::control::code;
use serde_json::{Value, json};

use super::{call_in, router, rows, saved};
use crate::config::Config;
use crate::control::Session;
use crate::control::testing::{eal, small};

#[test]
fn nothing_that_a_client_sends_ends_the_engine() {
    const METHODS: [&str; 26] = [
        "version",
        "interface.list",
        "interface.set",
        "address.list",
        "address.add",
        "address.del",
        "neighbor.list",
        "neighbor.add",
        "neighbor.replace",
        "neighbor.del",
        "route.list",
        "route.get",
        "route.add",
        "route.replace",
        "route.del",
        "route.reserve",
        "reason.list",
        "stats.reasons",
        "stats.interfaces",
        "stats.nodes",
        "stats.drops",
        "stats.workers",
        "config.show",
        "config.save",
        "config.check",
        "config.apply",
    ];
    const FIELDS: [&str; 19] = [
        "name",
        "mtu",
        "mac",
        "up",
        "address",
        "interface",
        "prefix",
        "via",
        "dev",
        "metric",
        "action",
        "limit",
        "after",
        "text",
        "more",
        "routes4",
        "deep6",
        "x",
        "lan",
    ];
    let values = [
        json!("lan"),
        json!("wan"),
        json!("10.0.0.1/24"),
        json!("10.0.0.1"),
        json!("10.0.1.2"),
        json!("10.0.1.7"),
        json!("10.2.0.0/16"),
        json!("10.2.0.0/25"),
        json!("default"),
        json!("default6"),
        json!("fd00:a::1/64"),
        json!("fd00:a::7"),
        json!("fe80::1/64"),
        json!("fe80::2"),
        json!("02:00:00:00:00:07"),
        json!("ff:ff:ff:ff:ff:ff"),
        json!("punt"),
        json!("blackhole"),
        json!(0),
        json!(1),
        json!(1280),
        json!(9216),
        json!(-1),
        json!(4_294_967_295u64),
        json!(u64::MAX),
        json!(1e300),
        json!(true),
        json!(false),
        json!(null),
        json!([]),
        json!(["10.0.1.2", "10.0.0.9"]),
        json!({}),
        json!("0"),
        json!("1"),
        json!("18446744073709551615"),
        json!("interface 1"),
        json!("neighbor 1 ::"),
        json!("route default 3 0"),
        json!("default 4 4294967295"),
        json!("[interface.lan]\nmtu = 1400"),
        json!("\u{0}\u{ffff}"),
        json!("0.0.0.0/0"),
        json!("255.255.255.255"),
        json!("::"),
    ];
    let _eal = eal(192);
    let mut control = router(small());
    let mut seed = 0x2545_f491_4f6c_dd1du64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 20) as usize % below
    };
    let (mut session, mut done) = (Session::default(), [0; 3]);
    for _ in 0..20_000 {
        let method = METHODS[random(METHODS.len())];
        let random_length = random(5);
        let objects: Vec<Value> = (0..2)
            .map(|_| {
                let field =
                    |_| (FIELDS[random(FIELDS.len())].to_string(), values[random(values.len())].clone());
                Value::Object((0..random_length).map(field).collect())
            })
            .collect();
        let object = || objects[0].clone();
        // Mostly what the method takes, so that it gets beyond reading its parameters.
        let params = match method {
            "address.add" | "address.del" => {
                json!({"address": values[random(13)], "interface": values[random(2)]})
            }
            "neighbor.add" | "neighbor.replace" => {
                json!({"address": values[3 + random(11)], "mac": values[14 + random(2)], "interface": values[random(2)]})
            }
            "neighbor.del" => json!({"address": values[3 + random(11)], "interface": values[random(2)]}),
            "route.add" | "route.replace" => {
                json!([{"prefix": values[3 + random(11)], "via": values[3 + random(11)], "dev": values[random(2)]}])
            }
            "route.del" => json!({"prefix": values[3 + random(11)], "metric": random(2)}),
            "interface.set" => {
                json!({"name": values[random(2)], "mtu": ([1280, 1500, 68, 9216, 9217][random(5)]), "up": random(2) == 0})
            }
            _ if random(4) == 0 => json!(objects),
            _ => object(),
        };
        match call_in(&mut control, &mut session, method, params.clone()) {
            Ok(_) => done[0] += 1,
            Err(error) if error.code == code::REFUSED => done[1] += 1,
            Err(error) if error.code == code::INVALID_PARAMS => done[2] += 1,
            Err(error) => panic!("{method} {params}: {error:?}"),
        }
    }
    assert!(done.iter().all(|count| *count > 1000), "{done:?} done, refused, not understood");
    // What is set in the end can be saved, read and applied, and is what the tables have: taken away, nothing is left.
    let text = saved(&mut control).1;
    let config = Config::parse(&text, "saved").unwrap();
    assert_eq!(control.model.apply(&config), Ok(0));
    let empty = "[interface.lan]\nport = \"net_ring_lan\"\n[interface.wan]\nport = \"net_ring_wan\"\n";
    control.apply(&Config::parse(empty, "empty").unwrap()).unwrap();
    assert_eq!(rows(&mut control, "route.list", &["prefix"]), Vec::<Value>::new());
    assert_eq!((control.model.fill(0), control.model.fill(1)), ((0, 0, 0), (0, 0, 0)));
}
