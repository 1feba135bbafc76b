//! Prefixes of addresses. Follows upstream's `staging/src/k8s.io/apiserver/pkg/cel/library/cidr.go` and `pkg/cel/cidr.go`.

use super::address;
use super::ip::{self, Ip};
use super::{text, value};
use crate::error::EvalError;
use crate::function::{Function, Library};
use crate::quote::GoQuoted;
use crate::types::Type;
use crate::value::{Opaque, Value};
use std::any::Any;
use std::net::IpAddr;

/// The name of its type.
pub const TYPE: &str = "net.CIDR";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    pub address: IpAddr,
    pub bits: u8,
}

impl Cidr {
    fn contains(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && address::masked(self.address, self.bits) == address::masked(address, self.bits)
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Opaque for Cidr {
    fn type_name(&self) -> &'static str {
        TYPE
    }

    fn equals(&self, other: &dyn Opaque) -> Option<bool> {
        other
            .as_any()
            .downcast_ref::<Cidr>()
            .map(|other| self == other)
    }

    fn size(&self) -> Option<u64> {
        Some(u64::from(self.bits).div_ceil(8))
    }

    fn text(&self) -> Option<String> {
        Some(self.to_string())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Why a text is no prefix that may be used.
#[derive(Debug, thiserror::Error)]
pub enum CidrError {
    #[error("network address parse error during conversion from string: {0}")]
    Prefix(address::AddressError),
    #[error("IPv4-mapped IPv6 address {} is not allowed", GoQuoted(.0))]
    Mapped(String),
}

pub fn parse(text: &str) -> Result<Cidr, CidrError> {
    let (address, bits) = address::parse_prefix(text).map_err(CidrError::Prefix)?;
    if address::is_mapped(address) {
        return Err(CidrError::Mapped(text.to_owned()));
    }
    Ok(Cidr { address, bits })
}

fn of_text(text: &str) -> Result<Cidr, EvalError> {
    parse(text).map_err(|error| {
        EvalError::new(format!(
            "network address parse error during conversion from string: {error}"
        ))
    })
}

pub fn ty() -> Type {
    Type::opaque(TYPE, Vec::new())
}

fn cidr<'v>(args: &'v [Value<'_>], at: usize) -> Result<&'v Cidr, EvalError> {
    value(args, at)?
        .as_opaque()
        .ok_or_else(EvalError::no_such_overload)
}

pub fn library() -> Library {
    let of = [ty()];
    let with = |other| [ty(), other];
    let functions = vec![
        Function::new("cidr").global("string_to_cidr", &[Type::String], ty(), |args| {
            of_text(text(args, 0)?).map(Value::opaque)
        }),
        Function::new("containsIP")
            .member(
                "cidr_contains_ip_string",
                &with(Type::String),
                Type::Bool,
                |args| {
                    let ip = ip::of_text(text(args, 1)?)?;
                    Ok(Value::Bool(cidr(args, 0)?.contains(ip.0)))
                },
            )
            .member("cidr_contains_ip_ip", &with(ip::ty()), Type::Bool, |args| {
                let ip: Option<&Ip> = value(args, 1)?.as_opaque();
                let ip = ip.ok_or_else(EvalError::no_such_overload)?;
                Ok(Value::Bool(cidr(args, 0)?.contains(ip.0)))
            }),
        Function::new("containsCIDR")
            .member(
                "cidr_contains_cidr_string",
                &with(Type::String),
                Type::Bool,
                |args| {
                    let other = of_text(text(args, 1)?)?;
                    Ok(Value::Bool(contains(cidr(args, 0)?, &other)))
                },
            )
            .member("cidr_contains_cidr", &with(ty()), Type::Bool, |args| {
                Ok(Value::Bool(contains(cidr(args, 0)?, cidr(args, 1)?)))
            }),
        Function::new("ip").member("cidr_ip", &of, ip::ty(), |args| {
            Ok(Value::opaque(Ip(cidr(args, 0)?.address)))
        }),
        Function::new("prefixLength").member("cidr_prefix_length", &of, Type::Int, |args| {
            Ok(Value::Int(cidr(args, 0)?.bits.into()))
        }),
        Function::new("masked").member("cidr_masked", &of, ty(), |args| {
            let cidr = cidr(args, 0)?;
            Ok(Value::opaque(Cidr {
                address: address::masked(cidr.address, cidr.bits),
                bits: cidr.bits,
            }))
        }),
        Function::new("isCIDR").global("is_cidr", &[Type::String], Type::Bool, |args| {
            Ok(Value::Bool(parse(text(args, 0)?).is_ok()))
        }),
        Function::new("string").global("cidr_to_string", &of, Type::String, |args| {
            Ok(Value::string(cidr(args, 0)?.to_string()))
        }),
    ];
    Library {
        functions,
        types: vec![ty()],
    }
}

fn contains(outer: &Cidr, inner: &Cidr) -> bool {
    outer.bits <= inner.bits && outer.contains(inner.address)
}
