//! Why the boot is not getting on: a tree from the wanted root to what is missing, as data and as text.

use std::fmt;

/// State of one node of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub enum State {
    /// There.
    Found,
    /// Not there (yet).
    Missing,
    /// Being worked on.
    Waiting,
    /// Tried, and failed.
    Failed,
    /// Seen, of no use for the goal.
    Seen,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Node {
    /// One line, e.g. `vda1: ext4 UUID=... LABEL=root`.
    pub text: String,
    /// Its state.
    pub state: State,
    /// What lies below.
    pub children: Vec<Node>,
}

impl Node {
    /// A node without children.
    pub fn new(state: State, text: impl Into<String>) -> Node {
        Node { text: text.into(), state, children: Vec::new() }
    }

    /// Whether anything in it is more than seen.
    pub(crate) fn is_telling(&self) -> bool {
        self.state != State::Seen || self.children.iter().any(Node::is_telling)
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let mark = match self.state {
            State::Found => "+",
            State::Missing => "?",
            State::Waiting => "~",
            State::Failed => "!",
            State::Seen => "-",
        };
        let indent = depth.saturating_mul(2);
        writeln!(f, "{:indent$}{mark} {}", "", printable(&self.text))?;
        self.children.iter().try_for_each(|child| child.write(f, depth.saturating_add(1)))
    }
}

/// The text with control characters made visible: labels come from disks, and a terminal obeys escape sequences.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() && letter != '\n' {
            out.extend(letter.escape_default());
        } else {
            out.push(letter);
        }
    }
    out
}

/// The whole answer to "why?".
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Explanation {
    /// One line: what is wanted and what is wrong.
    pub headline: String,
    /// From the wanted root down.
    pub tree: Node,
    /// The likely remedies, most likely first.
    pub remedies: Vec<String>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", printable(&self.headline))?;
        self.tree.write(f, 1)?;
        self.remedies.iter().try_for_each(|remedy| writeln!(f, "  try: {}", printable(remedy)))
    }
}
