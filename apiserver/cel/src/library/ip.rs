//! Addresses. Follows upstream's `staging/src/k8s.io/apiserver/pkg/cel/library/ip.go` and `pkg/cel/ip.go`.

use super::address::{self, AddressError};
use super::{text, value};
use crate::error::EvalError;
use crate::function::{Function, Library};
use crate::quote::GoQuoted;
use crate::types::Type;
use crate::value::Outcome;
use crate::value::{Opaque, Value};
use std::any::Any;
use std::net::IpAddr;

/// The name of its type.
pub const TYPE: &str = "net.IP";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ip(pub IpAddr);

impl Opaque for Ip {
    fn type_name(&self) -> &'static str {
        TYPE
    }

    fn equals(&self, other: &dyn Opaque) -> Option<bool> {
        other
            .as_any()
            .downcast_ref::<Ip>()
            .map(|other| self == other)
    }

    fn size(&self) -> Option<u64> {
        Some(if self.0.is_ipv4() { 4 } else { 16 })
    }

    fn text(&self) -> Option<String> {
        Some(self.0.to_string())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Why a text is no address that may be used.
#[derive(Debug, thiserror::Error)]
pub enum IpError {
    #[error("IP Address {quoted} parse error during conversion from string: {1}", quoted = GoQuoted(.0))]
    Address(String, AddressError),
    #[error("IP address {} with zone value is not allowed", GoQuoted(.0))]
    Zone(String),
    #[error("IPv4-mapped IPv6 address {} is not allowed", GoQuoted(.0))]
    Mapped(String),
}

pub fn parse(text: &str) -> Result<Ip, IpError> {
    match address::parse(text) {
        Err(error) => Err(IpError::Address(text.to_owned(), error)),
        Ok((_, true)) => Err(IpError::Zone(text.to_owned())),
        Ok((ip, _)) if address::is_mapped(ip) => Err(IpError::Mapped(text.to_owned())),
        Ok((ip, false)) => Ok(Ip(ip)),
    }
}

pub(super) fn of_text(text: &str) -> Result<Ip, EvalError> {
    parse(text).map_err(|error| EvalError::new(error.to_string()))
}

pub fn ty() -> Type {
    Type::opaque(TYPE, Vec::new())
}

fn ip<'v>(args: &'v [Value<'_>]) -> Result<&'v IpAddr, EvalError> {
    let ip: Option<&Ip> = value(args, 0)?.as_opaque();
    ip.map(|ip| &ip.0).ok_or_else(EvalError::no_such_overload)
}

fn is<'a>(args: &[Value<'a>], fits: fn(&IpAddr) -> bool) -> Outcome<'a> {
    Ok(Value::Bool(fits(ip(args)?)))
}

pub fn library() -> Library {
    let of = [ty()];
    let functions = vec![
        Function::new("ip").global("string_to_ip", &[Type::String], ty(), |args| {
            of_text(text(args, 0)?).map(Value::opaque)
        }),
        Function::new("family").member("ip_family", &of, Type::Int, |args| {
            Ok(Value::Int(if ip(args)?.is_ipv4() { 4 } else { 6 }))
        }),
        Function::new("ip.isCanonical").global(
            "ip_is_canonical",
            &[Type::String],
            Type::Bool,
            |args| {
                let text = text(args, 0)?;
                Ok(Value::Bool(of_text(text)?.0.to_string() == text))
            },
        ),
        Function::new("isUnspecified").member("ip_is_unspecified", &of, Type::Bool, |args| {
            is(args, IpAddr::is_unspecified)
        }),
        Function::new("isLoopback").member("ip_is_loopback", &of, Type::Bool, |args| {
            is(args, IpAddr::is_loopback)
        }),
        Function::new("isLinkLocalMulticast").member(
            "ip_is_link_local_multicast",
            &of,
            Type::Bool,
            |args| is(args, is_link_local_multicast),
        ),
        Function::new("isLinkLocalUnicast").member(
            "ip_is_link_local_unicast",
            &of,
            Type::Bool,
            |args| is(args, is_link_local_unicast),
        ),
        Function::new("isGlobalUnicast").member("ip_is_global_unicast", &of, Type::Bool, |args| {
            is(args, is_global_unicast)
        }),
        Function::new("isIP").global("is_ip", &[Type::String], Type::Bool, |args| {
            Ok(Value::Bool(parse(text(args, 0)?).is_ok()))
        }),
        Function::new("string").global("ip_to_string", &of, Type::String, |args| {
            Ok(Value::string(ip(args)?.to_string()))
        }),
    ];
    Library {
        functions,
        types: vec![ty()],
    }
}

fn is_link_local_multicast(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.octets()[..3] == [224, 0, 0],
        IpAddr::V6(v6) => v6.octets()[0] == 0xff && v6.octets()[1] & 0x0f == 2,
    }
}

fn is_link_local_unicast(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.segments()[0] & 0xffc0 == 0xfe80,
    }
}

fn is_global_unicast(ip: &IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    !(broadcast
        || ip.is_unspecified()
        || ip.is_loopback()
        || ip.is_multicast()
        || is_link_local_unicast(ip))
}
