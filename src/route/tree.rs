//! Path patterns as a tree of segments: the cost of a look-up is that of the request's path, not of
//! the number of routes.

use std::collections::HashMap;

use super::pattern::{PathPattern, Segment};

/// The routes of one host, by path.
#[derive(Debug, Default)]
pub(super) struct Tree {
    root: Node,
}

/// Routes at the same place, the most specific first; indices into the table.
type Slot = Vec<u32>;

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<String, Self>,
    part: Option<Box<Self>>,
    /// Patterns that end here.
    exact: Slot,
    /// Patterns that end here in `/*`.
    open: Slot,
}

impl Tree {
    /// To be called with the most specific predicates first.
    pub(super) fn insert(&mut self, pattern: &PathPattern, route: u32) {
        let mut node = &mut self.root;
        for segment in &pattern.segments {
            node = match segment {
                Segment::Literal(literal) => node.literals.entry(literal.clone()).or_default(),
                Segment::Part(_) => node.part.get_or_insert_default(),
            };
        }
        let slot = if pattern.open {
            &mut node.open
        } else {
            &mut node.exact
        };
        slot.push(route);
    }

    /// The first route that `accept` takes, in the order of specificity of the paths.
    pub(super) fn find(&self, path: &str, accept: &dyn Fn(u32) -> bool) -> Option<u32> {
        match path.strip_prefix('/') {
            Some(rest) => self.root.find(Some(rest), accept),
            // `OPTIONS *` has no path to be more specific about.
            None => first(&self.root.open, accept),
        }
    }

    /// Every slot, as the places at which routes compete.
    pub(super) fn slots(&self) -> Vec<&[u32]> {
        let mut slots = Vec::new();
        self.root.collect(&mut slots);
        slots
    }
}

impl Node {
    /// `rest` is what follows the slash after this node's segment; none if nothing does.
    fn find(&self, rest: Option<&str>, accept: &dyn Fn(u32) -> bool) -> Option<u32> {
        let deeper = match rest {
            None => first(&self.exact, accept),
            Some(rest) => {
                let (segment, rest) = match rest.bytes().position(|byte| byte == b'/') {
                    Some(slash) => (&rest[..slash], Some(&rest[slash + 1..])),
                    None => (rest, None),
                };
                let literal = self.literals.get(segment);
                let part = self.part.as_deref().filter(|_| !segment.is_empty());
                let found = literal.and_then(|node| node.find(rest, accept));
                found.or_else(|| part.and_then(|node| node.find(rest, accept)))
            }
        };
        deeper.or_else(|| first(&self.open, accept))
    }

    fn collect<'a>(&'a self, slots: &mut Vec<&'a [u32]>) {
        slots.extend([self.exact.as_slice(), self.open.as_slice()]);
        for node in self.literals.values().chain(self.part.as_deref()) {
            node.collect(slots);
        }
    }
}

fn first(slot: &[u32], accept: &dyn Fn(u32) -> bool) -> Option<u32> {
    slot.iter().copied().find(|route| accept(*route))
}
