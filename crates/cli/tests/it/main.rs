//! The command line, driven as a person would: the real binary, its output and its exit status.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop where it stands"
)]

mod addresses;
mod basics;
mod display;
mod doctor;
mod doctor_faults;
mod documents;
mod ends;
mod environment;
mod erase;
mod guide;
mod inspector;
mod inspector_bounds;
mod inspector_browser;
mod inspector_page;
mod inspector_page_use;
mod inspector_records;
mod listen;
mod lists;
mod manual;
mod mock;
mod mock_api;
mod names;
mod proxies;
mod reads;
mod reconcile;
mod redrive;
mod register;
mod serve_data;
mod serve_ends;
mod serve_hosts;
mod serve_log;
mod serve_secret;
mod serve_table;
mod support;
mod tls;
mod transcripts;
mod unanswered;

use support::*;
