//! A rule as the kernel takes it: a list of small steps that load what is looked at into registers and compare, look up or act by them.
//!
//! Invariant: a rule reads no register that it has not written before. Sets that stand in a rule itself are given back, to be made before it.
//! Follows `include/uapi/linux/netfilter/nf_tables.h` of the kernel.

use super::{
    super::{
        family::{self, IpFamily},
        wire::Writer,
    },
    change::{Element, Set},
    data::{put_data, put_verdict},
    kernel as k,
    numbers::value_bytes,
    rule::{Field, Kind, Name, Reject, Rule, Side, Statement, Test, Value, Verdict},
};

/// A set that stands in a rule.
pub struct Anonymous {
    /// What the rule calls it, within its batch.
    pub id: u32,
    pub set: Set,
    pub elements: Vec<Element>,
}

/// A rule's expressions, and the sets that they refer to by an id. `ids` is the last id that was given out.
pub fn expressions(rule: &Rule, ids: &mut u32) -> (Writer, Vec<Anonymous>) {
    let mut steps = Steps {
        writer: Writer::default(),
        sets: Vec::new(),
        ids,
    };
    for statement in &rule.statements {
        steps.statement(statement);
    }
    (steps.writer, steps.sets)
}

/// Which set a step looks into.
enum Into<'a> {
    Named(&'a str),
    Own(u32, Name),
}

/// How many registers of four bytes an address takes.
fn registers(family: IpFamily) -> u32 {
    family.bytes() / 4
}

struct Steps<'a> {
    writer: Writer,
    sets: Vec<Anonymous>,
    ids: &'a mut u32,
}

impl Steps<'_> {
    fn step(&mut self, name: &str, body: impl FnOnce(&mut Writer)) {
        self.writer.nest(k::LIST_ELEMENT, |w| {
            w.text(k::EXPR_NAME, name);
            w.nest(k::EXPR_DATA, body);
        });
    }

    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Match(fields, test) => self.test(fields, test),
            Statement::Lookup(fields, map) => {
                self.load(fields);
                self.look(&Into::Named(map), Some(k::VERDICT), false);
            }
            Statement::GotoAny(chains) => self.goto_any(chains),
            Statement::Verdict(verdict) => self.verdict(verdict),
            Statement::MarkOr(mask) => self.mark(!mask, *mask),
            Statement::MarkXor(mask) => self.mark(u32::MAX, *mask),
            Statement::Masquerade { random } => self.step("masq", |w| {
                if *random {
                    w.number(k::MASQ_FLAGS, k::FULLY_RANDOM);
                }
            }),
            Statement::Reject(how) => self.reject(*how),
            Statement::Notrack => self.step("notrack", |_| {}),
            Statement::Dnat(ip, port) => {
                let family = IpFamily::of(*ip);
                self.put(k::FIRST, &family::octets(*ip));
                self.put(k::FIRST + registers(family), &port.to_be_bytes());
                self.nat(family);
            }
            Statement::DnatAny(family, places) => {
                let values = |(ip, port): &(_, _)| vec![Value::Ip(*ip), Value::Port(*port)];
                let elements = (0..).zip(places);
                let elements = elements
                    .map(|(index, at)| Element::values(vec![Value::Number(index)], values(at)));
                let map = Set::map("__map%d", &[Kind::Index], &[Kind::Ip(*family), Kind::Port]);
                self.any_of(map, elements.collect(), k::FIRST);
                self.nat(*family);
            }
            Statement::DnatByMap(family, fields, map) => {
                self.load(fields);
                self.look(&Into::Named(map), Some(k::FIRST), false);
                self.nat(*family);
            }
            Statement::Remember(family, set) => {
                self.load(&[Field::Address(*family, Side::Source)]);
                self.step("dynset", |w| {
                    w.text(k::DYNSET_NAME, set);
                    w.number(k::DYNSET_OP, k::DYNSET_UPDATE);
                    w.number(k::DYNSET_KEY, k::FIRST);
                });
            }
        }
    }

    fn test(&mut self, fields: &[Field], test: &Test) {
        self.load(fields);
        match test {
            Test::Is(value) => self.compare(k::EQUAL, &value_bytes(value)),
            Test::IsNot(value) => self.compare(k::UNEQUAL, &value_bytes(value)),
            Test::In(ranges) => self.among(ranges, false),
            Test::NotIn(ranges) => self.among(ranges, true),
            Test::Within(net) => {
                self.mask(&family::octets(net.netmask()));
                self.compare(k::EQUAL, &family::octets(net.network()));
            }
            Test::Outside(net) => {
                self.mask(&family::octets(net.netmask()));
                self.compare(k::UNEQUAL, &family::octets(net.network()));
            }
            Test::InSet(set) => self.look(&Into::Named(set), None, false),
            Test::NotInSet(set) => self.look(&Into::Named(set), None, true),
            Test::Begins(name) => self.compare(k::EQUAL, name.as_bytes()),
            Test::BeginsNot(name) => self.compare(k::UNEQUAL, name.as_bytes()),
            Test::Has(mask) => {
                self.mask(&mask.to_ne_bytes());
                self.compare(k::UNEQUAL, &[0; 4]);
            }
            Test::Lacks(mask) => {
                self.mask(&mask.to_ne_bytes());
                self.compare(k::EQUAL, &[0; 4]);
            }
        }
    }

    /// Puts fields into registers, one behind the other from the first; after whatever they need to be there at all.
    fn load(&mut self, fields: &[Field]) {
        for field in fields {
            if let Field::PortOf(protocol, _) = field {
                self.field(&Field::Protocol, k::FIRST);
                self.compare(k::EQUAL, &[*protocol]);
            }
        }
        let mut register = k::FIRST;
        for field in fields {
            self.field(field, register);
            register += match field {
                Field::Link(_) => 4,
                Field::Address(family, _) => registers(*family),
                Field::Neighbour => registers(IpFamily::V6),
                _ => 1,
            };
        }
    }

    fn field(&mut self, field: &Field, register: u32) {
        use Side::{Destination, Source};
        match field {
            Field::Address(family, side) => {
                let offset = match (family, side) {
                    (IpFamily::V4, Source) => 12,
                    (IpFamily::V4, Destination) => 16,
                    (IpFamily::V6, Source) => 8,
                    (IpFamily::V6, Destination) => 24,
                };
                self.payload(register, k::NETWORK_HEADER, offset, family.bytes());
            }
            Field::IcmpType => self.payload(register, k::TRANSPORT_HEADER, 0, 1),
            Field::Neighbour => self.payload(register, k::TRANSPORT_HEADER, 8, 16),
            Field::IpProtocol => self.payload(register, k::NETWORK_HEADER, 9, 1),
            Field::ArpSender => self.payload(register, k::NETWORK_HEADER, 14, 4),
            Field::EtherType => self.payload(register, k::LINK_HEADER, 12, 2),
            Field::Port(Source) | Field::PortOf(_, Source) => {
                self.payload(register, k::TRANSPORT_HEADER, 0, 2);
            }
            Field::Port(Destination) | Field::PortOf(_, Destination) => {
                self.payload(register, k::TRANSPORT_HEADER, 2, 2);
            }
            Field::Protocol => self.meta(register, k::META_L4PROTO),
            Field::Link(Source) => self.meta(register, k::META_IIFNAME),
            Field::Link(Destination) => self.meta(register, k::META_OIFNAME),
            Field::Mark => self.meta(register, k::META_MARK),
            Field::ConnectionState => self.connection(register, k::CT_STATE),
            Field::ConnectionStatus => self.connection(register, k::CT_STATUS),
            Field::ConnectionDirection => self.connection(register, k::CT_DIRECTION),
            Field::AddressType(side) => {
                let of = match side {
                    Source => k::FIB_SOURCE,
                    Destination => k::FIB_DESTINATION,
                };
                self.step("fib", |w| {
                    w.number(k::FIB_DREG, register);
                    w.number(k::FIB_RESULT, k::FIB_ADDRESS_TYPE);
                    w.number(k::FIB_FLAGS, of);
                });
            }
            Field::Random(count) => self.step("numgen", |w| {
                w.number(k::NUMGEN_DREG, register);
                w.number(k::NUMGEN_MODULUS, *count);
                w.number(k::NUMGEN_TYPE, k::NUMGEN_RANDOM);
            }),
        }
    }

    fn payload(&mut self, register: u32, base: u32, offset: u32, length: u32) {
        self.step("payload", |w| {
            w.number(k::PAYLOAD_DREG, register);
            w.number(k::PAYLOAD_BASE, base);
            w.number(k::PAYLOAD_OFFSET, offset);
            w.number(k::PAYLOAD_LEN, length);
        });
    }

    fn meta(&mut self, register: u32, key: u32) {
        self.step("meta", |w| {
            w.number(k::META_DREG, register);
            w.number(k::META_KEY, key);
        });
    }

    fn connection(&mut self, register: u32, key: u32) {
        self.step("ct", |w| {
            w.number(k::CT_DREG, register);
            w.number(k::CT_KEY, key);
        });
    }

    fn put(&mut self, register: u32, bytes: &[u8]) {
        self.step("immediate", |w| {
            w.number(k::IMMEDIATE_DREG, register);
            put_data(w, k::IMMEDIATE_DATA, bytes);
        });
    }

    fn compare(&mut self, how: u32, bytes: &[u8]) {
        self.step("cmp", |w| {
            w.number(k::CMP_SREG, k::FIRST);
            w.number(k::CMP_OP, how);
            put_data(w, k::CMP_DATA, bytes);
        });
    }

    /// Keeps these bits of the first register, and as many behind it as they fill.
    fn mask(&mut self, mask: &[u8]) {
        self.bits(mask, &vec![0; mask.len()]);
    }

    fn bits(&mut self, mask: &[u8], xor: &[u8]) {
        self.step("bitwise", |w| {
            w.number(k::BITWISE_SREG, k::FIRST);
            w.number(k::BITWISE_DREG, k::FIRST);
            w.number(
                k::BITWISE_LEN,
                u32::try_from(mask.len()).unwrap_or(u32::MAX),
            );
            put_data(w, k::BITWISE_MASK, mask);
            put_data(w, k::BITWISE_XOR, xor);
        });
    }

    /// One value or range is compared by itself; of more a set is made.
    fn among(&mut self, ranges: &[(Value, Value)], inverted: bool) {
        let how = if inverted { k::UNEQUAL } else { k::EQUAL };
        match ranges {
            [(first, last)] if first == last => self.compare(how, &value_bytes(first)),
            [(first, last)] => self.step("range", |w| {
                w.number(k::RANGE_SREG, k::FIRST);
                w.number(k::RANGE_OP, how);
                put_data(w, k::RANGE_FROM, &value_bytes(first));
                put_data(w, k::RANGE_TO, &value_bytes(last));
            }),
            _ => {
                let kind = ranges.first().map_or(Kind::Number, |(one, _)| one.kind());
                let mut set = Set::new("__set%d", &[kind]);
                set.ranges = ranges.iter().any(|(first, last)| first != last);
                let elements = ranges.iter().map(|(first, last)| Element {
                    last: set.ranges.then(|| last.clone()),
                    ..Element::of(vec![first.clone()])
                });
                let elements = elements.collect();
                let own = self.own(set, elements);
                self.look(&own, None, inverted);
            }
        }
    }

    fn own(&mut self, set: Set, elements: Vec<Element>) -> Into<'static> {
        *self.ids += 1;
        let id = *self.ids;
        let name = set.name.clone();
        self.sets.push(Anonymous { id, set, elements });
        Into::Own(id, name)
    }

    /// Looks for what is in the registers; `to` is where a map's value goes.
    fn look(&mut self, set: &Into<'_>, to: Option<u32>, inverted: bool) {
        self.step("lookup", |w| {
            match set {
                Into::Named(name) => w.text(k::LOOKUP_SET, name),
                Into::Own(id, name) => {
                    w.text(k::LOOKUP_SET, name);
                    w.number(k::LOOKUP_SET_ID, *id);
                }
            }
            w.number(k::LOOKUP_SREG, k::FIRST);
            if let Some(register) = to {
                w.number(k::LOOKUP_DREG, register);
            }
            if inverted {
                w.number(k::LOOKUP_FLAGS, k::LOOKUP_INVERTED);
            }
        });
    }

    fn goto_any(&mut self, chains: &[Name]) {
        let verdict = |chain: &Name| Verdict::Goto(chain.clone());
        if let [only] = chains {
            return self.verdict(&verdict(only));
        }
        let numbered = (0..).zip(chains);
        let elements = numbered
            .map(|(index, chain)| Element::verdict(vec![Value::Number(index)], verdict(chain)));
        let map = Set::verdicts("__map%d", &[Kind::Index]);
        self.any_of(map, elements.collect(), k::VERDICT);
    }

    /// Puts what one of the elements has, each as often as another, into a register. Their keys are numbers from 0.
    fn any_of(&mut self, map: Set, elements: Vec<Element>, to: u32) {
        let count = u32::try_from(elements.len()).unwrap_or(u32::MAX);
        self.load(&[Field::Random(count)]);
        let map = self.own(map, elements);
        self.look(&map, Some(to), false);
    }

    fn verdict(&mut self, verdict: &Verdict) {
        self.step("immediate", |w| {
            w.number(k::IMMEDIATE_DREG, k::VERDICT);
            put_verdict(w, k::IMMEDIATE_DATA, verdict);
        });
    }

    /// The mark becomes `(mark & mask) ^ xor`.
    fn mark(&mut self, mask: u32, xor: u32) {
        self.load(&[Field::Mark]);
        self.bits(&mask.to_ne_bytes(), &xor.to_ne_bytes());
        self.step("meta", |w| {
            w.number(k::META_KEY, k::META_MARK);
            w.number(k::META_SREG, k::FIRST);
        });
    }

    fn reject(&mut self, how: Reject) {
        let (kind, code) = match how {
            Reject::PortUnreachable(IpFamily::V4) => (k::REJECT_ICMP, 3),
            Reject::PortUnreachable(IpFamily::V6) => (k::REJECT_ICMP, 4),
            Reject::HostUnreachable(IpFamily::V4) => (k::REJECT_ICMP, 1),
            Reject::HostUnreachable(IpFamily::V6) => (k::REJECT_ICMP, 3),
            Reject::TcpReset => (k::REJECT_RESET, 0),
        };
        self.step("reject", |w| {
            w.number(k::REJECT_TYPE, kind);
            w.attribute(k::REJECT_CODE, &[code]);
        });
    }

    /// To the address in the first registers and the port in that behind.
    fn nat(&mut self, family: IpFamily) {
        let number = match family {
            IpFamily::V4 => k::IPV4,
            IpFamily::V6 => k::IPV6,
        };
        self.step("nat", |w| {
            w.number(k::NAT_TYPE, k::NAT_DNAT);
            w.number(k::NAT_FAMILY, number);
            w.number(k::NAT_ADDRESS, k::FIRST);
            w.number(k::NAT_PORT, k::FIRST + registers(family));
        });
    }
}
