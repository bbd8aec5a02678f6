//! The admin side: metrics, health, status and the order to reload. It runs on the control thread,
//! so that it answers when the workers are starved.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use tokio::net::TcpListener;

use crate::metrics::Metrics;
use crate::net::serve_pages;
use crate::reload::{Handle, SharedStatus};
use crate::telemetry::Logs;

/// What the admin side shows and does.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    pub metrics: Arc<Metrics>,
    pub logs: Arc<Mutex<Logs>>,
    pub status: SharedStatus,
    pub reload: Handle,
    /// A snapshot serves, and the process is not stopping.
    pub ready: Arc<AtomicBool>,
}

/// Serves until dropped.
pub(crate) async fn serve(listener: TcpListener, admin: Admin) -> io::Result<()> {
    let router = Router::new()
        .route("/", get(index))
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/api/status", get(status))
        .route("/api/reload", post(reload))
        .with_state(admin);
    serve_pages(listener, router).await
}

async fn index() -> &'static str {
    "Pointsman, admin side\n\n\
     GET  /metrics     for Prometheus\n\
     GET  /healthz     200 while the process lives\n\
     GET  /readyz      200 while it serves, 503 when it stops\n\
     GET  /api/status  what serves, and what is wrong with the last edit\n\
     POST /api/reload  reads the file now; answers when it is applied (200) or refused (422)\n"
}

/// Written on the blocking pool: with thousands of routes it takes a while.
async fn metrics(State(admin): State<Admin>) -> Response {
    let render = move || {
        admin
            .logs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .count_lost();
        admin.metrics.render()
    };
    match tokio::task::spawn_blocking(render).await {
        Ok(text) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn ready(State(admin): State<Admin>) -> Response {
    if admin.ready.load(Ordering::Relaxed) {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response()
    }
}

async fn status(State(admin): State<Admin>) -> Response {
    Json(admin.status.read()).into_response()
}

async fn reload(State(admin): State<Admin>) -> Response {
    match admin.reload.reload().await {
        Some(outcome) if outcome.problems.is_empty() => Json(outcome).into_response(),
        Some(outcome) => (StatusCode::UNPROCESSABLE_ENTITY, Json(outcome)).into_response(),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}
