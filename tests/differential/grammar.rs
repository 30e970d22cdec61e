//! Commands written as lines, in which words stand for arguments.
//!
//! ```text
//! SET string value (NX|XX|GET|IFEQ value|EX secs|PX ms|KEEPTTL)*0-3
//! ```
//!
//! | in a line | means |
//! |---|---|
//! | `WORD` | itself, mostly in the case it is written in |
//! | `word` | a random argument of that kind ([`super::arguments`]) |
//! | `[…]` | there or not |
//! | `(a\|b)` | one of these |
//! | `*n`, `*a-b` | as often as that |
//! | `counted{word}` | a number and that many arguments, now and then one more or one less |

use super::arguments::Arguments;
use crate::support::client::Argv;

/// A line, understood.
#[derive(Debug)]
pub enum Node {
    Literal(String),
    Argument(String),
    Counted(Box<Node>),
    Sequence(Vec<Node>),
    Choice(Vec<Node>),
    Optional(Box<Node>),
    Repeat(Box<Node>, usize, usize),
}

/// One in this many words is written in another case.
const OTHER_CASE: u32 = 12;

impl Node {
    /// Reads a line.
    pub fn parse(line: &str) -> Node {
        let mut parser = Parser { line, rest: line.as_bytes() };
        let node = parser.choice();
        assert!(
            parser.rest.is_empty(),
            "{line:?}: cannot read from {:?}",
            String::from_utf8_lossy(parser.rest)
        );
        node
    }

    /// Adds arguments of this form to `argv`.
    pub fn expand(&self, arguments: &mut Arguments, argv: &mut Argv) {
        match self {
            Node::Literal(word) => {
                let cased = match arguments.one_in(OTHER_CASE) {
                    true if arguments.one_in(2) => capitalised(word),
                    true => word.to_lowercase(),
                    false => word.clone(),
                };
                argv.push(cased.into());
            }
            Node::Argument(kind) => argv.push(arguments.of_kind(kind)),
            Node::Counted(item) => {
                let items = arguments.below(3) + 1;
                let said = match arguments.below(40) {
                    0 => items + 1,
                    1 => items.saturating_sub(1),
                    _ => items,
                };
                argv.push(said.to_string().into());
                (0..items).for_each(|_| item.expand(arguments, argv));
            }
            Node::Sequence(nodes) => nodes.iter().for_each(|node| node.expand(arguments, argv)),
            Node::Choice(nodes) => nodes[arguments.below(nodes.len())].expand(arguments, argv),
            Node::Optional(node) if arguments.one_in(2) => node.expand(arguments, argv),
            Node::Optional(_) => {}
            Node::Repeat(node, least, most) => {
                let times = least + arguments.below(most - least + 1);
                (0..times).for_each(|_| node.expand(arguments, argv));
            }
        }
    }
}

fn capitalised(word: &str) -> String {
    let (head, tail) = word.split_at(1);
    head.to_uppercase() + &tail.to_lowercase()
}

struct Parser<'a> {
    line: &'a str,
    rest: &'a [u8],
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn take(&mut self) {
        self.rest = &self.rest[1..];
    }

    fn expect(&mut self, byte: u8) {
        assert_eq!(self.peek(), Some(byte), "{:?}: {:?} is missing", self.line, char::from(byte));
        self.take();
    }

    fn choice(&mut self) -> Node {
        let mut branches = vec![self.sequence()];
        while self.peek() == Some(b'|') {
            self.take();
            branches.push(self.sequence());
        }
        if branches.len() == 1 { branches.remove(0) } else { Node::Choice(branches) }
    }

    fn sequence(&mut self) -> Node {
        let mut nodes = Vec::new();
        loop {
            while self.peek() == Some(b' ') {
                self.take();
            }
            match self.peek() {
                None | Some(b'|' | b')' | b']' | b'}') => return Node::Sequence(nodes),
                Some(_) => {
                    let item = self.item();
                    nodes.push(self.repeated(item));
                }
            }
        }
    }

    fn item(&mut self) -> Node {
        match self.peek() {
            Some(b'(') => {
                self.take();
                let node = self.choice();
                self.expect(b')');
                node
            }
            Some(b'[') => {
                self.take();
                let node = self.choice();
                self.expect(b']');
                Node::Optional(Box::new(node))
            }
            _ => {
                let word = self.word();
                if word == "counted" {
                    self.expect(b'{');
                    let node = self.choice();
                    self.expect(b'}');
                    Node::Counted(Box::new(node))
                } else if word.starts_with(|c: char| c.is_ascii_lowercase()) {
                    Node::Argument(word)
                } else {
                    Node::Literal(word)
                }
            }
        }
    }

    fn word(&mut self) -> String {
        let len = self.rest.iter().take_while(|byte| !b" |()[]{}*".contains(byte)).count();
        // A lone star is a pattern.
        let len = if len == 0 && self.peek() == Some(b'*') { 1 } else { len };
        assert!(len > 0, "{:?}: a word is missing", self.line);
        let word = String::from_utf8_lossy(&self.rest[..len]).into_owned();
        self.rest = &self.rest[len..];
        word
    }

    fn repeated(&mut self, node: Node) -> Node {
        if self.peek() != Some(b'*') {
            return node;
        }
        self.take();
        let least = self.number();
        let most = match self.peek() {
            Some(b'-') => {
                self.take();
                self.number()
            }
            _ => least,
        };
        Node::Repeat(Box::new(node), least, most)
    }

    fn number(&mut self) -> usize {
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let text = String::from_utf8_lossy(&self.rest[..digits]).into_owned();
        self.rest = &self.rest[digits..];
        text.parse().unwrap_or_else(|_| panic!("{:?}: a number is missing", self.line))
    }
}
