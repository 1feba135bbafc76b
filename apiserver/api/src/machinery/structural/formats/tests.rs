use super::*;

#[test]
fn strings_of_each_format() {
    for (format, of_it, others) in [
        (
            "bsonobjectid",
            &["507f1f77bcf86cd799439011"][..],
            &["507f1f77bcf86cd79943901", "zz7f1f77bcf86cd799439011"][..],
        ),
        (
            "uri",
            &[
                "http://a.b/c?d#e",
                "/a/b",
                "urn:x",
                "//a",
                "mailto:a@b.c",
                "http://[::1]:80/",
            ],
            &[
                "",
                "a/b",
                "a b",
                "http://a b",
                "http://[::1",
                "%zz",
                "/%zz",
                "http://a:b/",
            ],
        ),
        (
            "email",
            &[
                "a@b.c",
                "a.b+c@d",
                "Ann B <a@b.c>",
                "\"Ann, B\" <a@b.c>",
                "\"a b\"@c.d",
                "a@[1.2.3.4]",
                "(x) a@b.c (y)",
                "ä@b.c",
            ],
            &[
                "", "a", "a@", "@b", ".a@b", "a..b@c", "a@b.", "a@b c", "<a@b", "a @b", "\"\"@b.c",
                "a@[x]",
            ],
        ),
        (
            "hostname",
            &[
                "a",
                "example.com",
                "1.2.com",
                "a-b.example",
                "ex-ample.com",
                "bücher.example",
                "☃.net",
            ],
            &["", "-a", "a--", "a_b", "a.b.c1", "a..b", "ab-cd-"],
        ),
        (
            "ipv4",
            &["1.2.3.4", "01.2.3.4", "::ffff:1.2.3.4"],
            &["1.2.3", "1.2.3.256", "::1", ""],
        ),
        (
            "ipv6",
            &["::1", "fe80::1", "::ffff:1.2.3.4"],
            &["1.2.3.4", "fe80::1%eth0", ":::1"],
        ),
        (
            "cidr",
            &["10.0.0.0/8", "::/0", "010.0.0.1/32"],
            &["10.0.0.0", "10.0.0.0/33", "::/129"],
        ),
        (
            "mac",
            &[
                "01:23:45:67:89:ab",
                "01-23-45-67-89-AB",
                "0123.4567.89ab",
                "01:23:45:67:89:ab:cd:ef",
            ],
            &[
                "01:23:45:67:89",
                "01:23-45:67:89:ab",
                "0123456789ab",
                "01:23:45:67:89:ag",
            ],
        ),
        (
            "uuid",
            &[
                "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
                "F81D4FAE7DEC11D0A76500A0C91E6BF6",
            ],
            &[
                "f81d4fae-7dec-11d0-a765",
                "{f81d4fae-7dec-11d0-a765-00a0c91e6bf6}",
            ],
        ),
        (
            "uuid3",
            &["bcd02e22-68f0-3046-a512-327cca9def8f"],
            &["bcd02e22-68f0-4046-a512-327cca9def8f"],
        ),
        (
            "uuid4",
            &["025b0d74-00a2-4048-bf57-227c5111bb34"],
            &[
                "025b0d74-00a2-4048-7f57-227c5111bb34",
                "025b0d74-00a2-3048-bf57-227c5111bb34",
            ],
        ),
        (
            "uuid5",
            &["886313e1-3b8a-5372-9b90-0c9aee199e5d"],
            &["886313e1-3b8a-4372-9b90-0c9aee199e5d"],
        ),
        (
            "isbn",
            &["0321751043", "978-0321751041"],
            &["0321751044", "978-0321751042"],
        ),
        (
            "isbn10",
            &["0321751043", "3-8053-0014-X"],
            &["978-0321751041", "X"],
        ),
        ("isbn13", &["978-0321751041"], &["0321751043"]),
        (
            "creditcard",
            &[
                "4111-1111-1111-1111",
                "378282246310005",
                "5555 5555 5555 4444",
            ],
            &["4111-1111-1111-1112", "1234", ""],
        ),
        (
            "ssn",
            &["111-11-1111", "111 11 1111"],
            &["111111111", "11-111-1111"],
        ),
        ("hexcolor", &["#FFFFFF", "fff"], &["#ffff", "#ggg"]),
        (
            "rgbcolor",
            &["rgb(255, 0,17)", "rgb( 1 , 2 , 3 )"],
            &[
                "rgb(256,0,0)",
                "rgb(01,0,0)",
                "rgb(0,0)",
                "rgba(0,0,0)",
                " rgb(0,0,0)",
            ],
        ),
        (
            "byte",
            &["aGk=", "aGVq", "YQ=="],
            &["", "a", "aGk", "a===", "aG k"],
        ),
        ("password", &["", "x"], &[]),
        (
            "date",
            &["2024-02-29", "0001-01-01"],
            &[
                "2023-02-29",
                "2023-13-01",
                "2023-1-1",
                "2023-01-01 ",
                "20230101",
            ],
        ),
        (
            "duration",
            &[
                "22 ns",
                "1h30m",
                "3 days",
                "1.5s",
                "2 weeks 1 day",
                "-1s",
                "0",
            ],
            &["", "1", "x", "1 parsec", "days"],
        ),
        (
            "date-time",
            &[
                "2014-12-15T19:30:20.000Z",
                "2014-12-15t19:30:20z",
                "2014-12-15T19:30:20+01:00",
                "2014-12-15T19:30:20,5-01:00",
            ],
            &[
                "2014-12-15",
                "2014-12-15T24:30:20Z",
                "2014-12-15T19:30:20",
                "2014-12-32T19:30:20Z",
                "2014-12-15T19:30:20.Z",
            ],
        ),
        (
            "k8s-short-name",
            &["a", "a-1"],
            &["", "A", "a.b", "-a", "a-"],
        ),
        (
            "k8s-long-name",
            &["a", "a.b-c.1"],
            &["", "a..b", "A.b", "a.-b"],
        ),
    ] {
        let check = check_of(format).unwrap_or_else(|| panic!("{format} is not known"));
        for text in of_it {
            assert!(check(text), "{format} {text:?}");
        }
        for text in others {
            assert!(!check(text), "{format} {text:?}");
        }
    }
}

#[test]
fn names_of_formats() {
    for (format, kind, known) in [
        ("date-time", Kind::String, true),
        ("datetime", Kind::Any, true),
        ("int32", Kind::Integer, true),
        ("int32", Kind::String, false),
        ("double", Kind::Number, true),
        ("int64", Kind::Number, false),
        ("date", Kind::Object, false),
        ("nosuch", Kind::String, false),
        ("", Kind::Object, true),
    ] {
        assert_eq!(is_recognized(format, kind), known, "{format} {kind:?}");
    }
}
