//! ROSE components (X.880, as Q.932 uses them) and the little of BER (X.690) that they need.
//!
//! ```text
//! | 91 or 9f | [aa NFE] [92 profile] [8b interpretation] | a1 invoke: 02 id, [80 linked], 02 or 06 operation, argument
//!                                                        | a2 result: 02 id, [30: operation, result]  | a3 error | a4 reject
//! ```
//!
//! Nothing here calls itself: values are opened one level at a time, each no longer than its parent.

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const LINKED: u8 = 0x80;

const INVOKE: u8 = 0xa1;
const RESULT: u8 = 0xa2;
const ERROR: u8 = 0xa3;
const REJECT: u8 = 0xa4;

/// A value: its tag and contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    /// Class, form and number in one octet; longer tags are not used here.
    pub tag: u8,
    /// What it holds.
    pub contents: &'a [u8],
}

impl<'a> Value<'a> {
    /// The values within.
    pub fn inside(self) -> Values<'a> {
        Values(self.contents)
    }

    /// A small whole number.
    pub fn number(self) -> Option<i64> {
        let (&first, rest) = self.contents.split_first()?;
        let begin = i64::from(first as i8);
        (rest.len() < 8).then(|| rest.iter().fold(begin, |sum, octet| sum << 8 | i64::from(*octet)))
    }
}

/// Values one after the other; ends where they are malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Values<'a>(pub &'a [u8]);

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        let [tag, length, rest @ ..] = self.0 else { return None };
        let (length, rest) = match (length, rest) {
            (0..=0x7f, rest) => (usize::from(*length), rest),
            (0x81, [length, rest @ ..]) => (usize::from(*length), rest),
            (0x82, [high, low, rest @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), rest),
            _ => return None,
        };
        let (contents, rest) = rest.split_at_checked(length).filter(|_| tag & 0x1f != 0x1f)?;
        self.0 = rest;
        Some(Value { tag: *tag, contents })
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation<'a> {
    /// By a number that the dialect gives a meaning.
    Local(i64),
    /// By an object identifier, encoded.
    Global(&'a [u8]),
}

impl From<u8> for Operation<'_> {
    fn from(number: u8) -> Self {
        Operation::Local(number.into())
    }
}

impl Operation<'_> {
    fn written(self) -> Vec<u8> {
        match self {
            Operation::Local(number) => whole(number),
            Operation::Global(object) => value(OBJECT, object),
        }
    }
}

/// A component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component<'a> {
    /// Do this.
    Invoke {
        /// By this the answer is known.
        id: i64,
        /// What.
        operation: Operation<'a>,
        /// With what.
        argument: Values<'a>,
    },
    /// It was done.
    Result {
        /// The invoke's.
        id: i64,
        /// What came of it, where something did.
        result: Option<(Operation<'a>, Values<'a>)>,
    },
    /// It could not be done.
    Error {
        /// The invoke's.
        id: i64,
        /// Why.
        error: Operation<'a>,
    },
    /// It was not understood.
    Reject {
        /// The invoke's, where it was read.
        id: Option<i64>,
    },
}

impl<'a> Component<'a> {
    /// Reads one; `None` for what is none.
    pub fn read(value: Value<'a>) -> Option<Component<'a>> {
        let mut inside = value.inside();
        match value.tag {
            INVOKE => {
                let id = integer(&mut inside)?;
                let linked = Values(inside.0).next().filter(|value| value.tag == LINKED);
                linked.and_then(|_| inside.next());
                Some(Component::Invoke { id, operation: operation(&mut inside)?, argument: inside })
            }
            RESULT => {
                let id = integer(&mut inside)?;
                let mut result = inside.next().filter(|value| value.tag == SEQUENCE).map(Value::inside);
                let result = result.as_mut().and_then(|result| Some((operation(result)?, *result)));
                Some(Component::Result { id, result })
            }
            ERROR => Some(Component::Error { id: integer(&mut inside)?, error: operation(&mut inside)? }),
            REJECT => Some(Component::Reject { id: integer(&mut inside) }),
            _ => None,
        }
    }

    /// An invoke.
    pub fn invoke<'o>(id: u8, operation: impl Into<Operation<'o>>, argument: &[u8]) -> Vec<u8> {
        let head = [value(INTEGER, &[id & 0x7f]), operation.into().written()].concat();
        value(INVOKE, &[&head, argument].concat())
    }

    /// A result, with what came of it.
    pub fn result(id: i64, result: Option<(Operation<'_>, &[u8])>) -> Vec<u8> {
        let result = result.map(|(operation, result)| sequence(&[&operation.written(), result]));
        value(RESULT, &[whole(id), result.unwrap_or_default()].concat())
    }

    /// An error.
    pub fn error<'o>(id: i64, error: impl Into<Operation<'o>>) -> Vec<u8> {
        value(ERROR, &[whole(id), error.into().written()].concat())
    }
}

fn integer(values: &mut Values) -> Option<i64> {
    values.next().filter(|value| value.tag == INTEGER).and_then(Value::number)
}

fn operation<'a>(values: &mut Values<'a>) -> Option<Operation<'a>> {
    let value = values.next()?;
    match value.tag {
        INTEGER => value.number().map(Operation::Local),
        OBJECT => Some(Operation::Global(value.contents)),
        _ => None,
    }
}

/// Writes a whole number in as few octets as it takes.
pub(super) fn whole(number: i64) -> Vec<u8> {
    let octets = number.to_be_bytes();
    let sign = if number < 0 { 0xff } else { 0 };
    let spare = octets.windows(2).take_while(|pair| pair[0] == sign && (pair[1] ^ sign) & 0x80 == 0).count();
    value(INTEGER, octets.get(spare..).unwrap_or_default())
}

/// A sequence of values.
pub(super) fn sequence(values: &[&[u8]]) -> Vec<u8> {
    value(SEQUENCE, &values.concat())
}

/// Writes a value of at most 255 octets; a longer one is cut.
pub(super) fn value(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = u8::try_from(contents.len()).unwrap_or(u8::MAX);
    let contents = contents.get(..length.into()).unwrap_or_default();
    let head: &[u8] = if length < 0x80 { &[tag, length] } else { &[tag, 0x81, length] };
    [head, contents].concat()
}

/// The text of an octet string, of whatever tag.
pub(super) fn text(value: Value) -> String {
    value.contents.iter().copied().map(char::from).collect()
}

/// The first octet string within a sequence.
pub(super) fn string_in(value: Value<'_>) -> Option<Value<'_>> {
    value.inside().find(|value| value.tag == OCTET_STRING)
}
