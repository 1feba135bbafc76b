//! What series there are.
//!
//! Invariant: names and kinds are upstream's, help texts are our own; what is not here cannot be shown.
//! Follows `metrics/{prometheus,prometheus_machine}.go` of cadvisor, and `pkg/kubelet/metrics/collectors/resource_metrics.go`.

/// How values of a series behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
}

impl Kind {
    /// As the exposition writes it.
    pub fn text(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        }
    }
}

macro_rules! series {
    ($($name:ident $kind:ident $help:literal)*) => {
        /// A series, by its name.
        #[expect(non_camel_case_types, reason = "they are the names that are written")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Series {
            $($name),*
        }

        impl Series {
            #[cfg(test)]
            const ALL: &[Series] = &[$(Series::$name),*];

            pub fn name(self) -> &'static str {
                match self {
                    $(Series::$name => stringify!($name)),*
                }
            }

            pub fn kind(self) -> Kind {
                match self {
                    $(Series::$name => Kind::$kind),*
                }
            }

            pub fn help(self) -> &'static str {
                match self {
                    $(Series::$name => $help),*
                }
            }
        }
    };
}

series! {
    cadvisor_version_info Gauge "Which system the figures are of; the value is always 1."
    container_cpu_cfs_periods_total Counter "Periods in which a limit of CPU time was enforced."
    container_cpu_cfs_throttled_periods_total Counter "Those of them in which it was reached."
    container_cpu_cfs_throttled_seconds_total Counter "Seconds that were spent waiting because of it."
    container_cpu_system_seconds_total Counter "Seconds of CPU time spent in the kernel."
    container_cpu_usage_seconds_total Counter "Seconds of CPU time used."
    container_cpu_user_seconds_total Counter "Seconds of CPU time spent outside of the kernel."
    container_fs_inodes_free Gauge "Inodes of the file system that are free."
    container_fs_inodes_total Gauge "Inodes of the file system."
    container_fs_limit_bytes Gauge "Bytes that the file system has."
    container_fs_usage_bytes Gauge "Bytes used on the file system."
    container_last_seen Gauge "When it was looked at last, in seconds since 1970."
    container_memory_cache Gauge "Bytes of memory that hold pages of files."
    container_memory_failcnt Counter "How often the limit of memory was hit."
    container_memory_failures_total Counter "Pages that were asked for and were not there."
    container_memory_kernel_usage Gauge "Bytes of memory that the kernel holds for it."
    container_memory_mapped_file Gauge "Bytes of memory that are mapped from files."
    container_memory_max_usage_bytes Gauge "The most bytes of memory that were used at a time."
    container_memory_rss Gauge "Bytes of memory of its own."
    container_memory_swap Gauge "Bytes that were swapped out."
    container_memory_total_active_file_bytes Gauge "Bytes of pages of files that were used lately."
    container_memory_total_inactive_file_bytes Gauge "Bytes of pages of files that were not."
    container_memory_usage_bytes Gauge "Bytes of memory used, pages of files that may be given back among them."
    container_memory_working_set_bytes Gauge "Bytes of memory that cannot be given back at once."
    container_network_receive_bytes_total Counter "Bytes received."
    container_network_receive_errors_total Counter "Packets that could not be received."
    container_network_receive_packets_dropped_total Counter "Packets that were received and dropped."
    container_network_receive_packets_total Counter "Packets received."
    container_network_transmit_bytes_total Counter "Bytes sent."
    container_network_transmit_errors_total Counter "Packets that could not be sent."
    container_network_transmit_packets_dropped_total Counter "Packets that were dropped before they were sent."
    container_network_transmit_packets_total Counter "Packets sent."
    container_oom_events_total Counter "How often something was ended for want of memory."
    container_pressure_cpu_stalled_seconds_total Counter "Seconds in which nothing went on for want of CPU time."
    container_pressure_cpu_waiting_seconds_total Counter "Seconds in which something waited for CPU time."
    container_pressure_io_stalled_seconds_total Counter "Seconds in which nothing went on as all waited for disks."
    container_pressure_io_waiting_seconds_total Counter "Seconds in which something waited for disks."
    container_pressure_memory_stalled_seconds_total Counter "Seconds in which nothing went on for want of memory."
    container_pressure_memory_waiting_seconds_total Counter "Seconds in which something waited for memory."
    container_processes Gauge "Processes that run in it."
    container_spec_cpu_period Gauge "Microseconds of a period in which CPU time is limited."
    container_spec_cpu_quota Gauge "Microseconds of CPU time that it may have in a period."
    container_spec_cpu_shares Gauge "Its share of CPU time where there is too little."
    container_spec_memory_limit_bytes Gauge "Bytes of memory that it may have; 0: as many as there are."
    container_spec_memory_reservation_limit_bytes Gauge "Bytes of memory that are kept for it."
    container_spec_memory_swap_limit_bytes Gauge "Bytes of memory and swap that it may have; 0: as many as there are."
    container_start_time_seconds Gauge "When it was started, in seconds since 1970."
    container_swap_limit_bytes Gauge "Bytes that may be swapped out."
    container_swap_usage_bytes Gauge "Bytes that were swapped out."
    container_threads Gauge "Threads that run in it."
    machine_cpu_cores Gauge "Processors of the machine."
    machine_memory_bytes Gauge "Bytes of memory that the machine has."
    machine_swap_bytes Gauge "Bytes of swap that the machine has."
    node_cpu_usage_seconds_total Counter "Seconds of CPU time used on the node."
    node_memory_working_set_bytes Gauge "Bytes of memory that cannot be given back at once, of the node."
    node_swap_usage_bytes Gauge "Bytes that were swapped out, of the node."
    pod_cpu_usage_seconds_total Counter "Seconds of CPU time used, of the pod."
    pod_memory_working_set_bytes Gauge "Bytes of memory that cannot be given back at once, of the pod."
    pod_swap_usage_bytes Gauge "Bytes that were swapped out, of the pod."
    resource_scrape_error Gauge "1 where something could not be measured, else 0."
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What ends in `_total` counts up, and so does nothing else; but how many inodes there are is called a total upstream, too.
    #[test]
    fn kinds() {
        for series in Series::ALL {
            let name = series.name();
            let counts = name.ends_with("_total") && name != "container_fs_inodes_total"
                || name == "container_memory_failcnt";
            let wanted = if counts { Kind::Counter } else { Kind::Gauge };
            assert_eq!(series.kind(), wanted, "{name}");
            assert!(series.help().ends_with('.'), "{name}");
        }
        let names = Series::ALL.iter().map(|series| series.name());
        assert!(names.is_sorted(), "by name, so that they are found");
    }
}
