//! The tree of devices as libdevmapper keeps it: the order of its links is the order in which devices are made.

use std::collections::BTreeMap;

use super::{Planned, ReadAhead};

/// A line of a table whose devices are nodes of the tree.
#[derive(Debug)]
pub(super) struct Line {
    pub length: u64,
    pub kind: &'static str,
    pub params: Vec<Part>,
}

/// A part of a line.
#[derive(Debug)]
pub(super) enum Part {
    Text(String),
    Node(usize),
    /// As `/dev/dm-N`.
    Path(usize),
}

#[derive(Debug, Default)]
pub(super) struct Node {
    pub name: String,
    pub uuid: String,
    pub read_only: bool,
    pub read_ahead: ReadAhead,
    pub held: bool,
    pub number: Option<(u32, u32)>,
    pub lines: Vec<Line>,
    /// Numbers of the device, if it is active already.
    pub active: Option<(u32, u32)>,
    pub uses: Vec<usize>,
    pub parents: bool,
}

/// Nodes in the order in which they were named.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub nodes: Vec<Node>,
    by_uuid: BTreeMap<String, usize>,
}

impl Tree {
    pub(super) fn find(&self, uuid: &str) -> Option<usize> {
        self.by_uuid.get(uuid).copied()
    }

    pub(super) fn add(&mut self, node: Node) -> usize {
        let index = self.nodes.len();
        self.by_uuid.insert(node.uuid.clone(), index);
        self.nodes.push(node);
        index
    }

    /// `parent` uses `child`: the first mention decides the order.
    pub(super) fn link(&mut self, parent: usize, child: usize) {
        if let Some(node) = self.nodes.get_mut(parent)
            && !node.uses.contains(&child)
        {
            node.uses.push(child);
        }
        if let Some(node) = self.nodes.get_mut(child) {
            node.parents = true;
        }
    }

    /// Nodes in the order in which libdevmapper makes them: below each node of the top its children in the order of
    /// their links, then the node. `None` when they form a ring.
    pub(super) fn order(&self) -> Option<Vec<usize>> {
        let mut order = Vec::with_capacity(self.nodes.len());
        let mut state = vec![State::New; self.nodes.len()];
        for (top, node) in self.nodes.iter().enumerate() {
            if node.parents {
                continue;
            }
            // Own stack: hostile metadata must not decide how deep the program's goes.
            let mut stack = vec![(top, 0)];
            *state.get_mut(top)? = State::Open;
            while let Some((index, next)) = stack.last_mut() {
                let node = self.nodes.get(*index)?;
                if let Some(child) = node.uses.get(*next) {
                    *next += 1;
                    match state.get(*child)? {
                        State::New => {
                            *state.get_mut(*child)? = State::Open;
                            stack.push((*child, 0));
                        }
                        State::Open => return None,
                        State::Done => {}
                    }
                } else {
                    *state.get_mut(*index)? = State::Done;
                    order.push(*index);
                    stack.pop();
                }
            }
        }
        (order.len() == self.nodes.len()).then_some(order)
    }

    /// The devices that are not active yet, in order; and for each node its place among them.
    pub(super) fn plan(mut self, order: &[usize]) -> (Vec<Planned>, Vec<Option<usize>>) {
        let mut places = vec![None; self.nodes.len()];
        let missing =
            order.iter().filter(|index| self.nodes.get(**index).is_some_and(|node| node.active.is_none()));
        for (place, index) in missing.enumerate() {
            if let Some(slot) = places.get_mut(*index) {
                *slot = Some(place);
            }
        }
        let active: Vec<_> = self.nodes.iter().map(|node| node.active).collect();
        let mut devices = Vec::new();
        for index in order {
            if let Some(node) = self.nodes.get_mut(*index).filter(|node| node.active.is_none()) {
                devices.push(std::mem::take(node).planned(&places, &active));
            }
        }
        (devices, places)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Open,
    Done,
}

impl Node {
    pub(super) fn has_mirror(&self) -> bool {
        self.lines.iter().any(|line| line.kind == "mirror")
    }

    pub(super) fn size(&self) -> u64 {
        self.lines.iter().fold(0, |sum, line| sum.saturating_add(line.length))
    }

    fn planned(self, places: &[Option<usize>], active: &[Option<(u32, u32)>]) -> Planned {
        use super::{Piece, Target};
        let piece = |part| {
            let (index, path) = match part {
                Part::Text(text) => return Piece::Text(text),
                Part::Node(index) => (index, false),
                Part::Path(index) => (index, true),
            };
            match (places.get(index).copied().flatten(), active.get(index).copied().flatten()) {
                (Some(place), _) if path => Piece::Path(place),
                (Some(place), _) => Piece::Device(place),
                (None, Some((_, minor))) if path => Piece::Text(format!("/dev/dm-{minor}")),
                (None, Some((major, minor))) => Piece::Text(format!("{major}:{minor}")),
                // Not reached: a node is either planned or active.
                (None, None) => Piece::Text(String::new()),
            }
        };
        let mut start: u64 = 0;
        let mut targets = Vec::with_capacity(self.lines.len());
        for line in self.lines {
            let params = line.params.into_iter().map(piece).collect();
            targets.push(Target { start, length: line.length, kind: line.kind, params });
            start = start.saturating_add(line.length);
        }
        Planned {
            name: self.name,
            uuid: self.uuid,
            targets,
            read_only: self.read_only,
            read_ahead: self.read_ahead,
            held: self.held,
            number: self.number,
        }
    }
}
