//! A stand-in for the REST interface of a UX or SBC 1000 or 2000: HTTPS, a log-in, a cookie, XML.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;

use openssl::pkey::PKey;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::X509;

use super::Leaf;

/// A request: `GET /path`, its cookie, its body.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Method and path.
    pub what: String,
    /// The Cookie header.
    pub cookie: String,
    /// The body.
    pub body: String,
}

/// What is answered: status, further header lines, body; `None` hangs.
pub type Reply = Option<(u16, String, String)>;

/// A server that runs until the test ends.
pub struct Rest {
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Rest {
    /// Answers as `script` says, which is told how many requests came before.
    pub fn start(at: SocketAddr, leaf: &Leaf, script: impl Fn(usize, &Asked) -> Reply + Send + 'static) -> Rest {
        let mut acceptor = SslAcceptor::mozilla_intermediate(SslMethod::tls_server()).unwrap();
        acceptor.set_certificate(&X509::from_pem(&leaf.certificate).unwrap()).unwrap();
        acceptor.set_private_key(&PKey::private_key_from_pem(&leaf.key).unwrap()).unwrap();
        let (acceptor, listener) = (acceptor.build(), TcpListener::bind(at).unwrap());
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let seen = asked.clone();
        thread::spawn(move || {
            let mut hanging = Vec::new();
            for stream in listener.incoming() {
                // Who does not trust us goes away.
                let Ok(mut stream) = acceptor.accept(stream.unwrap()) else { continue };
                let Some(request) = read(&mut stream) else { continue };
                let count = seen.lock().unwrap().len();
                seen.lock().unwrap().push(request.clone());
                match script(count, &request) {
                    None => hanging.push(stream),
                    Some((status, headers, body)) => {
                        let length = body.len();
                        let _ =
                            write!(stream, "HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
                        let _ = stream.shutdown();
                    }
                }
            }
        });
        Rest { asked }
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn read(stream: &mut impl std::io::Read) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let header = |name: &str| {
        let value =
            lines.iter().filter_map(|line| line.split_once(": ")).find(|(key, _)| key.eq_ignore_ascii_case(name));
        value.map(|(_, value)| value.to_owned()).unwrap_or_default()
    };
    let mut body = vec![0; header("content-length").parse().unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    let what = lines.first()?.split(" HTTP").next()?.to_owned();
    Some(Asked { what, cookie: header("cookie"), body: String::from_utf8(body).ok()? })
}
