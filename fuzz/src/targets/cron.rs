//! Schedules of CronJobs, and their zones.

use jiff::Timestamp;
use skiff_api::machinery::cron::{Schedule, zone};

use crate::{Target, seeds, texts};

pub const CRON: Target = Target::new("cron", run, begin).words(&[
    "*",
    "*/5",
    "0",
    "59",
    "23",
    "31",
    "12",
    "7",
    "JAN",
    "MON",
    "1-5",
    "1,2,3",
    "?",
    "L",
    "#",
    "@every",
    "1h",
    "@hourly",
    "@daily",
    "@reboot",
    "TZ=",
    "CRON_TZ=",
    "UTC",
    "Europe/Berlin",
    "29",
    "30",
    "2",
    "60",
    "1-",
    "5-1",
    "*/0",
    "*/99999999999",
]);

fn begin() -> Vec<Vec<u8>> {
    seeds::texts(&[
        "*/5 * * * *\0UTC",
        "0 3 29 2 *\0Europe/Berlin",
        "@every 1h30m\0",
        "TZ=America/New_York 0 2 * * SUN\0",
        "30 2 * 3 0-6/2\0America/New_York",
        "@monthly\0Asia/Kathmandu",
        "0 0 31 2 *\0",
    ])
}

fn run(data: &[u8]) {
    let Some([schedule, name]) = texts(data) else {
        return;
    };
    let _ = zone(name).map_err(|error| error.to_string());
    let Ok(schedule) = Schedule::parse(schedule, name) else {
        return;
    };
    let mut at: Timestamp = "2026-03-01T01:02:03Z".parse().unwrap();
    for _ in 0..4 {
        let Some(next) = schedule.next(at) else {
            return;
        };
        assert!(next > at);
        at = next;
    }
    for at in [Timestamp::MIN, Timestamp::MAX] {
        schedule.next(at);
    }
}
