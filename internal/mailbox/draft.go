package mailbox

import (
	"maps"
	"slices"
)

// A draft is a list that is being changed. What it shares with the list that
// it was made of is copied before it is written to.
type draft struct {
	List
	mine    []bool // by piece: not shared
	touched bool   // the list differs from what it was made of
}

func draftOf(l List) draft { return draft{List: l} }

// own makes a piece, and the list's own table of pieces, writable.
func (d *draft) own(c int) *piece {
	d.unshare()
	if !d.mine[c] {
		d.pieces[c], d.mine[c] = d.pieces[c].clone(), true
	}
	return d.pieces[c]
}

// unshare makes the tables of the list writable.
func (d *draft) unshare() {
	d.touched = true
	if d.mine == nil {
		d.pieces, d.starts, d.lasts = slices.Clone(d.pieces), slices.Clone(d.starts), slices.Clone(d.lasts)
		d.mine = make([]bool, len(d.pieces))
	}
}

func (p *piece) clone() *piece {
	return &piece{slices.Clone(p.messages), maps.Clone(p.odd)}
}

// edit returns the message at an index for changes, but for those of its UID.
func (d *draft) edit(i int) *Message {
	c := d.pieceOf(i)
	return &d.own(c).messages[i-d.starts[c]]
}

// setPath remembers the path of a message whose where was just set.
func (d *draft) setPath(i int, path string) {
	m := d.At(i)
	c := d.pieceOf(i)
	if m.where != odd {
		if _, had := d.pieces[c].odd[m.UID]; had {
			delete(d.own(c).odd, m.UID)
		}
		return
	}
	p := d.own(c)
	if p.odd == nil {
		p.odd = make(map[uint32]string)
	}
	p.odd[m.UID] = path
}

// push adds a message, whose UID is above all others.
func (d *draft) push(m Message) {
	c := len(d.pieces) - 1
	d.unshare()
	if c < 0 || len(d.pieces[c].messages) >= pieceSize {
		d.List.push(&piece{messages: []Message{m}})
		d.mine = append(d.mine, true)
		return
	}
	p := d.own(c)
	p.messages = append(p.messages, m)
	d.lasts[c] = m.UID
	d.n++
}

// drop takes out the messages with these UIDs. Pieces that have become short
// are put together, so that their number stays in proportion.
func (d *draft) drop(uids []uint32) {
	uids = slices.Sorted(slices.Values(uids))
	was := *d
	d.List, d.mine, d.touched = List{}, nil, true
	for c, p := range was.pieces {
		mine := was.mine != nil && was.mine[c]
		n, _ := slices.BinarySearch(uids, was.lasts[c]+1)
		if n > 0 {
			p, mine, uids = p.without(uids[:n]), true, uids[n:]
		}
		d.join(p, mine)
	}
}

// without returns the piece without some messages.
func (p *piece) without(uids []uint32) *piece {
	kept := &piece{messages: make([]Message, 0, len(p.messages)), odd: maps.Clone(p.odd)}
	for i := range p.messages {
		if _, gone := slices.BinarySearch(uids, p.messages[i].UID); gone {
			delete(kept.odd, p.messages[i].UID)
			continue
		}
		kept.messages = append(kept.messages, p.messages[i])
	}
	return kept
}

// join adds a piece; it is put together with the one before it when both are
// short.
func (d *draft) join(p *piece, mine bool) {
	last := len(d.pieces) - 1
	if len(p.messages) == 0 {
		return
	}
	if last < 0 || len(d.pieces[last].messages)+len(p.messages) > pieceSize/2 {
		d.List.push(p)
		d.mine = append(d.mine, mine)
		return
	}
	q := d.own(last)
	q.messages = append(q.messages, p.messages...)
	for uid, path := range p.odd {
		if q.odd == nil {
			q.odd = make(map[uint32]string)
		}
		q.odd[uid] = path
	}
	d.lasts[last] = p.last()
	d.n += len(p.messages)
}
