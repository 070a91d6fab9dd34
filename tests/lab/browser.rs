//! Chromium without a screen, told what to do by WebDriver (W3C).

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use serde_json::{Value, json};

use super::child::Running;
use super::{Lab, installed, seconds, until};

/// A window. Closed, and the browser ended, when dropped.
pub struct Browser {
    driver: SocketAddr,
    session: String,
    _running: Running,
}

impl Browser {
    /// Is it there?
    pub fn installed() -> bool {
        installed("chromium", "chromium") && installed("chromedriver", "chromium-driver")
    }

    /// Starts it with an empty profile.
    #[track_caller]
    pub fn start(lab: &Lab) -> Browser {
        let log = lab.log("chromedriver");
        let mut command = Command::new("chromedriver");
        let running = Running::start(command.arg("--port=0").env("HOME", lab.folder("home")), &log);
        let driver = until(seconds(10), "chromedriver is ready", || {
            let said = std::fs::read_to_string(&log).unwrap();
            let port = said.split("started successfully on port ").nth(1)?.split('.').next()?.parse::<u16>();
            Some(SocketAddr::from(([127, 0, 0, 1], port.ok()?)))
        });
        let profile = format!("--user-data-dir={}", lab.folder("chromium").display());
        let arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", &profile];
        let wanted = json!({ "goog:chromeOptions": { "args": arguments }, "goog:loggingPrefs": { "browser": "ALL" } });
        let made = order(driver, "POST", "/session", &json!({ "capabilities": { "alwaysMatch": wanted } }));
        Browser { driver, session: made["sessionId"].as_str().unwrap().to_owned(), _running: running }
    }

    /// Opens a page and waits until it is loaded.
    pub fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// Where it is.
    pub fn url(&self) -> String {
        self.run("return location.href").as_str().unwrap().to_owned()
    }

    /// What a script in the page returns.
    pub fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// What a reader sees of the first element that a selector finds: nothing while it is hidden.
    pub fn text(&self, selector: &str) -> String {
        let find = format!("const it = document.querySelector({});", json!(selector));
        let seen = self.run(&format!("{find} return it?.checkVisibility() ? it.innerText : ''"));
        seen.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until a reader sees these words in an element.
    #[track_caller]
    pub fn shows(&self, selector: &str, words: &[&str]) {
        let mut seen = String::new();
        let end = std::time::Instant::now() + seconds(12);
        while std::time::Instant::now() < end {
            seen = self.text(selector);
            if words.iter().all(|word| seen.contains(word)) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("{selector} does not show {words:?}:\n{seen}");
    }

    /// How many elements a selector finds.
    pub fn count(&self, selector: &str) -> u64 {
        self.run(&format!("return document.querySelectorAll({}).length", json!(selector))).as_u64().unwrap()
    }

    /// Presses keys, in WebDriver's own code points where they have no letter.
    pub fn press(&self, keys: &str) {
        let each = keys.chars().flat_map(|key| {
            let of = |what: &str| json!({ "type": what, "value": key });
            [of("keyDown"), of("keyUp")]
        });
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": each.collect::<Vec<_>>() });
        self.post("/actions", &json!({ "actions": [keyboard] }));
    }

    /// Looks through the eyes of somebody with another device: a command of Chromium's own.
    pub fn emulate(&self, command: &str, parameters: &Value) {
        self.post("/goog/cdp/execute", &json!({ "cmd": format!("Emulation.{command}"), "params": parameters }));
    }

    /// What the page did wrong, and what its policy forbade, in the browser's words.
    pub fn complaints(&self) -> Value {
        self.post("/se/log", &json!({ "type": "browser" }))
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        order(self.driver, "POST", &format!("/session/{}{path}", self.session), body)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = exchange(self.driver, "DELETE", &format!("/session/{}", self.session), &json!({}));
    }
}

#[track_caller]
fn order(driver: SocketAddr, method: &str, path: &str, body: &Value) -> Value {
    let answer = exchange(driver, method, path, body).unwrap();
    let value = answer["value"].clone();
    assert!(value.get("error").is_none(), "{path} {body}: {value}");
    value
}

fn exchange(driver: SocketAddr, method: &str, path: &str, body: &Value) -> std::io::Result<Value> {
    let mut stream = TcpStream::connect(driver)?;
    stream.set_read_timeout(Some(seconds(40)))?;
    let body = body.to_string();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {driver}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    )?;
    stream.write_all(body.as_bytes())?;
    // It keeps the connection open, whatever it is told.
    let (mut answer, mut length) = (BufReader::new(stream), 0);
    loop {
        let mut line = String::new();
        answer.read_line(&mut line)?;
        match line.to_ascii_lowercase().split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse().map_err(std::io::Error::other)?,
            Some(_) => {}
            None if line.trim().is_empty() => break,
            None => {}
        }
    }
    serde_json::from_reader(answer.take(length)).map_err(std::io::Error::other)
}
