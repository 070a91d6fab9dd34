//! The web page, the JSON interface that it reads, metrics and health (CONTRACT, HTTP). Reading is open on loopback, to who
//! asks by address; with a token file every question needs the token. Orders need a header that no web page can send across
//! sites.

mod certificates;
mod events;
mod page;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use firmware_io::SpanError;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tracing::info;

use self::certificates::Certificates;
use super::alarms;
use super::clock::Clock;
use super::observe::{Ask, Observer};
use super::reactor::Control;
use super::sip_reader::SipReader;
use super::span::order::{self as span_order, Doer};
use super::transport::Transports;
use crate::alarm::Alarm;
use crate::call::{Event, Snapshot, SpanView};

/// The header that orders must carry.
pub const ORDER_HEADER: &str = "x-demarc-order";

/// What the pages know.
#[derive(Clone)]
pub struct Pages {
    /// To ask the switch.
    pub control: mpsc::Sender<Control>,
    /// To ask for ladders and metrics.
    pub observer: Observer,
    /// To ask whom we refused.
    pub transports: Arc<Transports<SipReader>>,
    /// How the time of day stands.
    pub clock: Clock,
    /// To reload and drain.
    pub orders: mpsc::Sender<Order>,
    /// What callers must show; `None` on loopback.
    pub token: Option<Arc<str>>,
}

/// What an operator can order over HTTP; the answer is a sentence and whether it worked.
pub enum Order {
    /// Read the configuration again.
    Reload(oneshot::Sender<Result<String, String>>),
    /// Take no new calls, end when the last is over.
    Drain(oneshot::Sender<Result<String, String>>),
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, pages: Pages) -> std::io::Result<()> {
    axum::serve(listener, router(pages)).await
}

fn router(pages: Pages) -> Router {
    let guarded = Router::new()
        .route("/metrics", get(metrics))
        .route("/api/status", get(status))
        .route("/api/calls", get(calls))
        .route("/api/calls/{id}", get(call))
        .route("/api/calls/{id}/ladder", get(ladder))
        .route("/api/trunks", get(trunks))
        .route("/api/spans", get(spans))
        .route("/api/spans/{span}/{order}", post(order_span))
        .route("/api/clock", get(clock))
        .route("/api/alarms", get(alarms_that_stand))
        .route("/api/certificates", get(our_certificates))
        .route("/api/events", get(follow))
        .route("/api/reload", post(reload))
        .route("/api/drain", post(drain))
        .layer(middleware::from_fn_with_state(pages.clone(), guard));
    Router::new()
        .route("/healthz", get(|| async { "good\n" }))
        .route("/readyz", get(ready))
        .merge(page::routes())
        .merge(guarded)
        .with_state(pages)
}

/// Who may ask what. Without a token a name of somebody else's that resolves to this address must not do: his page would be
/// of one origin with ours (DNS rebinding).
async fn guard(State(pages): State<Pages>, request: Request, next: Next) -> Response {
    if !shows_token(&pages, request.headers()) {
        let why = "this page needs the token of [Web] TokenFile: send Authorization: Bearer TOKEN\n";
        return (StatusCode::UNAUTHORIZED, why).into_response();
    }
    if pages.token.is_none() && !asks_by_address(request.headers()) {
        let why = "without [Web] TokenFile this box is asked by its address, or as localhost\n";
        return (StatusCode::MISDIRECTED_REQUEST, why).into_response();
    }
    if request.method() == axum::http::Method::POST && !request.headers().contains_key(ORDER_HEADER) {
        return (StatusCode::FORBIDDEN, "an order needs the header X-Demarc-Order\n").into_response();
    }
    next.run(request).await
}

fn shows_token(pages: &Pages, headers: &HeaderMap) -> bool {
    let Some(token) = &pages.token else { return true };
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown = shown.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    shown.len() == token.len() && openssl::memcmp::eq(shown.as_bytes(), token.as_bytes())
}

/// No browser leaves Host out.
fn asks_by_address(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let Ok(authority) = Authority::try_from(host.as_bytes()) else { return false };
    let name = authority.host().trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

async fn snapshot(pages: &Pages) -> Result<Snapshot, StatusCode> {
    let (reply, answer) = oneshot::channel();
    let gone = StatusCode::SERVICE_UNAVAILABLE;
    pages.control.send(Control::Snapshot(reply)).await.map_err(|_| gone)?;
    answer.await.map_err(|_| gone)
}

/// All alarms that stand.
fn gather(pages: &Pages, snapshot: &Snapshot) -> Vec<Alarm> {
    alarms::gather(pages.clock.now(), snapshot, &pages.clock.standing(), pages.transports.alarms())
}

async fn ready(State(pages): State<Pages>) -> Response {
    match snapshot(&pages).await {
        Ok(snapshot) if snapshot.draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response(),
        Ok(_) => "ready\n".into_response(),
        Err(status) => (status, "not ready\n").into_response(),
    }
}

async fn metrics(State(pages): State<Pages>) -> Result<Response, StatusCode> {
    let (snapshot, refusals) = (Box::new(snapshot(&pages).await?), pages.transports.refusals());
    let (clock, alarms) = (Box::new(pages.clock.standing()), gather(&pages, &snapshot));
    let text = pages.observer.ask(|reply| Ask::Metrics { snapshot, refusals, clock, alarms, reply }).await;
    let text = text.ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

async fn status(State(pages): State<Pages>) -> Result<Json<serde_json::Value>, StatusCode> {
    let snapshot = snapshot(&pages).await?;
    let alarms = gather(&pages, &snapshot);
    Ok(Json(serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "draining": snapshot.draining,
        "calls": snapshot.calls.len(),
        "sip_transactions": snapshot.transactions,
        "alarms": alarms,
        "trunks": snapshot.trunks,
        "clock": pages.clock.standing(),
    })))
}

async fn calls(State(pages): State<Pages>) -> Result<Json<serde_json::Value>, StatusCode> {
    let snapshot = snapshot(&pages).await?;
    Ok(Json(serde_json::json!(snapshot.calls)))
}

async fn call(State(pages): State<Pages>, Path(id): Path<String>) -> Result<Json<serde_json::Value>, StatusCode> {
    let snapshot = snapshot(&pages).await?;
    let found = snapshot.calls.into_iter().find(|call| *call.id == *id);
    found.map(|call| Json(serde_json::json!(call))).ok_or(StatusCode::NOT_FOUND)
}

async fn trunks(State(pages): State<Pages>) -> Result<Json<serde_json::Value>, StatusCode> {
    let snapshot = snapshot(&pages).await?;
    Ok(Json(serde_json::json!(snapshot.trunks)))
}

async fn spans(State(pages): State<Pages>) -> Result<Json<Vec<SpanView>>, StatusCode> {
    let snapshot = snapshot(&pages).await?;
    Ok(Json(snapshot.spans))
}

#[derive(Deserialize)]
struct SpanForm {
    timeslot: Option<u8>,
    mode: Option<String>,
    #[serde(default)]
    confirm: bool,
}

/// Says what an order does; does it when that is confirmed.
async fn order_span(
    State(pages): State<Pages>,
    Path((span, verb)): Path<(String, String)>,
    Query(form): Query<SpanForm>,
) -> Result<Response, StatusCode> {
    let snapshot = snapshot(&pages).await?;
    let Some(view) = snapshot.spans.iter().find(|view| view.name.eq_ignore_ascii_case(&span)) else {
        return Ok((StatusCode::NOT_FOUND, format!("there is no line {span}: see demarc spans\n")).into_response());
    };
    let order = span_order::Order::read(&verb, form.timeslot, form.mode.as_deref());
    let (order, impact) = match order.and_then(|order| Ok((order, order.impact(view)?))) {
        Ok(clear) => clear,
        Err(unclear) => return Ok((StatusCode::UNPROCESSABLE_ENTITY, format!("{unclear}\n")).into_response()),
    };
    if !form.confirm {
        return Ok((StatusCode::PRECONDITION_REQUIRED, format!("{impact}\n")).into_response());
    }
    Ok(match carry_out(&pages, view, order.doer(view)).await? {
        Ok(()) => {
            info!(span = view.name, "an operator's order, {verb}, is carried out: {impact}");
            format!("done: {impact}\n").into_response()
        }
        Err(fault) => (StatusCode::CONFLICT, format!("{}: {fault}; nothing was done\n", view.name)).into_response(),
    })
}

async fn carry_out(pages: &Pages, view: &SpanView, doer: Doer) -> Result<Result<(), SpanError>, StatusCode> {
    let gone = StatusCode::SERVICE_UNAVAILABLE;
    match doer {
        Doer::Switch(orders) => {
            for order in orders {
                let event = Event::SpanOrder(view.id, order);
                pages.control.send(Control::Event(event)).await.map_err(|_| gone)?;
            }
            Ok(Ok(()))
        }
        Doer::Driver(order) => {
            let (reply, answer) = oneshot::channel();
            pages.control.send(Control::Driver(view.id, order, reply)).await.map_err(|_| gone)?;
            answer.await.map_err(|_| gone)
        }
    }
}

async fn alarms_that_stand(State(pages): State<Pages>) -> Result<Json<Vec<Alarm>>, StatusCode> {
    let snapshot = snapshot(&pages).await?;
    Ok(Json(gather(&pages, &snapshot)))
}

async fn our_certificates(State(pages): State<Pages>) -> Result<Json<Certificates>, StatusCode> {
    let (papers, config) = pages.transports.papers();
    let wall = pages.clock.now().wall;
    let judged = tokio::task::spawn_blocking(move || Certificates::of(&papers, &config, wall)).await;
    judged.map(Json).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

/// Refused where enough listen already.
async fn follow(State(pages): State<Pages>) -> Response {
    match pages.observer.listen() {
        Some(notices) => events::follow(notices).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "too many listen to events already\n").into_response(),
    }
}

async fn clock(State(pages): State<Pages>) -> Json<serde_json::Value> {
    let now = pages.clock.now();
    let mut json = serde_json::json!(pages.clock.standing());
    json["time"] = serde_json::json!(now.wall.to_string());
    Json(json)
}

#[derive(Deserialize)]
struct LadderForm {
    #[serde(default)]
    redact: bool,
    #[serde(default)]
    text: bool,
}

async fn ladder(
    State(pages): State<Pages>,
    Path(id): Path<String>,
    Query(form): Query<LadderForm>,
) -> Result<Response, StatusCode> {
    let gone = StatusCode::SERVICE_UNAVAILABLE;
    let redact = form.redact;
    let id = match id.as_str() {
        "last" => {
            pages.observer.ask(Ask::Recent).await.ok_or(gone)?.first().map(|id| id.to_string()).unwrap_or_default()
        }
        _ => id,
    };
    if form.text {
        let text = pages.observer.ask(|reply| Ask::Ladder { id, redact, reply }).await.ok_or(gone)?;
        return text.map(IntoResponse::into_response).ok_or(StatusCode::NOT_FOUND);
    }
    let json = pages.observer.ask(|reply| Ask::LadderJson { id, redact, reply }).await.ok_or(gone)?;
    json.map(|json| Json(json).into_response()).ok_or(StatusCode::NOT_FOUND)
}

async fn reload(State(pages): State<Pages>) -> Response {
    order(&pages, Order::Reload).await
}

async fn drain(State(pages): State<Pages>) -> Response {
    order(&pages, Order::Drain).await
}

async fn order(pages: &Pages, order: fn(oneshot::Sender<Result<String, String>>) -> Order) -> Response {
    let (reply, answer) = oneshot::channel();
    let sent = pages.orders.send(order(reply)).await;
    match (sent, answer.await) {
        (Ok(()), Ok(Ok(text))) => text.into_response(),
        (Ok(()), Ok(Err(text))) => (StatusCode::UNPROCESSABLE_ENTITY, text).into_response(),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "the daemon is ending\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn without_a_token_the_box_is_asked_by_address() {
        let asks = |host| asks_by_address(&HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]));
        for host in ["127.0.0.1:8085", "127.0.0.1", "localhost:8085", "LOCALHOST", "[::1]:8085"] {
            assert!(asks(host), "{host}");
        }
        for host in ["rebound.example:8085", "127.0.0.1.rebound.example", "localhost.rebound.example:8085", "", "a b"] {
            assert!(!asks(host), "{host}");
        }
        assert!(asks_by_address(&HeaderMap::new()));
    }
}
