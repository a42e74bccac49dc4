package imapd

// A forest knows the root of each node of changing trees in logarithmic time,
// however deep they are: the link-cut trees of Sleator and Tarjan. The path
// from a node that was looked at last up to its root is a splay tree, ordered
// by depth.
type forest struct {
	up          []int32 // in the splay tree; of its root: where the path hangs
	left, right []int32
}

func newForest(parent []int32) *forest {
	return &forest{up: append([]int32(nil), parent...), left: filled(len(parent)), right: filled(len(parent))}
}

// add makes a node that is a tree by itself.
func (f *forest) add() {
	f.up, f.left, f.right = append(f.up, none), append(f.left, none), append(f.right, none)
}

// top reports whether n is the root of its splay tree.
func (f *forest) top(n int32) bool {
	p := f.up[n]
	return p == none || f.left[p] != n && f.right[p] != n
}

func (f *forest) rotate(n int32) {
	p := f.up[n]
	g := f.up[p]
	switch {
	case f.top(p):
	case f.left[g] == p:
		f.left[g] = n
	default:
		f.right[g] = n
	}
	near, far := f.left, f.right
	if f.right[p] == n {
		near, far = far, near
	}
	near[p] = far[n]
	if far[n] != none {
		f.up[far[n]] = p
	}
	far[n] = p
	f.up[p], f.up[n] = n, g
}

func (f *forest) splay(n int32) {
	for !f.top(n) {
		p := f.up[n]
		if g := f.up[p]; !f.top(p) {
			if (f.left[p] == n) == (f.left[g] == p) {
				f.rotate(p)
			} else {
				f.rotate(n)
			}
		}
		f.rotate(n)
	}
}

// expose makes the path from n to its root one splay tree, with n on top.
func (f *forest) expose(n int32) {
	last := none
	for at := n; at != none; at = f.up[at] {
		f.splay(at)
		f.right[at] = last
		last = at
	}
	f.splay(n)
}

func (f *forest) root(n int32) int32 {
	f.expose(n)
	for f.left[n] != none {
		n = f.left[n]
	}
	f.splay(n)
	return n
}

// link makes child, which is a root, a child of parent.
func (f *forest) link(parent, child int32) {
	f.expose(child)
	f.up[child] = parent
}

// cut makes child a root.
func (f *forest) cut(child int32) {
	f.expose(child)
	if l := f.left[child]; l != none {
		f.up[l] = none
		f.left[child] = none
	}
}
