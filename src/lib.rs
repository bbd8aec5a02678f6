//! Pointsman, a reverse proxy for one host. ARCHITECTURE.md draws the house; each room says at its
//! head what lives in it.

mod admin;
pub mod app;
pub mod cli;
pub mod config;
mod demo;
mod gate;
pub mod message;
mod metrics;
mod net;
mod proxy;
pub mod reload;
pub mod route;
mod server;
mod snapshot;
mod telemetry;
mod upstream;
mod why;
pub mod wire;
