//! What a configuration says of punting, as TOML.

use punt::Rate;
use punt::control::types::{ClassSet, PassiveSet, PolicerSet, ReasonSet, Register, SinkAdd};

use super::{key, optional, quoted};
use crate::config::Punting;

/// `[punt]`.
pub fn punting(punting: &Punting) -> String {
    let Punting { directory, memory, budget } = punting;
    let directory = quoted(directory);
    format!("\n[punt]\ndirectory = {directory}\nmemory = \"{memory}\"\nbudget = {}\n", number(*budget))
}

/// One `[[sink]]`.
pub fn sink(sink: &SinkAdd) -> String {
    let SinkAdd { name, target, rate, burst, life: _ } = sink;
    let text = format!("\n[[sink]]\nname = {}\ntarget = {}\n", quoted(name), quoted(target));
    text + &limit(*rate, *burst)
}

/// One `[[register]]`.
pub fn register(register: &Register) -> String {
    let Register { r#match, sink, rate, burst, interface, source, snaplen, exclusive, life: _ } = register;
    let mut text = format!("\n[[register]]\nmatch = {}\nsink = {}\n", quoted(r#match), quoted(sink));
    text += &limit(*rate, *burst);
    text += &optional("interface", interface.as_ref().map(quoted));
    text += &optional("source", source.map(quoted));
    text += &optional("snaplen", *snaplen);
    if *exclusive { text + "exclusive = true\n" } else { text }
}

/// One `[[passive]]`.
pub fn passive(passive: &PassiveSet) -> String {
    let PassiveSet { family, interface, sink, redirect, via, drop, rate, burst } = passive;
    let mut text = format!("\n[[passive]]\nfamily = \"{family}\"\n");
    text += &optional("interface", interface.as_ref().map(quoted));
    text += &optional("sink", sink.as_ref().map(quoted));
    text += &optional("redirect", redirect.as_ref().map(quoted));
    text += &optional("via", via.map(quoted));
    if *drop {
        text += "drop = true\n";
    }
    text + &limit(*rate, *burst)
}

/// One `[reason."NAME"]`.
pub fn reason(reason: &ReasonSet) -> String {
    let ReasonSet { name, rate, burst, class, action, source_rate, interface_rate, sample } = reason;
    let mut text = format!("\n[reason.{}]\n", key(name));
    text += &limit(*rate, *burst);
    text += &optional("class", class.map(quoted));
    text += &optional("action", action.map(quoted));
    text += &optional("source_rate", source_rate.map(number));
    text += &optional("interface_rate", interface_rate.map(number));
    text + &optional("sample", *sample)
}

/// One `[class.NAME]`.
pub fn class(class: &ClassSet) -> String {
    let ClassSet { name, min, cap } = class;
    format!("\n[class.{name}]\n") + &optional("min", *min) + &optional("cap", cap.map(number))
}

/// One `[[policer]]`. What is set for a registration must name it by its place in the file, from 1.
pub fn policer(policer: &PolicerSet) -> String {
    let PolicerSet { what, kind, rate, burst, peak, excess, yellow, red } = policer;
    let mut text = format!("\n[[policer]]\nwhat = {}\ntype = \"{kind}\"\n", quoted(what));
    text += &format!("rate = {}\nburst = {}\n", quoted(rate), quoted(burst));
    text += &optional("peak", peak.map(quoted));
    text += &optional("excess", excess.map(quoted));
    text += &optional("yellow", yellow.map(quoted));
    text + &optional("red", red.map(quoted))
}

fn limit(rate: Option<Rate>, burst: Option<u32>) -> String {
    optional("rate", rate.map(number)) + &optional("burst", burst)
}

/// A number as it is; `unlimited` in quotes.
fn number(rate: Rate) -> String {
    match rate {
        Rate::Unlimited => quoted(rate),
        Rate::PerSecond(rate) => rate.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::option::of;
    use proptest::prelude::*;
    use punt::control::types::{Life, PassiveFamily};

    use super::*;
    use crate::config::Config;

    fn rate() -> impl Strategy<Value = Option<Rate>> {
        of(prop_oneof![Just(Rate::Unlimited), any::<u32>().prop_map(Rate::from)])
    }

    fn configs() -> impl Strategy<Value = Config> {
        let sinks = proptest::collection::vec((rate(), "[a-z\"\\\\é]{1,5}"), 1..4);
        let registers = proptest::collection::vec((1u16.., rate(), of(1u32..9999), any::<bool>()), 0..4);
        let reason = (rate(), of(1u32..), rate(), of(1u32..));
        let reasons = proptest::collection::vec(reason, 0..4);
        let cap = of(prop_oneof![Just(Rate::Unlimited), (50_000u32..).prop_map(Rate::from)]);
        (sinks, registers, reasons, cap).prop_map(|(sinks, registers, reasons, cap)| {
            let mut config =
                Config::parse("[interface.lan]\naddresses = [\"10.0.0.1/24\"]\n[interface.wan]\n", "base")
                    .unwrap();
            for (at, (rate, name)) in sinks.into_iter().enumerate() {
                let target = if at == 0 { "null" } else { "pcapng:a\"b?size=1M" };
                let target = format!("{target}{}", if at > 1 { "&files=2" } else { "" }).parse().unwrap();
                let target = if at > 1 { "unix:@x?header=vpp".parse().unwrap() } else { target };
                config.sinks.push(SinkAdd {
                    name: format!("{name}{at}"),
                    target,
                    rate,
                    burst: rate.map(|_| 7),
                    life: Life::Config,
                });
            }
            for (at, (port, rate, snaplen, all)) in registers.into_iter().enumerate() {
                config.registers.push(Register {
                    r#match: format!("udp:{at}-{}", port.max(at as u16)).parse().unwrap(),
                    sink: config.sinks[0].name.clone(),
                    rate,
                    burst: rate.map(|_| 9),
                    interface: all.then(|| "lan".into()),
                    source: (!all).then(|| "fd00::/8".parse().unwrap()),
                    snaplen,
                    exclusive: all,
                    life: Life::Config,
                });
                config.policers.push(PolicerSet {
                    what: format!("registration:{}", at + 1).parse().unwrap(),
                    kind: punt::policer::Kind::Rfc2697,
                    rate: "8000bps".parse().unwrap(),
                    burst: "1500B".parse().unwrap(),
                    peak: None,
                    excess: Some("3000".parse().unwrap()),
                    yellow: Some("demote:miss".parse().unwrap()),
                    red: all.then(|| "drop".parse().unwrap()),
                });
            }
            for (at, (rate, burst, source_rate, sample)) in reasons.into_iter().enumerate() {
                config.reasons.push(ReasonSet {
                    name: format!("ip{at}.ttl-expired"),
                    rate,
                    burst,
                    class: sample.map(|_| punt::Class::Mgmt),
                    action: burst.map(|_| punt::Action::Copy),
                    source_rate,
                    interface_rate: rate,
                    sample,
                });
            }
            config.classes.push(ClassSet { name: punt::Class::Route, min: Some(0), cap });
            config.punt.budget = cap.unwrap_or(Rate::Unlimited);
            let place = PassiveSet {
                family: PassiveFamily::Ip4,
                interface: Some("wan".into()),
                sink: None,
                redirect: Some("lan".into()),
                via: Some("10.0.0.2".parse().unwrap()),
                drop: false,
                rate: cap,
                burst: cap.map(|_| 3),
            };
            config.passives.push(PassiveSet {
                drop: true,
                redirect: None,
                via: None,
                rate: None,
                burst: None,
                interface: None,
                ..place.clone()
            });
            config.passives.push(place);
            config
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(config in configs()) {
            let text = config.to_string();
            let read = Config::parse(&text, "written");
            prop_assert_eq!(read.as_ref(), Ok(&config), "{}", text);
        }
    }
}
