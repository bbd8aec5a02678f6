//! The life of a request: [`handle`] keeps its Record and rescues it from errors; `serve` is the
//! straight way through.

mod answer;
mod body;
mod forward;
mod head;
mod refuse;
mod tunnel;
mod upgrade;
mod upload;

use std::any::Any;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use http::header::{CONNECTION, HOST, STRICT_TRANSPORT_SECURITY};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

pub(crate) use body::Observed;
pub(crate) use refuse::refuse;
pub(crate) use tunnel::Bridge;
pub(crate) use upgrade::ExtendedConnect;

use crate::gate::{Asker, Gates};
use crate::message::forwarded::{client_ip, says_https};
use crate::message::forwarded_text::ForwardedText;
use crate::message::template::Variables;
use crate::message::{Accept, Rejection, Target, grpc, maps};
use crate::net::proxy_protocol::Ends;
use crate::net::tls::Secured;
use crate::net::{Alarm, Drain};
use crate::route::{Action, Route};
use crate::snapshot::{Listener, Live, Snapshot};
use crate::telemetry::{AccessLine, Record, Recorder, RequestId};
use crate::why::Why;
use crate::wire::server::Interim;
use answer::Answer;

/// Resolves when what lasts longer than an answer has to end, to why.
type Until = Pin<Box<dyn Future<Output = Why> + Send>>;

/// What all requests on one worker share.
#[derive(Debug)]
pub(crate) struct Worker {
    pub live: Arc<Live>,
    pub recorder: Arc<Recorder>,
    /// Tunnels outlive the connection that they came from.
    pub tunnels: TaskTracker,
    /// The process is going to end.
    pub stopping: Arc<Drain>,
}

/// What all requests on one client connection share.
#[derive(Debug)]
pub(crate) struct Connection {
    worker: Arc<Worker>,
    /// None if it came by a unix socket.
    ends: Option<Ends>,
    /// The peer's address as it goes into `X-Forwarded-For`.
    peer_text: Option<HeaderValue>,
    forwarded: ForwardedText,
    /// That it came by.
    listener: Arc<Listener>,
    /// None if it is in clear.
    secured: Option<Secured>,
    /// None by HTTP/2, over which they are not relayed.
    interim: Option<Interim>,
    /// What the connection holds of the process, for a tunnel to hold on to.
    held: Arc<dyn Any + Send + Sync>,
    /// Of requests that are over, for those to come.
    alarms: Mutex<Vec<Alarm>>,
}

impl Connection {
    pub(crate) fn new(
        worker: Arc<Worker>,
        ends: Option<Ends>,
        listener: Arc<Listener>,
        secured: Option<Secured>,
        interim: Option<Interim>,
        held: Arc<dyn Any + Send + Sync>,
    ) -> Self {
        let text = |address: IpAddr| address.to_canonical().to_string();
        let peer_text = ends.and_then(|ends| HeaderValue::try_from(text(ends.source.ip())).ok());
        Self {
            worker,
            ends,
            forwarded: ForwardedText::new(peer_text.as_ref(), secured.is_some()),
            peer_text,
            listener,
            secured,
            interim,
            held,
            alarms: Mutex::default(),
        }
    }

    /// None if it came by a unix socket.
    fn peer(&self) -> Option<IpAddr> {
        self.ends.map(|ends| ends.source.ip())
    }

    /// Both ends as they are told to an upstream that wants a PROXY header. The port of a client that
    /// a trusted proxy speaks for is not known.
    fn relays_for(&self, client: Option<IpAddr>) -> Option<Ends> {
        let ends = self.ends?;
        let source = SocketAddr::new(ends.source.ip().to_canonical(), ends.source.port());
        let destination = ends.destination;
        let destination = SocketAddr::new(destination.ip().to_canonical(), destination.port());
        let source = match client {
            Some(client) if client != source.ip() => SocketAddr::new(client, 0),
            _ => source,
        };
        Some(Ends {
            source,
            destination,
        })
    }

    /// Rings `limit` after now.
    pub(crate) fn alarm(&self, now: Instant, limit: Duration) -> Alarm {
        let spare = self
            .alarms
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let Some(mut alarm) = spare else {
            return Alarm::new(limit);
        };
        alarm.set_from(now, limit);
        alarm
    }

    pub(crate) fn keep(&self, alarm: Alarm) {
        let mut alarms = self.alarms.lock().unwrap_or_else(PoisonError::into_inner);
        alarms.push(alarm);
    }

    /// How it is asked for: as the client does, or, where a trusted proxy speaks for one, as it says.
    fn scheme(&self, headers: &HeaderMap, trusted: bool) -> &'static str {
        match &self.secured {
            Some(_) => "https",
            None if trusted && says_https(headers) => "https",
            None => "http",
        }
    }

    /// Was its handshake for a site that asks something else of its clients?
    fn is_misdirected(&self, snapshot: &Snapshot, host: &str) -> bool {
        let Some(secured) = &self.secured else {
            return false;
        };
        let tls = snapshot.tls_of(&self.listener);
        tls.is_some_and(|tls| tls.differs() && tls.policy(Some(host)).id != secured.policy)
    }

    /// Does its listener go, or the process? Then each answer is the last on the connection.
    fn is_ending(&self) -> bool {
        self.listener.drain.has_begun() || self.worker.stopping.has_begun()
    }

    /// Resolves when what lasts longer than an answer has to end: because its route, its listener
    /// or the process does.
    fn end_of(&self, route: &Route) -> Until {
        let (route, listener) = (Arc::clone(&route.drain), Arc::clone(&self.listener.drain));
        let process = Arc::clone(&self.worker.stopping);
        Box::pin(async move {
            tokio::select! {
                () = route.turn() => {}
                () = listener.turn() => {}
                // Its clients have to come back somewhere else, and sooner is better.
                _ = process.begun() => {}
            }
            Why::Draining
        })
    }
}

/// The catch-all handler: every request of every listener, whatever its HTTP version.
pub(crate) async fn handle(
    State(connection): State<Arc<Connection>>,
    request: Request,
) -> Response<Observed> {
    let (mut head, body) = request.into_parts();
    let mut record = Record::start(&connection.worker.recorder, &head.method);
    // For an answer of our own, which hardly any request gets.
    let (accept, id) = (Accept::of(&head.headers), RequestId::default());
    let call = grpc::is_call(&head);
    // Loaded once, so that no request sees two generations; let go when the answer's head is ready,
    // so that no long answer keeps an old one.
    let snapshot = connection.worker.live.load();
    let answer = serve(&connection, &snapshot, &mut head, body, &id, &mut record).await;
    let mut response = match answer {
        Ok(answer) => answer.into_response(record),
        Err(why) if call => Answer::failed_call(why.into(), id.as_str()).into_response(record),
        Err(why) => {
            let rejection = Rejection::from(why);
            let pages = &snapshot.error_pages;
            let page = pages.find(record.route(), rejection.status(), &accept);
            Answer::rejection(rejection, page, id.as_str()).into_response(record)
        }
    };
    if let Some(hsts) = &connection.listener.hsts {
        let headers = response.headers_mut();
        headers
            .entry(STRICT_TRANSPORT_SECURITY)
            .or_insert_with(|| hsts.clone());
    }
    // HTTP/2 has another way to say it.
    let says = head.version != Version::HTTP_2;
    if says && connection.is_ending() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    maps::give_back(head.headers);
    response
}

async fn serve(
    connection: &Connection,
    snapshot: &Snapshot,
    head: &mut Parts,
    body: Body,
    id: &RequestId,
    record: &mut Record,
) -> Result<Answer, Why> {
    let client_ip = client_ip(&head.headers, connection.peer(), &snapshot.trusted);
    let target = Target::parse(head);
    if snapshot.access_log {
        let host = shown_host(&target, head);
        let line = AccessLine::new(head, host, client_ip, id, snapshot.generation);
        record.log(line);
    }
    let target = target?;
    let trusted = snapshot.trusted.contains(connection.peer());
    let scheme = connection.scheme(&head.headers, trusted);
    if let Some(port) = connection.listener.redirect_to_https
        && scheme == "http"
    {
        return Answer::to_https(&target, port);
    }
    if connection.is_misdirected(snapshot, target.host()) {
        return Err(Why::Misdirected);
    }
    let asker = Asker { client_ip };
    let route = admitted(connection, snapshot, &target, head, asker, record)?;

    let variables = Variables {
        target: &target,
        method: head.method.as_str(),
        client_ip,
        scheme,
        request_id: &|| id.as_str(),
        route: &route.name,
        part: &|name| route.matcher.part(target.raw_path(), target.path(), name),
    };
    let response_rules = route
        .response_rules
        .render(&variables)
        .ok_or(Why::BadRequest)?;
    let mut answer = match &route.action {
        Action::Redirect(redirect) => Answer::redirect(redirect, &variables)?,
        Action::Respond(respond) => Answer::respond(respond, head)?,
        Action::Forward(forward) => {
            let prepared = forward::prepare(forward, &variables, head)?;
            let passage = forward::Passage {
                connection,
                snapshot,
                route,
                forward,
                trusted,
            };
            passage.carry(prepared, head, body, record).await?
        }
    };
    response_rules.apply(answer.headers_mut());
    Ok(answer)
}

/// The route that takes the request, if the gates of its listener and of the route let it pass.
fn admitted<'a>(
    connection: &Connection,
    snapshot: &'a Snapshot,
    target: &Target<'_>,
    head: &Parts,
    asker: Asker,
    record: &mut Record,
) -> Result<&'a Arc<Route>, Why> {
    let route = snapshot.route(target, head);
    record.routed(route.map(|route| &route.row));
    if let Some(gates) = snapshot.gates(&connection.listener) {
        pass(gates, asker, record)?;
    }
    let route = route.ok_or(Why::NoRoute)?;
    if route.reject_encoded_slash && target.has_encoded_slash() {
        return Err(Why::BadPath);
    }
    pass(&route.gates, asker, record)?;
    let calls = route.calls.as_ref();
    if let Some(calls) = calls.filter(|_| grpc::is_call(head)) {
        record.calls(calls.of(target.path()));
    }
    Ok(route)
}

fn pass(gates: &Gates, asker: Asker, record: &mut Record) -> Result<(), Why> {
    let worker = record.worker();
    gates.pass(worker, asker, |gate| {
        if let Some(line) = record.line() {
            line.observed.push(gate);
        }
    })
}

/// What could not be read is shown as it came.
fn shown_host<'a>(target: &'a Result<Target<'_>, Why>, head: &'a Parts) -> &'a str {
    let sent = || head.headers.get(HOST).and_then(|host| host.to_str().ok());
    let read = target.as_ref().ok().map(Target::authority);
    read.or_else(sent).unwrap_or_default()
}
