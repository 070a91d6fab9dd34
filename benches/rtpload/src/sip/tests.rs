//! The driver against a server of a few lines: mutual TLS to the caller, UDP to the callee.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{self, Sender};
use std::thread;

use openssl::ssl::{SslAcceptor, SslConnector, SslFiletype, SslMethod, SslStream, SslVerifyMode};

use super::*;
use crate::transport::Identity;

#[test]
fn route_set_is_reversed_and_split() {
    let m = "SIP/2.0 200 OK\r\nRecord-Route: <sip:a;lr>, <sip:b;lr>\r\nRecord-Route: <sip:c;lr>\r\n\r\n";
    assert_eq!(route_set(m), ["<sip:c;lr>", "<sip:b;lr>", "<sip:a;lr>"]);
}

#[test]
fn a_200_takes_over_what_it_must() {
    let m = "OPTIONS sip:x SIP/2.0\r\nv: SIP/2.0/UDP h;branch=z9hG4bK1\r\nf: <sip:a>;tag=1\r\nt: <sip:b>\r\ni: 7\r\n\
             CSeq: 3 OPTIONS\r\nMax-Forwards: 70\r\n\r\n";
    let r = plain(m).unwrap();
    assert!(r.contains("t: <sip:b>;tag=e7\r\n") && r.contains("CSeq: 3 OPTIONS\r\n") && !r.contains("Max-Forwards"));
    assert_eq!((branch(m), status(&r), status(m)), ("z9hG4bK1", Some(200), None));
    assert_eq!(plain(&r), None);
    assert_eq!(plain("ACK sip:x SIP/2.0\r\n\r\n"), None);
}

fn certify(folder: &Path) {
    let run = |arguments: &[&str]| {
        let done = Command::new("openssl").current_dir(folder).args(arguments).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    let request = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=box.test -addext subjectAltName=DNS:box.test \
                   -keyout key.pem -out cert.pem";
    run(&request.split_whitespace().collect::<Vec<_>>());
}

/// The next message of a connection; every message here comes whole.
fn read(stream: &mut SslStream<TcpStream>) -> String {
    let mut buffer = [0; 8192];
    let length = stream.read(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

fn ask(socket: &UdpSocket, to: SocketAddr, request: &str) -> String {
    socket.send_to(request.as_bytes(), to).unwrap();
    let mut buffer = [0; 8192];
    let length = socket.recv(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

fn request(method: &str, id: &str, body: &str) -> String {
    format!(
        "{method} sip:x SIP/2.0\r\nVia: SIP/2.0/TLS h;branch=z9hG4bK{method}{id}\r\nFrom: <sip:s>;tag=1\r\nTo: <sip:l>\r\n\
         Call-ID: {id}\r\nCSeq: 1 {method}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// ```text
/// caller --TLS--> INVITE --UDP--> callee; 200 back, ACK to the Contact; OPTIONS on that connection and on a new one;
/// BYE through
/// ```
fn serve(listener: TcpListener, udp: UdpSocket, folder: &Path, [callee, caller]: [SocketAddr; 2], asked: Sender<()>) {
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    acceptor.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
    for side in [&mut *acceptor, &mut *connector] {
        side.set_certificate_chain_file(&cert).unwrap();
        side.set_private_key_file(&key, SslFiletype::PEM).unwrap();
        side.set_ca_file(&cert).unwrap();
    }
    let mut tls = acceptor.build().accept(listener.accept().unwrap().0).unwrap();
    let invite = read(&mut tls);
    let answer = ask(&udp, callee, &request("INVITE", "leg-b", body(&invite)));
    assert!(answer.contains("Contact: <sip:callee@"), "{answer}");
    let contact = "<sip:box.test:5070;transport=tls>";
    let ok = accepted(&invite, contact, body(&answer)).replace("Contact", "Record-Route: <sip:r;lr>\r\nContact");
    tls.write_all(ok.as_bytes()).unwrap();
    let ack = read(&mut tls);
    assert!(ack.starts_with("ACK sip:box.test:5070;transport=tls SIP/2.0\r\n"), "{ack}");
    assert!(ack.contains("\r\nRoute: <sip:r;lr>\r\n") && ack.contains(";tag=e"), "{ack}");

    tls.write_all(request("OPTIONS", "o1", "").as_bytes()).unwrap();
    assert_eq!(status(&read(&mut tls)), Some(200));
    let mut new = connector.build().connect("box.test", TcpStream::connect(caller).unwrap()).unwrap();
    new.write_all(request("OPTIONS", "o2", "").as_bytes()).unwrap();
    assert_eq!(status(&read(&mut new)), Some(200));
    assert_eq!(status(&ask(&udp, callee, &request("OPTIONS", "o3", ""))), Some(200));
    asked.send(()).unwrap();

    let bye = read(&mut tls);
    assert!(bye.starts_with("BYE sip:box.test:5070"), "{bye}");
    assert_eq!(status(&ask(&udp, callee, &request("BYE", "leg-b", ""))), Some(200));
    tls.write_all(plain(&bye).unwrap().as_bytes()).unwrap();
}

#[test]
fn a_call_over_mutual_tls() {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    let [certificate, key, roots] = ["cert.pem", "key.pem", "cert.pem"].map(|f| folder.path().join(f));
    let identity = Identity { certificate, key, roots, server: "box.test".into() };
    let caller = Transport::tls("127.0.0.1:0".parse().unwrap(), server, &identity).unwrap();
    let here = caller.local();
    let names = Names { user: "+13125556789".into(), caller: "+14255550100".into(), host: "box.test:5070".into() };
    let mut sip = Sip::new(caller, "127.0.0.1:0".parse().unwrap(), udp.local_addr().unwrap(), names).unwrap();
    let callee = sip.callee.local();
    let path = folder.path().to_owned();
    let (tell, asked) = mpsc::channel();
    let server = thread::spawn(move || serve(listener, udp, &path, [callee, here], tell));

    let done = sip.call(0, "v=offer", &mut |offer| Ok(format!("{offer}, answered")));
    assert_eq!(done, Ok(("v=offer".into(), "v=offer, answered".into())));
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until && asked.try_recv().is_err() {
        sip.poll();
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(sip.hang_up(), (0, 0));
    server.join().unwrap();
}
