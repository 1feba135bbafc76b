//! Odd numbers in queries and headers: an answer, never a panic.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;

use super::server::{ADMIN, Server};

/// With `|` between.
const ODD: &str = "0|1|-1|+1|00||x|1.5|1e3| 1|0x10|true|9223372036854775807|9223372036854775808|-9223372036854775808|-9223372036854775809|18446744073709551615|18446744073709551616|4294967296|2147483648|9223372036854775|99999999999999999999999999999999|%00|%ff%fe|1_000|١|31556889864403199|1000000000000";

const PARAMETERS: &str = "limit timeoutSeconds gracePeriodSeconds resourceVersion tailLines sinceSeconds limitBytes watch sendInitialEvents allowWatchBookmarks timeout continue resourceVersionMatch sinceTime orphanDependents dryRun pretty force ports follow fieldSelector labelSelector includeObject";

const HEADERS: &str = "content-length accept impersonate-user impersonate-uid user-agent content-type range expect x-remote-user";

#[tokio::test]
async fn any_number_is_answered() {
    let server = Server::start(&[]).await;
    let map = json!({"metadata": {"name": "m", "finalizers": ["a.b/c"]}}).to_string();
    server
        .send(
            ADMIN,
            "POST",
            "/api/v1/namespaces/default/configmaps",
            &[("content-type", "application/json")],
            map,
        )
        .await
        .is(201);
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}});
    server
        .post(
            ADMIN,
            "/api/v1/namespaces/default/serviceaccounts",
            &json!({"metadata": {"name": "default"}}),
        )
        .await;
    server.make("/api/v1/namespaces/default/pods", &pod).await;
    let (parameters, headers): (Vec<&str>, Vec<&str>) = (
        PARAMETERS.split(' ').collect(),
        HEADERS.split(' ').collect(),
    );
    let odd: Vec<&str> = ODD.split('|').collect();
    let mut random = StdRng::seed_from_u64(20_26);
    let paths = [
        ("GET", "/api/v1/namespaces/default/configmaps"),
        ("GET", "/api/v1/namespaces/default/configmaps/m"),
        ("GET", "/api/v1/watch/namespaces/default/configmaps"),
        ("GET", "/api/v1/namespaces/default/pods/p/log"),
        ("POST", "/api/v1/namespaces/default/pods/p/exec"),
        ("DELETE", "/api/v1/namespaces/default/configmaps/m"),
        ("DELETE", "/api/v1/namespaces/default/pods/p"),
        ("DELETE", "/api/v1/namespaces/default/configmaps"),
        ("GET", "/version"),
    ];
    for round in 0..3000 {
        let (method, path) = paths[random.random_range(0..paths.len())];
        let pairs: Vec<String> = (0..random.random_range(1..4))
            .map(|_| {
                format!(
                    "{}={}",
                    parameters[random.random_range(0..parameters.len())],
                    odd[random.random_range(0..odd.len())].replace(' ', "%20")
                )
            })
            .collect();
        let target = http_safe(&format!("{path}?{}", pairs.join("&")));
        let name = headers[random.random_range(0..headers.len())];
        let value = odd[random.random_range(0..odd.len())];
        let headers: &[(&str, &str)] = if round % 4 == 0 && value.is_ascii() {
            &[(name, value)]
        } else {
            &[]
        };
        // a watch without an end is an answer as soon as it begins
        let asked = tokio::time::timeout(
            std::time::Duration::from_millis(15),
            server.send(ADMIN, method, &target, headers, ""),
        )
        .await;
        if let Ok(answer) = asked {
            assert!(
                !answer.text().contains("panic"),
                "{method} {target}: {}",
                answer.text()
            );
        }
    }
    server.get(ADMIN, "/readyz").await.is(200);
}

fn http_safe(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii() {
                (byte as char).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[tokio::test]
async fn integers_are_read_as_go_reads_them() {
    let server = Server::start(&[]).await;
    for (path, query, code, message) in [
        (
            "pods",
            "limit=x",
            400,
            r#"strconv.ParseInt: parsing "x": invalid syntax"#,
        ),
        (
            "pods",
            "limit=9223372036854775808",
            400,
            r#"strconv.ParseInt: parsing "9223372036854775808": value out of range"#,
        ),
        (
            "pods",
            "timeoutSeconds=",
            400,
            r#"strconv.ParseInt: parsing "": invalid syntax"#,
        ),
        (
            "pods",
            "watch=1&timeoutSeconds=1.5",
            400,
            r#"strconv.ParseInt: parsing "1.5": invalid syntax"#,
        ),
        ("pods", "limit=9223372036854775807", 200, ""),
        ("pods", "watch=FALSE", 200, ""),
        ("pods", "watch=1&timeoutSeconds=-1", 200, ""),
    ] {
        let answer = server
            .get(ADMIN, &format!("/api/v1/{path}?{query}"))
            .await
            .is(code);
        if code != 200 {
            assert_eq!(answer.message(), message, "{query}");
        }
    }
    // nearly three hundred thousand million years
    let watch = server.get(
        ADMIN,
        "/api/v1/pods?watch=1&timeoutSeconds=9223372036854775807",
    );
    assert!(
        tokio::time::timeout(std::time::Duration::from_millis(300), watch)
            .await
            .is_err(),
        "it goes on"
    );
}
