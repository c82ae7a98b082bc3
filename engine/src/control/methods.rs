//! The methods of the control socket: their parameters read, done, and answered.

use std::fmt::Display;
use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;

use punt::InterfaceAddress;
use punt::control::types::{
    Address, AddressRow, ConfigReport, InterfaceSet, Neighbor, NeighborKey, Reservation, Route, RouteFilter,
    RouteKey, RouteQuery, Version,
};
use punt::control::{Page, Paging, RpcError, code, many, one};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::configuration::{Session, parse};
use super::model::{InterfaceFacts, Key, Life, Op, Settings};
use super::{Control, Refused, Service};
use crate::config::too_small;

/// The version of the control protocol.
const PROTOCOL: u32 = 1;

pub(super) type Answer = Result<Box<RawValue>, RpcError>;
pub(super) type Params<'a> = Option<&'a RawValue>;

impl Service for Control {
    type Session = Session;

    fn call(&mut self, session: &mut Session, method: &str, params: Params) -> Answer {
        match method {
            "version" => one::<Empty>(params).and_then(|_| answer(&version())),
            "interface.list" => self.interface_list(params),
            "interface.set" => self.batch(many::<InterfaceSet>(params)?, interface_set),
            "address.list" => self.address_list(params),
            "address.add" => {
                self.batch(many::<Address>(params)?, |it| Ok(Op::AddressAdd(it, Life::Operator)))
            }
            "address.del" => self.batch(many::<Address>(params)?, |it| Ok(Op::AddressDel(it))),
            "neighbor.list" => self.neighbor_list(params),
            "neighbor.add" => self.batch(neighbors(params)?, |it| Ok(Op::NeighborAdd(it, Life::Operator))),
            "neighbor.replace" => {
                self.batch(neighbors(params)?, |it| Ok(Op::NeighborReplace(it, Life::Operator)))
            }
            "neighbor.del" => self.batch(many::<NeighborKey>(params)?, |it| Ok(Op::NeighborDel(it))),
            "route.list" => self.route_list(params),
            "route.get" => self.route_get(params),
            "route.add" => self.batch(routes(params)?, |it| Ok(Op::RouteAdd(it, Life::Operator))),
            "route.replace" => self.batch(routes(params)?, |it| Ok(Op::RouteReplace(it, Life::Operator))),
            "route.del" => self.batch(many::<RouteKey>(params)?, |it| Ok(Op::RouteDel(it))),
            "route.reserve" => self.route_reserve(one(params)?),
            "stats.interfaces" => self.interface_stats_list(params),
            "stats.nodes" => page_in_order(params, self.nodes(), |row| row.node.clone()),
            "stats.drops" => page_in_order(params, self.drops(), |row| format!("{} {}", row.node, row.text)),
            "stats.workers" => page_in_order(params, self.workers(), |row| row.worker.to_string()),
            "audit" => one::<Empty>(params).and_then(|_| answer(&self.audit())),
            "config.show" | "config.save" => self.config_text(session, params),
            "config.check" => match session.receive(one(params)?)? {
                Some((text, name)) => self.config_check(&parse(&text, &name)?),
                None => answer(&()),
            },
            "config.apply" => match session.receive(one(params)?)? {
                Some((text, name)) => {
                    let notes = self.apply(&parse(&text, &name)?)?;
                    answer(&ConfigReport { notes })
                }
                None => answer(&()),
            },
            _ => match self.punting(session, method, params) {
                Some(answer) => answer,
                None => Err(RpcError::method_not_found(method)),
            },
        }
    }

    fn holds(session: &Session) -> bool {
        session.token.is_some()
    }

    fn leave(&mut self, session: Session) {
        Control::leave(self, session);
    }

    fn tick(&mut self) {
        Control::tick(self);
    }

    fn reload(&mut self, file: &Path) {
        let name = file.display().to_string();
        let done = std::fs::read_to_string(file)
            .map_err(|error| format!("{name}: {error}"))
            .and_then(|text| parse(&text, &name).map_err(|error| error.message))
            .and_then(|config| self.apply(&config).map_err(|refused| of_file(&name, refused.message)));
        match done {
            Ok(notes) => log::info!("read {name} again: {}", notes.join("; ")),
            Err(error) => log::error!("{name} is not applied, everything stays as it was: {error}"),
        }
    }
}

/// A sentence about a file, which is named once.
fn of_file(name: &str, sentence: String) -> String {
    if sentence.starts_with(&format!("{name}:")) { sentence } else { format!("{name}: {sentence}") }
}

/// No parameters.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

impl From<Refused> for RpcError {
    fn from(refused: Refused) -> RpcError {
        let data = refused.index.map(|index| serde_json::json!({ "index": index }));
        RpcError { data, ..RpcError::refused(refused.message) }
    }
}

pub(super) fn answer(result: &impl Serialize) -> Answer {
    to_raw_value(result).map_err(internal)
}

fn internal(error: serde_json::Error) -> RpcError {
    RpcError::new(code::INTERNAL_ERROR, format!("the answer has no JSON form: {error}"))
}

fn version() -> Version {
    Version {
        version: env!("CARGO_PKG_VERSION").into(),
        dpdk: dpdk_sys::version().into(),
        protocol: PROTOCOL,
    }
}

/// A page of rows in the order of what they are known by, which is their cursor: others may come and go between two pages.
pub(super) fn page_by<T: Serialize, K: Ord + Display + FromStr>(
    params: Params,
    rows: Vec<T>,
    key: impl Fn(&T) -> K,
) -> Answer {
    page_of(one(params)?, rows, key)
}

/// The page of such rows that is asked for.
pub(super) fn page_of<T: Serialize, K: Ord + Display + FromStr>(
    paging: Paging,
    mut rows: Vec<T>,
    key: impl Fn(&T) -> K,
) -> Answer {
    let Paging { limit, after } = paging;
    if let Some(after) = after {
        let after = cursor::<K>(&after)?;
        rows.retain(|row| key(row) > after);
    }
    rows.sort_by_cached_key(&key);
    answer(&Page::of(rows, limit, |row| key(row).to_string()).map_err(internal)?)
}

/// A page of rows that keep their order and are always the same; their cursor is what they are known by.
pub(super) fn page_in_order<T: Serialize>(
    params: Params,
    mut rows: Vec<T>,
    key: impl Fn(&T) -> String,
) -> Answer {
    let Paging { limit, after } = one(params)?;
    if let Some(after) = after {
        let place = rows.iter().position(|row| key(row) == after).ok_or_else(|| no_cursor(&after))?;
        rows.drain(..=place);
    }
    answer(&Page::of(rows, limit, key).map_err(internal)?)
}

/// A row and its place, of which only the row is shown.
struct Placed<P, T> {
    place: P,
    row: T,
}

impl<P, T: Serialize> Serialize for Placed<P, T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.row.serialize(serializer)
    }
}

pub(super) fn cursor<T: FromStr>(text: &str) -> Result<T, RpcError> {
    text.parse().map_err(|_| no_cursor(text))
}

fn no_cursor(text: &str) -> RpcError {
    RpcError::invalid_params(format!("after is {text:?}; leave it out, or send what the last answer had"))
}

/// Routes that make sense in themselves.
fn routes(params: Params) -> Result<Vec<Route>, RpcError> {
    checked(many(params)?, Route::check)
}

fn neighbors(params: Params) -> Result<Vec<Neighbor>, RpcError> {
    checked(many(params)?, Neighbor::check)
}

fn checked<T>(items: Vec<T>, check: impl Fn(&T) -> Result<(), String>) -> Result<Vec<T>, RpcError> {
    for (index, item) in items.iter().enumerate() {
        if let Err(message) = check(item) {
            return Err(Refused { message, index: Some(index) }.into());
        }
    }
    Ok(items)
}

fn interface_set(set: InterfaceSet) -> Result<Op, String> {
    let InterfaceSet { name, mtu, mac, up } = set;
    let mtu = match mtu {
        Some(mtu) => Some(Some(u16::try_from(mtu).map_err(|_| {
            format!("{name}: an MTU of {mtu} bytes is more than any frame holds; set at most 9216")
        })?)),
        None => None,
    };
    Ok(Op::InterfaceSet(Settings { name, mtu, mac: mac.map(Some), up: up.map(Some), life: Life::Operator }))
}

impl Control {
    /// Does all of it or nothing.
    fn batch<T>(&mut self, items: Vec<T>, op: impl Fn(T) -> Result<Op, String>) -> Answer {
        let mut ops = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            ops.push(op(item).map_err(|message| Refused { message, index: Some(index) })?);
        }
        self.model.batch(ops)?;
        self.tell_interfaces();
        answer(&())
    }

    fn interface_list(&self, params: Params) -> Answer {
        let Paging { limit, after } = one(params)?;
        let after = after.map_or(Ok(0), |after| cursor(&after))?;
        let rows = self.model.interfaces_after(after).map(|facts| self.interface_row(&facts));
        answer(&Page::of(rows, limit, |answer| answer.row.index.to_string()).map_err(internal)?)
    }

    fn address_list(&self, params: Params) -> Answer {
        let Paging { limit, after } = one(params)?;
        let after = match after.as_deref().map(|after| after.split_once(' ').unwrap_or((after, ""))) {
            Some((index, address)) => Some((cursor(index)?, cursor::<InterfaceAddress>(address)?)),
            None => None,
        };
        let from = after.map_or(0, |(index, _): (u32, _)| index.saturating_sub(1));
        let rows = self.model.interfaces_after(from).flat_map(|facts| {
            let InterfaceFacts { name, index, mut addresses, .. } = facts;
            addresses.sort_unstable();
            let row = move |address| AddressRow { address, interface: name.to_owned() };
            addresses.into_iter().map(move |address| Placed { place: (index, address), row: row(address) })
        });
        let rows = rows.filter(|row| Some(row.place) > after);
        let page = Page::of(rows, limit, |row| format!("{} {}", row.place.0, row.place.1));
        answer(&page.map_err(internal)?)
    }

    fn interface_stats_list(&self, params: Params) -> Answer {
        let Paging { limit, after } = one(params)?;
        let after = after.map_or(Ok(0), |after| cursor(&after))?;
        let rows = self.interfaces_after(after).map(|(place, row)| Placed { place, row });
        answer(&Page::of(rows, limit, |row| row.place.to_string()).map_err(internal)?)
    }

    fn neighbor_list(&self, params: Params) -> Answer {
        let Paging { limit, after } = one(params)?;
        let after = match after {
            None => None,
            Some(text) => match text.split_once('/') {
                Some((index, address)) => Some((cursor(index)?, cursor::<IpAddr>(address)?)),
                None => Some((cursor(&text)?, IpAddr::from([0; 4]))),
            },
        };
        let rows = self.model.neighbors_after(after).map(|(place, row)| Placed { place, row });
        let page = Page::of(rows, limit, |row| format!("{}/{}", row.place.0, row.place.1));
        answer(&page.map_err(internal)?)
    }

    fn route_list(&self, params: Params) -> Answer {
        let filter: RouteFilter = one(params)?;
        let Paging { limit, after } = filter.paging();
        let after = after.map(|after| cursor::<Key>(&after)).transpose()?;
        let placed = |(place, row): (Key, _)| Placed { place, row };
        let page = match filter.prefix {
            Some(prefix) => {
                let rows = self.model.routes_of(prefix).filter(|(key, _)| Some(*key) > after);
                Page::of(rows.map(placed), limit, |row| row.place.to_string())
            }
            None => Page::of(self.model.routes_after(after).map(placed), limit, |row| row.place.to_string()),
        };
        answer(&page.map_err(internal)?)
    }

    fn route_get(&self, params: Params) -> Answer {
        let RouteQuery { address } = one(params)?;
        answer(&self.model.way_to(address).map_err(RpcError::refused)?)
    }

    /// Is there room for so many more routes? Nothing is set aside: one operator loads at a time.
    fn route_reserve(&self, need: Reservation) -> Answer {
        let sizes = &self.sizes;
        for (family, routes, groups, tables, size, groups_size) in [
            (0, need.routes4, need.deep4, ["routes4", "groups4"], sizes.routes4, sizes.groups4()),
            (1, need.routes6, need.deep6, ["routes6", "groups6"], sizes.routes6, sizes.groups6()),
        ] {
            let (there, _, taken) = self.model.fill(family);
            for (table, there, more, size) in
                [(tables[0], there, routes, size), (tables[1], taken, groups, groups_size)]
            {
                let needed = there as u64 + more;
                if needed > size as u64 {
                    return Err(RpcError::refused(too_small(table, size as usize, needed as usize)));
                }
            }
        }
        answer(&())
    }
}
