//! The tests of the program from outside: the real binary over real sockets, one file a feature.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test, its helpers included, fails by a panic that says what was expected"
)]

mod access;
mod applying;
mod asking;
mod browser;
mod check;
mod cli;
mod deploy;
mod differential;
mod draining;
mod endings;
mod error_pages;
mod errors;
mod examples;
mod failures;
mod forwarding;
mod framing;
mod grpc;
mod harness;
mod headers;
mod health;
mod held_up;
mod hostile_surroundings;
mod house;
mod http2;
mod http2_drains;
mod http2_endings;
mod http2_limits;
mod http2_peers;
mod http2_stalls;
mod http2_tunnels;
mod http2_upstream_faults;
mod http2_upstreams;
mod http2_websockets;
mod in_step;
mod interim;
mod leaks;
mod life_cycle;
mod limits;
mod listening;
mod logs;
mod metrics;
mod open_files;
mod page_edits;
mod peers;
mod pipes;
mod problems;
mod programs;
mod proxy_protocol;
mod relaying;
mod reuse;
mod rfc9113;
mod routing;
mod settling;
mod socket_files;
mod sockets;
mod stalls;
mod stopping;
mod streaming;
mod timeouts;
mod tls;
mod tls_clients;
mod tls_files;
mod tls_handshakes;
mod tls_local;
mod tls_peers;
mod tls_renewal;
mod tls_sites;
mod tls_streams;
mod trailers;
mod tunnels;
mod under_load;
mod untaken;
mod upgrades;
mod upstream_problems;
mod upstream_tls;
mod watching;
mod websockets;
