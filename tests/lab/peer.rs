//! A scripted SIP peer over TLS (the Microsoft side) or TCP: says what a test tells it, keeps what it hears.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use openssl::ssl::{Ssl, SslContext, SslMethod, SslStream, SslVerifyMode};

use super::daemon::LYNC_NAME;
use super::{Lab, connect_from, seconds};

/// A SIP message as it came.
#[derive(Clone, Debug)]
pub struct Message {
    /// The first line.
    pub start: String,
    /// Name and value of each header line, in order.
    pub headers: Vec<(String, String)>,
    /// What follows the empty line.
    pub body: String,
}

impl Message {
    /// The first whole message in `bytes` and its length; blank lines before it are skipped.
    pub fn first(bytes: &[u8]) -> Option<(Message, usize)> {
        let blank = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        let rest = &bytes[blank..];
        let head = rest.windows(4).position(|w| w == b"\r\n\r\n")?;
        let text = String::from_utf8_lossy(&rest[..head]).into_owned();
        let mut lines = text.split("\r\n");
        let start = lines.next()?.to_owned();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
            .collect();
        let mut message = Message { start, headers, body: String::new() };
        let length: usize = message.header("Content-Length").and_then(|v| v.parse().ok()).unwrap_or(0);
        let body = rest.get(head + 4..head + 4 + length)?;
        message.body = String::from_utf8_lossy(body).into_owned();
        Some((message, blank + head + 4 + length))
    }

    /// The value of the first header line of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The values of all header lines of this name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The status of a response.
    pub fn status(&self) -> Option<u16> {
        self.start.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// `INVITE` for a request, `200 INVITE` for an answer to one.
    pub fn kind(&self) -> String {
        match self.status() {
            Some(status) => {
                let method = self.header("CSeq").and_then(|v| v.split_whitespace().nth(1)).unwrap_or("?");
                format!("{status} {method}")
            }
            None => self.start.split(' ').next().unwrap_or_default().to_owned(),
        }
    }

    /// The Request-URI.
    pub fn uri(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// An answer to this request, with further header lines (each ended by CRLF) and a body of SDP.
    pub fn reply(&self, status: u16, reason: &str, tag: &str, extra: &str, sdp: &str) -> String {
        let mut out = format!("SIP/2.0 {status} {reason}\r\n");
        for (name, value) in &self.headers {
            match name.to_ascii_lowercase().as_str() {
                "to" if !value.contains(";tag=") && status != 100 => {
                    let _ = write!(out, "To: {value};tag={tag}\r\n");
                }
                "via" | "from" | "to" | "call-id" | "cseq" | "record-route" => {
                    let _ = write!(out, "{name}: {value}\r\n");
                }
                _ => {}
            }
        }
        finish(out, extra, sdp)
    }
}

fn finish(mut head: String, extra: &str, sdp: &str) -> String {
    head += extra;
    if !sdp.is_empty() && !head.contains("Content-Type:") {
        head += "Content-Type: application/sdp\r\n";
    }
    let _ = write!(head, "Content-Length: {}\r\n\r\n{sdp}", sdp.len());
    head
}

/// The URI inside `<...>`, or the value up to its parameters.
fn inner_uri(value: &str) -> String {
    let bare = value.split(';').next().unwrap_or_default();
    value.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or(bare, |(uri, _)| uri).trim().to_owned()
}

/// SDP of the peer.
pub struct Sdp;

impl Sdp {
    /// One stream of encrypted G.711, as Lync offers it.
    pub fn encrypted(host: Ipv4Addr, direction: &str) -> String {
        Self::of(
            host,
            direction,
            "m=audio 30000 RTP/SAVP 0 8 101\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 \
             inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^31\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
             a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\n",
        )
    }

    /// One stream of plain G.711.
    pub fn plain(host: Ipv4Addr, direction: &str) -> String {
        Self::of(
            host,
            direction,
            "m=audio 30000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
             a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n",
        )
    }

    /// Any media lines.
    pub fn of(host: Ipv4Addr, direction: &str, media: &str) -> String {
        static VERSION: AtomicU32 = AtomicU32::new(1);
        let version = VERSION.fetch_add(1, Ordering::Relaxed);
        format!(
            "v=0\r\no=- 7 {version} IN IP4 {host}\r\ns=session\r\nc=IN IP4 {host}\r\nb=CT:99980\r\nt=0 0\r\n{media}\
             a={direction}\r\n"
        )
    }
}

/// A connection of the peer.
#[derive(Clone)]
pub struct Link {
    stream: Arc<Mutex<Stream>>,
    socket: Arc<TcpStream>,
    /// What Contact and Via say.
    local: SocketAddr,
    remote: SocketAddr,
    via: &'static str,
}

enum Stream {
    Tls(Box<SslStream<TcpStream>>),
    Tcp(TcpStream),
}

impl Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tls(stream) => stream.read(buffer),
            Stream::Tcp(stream) => stream.read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tls(stream) => stream.write(bytes),
            Stream::Tcp(stream) => stream.write(bytes),
        }
    }
}

impl Link {
    /// Over a connected stream whose handshake is done.
    fn new(stream: Stream, socket: TcpStream, via: &'static str) -> Link {
        socket.set_nonblocking(true).unwrap();
        // Whoever listens is reached there; a gateway that only calls, on its connection.
        let own = socket.local_addr().unwrap();
        let local = if via == "TLS" { (own.ip(), 5061).into() } else { own };
        let remote = socket.peer_addr().unwrap_or(own);
        Link { stream: Arc::new(Mutex::new(stream)), socket: Arc::new(socket), local, remote, via }
    }

    /// Sends octets.
    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        let mut bytes = bytes.as_ref();
        while !bytes.is_empty() {
            let sent = self.stream.lock().unwrap().write(bytes);
            match sent {
                Ok(n) => bytes = &bytes[n..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.ready(PollFlags::POLLOUT),
                Err(_) => return,
            }
        }
    }

    /// Closes it at once.
    pub fn close(&self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    fn ready(&self, flags: PollFlags) {
        let _ = poll(&mut [PollFd::new(self.socket.as_fd(), flags)], PollTimeout::from(200_u16));
    }

    /// Reads until the far end closes, handing on each message.
    fn pump(&self, mut hear: impl FnMut(Message)) {
        let (mut unread, mut part) = (Vec::new(), vec![0; 65536]);
        loop {
            let got = self.stream.lock().unwrap().read(&mut part);
            match got {
                Ok(0) => return,
                Ok(n) => unread.extend_from_slice(&part[..n]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.ready(PollFlags::POLLIN),
                Err(_) => return,
            }
            while let Some((message, length)) = Message::first(&unread) {
                unread.drain(..length);
                hear(message);
            }
        }
    }
}

/// A message and the connection it came by.
#[derive(Clone)]
pub struct Received {
    /// The message.
    pub message: Message,
    link: Link,
}

impl std::ops::Deref for Received {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

impl Received {
    /// Answers the request.
    pub fn answer(&self, status: u16, reason: &str, sdp: &str) {
        self.answer_with(status, reason, &contact(&self.link), sdp);
    }

    /// Answers the request with header lines of one's own.
    pub fn answer_with(&self, status: u16, reason: &str, extra: &str, sdp: &str) {
        self.link.send(self.message.reply(status, reason, "labpeer", extra, sdp));
    }

    /// The connection it came by.
    pub fn link(&self) -> &Link {
        &self.link
    }
}

fn contact(link: &Link) -> String {
    format!("Contact: <sip:lab@{};transport={}>\r\n", link.local, link.via.to_ascii_lowercase())
}

/// What a peer says by itself to a request; `None` leaves it to the test.
type Habit = Arc<dyn Fn(&Received) -> bool + Send + Sync>;

/// The scripted peer.
pub struct Peer {
    /// Where it listens.
    pub address: SocketAddr,
    /// The address in its SDP.
    pub host: Ipv4Addr,
    context: Option<SslContext>,
    habit: Habit,
    inbox: Receiver<Received>,
    post: Sender<Received>,
    waiting: VecDeque<Received>,
    heard: Vec<String>,
    listener: Option<TcpListener>,
}

/// The port is free again at once: the next peer of the same test may listen there.
impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(listener) = &self.listener {
            let _ = nix::sys::socket::shutdown(listener.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        }
    }
}

impl Peer {
    /// The Microsoft side: mutual TLS, answers OPTIONS by itself and leaves all else to the test.
    pub fn lync(lab: &Lab) -> Peer {
        Self::listening(lab, Arc::new(answers_options))
    }

    /// The Microsoft side as one that takes every call at once and gives it back when asked.
    pub fn answering(lab: &Lab) -> Peer {
        Self::listening(lab, Arc::new(|request| answers_options(request) || answers_calls(request)))
    }

    fn listening(lab: &Lab, habit: Habit) -> Peer {
        let address = lab.net.at(2, 5061);
        let listener = TcpListener::bind(address).unwrap();
        let mut peer = Peer::without_listener(lab.net.host(2), address, Some(context(lab)), habit);
        let (context, habit, post) = (peer.context.clone().unwrap(), peer.habit.clone(), peer.post.clone());
        peer.listener = Some(listener.try_clone().unwrap());
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (context, habit, post) = (context.clone(), habit.clone(), post.clone());
                thread::spawn(move || {
                    socket.set_nodelay(true).ok();
                    let handle = socket.try_clone().unwrap();
                    if let Ok(stream) = Ssl::new(&context).unwrap().accept(socket) {
                        listen(&Link::new(Stream::Tls(Box::new(stream)), handle, "TLS"), &habit, &post);
                    }
                });
            }
        });
        peer
    }

    /// The Microsoft side as one that only calls.
    pub fn calling(lab: &Lab) -> Peer {
        let address = lab.net.at(2, 5061);
        Peer::without_listener(lab.net.host(2), address, Some(context(lab)), Arc::new(answers_options))
    }

    /// A gateway that only calls, over TCP.
    pub fn gateway(host: Ipv4Addr) -> Peer {
        Peer::without_listener(host, (host, 5060).into(), None, Arc::new(answers_options))
    }

    fn without_listener(host: Ipv4Addr, address: SocketAddr, context: Option<SslContext>, habit: Habit) -> Peer {
        let (post, inbox) = channel();
        Peer { address, host, context, habit, inbox, post, waiting: VecDeque::new(), heard: Vec::new(), listener: None }
    }

    /// Connects to the daemon: by TLS if this is the Microsoft side.
    pub fn connect(&self, to: SocketAddr) -> Link {
        let socket = connect_from(self.host, to).unwrap();
        socket.set_nodelay(true).unwrap();
        let handle = socket.try_clone().unwrap();
        let link = match &self.context {
            Some(context) => {
                let stream = Ssl::new(context).unwrap().connect(socket).expect("a TLS handshake");
                Link::new(Stream::Tls(Box::new(stream)), handle, "TLS")
            }
            None => Link::new(Stream::Tcp(socket), handle, "TCP"),
        };
        let (reader, habit, post) = (link.clone(), self.habit.clone(), self.post.clone());
        thread::spawn(move || listen(&reader, &habit, &post));
        link
    }

    /// Calls a number over a connection.
    pub fn call(&self, link: &Link, number: &str, sdp: &str) -> Dialog {
        self.call_with(link, number, "", sdp)
    }

    /// Calls a number with further header lines in the INVITE.
    pub fn call_with(&self, link: &Link, number: &str, extra: &str, sdp: &str) -> Dialog {
        let mut dialog = self.dialog(link, number);
        dialog.request("INVITE", extra, sdp);
        dialog
    }

    fn dialog(&self, link: &Link, number: &str) -> Dialog {
        let peer = link.remote;
        let target = format!("sip:{number}@{peer};user=phone;transport={}", link.via.to_ascii_lowercase());
        Dialog {
            link: link.clone(),
            call_id: unique("call"),
            local: format!("<sip:+13125550100@{};user=phone>;tag={}", self.host, unique("t")),
            remote: format!("<sip:{number}@{peer};user=phone>"),
            target,
            route: Vec::new(),
            cseq: 0,
            branch: String::new(),
        }
    }

    /// Asks whether somebody is there.
    pub fn probe(&self, link: &Link) {
        let mut dialog = self.dialog(link, "probe");
        dialog.request("OPTIONS", "Accept: application/sdp\r\n", "");
    }

    /// The next message of a kind: `INVITE`, `200 BYE`. Others stay for later, 100s are dropped.
    #[track_caller]
    pub fn expect(&mut self, kind: &str) -> Received {
        self.expect_within(kind, seconds(5))
    }

    /// The same with a limit of one's own.
    #[track_caller]
    pub fn expect_within(&mut self, kind: &str, limit: Duration) -> Received {
        self.any_within(&[kind], limit)
    }

    /// The next message of one of these kinds.
    #[track_caller]
    pub fn any_within(&mut self, kinds: &[&str], limit: Duration) -> Received {
        if let Some(at) = self.waiting.iter().position(|have| kinds.contains(&have.kind().as_str())) {
            return self.waiting.remove(at).unwrap();
        }
        let end = Instant::now() + limit;
        loop {
            match self.next(end) {
                Some(message) if kinds.contains(&message.kind().as_str()) => return message,
                Some(message) => self.waiting.push_back(message),
                None => panic!("no {kinds:?} within {limit:?}; heard so far:\n{}", self.heard.join("\n")),
            }
        }
    }

    /// Listens for a while and fails if a message of this kind comes.
    #[track_caller]
    pub fn refute(&mut self, kind: &str, time: Duration) {
        let end = Instant::now() + time;
        while let Some(message) = self.next(end) {
            self.waiting.push_back(message);
        }
        let came = self.waiting.iter().find(|message| message.kind() == kind);
        assert!(came.is_none(), "an unwanted {kind}: {:#?}", came.map(|received| &received.message));
    }

    fn next(&mut self, end: Instant) -> Option<Received> {
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.inbox.recv_timeout(left) {
                Ok(received) => {
                    self.heard.push(format!("{:<14} {}", received.kind(), received.start));
                    if received.status() != Some(100) {
                        return Some(received);
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }
}

fn listen(link: &Link, habit: &Habit, post: &Sender<Received>) {
    link.pump(|message| {
        let received = Received { message, link: link.clone() };
        if !habit(&received) {
            let _ = post.send(received);
        }
    });
}

fn answers_options(request: &Received) -> bool {
    let options = request.kind() == "OPTIONS";
    if options {
        request.answer(200, "OK", "");
    }
    options
}

/// Rings, answers, lets go.
fn answers_calls(request: &Received) -> bool {
    match request.kind().as_str() {
        "INVITE" => {
            let std::net::IpAddr::V4(host) = request.link.local.ip() else { return false };
            request.answer(180, "Ringing", "");
            request.answer(200, "OK", &Sdp::encrypted(host, "sendrecv"));
        }
        "BYE" | "CANCEL" | "UPDATE" => request.answer(200, "OK", ""),
        "ACK" => {}
        _ => return false,
    }
    true
}

/// Both roles ask for the other's certificate.
fn context(lab: &Lab) -> SslContext {
    let leaf = lab.authority.leaf(LYNC_NAME);
    let mut context = SslContext::builder(SslMethod::tls()).unwrap();
    context.set_certificate(&openssl::x509::X509::from_pem(&leaf.certificate).unwrap()).unwrap();
    context.set_private_key(&openssl::pkey::PKey::private_key_from_pem(&leaf.key).unwrap()).unwrap();
    let root = openssl::x509::X509::from_pem(&lab.authority.root()).unwrap();
    context.cert_store_mut().add_cert(root).unwrap();
    context.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    context.set_session_id_context(b"lab").unwrap();
    context.build()
}

fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{prefix}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The peer's end of a call.
pub struct Dialog {
    link: Link,
    call_id: String,
    local: String,
    remote: String,
    target: String,
    route: Vec<String>,
    cseq: u32,
    branch: String,
}

impl Dialog {
    /// The dialog of a call that came in and was answered with the peer's tag.
    pub fn called(invite: &Received) -> Dialog {
        let header = |name| invite.header(name).unwrap_or_default().to_owned();
        Dialog {
            link: invite.link.clone(),
            call_id: header("Call-ID"),
            local: header("To") + ";tag=labpeer",
            remote: header("From"),
            target: inner_uri(&header("Contact")),
            route: invite.all("Record-Route").map(str::to_owned).collect(),
            cseq: 0,
            branch: String::new(),
        }
    }

    /// Sends a request inside the dialog (or the INVITE that begins it).
    pub fn request(&mut self, method: &str, extra: &str, sdp: &str) {
        self.cseq += 1;
        self.branch = unique("z9hG4bK");
        let extra = format!("{}{extra}", contact(&self.link));
        self.link.send(self.compose(method, &extra, sdp));
    }

    /// Presses a key: an INFO as most equipment writes it.
    pub fn press(&mut self, key: char) {
        self.cseq += 1;
        self.branch = unique("z9hG4bK");
        let digit = format!("Signal={key}\r\nDuration=160\r\n");
        let text = self.compose("INFO", "Content-Type: application/dtmf-relay\r\n", "");
        self.link.send(
            text.replace("Content-Length: 0\r\n\r\n", &format!("Content-Length: {}\r\n\r\n{digit}", digit.len())),
        );
    }

    /// Takes back the INVITE.
    pub fn cancel(&self) {
        self.link.send(self.compose("CANCEL", "", ""));
    }

    /// Takes the answer: learns tag, contact and route, and acknowledges it.
    pub fn acknowledge(&mut self, answer: &Message) {
        self.learn(answer);
        self.branch = unique("z9hG4bK");
        self.link.send(self.compose("ACK", "", ""));
    }

    /// Learns tag, contact and route from an answer.
    pub fn learn(&mut self, answer: &Message) {
        self.remote = answer.header("To").unwrap_or_default().to_owned();
        if let Some(contact) = answer.header("Contact") {
            self.target = inner_uri(contact);
        }
        self.route = answer.all("Record-Route").map(str::to_owned).collect();
        self.route.reverse();
    }

    /// Acknowledges a refusal: hop by hop, on the INVITE's own branch.
    pub fn acknowledge_refusal(&mut self, answer: &Message) {
        self.remote = answer.header("To").unwrap_or_default().to_owned();
        self.link.send(self.compose("ACK", "", ""));
    }

    /// How a Replaces names this dialog to whom it is held with.
    pub fn replaces(&self) -> String {
        let tag = |header: &str| header.split(";tag=").nth(1).unwrap_or_default().to_owned();
        format!("{};to-tag={};from-tag={}", self.call_id, tag(&self.remote), tag(&self.local))
    }

    /// The Call-ID.
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    fn compose(&self, method: &str, extra: &str, sdp: &str) -> String {
        let Dialog { link, call_id, local, remote, target, cseq, branch, .. } = self;
        let mut out = format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/{} {};branch={branch}\r\nMax-Forwards: 70\r\n",
            link.via, link.local
        );
        for route in &self.route {
            let _ = write!(out, "Route: {route}\r\n");
        }
        let _ = write!(out, "From: {local}\r\nTo: {remote}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n");
        finish(out, extra, sdp)
    }
}
