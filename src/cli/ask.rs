//! Asking the running daemon: a small HTTP client for the address in `[Web] Listen`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::config::Web;

const LIMIT: Duration = Duration::from_secs(10);

/// What kept us from an answer. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// No page is configured.
    #[error("[Web] Listen is off in this configuration: the daemon cannot be asked")]
    Off,
    /// Nobody listens.
    #[error("no daemon answers at {0} ([Web] Listen): {1}. Is it running (systemctl status demarc)?")]
    Down(SocketAddr, std::io::Error),
    /// The token cannot be read.
    #[error("[Web] TokenFile cannot be read: {0}")]
    Token(std::io::Error),
    /// The daemon's answer is no HTTP.
    #[error("what answers at {0} is not demarc")]
    Strange(SocketAddr),
    /// The daemon refuses.
    #[error("{1} (status {0})")]
    Refused(u16, String),
}

/// GETs a path.
pub fn get(web: &Web, path: &str) -> Result<String, Unanswered> {
    exchange(web, "GET", path)
}

/// POSTs an order.
pub fn order(web: &Web, path: &str) -> Result<String, Unanswered> {
    exchange(web, "POST", path)
}

fn exchange(web: &Web, method: &str, path: &str) -> Result<String, Unanswered> {
    let address = web.listen.ok_or(Unanswered::Off)?;
    let token = match &web.token_file {
        Some(file) => {
            let token = std::fs::read_to_string(file).map_err(Unanswered::Token)?;
            format!("Authorization: Bearer {}\r\n", token.trim())
        }
        None => String::new(),
    };
    let down = |fault| Unanswered::Down(address, fault);
    let mut stream = TcpStream::connect_timeout(&reachable(address), LIMIT).map_err(down)?;
    stream.set_read_timeout(Some(LIMIT)).map_err(down)?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nX-Demarc-Order: 1\r\n{token}Content-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).map_err(down)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(down)?;
    read_answer(&answer).ok_or(Unanswered::Strange(address))?
}

/// A daemon on the wildcard address is asked on loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let loopback = if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
        address.set_ip(loopback);
    }
    address
}

/// Status and body; `None` when it is no HTTP answer.
fn read_answer(answer: &[u8]) -> Option<Result<String, Unanswered>> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status: u16 = head.strip_prefix("HTTP/1.")?.split_ascii_whitespace().nth(1)?.parse().ok()?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunked(body) } else { body.to_owned() };
    Some(if status < 300 { Ok(body) } else { Err(Unanswered::Refused(status, body.trim().to_owned())) })
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        let Some(chunk) = rest.get(..size).filter(|chunk| !chunk.is_empty()) else { break };
        whole.push_str(chunk);
        body = rest.get(size + 2..).unwrap_or_default();
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whole_or_in_chunks() {
        let plain = read_answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").unwrap();
        assert_eq!(plain.unwrap(), "hi");
        let chunks =
            read_answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n1\r\n!\r\n0\r\n\r\n");
        assert_eq!(chunks.unwrap().unwrap(), "hi!");
        let refused = read_answer(b"HTTP/1.1 404 Not Found\r\n\r\nno such call").unwrap();
        assert_eq!(refused.unwrap_err().to_string(), "no such call (status 404)");
        assert!(read_answer(b"SSH-2.0-OpenSSH").is_none());
    }
}
