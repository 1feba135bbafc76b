//! The library `format`: what texts may look like, by name. Follows upstream's `staging/src/k8s.io/apiserver/pkg/cel/library/format.go`.

use crate::machinery::names::{self, Messages};
use skiff_cel::library::url;
use skiff_cel::value::Opaque;
use skiff_cel::value::time::Timestamp;
use skiff_cel::{EvalError, Function, Library, Outcome, Type, Value};
use std::any::Any;

/// The name of its type.
const TYPE: &str = "kubernetes.NamedFormat";

/// What texts of a name may look like.
#[derive(Debug)]
struct Format {
    /// As expressions name it.
    name: &'static str,
    /// What is wrong with a text; nothing with one that fits.
    check: fn(&str) -> Messages,
    /// How long its pattern is at most, for the cost.
    pattern: u64,
}

fn unless(fits: bool, message: &str) -> Messages {
    if fits {
        Messages::new()
    } else {
        vec![message.to_owned()]
    }
}

static FORMATS: [Format; 13] = [
    Format {
        name: "dns1123Label",
        check: names::is_dns1123_label,
        pattern: 30,
    },
    Format {
        name: "dns1123Subdomain",
        check: names::is_dns1123_subdomain,
        pattern: 60,
    },
    Format {
        name: "dns1035Label",
        check: names::is_dns1035_label,
        pattern: 30,
    },
    Format {
        name: "qualifiedName",
        check: names::is_qualified_name,
        pattern: 60,
    },
    Format {
        name: "dns1123LabelPrefix",
        check: |text| names::is_dns1123_label(&names::mask_trailing_dash(text)),
        pattern: 30,
    },
    Format {
        name: "dns1123SubdomainPrefix",
        check: |text| names::is_dns1123_subdomain(&names::mask_trailing_dash(text)),
        pattern: 60,
    },
    Format {
        name: "dns1035LabelPrefix",
        check: |text| names::is_dns1035_label(&names::mask_trailing_dash(text)),
        pattern: 30,
    },
    Format {
        name: "labelValue",
        check: names::is_label_value,
        pattern: 40,
    },
    Format {
        name: "uri",
        check: |text| match url::is_request_uri(text) {
            Ok(()) => Messages::new(),
            Err(error) => vec![error.to_string()],
        },
        pattern: 1103,
    },
    Format {
        name: "uuid",
        check: |text| unless(is_uuid(text), "does not match the UUID format"),
        pattern: 70,
    },
    Format {
        name: "byte",
        check: |text| unless(is_base64(text), "invalid base64"),
        pattern: 84,
    },
    Format {
        name: "date",
        check: |text| unless(Timestamp::parse_date(text).is_some(), "invalid date"),
        pattern: 71,
    },
    Format {
        name: "datetime",
        check: |text| unless(is_date_time(text), "invalid datetime"),
        pattern: 71,
    },
];

/// Groups of 8, 4, 4, 4 and 12 hexadecimal digits, with or without dashes between.
fn is_uuid(text: &str) -> bool {
    let mut rest = text;
    for (at, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if at > 0 {
            rest = rest.strip_prefix('-').unwrap_or(rest);
        }
        match rest.get(..length) {
            Some(group) if group.bytes().all(|b| b.is_ascii_hexdigit()) => rest = &rest[length..],
            _ => return false,
        }
    }
    rest.is_empty()
}

/// Groups of four, the last one padded; at least one.
fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let letter = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    !body.is_empty()
        && text.len().is_multiple_of(4)
        && text.len() - body.len() <= 2
        && body.bytes().all(letter)
}

/// A date, and a time of day with an offset; what its pattern takes for a point before the fraction may be anything.
fn is_date_time(text: &str) -> bool {
    let lower = text.to_lowercase();
    let mut parts = lower.split('t');
    let (Some(date), Some(time)) = (parts.next(), parts.next()) else {
        return false;
    };
    if Timestamp::parse_date(date).is_none() {
        return false;
    }
    let two = |at: usize, most: &str| {
        let digits = time.get(at..at + 2).unwrap_or("");
        digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit()) && digits <= most
    };
    let colons = time.get(2..3) == Some(":") && time.get(5..6) == Some(":");
    if !(two(0, "23") && two(3, "59") && two(6, "59") && colons) {
        return false;
    }
    let Some(rest) = time.get(8..) else {
        return false;
    };
    let mut chars = rest.chars();
    let fraction = match chars.next() {
        Some('z' | '+' | '-') | None => 0,
        Some(point) => {
            let digits = chars.take_while(char::is_ascii_digit).count();
            if digits == 0 {
                return false;
            }
            point.len_utf8() + digits
        }
    };
    let zone = &rest[fraction..];
    zone == "z"
        || zone.strip_prefix(['+', '-']).is_some_and(|offset| {
            let bytes = offset.as_bytes();
            bytes.len() == 5
                && bytes[2] == b':'
                && [0, 1, 3, 4].iter().all(|at| bytes[*at].is_ascii_digit())
        })
}

/// A format as a value.
#[derive(Debug, Clone, Copy)]
struct Named(&'static Format);

impl Opaque for Named {
    fn type_name(&self) -> &'static str {
        TYPE
    }

    fn equals(&self, other: &dyn Opaque) -> Option<bool> {
        let other: &Named = other.as_any().downcast_ref()?;
        Some(self.0.name == other.0.name)
    }

    fn pattern_size(&self) -> Option<u64> {
        Some(self.0.pattern)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn named<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let Some(name) = args.first().and_then(Value::as_str) else {
        return Err(EvalError::no_such_overload());
    };
    Ok(match FORMATS.iter().find(|format| format.name == name) {
        Some(format) => Value::some(Value::opaque(Named(format))),
        None => Value::none(),
    })
}

fn validate<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let [format, text] = args else {
        return Err(EvalError::no_such_overload());
    };
    let (Some(Named(format)), Some(text)) = (format.as_opaque::<Named>(), text.as_str()) else {
        return Err(EvalError::no_such_overload());
    };
    let messages = (format.check)(text);
    Ok(if messages.is_empty() {
        Value::none()
    } else {
        Value::some(Value::list(
            messages.into_iter().map(Value::string).collect(),
        ))
    })
}

/// The function of one format. Functions are bare: each has its place in the table.
fn constant<const AT: usize>(ty: &Type) -> Function {
    let name = format!("format.{}", FORMATS[AT].name);
    Function::new(name.clone()).global(name, &[], ty.clone(), |_| {
        Ok(Value::opaque(Named(&FORMATS[AT])))
    })
}

pub fn library() -> Library {
    let ty = Type::object(TYPE);
    let messages = Type::optional(Type::list(Type::String));
    let functions = vec![
        constant::<0>(&ty),
        constant::<1>(&ty),
        constant::<2>(&ty),
        constant::<3>(&ty),
        constant::<4>(&ty),
        constant::<5>(&ty),
        constant::<6>(&ty),
        constant::<7>(&ty),
        constant::<8>(&ty),
        constant::<9>(&ty),
        constant::<10>(&ty),
        constant::<11>(&ty),
        constant::<12>(&ty),
        Function::new("validate").member(
            "format-validate",
            &[ty.clone(), Type::String],
            messages,
            validate,
        ),
        Function::new("format.named").global(
            "format-named",
            &[Type::String],
            Type::optional(ty),
            named,
        ),
    ];
    Library {
        functions,
        types: Vec::new(),
    }
}
