//! What a console has written, as a terminal would show it: lines of plain text.
//!
//! A return without a line feed begins the line again, a backspace takes a character back, escape sequences are skipped.

/// The most that is taken before somebody clears the screen: a command that shows alarms answers with some KiB.
const MOST: usize = 64 * 1024;
const LONGEST_PROMPT: usize = 1024;
/// Bytes after which it can be told whether they are text.
const ENOUGH: usize = 8;

/// Where in an escape sequence we are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    Begun,
    /// `ESC [` up to a final byte.
    Control,
}

/// Lines of text, the last of them not ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Screen {
    text: String,
    /// Where the last line begins.
    line: usize,
    returned: bool,
    escape: Escape,
    /// All bytes, and those that are no text.
    taken: usize,
    strange: usize,
}

impl Screen {
    pub fn clear(&mut self) {
        *self = Screen::default();
    }

    /// Forgets all but the last line, and that too if no prompt is so long.
    pub fn keep_last_line(&mut self) {
        let mut last = self.text.split_off(self.line);
        if last.len() > LONGEST_PROMPT {
            last.clear();
        }
        *self = Screen { text: last, ..Screen::default() };
    }

    /// Forgets the last line.
    pub fn drop_last_line(&mut self) {
        self.text.truncate(self.line);
    }

    /// Takes what came; bytes beyond what fits are lost.
    pub fn take(&mut self, bytes: &[u8]) {
        let room = MOST.saturating_sub(self.taken);
        self.taken = self.taken.saturating_add(bytes.len());
        bytes.iter().take(room).for_each(|byte| self.byte(*byte));
    }

    /// Did it write more than any command would answer?
    pub fn overflows(&self) -> bool {
        self.taken > MOST
    }

    /// Has nothing come?
    pub fn is_empty(&self) -> bool {
        self.taken == 0
    }

    /// Is it noise, as a wrong speed makes it?
    pub fn is_garbled(&self) -> bool {
        self.taken >= ENOUGH && self.strange * 4 > self.taken.min(MOST)
    }

    /// The whole lines.
    pub fn lines(&self) -> &str {
        self.text.get(..self.line).unwrap_or_default()
    }

    /// The last line, without blanks at its end.
    pub fn last_line(&self) -> &str {
        self.text.get(self.line..).unwrap_or_default().trim_end()
    }

    fn byte(&mut self, byte: u8) {
        match (self.escape, byte) {
            (Escape::Begun, b'[') => self.escape = Escape::Control,
            (Escape::Control, 0x20..=0x3f) => {}
            (Escape::Begun | Escape::Control, _) => self.escape = Escape::None,
            (Escape::None, 0x1b) => self.escape = Escape::Begun,
            (Escape::None, _) => self.plain(byte),
        }
    }

    fn plain(&mut self, byte: u8) {
        let returned = std::mem::replace(&mut self.returned, byte == b'\r');
        match byte {
            b'\n' => {
                self.text.push('\n');
                self.line = self.text.len();
            }
            // More than one return may stand before the line feed.
            b'\r' | 0 | 7 => self.returned |= returned,
            8 | 0x7f => self.take_back(),
            b'\t' | 0x20..=0x7e => {
                if returned {
                    self.drop_last_line();
                }
                self.text.push(char::from(byte));
            }
            _ => {
                self.strange += 1;
                self.text.push('\u{fffd}');
            }
        }
    }

    fn take_back(&mut self) {
        if self.text.len() > self.line {
            self.text.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[u8]) -> (String, String) {
        let mut screen = Screen::default();
        screen.take(bytes);
        (screen.lines().to_owned(), screen.last_line().to_owned())
    }

    #[test]
    fn it_shows_what_a_terminal_would() {
        let cases: [(&[u8], &str, &str); 8] = [
            (b"a\r\nvx> ", "a\n", "vx>"),
            (b"a\r\r\nb\nc", "a\nb\n", "c"),
            (b"--More--\r        \rnext\r\n", "next\n", ""),
            (b"abx\x08c \x7f", "", "abc"),
            (b"\x1b[2J\x1b[1;1Hvx\x1b[0m>\x1bM", "", "vx>"),
            (b"x\n\x08\x08y", "x\n", "y"),
            (b"\x07ok\0", "", "ok"),
            (b"caf\xe9", "", "caf\u{fffd}"),
        ];
        for (bytes, lines, last) in cases {
            assert_eq!(shown(bytes), (lines.to_owned(), last.to_owned()), "{bytes:?}");
        }
    }

    #[test]
    fn noise_and_floods_are_told_from_text() {
        let mut screen = Screen::default();
        screen.take(b"\xff\xfe\x80");
        assert!(!screen.is_garbled(), "too little to tell");
        screen.take(b"\x81\x91\xc3ab");
        assert!(screen.is_garbled());
        screen.clear();
        screen.take("Ger\u{e4}t 1 ist in Betrieb".as_bytes());
        assert!(!screen.is_garbled());
        (0..100).for_each(|_| screen.take(&[b'\r'; 1000]));
        assert!(screen.overflows() && screen.text.len() < MOST);
    }

    #[test]
    fn lines_come_and_go() {
        let mut screen = Screen::default();
        screen.take(b"one\r\ntwo\r\n--More--");
        screen.drop_last_line();
        screen.take(b"three\r\nvx>");
        assert_eq!(screen.lines(), "one\ntwo\nthree\n");
        screen.keep_last_line();
        assert_eq!((screen.lines(), screen.last_line()), ("", "vx>"));
    }
}
