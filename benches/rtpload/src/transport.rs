//! Where SIP messages come and go: one UDP socket, or TLS with certificates on both sides.
//!
//! TLS: one connection of ours carries all our requests; whoever is told to reach us at the listener gets a connection of
//! its own. An answer goes back the way its request came.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use openssl::ssl::{SslAcceptor, SslConnector, SslFiletype, SslMethod, SslStream, SslVerifyMode};

use crate::sip::header;

/// Longer than any message that a gateway sends.
const LONGEST: usize = 64 * 1024;
const HANDSHAKE: Duration = Duration::from_secs(2);

/// Who we are under TLS, and whom we believe.
pub struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub roots: PathBuf,
    /// The name that the server's certificate must carry.
    pub server: String,
}

/// The way a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Server,
    Datagram(SocketAddr),
    Connection(usize),
}

pub enum Transport {
    Udp(UdpSocket, SocketAddr),
    Tls(Box<Tls>),
}

impl Transport {
    pub fn udp(local: SocketAddr, server: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(local)?;
        socket.set_nonblocking(true)?;
        Ok(Self::Udp(socket, server))
    }

    pub fn tls(local: SocketAddr, server: SocketAddr, identity: &Identity) -> io::Result<Self> {
        Ok(Self::Tls(Box::new(Tls::new(local, server, identity)?)))
    }

    pub fn local(&self) -> SocketAddr {
        let local = match self {
            Self::Udp(socket, _) => socket.local_addr(),
            Self::Tls(tls) => tls.listener.local_addr(),
        };
        local.expect("bound")
    }

    /// The word for a Via.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Udp(..) => "UDP",
            Self::Tls(_) => "TLS",
        }
    }

    pub fn reliable(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// What a URI of ours ends with.
    pub fn parameter(&self) -> &'static str {
        match self {
            Self::Udp(..) => "",
            Self::Tls(_) => ";transport=tls",
        }
    }

    pub fn send(&mut self, way: Way, message: &str) -> io::Result<()> {
        match (self, way) {
            (Self::Udp(socket, _), Way::Datagram(to)) => socket.send_to(message.as_bytes(), to).map(drop),
            (Self::Udp(socket, server), _) => socket.send_to(message.as_bytes(), *server).map(drop),
            (Self::Tls(tls), Way::Connection(at)) => tls.write(at, message.as_bytes()),
            (Self::Tls(tls), _) => tls.request(message.as_bytes()),
        }
    }

    /// The next message, without waiting.
    pub fn receive(&mut self) -> Option<(Way, String)> {
        match self {
            Self::Udp(socket, _) => {
                let mut buffer = [0u8; 16384];
                let (length, from) = socket.recv_from(&mut buffer).ok()?;
                Some((Way::Datagram(from), String::from_utf8_lossy(&buffer[..length]).into_owned()))
            }
            Self::Tls(tls) => tls.receive(),
        }
    }
}

pub struct Tls {
    listener: TcpListener,
    acceptor: SslAcceptor,
    connector: SslConnector,
    server: SocketAddr,
    name: String,
    connections: Vec<Connection>,
    ours: Option<usize>,
}

struct Connection {
    /// None: closed. The place stays, as ways are numbers.
    stream: Option<SslStream<TcpStream>>,
    unread: Vec<u8>,
}

impl Tls {
    fn new(local: SocketAddr, server: SocketAddr, identity: &Identity) -> io::Result<Self> {
        let listener = TcpListener::bind(local)?;
        listener.set_nonblocking(true)?;
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
        let mut connector = SslConnector::builder(SslMethod::tls_client())?;
        acceptor.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        for side in [&mut *acceptor, &mut *connector] {
            side.set_certificate_chain_file(&identity.certificate)?;
            side.set_private_key_file(&identity.key, SslFiletype::PEM)?;
            side.set_ca_file(&identity.roots)?;
        }
        Ok(Self {
            listener,
            acceptor: acceptor.build(),
            connector: connector.build(),
            server,
            name: identity.server.clone(),
            connections: Vec::new(),
            ours: None,
        })
    }

    /// Sends over our connection; opens it when there is none.
    fn request(&mut self, bytes: &[u8]) -> io::Result<()> {
        let open = self.ours.filter(|at| self.connections[*at].stream.is_some());
        let at = match open {
            Some(at) => at,
            None => {
                let stream = patient(TcpStream::connect_timeout(&self.server, HANDSHAKE)?)?;
                let stream = self.connector.connect(&self.name, stream).map_err(io::Error::other)?;
                self.keep(stream)?
            }
        };
        self.ours = Some(at);
        self.write(at, bytes)
    }

    fn keep(&mut self, stream: SslStream<TcpStream>) -> io::Result<usize> {
        stream.get_ref().set_nonblocking(true)?;
        self.connections.push(Connection { stream: Some(stream), unread: Vec::new() });
        Ok(self.connections.len() - 1)
    }

    fn write(&mut self, at: usize, mut bytes: &[u8]) -> io::Result<()> {
        let stream = self.connections[at].stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        while !bytes.is_empty() {
            match stream.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(e) if e.kind() == ErrorKind::WouldBlock => std::thread::sleep(Duration::from_micros(100)),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn accept(&mut self) {
        while let Ok((stream, from)) = self.listener.accept() {
            let accepted = patient(stream)
                .and_then(|stream| self.acceptor.accept(stream).map_err(io::Error::other))
                .and_then(|stream| self.keep(stream));
            if let Err(e) = accepted {
                eprintln!("TLS from {from}: {e}");
            }
        }
    }

    fn receive(&mut self) -> Option<(Way, String)> {
        self.accept();
        for at in 0..self.connections.len() {
            self.connections[at].fill();
            let (message, pinged) = frame(&mut self.connections[at].unread);
            if pinged {
                let _ = self.write(at, b"\r\n");
            }
            if let Some(message) = message {
                return Some((Way::Connection(at), message));
            }
        }
        None
    }
}

impl Connection {
    fn fill(&mut self) {
        let mut buffer = [0u8; 16384];
        while let Some(stream) = &mut self.stream {
            match stream.read(&mut buffer) {
                Ok(read) if read > 0 && self.unread.len() < LONGEST => self.unread.extend_from_slice(&buffer[..read]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                _ => self.stream = None,
            }
        }
    }
}

/// A socket that waits, but not for ever: for the handshake.
fn patient(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(HANDSHAKE))?;
    Ok(stream)
}

/// Takes the first whole message off `unread`. True: a keep-alive came that wants its pong (RFC 5626 section 4.4.1).
fn frame(unread: &mut Vec<u8>) -> (Option<String>, bool) {
    let empty = unread.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    let pinged = unread[..empty].windows(4).any(|w| w == b"\r\n\r\n");
    unread.drain(..empty);
    let Some(end) = unread.windows(4).position(|w| w == b"\r\n\r\n") else { return (None, pinged) };
    let head = String::from_utf8_lossy(&unread[..end + 4]).into_owned();
    let body: usize = header(&head, "Content-Length", "l").and_then(|v| v.parse().ok()).unwrap_or(0);
    let whole = end + 4 + body;
    if unread.len() < whole {
        return (None, pinged);
    }
    let message = String::from_utf8_lossy(&unread[..whole]).into_owned();
    unread.drain(..whole);
    (Some(message), pinged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_where_they_end() {
        let mut unread =
            b"\r\n\r\nBYE x SIP/2.0\r\nl: 3\r\n\r\nabcOPTIONS y SIP/2.0\r\nContent-Length: 2\r\n\r\nd".to_vec();
        assert_eq!(frame(&mut unread), (Some("BYE x SIP/2.0\r\nl: 3\r\n\r\nabc".into()), true));
        assert_eq!(frame(&mut unread), (None, false));
        unread.push(b'e');
        assert!(frame(&mut unread).0.is_some_and(|m| m.ends_with("\r\n\r\nde")));
        assert!(unread.is_empty());
    }
}
