//! A minimal SIP caller and callee, enough to put a B2BUA's media plane under load.
//! The caller (UDP, or mutual TLS) sends INVITEs to the server under test, which must route them to the callee (UDP).
//!
//! 1. INVITE, 200, ACK: the ACK goes to the Contact of the 200 along its Record-Route.
//! 2. While the media run: OPTIONS, re-INVITE, UPDATE and BYE are answered wherever they arrive.
//! 3. BYE, 200: the callee must see a BYE for each.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::transport::{Transport, Way};

/// How long UDP waits before it says something again.
const AGAIN: Duration = Duration::from_millis(500);
const NO_ANSWER: Duration = Duration::from_secs(8);
const ALLOW: &str = "Allow: INVITE,ACK,BYE,CANCEL,OPTIONS,UPDATE\r\n";

/// Whom the caller calls, and as whom.
pub struct Names {
    pub user: String,
    pub caller: String,
    /// The server, as the request URI names it.
    pub host: String,
}

pub struct Sip {
    caller: Transport,
    callee: Transport,
    names: Names,
    dialogs: HashMap<String, Dialog>,
    /// Callee's calls by Call-ID.
    answered: HashMap<String, Answered>,
    /// Calls that the server ended before we did.
    pub ended_early: usize,
}

/// A call as the caller knows it.
struct Dialog {
    from: String,
    to: String,
    target: String,
    route: Vec<String>,
    offer: String,
}

/// A call as the callee knows it.
struct Answered {
    branch: String,
    /// Resent for a repeated INVITE.
    response: String,
    sdp: String,
    ended: bool,
}

/// Turns the offer that reached the callee into its SDP.
type Answer<'a> = &'a mut dyn FnMut(&str) -> Result<String, String>;

pub fn header<'a>(m: &'a str, name: &'static str, short: &'static str) -> Option<&'a str> {
    headers(m, name, short).next()
}

fn headers<'a>(m: &'a str, name: &'static str, short: &'static str) -> impl Iterator<Item = &'a str> {
    m.split("\r\n\r\n").next().unwrap_or("").lines().skip(1).filter_map(move |l| {
        let (n, v) = l.split_once(':')?;
        let n = n.trim();
        (n.eq_ignore_ascii_case(name) || (!short.is_empty() && n.eq_ignore_ascii_case(short))).then(|| v.trim())
    })
}

fn body(m: &str) -> &str {
    m.split_once("\r\n\r\n").map_or("", |x| x.1)
}

fn uri(v: &str) -> &str {
    match (v.find('<'), v.find('>')) {
        (Some(a), Some(b)) if a < b => &v[a + 1..b],
        _ => v.split(';').next().unwrap_or(v).trim(),
    }
}

fn call_id(m: &str) -> &str {
    header(m, "Call-ID", "i").unwrap_or("")
}

fn branch(m: &str) -> &str {
    let via = header(m, "Via", "v").unwrap_or("");
    via.split(';').find_map(|p| p.trim().strip_prefix("branch=")).unwrap_or("").split(',').next().unwrap_or("")
}

/// The status of a response; None for a request.
fn status(m: &str) -> Option<u16> {
    m.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
}

fn method(m: &str) -> &str {
    m.split(' ').next().unwrap_or("")
}

/// The route set as the caller uses it: all Record-Route values in reverse (RFC 3261 section 12.1.2).
fn route_set(m: &str) -> Vec<String> {
    let values = headers(m, "Record-Route", "").flat_map(|v| v.split(','));
    let mut route: Vec<String> = values.map(|v| v.trim().to_string()).collect();
    route.reverse();
    route
}

impl Dialog {
    /// What a 200 to our INVITE makes.
    fn new(ok: &str, from: &str, fallback: &str, offer: &str) -> Self {
        Self {
            from: from.into(),
            to: header(ok, "To", "t").unwrap_or("").into(),
            target: uri(header(ok, "Contact", "m").unwrap_or(fallback)).into(),
            route: route_set(ok),
            offer: offer.into(),
        }
    }

    fn request(&self, id: &str, method: &str, cseq: u32, via: &str) -> String {
        let routes: String = self.route.iter().map(|r| format!("Route: {r}\r\n")).collect();
        format!(
            "{method} {} SIP/2.0\r\nVia: {via};branch=z9hG4bK{method}{id}{cseq};rport\r\nMax-Forwards: 70\r\n{routes}From: {}\r\n\
             To: {}\r\nCall-ID: {id}\r\nCSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n",
            self.target, self.from, self.to
        )
    }
}

impl Sip {
    pub fn new(caller: Transport, callee: SocketAddr, server: SocketAddr, names: Names) -> std::io::Result<Self> {
        let callee = Transport::udp(callee, server)?;
        Ok(Self { caller, callee, names, dialogs: HashMap::new(), answered: HashMap::new(), ended_early: 0 })
    }

    fn via(&self) -> String {
        format!("SIP/2.0/{} {}", self.caller.name(), self.caller.local())
    }

    /// Sets up one call. Returns the SDP the callee saw and the SDP the caller got back.
    pub fn call(&mut self, n: usize, offer: &str, answer: Answer) -> Result<(String, String), String> {
        let id = format!("rtpload-{}-{n}", std::process::id());
        let (me, parameter, via) = (self.caller.local(), self.caller.parameter(), self.via());
        let Names { user, caller, host } = &self.names;
        let from = format!("<sip:{caller}@{host}>;tag=f{n}");
        let ruri = format!("sip:{user}@{host}{parameter}");
        let invite = format!(
            "INVITE {ruri} SIP/2.0\r\nVia: {via};branch=z9hG4bKi{id};rport\r\nMax-Forwards: 70\r\nFrom: {from}\r\n\
             To: <sip:{user}@{host}>\r\nCall-ID: {id}\r\nCSeq: 1 INVITE\r\nContact: <sip:{caller}@{me}{parameter}>\r\n{ALLOW}\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{offer}",
            offer.len()
        );
        let send = |caller: &mut Transport| caller.send(Way::Server, &invite).map_err(|e| format!("INVITE: {e}"));
        send(&mut self.caller)?;
        let (start, mut sent) = (Instant::now(), Instant::now());
        let (mut seen, mut provisional) = (None, false);
        while start.elapsed() < NO_ANSWER {
            if !provisional && !self.caller.reliable() && sent.elapsed() > AGAIN {
                send(&mut self.caller)?;
                sent = Instant::now();
            }
            seen = self.serve_callee(answer)?.or(seen);
            let Some((way, m)) = self.caller.receive() else {
                std::thread::sleep(Duration::from_micros(200));
                continue;
            };
            if call_id(&m) != id || status(&m).is_none() {
                self.serve_caller(way, &m);
                continue;
            }
            provisional = true;
            match status(&m) {
                Some(100..=199) => {}
                Some(200..=299) => {
                    let dialog = Dialog::new(&m, &from, &ruri, offer);
                    let ack = dialog.request(&id, "ACK", 1, &via);
                    self.caller.send(Way::Server, &ack).map_err(|e| format!("ACK: {e}"))?;
                    self.dialogs.insert(id, dialog);
                    let seen = seen.ok_or("answered, but the callee saw no INVITE")?;
                    return Ok((seen, body(&m).to_string()));
                }
                _ => {
                    let why = headers(&m, "Reason", "").chain(headers(&m, "ms-diagnostics", "")).collect::<Vec<_>>();
                    return Err(format!("call {n} refused: {} {}", m.lines().next().unwrap_or(""), why.join(" / ")));
                }
            }
        }
        Err(format!("call {n}: no final answer"))
    }

    /// Answers all that waits at the callee; the body of a new INVITE comes back.
    fn serve_callee(&mut self, answer: Answer) -> Result<Option<String>, String> {
        let mut seen = None;
        while let Some((way, m)) = self.callee.receive() {
            let reply = match method(&m) {
                "INVITE" => {
                    let known = self.answered.contains_key(call_id(&m));
                    seen = seen.or((!known).then(|| body(&m).to_string()));
                    Some(self.accept(&m, answer)?)
                }
                method => {
                    if let Some(call) = self.answered.get_mut(call_id(&m)).filter(|_| method == "BYE") {
                        call.ended = true;
                    }
                    plain(&m)
                }
            };
            if let Some(reply) = reply {
                let _ = self.callee.send(way, &reply);
            }
        }
        Ok(seen)
    }

    /// The callee's 200 for a first, a repeated or a later INVITE.
    fn accept(&mut self, m: &str, answer: Answer) -> Result<String, String> {
        let id = call_id(m).to_string();
        let sdp = match self.answered.get(&id) {
            Some(call) if call.branch == branch(m) => return Ok(call.response.clone()),
            Some(call) => call.sdp.clone(),
            None => answer(body(m))?,
        };
        let response = accepted(m, &format!("<sip:callee@{}>", self.callee.local()), &sdp);
        let call = Answered { branch: branch(m).into(), response: response.clone(), sdp, ended: false };
        self.answered.insert(id, call);
        Ok(response)
    }

    /// A message at the caller that `call` does not wait for.
    fn serve_caller(&mut self, way: Way, m: &str) {
        let id = call_id(m);
        match (status(m), method(m)) {
            // Our ACK got lost.
            (Some(200..=299), _) if header(m, "CSeq", "").is_some_and(|c| c.ends_with("INVITE")) => {
                if let Some(ack) = self.dialogs.get(id).map(|d| d.request(id, "ACK", 1, &self.via())) {
                    let _ = self.caller.send(Way::Server, &ack);
                }
            }
            (Some(_), _) => {}
            (None, "INVITE") => {
                let contact = format!("<sip:{}@{}{}>", self.names.caller, self.caller.local(), self.caller.parameter());
                if let Some(ok) = self.dialogs.get(id).map(|d| accepted(m, &contact, &d.offer)) {
                    let _ = self.caller.send(way, &ok);
                }
            }
            (None, method) => {
                if method == "BYE" && self.dialogs.remove(id).is_some() {
                    self.ended_early += 1;
                }
                if let Some(r) = plain(m) {
                    let _ = self.caller.send(way, &r);
                }
            }
        }
    }

    /// Answers what comes during the media run.
    pub fn poll(&mut self) {
        let _ = self.serve_callee(&mut |_| Err("late INVITE".into()));
        while let Some((way, m)) = self.caller.receive() {
            self.serve_caller(way, &m);
        }
    }

    /// Ends all calls; returns how many BYEs were not answered, and how many did not reach the callee.
    pub fn hang_up(&mut self) -> (usize, usize) {
        let via = self.via();
        let dialogs = std::mem::take(&mut self.dialogs);
        let mut open: HashSet<String> = dialogs.keys().cloned().collect();
        let until = Instant::now() + NO_ANSWER;
        while Instant::now() < until && !(open.is_empty() && self.unreleased() == 0) {
            for (i, id) in open.clone().iter().enumerate() {
                let _ = self.caller.send(Way::Server, &dialogs[id].request(id, "BYE", 2, &via));
                if i % 8 == 7 {
                    std::thread::sleep(Duration::from_millis(5));
                }
                self.released(&mut open);
            }
            let again = Instant::now() + if self.caller.reliable() { NO_ANSWER } else { AGAIN };
            while Instant::now() < again && !(open.is_empty() && self.unreleased() == 0) {
                self.released(&mut open);
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        (open.len(), self.unreleased())
    }

    fn unreleased(&self) -> usize {
        self.answered.values().filter(|call| !call.ended).count()
    }

    /// Takes what came, and answered BYEs off `open`.
    fn released(&mut self, open: &mut HashSet<String>) {
        while let Some((way, m)) = self.caller.receive() {
            if status(&m).is_some_and(|s| s >= 200) && header(&m, "CSeq", "").is_some_and(|c| c.ends_with("BYE")) {
                open.remove(call_id(&m));
            } else {
                self.serve_caller(way, &m);
            }
        }
        let _ = self.serve_callee(&mut |_| Err("late INVITE".into()));
    }
}

/// 200 with a description.
fn accepted(m: &str, contact: &str, sdp: &str) -> String {
    let (head, length) = (ok(m), sdp.len());
    format!("{head}Contact: {contact}\r\n{ALLOW}Content-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{sdp}")
}

/// 200 for any other request; None where nothing is answered.
fn plain(m: &str) -> Option<String> {
    let answered = status(m).is_none() && !matches!(method(m), "ACK" | "");
    answered.then(|| ok(m) + ALLOW + "Accept: application/sdp\r\nContent-Length: 0\r\n\r\n")
}

/// The lines that a 200 takes over from its request.
fn ok(m: &str) -> String {
    let mut r = "SIP/2.0 200 OK\r\n".to_string();
    for l in m.split("\r\n\r\n").next().unwrap_or("").lines().skip(1) {
        let n = l.split(':').next().unwrap_or("").trim().to_ascii_lowercase();
        match n.as_str() {
            "via" | "v" | "from" | "f" | "call-id" | "i" | "cseq" | "record-route" => r += &format!("{l}\r\n"),
            "to" | "t" if l.contains(";tag=") => r += &format!("{l}\r\n"),
            "to" | "t" => r += &format!("{l};tag=e{}\r\n", call_id(m)),
            _ => {}
        }
    }
    r
}

#[cfg(test)]
mod tests;
