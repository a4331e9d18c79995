//! The files of an image before they are written.

use std::collections::BTreeMap;

/// One file, without its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// Directory with these permission bits.
    Directory(u32),
    /// Regular file: permission bits, content.
    File(u32, Vec<u8>),
    /// Symbolic link with this target.
    Symlink(String),
    /// Character device: permission bits, major, minor.
    Char(u32, u32, u32),
}

/// Files by path, without a leading slash; ascending, so a directory comes before what is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    nodes: BTreeMap<String, Node>,
}

impl Tree {
    /// Puts a file at a path; directories on the way are made with mode 0755. A directory that is there keeps its mode,
    /// anything else is replaced.
    pub fn insert(&mut self, path: &str, node: Node) {
        let path = path.trim_matches('/');
        for (at, _) in path.match_indices('/') {
            self.nodes.entry(path[..at].to_owned()).or_insert(Node::Directory(0o755));
        }
        if matches!(node, Node::Directory(_)) && matches!(self.nodes.get(path), Some(Node::Directory(_))) {
            return;
        }
        if !path.is_empty() {
            self.nodes.insert(path.to_owned(), node);
        }
    }

    /// A regular file that everybody may read.
    pub fn file(&mut self, path: &str, content: impl Into<Vec<u8>>) {
        self.insert(path, Node::File(0o644, content.into()));
    }

    /// Whether something is there.
    #[must_use]
    pub fn contains(&self, path: &str) -> bool {
        self.nodes.contains_key(path.trim_matches('/'))
    }

    /// All files, ascending by path.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// Splits the tree: files that `first` wants and all the others, each part with the directories that it needs.
    #[must_use]
    pub fn split(self, first: impl Fn(&str) -> bool) -> (Tree, Tree) {
        let (mut yes, mut no) = (Tree::default(), Tree::default());
        let modes = self.clone();
        for (path, node) in self.nodes {
            let inside = format!("{path}/");
            let next = modes.nodes.range(inside.clone()..).next();
            // A directory comes along with what is in it.
            if matches!(node, Node::Directory(_)) && next.is_some_and(|(path, _)| path.starts_with(&inside)) {
                continue;
            }
            let part = if first(&path) { &mut yes } else { &mut no };
            for (at, _) in path.match_indices('/') {
                if let Some(Node::Directory(mode)) = modes.nodes.get(&path[..at]) {
                    part.nodes.entry(path[..at].to_owned()).or_insert(Node::Directory(*mode));
                }
            }
            part.nodes.insert(path, node);
        }
        (yes, no)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_appear_and_keep_their_mode() {
        let mut tree = Tree::default();
        tree.insert("/root", Node::Directory(0o700));
        tree.file("/root/a/b", "x");
        tree.insert("root", Node::Directory(0o755));
        let paths: Vec<_> = tree.iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["root", "root/a", "root/a/b"]);
        let (yes, no) = tree.split(|path| path.ends_with('b'));
        assert_eq!(yes.iter().next(), Some(("root", &Node::Directory(0o700))));
        assert_eq!(yes.iter().count(), 3);
        assert!(!no.contains("root/a/b"));
    }
}
