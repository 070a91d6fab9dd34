//! One gateway's REST interface: requests over TLS, a connection for each.

use std::path::{Path, PathBuf};
use std::pin::Pin;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, COOKIE, HOST, SET_COOKIE};
use hyper::{Method, Response};
use hyper_util::rt::TokioIo;
use openssl::error::ErrorStack;
use openssl::ssl::{Ssl, SslConnector, SslMethod};
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{X509, X509VerifyResult};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_openssl::SslStream;

use super::{Teller, first_line};
use crate::config::Rest;
use crate::gateway::Voice;
use crate::gateway::rest::{Answer, Fault, Input, Output, Poller, Request};
use crate::hop::TrunkId;
use crate::private::Secret;
use crate::shell::clock::Clock;

const PORT: u16 = 443;
/// The longest answer that is read: one port's state takes some KiB.
const LONGEST: usize = 256 * 1024;

/// Asks until it is aborted.
pub(super) async fn run(clock: Clock, trunk: TrunkId, rest: Rest, roots: PathBuf, tell: Teller) {
    let mut poller = Poller::new(clock.now().mono, rest.clone());
    let (mut input, mut out) = (Input::Tick, Vec::new());
    loop {
        poller.handle(clock.now().mono, input, &mut out);
        let mut asked = None;
        for output in out.drain(..) {
            match output {
                Output::Say(word) => tell.word(trunk, Voice::Rest, word).await,
                Output::Ask(request) => asked = Some(request),
            }
        }
        let deadline = clock.until(Some(poller.timeout()));
        input = match asked {
            None => {
                deadline.await;
                Input::Tick
            }
            Some(request) => tokio::select! {
                answer = ask(&clock, &rest, &roots, &request) => answer.map_or_else(Input::Failed, Input::Answer),
                () = deadline => Input::Tick,
            },
        };
    }
}

async fn ask(clock: &Clock, rest: &Rest, roots: &Path, request: &Request) -> Result<Answer, Fault> {
    let stream = connect(clock, rest, roots).await?;
    let form = match request {
        Request::Login => Secret(login_form(rest).await?),
        Request::Port(..) => Secret(String::new()),
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Ends with us, whatever the server does.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let message = hyper::Request::builder()
        .method(if *request == Request::Login { Method::POST } else { Method::GET })
        .uri(request.path())
        .header(HOST, rest.host.to_string())
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let message = request.cookie().into_iter().fold(message, |message, cookie| message.header(COOKIE, cookie));
    let message = message.body(Full::new(Bytes::from(form.0))).map_err(|_| Fault::Nonsense)?;
    read(sender.send_request(message).await.map_err(broken)?).await
}

async fn read(response: Response<hyper::body::Incoming>) -> Result<Answer, Fault> {
    let cookies = response.headers().get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
    let (status, cookies) = (response.status().as_u16(), cookies.map(str::to_owned).collect());
    let body = Limited::new(response.into_body(), LONGEST).collect().await.map_err(|_| Fault::Nonsense)?;
    Ok(Answer { status, cookies, body: body.to_bytes().to_vec() })
}

fn broken(fault: hyper::Error) -> Fault {
    if fault.is_parse() { Fault::Nonsense } else { Fault::Unreachable(fault.to_string()) }
}

/// The password is read when it is needed, so that a new one needs no reload.
async fn login_form(rest: &Rest) -> Result<String, Fault> {
    let password = first_line(&rest.password).await.ok_or(Fault::NoPassword)?;
    let mut form = form_urlencoded::Serializer::new(String::new());
    Ok(form.append_pair("Username", rest.user.get()).append_pair("Password", &password).finish())
}

async fn connect(clock: &Clock, rest: &Rest, roots: &Path) -> Result<SslStream<TcpStream>, Fault> {
    let pem =
        tokio::fs::read(roots).await.map_err(|fault| Fault::Untrusted(format!("{}: {fault}", roots.display())))?;
    let ssl = settings(&pem, &rest.host.host, clock).map_err(|fault| Fault::Untrusted(fault.to_string()))?;
    let unreachable = |fault: std::io::Error| Fault::Unreachable(fault.to_string());
    let tcp =
        TcpStream::connect((rest.host.host.as_str(), rest.host.port.unwrap_or(PORT))).await.map_err(unreachable)?;
    let mut stream = SslStream::new(ssl, tcp).map_err(|fault| Fault::Unreachable(fault.to_string()))?;
    match Pin::new(&mut stream).connect().await {
        Ok(()) => Ok(stream),
        Err(fault) => Err(match stream.ssl().verify_result() {
            X509VerifyResult::OK => Fault::Unreachable(format!("TLS: {fault}")),
            refused => Fault::Untrusted(refused.error_string().to_owned()),
        }),
    }
}

/// TLS toward a gateway: only these roots count, its name must fit, and its certificate is judged by the true time.
fn settings(roots: &[u8], host: &str, clock: &Clock) -> Result<Ssl, ErrorStack> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    builder.set_cert_store(store(roots)?);
    let mut ssl = builder.build().configure()?.into_ssl(host)?;
    ssl.param_mut().set_time(clock.now().wall.as_second());
    Ok(ssl)
}

/// A gateway's own certificate may stand here in place of an authority's.
fn store(roots: &[u8]) -> Result<X509Store, ErrorStack> {
    let mut store = X509StoreBuilder::new()?;
    X509::stack_from_pem(roots)?.into_iter().try_for_each(|root| store.add_cert(root))?;
    store.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
    Ok(store.build())
}
